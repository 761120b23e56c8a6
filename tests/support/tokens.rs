//! Signed assertions of others, made and verified with a library that is not ours.

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use rcgen::{KeyPair, PublicKeyData};
use serde_json::{Value, json};

/// A key that signs assertions.
pub(crate) fn signing_key() -> KeyPair {
    KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap()
}

/// The public half of a key, as a JWK Set.
pub(crate) fn key_set(key: &KeyPair) -> String {
    let public = BASE64URL_NOPAD.encode(key.der_bytes());
    json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": public }] }).to_string()
}

/// A token of the edge about `spiffe://prod.example/web`, with `change` made in
/// its claims.
pub(crate) fn sign(key: &KeyPair, change: Value) -> String {
    const WEB: &str = "spiffe://prod.example/web";
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let mut claims = json!({
        "iss": "https://edge.example", "aud": "inner", "sub": WEB, "uri": [WEB],
        "iat": now, "exp": now + 60,
    });
    for (name, value) in change.as_object().unwrap() {
        claims[name] = value.clone();
    }
    let der = EncodingKey::from_ed_der(key.serialized_der());
    encode(&Header::new(Algorithm::EdDSA), &claims, &der).unwrap()
}

/// Whether this key has signed a token for the upstream `orders`.
pub(crate) fn is_signed_by(token: &str, key: &KeyPair) -> bool {
    let mut rules = Validation::new(Algorithm::EdDSA);
    rules.set_audience(&["orders"]);
    decode::<Value>(token, &DecodingKey::from_ed_der(key.der_bytes()), &rules).is_ok()
}
