//! Why a caller may not use a route.

use super::route::RuleId;

/// Why a caller may not use a route.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Denial {
    /// The route is for callers with a certificate, and this one is anonymous.
    #[error("route `{route}` requires a client certificate, and the caller presented none")]
    CertificateRequired {
        /// The route's name.
        route: Box<str>,
    },

    /// A rule of `deny` matches.
    #[error("rule `{label}` of route `{route}` denies {}{}: {written}", caller(peer.as_deref()), spoken_for(speaker.as_deref()))]
    DeniedByRule {
        /// The route's name.
        route: Box<str>,
        /// Which rule.
        rule: RuleId,
        /// Its name, or `deny[0]`.
        label: Box<str>,
        /// The rule, as the config has it.
        written: Box<str>,
        /// The caller's label; `None` is anonymous.
        peer: Option<Box<str>>,
        /// That of the peer who speaks for it, where one does.
        speaker: Option<Box<str>>,
    },

    /// No rule of `allow` matches.
    #[error("none of the {rules} `allow` entries of route `{route}` matches {}{}{}", caller(peer.as_deref()), spoken_for(speaker.as_deref()), would(would_allow.as_deref()))]
    NoRuleMatched {
        /// The route's name.
        route: Box<str>,
        /// How many entries there are.
        rules: usize,
        /// The caller's label; `None` is anonymous.
        peer: Option<Box<str>>,
        /// That of the peer who speaks for it, where one does.
        speaker: Option<Box<str>>,
        /// The first rule that matches and is not enforced.
        would_allow: Option<Box<str>>,
    },
}

impl Denial {
    /// The rule, as logs and metrics name it: its name or `deny[0]`, or what
    /// else denied.
    pub fn rule(&self) -> &str {
        match self {
            Self::CertificateRequired { .. } => CERTIFICATE_REQUIRED,
            Self::DeniedByRule { label, .. } => label,
            Self::NoRuleMatched { .. } => NONE_MATCHED,
        }
    }

    /// The rule that would have permitted it, were it enforced.
    pub fn would_allow(&self) -> Option<&str> {
        match self {
            Self::NoRuleMatched { would_allow, .. } => would_allow.as_deref(),
            Self::CertificateRequired { .. } | Self::DeniedByRule { .. } => None,
        }
    }
}

fn caller(peer: Option<&str>) -> String {
    peer.map_or_else(
        || "an anonymous caller".to_owned(),
        |peer| format!("the caller `{peer}`"),
    )
}

fn spoken_for(speaker: Option<&str>) -> String {
    speaker.map_or_else(String::new, |by| format!(", for whom `{by}` speaks"))
}

fn would(rule: Option<&str>) -> String {
    rule.map_or_else(String::new, |rule| {
        format!("; `{rule}` does, and is not enforced")
    })
}

/// What names a denial for want of a certificate, where a rule's name would stand.
pub(super) const CERTIFICATE_REQUIRED: &str = "certificate required";
/// What names a denial since no rule matched.
pub(super) const NONE_MATCHED: &str = "none matched";
