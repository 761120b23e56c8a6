//! Reads `[upstreams.NAME.outbound]`: what countersign offers when it is itself the client.

use std::path::PathBuf;

use http::header::AUTHORIZATION;

use crate::identity::{Encoding, HeaderTemplates, fold_field_name};

use super::model::{CredentialSource, Endpoint, LayerMode, Located, Outbound};
use super::problem::Problem;
use super::section::{Field, Read, Section};
use super::signed::{SignedAssertion, signed_assertion};
use super::units::quoted;
use super::upstreams::is_local;

/// The upstream that is spoken to, as far as it is legal.
pub(super) struct Target<'u> {
    pub(super) name: &'u str,
    pub(super) endpoints: Option<&'u [Endpoint]>,
    pub(super) has_certificate: Option<bool>,
}

pub(super) fn outbound(section: &mut Section<'_>, target: &Target<'_>) -> Read<Outbound> {
    let client_certificate = layer(section, "client_certificate_authentication");
    let credential = layer(section, "basic_authentication");
    let assertion = layer(section, "identity_assertion");
    for key in ["stateful_sessions", "authentication_retry"] {
        section.optional(key, |field| field.boolean()).ok();
    }
    section.unavailable(
        "session_cookies",
        "remove it; every request carries its full authentication",
    );
    let run_as = section.optional("run_as", |field| {
        field.choice_now(
            &[("client", ())],
            &["system", "specified"],
            "write \"client\"",
        )
    });
    let source = section.subsection("credential", source);
    let assertions = section.subsection("assertion", |section| {
        assertions(section, assertion, target.name)
    });
    run_as?;
    let (encodings, signed) = assertions?;
    let outbound = Outbound {
        client_certificate: client_certificate?,
        credential: credential?,
        assertion: assertion?,
        source: source?,
        encodings,
        signed,
    };
    has_the_field_alone(section, &outbound)?;
    can_present(section, &outbound, target)?;
    is_believed(section, &outbound, target)?;
    Ok(outbound)
}

fn layer(section: &mut Section<'_>, key: &'static str) -> Read<LayerMode> {
    section.defaulted(key, LayerMode::Supported, |field| {
        field.choice(&[
            ("never", LayerMode::Never),
            ("supported", LayerMode::Supported),
            ("required", LayerMode::Required),
        ])
    })
}

/// Sees that the credential and the signed assertion do not both stand in `Authorization`.
fn has_the_field_alone(section: &Section<'_>, outbound: &Outbound) -> Read<()> {
    let signed = outbound.signed.as_ref();
    let shared = signed.is_some_and(|signed| signed.header == AUTHORIZATION);
    if !shared || outbound.credential == LayerMode::Never {
        return Ok(());
    }
    let problem = Problem::new("a credential and the signed assertion, both in Authorization")
        .causes("the service would read one of the two, and nobody could say which")
        .remedy("write basic_authentication = \"never\", or another header in the table `jwt`");
    Err(section.refuse_key("basic_authentication", problem))
}

/// Sees that a certificate that must be presented can be, on every endpoint.
fn can_present(section: &Section<'_>, outbound: &Outbound, target: &Target<'_>) -> Read<()> {
    if outbound.client_certificate != LayerMode::Required {
        return Ok(());
    }
    const KEY: &str = "client_certificate_authentication";
    let plain = target
        .endpoints
        .and_then(|all| all.iter().find(|endpoint| !endpoint.tls));
    if let Some(endpoint) = plain {
        let problem = Problem::new(format!(
            "\"required\", but {} is not https://",
            quoted(&endpoint.text)
        ))
        .causes("no request could ever be sent there")
        .remedy("write https://, or client_certificate_authentication = \"supported\"");
        return Err(section.refuse_key(KEY, problem));
    }
    if target.has_certificate == Some(false) {
        let problem = Problem::new("\"required\", but there is no certificate to present")
            .causes("no request could ever be sent")
            .remedy(format!(
                "write certificate = {{ chain = \"tls/proxy.pem\", key = \"tls/proxy.key\" }} in [upstreams.{}.tls]",
                target.name
            ));
        return Err(section.refuse_key(KEY, problem));
    }
    Ok(())
}

/// Sees that the upstream can know that it is countersign that asserts an identity.
///
fn is_believed(section: &Section<'_>, outbound: &Outbound, target: &Target<'_>) -> Read<()> {
    let own_credential = !matches!(outbound.source, CredentialSource::Forward);
    let established = outbound.assertion == LayerMode::Never
        || (own_credential && outbound.credential != LayerMode::Never)
        || outbound.signed.is_some()
        || outbound.client_certificate == LayerMode::Required;
    let remote = target
        .endpoints
        .and_then(|all| all.iter().find(|one| !is_local(one)));
    match remote {
        Some(endpoint) if !established => {
            let problem = Problem::new(format!(
                "{} could not know that the identities it is told come from countersign",
                quoted(&endpoint.text)
            ))
            .causes("whoever else can connect to it could claim to be anybody")
            .remedy(format!(
                "write client_certificate_authentication = \"required\" and a certificate in [upstreams.{name}.tls],\n\
                 or source = \"basic\" or \"bearer\" in [upstreams.{name}.outbound.credential],\n\
                 or encode = [\"jwt\"] in [upstreams.{name}.outbound.assertion], which is signed,\n\
                 or endpoints on loopback or a unix socket,\n\
                 or identity_assertion = \"never\"",
                name = target.name
            ));
            Err(section.refuse_key("identity_assertion", problem))
        }
        _ => Ok(()),
    }
}

fn source(section: &mut Section<'_>) -> Read<CredentialSource> {
    let source = section.defaulted("source", Source::Forward, |field| {
        let words = [
            ("forward", Source::Forward),
            ("basic", Source::Basic),
            ("bearer", Source::Bearer),
        ];
        field.choice_now(
            &words,
            &["per_caller"],
            "write \"forward\", \"basic\" or \"bearer\"",
        )
    });
    let user = section.field("user");
    let password_file = section.field("password_file");
    let token_file = section.field("token_file");
    match source? {
        Source::Forward => {
            nothing_else("forward", &[&user, &password_file, &token_file])?;
            Ok(CredentialSource::Forward)
        }
        Source::Basic => {
            let user = present(section, "user", user, self::user);
            let password_file = present(section, "password_file", password_file, path);
            nothing_else("basic", &[&token_file])?;
            Ok(CredentialSource::Basic {
                user: user?,
                password_file: password_file?,
            })
        }
        Source::Bearer => {
            let token_file = present(section, "token_file", token_file, path);
            nothing_else("bearer", &[&user, &password_file])?;
            Ok(CredentialSource::Bearer {
                token_file: token_file?,
            })
        }
    }
}

/// The word that decides which other keys there are.
#[derive(Clone, Copy)]
enum Source {
    Forward,
    Basic,
    Bearer,
}

fn present<'r, T>(
    section: &mut Section<'r>,
    key: &'static str,
    field: Option<Field<'r>>,
    read: impl Fn(&Field<'r>) -> Read<T>,
) -> Read<T> {
    match field {
        Some(field) => read(&field),
        None => Err(section.lack(key)),
    }
}

/// Refuses keys that have no meaning with this source.
fn nothing_else(source: &str, fields: &[&Option<Field<'_>>]) -> Read<()> {
    let mut read = Ok(());
    for field in fields.iter().copied().flatten() {
        let needed = if field.pattern().ends_with("token_file") {
            "bearer"
        } else {
            "basic"
        };
        let problem = Problem::new(format!("has no meaning with source = \"{source}\""))
            .causes("it would never be sent")
            .remedy(format!("write source = \"{needed}\", or remove it"));
        read = Err(field.refuse(problem));
    }
    read
}

fn path(field: &Field<'_>) -> Read<Located<PathBuf>> {
    field.path()
}

/// A user that can be told apart from the password behind it (RFC 7617 §2).
fn user(field: &Field<'_>) -> Read<String> {
    field.parsed(|text| {
        let why = if text.is_empty() {
            "is no user"
        } else if text.contains(':') {
            "has a colon, which ends the user in a Basic credential"
        } else if text.contains("${") {
            "has a variable, which only paths can have"
        } else if text.chars().any(char::is_control) {
            "has a control character"
        } else {
            return Ok(text.to_owned());
        };
        Err(Problem::new(format!("{} {why}", quoted(text))).remedy("write the user itself"))
    })
}

/// The encodings and the signed assertion, whether or not anything is asserted.
fn assertions(
    section: &mut Section<'_>,
    assertion: Read<LayerMode>,
    upstream: &str,
) -> Read<(Vec<Encoding>, Option<SignedAssertion>)> {
    const LATER: [&str; 5] = ["client-cert", "nginx", "apache", "webseal", "traefik"];
    let encode = section.defaulted("encode", vec![Form::Xfcc], |field| {
        let words = [
            ("xfcc", Form::Xfcc),
            ("headers", Form::Headers),
            ("jwt", Form::Jwt),
        ];
        let instead = "write \"xfcc\", \"headers\" or \"jwt\"";
        field.list(|member| member.choice_now(&words, &LATER, instead))
    });
    let signed = signed_if_asked(section, encode.as_deref().ok(), upstream);
    let encodings = encodings(section, encode, assertion, signed.as_ref().ok());
    Ok((encodings?, signed?))
}

/// The table of the signed assertion, which is there exactly if `encode` has `jwt`.
fn signed_if_asked(
    section: &mut Section<'_>,
    encode: Option<&[Form]>,
    upstream: &str,
) -> Read<Option<SignedAssertion>> {
    let field = section.field("jwt");
    let signed = field
        .as_ref()
        .map(|field| field.section(|section| signed_assertion(section, upstream)))
        .transpose();
    match (&field, encode.map(|encode| encode.contains(&Form::Jwt))) {
        (None, Some(true)) => {
            let problem = Problem::new("missing")
                .causes("without it there would be no key to sign with")
                .remedy(format!(
                    "write a table [{}] with keys = [\"keys/assertion.pem\"] and issuer = \"https://edge.example\"",
                    section.shown("jwt")
                ));
            Err(section.lack_with("jwt", problem))
        }
        (Some(field), Some(false)) => {
            let problem = Problem::new("has no meaning without \"jwt\" in encode")
                .causes("nothing would be signed")
                .remedy("write encode = [\"jwt\"], or remove the table");
            Err(field.refuse(problem))
        }
        _ => signed,
    }
}

fn encodings(
    section: &mut Section<'_>,
    encode: Read<Vec<Form>>,
    assertion: Read<LayerMode>,
    signed: Option<&Option<SignedAssertion>>,
) -> Read<Vec<Encoding>> {
    let field = section.field("headers");
    let templates = field.as_ref().map(templates).transpose();
    let encode = encode?;
    match (&field, encode.contains(&Form::Headers)) {
        (None, true) => {
            let problem = Problem::new("missing")
                .causes("without it no identity would be sent")
                .remedy(format!(
                    "write a table [{}] with \"X-Client-Subject\" = \"{{subject}}\"",
                    section.shown("headers")
                ));
            return Err(section.lack_with("headers", problem));
        }
        (Some(field), false) => {
            let problem = Problem::new("has no meaning without \"headers\" in encode")
                .causes("none of these fields would be sent")
                .remedy("write encode = [\"headers\"], or remove the table");
            return Err(field.refuse(problem));
        }
        _ => {}
    }
    let templates = templates?;
    // Kept with `never` too: these are fields that a service believes, so what
    // a client sends under their names is removed all the same.
    assertion?;
    let encoding = |form: &Form| match form {
        Form::Xfcc => Some(Encoding::Xfcc),
        Form::Headers => templates.clone().map(Encoding::Headers),
        Form::Jwt => None,
    };
    let encodings: Vec<_> = encode.iter().filter_map(encoding).collect();
    let mut names: Vec<_> = encodings
        .iter()
        .flat_map(|encoding| {
            encoding
                .field_names()
                .map(|name| fold_field_name(name.as_str()))
        })
        .collect();
    let signed = signed.and_then(Option::as_ref);
    names.extend(signed.map(|signed| fold_field_name(signed.header.as_str())));
    names.sort();
    if let Some([twice, _]) = names.array_windows().find(|[one, other]| one == other) {
        let problem = Problem::new(format!("`{twice}` is written twice, by two encodings"))
            .causes("the service might read either of the two")
            .remedy(
                "take the field out of the table `headers`, give the table `jwt` another header, or take one of the encodings out of encode",
            );
        return Err(section.refuse(problem));
    }
    Ok(encodings)
}

/// How an identity is written, as far as the word in `encode` says it.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Form {
    Xfcc,
    Headers,
    Jwt,
}

fn templates(field: &Field<'_>) -> Read<HeaderTemplates> {
    let entries = field.entries("FIELD")?;
    let mut texts = Vec::new();
    for (name, _, value) in &entries {
        texts.push(value.text().map(|text| (name.clone(), text.to_owned())));
    }
    let texts: Read<Vec<_>> = texts.into_iter().collect();
    let texts = texts?;
    if texts.is_empty() {
        let problem = Problem::new("the table is empty").causes("no identity would be sent");
        return Err(field.refuse(problem.remedy("write \"X-Client-Subject\" = \"{subject}\"")));
    }
    HeaderTemplates::parse(&texts).map_err(|error| {
        let at = entries
            .iter()
            .find(|(name, ..)| name.eq_ignore_ascii_case(&error.name));
        let problem = Problem::new(error.to_string());
        at.map_or(field, |(_, _, value)| value).refuse(problem)
    })
}
