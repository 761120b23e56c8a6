//! What the program tells the page of itself.

use std::fmt::Debug;
use std::time::{Duration, SystemTime};

/// The program, as far as the page asks it. Answers do not wait for anything.
pub trait Program: Debug {
    /// How things stand.
    fn overview(&self) -> Overview;
}

/// How things stand, apart from what is counted.
#[derive(Clone, Debug)]
pub struct Overview {
    /// What is in force.
    pub generation: GenerationFacts,
    /// What will go wrong soon, has, or is odd.
    pub warnings: Vec<Warned>,
    /// The listeners in force, in the order of the config.
    pub listeners: Vec<ListenerFacts>,
    /// Everything that ceases to be valid one day.
    pub ends: Vec<End>,
    /// The upstreams in force, in the order of the config.
    pub upstreams: Vec<UpstreamFacts>,
    /// Who is connected, in any order; at most [`MOST_PEERS`](Self::MOST_PEERS).
    pub peers: Vec<PeerFacts>,
    /// How many peers are connected.
    pub peers_connected: usize,
    /// How many are known of the last 24 hours, these included.
    pub peers_known: usize,
    /// Further sections of names and values.
    pub sections: Vec<Facts>,
}

impl Overview {
    /// So many peers are told of one by one.
    pub const MOST_PEERS: usize = 200;
}

/// Something that an operator should know.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Warned {
    /// It has gone wrong already.
    pub is_bad: bool,
    /// What it is, in a sentence.
    pub text: String,
}

/// A section of names and values, such as what the process is made of.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Facts {
    /// Its heading.
    pub title: String,
    /// Names and values, in the order in which they are shown.
    pub lines: Vec<(String, String)>,
}

/// What is in force, and how the attempts to change it went.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GenerationFacts {
    /// The number of the generation.
    pub number: u64,
    /// Since when it is in force.
    pub published: SystemTime,
    /// When the files were last found to be what is in force, or became it.
    pub last_success: SystemTime,
    /// The last attempt that did not succeed, even if later ones did.
    pub last_failure: Option<FailureFacts>,
    /// Whether what is on the disk now is not in force.
    pub failing: bool,
}

/// Why what was on the disk was not put in force.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FailureFacts {
    /// When this cause was met first.
    pub since: SystemTime,
    /// When it was met last.
    pub last: SystemTime,
    /// What is wrong, each in words of its own.
    pub problems: Vec<String>,
    /// Trust bundles that wait to be confirmed, and what each would lose.
    pub held_back: Vec<(String, String)>,
}

/// A listener in force.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ListenerFacts {
    /// Its name in the config.
    pub name: String,
    /// Where it accepts.
    pub address: String,
    /// What it demands of clients, in words.
    pub demands: String,
}

/// Something that ceases to be valid.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct End {
    /// What it is.
    pub kind: EndKind,
    /// The bundle, listener or upstream that it belongs to.
    pub of: String,
    /// What it is called: the names or the subject of a certificate, the issuer
    /// of a list.
    pub name: String,
    /// When it ends, in seconds since 1970; `None`: it does not say.
    pub at: Option<i64>,
    /// Whether it ends soon, as seen from how long it lives.
    pub soon: bool,
    /// What else is worth knowing, in words.
    pub note: String,
}

/// What ceases to be valid.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EndKind {
    /// A certificate of countersign's own.
    Own,
    /// A trust anchor.
    Anchor,
    /// A revocation list.
    List,
}

/// An upstream in force.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UpstreamFacts {
    /// Its name in the config.
    pub name: String,
    /// What is spoken to it.
    pub protocol: &'static str,
    /// Its endpoints.
    pub endpoints: Vec<EndpointFacts>,
}

/// An endpoint of an upstream.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct EndpointFacts {
    /// As the config writes it.
    pub name: String,
    /// Whether probes find it well; `None`: there are none.
    pub well: Option<bool>,
    /// Why they do not, in words.
    pub unwell: Option<String>,
    /// How it is left alone for what requests met; `None`: it is not.
    pub left_alone: Option<LeftAloneFacts>,
}

impl EndpointFacts {
    /// Whether others are preferred to it.
    pub fn is_in_trouble(&self) -> bool {
        self.well == Some(false) || self.left_alone.is_some()
    }
}

/// How an endpoint is left alone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LeftAloneFacts {
    /// By how many workers; each finds out for itself.
    pub workers: usize,
    /// After which time the last of them tries it again.
    pub remaining: Duration,
    /// What that one met, in words.
    pub cause: String,
}

/// A peer that is connected.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PeerFacts {
    /// What it is called in logs.
    pub name: String,
    /// The subject of its certificate.
    pub subject: String,
    /// The bundle that it was verified against.
    pub bundle: String,
    /// What the anchor is called that it rests on.
    pub anchor: String,
    /// Its open connections.
    pub connections: usize,
    /// Since when it has been connected without a break, in seconds since 1970.
    pub since: i64,
    /// The requests of all its connections, those that have ended included.
    pub requests: u64,
}
