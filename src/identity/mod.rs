//! Reads names out of a verified leaf, matches them against patterns, and writes them in every encoding.
//! A stand-in, to compile against.
#![allow(missing_docs)]

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NameKind {
    Uri,
    Dns,
    Subject,
    Fingerprint,
}
#[derive(Clone, Debug)]
pub struct NamePattern(pub NameKind, pub String);
#[derive(Debug, thiserror::Error)]
#[error("a pattern is not empty")]
pub struct PatternError;
impl NamePattern {
    pub fn parse(kind: NameKind, text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            Err(PatternError)
        } else {
            Ok(Self(kind, text.to_owned()))
        }
    }
}
#[derive(Clone, Debug)]
pub struct PeerPattern(pub Vec<NamePattern>);
impl PeerPattern {
    pub fn new(names: Vec<NamePattern>) -> Result<Self, PatternError> {
        if names.is_empty() {
            Err(PatternError)
        } else {
            Ok(Self(names))
        }
    }
}
#[derive(Clone, Debug)]
pub enum Encoding {
    Xfcc,
    Headers(HeaderTemplates),
}
#[derive(Clone, Debug)]
pub struct HeaderTemplates(pub Vec<(String, String)>);
#[derive(Debug, thiserror::Error)]
#[error("the template is not closed")]
pub struct TemplateError(String);
impl TemplateError {
    pub fn field(&self) -> &str {
        &self.0
    }
}
impl HeaderTemplates {
    pub fn parse(fields: &[(String, String)]) -> Result<Self, TemplateError> {
        match fields
            .iter()
            .find(|(_, t)| t.matches('{').count() != t.matches('}').count())
        {
            Some((name, _)) => Err(TemplateError(name.clone())),
            None => Ok(Self(fields.to_vec())),
        }
    }
}
