//! The rules that a chain can break, in words: what its certificates may be used
//! for, what authorities set for those below them, and what can be read at all.

use super::causes::{Case, Found};
use super::{Presenter, Step};

impl Case<'_> {
    /// What breaks a rule of RFC 5280, or cannot be read.
    pub(super) fn broken_rule(&self, cause: &webpki::Error) -> Found {
        use webpki::Error as Cause;
        let weak = self
            .path
            .iter()
            .enumerate()
            .find_map(|(at, link)| Some((at, link.weak_hash()?)));
        match cause {
            Cause::UnsupportedSignatureAlgorithmContext(_)
            | Cause::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => match weak {
                Some((at, hash)) => Found::new(
                    Step::Signature,
                    format!("{} is signed with {hash}, which is not accepted: such signatures can be forged", self.called(at)),
                )
                .remedy("have it issued again with SHA-256"),
                None => Found::new(Step::Signature, "a certificate of the chain is signed with an algorithm that is not accepted")
                    .remedy("have it issued again with ECDSA, Ed25519 or RSA, and SHA-256 or better"),
            },
            Cause::CaUsedAsEndEntity => Found::new(
                Step::Constraints,
                format!("{} is an authority's (basicConstraints CA:TRUE), and was presented as that of {} {}", self.called(0), self.by.article(), self.by),
            )
            .remedy(format!("give the {} a certificate of its own, not that of an authority", self.by)),
            Cause::EndEntityUsedAsCa => Found::new(
                Step::Constraints,
                "a certificate of the chain was signed by one that is no authority (no basicConstraints CA:TRUE)",
            )
            .remedy("have the certificate issued by an authority, or the intermediate issued again as one"),
            Cause::NameConstraintViolation => {
                let (by, constraints) = self.constrained();
                Found::new(
                    Step::Constraints,
                    format!("the certificate has a name for which {by} may not vouch (nameConstraints: {constraints})"),
                )
                .miss("but for that name it may be in order")
                .remedy("issue a certificate whose names are within the authority's nameConstraints, or have another authority issue it")
            }
            Cause::PathLenConstraintViolated => Found::new(
                Step::Constraints,
                "there are more intermediates below an authority of the chain than it may have (pathLenConstraint)",
            )
            .remedy("have the certificate issued higher up, or the authority issued again with a larger pathLenConstraint"),
            Cause::MaximumPathDepthExceeded => Found::new(
                Step::Path,
                format!("the chain is too long: {} certificates were sent, and at most 6 are looked at", self.sent),
            )
            .remedy(format!("have the {} send its certificate and its intermediates alone", self.by)),
            other => self.unreadable(other),
        }
    }

    /// The lowest of those above the leaf that has nameConstraints, and these.
    fn constrained(&self) -> (String, String) {
        let mut links = self.path.iter().enumerate();
        let found = links.find_map(|(at, link)| Some((self.called(at), link.name_constraints()?)));
        let anchor = || {
            let mut anchors = self.anchors_named(self.path.last()?.issuer());
            anchors.find_map(|anchor| {
                let who = format!("the authority {} of {}", anchor.subject, self.trust());
                Some((who, anchor.name_constraints.clone()?))
            })
        };
        let unknown = || ("its authority".to_owned(), "unknown".to_owned());
        found.or_else(anchor).unwrap_or_else(unknown)
    }

    /// What cannot be read, or not be understood.
    fn unreadable(&self, cause: &webpki::Error) -> Found {
        use webpki::Error as Cause;
        match cause {
            Cause::UnsupportedCertVersion => {
                let version = self
                    .path
                    .iter()
                    .map(|link| link.version())
                    .find(|version| *version != 3);
                Found::new(
                    Step::Reading,
                    format!("the certificate is of X.509 version {}, which has no extensions; version 3 is needed", version.unwrap_or(1)),
                )
                .remedy("have it issued again as version 3")
            }
            Cause::UnsupportedCriticalExtension => {
                let oid = self
                    .path
                    .iter()
                    .find_map(|link| link.unknown_critical_extension());
                Found::new(
                    Step::Reading,
                    format!(
                        "the chain has a critical extension that is not understood here ({})",
                        oid.as_deref().unwrap_or("unnamed")
                    ),
                )
                .remedy("have the certificate issued again without it, or with it as not critical")
            }
            Cause::BadDer | Cause::BadDerTime | Cause::TrailingData(_) => Found::new(
                Step::Reading,
                "the chain cannot be read: a certificate of it is damaged, or not X.509 in DER",
            )
            .remedy(format!(
                "see that the {}'s certificate files are whole",
                self.by
            )),
            other => Found::new(
                Step::Constraints,
                format!("the chain breaks a rule of RFC 5280: {other}"),
            ),
        }
    }

    /// Its extended key usage is for something else.
    pub(super) fn wrong_purpose(&self, present: &[Vec<usize>]) -> Found {
        let words: Vec<_> = present.iter().take(4).map(|oid| purpose(oid)).collect();
        let has = if words.is_empty() {
            "nothing".to_owned()
        } else {
            words.join(", ")
        };
        let (side, wanted, other) = match self.by {
            Presenter::Client => ("client", "clientAuth", "serverAuth"),
            Presenter::Upstream => ("server", "serverAuth", "clientAuth"),
        };
        let found = Found::new(
            Step::Purpose,
            format!("the certificate's extended key usage does not permit TLS {side}s: it has {has}, and not {wanted}"),
        )
        .remedy(format!("issue a certificate with extendedKeyUsage {wanted}"));
        if words.iter().any(|word| word == other) {
            let opposite = if side == "client" { "server" } else { "client" };
            found.miss(format!(
                "it is a {opposite}'s certificate; with {wanted} beside {other} it would pass"
            ))
        } else {
            found
        }
    }
}

/// A purpose by its name, or its dotted OID (RFC 5280 §4.2.1.12).
fn purpose(oid: &[usize]) -> String {
    let name = match oid {
        [1, 3, 6, 1, 5, 5, 7, 3, 1] => "serverAuth",
        [1, 3, 6, 1, 5, 5, 7, 3, 2] => "clientAuth",
        [1, 3, 6, 1, 5, 5, 7, 3, 3] => "codeSigning",
        [1, 3, 6, 1, 5, 5, 7, 3, 4] => "emailProtection",
        [1, 3, 6, 1, 5, 5, 7, 3, 8] => "timeStamping",
        [1, 3, 6, 1, 5, 5, 7, 3, 9] => "OCSPSigning",
        [2, 5, 29, 37, 0] => "anyExtendedKeyUsage",
        other => {
            let arcs: Vec<_> = other.iter().take(16).map(ToString::to_string).collect();
            return arcs.join(".");
        }
    };
    name.to_owned()
}
