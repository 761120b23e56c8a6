//! The attribute layer: who is calling, written into the head that goes up.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::SystemTime;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::fault::{Fault, Kind, Phase, Side};
use crate::config::{LayerMode, UpstreamId};
use crate::identity::{EncodeError, Identity, PeerIdentity, Tellers};
use crate::upstream::Plan;
use crate::upstream::assertion::{AssertError, Asserter, Role, Statement, Tokens};

/// What is asserted of one party, put together once for each upstream.
#[derive(Debug)]
pub(super) struct Assertions {
    by_upstream: RefCell<Vec<Option<Written>>>,
}

/// The upstream that is told.
pub(super) struct Told<'a> {
    pub(super) id: UpstreamId,
    pub(super) plan: &'a Plan,
    /// The signed assertions that it can be sent again.
    pub(super) tokens: &'a Tokens,
}

/// What is asserted, or why it cannot be.
type Written = Result<Rc<Said>, AssertError>;

/// An identity as one upstream is told it.
#[derive(Debug)]
struct Said {
    /// What stays the same from one request to the next.
    fields: Vec<(HeaderName, HeaderValue)>,
    /// What is signed anew from time to time.
    statement: Option<Statement>,
}

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
    /// reads cannot name it, or it is too large to write, or cannot be signed.
    pub(super) fn write(
        &self,
        told: &Told<'_>,
        peer: Option<&PeerIdentity>,
        headers: &mut HeaderMap,
    ) -> Result<bool, Fault> {
        let plan = told.plan;
        let whom = match (plan.assertion(), plan.asserts(peer)) {
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
            (LayerMode::Supported | LayerMode::Required, Some(whom)) => whom,
        };
        let said = self
            .said(told.id, plan, whom)
            .map_err(|cause| unwritten(&cause))?;
        if let (Some(asserter), Some(statement)) = (plan.asserter(), &said.statement) {
            let token = told
                .tokens
                .token(asserter, statement, SystemTime::now())
                .and_then(|token| within_budget(&said.fields, asserter, token))
                .map_err(|cause| unwritten(&cause))?;
            headers.append(asserter.field(), token);
        }
        for (name, value) in &said.fields {
            headers.append(name, value.clone());
        }
        Ok(true)
    }

    fn said(&self, id: UpstreamId, plan: &Plan, whom: (&Identity, Role<'_>)) -> Written {
        let mut all = self.by_upstream.borrow_mut();
        match all.get_mut(id.0) {
            Some(slot) => slot.get_or_insert_with(|| put_together(plan, whom)).clone(),
            // Not one of this generation's: it is told in full, each time.
            None => put_together(plan, whom),
        }
    }
}

fn put_together(plan: &Plan, (identity, role): (&Identity, Role<'_>)) -> Written {
    let mut fields = Vec::new();
    let tellers = Tellers {
        own: plan.own_identity(),
        speaker: role.speaker(),
    };
    for encoding in plan.encodings() {
        encoding.encode(identity, tellers, &mut fields)?;
    }
    let state = |asserter| Statement::of(asserter, identity.names(), role);
    let statement = plan.asserter().map(state).transpose()?;
    Ok(Rc::new(Said { fields, statement }))
}

/// The token, if it and the other fields are within their budget together.
fn within_budget(
    fields: &[(HeaderName, HeaderValue)],
    asserter: &Asserter,
    token: HeaderValue,
) -> Result<HeaderValue, AssertError> {
    let field = asserter.field();
    let signed = field.as_str().len() + token.len();
    let bytes = fields.iter().fold(signed, |sum, (name, value)| {
        sum + name.as_str().len() + value.len()
    });
    EncodeError::within_budget(field, bytes).map_err(AssertError::from)?;
    Ok(token)
}

fn unwritten(cause: &AssertError) -> Fault {
    let kind = match cause {
        AssertError::NoSubject => Kind::AssertionMissing,
        AssertError::Signing(_) => Kind::AssertionUnsigned,
        AssertError::Unwritten(EncodeError::Inexpressible { .. }) => Kind::AssertionMissing,
        AssertError::Unwritten(
            EncodeError::NotAFieldValue { .. } | EncodeError::TooLarge { .. },
        ) => Kind::AssertionTooLarge,
    };
    Fault::new(Side::Proxy, Phase::Outbound, kind, cause.to_string())
}
