//! What a running countersign tells of itself on its admin address.
//!
//! Nothing of it is taken on trust: whoever answers there may be anybody, and
//! what cannot be read is an error and never a guess.

use data_encoding::BASE64;
use rustls_pki_types::CertificateDer;
use serde_json::Value;

use crate::generation::moment;
use crate::identity::Fingerprint;
use crate::tls::RevocationListFacts;

/// What is in force, and who is known.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) generation: u64,
    pub(super) bundles: Vec<RunningBundle>,
    pub(super) peers: Vec<RunningPeer>,
}

/// A trust bundle that is in force.
#[derive(Debug)]
pub(super) struct RunningBundle {
    pub(super) name: String,
    pub(super) anchors: Vec<RunningAnchor>,
    pub(super) lists: Vec<List>,
}

/// A trust anchor that is in force, and how much it is used.
#[derive(Clone, Debug)]
pub(super) struct RunningAnchor {
    /// RFC 4514.
    pub(super) subject: String,
    pub(super) fingerprint: Fingerprint,
    pub(super) has_expired: bool,
    /// How many handshakes rested on it.
    pub(super) handshakes: u64,
    /// When the last one did, as RFC 3339.
    pub(super) last_handshake: Option<String>,
}

/// A revocation list. Two are the same when they say the same of themselves.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct List {
    /// RFC 4514.
    pub(super) issuer: String,
    pub(super) number: Option<String>,
    /// RFC 3339.
    pub(super) this_update: String,
    /// RFC 3339.
    pub(super) next_update: String,
    pub(super) entries: u64,
}

/// A peer that is connected, or was in the last 24 hours.
#[derive(Debug)]
pub(super) struct RunningPeer {
    /// What it is called in logs.
    pub(super) name: String,
    /// RFC 4514.
    pub(super) subject: String,
    /// The bundle that it was verified against.
    pub(super) bundle: String,
    /// How many of its connections are open.
    pub(super) connections: u64,
    /// In seconds since 1970.
    pub(super) last_seen: i64,
    /// As it was presented, the leaf first; or why it cannot be read.
    pub(super) chain: Result<Vec<CertificateDer<'static>>, ChainError>,
}

/// Why a peer's chain cannot be judged.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum ChainError {
    #[error("a certificate of its chain is not base64")]
    NotBase64,
    #[error("its chain has no certificate")]
    NoCertificate,
    #[error("there is no chain")]
    NoChain,
}

/// Why an answer cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum AnswerError {
    /// Something has another form than countersign gives it.
    #[error(
        "the answer is not one of countersign's: there is no `{0}` of the right form; perhaps its version is another"
    )]
    Form(&'static str),

    /// It is not even JSON.
    #[error("the answer is not JSON, so not one of countersign's: {0}")]
    Json(#[from] serde_json::Error),
}

type Read<T> = Result<T, AnswerError>;

impl Running {
    /// Reads the answers of `GET /trust` and `GET /trust/peers`.
    pub(super) fn read(trust: &[u8], peers: &[u8]) -> Read<Self> {
        let trust: Value = serde_json::from_slice(trust)?;
        let peers: Value = serde_json::from_slice(peers)?;
        Ok(Self {
            generation: number(&trust, "generation")?,
            bundles: each(&trust, "bundles", RunningBundle::read)?,
            peers: each(&peers, "peers", RunningPeer::read)?,
        })
    }
}

impl RunningBundle {
    fn read(value: &Value) -> Read<Self> {
        Ok(Self {
            name: text(value, "name")?,
            anchors: each(value, "anchors", RunningAnchor::read)?,
            lists: each(value, "revocation_lists", List::read)?,
        })
    }
}

impl RunningAnchor {
    fn read(value: &Value) -> Read<Self> {
        let fingerprint = text(value, "fingerprint")?;
        Ok(Self {
            subject: text(value, "subject")?,
            fingerprint: fingerprint
                .parse()
                .map_err(|_| AnswerError::Form("fingerprint"))?,
            has_expired: seconds(value, "seconds_left")? < 0,
            handshakes: number(value, "handshakes")?,
            last_handshake: text(value, "last_handshake").ok(),
        })
    }
}

impl List {
    fn read(value: &Value) -> Read<Self> {
        Ok(Self {
            issuer: text(value, "issuer")?,
            number: text(value, "number").ok(),
            this_update: text(value, "this_update")?,
            next_update: text(value, "next_update")?,
            entries: number(value, "entries")?,
        })
    }
}

impl From<RevocationListFacts> for List {
    fn from(facts: RevocationListFacts) -> Self {
        Self {
            issuer: facts.issuer,
            number: facts.number,
            this_update: moment(facts.this_update),
            next_update: moment(facts.next_update),
            entries: u64::try_from(facts.entries).unwrap_or(u64::MAX),
        }
    }
}

impl RunningPeer {
    fn read(value: &Value) -> Read<Self> {
        Ok(Self {
            name: text(value, "peer")?,
            subject: text(value, "subject")?,
            bundle: text(value, "bundle")?,
            connections: number(value, "connections")?,
            last_seen: seconds(value, "last_seen_unix")?,
            chain: chain(value.get("chain")),
        })
    }
}

fn chain(value: Option<&Value>) -> Result<Vec<CertificateDer<'static>>, ChainError> {
    let certificates = value.and_then(Value::as_array).ok_or(ChainError::NoChain)?;
    if certificates.is_empty() {
        return Err(ChainError::NoCertificate);
    }
    let decode = |certificate: &Value| {
        let text = certificate.as_str()?;
        let der = BASE64.decode(text.as_bytes()).ok()?;
        Some(CertificateDer::from(der))
    };
    let certificates = certificates.iter().map(decode).collect::<Option<_>>();
    certificates.ok_or(ChainError::NotBase64)
}

fn text(value: &Value, key: &'static str) -> Read<String> {
    let text = value.get(key).and_then(Value::as_str);
    text.map(str::to_owned).ok_or(AnswerError::Form(key))
}

fn number(value: &Value, key: &'static str) -> Read<u64> {
    let number = value.get(key).and_then(Value::as_u64);
    number.ok_or(AnswerError::Form(key))
}

fn seconds(value: &Value, key: &'static str) -> Read<i64> {
    let number = value.get(key).and_then(Value::as_i64);
    number.ok_or(AnswerError::Form(key))
}

fn each<T>(value: &Value, key: &'static str, read: impl Fn(&Value) -> Read<T>) -> Read<Vec<T>> {
    let all = value.get(key).and_then(Value::as_array);
    let all = all.ok_or(AnswerError::Form(key))?;
    all.iter().map(read).collect()
}
