//! What each cause leads to for which a client is not let in as who it says it is.

/// What becomes of a client whose certificate is missing or not accepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// The handshake fails with a TLS alert.
    Alert,
    /// It is let in as nobody; of its certificate nothing is believed.
    Anonymous,
    /// It is let in, and each of its requests is answered 403.
    Http,
}

/// The outcome of each cause on one listener.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Outcomes {
    /// No certificate where one is demanded; never [`Outcome::Anonymous`].
    pub no_certificate: Outcome,
    /// The chain leads to no anchor of the bundle.
    pub untrusted: Outcome,
    /// A certificate of the chain, or its anchor, has expired.
    pub expired: Outcome,
    /// A certificate of the chain is not valid yet.
    pub not_yet_valid: Outcome,
    /// A certificate of the chain is revoked.
    pub revoked: Outcome,
    /// No current revocation list speaks of a certificate that needs one.
    pub revocation_unknown: Outcome,
    /// The certificate is not meant for TLS clients.
    pub wrong_purpose: Outcome,
    /// The chain cannot be read, or breaks a rule.
    pub malformed: Outcome,
    /// Whether the answer of [`Outcome::Http`] says the cause.
    pub tell_client: bool,
}

impl Outcomes {
    /// An alert, whatever the cause.
    pub const STRICT: Self = Self {
        no_certificate: Outcome::Alert,
        untrusted: Outcome::Alert,
        expired: Outcome::Alert,
        not_yet_valid: Outcome::Alert,
        revoked: Outcome::Alert,
        revocation_unknown: Outcome::Alert,
        wrong_purpose: Outcome::Alert,
        malformed: Outcome::Alert,
        tell_client: false,
    };

    /// Whether a client whose certificate is not accepted may go on as nobody.
    pub fn make_anonymous(&self) -> bool {
        [
            self.untrusted,
            self.expired,
            self.not_yet_valid,
            self.revoked,
            self.revocation_unknown,
            self.wrong_purpose,
            self.malformed,
        ]
        .contains(&Outcome::Anonymous)
    }
}
