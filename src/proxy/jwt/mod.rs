//! Verifies the JWT with which another proxy states who is calling.
//!
//! # Rules
//!
//! * The key is found by the token's `kid`, or is the only one there is. It
//!   decides which algorithm it verifies; a token that names another one is
//!   refused, `none` and the HMACs with it (RFC 8725 §3.1).
//! * `iss`, `sub`, `aud` and `exp` must be there; `iss` and `aud` must be those
//!   of the config (RFC 8725 §3.8, §3.9). Clocks may differ by 30 s.
//! * Every part is strict base64url without padding, every member of a JSON
//!   object has a name of its own, and nothing is larger than its bound: what
//!   two readers could read in two ways is refused.
//! * A header with `crit` is refused, as RFC 7515 §4.1.11 demands of who
//!   understands none of it. A `typ` must be `JWT`, if there is one.
//! * `cnf` with `x5t#S256` names the certificate of the caller, which only the
//!   speaker has seen: it is taken as the names are. Other ways of confirmation
//!   (`jwk`, `jkt`) are not looked at.
//! * Names are held to the rules of [`crate::identity`] by whoever makes an
//!   identity of them; here they are text of bounded length.

mod json;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value};

use crate::config::{AcceptedJwt, FileError, Files, Inputs, Problem};
use crate::identity::Fingerprint;
use crate::upstream::assertion::PublicKey;

/// Verifies the tokens of one issuer for one audience. Immutable; workers share it.
#[derive(Debug)]
pub struct JwtVerifier {
    config: AcceptedJwt,
    /// By `kid`; a key without one stands under its thumbprint.
    keys: BTreeMap<String, PublicKey>,
    /// What the keys were made of.
    inputs: Inputs,
}

/// The names that a token states, as they stand in it. Nothing about their form
/// is promised but their bounds: together less than 16 KiB, 100 of each kind.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AssertedNames {
    /// `sub`; never empty.
    pub subject: String,
    /// `uri`.
    pub uri: Vec<String>,
    /// `dns`.
    pub dns: Vec<String>,
    /// `email`.
    pub email: Vec<String>,
    /// `x5t#S256` of `cnf`: the digest of a certificate (RFC 8705 §3.1).
    pub certificate: Option<Fingerprint>,
    /// The first second at which the statement is no longer good, in Unix time,
    /// leeway included.
    pub ends: u64,
}

/// Why a token is refused, in words that continue "the assertion".
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AssertionRefusal {
    /// `alg` is not the one algorithm of the key.
    #[error("names an algorithm (alg) that is not that of its key")]
    Algorithm,
    /// `aud` does not hold the audience.
    #[error("is for another audience (aud)")]
    Audience,
    /// A claim is missing, or of another type than it should be.
    #[error("has no legal `{0}`")]
    Claim(&'static str),
    /// `exp` has passed, with the leeway.
    #[error("has expired (exp)")]
    Expired,
    /// The header is not one that is understood: `crit`, or a `typ` other than JWT.
    #[error("has a header with `{0}` that is not understood here")]
    Header(&'static str),
    /// `iss` is another.
    #[error("is of another issuer (iss)")]
    Issuer,
    /// No key has this `kid`, or there is none and several keys.
    #[error("names no key (kid) of the key set")]
    Key,
    /// It is not three parts of base64url, two of them JSON objects in which
    /// each name stands once.
    #[error("is not a JWT in compact form")]
    Malformed,
    /// `nbf` or `iat` is to come, beyond the leeway.
    #[error("is not good yet (nbf, iat)")]
    NotYet,
    /// The signature is not that of the key.
    #[error("has a signature that does not verify")]
    Signature,
    /// It is larger than [`MAX_TOKEN`].
    #[error("has more than {MAX_TOKEN} bytes")]
    TooLarge,
}

/// The largest token, in bytes: as much as all identity fields that countersign
/// itself would send.
pub const MAX_TOKEN: usize = 16 * 1024;

/// How much clocks may differ.
const LEEWAY: Duration = Duration::from_secs(30);

/// The largest JWK Set; a key takes less than 2 KiB.
const MAX_KEY_SET: u64 = 256 * 1024;

/// The most keys of a set, and the most names of a kind.
const MOST: usize = 100;

impl JwtVerifier {
    /// Loads the keys of `[listeners.NAME.assertion_jwt]`.
    ///
    /// # Errors
    ///
    /// A problem at the path of the key set: it cannot be read, is no JWK Set,
    /// or one of its keys cannot be used.
    pub fn load(listener: &str, config: &AcceptedJwt, files: &Files) -> Result<Self, Problem> {
        let (keys, inputs) = files.inputs_of(|| read_keys(config, files));
        let keys = keys.map_err(|what| {
            let path = config.jwks.value.display();
            let what = format!("listeners.{listener}.assertion_jwt.jwks: {path} {what}");
            Problem::at(config.jwks.place, what)
                .causes("no assertion could be verified")
                .remedy("write the path of a JWK Set, such as what the issuer serves at /jwks.json")
        })?;
        Ok(Self {
            config: config.clone(),
            keys,
            inputs,
        })
    }

    /// Whether these settings and files would make the same verifier again.
    pub fn is_of(&self, config: &AcceptedJwt, files: &Files) -> bool {
        self.config == *config && self.inputs.hold(files)
    }

    /// What was configured: the field that carries the token, and its scheme.
    pub fn config(&self) -> &AcceptedJwt {
        &self.config
    }

    /// Verifies a token, without the scheme that may stand before it.
    ///
    /// Does not say who may state this: that is for whoever knows the speaker.
    ///
    /// # Errors
    ///
    /// The first [`AssertionRefusal`] that applies; the signature is checked
    /// before any claim is looked at.
    pub fn verify(&self, token: &[u8], now: SystemTime) -> Result<AssertedNames, AssertionRefusal> {
        if token.len() > MAX_TOKEN {
            return Err(AssertionRefusal::TooLarge);
        }
        let token = std::str::from_utf8(token).map_err(|_| AssertionRefusal::Malformed)?;
        let (signed, signature) = token.rsplit_once('.').ok_or(AssertionRefusal::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(AssertionRefusal::Malformed)?;
        let signature = decode(signature)?;
        let key = self.key(&object(header)?)?;
        if !key.verifies(signed.as_bytes(), &signature) {
            return Err(AssertionRefusal::Signature);
        }
        self.judge(&object(payload)?, now)
    }

    /// The key that a header names, if it may be used as the header says.
    fn key(&self, header: &Map<String, Value>) -> Result<&PublicKey, AssertionRefusal> {
        if header.contains_key("crit") {
            return Err(AssertionRefusal::Header("crit"));
        }
        let is_jwt = |typ: &Value| {
            let typ = typ.as_str();
            typ.is_some_and(|typ| typ.eq_ignore_ascii_case("JWT"))
        };
        if !header.get("typ").is_none_or(is_jwt) {
            return Err(AssertionRefusal::Header("typ"));
        }
        let key = match header.get("kid") {
            Some(kid) => kid.as_str().and_then(|kid| self.keys.get(kid)),
            None if self.keys.len() == 1 => self.keys.values().next(),
            None => None,
        };
        let key = key.ok_or(AssertionRefusal::Key)?;
        match header.get("alg").and_then(Value::as_str) {
            Some(name) if key.algorithm().is_named(name) => Ok(key),
            _ => Err(AssertionRefusal::Algorithm),
        }
    }

    /// Judges the claims of a token whose signature is good.
    fn judge(
        &self,
        claims: &Map<String, Value>,
        now: SystemTime,
    ) -> Result<AssertedNames, AssertionRefusal> {
        let text = |name| claims.get(name).and_then(Value::as_str);
        if text("iss").ok_or(AssertionRefusal::Claim("iss"))? != self.config.issuer {
            return Err(AssertionRefusal::Issuer);
        }
        if !is_for(claims.get("aud"), &self.config.audience)? {
            return Err(AssertionRefusal::Audience);
        }
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let expires = moment(claims, "exp")?.ok_or(AssertionRefusal::Claim("exp"))?;
        let ends = expires.saturating_add(LEEWAY.as_secs());
        if now >= ends {
            return Err(AssertionRefusal::Expired);
        }
        for name in ["nbf", "iat"] {
            let begins = moment(claims, name)?.unwrap_or(0);
            if begins > now.saturating_add(LEEWAY.as_secs()) {
                return Err(AssertionRefusal::NotYet);
            }
        }
        let subject = text("sub").filter(|subject| !subject.is_empty());
        Ok(AssertedNames {
            subject: subject.ok_or(AssertionRefusal::Claim("sub"))?.to_owned(),
            uri: names(claims, "uri")?,
            dns: names(claims, "dns")?,
            email: names(claims, "email")?,
            certificate: certificate(claims)?,
            ends,
        })
    }
}

/// Whether `aud`, one name or several (RFC 7519 §4.1.3), holds the audience.
fn is_for(claim: Option<&Value>, audience: &str) -> Result<bool, AssertionRefusal> {
    const ILLEGAL: AssertionRefusal = AssertionRefusal::Claim("aud");
    match claim {
        Some(Value::String(one)) => Ok(one == audience),
        Some(Value::Array(all)) => {
            let each = all.iter().map(|one| one.as_str().ok_or(ILLEGAL));
            let each: Vec<&str> = each.collect::<Result<_, _>>()?;
            Ok(each.contains(&audience))
        }
        _ => Err(ILLEGAL),
    }
}

/// A NumericDate (RFC 7519 §2), in whole seconds; a fraction is cut off.
fn moment(
    claims: &Map<String, Value>,
    name: &'static str,
) -> Result<Option<u64>, AssertionRefusal> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    let whole = value.as_u64().or_else(|| {
        let seconds = Duration::try_from_secs_f64(value.as_f64()?).ok()?;
        Some(seconds.as_secs())
    });
    whole.map(Some).ok_or(AssertionRefusal::Claim(name))
}

/// A list of names, which may be missing.
fn names(claims: &Map<String, Value>, name: &'static str) -> Result<Vec<String>, AssertionRefusal> {
    let illegal = AssertionRefusal::Claim(name);
    let Some(value) = claims.get(name) else {
        return Ok(Vec::new());
    };
    let list = value.as_array().filter(|list| list.len() <= MOST);
    let texts = list.ok_or(illegal)?.iter().map(|name| {
        let text = name.as_str().filter(|text| !text.is_empty());
        text.map(ToOwned::to_owned).ok_or(illegal)
    });
    texts.collect()
}

/// The certificate that `cnf` names, if it names one.
fn certificate(claims: &Map<String, Value>) -> Result<Option<Fingerprint>, AssertionRefusal> {
    const ILLEGAL: AssertionRefusal = AssertionRefusal::Claim("cnf");
    let Some(cnf) = claims.get("cnf") else {
        return Ok(None);
    };
    let Some(thumbprint) = cnf.as_object().ok_or(ILLEGAL)?.get("x5t#S256") else {
        return Ok(None);
    };
    let digest = decode(thumbprint.as_str().ok_or(ILLEGAL)?).map_err(|_| ILLEGAL)?;
    let digest = digest.try_into().map_err(|_| ILLEGAL)?;
    Ok(Some(Fingerprint::from_digest(digest)))
}

/// Strict base64url without padding (RFC 7515 §2).
fn decode(part: &str) -> Result<Vec<u8>, AssertionRefusal> {
    BASE64URL_NOPAD
        .decode(part.as_bytes())
        .map_err(|_| AssertionRefusal::Malformed)
}

fn object(part: &str) -> Result<Map<String, Value>, AssertionRefusal> {
    json::object(&decode(part)?).ok_or(AssertionRefusal::Malformed)
}

fn read_keys(config: &AcceptedJwt, files: &Files) -> Result<BTreeMap<String, PublicKey>, String> {
    let contents = files
        .read(&config.jwks.value, MAX_KEY_SET)
        .map_err(|cause| match cause {
            FileError::TooLarge { .. } => "is larger than 256 KiB".to_owned(),
            cause => format!("cannot be read: {cause}"),
        })?;
    let set =
        json::object(&contents).ok_or("is not a JSON object in which each name stands once")?;
    let list = set.get("keys").and_then(Value::as_array);
    let list = list.ok_or("is no JWK Set: it has no list `keys`")?;
    if list.is_empty() || list.len() > MOST {
        return Err(format!(
            "has {} keys; from 1 to {MOST} are read",
            list.len()
        ));
    }
    let mut keys = BTreeMap::new();
    for (index, jwk) in list.iter().enumerate() {
        let refuse = |why: &str| format!("has a key that cannot be used: keys[{index}] {why}");
        let jwk = jwk.as_object().ok_or_else(|| refuse("is no object"))?;
        let key = PublicKey::from_json(jwk).map_err(|cause| refuse(&cause.to_string()))?;
        let kid = match jwk.get("kid") {
            Some(kid) => kid
                .as_str()
                .ok_or_else(|| refuse("has a `kid` that is no string"))?
                .to_owned(),
            None => key.thumbprint(),
        };
        if keys.insert(kid, key).is_some() {
            return Err(refuse("has the `kid` of an earlier one"));
        }
    }
    Ok(keys)
}

#[cfg(test)]
mod tests;
