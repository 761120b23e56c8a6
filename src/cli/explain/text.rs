//! The account in lines, for people.

use std::io::IsTerminal;

use super::account::Account;
use super::fields::{self, Content, Field};
use super::{steps, words};
use crate::cli::terminal::shown_in_full;
use crate::proxy::Destination;

/// One line for each step, then the fields that go up, then the sum.
pub(super) fn of(account: &Account<'_>) -> String {
    let marks = Marks::of_output();
    let mut lines = Vec::new();
    for step in steps::of(account) {
        let mark = marks.mark(step.is_refused);
        let text = shown_in_full(&step.text);
        lines.push(format!("{mark}  {:<18}  {text}", step.name));
    }
    if let Some(sent) = account.sent() {
        lines.push(String::new());
        lines.push(format!(
            "    {}",
            shown_in_full(&fields::request_line(sent))
        ));
        let fields = fields::of(account, sent);
        lines.extend(fields.iter().flat_map(field));
        lines.push(String::new());
    }
    if !account.case.assumed.is_empty() {
        let assumed = account.case.assumed.join("; ");
        lines.push(format!("assumed: {}", shown_in_full(&assumed)));
    }
    lines.extend(sum(account, &marks));
    lines.push(String::new());
    lines.join("\n")
}

fn field(field: &Field) -> Vec<String> {
    let name = &field.name;
    match &field.content {
        Content::Plain(value) => vec![format!("    {name}: {value}")],
        Content::Secret(secret) => {
            let scheme = match secret.scheme.as_str() {
                "" => String::new(),
                scheme => format!("{scheme} "),
            };
            let from = shown_in_full(&secret.from);
            let mut lines = vec![format!(
                "    {name}: {scheme}<secret: {} bytes from {from}>",
                secret.bytes
            )];
            let claims = secret.claims.iter();
            lines.extend(claims.map(|claims| format!("      which says {claims}")));
            lines
        }
    }
}

fn sum(account: &Account<'_>, marks: &Marks) -> Vec<String> {
    let Some(refused) = account.refusal() else {
        let upstream = account.upstream().map_or("-", |(one, _)| one.name.as_str());
        let what = match (
            account.request().map(|it| &it.outcome),
            words::known_as(account),
        ) {
            (Some(Ok(Destination::Keys)), _) => {
                "countersign answers it itself, with its public keys".to_owned()
            }
            (Some(Ok(Destination::Elsewhere(to))), _) => format!(
                "countersign answers it itself, with {} to {}",
                to.status.as_u16(),
                shown_in_full(to.location.to_str().unwrap_or_default())
            ),
            (_, Some((layer, who))) => format!(
                "it goes to upstream {upstream}, which takes the caller to be {} (layer: {layer})",
                shown_in_full(&who)
            ),
            (_, None) => format!("it goes to upstream {upstream}"),
        };
        return vec![format!("{}: {what}", marks.good("permitted"))];
    };
    let told = match refused.status {
        None => "the client gets a TLS alert".to_owned(),
        Some(status) => format!("the client gets {status}"),
    };
    let place = if refused.status.is_none() {
        "refused in the handshake"
    } else {
        "refused"
    };
    vec![
        format!(
            "{}: {}: {}{}; {told}",
            marks.bad(place),
            refused.reason,
            shown_in_full(&refused.cause),
            shown_in_full(&words::miss(refused.nearest_miss.as_deref()))
        ),
        format!("what to do: {}", shown_in_full(&refused.remedy)),
    ]
}

/// Colours, on a terminal alone.
struct Marks {
    coloured: bool,
}

impl Marks {
    fn of_output() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            coloured: wanted && std::io::stdout().is_terminal(),
        }
    }

    fn mark(&self, is_refused: bool) -> String {
        if is_refused {
            self.bad("refused")
        } else {
            self.good("ok     ")
        }
    }

    fn good(&self, text: &str) -> String {
        self.colour(text, "32")
    }

    fn bad(&self, text: &str) -> String {
        self.colour(text, "1;31")
    }

    fn colour(&self, text: &str, code: &str) -> String {
        if self.coloured {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}
