//! Fields that a route sets, adds and removes.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::config::FieldRules;
use crate::identity::{EncodeError, PeerIdentity, TextTemplate, fold_field_name, folds_to};
use crate::proxy::headers;

/// What a route says of the fields of a head.
#[derive(Debug)]
pub(super) struct Fields {
    /// Folded names of the fields of which nothing passes.
    replaced: Vec<String>,
    /// What every head gets.
    constant: Vec<(HeaderName, HeaderValue)>,
    /// What depends on the caller.
    per_caller: Vec<(HeaderName, TextTemplate)>,
}

/// What the heads of one caller get, beside what every head gets.
pub(super) type OfCaller = Vec<(HeaderName, HeaderValue)>;

impl Fields {
    pub(super) fn new(rules: &FieldRules) -> Self {
        let mut fields = Self {
            replaced: rules
                .replaced()
                .map(|name| fold_field_name(name.as_str()))
                .collect(),
            constant: Vec::new(),
            per_caller: Vec::new(),
        };
        for rule in rules.written() {
            let constant = rule.text.literal();
            // A text of the config is legal in a field: it is printable ASCII.
            match constant.and_then(|text| HeaderValue::try_from(text).ok()) {
                Some(value) => fields.constant.push((rule.name.clone(), value)),
                None => fields
                    .per_caller
                    .push((rule.name.clone(), rule.text.clone())),
            }
        }
        fields
    }

    /// What a caller's heads get. A field in which nothing of it is known is
    /// left out, and so is every one for the anonymous.
    ///
    /// # Errors
    ///
    /// All of it is too large, or cannot stand in a field.
    pub(super) fn of(&self, caller: Option<&PeerIdentity>) -> Result<OfCaller, EncodeError> {
        let mut filled = OfCaller::new();
        let mut bytes = 0;
        for (name, text) in &self.per_caller {
            let text = caller.and_then(|peer| text.render(peer.names(), peer.speaker()));
            let Some(text) = text else {
                continue;
            };
            bytes += name.as_str().len() + text.len();
            EncodeError::within_budget(name, bytes)?;
            let value = HeaderValue::try_from(text).map_err(|_| EncodeError::NotAFieldValue {
                field: name.clone(),
            })?;
            filled.push((name.clone(), value));
        }
        Ok(filled)
    }

    /// Makes the changes in a head.
    pub(super) fn write(&self, of_caller: &OfCaller, head: &mut HeaderMap) {
        headers::drop_where(head, |name| {
            let is_it = |folded: &String| folds_to(name.as_str(), folded);
            self.replaced.iter().any(is_it)
        });
        for (name, value) in self.constant.iter().chain(of_caller) {
            head.append(name, value.clone());
        }
    }
}
