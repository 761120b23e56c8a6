//! Reads `[upstreams.NAME.outbound.assertion]`: how the attribute layer says who
//! is calling.

use crate::identity::{Encoding, HeaderTemplates, XfccKeys, fold_field_name};

use super::model::LayerMode;
use super::problem::Problem;
use super::section::{Field, Read, Section};
use super::signed::{SignedAssertion, signed_assertion};

/// The encodings and the signed assertion, whether or not anything is asserted.
pub(super) fn assertions(
    section: &mut Section<'_>,
    assertion: Read<LayerMode>,
    upstream: &str,
) -> Read<(Vec<Encoding>, Option<SignedAssertion>)> {
    let encode = section.defaulted("encode", vec![Form::Xfcc], |field| {
        field.list(|member| member.choice(&FORMS))
    });
    let signed = signed_if_asked(section, encode.as_deref().ok(), upstream);
    let encodings = encodings(section, encode);
    // Kept with `never` too: these are fields that a service believes, so what
    // a client sends under their names is removed all the same.
    assertion?;
    let (encodings, signed) = (encodings?, signed?);
    if let Some(twice) = written_twice(&encodings, signed.as_ref()) {
        let problem = Problem::new(format!("`{twice}` is written twice, by two encodings"))
            .causes("the service might read either of the two")
            .remedy(
                "take the field out of the table `headers`, give the table `jwt` another header, or take one of the encodings out of encode",
            );
        return Err(section.refuse(problem));
    }
    Ok((encodings, signed))
}

/// How an identity is written, as far as the word in `encode` says it.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Form {
    Apache,
    ClientCert,
    Headers,
    IngressNginx,
    Jwt,
    Nginx,
    Traefik,
    Webseal,
    Xfcc,
}

const FORMS: [(&str, Form); 9] = [
    ("xfcc", Form::Xfcc),
    ("client-cert", Form::ClientCert),
    ("nginx", Form::Nginx),
    ("ingress-nginx", Form::IngressNginx),
    ("apache", Form::Apache),
    ("traefik", Form::Traefik),
    ("webseal", Form::Webseal),
    ("headers", Form::Headers),
    ("jwt", Form::Jwt),
];

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

/// The encodings that are not signed.
fn encodings(section: &mut Section<'_>, encode: Read<Vec<Form>>) -> Read<Vec<Encoding>> {
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
    let encoding = |form: &Form| match form {
        Form::Apache => Some(Encoding::Apache),
        Form::ClientCert => Some(Encoding::ClientCert),
        Form::Headers => templates.clone().map(Encoding::Headers),
        Form::IngressNginx => Some(Encoding::IngressNginx),
        Form::Jwt => None,
        Form::Nginx => Some(Encoding::Nginx),
        Form::Traefik => Some(Encoding::Traefik),
        Form::Webseal => Some(Encoding::Webseal),
        Form::Xfcc => Some(Encoding::Xfcc(xfcc_keys)),
    };
    Ok(encode.iter().filter_map(encoding).collect())
}

/// A field that more than one encoding may write, in the spelling of them all.
fn written_twice(encodings: &[Encoding], signed: Option<&SignedAssertion>) -> Option<String> {
    let mut names: Vec<_> = encodings
        .iter()
        .flat_map(Encoding::field_names)
        .chain(signed.map(|signed| &signed.header))
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
