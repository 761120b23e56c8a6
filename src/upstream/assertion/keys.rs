//! The keys that sign assertions, and the set of their public halves.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use data_encoding::BASE64URL_NOPAD;
use rustls_pki_types::PrivateKeyDer;
use serde_json::{Value, json};

use super::jwk::{JwkError, PublicKey};
use crate::config::{Files, Located, Problem};
use crate::identity::der::{self, NotDer, tag};
use crate::tls::private_key;

/// The keys of one upstream's assertions; the first signs.
#[derive(Debug)]
pub struct SigningKeys {
    signer: SigningKey,
    /// All of them, the first included, by their `kid`.
    public: BTreeMap<String, PublicKey>,
}

/// A private key. Its own memory is the library's, which wipes it.
struct SigningKey {
    pair: Pair,
    public: PublicKey,
    /// The JOSE header of everything it signs (RFC 7515 §4), in base64url.
    header: String,
}

enum Pair {
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

/// Why a private key cannot sign assertions.
#[derive(Debug, thiserror::Error)]
enum KeyError {
    #[error("the key {0}")]
    Jwk(#[from] JwkError),
    #[error("the key is neither EC P-256, Ed25519 nor RSA with 2048 to 8192 bits, or is damaged")]
    Unsupported,
}

/// The library could not sign, which a key that was loaded never causes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the cryptographic library refuses to sign")]
pub struct SigningFailed;

impl fmt::Debug for SigningKey {
    /// Its public half.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.public.fmt(f)
    }
}

impl SigningKeys {
    /// Loads the keys of `[upstreams.NAME.outbound.assertion.jwt]`; `paths` is
    /// never empty.
    ///
    /// # Errors
    ///
    /// A problem at the path of the first file that holds no key which can sign.
    pub(super) fn load(
        upstream: &str,
        paths: &[Located<PathBuf>],
        files: &Files,
    ) -> Result<Self, Problem> {
        let mut signer = None;
        let mut public = BTreeMap::new();
        for path in paths {
            let key = load(&path.value, files).map_err(|what| {
                let key = format!("upstreams.{upstream}.outbound.assertion.jwt.keys: {what}");
                Problem::at(path.place, key)
                    .causes("no assertion could be signed, or the next key would fail when its turn comes")
                    .remedy(
                        "make a key with `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out FILE`,\n\
                         readable by this user alone",
                    )
            })?;
            let kid = key.public.thumbprint();
            public.insert(kid, key.public.clone());
            signer = signer.or(Some(key));
        }
        match signer {
            Some(signer) => Ok(Self { signer, public }),
            None => Err(Problem::new(format!(
                "upstreams.{upstream}.outbound.assertion.jwt.keys: the list is empty"
            ))),
        }
    }

    /// The public keys by their `kid`.
    pub(super) fn public(&self) -> &BTreeMap<String, PublicKey> {
        &self.public
    }

    /// The JWS Compact Serialization (RFC 7515 §7.1) of `payload`, signed with
    /// the first key.
    ///
    /// # Errors
    ///
    /// [`SigningFailed`].
    pub(super) fn sign(&self, payload: &[u8]) -> Result<String, SigningFailed> {
        let mut token = self.signer.header.clone();
        token.push('.');
        BASE64URL_NOPAD.encode_append(payload, &mut token);
        let signature = self.signer.pair.sign(token.as_bytes())?;
        token.push('.');
        BASE64URL_NOPAD.encode_append(&signature, &mut token);
        Ok(token)
    }
}

/// The JWK Set (RFC 7517 §5) of these keys, each once and in the order of their
/// `kid`, as JSON.
pub fn key_set<'k>(keys: impl IntoIterator<Item = &'k Arc<SigningKeys>>) -> String {
    let each_once: BTreeMap<&str, &PublicKey> = keys
        .into_iter()
        .flat_map(|keys| keys.public())
        .map(|(kid, key)| (kid.as_str(), key))
        .collect();
    let keys: Vec<Value> = each_once.into_values().map(PublicKey::to_json).collect();
    json!({ "keys": keys }).to_string()
}

impl SigningKey {
    fn new(pair: Pair) -> Result<Self, KeyError> {
        let public = pair.public()?;
        let header = json!({
            "alg": public.algorithm().name(),
            "kid": public.thumbprint(),
            "typ": "JWT",
        });
        Ok(Self {
            pair,
            header: BASE64URL_NOPAD.encode(header.to_string().as_bytes()),
            public,
        })
    }
}

impl Pair {
    fn read(key: &PrivateKeyDer<'_>) -> Option<Self> {
        let p256 = &ECDSA_P256_SHA256_FIXED_SIGNING;
        match key {
            PrivateKeyDer::Pkcs8(key) => {
                let key = key.secret_pkcs8_der();
                let p256 = || EcdsaKeyPair::from_pkcs8(p256, key).map(Self::P256);
                // OpenSSL writes the first version of PKCS #8, without the public half.
                let ed25519 = || Ed25519KeyPair::from_pkcs8_maybe_unchecked(key).map(Self::Ed25519);
                let rsa = || RsaKeyPair::from_pkcs8(key).map(Self::Rsa);
                p256().or_else(|_| ed25519()).or_else(|_| rsa()).ok()
            }
            PrivateKeyDer::Sec1(key) => {
                EcdsaKeyPair::from_private_key_der(p256, key.secret_sec1_der())
                    .map(Self::P256)
                    .ok()
            }
            PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der())
                .map(Self::Rsa)
                .ok(),
            _ => None,
        }
    }

    fn public(&self) -> Result<PublicKey, KeyError> {
        match self {
            Self::P256(pair) => Ok(PublicKey::p256(pair.public_key().as_ref())),
            Self::Ed25519(pair) => Ok(PublicKey::ed25519(pair.public_key().as_ref())),
            Self::Rsa(pair) => {
                let (modulus, exponent) = rsa_integers(pair.public_key().as_ref())
                    .map_err(|NotDer| KeyError::Unsupported)?;
                Ok(PublicKey::rsa(modulus, exponent)?)
            }
        }
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SigningFailed> {
        let random = SystemRandom::new();
        match self {
            Self::P256(pair) => {
                let signature = pair.sign(&random, message).map_err(|_| SigningFailed)?;
                Ok(signature.as_ref().to_vec())
            }
            Self::Ed25519(pair) => {
                let signature = pair.try_sign(message).map_err(|_| SigningFailed)?;
                Ok(signature.as_ref().to_vec())
            }
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .map_err(|_| SigningFailed)?;
                Ok(signature)
            }
        }
    }
}

fn load(path: &Path, files: &Files) -> Result<SigningKey, String> {
    let key = private_key(files, path).map_err(|cause| cause.to_string())?;
    let refuse = |cause: KeyError| format!("{}: {cause}", path.display());
    let pair = Pair::read(&key).ok_or_else(|| refuse(KeyError::Unsupported))?;
    SigningKey::new(pair).map_err(refuse)
}

/// Modulus and exponent of an RSAPublicKey (RFC 8017 §A.1.1).
fn rsa_integers(key: &[u8]) -> Result<(&[u8], &[u8]), NotDer> {
    let (modulus, exponent) = der::pair(der::only(key, tag::SEQUENCE)?.contents)?;
    Ok((
        modulus.tagged(tag::INTEGER)?.contents,
        exponent.tagged(tag::INTEGER)?.contents,
    ))
}
