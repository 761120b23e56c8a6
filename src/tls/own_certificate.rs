//! A certificate chain of countersign's own, with its key.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use rustls_pki_types::CertificateDer;

use super::pem;
use crate::config::{Files, OwnCertificate, Place, Problem};
use crate::identity::{CertificateNames, Identity};
use crate::telemetry::rfc3339;

/// A chain and its key, checked as a whole.
#[derive(Debug)]
pub(super) struct OwnChain {
    /// For the TLS library.
    pub(super) key: Arc<CertifiedKey>,
    /// What the leaf says.
    pub(super) names: CertificateNames,
    /// What the certificate says that ends first, if that is an intermediate.
    pub(super) sooner: Option<CertificateNames>,
}

impl OwnChain {
    /// Loads a chain and its key and checks that they can be presented: the key
    /// is the leaf's, each certificate is followed by its issuer, and all are valid now.
    ///
    /// `whose` names the table it belongs to, for problems.
    pub(super) fn load(
        config: &OwnCertificate,
        files: &Files,
        whose: &str,
    ) -> Result<Self, Vec<Problem>> {
        let (chain, key) = read(config, files, whose)?;
        let (names, sooner) = check(&chain).map_err(|(what, remedy)| {
            let what = format!("{} {what}", config.chain.value.display());
            vec![problem(whose, config.chain.place, &what).remedy(remedy)]
        })?;
        let key = certify(config, whose, chain, key).map_err(|problem| vec![problem])?;
        Ok(Self {
            key: Arc::new(key),
            names,
            sooner,
        })
    }

    /// Whom it names.
    pub(super) fn identity(&self) -> Identity {
        Identity::of_certificate(self.names.clone(), self.key.cert.clone().into())
    }

    /// What the certificate of the chain says that is the first to expire.
    pub(super) fn first_to_end(&self) -> &CertificateNames {
        self.sooner.as_ref().unwrap_or(&self.names)
    }

    /// The names that it stands for, for clients that verify them.
    pub(super) fn stands_for(&self) -> (&[String], &[IpAddr], &[String]) {
        let names = &self.names;
        (names.dns(), names.ip(), names.uri())
    }

    /// Whether it stands for the same names as another.
    pub(super) fn has_names_of(&self, other: &Self) -> bool {
        self.stands_for() == other.stands_for()
    }
}

/// What to do about a certificate that nobody can mend.
const ISSUE_ANOTHER: &str = "have another certificate issued for this key";

type Chain = Vec<CertificateDer<'static>>;
type Key = pem::PrivateKey;

/// Reads both files, so that what is wrong with either is reported.
fn read(config: &OwnCertificate, files: &Files, whose: &str) -> Result<(Chain, Key), Vec<Problem>> {
    let chain = pem::chain(files, &config.chain.value).map_err(|e| {
        problem(whose, config.chain.place, &e.to_string())
            .remedy("write the path of a PEM file with the leaf first, then its intermediates")
    });
    let key = pem::private_key(files, &config.key.value).map_err(|e| {
        problem(whose, config.key.place, &e.to_string()).remedy(
            "write the path of a PEM file with the leaf's private key, readable by this user",
        )
    });
    match (chain, key) {
        (Ok(chain), Ok(key)) => Ok((chain, key)),
        (chain, key) => Err(chain.err().into_iter().chain(key.err()).collect()),
    }
}

/// What the leaf says of itself, if the chain is one that can be presented now;
/// and what the intermediate says that expires before it and all others, if any.
fn check(
    chain: &[CertificateDer<'_>],
) -> Result<(CertificateNames, Option<CertificateNames>), ChainFault> {
    let names = chain
        .iter()
        .map(|der| CertificateNames::read(der))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| (format!("cannot be used: {e}"), ISSUE_ANOTHER))?;
    check_order(&names)?;
    check_dates(&names)?;
    let mut names = names.into_iter();
    let leaf = names.next();
    let leaf = leaf.ok_or_else(|| ("holds no certificate".to_owned(), ISSUE_ANOTHER))?;
    let sooner = names
        .min_by_key(CertificateNames::not_after)
        .filter(|first| first.not_after() < leaf.not_after());
    Ok((leaf, sooner))
}

/// Joins a chain with its key, for the TLS library.
fn certify(
    config: &OwnCertificate,
    whose: &str,
    chain: Chain,
    key: Key,
) -> Result<CertifiedKey, Problem> {
    // Not by `CertifiedKey::from_der`, which lets go of the key without wiping it.
    let certified = any_supported_type(&key).map(|key| CertifiedKey::new(chain, key));
    let certified = certified.and_then(|certified| match certified.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
        Err(cause) => Err(cause),
    });
    certified.map_err(|e| {
        let (path, key) = (config.chain.value.display(), config.key.value.display());
        match e {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => problem(
                whose,
                config.key.place,
                &format!("{key} does not belong to the leaf in {path}"),
            )
            .remedy("name the key that was made with this certificate; if both are being replaced, put both in place first"),
            other => problem(whose, config.key.place, &format!("{key} cannot be used: {other}")),
        }
    })
}

fn problem(whose: &str, place: Place, what: &str) -> Problem {
    Problem::at(place, format!("{whose}: {what}"))
        .causes("no handshake with this certificate would succeed")
}

/// What is wrong with a chain, and what to do about it.
type ChainFault = (String, &'static str);

fn check_order(names: &[CertificateNames]) -> Result<(), ChainFault> {
    for (position, pair) in names.windows(2).enumerate() {
        if let [certificate, next] = pair
            && certificate.issuer() != next.subject()
        {
            let what = format!(
                "is out of order: certificate {} was issued by \"{}\", but certificate {} is \"{}\"",
                position + 1,
                certificate.issuer(),
                position + 2,
                next.subject(),
            );
            return Err((
                what,
                "put the leaf first, and behind each certificate the one that issued it",
            ));
        }
    }
    Ok(())
}

fn check_dates(names: &[CertificateNames]) -> Result<(), ChainFault> {
    let now = unix_now();
    for (position, certificate) in names.iter().enumerate() {
        let which = position + 1;
        let who = certificate.subject();
        if certificate.not_after() < now {
            let end = moment(certificate.not_after());
            return Err((
                format!("has expired: certificate {which} (\"{who}\") ended at {end}"),
                "renew it, or see whether this machine's clock is right",
            ));
        }
        if certificate.not_before() > now {
            let begin = moment(certificate.not_before());
            return Err((
                format!("is not valid yet: certificate {which} (\"{who}\") begins at {begin}"),
                "wait, or see whether this machine's clock is right",
            ));
        }
    }
    Ok(())
}

/// A point in seconds since 1970, as RFC 3339. Not how long ago it is: a cause
/// must read the same at each attempt, or it would be news each time.
fn moment(unix: i64) -> String {
    let since = Duration::from_secs(u64::try_from(unix).unwrap_or(0));
    rfc3339(UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH))
}

/// Now, in seconds since 1970.
pub fn unix_now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_secs()).ok())
        .unwrap_or(0)
}

/// A number of seconds in the unit that people would use.
pub fn describe(seconds: i64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}
