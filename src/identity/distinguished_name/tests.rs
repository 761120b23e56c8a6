use super::*;
use crate::identity::testing::{attribute, der, name, rdn};

const CN: &[u8] = &[0x55, 4, 3];

fn common_name(text: &str) -> String {
    let value = der(tag::UTF8_STRING, text.as_bytes());
    write(&name(&[rdn(&[attribute(CN, &value)])])).unwrap()
}

#[test]
fn rdns_are_reversed_and_multi_valued_ones_joined_by_plus() {
    let text =
        |oid: &[u8], text: &str| attribute(oid, &der(tag::PRINTABLE_STRING, text.as_bytes()));
    let name = name(&[
        rdn(&[text(&[0x55, 4, 6], "DE")]),
        rdn(&[text(&[0x55, 4, 10], "Example")]),
        rdn(&[text(CN, "web"), text(&[0x55, 4, 5], "7")]),
    ]);

    assert_eq!(
        write(&name).as_deref(),
        Ok("CN=web+serialNumber=7,O=Example,C=DE")
    );
}

#[test]
fn values_are_escaped_so_that_separators_are_unambiguous() {
    let table = [
        ("web", "CN=web"),
        ("", "CN="),
        ("a,OU=admin", "CN=a\\,OU=admin"),
        ("a+b;c<d>e", "CN=a\\+b\\;c\\<d\\>e"),
        ("say \"x\"\\", "CN=say \\\"x\\\"\\\\"),
        ("#1 a#b", "CN=\\#1 a#b"),
        (" ", "CN=\\20"),
        (" a b ", "CN=\\20a b\\20"),
        ("a=b", "CN=a=b"),
        ("a\0b\r\nc\u{7f}", "CN=a\\00b\\0D\\0Ac\\7F"),
        ("Ä", "CN=\\C3\\84"),
    ];

    for (value, expected) in table {
        assert_eq!(common_name(value), expected, "{value:?}");
    }
}

#[test]
fn string_types_are_read_by_their_own_rules_and_bad_ones_stay_hex() {
    let table: [(u8, &[u8], &str); 10] = [
        (
            tag::BMP_STRING,
            &[0, b'a', 0xd8, 0x3d, 0xde, 0x00],
            "CN=a\\F0\\9F\\98\\80",
        ),
        (tag::BMP_STRING, &[0, b'a', 0], "CN=#1e03006100"),
        (tag::BMP_STRING, &[0xd8, 0x3d], "CN=#1e02d83d"),
        (tag::UNIVERSAL_STRING, &[0, 0, 0, b'a'], "CN=a"),
        (tag::UNIVERSAL_STRING, &[0, 0x11, 0, 0], "CN=#1c0400110000"),
        (tag::UTF8_STRING, &[0xff], "CN=#0c01ff"),
        (tag::PRINTABLE_STRING, "ä".as_bytes(), "CN=#1302c3a4"),
        (tag::TELETEX_STRING, b"old", "CN=old"),
        (tag::TELETEX_STRING, &[0xe4], "CN=#1401e4"),
        (0x02, &[5], "CN=#020105"),
    ];

    for (tag, contents, expected) in table {
        let name = name(&[rdn(&[attribute(CN, &der(tag, contents))])]);
        assert_eq!(write(&name).as_deref(), Ok(expected));
    }
}

#[test]
fn unknown_attribute_types_are_dotted_with_a_hex_value() {
    let value = der(tag::UTF8_STRING, b"x,CN=y");
    let written = |oid: &[u8]| write(&name(&[rdn(&[attribute(oid, &value)])]));

    assert_eq!(
        written(&[0x2a, 0x03]).as_deref(),
        Ok("1.2.3=#0c06782c434e3d79")
    );
    assert_eq!(
        written(&[0x88, 0x37, 1]).as_deref(),
        Ok("2.999.1=#0c06782c434e3d79")
    );
    assert_eq!(written(&[0x2a, 0x83]), Err(NotDer));
    assert_eq!(written(&[]), Err(NotDer));
    assert_eq!(written(&[0xff; 12]), Err(NotDer));
}

#[test]
fn empty_name_is_empty_and_a_name_cut_short_is_refused() {
    assert_eq!(write(&name(&[])).as_deref(), Ok(""));

    let good = attribute(CN, &der(tag::UTF8_STRING, b"web"));
    let broken = attribute(CN, &[0x0c, 9, b'x']);
    assert_eq!(
        write(&name(&[rdn(std::slice::from_ref(&good)), rdn(&[broken])])),
        Err(NotDer)
    );
    assert_eq!(write(&name(&[rdn(&[])])), Err(NotDer));
    let mut trailing = name(&[rdn(&[good])]);
    trailing.push(0);
    assert_eq!(write(&trailing), Err(NotDer));
}

#[test]
fn attribute_types_are_known_by_name_in_any_case_and_by_oid() {
    let canonical = |written| canonical_attribute_type(written).map(Cow::into_owned);

    assert_eq!(canonical("cn").as_deref(), Some("CN"));
    assert_eq!(canonical("2.5.4.3").as_deref(), Some("CN"));
    assert_eq!(canonical("emailaddress").as_deref(), Some("emailAddress"));
    assert_eq!(canonical("1.2.3").as_deref(), Some("1.2.3"));
    for unknown in ["", " CN", "XX", "1..2", "12"] {
        assert_eq!(canonical(unknown), None, "{unknown:?}");
    }
}
