//! Reads `[upstreams.NAME.outbound]`: what countersign offers when it is itself the client.

use std::path::PathBuf;

use http::header::AUTHORIZATION;

use crate::identity::Encoding;

use super::encodings::assertions;
use super::model::{CredentialSource, Endpoint, LayerMode, Located, Outbound, PoolPer};
use super::problem::Problem;
use super::run_as;
use super::section::{Field, Read, Section};
use super::stateful;
use super::units::quoted;
use super::upstreams::is_local;
use super::values::not_literal;

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
    let sessions = stateful::sessions(section);
    let retry = section.defaulted("authentication_retry", true, |field| field.boolean());
    let replay_limit = stateful::replay_limit(section);
    let pool_per = section.defaulted("pool_per", PoolPer::None, |field| {
        field.choice(&[
            ("none", PoolPer::None),
            ("identity", PoolPer::Identity),
            ("connection", PoolPer::Connection),
        ])
    });
    let run_as = run_as::run_as(section);
    let source = section.subsection("credential", source);
    let assertions = section.subsection("assertion", |section| {
        assertions(section, assertion, target.name)
    });
    let (encodings, signed) = assertions?;
    let outbound = Outbound {
        client_certificate: client_certificate?,
        credential: credential?,
        assertion: assertion?,
        run_as: run_as?,
        source: source?,
        encodings,
        signed,
        sessions: sessions?,
        authentication_retry: retry?,
        replay_limit: replay_limit?,
        pool_per: pool_per?,
    };
    has_the_field_alone(section, &outbound)?;
    can_present(section, &outbound, target)?;
    can_sign_by(section, &outbound, target)?;
    run_as::can_be_asserted(section, &outbound, target)?;
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

/// Sees that there is a certificate for the `By` of `X-Forwarded-Client-Cert` to name.
fn can_sign_by(section: &Section<'_>, outbound: &Outbound, target: &Target<'_>) -> Read<()> {
    let asked = |encoding: &Encoding| matches!(encoding, Encoding::Xfcc(keys) if keys.by);
    let presents = outbound.client_certificate != LayerMode::Never;
    if !outbound.encodings.iter().any(asked) || (presents && target.has_certificate != Some(false))
    {
        return Ok(());
    }
    let problem = Problem::new(
        "\"By\" in assertion.xfcc_also names the certificate that is presented to the service, and there is none",
    )
    .causes("the key would never be sent")
    .remedy(format!(
        "write certificate = {{ chain = \"tls/proxy.pem\", key = \"tls/proxy.key\" }} in [upstreams.{}.tls], or take \"By\" out",
        target.name
    ));
    Err(section.refuse(problem))
}

/// An endpoint that others reach too, and that could not tell countersign from them.
pub(super) fn stranger<'u>(outbound: &Outbound, endpoints: &'u [Endpoint]) -> Option<&'u Endpoint> {
    let mut remote = endpoints.iter().filter(|one| !is_local(one));
    let known = outbound.authenticates_countersign();
    remote.next().filter(|_| !known)
}

/// Sees that the upstream can know that it is countersign that asserts an identity.
fn is_believed(section: &Section<'_>, outbound: &Outbound, target: &Target<'_>) -> Read<()> {
    let established =
        outbound.assertion == LayerMode::Never || outbound.authenticates_countersign();
    // A signature vouches for the signed form alone.
    let unsigned = outbound.encodings.first().filter(|_| !established);
    let remote = target
        .endpoints
        .and_then(|all| all.iter().find(|one| !is_local(one)));
    let (Some(endpoint), Some(unsigned)) = (remote, unsigned) else {
        return Ok(());
    };
    let instead = match &outbound.signed {
        None => "or encode = [\"jwt\"]".to_owned(),
        Some(_) => format!("or \"jwt\" without \"{}\" in encode", unsigned.word()),
    };
    let problem = Problem::new(format!(
        "{} could not know that the identities it is told in \"{}\" come from countersign",
        quoted(&endpoint.text),
        unsigned.word()
    ))
    .causes("whoever else can connect to it could claim to be anybody")
    .remedy(format!(
        "write client_certificate_authentication = \"required\" and a certificate in [upstreams.{name}.tls],\n\
         or source = \"basic\" or \"bearer\" in [upstreams.{name}.outbound.credential],\n\
         or source = \"per_caller\" there, with basic_authentication = \"required\",\n\
         {instead} in [upstreams.{name}.outbound.assertion], which is signed,\n\
         or endpoints on loopback or a unix socket,\n\
         or identity_assertion = \"never\"",
        name = target.name
    ));
    Err(section.refuse_key("identity_assertion", problem))
}

fn source(section: &mut Section<'_>) -> Read<CredentialSource> {
    let source = section.defaulted("source", Source::Forward, |field| {
        let words = [
            ("forward", Source::Forward),
            ("basic", Source::Basic),
            ("bearer", Source::Bearer),
            ("per_caller", Source::PerCaller),
        ];
        field.choice(&words)
    });
    let user = section.field("user");
    let password_file = section.field("password_file");
    let token_file = section.field("token_file");
    let file = section.field("file");
    match source? {
        Source::Forward => {
            nothing_else("forward", &[&user, &password_file, &token_file, &file])?;
            Ok(CredentialSource::Forward)
        }
        Source::Basic => {
            let user = present(section, "user", user, self::user);
            let password_file = present(section, "password_file", password_file, path);
            nothing_else("basic", &[&token_file, &file])?;
            Ok(CredentialSource::Basic {
                user: user?,
                password_file: password_file?,
            })
        }
        Source::Bearer => {
            let token_file = present(section, "token_file", token_file, path);
            nothing_else("bearer", &[&user, &password_file, &file])?;
            Ok(CredentialSource::Bearer {
                token_file: token_file?,
            })
        }
        Source::PerCaller => {
            let file = present(section, "file", file, path);
            nothing_else("per_caller", &[&user, &password_file, &token_file])?;
            Ok(CredentialSource::PerCaller { file: file? })
        }
    }
}

/// The word that decides which other keys there are.
#[derive(Clone, Copy)]
enum Source {
    Forward,
    Basic,
    Bearer,
    PerCaller,
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
        let needed = match field.pattern() {
            name if name.ends_with("token_file") => "bearer",
            name if name.ends_with(".file") => "per_caller",
            _ => "basic",
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
        } else if let Some(why) = not_literal(text) {
            why
        } else {
            return Ok(text.to_owned());
        };
        Err(Problem::new(format!("{} {why}", quoted(text))).remedy("write the user itself"))
    })
}
