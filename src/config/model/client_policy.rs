//! What a listener demands of its clients, for each name that they ask for.

use super::{BundleId, ClientAuth, HostPattern, ListenerTls, Located};

/// Whether clients are asked for a certificate, and what it is checked against.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ClientPolicy {
    /// Whether a certificate is asked for and demanded.
    pub client_auth: ClientAuth,
    /// What it is checked against; present unless `client_auth` is `none`.
    pub trust: Option<BundleId>,
}

/// `[listeners.NAME.tls.names."NAME"]`: another policy for clients that ask for this name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NamedPolicy {
    /// The names (SNI). An exact one goes before a wildcard; never an address.
    pub name: Located<HostPattern>,
    /// What is demanded of those who ask for them.
    pub policy: ClientPolicy,
}

/// What becomes of clients that ask for a name which no certificate carries;
/// where policies depend on the name, also of those that ask for none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UnknownSni {
    /// They are refused.
    Refuse,
    /// They get the first certificate, under the strictest policy. There is one.
    Strictest,
}

impl ListenerTls {
    /// The policy of names that have none of their own.
    pub fn own_policy(&self) -> ClientPolicy {
        ClientPolicy {
            client_auth: self.client_auth,
            trust: self.trust,
        }
    }

    /// The listener's own policy, then that of each name, in the order of the file.
    pub fn policies(&self) -> impl Iterator<Item = ClientPolicy> {
        let named = self.names.iter().map(|named| named.policy);
        std::iter::once(self.own_policy()).chain(named)
    }

    /// The policy that demands the most. `None`: several do, each with another
    /// bundle, and none of these is stricter than the others.
    pub fn strictest_policy(&self) -> Option<ClientPolicy> {
        let most = self.policies().map(|policy| policy.client_auth).max()?;
        let mut strict = self.policies().filter(|policy| policy.client_auth == most);
        let first = strict.next()?;
        strict.all(|other| other == first).then_some(first)
    }

    /// Whether any client is asked for a certificate.
    pub fn asks_for_certificates(&self) -> bool {
        let mut policies = self.policies();
        policies.any(|policy| policy.client_auth != ClientAuth::None)
    }

    /// Whether a client may be anonymous: where a policy does without its
    /// certificate, or where one that is not accepted makes it nobody.
    pub fn has_anonymous_clients(&self) -> bool {
        let mut policies = self.policies();
        self.outcomes.make_anonymous()
            || policies.any(|policy| policy.client_auth != ClientAuth::Require)
    }
}
