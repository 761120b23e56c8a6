//! Fields whose names some services take for those of others.
//!
//! What becomes of them is the listener's to say ([`FieldNames`]); fields that say
//! who is calling are removed whatever it says ([`crate::identity::IdentityFields`]).

use http::{HeaderMap, HeaderName};

use super::fault::Fault;
use crate::config::FieldNames;
use crate::identity::{folds_to, is_folded_with_others};

/// Refuses a head whose names a service may take for others, where that is wanted.
///
/// # Errors
///
/// There is one.
pub(super) fn check(headers: &HeaderMap, names: FieldNames) -> Result<(), Fault> {
    if names != FieldNames::Strict {
        return Ok(());
    }
    let mut all = headers.keys().map(HeaderName::as_str);
    match all.find(|name| is_folded_with_others(name)) {
        None => Ok(()),
        Some(name) => {
            let shown = name.get(..name.len().min(SHOWN)).unwrap_or_default();
            let mut fault = Fault::malformed(format!(
                "the field name `{shown}` holds what some services take for `-`"
            ));
            fault.own_remedy = Some(
                "have the client write the name with letters, digits and `-` alone, or write field_names = \"drop\" for the listener"
                    .to_owned(),
            );
            Err(fault)
        }
    }
}

/// As much of a name as is shown, in bytes.
const SHOWN: usize = 64;

/// Whether a field is not to pass because a service may take it for another one.
pub(super) fn is_mistakable(name: &HeaderName, names: FieldNames) -> bool {
    let name = name.as_str();
    if !is_folded_with_others(name) {
        return false;
    }
    // Where a message ends is countersign's to say, in every spelling.
    names != FieldNames::Keep
        || folds_to(name, "content-length")
        || folds_to(name, "transfer-encoding")
}
