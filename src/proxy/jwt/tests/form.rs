//! Tokens that could be read in more than one way, or not at all.

use super::*;

#[test]
fn form_that_could_be_read_in_two_ways_is_refused() {
    let issuer = Issuer::new();
    let payload = Value::Object(good()).to_string();
    let good = issuer.sign(HEADER, &payload);
    assert!(issuer.verify(&good).is_ok());
    let twice = payload.replacen('{', "{\"sub\":\"admin\",", 1);
    let deep = payload.replacen('{', "{\"act\":{\"sub\":\"a\",\"sub\":\"b\"},", 1);
    let nested = payload.replacen(
        '{',
        &format!("{{\"x\":{}1{},", "[".repeat(200), "]".repeat(200)),
        1,
    );
    let trailing = format!("{payload} x");
    let escaped = payload.replacen("\"iss\"", "\"\\u0069ss\"", 1);
    assert!(issuer.verify(&issuer.sign(HEADER, &escaped)).is_ok());
    for bad in [
        twice,
        deep,
        nested,
        trailing,
        "null".into(),
        "[]".into(),
        "{".into(),
    ] {
        assert_eq!(
            issuer.verify(&issuer.sign(HEADER, &bad)),
            Err(AssertionRefusal::Malformed),
            "{bad}"
        );
    }
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (header, body) = signed.split_once('.').unwrap();
    for bad in [
        issuer.seal(&format!("{header}=.{body}")),
        issuer.seal(&format!("{header}.{body}=")),
        issuer.seal(&format!("{header}\n.{body}")),
        issuer.seal(&format!("{header}.{body}.")),
        issuer.seal(header),
        format!("{signed}.{signature}="),
        format!("{signed}.{signature} "),
        format!(" {good}"),
        format!(".{good}"),
        String::new(),
        "..".to_owned(),
    ] {
        assert_eq!(
            issuer.verify(&bad),
            Err(AssertionRefusal::Malformed),
            "{bad}"
        );
    }
}

#[test]
fn base64_with_bits_that_mean_nothing_is_refused() {
    let issuer = Issuer::new();
    let token = issuer.sign(HEADER, &Value::Object(good()).to_string());
    // 64 bytes are 86 characters, whose last has four bits to spare.
    let last = token.chars().next_back().unwrap();
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let next = alphabet
        .chars()
        .nth(alphabet.find(last).unwrap() + 1)
        .unwrap();
    let other = format!("{}{next}", &token[..token.len() - 1]);
    assert_eq!(issuer.verify(&other), Err(AssertionRefusal::Malformed));
    assert!(issuer.verify(&token).is_ok());
}

#[test]
fn token_that_was_changed_or_not_signed_is_refused() {
    let issuer = Issuer::new();
    let token = issuer.sign(HEADER, &Value::Object(good()).to_string());
    let (signed, _) = token.rsplit_once('.').unwrap();
    let (header, _) = signed.split_once('.').unwrap();
    let mut admin = good();
    admin.insert("sub".into(), "admin".into());
    let admin = BASE64URL_NOPAD.encode(Value::Object(admin).to_string().as_bytes());
    let other = Issuer::new();
    for bad in [
        format!("{signed}."),
        format!("{token}."),
        format!("{signed}.{}", BASE64URL_NOPAD.encode(&[0; 64])),
        token.replacen(signed, &format!("{header}.{admin}"), 1),
        other.seal(signed),
    ] {
        assert_eq!(
            issuer.verify(&bad),
            Err(AssertionRefusal::Signature),
            "{bad}"
        );
    }
}

#[test]
fn token_over_its_bound_is_refused_before_it_is_read() {
    let issuer = Issuer::new();
    let fill = |length: usize| issuer.with_claims(json!({ "x": "a".repeat(length) }));
    assert!(fill(11_000).is_ok());
    assert_eq!(fill(13_000), Err(AssertionRefusal::TooLarge));
    assert_eq!(
        issuer.verify(&"a".repeat(MAX_TOKEN + 1)),
        Err(AssertionRefusal::TooLarge)
    );
}

proptest! {
    #[test]
    fn garbage_never_panics_and_never_passes(
        token in prop::collection::vec(any::<u8>(), 0..200),
        parts in "[A-Za-z0-9_.-]{0,200}",
    ) {
        thread_local!(static ISSUER: Issuer = Issuer::new());
        ISSUER.with(|issuer| {
            let now = UNIX_EPOCH + Duration::from_secs(NOW);
            prop_assert!(issuer.verifier.verify(&token, now).is_err());
            prop_assert!(issuer.verify(&parts).is_err());
            Ok(())
        })?;
    }

    #[test]
    fn signed_garbage_never_panics_and_passes_only_with_all_claims(
        header in "[{}\\[\\]\":,a-z0-9 .]{0,60}",
        payload in "[{}\\[\\]\":,a-z0-9 .\\\\-]{0,120}",
        claim in prop::sample::select(vec!["iss", "sub", "aud", "exp", "nbf", "iat", "uri", "dns"]),
        value in prop::sample::select(vec![
            "null", "true", "-0", "1e400", "1e308", "-1e308", "18446744073709551616", "{}", "[[]]",
            "\"\\u0000\"", "\"\\ud800\"", "[null]", "0.1",
        ]),
    ) {
        thread_local!(static ISSUER: Issuer = Issuer::new());
        ISSUER.with(|issuer| {
            prop_assert!(issuer.verify(&issuer.sign(&header, &payload)).is_err());
            prop_assert!(issuer.verify(&issuer.sign(HEADER, &payload)).is_err());
            let mut claims = good();
            claims.remove(claim);
            let text = Value::Object(claims).to_string();
            let text = text.replacen('{', &format!("{{\"{claim}\":{value},"), 1);
            // What passes must not rest on the claim that was changed.
            if issuer.verify(&issuer.sign(HEADER, &text)).is_ok() {
                prop_assert!(["nbf", "iat", "exp", "sub"].contains(&claim), "{claim} {value}");
            }
            Ok(())
        })?;
    }
}
