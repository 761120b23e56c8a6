//! A certificate chain of countersign's own, with its key.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};

use super::pem::{self, PemError};
use crate::config::{OwnCertificate, Place, Problem};
use crate::identity::CertificateNames;

/// A chain and its key, checked as a whole.
#[derive(Debug)]
pub(super) struct OwnChain {
    /// For the TLS library.
    pub(super) key: Arc<CertifiedKey>,
    /// What the leaf says.
    pub(super) names: CertificateNames,
}

impl OwnChain {
    /// Loads a chain and its key and checks that they can be presented: the key
    /// is the leaf's, each certificate is followed by its issuer, and the leaf is valid now.
    ///
    /// `whose` names the table it belongs to, for problems.
    pub(super) fn load(
        config: &OwnCertificate,
        whose: &str,
        provider: &CryptoProvider,
    ) -> Result<Self, Vec<Problem>> {
        let problem = |place: Place, what: String| {
            Problem::at(place, format!("{whose}: {what}"))
                .causes("no handshake with this certificate would succeed")
        };
        let chain =
            pem::chain(&config.chain.value).map_err(|e| {
                vec![problem(config.chain.place, e.to_string()).remedy(
                    "write the path of a PEM file with the leaf first, then its intermediates",
                )]
            });
        let key = pem::private_key(&config.key.value).map_err(|e| {
            let remedy = match e {
                PemError::Encrypted { .. } => {
                    "decrypt it, such as with `openssl pkey -in OLD -out NEW`, and let nobody else read it"
                }
                _ => "write the path of a PEM file with the leaf's private key, readable by this user",
            };
            vec![problem(config.key.place, e.to_string()).remedy(remedy)]
        });
        // Both at once, so that both are reported.
        let (chain, key) = match (chain, key) {
            (Ok(chain), Ok(key)) => (chain, key),
            (chain, key) => {
                let mut all = chain.err().unwrap_or_default();
                all.extend(key.err().unwrap_or_default());
                return Err(all);
            }
        };
        let path = config.chain.value.display();
        let names = chain
            .iter()
            .map(|der| CertificateNames::read(der))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| {
                vec![problem(
                    config.chain.place,
                    format!("{path} cannot be used: {e}"),
                )]
            })?;
        check_order(&names)
            .and_then(|()| check_dates(&names))
            .map_err(|(what, remedy)| {
                vec![problem(config.chain.place, format!("{path} {what}")).remedy(remedy)]
            })?;
        let certified = CertifiedKey::from_der(chain, key, provider).map_err(|e| {
            let key_path = config.key.value.display();
            vec![match e {
                Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => problem(
                    config.key.place,
                    format!("{key_path} does not belong to the leaf in {path}"),
                )
                .remedy("name the key that was made with this certificate; if both are being replaced, put both in place first"),
                other => problem(config.key.place, format!("{key_path} cannot be used: {other}")),
            }]
        })?;
        let leaf = names.into_iter().next().ok_or_else(Vec::new)?;
        Ok(Self {
            key: Arc::new(certified),
            names: leaf,
        })
    }
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
            let ago = describe(now.saturating_sub(certificate.not_after()));
            return Err((
                format!("has expired: certificate {which} (\"{who}\") ended {ago} ago"),
                "renew it, or see whether this machine's clock is right",
            ));
        }
        if certificate.not_before() > now {
            let ahead = describe(certificate.not_before().saturating_sub(now));
            return Err((
                format!("is not valid yet: certificate {which} (\"{who}\") begins in {ahead}"),
                "wait, or see whether this machine's clock is right",
            ));
        }
    }
    Ok(())
}

/// Now, in seconds since 1970.
pub(super) fn unix_now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_secs()).ok())
        .unwrap_or(0)
}

/// A number of seconds in the unit that people would use.
pub(super) fn describe(seconds: i64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}
