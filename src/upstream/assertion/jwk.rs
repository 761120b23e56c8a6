//! Public keys as JSON (RFC 7517), and what they verify.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value, json};

/// The public half of a key that signs assertions.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PublicKey(Kind);

/// Integers are big-endian, without leading zeros.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Kind {
    /// An uncompressed point (SEC 1 §2.3.3), `0x04` and the two coordinates.
    P256(Vec<u8>),
    /// RFC 8032 §5.1.5.
    Ed25519(Vec<u8>),
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
}

/// How a key signs. A key has one algorithm, and no token chooses another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256 (RFC 7518 §3.4).
    Es256,
    /// Ed25519 (RFC 8037 §3.1).
    EdDsa,
    /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518 §3.3).
    Rs256,
}

/// Why a JWK cannot be used, in words that continue "the key".
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum JwkError {
    /// Its `alg` is another than that of its kind.
    #[error("has an `alg` that does not go with its kind")]
    Algorithm,
    /// A member is missing, or is no base64url of a length that the kind has.
    #[error("has no legal `{0}`")]
    Member(&'static str),
    /// It is a private key, which does not belong here.
    #[error("is private (it has a `d`); whoever reads it can sign with it")]
    Private,
    /// It is of a kind that verifies nothing here.
    #[error("is neither EC P-256, Ed25519 nor RSA, so it verifies none of ES256, EdDSA and RS256")]
    Unsupported,
    /// Its `use` or `key_ops` is for something else.
    #[error("is not for signatures")]
    Use,
    /// An RSA key of less than 2048 bits, or of more than 8192.
    #[error("is RSA with {0} bits; from 2048 to 8192 are accepted")]
    Size(usize),
}

impl Algorithm {
    /// Its name in a header (`alg`).
    pub fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
        }
    }

    /// Whether a header's `alg` means this one. RFC 9864 has given EdDSA with
    /// Ed25519 the name `Ed25519`; both are in use.
    pub fn is_named(self, name: &str) -> bool {
        name == self.name() || (self == Self::EdDsa && name == "Ed25519")
    }
}

impl PublicKey {
    /// A P-256 key, from its uncompressed point.
    pub(super) fn p256(point: &[u8]) -> Self {
        Self(Kind::P256(point.to_vec()))
    }

    pub(super) fn ed25519(key: &[u8]) -> Self {
        Self(Kind::Ed25519(key.to_vec()))
    }

    /// An RSA key, from integers that may have leading zeros.
    ///
    /// # Errors
    ///
    /// [`JwkError::Size`].
    pub(super) fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, JwkError> {
        let modulus = without_zeros(modulus).to_vec();
        let bits = bits(&modulus);
        if !(2048..=8192).contains(&bits) {
            return Err(JwkError::Size(bits));
        }
        let exponent = without_zeros(exponent).to_vec();
        Ok(Self(Kind::Rsa { modulus, exponent }))
    }

    /// Reads a member of a JWK Set.
    ///
    /// # Errors
    ///
    /// [`JwkError`].
    pub fn from_json(jwk: &Map<String, Value>) -> Result<Self, JwkError> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        if jwk.contains_key("d") {
            return Err(JwkError::Private);
        }
        let key = match (text("kty"), text("crv")) {
            (Some("EC"), Some("P-256")) => {
                let (x, y) = (bytes_of(jwk, "x", Some(32))?, bytes_of(jwk, "y", Some(32))?);
                Self(Kind::P256([&[0x04], &*x, &*y].concat()))
            }
            (Some("OKP"), Some("Ed25519")) => Self(Kind::Ed25519(bytes_of(jwk, "x", Some(32))?)),
            (Some("RSA"), _) => Self::rsa(&bytes_of(jwk, "n", None)?, &bytes_of(jwk, "e", None)?)?,
            _ => return Err(JwkError::Unsupported),
        };
        let algorithm = jwk.get("alg").map(|alg| alg.as_str().unwrap_or_default());
        if algorithm.is_some_and(|alg| !key.algorithm().is_named(alg)) {
            return Err(JwkError::Algorithm);
        }
        let signs = jwk.get("use").is_none_or(|usage| usage == "sig");
        let verifies = jwk.get("key_ops").is_none_or(|all| {
            all.as_array()
                .is_some_and(|all| all.iter().any(|operation| operation == "verify"))
        });
        if signs && verifies {
            Ok(key)
        } else {
            Err(JwkError::Use)
        }
    }

    /// The one algorithm that it verifies.
    pub fn algorithm(&self) -> Algorithm {
        match &self.0 {
            Kind::P256(_) => Algorithm::Es256,
            Kind::Ed25519(_) => Algorithm::EdDsa,
            Kind::Rsa { .. } => Algorithm::Rs256,
        }
    }

    /// The SHA-256 thumbprint (RFC 7638), in base64url: its `kid`.
    pub fn thumbprint(&self) -> String {
        // serde_json keeps the members of a map in the order of their names, and
        // writes no white space: the form that RFC 7638 §3 asks for.
        let text = Value::Object(self.members()).to_string();
        BASE64URL_NOPAD.encode(digest(&SHA256, text.as_bytes()).as_ref())
    }

    /// The key as a member of a JWK Set.
    pub fn to_json(&self) -> Value {
        let mut jwk = self.members();
        jwk.insert("alg".to_owned(), self.algorithm().name().into());
        jwk.insert("kid".to_owned(), self.thumbprint().into());
        jwk.insert("use".to_owned(), "sig".into());
        Value::Object(jwk)
    }

    /// Whether `signature` is this key's, over `message`.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.0 {
            Kind::P256(point) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
                .verify(message, signature)
                .is_ok(),
            Kind::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key)
                .verify(message, signature)
                .is_ok(),
            Kind::Rsa { modulus, exponent } => RsaPublicKeyComponents {
                n: modulus,
                e: exponent,
            }
            .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            .is_ok(),
        }
    }

    /// The members that make the key what it is, and no others.
    fn members(&self) -> Map<String, Value> {
        let encode = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        let members = match &self.0 {
            Kind::P256(point) => {
                let coordinates = point.get(1..).unwrap_or_default();
                let (x, y) = coordinates.split_at(coordinates.len() / 2);
                json!({ "kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y) })
            }
            Kind::Ed25519(key) => json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(key) }),
            Kind::Rsa { modulus, exponent } => {
                json!({ "kty": "RSA", "n": encode(modulus), "e": encode(exponent) })
            }
        };
        match members {
            Value::Object(members) => members,
            _ => Map::new(),
        }
    }
}

/// A member's bytes, exactly `length` of them if that is given.
fn bytes_of(
    jwk: &Map<String, Value>,
    name: &'static str,
    length: Option<usize>,
) -> Result<Vec<u8>, JwkError> {
    let text = jwk.get(name).and_then(Value::as_str);
    text.and_then(|text| BASE64URL_NOPAD.decode(text.as_bytes()).ok())
        .filter(|bytes| !bytes.is_empty() && length.is_none_or(|length| bytes.len() == length))
        .ok_or(JwkError::Member(name))
}

fn without_zeros(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.get(zeros..).unwrap_or_default()
}

/// How long an integer without leading zeros is.
fn bits(integer: &[u8]) -> usize {
    let unused = integer.first().map_or(0, |first| first.leading_zeros());
    (integer.len() * 8).saturating_sub(unused as usize)
}
