//! Reads whose assertions a listener accepts, and in which forms.

use super::model::{AcceptedAssertions, ListenerTls};
use super::problem::Problem;
use super::routes;
use super::section::{Read, Section};
use super::signed::{AcceptedJwt, accepted_jwt};
use crate::identity::{Decoding, fold_field_name};

/// Reads `accept_assertions_from`, `accept_assertions` and the table
/// `assertion_jwt`; each has a meaning only with the others.
pub(super) fn accepted(section: &mut Section<'_>) -> Read<Option<AcceptedAssertions>> {
    let from = section.optional("accept_assertions_from", |field| {
        field.list(routes::pattern)
    });
    let forms = section.optional("accept_assertions", |field| {
        field.list(|member| member.choice(&FORMS))
    });
    let field = section.field("assertion_jwt");
    let jwt = field.as_ref().map(|field| field.section(accepted_jwt));
    let jwt = jwt.transpose();
    let (from, forms) = (from?, forms?);
    let asked = forms.as_ref().is_some_and(|all| all.contains(&Form::Jwt));
    if let (Some(field), false) = (&field, asked) {
        let problem = Problem::new("has no meaning without \"jwt\" in accept_assertions")
            .causes("no assertion would be verified with it")
            .remedy("write accept_assertions = [\"jwt\"], or remove the table");
        return Err(field.refuse(problem));
    }
    if field.is_none() && asked {
        let problem = Problem::new("missing")
            .causes("without it there would be no key to verify an assertion with")
            .remedy(format!(
                "write a table [{}] with jwks = \"keys/edge.jwks.json\", issuer and audience",
                section.shown("assertion_jwt")
            ));
        return Err(section.lack_with("assertion_jwt", problem));
    }
    let (from, forms) = match (from, forms) {
        (None, None) => return Ok(None),
        (Some(from), Some(forms)) => (from, forms),
        (Some(_), None) => {
            let problem = Problem::new("missing")
                .causes("without it no assertion would be read")
                .remedy("write accept_assertions = [\"xfcc\"], or \"client-cert\", or \"jwt\"");
            return Err(section.lack_with("accept_assertions", problem));
        }
        (None, Some(_)) => {
            let problem = Problem::new("missing")
                .causes("without it nobody's assertions would be accepted")
                .remedy(
                    "write accept_assertions_from = [{ uri = \"spiffe://edge.example/*\" }], or remove accept_assertions",
                );
            return Err(section.lack_with("accept_assertions_from", problem));
        }
    };
    let accepted = AcceptedAssertions {
        from,
        forms: forms.iter().filter_map(|form| form.decoding()).collect(),
        jwt: jwt?,
    };
    stands_apart(section, &accepted)?;
    Ok(Some(accepted))
}

/// Sees that there can be a peer of whom assertions are accepted.
pub(super) fn can_have_speakers(
    section: &Section<'_>,
    accepted: Option<&AcceptedAssertions>,
    tls: Option<&ListenerTls>,
) -> Read<()> {
    let asks = tls.is_some_and(ListenerTls::asks_for_certificates);
    if accepted.is_none() || asks {
        return Ok(());
    }
    let problem = Problem::new("this listener asks for no certificate")
        .causes("nobody could be known for one of these peers, and no assertion would be accepted")
        .remedy(format!(
            "write client_auth = \"require\" or \"want\" in [{}.tls], or remove it",
            section.own_path()
        ));
    Err(section.refuse_key("accept_assertions_from", problem))
}

/// Sees that no field carries two assertions.
fn stands_apart(section: &Section<'_>, accepted: &AcceptedAssertions) -> Read<()> {
    let Some(AcceptedJwt { header, .. }) = &accepted.jwt else {
        return Ok(());
    };
    let folded = fold_field_name(header.as_str());
    let mut others = accepted.forms.iter().flat_map(|form| form.field_names());
    if others.any(|name| fold_field_name(name.as_str()) == folded) {
        let problem = Problem::new(format!(
            "`{header}` would be read twice, as a JWT and in another form"
        ))
        .causes("no assertion would ever be legal in both")
        .remedy("give the table `assertion_jwt` another header");
        return Err(section.refuse_key("accept_assertions", problem));
    }
    Ok(())
}

/// A form in which an assertion of somebody else can be read.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Form {
    ClientCert,
    Jwt,
    Xfcc,
}

const FORMS: [(&str, Form); 3] = [
    ("xfcc", Form::Xfcc),
    ("client-cert", Form::ClientCert),
    ("jwt", Form::Jwt),
];

impl Form {
    fn decoding(self) -> Option<Decoding> {
        match self {
            Self::ClientCert => Some(Decoding::ClientCert),
            Self::Jwt => None,
            Self::Xfcc => Some(Decoding::Xfcc),
        }
    }
}
