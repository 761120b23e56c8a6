//! The attribute layer: who is calling, written into the head that goes up.

use std::cell::RefCell;
use std::rc::Rc;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::fault::{Fault, Kind, Phase, Side};
use crate::config::{LayerMode, UpstreamId};
use crate::identity::{EncodeError, PeerIdentity};
use crate::upstream::Plan;

/// The identity fields of one connection, written once for each upstream.
#[derive(Debug)]
pub(super) struct Assertions {
    by_upstream: RefCell<Vec<Option<Written>>>,
}

type Fields = Rc<Vec<(HeaderName, HeaderValue)>>;

/// The fields, or why they cannot be written.
type Written = Result<Fields, (Kind, Rc<str>)>;

impl Assertions {
    pub(super) fn new(upstreams: usize) -> Self {
        Self {
            by_upstream: RefCell::new(vec![None; upstreams]),
        }
    }

    /// Writes the identity into `headers` as the upstream's attribute layer
    /// wants it. Whether anything was asserted.
    ///
    /// # Errors
    ///
    /// There is no identity and one is required, or the forms that the upstream
    /// reads cannot name it, or it is too large to write.
    pub(super) fn write(
        &self,
        (id, plan): (UpstreamId, &Plan),
        peer: Option<&PeerIdentity>,
        headers: &mut HeaderMap,
    ) -> Result<bool, Fault> {
        let peer = match (plan.assertion(), peer) {
            (LayerMode::Never, _) | (LayerMode::Supported, None) => return Ok(false),
            (LayerMode::Required, None) => {
                return Err(Fault::new(
                    Side::Proxy,
                    Phase::Outbound,
                    Kind::AssertionMissing,
                    format!(
                        "upstreams.{} requires an identity (identity_assertion), and the caller is anonymous",
                        plan.name()
                    ),
                ));
            }
            (LayerMode::Supported | LayerMode::Required, Some(peer)) => peer,
        };
        let fields = self
            .fields(id, plan, peer)
            .map_err(|(kind, cause)| Fault::new(Side::Proxy, Phase::Outbound, kind, &*cause))?;
        for (name, value) in fields.iter() {
            headers.append(name, value.clone());
        }
        Ok(true)
    }

    fn fields(&self, id: UpstreamId, plan: &Plan, peer: &PeerIdentity) -> Written {
        let mut all = self.by_upstream.borrow_mut();
        let Some(slot) = all.get_mut(id.0) else {
            return Err((Kind::AssertionMissing, "the upstream is unknown".into()));
        };
        slot.get_or_insert_with(|| {
            let mut fields = Vec::new();
            for encoding in plan.encodings() {
                encoding
                    .encode(peer.identity(), plan.own_identity(), &mut fields)
                    .map_err(|cause| (kind_of(&cause), Rc::from(cause.to_string())))?;
            }
            Ok(Rc::new(fields))
        })
        .clone()
    }
}

fn kind_of(cause: &EncodeError) -> Kind {
    match cause {
        EncodeError::Inexpressible { .. } => Kind::AssertionMissing,
        EncodeError::NotAFieldValue { .. } | EncodeError::TooLarge { .. } => {
            Kind::AssertionTooLarge
        }
    }
}
