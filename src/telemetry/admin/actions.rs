//! What the reader of the status page may have done, and how it is seen that it
//! is they who want it.

use aws_lc_rs::constant_time;
use http::header::{CONTENT_TYPE, HOST, HeaderName, ORIGIN};
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::command::{AdminAnswer, Unanswered, percent_decoded};

/// Something that a form of the page asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Action {
    /// Put in force what is on the disk.
    Reload,
    /// The same, with this trust bundle as it is.
    Accept(String),
    /// Finish what is under way, and end.
    Drain,
}

/// Why nothing is done.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum NotDone {
    /// The address is asked for under a name that may be somebody else's.
    #[error(
        "the address was asked for under a name that others may own; ask by IP address, as localhost, or under a name in admin.hosts"
    )]
    Foreign,
    /// What came is no form of the page.
    #[error("this is not what a form of the status page sends")]
    Form,
    /// The page of another origin asks, or nobody says which.
    #[error("only the status page itself may ask for this, and a browser that says so")]
    Origin,
    /// The config does not let the page change anything.
    #[error("admin.allow_changes is not set")]
    ReadOnly,
    /// It is signed otherwise than the forms of this process.
    #[error("the page is older than this process; load it again")]
    Token,
}

impl NotDone {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Foreign => StatusCode::MISDIRECTED_REQUEST,
            Self::Form => StatusCode::BAD_REQUEST,
            Self::Origin | Self::ReadOnly | Self::Token => StatusCode::FORBIDDEN,
        }
    }
}

impl Action {
    /// Reads a form, if it is signed with `token`.
    pub(super) fn read(form: &[u8], token: &str) -> Result<Self, NotDone> {
        let form = std::str::from_utf8(form).map_err(|_| NotDone::Form)?;
        let (mut wanted, mut signed, mut bundle) = (None, None, None);
        for pair in form.split('&') {
            let (name, value) = pair.split_once('=').ok_or(NotDone::Form)?;
            let value = percent_decoded(&value.replace('+', " ")).map_err(|_| NotDone::Form)?;
            let place = match name {
                "do" => &mut wanted,
                "token" => &mut signed,
                "bundle" => &mut bundle,
                _ => return Err(NotDone::Form),
            };
            if place.replace(value).is_some() {
                return Err(NotDone::Form);
            }
        }
        let signed = signed.ok_or(NotDone::Form)?;
        constant_time::verify_slices_are_equal(signed.as_bytes(), token.as_bytes())
            .map_err(|_| NotDone::Token)?;
        match (wanted.as_deref(), bundle) {
            (Some("reload"), None) => Ok(Self::Reload),
            (Some("accept"), Some(bundle)) => Ok(Self::Accept(bundle)),
            (Some("drain"), None) => Ok(Self::Drain),
            _ => Err(NotDone::Form),
        }
    }
}

/// Sees that a browser sends this for the page itself.
///
/// `Origin` goes with every POST of a browser (Fetch §3.2) and must be that of
/// the host that is asked; `Sec-Fetch-Site`, where it is sent, must say the same.
pub(super) fn is_from_the_page(headers: &HeaderMap) -> Result<(), NotDone> {
    let only = |name: HeaderName| {
        let mut all = headers.get_all(name).iter();
        let first = all.next().and_then(|value| value.to_str().ok());
        first.filter(|_| all.next().is_none())
    };
    let host = only(HOST).ok_or(NotDone::Origin)?;
    let origin = only(ORIGIN).ok_or(NotDone::Origin)?;
    let of = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"));
    let sites = headers.get_all(HeaderName::from_static("sec-fetch-site"));
    let mut sites = sites.iter();
    if of.is_none_or(|of| !of.eq_ignore_ascii_case(host)) || sites.any(|site| site != "same-origin")
    {
        return Err(NotDone::Origin);
    }
    let kind = only(CONTENT_TYPE).ok_or(NotDone::Form)?;
    let kind = kind.split(';').next().unwrap_or(kind).trim();
    if kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        Ok(())
    } else {
        Err(NotDone::Form)
    }
}

/// What the program's answer to a reload is called in the address of the page.
pub(super) fn outcome(answer: Result<AdminAnswer, Unanswered>) -> &'static str {
    let Ok(answer) = answer else {
        return "unanswered";
    };
    let said: Value = serde_json::from_str(&answer.json).unwrap_or_default();
    let word = said.get("outcome").and_then(Value::as_str);
    let known = DONE.iter().find(|(known, _)| Some(*known) == word);
    known.map_or("unanswered", |(known, _)| known)
}

/// What the reader is told of an outcome.
pub(super) fn sentence(word: &str) -> Option<&'static str> {
    let known = DONE.iter().find(|(known, _)| *known == word);
    known.map(|(_, sentence)| *sentence)
}

/// Outcomes, as `POST /reload` names them, and what each means.
const DONE: [(&str, &str); 6] = [
    (
        "published",
        "Done: what has changed on the disk is in force.",
    ),
    ("unchanged", "Looked: nothing has changed on the disk."),
    (
        "failed",
        "What is on the disk cannot be put in force; what was in force still is. The reasons are below.",
    ),
    (
        "held_back",
        "Done, but a trust bundle is held back until somebody confirms it.",
    ),
    (
        "draining",
        "Draining has begun: what is under way is finished, then the process ends.",
    ),
    (
        "unanswered",
        "It is not known what came of it: see below, and the log.",
    ),
];

/// Bytes of a form.
pub(super) const MAX_FORM: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const TOKEN: &str = "00ff";

    #[test]
    fn forms_of_the_page_are_read() {
        for (form, action) in [
            ("token=00ff&do=reload", Action::Reload),
            ("do=drain&token=00ff", Action::Drain),
            (
                "token=00ff&bundle=a%2fb+c&do=accept",
                Action::Accept("a/b c".to_owned()),
            ),
        ] {
            assert_eq!(Action::read(form.as_bytes(), TOKEN), Ok(action), "{form}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for (form, cause) in [
            ("", NotDone::Form),
            ("do=reload", NotDone::Form),
            ("token=00ff", NotDone::Form),
            ("token=&do=reload", NotDone::Token),
            ("token=00fe&do=reload", NotDone::Token),
            ("token=00ff&token=00ff&do=reload", NotDone::Form),
            ("token=00ff&do=reload&bundle=a", NotDone::Form),
            ("token=00ff&do=accept", NotDone::Form),
            ("token=00ff&do=erase", NotDone::Form),
            ("token=00ff&do=reload&force=1", NotDone::Form),
            ("token=00ff&do=%ff", NotDone::Form),
        ] {
            assert_eq!(Action::read(form.as_bytes(), TOKEN), Err(cause), "{form}");
        }
    }

    /// The fields of a form that the page sends; tests change one thing.
    fn fields(change: &[(&'static str, &'static str)]) -> HeaderMap {
        let usual = [
            ("host", "127.0.0.1:9901"),
            ("origin", "http://127.0.0.1:9901"),
            ("content-type", "application/x-www-form-urlencoded"),
            ("sec-fetch-site", "same-origin"),
        ];
        let changed = |name: &str| change.iter().find(|(other, _)| *other == name);
        let all = usual.iter().map(|usual| changed(usual.0).unwrap_or(usual));
        all.filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| {
                let name = HeaderName::from_static(name);
                (name, HeaderValue::from_static(value))
            })
            .collect()
    }

    #[test]
    fn browser_must_say_that_the_page_itself_asks() {
        for change in [
            &[][..],
            &[("sec-fetch-site", "")],
            &[("origin", "https://127.0.0.1:9901")],
            &[(
                "content-type",
                "application/x-www-form-urlencoded; charset=UTF-8",
            )],
        ] {
            assert_eq!(is_from_the_page(&fields(change)), Ok(()), "{change:?}");
        }
        for (change, cause) in [
            (("origin", ""), NotDone::Origin),
            (("origin", "null"), NotDone::Origin),
            (("origin", "http://127.0.0.1:9902"), NotDone::Origin),
            (("origin", "http://evil.example"), NotDone::Origin),
            (("origin", "127.0.0.1:9901"), NotDone::Origin),
            (("host", ""), NotDone::Origin),
            (("sec-fetch-site", "cross-site"), NotDone::Origin),
            (("sec-fetch-site", "same-site"), NotDone::Origin),
            (("sec-fetch-site", "none"), NotDone::Origin),
            (("content-type", ""), NotDone::Form),
            (("content-type", "text/plain"), NotDone::Form),
        ] {
            assert_eq!(
                is_from_the_page(&fields(&[change])),
                Err(cause),
                "{change:?}"
            );
        }
        let mut twice = fields(&[]);
        twice.append("origin", HeaderValue::from_static("http://127.0.0.1:9901"));
        assert_eq!(is_from_the_page(&twice), Err(NotDone::Origin));
    }

    #[test]
    fn outcome_is_one_of_a_few_words() {
        let answer = |json: &str| {
            Ok(AdminAnswer {
                status: StatusCode::OK,
                json: json.to_owned(),
            })
        };
        assert_eq!(outcome(answer("{\"outcome\":\"published\"}")), "published");
        assert_eq!(outcome(answer("{\"outcome\":\"<script>\"}")), "unanswered");
        assert_eq!(outcome(answer("nonsense")), "unanswered");
        assert_eq!(outcome(Err(Unanswered::Gone)), "unanswered");
        assert_eq!(sentence("<script>"), None);
    }
}
