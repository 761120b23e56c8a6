//! What of a head may pass.

use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, HOST, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, SET_COOKIE, TE, TRANSFER_ENCODING, UPGRADE, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::fault::Fault;
use super::field_names::{self, is_mistakable};
use super::forwarding;
use crate::config::FieldNames;
use crate::identity::IdentityFields;

/// What a request's hop-by-hop fields said, before they were removed.
#[derive(Debug, Default)]
pub(super) struct Hop {
    /// The protocol that the connection shall change to.
    pub(super) upgrade: Option<HeaderValue>,
    /// Whether trailers are welcome (`TE: trailers`).
    pub(super) trailers: bool,
}

/// Removes every value of a field.
pub(super) fn drop_field(headers: &mut HeaderMap, name: &HeaderName) {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the function that drops all values and says so"
    )]
    drop(headers.remove(name));
}

/// Removes from a request's head what must not pass: hop-by-hop fields, fields
/// that say who is calling, and, unless the sender is trusted with them, fields
/// that say where the request came from.
pub(super) fn strip_request(
    headers: &mut HeaderMap,
    (identity, names): (&IdentityFields, FieldNames),
    trusted_sender: bool,
) -> Hop {
    let hop = read_hop(headers);
    let nominated = Nominated::of(headers);
    drop_where(headers, |name| {
        is_hop_by_hop(name)
            || nominated.contains(name)
            || identity.contains(name.as_str())
            || is_mistakable(name, names)
            || (!trusted_sender && forwarding::is_forwarding_field(name.as_str()))
    });
    hop
}

/// Joins the crumbs of `Cookie` that HTTP/2 allows into the one field that
/// HTTP/1.1 knows (RFC 9113 §8.2.3).
pub(super) fn join_cookies(headers: &mut HeaderMap) {
    let crumbs = headers.get_all(COOKIE);
    if crumbs.iter().nth(1).is_none() {
        return;
    }
    let crumbs: Vec<_> = crumbs.iter().map(HeaderValue::as_bytes).collect();
    // What was a value before is one with a separator in it.
    if let Ok(joined) = HeaderValue::from_bytes(&crumbs.join(b"; ".as_slice())) {
        headers.insert(COOKIE, joined);
    }
}

/// Makes sure that a response says in one way how long it is (RFC 9112 §6.3).
///
/// # Errors
///
/// The rule that it breaks.
pub(super) fn settle_length(headers: &mut HeaderMap) -> Result<(), &'static str> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        // `chunked` is taken off before; what else there is would stay on.
        if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Err("a transfer coding other than one `chunked` (RFC 9112 section 6.1)");
        }
        drop_field(headers, &CONTENT_LENGTH);
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let numeric = |length: &HeaderValue| {
        !length.is_empty() && length.as_bytes().iter().all(u8::is_ascii_digit)
    };
    match (lengths.next(), lengths.next()) {
        (Some(length), None) if numeric(length) => Ok(()),
        (None, _) => Ok(()),
        _ => Err("Content-Length is not one number (RFC 9112 section 6.3)"),
    }
}

/// Removes the hop-by-hop fields from a response's head.
pub(super) fn strip_response(headers: &mut HeaderMap) {
    let nominated = Nominated::of(headers);
    drop_where(headers, |name| {
        is_hop_by_hop(name) || nominated.contains(name)
    });
}

/// The first of these fields that a `Connection` line names.
pub(super) fn nominated<'f>(
    headers: &HeaderMap,
    mut fields: impl Iterator<Item = &'f HeaderName>,
) -> Option<&'f HeaderName> {
    let nominated = headers
        .contains_key(CONNECTION)
        .then(|| Nominated::of(headers))?;
    fields.find(|field| nominated.contains(field))
}

/// Makes a `Vary` that names an identity field `Vary: *` (RFC 9440): callers do
/// not send these fields, so no cache of theirs could tell two of them apart.
pub(super) fn settle_vary(headers: &mut HeaderMap, identity: &IdentityFields) {
    let names_identity = headers.get_all(VARY).iter().any(|value| {
        let mut names = value.as_bytes().split(|byte| *byte == b',');
        names.any(|name| str::from_utf8(name.trim_ascii()).is_ok_and(|it| identity.contains(it)))
    });
    if names_identity {
        headers.insert(VARY, HeaderValue::from_static("*"));
    }
}

/// Removes from trailers what must not come in them (RFC 9110 §6.5.1), beside
/// all that is removed from heads.
///
/// # Errors
///
/// A name that is refused in heads, too.
pub(super) fn strip_trailers(
    trailers: &mut HeaderMap,
    (identity, names): (&IdentityFields, FieldNames),
) -> Result<(), Fault> {
    field_names::check(trailers, names)?;
    drop_where(trailers, |name| {
        is_hop_by_hop(name)
            || is_mistakable(name, names)
            || *name == HOST
            || *name == CONTENT_LENGTH
            || *name == AUTHORIZATION
            || *name == COOKIE
            || identity.contains(name.as_str())
            || forwarding::is_forwarding_field(name.as_str())
    });
    Ok(())
}

/// Removes from a response's trailers what belongs to one connection alone, or
/// would say again how long the response is, and cookies, which must not come
/// there (RFC 9110 §6.5.1): sessions of the service stay with countersign.
pub(super) fn strip_response_trailers(trailers: &mut HeaderMap) {
    drop_where(trailers, |name| {
        is_hop_by_hop(name) || *name == CONTENT_LENGTH || *name == SET_COOKIE
    });
}

/// Removes every value of the fields whose names are unwanted.
pub(super) fn drop_where(headers: &mut HeaderMap, unwanted: impl Fn(&HeaderName) -> bool) {
    // Most heads hold none: then nothing is allocated.
    let unwanted: Vec<_> = headers
        .keys()
        .filter(|name| unwanted(name))
        .cloned()
        .collect();
    for name in &unwanted {
        drop_field(headers, name);
    }
}

fn read_hop(headers: &HeaderMap) -> Hop {
    // Only WebSockets pass. With HTTP/2 in clear text (`h2c`) a client could
    // send requests through the tunnel that nobody has judged.
    let upgrade = headers.get(UPGRADE).filter(|protocol| {
        protocol.as_bytes().eq_ignore_ascii_case(b"websocket")
            && tokens(headers, &CONNECTION).any(|token| token.eq_ignore_ascii_case(b"upgrade"))
    });
    let trailers = tokens(headers, &TE).any(|token| token.eq_ignore_ascii_case(b"trailers"));
    Hop {
        upgrade: upgrade.cloned(),
        trailers,
    }
}

/// The fields of RFC 9110 §7.6.1, and those of older practice.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    *name == CONNECTION
        || *name == TE
        || *name == TRANSFER_ENCODING
        || *name == UPGRADE
        || *name == PROXY_AUTHENTICATE
        || *name == PROXY_AUTHORIZATION
        || matches!(
            name.as_str(),
            "keep-alive" | "proxy-connection" | "proxy-authentication-info" | "http2-settings"
        )
}

/// The fields that any `Connection` line names.
struct Nominated(Vec<HeaderName>);

impl Nominated {
    fn of(headers: &HeaderMap) -> Self {
        let names = tokens(headers, &CONNECTION)
            .filter_map(|token| HeaderName::from_bytes(token).ok())
            // These say where the message ends and to whom it goes: no
            // `Connection` line takes them away.
            .filter(|name| *name != HOST && *name != CONTENT_LENGTH)
            .collect();
        Self(names)
    }

    fn contains(&self, name: &HeaderName) -> bool {
        self.0.contains(name)
    }
}

/// The members of a field that is a comma-separated list, over all its lines.
/// One that is not text does not hide those beside it.
fn tokens<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h [u8]> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                value.parse().unwrap(),
            );
        }
        map
    }

    fn stripped(fields: &[(&str, &str)], trusted: bool) -> Vec<String> {
        let mut map = headers(fields);
        strip_request(
            &mut map,
            (
                &IdentityFields::new(std::iter::empty::<HeaderName>()),
                FieldNames::Drop,
            ),
            trusted,
        );
        map.keys().map(ToString::to_string).collect()
    }

    #[test]
    fn vary_that_names_an_identity_field_becomes_a_star_and_another_stays() {
        let identity = IdentityFields::new(std::iter::empty::<HeaderName>());
        let settled = |values: &[&str]| {
            let fields: Vec<_> = values.iter().map(|value| ("vary", *value)).collect();
            let mut map = headers(&fields);
            settle_vary(&mut map, &identity);
            let left = map.get_all(VARY).iter();
            let left: Vec<_> = left.map(|it| it.to_str().unwrap().to_owned()).collect();
            left
        };

        assert_eq!(settled(&["Client-Cert"]), ["*"]);
        assert_eq!(settled(&["accept", "origin ,\tclient-cert-chain"]), ["*"]);
        assert_eq!(settled(&["X-SSL-Client-S-DN"]), ["*"]);
        let others = ["Accept-Encoding, Origin", "*"];
        assert_eq!(settled(&others), others);
        assert!(settled(&[]).is_empty());
    }

    #[test]
    fn names_in_a_second_connection_line_are_stripped_too() {
        let left = stripped(
            &[
                ("connection", "close, x-one"),
                ("connection", "X-Two"),
                ("x-one", "1"),
                ("x-two", "2"),
                ("x-two", "2b"),
                ("x-three", "3"),
            ],
            false,
        );
        assert_eq!(left, ["x-three"]);
    }

    #[test]
    fn a_response_says_in_one_way_how_long_it_is() {
        let left = |fields: &[(&str, &str)]| {
            let mut map = headers(fields);
            settle_length(&mut map).map(|()| map.contains_key(CONTENT_LENGTH))
        };
        let (length, coding) = ("content-length", "transfer-encoding");
        assert_eq!(left(&[]), Ok(false));
        assert_eq!(left(&[(length, "5")]), Ok(true));
        assert_eq!(left(&[(coding, "Chunked")]), Ok(false));
        assert_eq!(left(&[(coding, "chunked"), (length, "5")]), Ok(false));
        for bad in [
            [(length, "5"), (length, "5")],
            [(length, "5, 5"), ("x", "y")],
            [(length, ""), ("x", "y")],
            [(coding, "gzip, chunked"), ("x", "y")],
            [(coding, "identity"), (length, "5")],
            [(coding, "chunked"), (coding, "chunked")],
        ] {
            assert!(left(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn neither_cookies_nor_lengths_come_down_in_trailers() {
        let mut map = headers(&[
            ("set-cookie", "SID=1"),
            ("content-length", "5"),
            ("te", "trailers"),
            ("x-checksum", "1"),
        ]);
        strip_response_trailers(&mut map);
        let left: Vec<_> = map.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["x-checksum"]);
    }

    #[test]
    fn a_name_that_is_not_ascii_does_not_hide_its_neighbours() {
        let mut map = headers(&[("x-one", "1")]);
        let line = HeaderValue::from_bytes(b"x-one, \xff").unwrap();
        map.append(CONNECTION, line);
        let none = IdentityFields::new(std::iter::empty::<HeaderName>());
        strip_request(&mut map, (&none, FieldNames::Drop), false);
        assert!(map.is_empty(), "{map:?}");
    }

    #[test]
    fn host_and_length_cannot_be_nominated_away() {
        let left = stripped(
            &[
                ("connection", "host, content-length"),
                ("host", "a"),
                ("content-length", "1"),
            ],
            false,
        );
        assert_eq!(left.len(), 2, "{left:?}");
    }

    #[test]
    fn fields_about_the_origin_pass_only_from_trusted_senders() {
        let fields = [
            ("x-forwarded-for", "1.2.3.4"),
            ("x_forwarded_proto", "https"),
            ("forwarded", "for=1.2.3.4"),
            ("accept", "*/*"),
        ];
        assert_eq!(stripped(&fields, false), ["accept"]);
        assert_eq!(stripped(&fields, true).len(), 3);
    }

    #[test]
    fn names_that_services_fold_are_refused_dropped_or_kept_and_identity_never_is() {
        let fields = [
            ("x_user", "1"),
            ("x.user", "1"),
            ("x-user", "1"),
            ("content_length", "5"),
            ("x_forwarded.client_cert", "forged"),
        ];
        let identity = IdentityFields::new(std::iter::empty::<HeaderName>());
        let left = |names| {
            let (mut head, mut trailers) = (headers(&fields), headers(&fields));
            strip_request(&mut head, (&identity, names), true);
            let passes = strip_trailers(&mut trailers, (&identity, names)).is_ok();
            let names = |map: &HeaderMap| map.keys().map(ToString::to_string).collect::<Vec<_>>();
            assert!(!passes || names(&head) == names(&trailers));
            (passes, names(&head))
        };
        assert_eq!(left(FieldNames::Drop), (true, vec!["x-user".to_owned()]));
        let kept = ["x_user", "x.user", "x-user"].map(ToOwned::to_owned);
        assert_eq!(left(FieldNames::Keep), (true, kept.to_vec()));
        assert!(!left(FieldNames::Strict).0);
        let head = headers(&fields);
        assert!(field_names::check(&head, FieldNames::Strict).is_err());
        assert!(field_names::check(&head, FieldNames::Drop).is_ok());
        let plain = headers(&[("x-user", "1"), ("te", "trailers")]);
        assert!(field_names::check(&plain, FieldNames::Strict).is_ok());
    }

    #[test]
    fn cookie_crumbs_become_one_field() {
        let mut map = headers(&[("cookie", "a=1"), ("accept", "*/*"), ("cookie", "b=2")]);
        join_cookies(&mut map);
        let cookies: Vec<_> = map.get_all(COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1; b=2"]);
    }

    #[test]
    fn only_websockets_may_change_the_protocol() {
        for protocol in ["h2c", "websocket, h2c", "TLS/1.0"] {
            let asking = headers(&[("connection", "Upgrade"), ("upgrade", protocol)]);
            assert!(read_hop(&asking).upgrade.is_none(), "{protocol}");
        }
    }

    #[test]
    fn an_upgrade_counts_only_when_the_connection_line_names_it() {
        let with = headers(&[
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "websocket"),
        ]);
        assert_eq!(read_hop(&with).upgrade.unwrap(), "websocket");
        assert!(
            read_hop(&headers(&[("upgrade", "websocket")]))
                .upgrade
                .is_none()
        );
    }

    fn any_field() -> impl Strategy<Value = (String, String)> {
        let name = prop_oneof![
            "[a-z][a-z0-9_.-]{0,12}",
            Just("connection".to_owned()),
            Just("x-forwarded-for".to_owned()),
            Just("x_forwarded.client-cert".to_owned()),
        ];
        let value = prop_oneof!["[ -~]{0,24}", "([a-z][a-z0-9_.-]{0,12}, ?){0,3}"];
        (name, value)
    }

    proptest! {
        #[test]
        fn no_field_that_any_connection_line_names_survives(
            fields in proptest::collection::vec(any_field(), 0..12),
        ) {
            let pairs: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let mut map = headers(&pairs);
            let named: Vec<_> = Nominated::of(&map).0;
            let identity = IdentityFields::new(std::iter::empty::<HeaderName>());
            strip_request(&mut map, (&identity, FieldNames::Keep), false);
            for name in named {
                prop_assert!(!map.contains_key(&name), "{name}");
            }
            for name in map.keys() {
                prop_assert!(!is_hop_by_hop(name) && !identity.contains(name.as_str()), "{name}");
            }
        }

        #[test]
        fn stripping_twice_changes_nothing_more(
            fields in proptest::collection::vec(any_field(), 0..12),
        ) {
            let pairs: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let identity = IdentityFields::new(std::iter::empty::<HeaderName>());
            let mut once = headers(&pairs);
            strip_request(&mut once, (&identity, FieldNames::Drop), false);
            let mut twice = once.clone();
            strip_request(&mut twice, (&identity, FieldNames::Drop), false);
            prop_assert_eq!(once, twice);
        }
    }
}
