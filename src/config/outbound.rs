//! Reads `[upstreams.NAME.outbound]`: what countersign offers when it is itself the client.

use std::path::PathBuf;

use crate::identity::{Encoding, HeaderTemplates, XfccKeys, fold_field_name};

use super::model::{CredentialSource, Endpoint, LayerMode, Located, Outbound};
use super::problem::Problem;
use super::section::{Field, Read, Section};
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
    let encodings = section.subsection("assertion", |section| encodings(section, assertion));
    run_as?;
    let outbound = Outbound {
        client_certificate: client_certificate?,
        credential: credential?,
        assertion: assertion?,
        source: source?,
        encodings: encodings?,
    };
    can_present(section, &outbound, target)?;
    can_sign_by(section, &outbound, target)?;
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

/// Sees that the upstream can know that it is countersign that asserts an identity.
///
/// No encoding of this version is signed, so something else must say so.
fn is_believed(section: &Section<'_>, outbound: &Outbound, target: &Target<'_>) -> Read<()> {
    let own_credential = !matches!(outbound.source, CredentialSource::Forward);
    let established = outbound.assertion == LayerMode::Never
        || (own_credential && outbound.credential != LayerMode::Never)
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

/// The encodings, whether or not anything is asserted.
fn encodings(section: &mut Section<'_>, assertion: Read<LayerMode>) -> Read<Vec<Encoding>> {
    let encode = section.defaulted("encode", vec![Form::Xfcc], |field| {
        field.list(|member| member.choice_now(&FORMS, &["jwt"], FORM_REMEDY))
    });
    let also = section.field("xfcc_also");
    let xfcc_keys = also.as_ref().map(xfcc_keys).transpose();
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
    if let Some(field) = also.filter(|_| !encode.contains(&Form::Xfcc)) {
        let problem = Problem::new("has no meaning without \"xfcc\" in encode")
            .causes("none of these keys would be sent")
            .remedy("write encode = [\"xfcc\"], or remove it");
        return Err(field.refuse(problem));
    }
    let templates = templates?;
    let xfcc_keys = xfcc_keys?.unwrap_or_default();
    // Kept with `never` too: these are fields that a service believes, so what
    // a client sends under their names is removed all the same.
    assertion?;
    let encoding = |form: &Form| match form {
        Form::Apache => Some(Encoding::Apache),
        Form::ClientCert => Some(Encoding::ClientCert),
        Form::Headers => templates.clone().map(Encoding::Headers),
        Form::IngressNginx => Some(Encoding::IngressNginx),
        Form::Nginx => Some(Encoding::Nginx),
        Form::Traefik => Some(Encoding::Traefik),
        Form::Webseal => Some(Encoding::Webseal),
        Form::Xfcc => Some(Encoding::Xfcc(xfcc_keys)),
    };
    let encodings: Vec<_> = encode.iter().filter_map(encoding).collect();
    if let Some(twice) = written_twice(&encodings) {
        let problem = Problem::new(format!("`{twice}` is written twice, by two encodings"))
            .causes("the service might read either of the two")
            .remedy(
                "take the field out of the table `headers`, or one of the encodings out of encode",
            );
        return Err(section.refuse(problem));
    }
    Ok(encodings)
}

/// A field that more than one encoding may write, in the spelling of them all.
fn written_twice(encodings: &[Encoding]) -> Option<String> {
    let mut names: Vec<_> = encodings
        .iter()
        .flat_map(Encoding::field_names)
        .map(|name| fold_field_name(name.as_str()))
        .collect();
    names.sort();
    let numbered = encodings.iter().flat_map(Encoding::field_prefixes);
    for prefix in numbered {
        if let Some(name) = names.iter().find(|name| name.starts_with(prefix)) {
            return Some(name.clone());
        }
    }
    let twice = names.array_windows().find(|[one, other]| one == other);
    twice.map(|[name, _]| name.clone())
}

/// How an identity is written, as far as the word in `encode` says it.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Form {
    Apache,
    ClientCert,
    Headers,
    IngressNginx,
    Nginx,
    Traefik,
    Webseal,
    Xfcc,
}

const FORMS: [(&str, Form); 8] = [
    ("xfcc", Form::Xfcc),
    ("client-cert", Form::ClientCert),
    ("nginx", Form::Nginx),
    ("ingress-nginx", Form::IngressNginx),
    ("apache", Form::Apache),
    ("traefik", Form::Traefik),
    ("webseal", Form::Webseal),
    ("headers", Form::Headers),
];

const FORM_REMEDY: &str = "write another of the encodings, such as \"xfcc\" or \"client-cert\"";

/// The keys of `X-Forwarded-Client-Cert` that are written when they are asked for.
fn xfcc_keys(field: &Field<'_>) -> Read<XfccKeys> {
    let words = [("By", "By"), ("Cert", "Cert"), ("Chain", "Chain")];
    let keys = field.list(|member| member.choice(&words))?;
    Ok(XfccKeys {
        by: keys.contains(&"By"),
        cert: keys.contains(&"Cert"),
        chain: keys.contains(&"Chain"),
    })
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
