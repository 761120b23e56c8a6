//! What an expression means.

use super::*;

#[test]
fn each_of_these_is_true_and_its_negation_is_false() {
    for text in [
        "caller.authenticated",
        "!speaker.present",
        "caller.name == 'spiffe://prod.example/web'",
        "caller.subject.startsWith('CN=web,')",
        "caller.anchor.contains(\"Root\")",
        "caller.issuer.endsWith(',O=Example') && caller.fingerprint != 'ab13'",
        "'Orders' in caller.ou",
        "caller.cn[0] + '@' + caller.o[0] == 'web@Example'",
        "caller.ou == ['Engineering', 'Orders']",
        "caller.ou != ['Orders', 'Engineering']",
        "caller.ou.exists(unit, unit.startsWith('Eng'))",
        "caller.ou.all(unit, unit.size() > 5)",
        "caller.ou.exists_one(unit, unit == 'Orders')",
        "caller.email.size() == 0 && size(caller.ou) == 2",
        "speaker.uri.all(uri, uri == 'nobody')",
        "caller.uri.exists(u, caller.ou.exists(o, u.contains('web') && o == 'Orders'))",
        "['a', 'b'].exists(e, ['b', 'c'].exists(f, e == f))",
        "request.method in ['GET', \"HEAD\"]",
        "request.path.matches(r'^/api/v[0-9]+/')",
        "request.path.matches('v\\\\d')",
        "request.listener == 'public' ? request.host < 'p' : false",
        "request.source == '10.1.2.3' && in_network(request.source, '10.0.0.0/8')",
        "caller.not_after > 1800000000 && caller.not_after % 2 == 0",
        "-(2 - 5) * 4 / 2 == 6 && -7 / 2 == -3 && -7 % 2 == -1",
        "(true ? 1 : 2) == 1 && (false ? 'a' : 'b') >= 'b' && true == !false",
        "has(caller.issuer)",
        "size('é') == 1 && 'a\\u00e9' == 'aé'",
        "// what follows counts\n  request.method == 'GET' // and this not",
    ] {
        assert_eq!(holds(text, &facts()), Ok(true), "{text}");
        let negated = format!("!(\n{text}\n)");
        assert_eq!(holds(&negated, &facts()), Ok(false), "{negated}");
    }
}

#[test]
fn what_is_not_known_is_an_error_that_names_it() {
    let anonymous = Facts {
        caller: None,
        host: None,
        source: None,
        ..facts()
    };
    for (text, name) in [
        ("caller.issuer == 'CN=Issuing'", "caller.issuer"),
        ("caller.issuer != 'CN=Issuing'", "caller.issuer"),
        ("caller.spki == 'ab'", "caller.spki"),
        ("speaker.name == 'x'", "speaker.name"),
        ("caller.not_after > 5", "caller.not_after"),
        ("request.host == 'a'", "request.host"),
        ("in_network(request.source, '10.0.0.0/8')", "request.source"),
        ("request.source == '10.1.2.3'", "request.source"),
    ] {
        let error = holds(text, &anonymous).unwrap_err();
        let told = format!("`{name}` is not known here; `has({name})` asks whether it is");
        assert_eq!(error.to_string(), told, "{text}");
        let asked = format!("has({name}) && {text}");
        assert_eq!(holds(&asked, &anonymous), Ok(false), "{asked}");
    }
}

#[test]
fn an_error_does_not_count_where_the_other_side_decides() {
    let error = "caller.spki == 'x'";
    for (text, result) in [
        (format!("{error} || true"), Some(true)),
        (format!("true || {error}"), Some(true)),
        (format!("{error} && false"), Some(false)),
        (format!("false && {error}"), Some(false)),
        (format!("{error} || false"), None),
        (format!("false || {error}"), None),
        (format!("{error} && true"), None),
        (format!("true && {error}"), None),
        (format!("!({error})"), None),
        (format!("({error}) ? true : true"), None),
        (
            format!("['a', 'b'].exists(e, e == 'b' || {error})"),
            Some(true),
        ),
        (
            format!("['a', 'b'].all(e, e == 'a' && {error})"),
            Some(false),
        ),
        (format!("['a', 'b'].exists(e, e == 'c' || {error})"), None),
        (
            format!("['a', 'b'].exists_one(e, e == 'b' || {error})"),
            None,
        ),
    ] {
        assert_eq!(holds(&text, &facts()).ok(), result, "{text}");
    }
}

#[test]
fn what_cannot_be_calculated_is_an_error() {
    for (text, error) in [
        ("1 / (2 - 2) == 1", EvaluationError::DivisionByZero),
        ("1 % (2 - 2) == 1", EvaluationError::DivisionByZero),
        ("9223372036854775807 + 1 > 0", EvaluationError::Overflow),
        ("-9223372036854775808 - 1 < 0", EvaluationError::Overflow),
        ("9223372036854775807 * 2 > 0", EvaluationError::Overflow),
        ("-(-9223372036854775808) > 0", EvaluationError::Overflow),
        (
            "caller.ou[2] == 'x'",
            EvaluationError::NoEntry {
                index: 2,
                entries: 2,
            },
        ),
        (
            "caller.ou[1 - 2] == 'x'",
            EvaluationError::NoEntry {
                index: -1,
                entries: 2,
            },
        ),
    ] {
        assert_eq!(holds(text, &facts()), Err(error), "{text}");
    }
    assert_eq!(holds("caller.ou[1] == 'Orders'", &facts()), Ok(true));
    assert_eq!(holds("9223372036854775806 + 1 > 0", &facts()), Ok(true));
}

#[test]
fn an_address_of_ipv4_is_itself_in_whatever_form_it_comes() {
    let mapped = Facts {
        source: Some("::ffff:10.1.2.3".parse().unwrap()),
        ..facts()
    };
    let v6 = Facts {
        source: Some("2001:db8::1".parse().unwrap()),
        ..facts()
    };
    let within = |network: &str, facts: &Facts| {
        holds(&format!("in_network(request.source, '{network}')"), facts)
    };

    assert_eq!(within("10.1.0.0/16", &mapped), Ok(true));
    assert_eq!(within("10.2.0.0/16", &mapped), Ok(false));
    assert_eq!(holds("request.source == '10.1.2.3'", &mapped), Ok(true));
    assert_eq!(within("2001:db8::/32", &v6), Ok(true));
    assert_eq!(within("0.0.0.0/0", &v6), Ok(false));
    assert_eq!(within("::/0", &mapped), Ok(false));
}

#[test]
fn only_what_decides_is_looked_at() {
    let method = Attribute::Request(RequestText::Method);
    let units = Attribute::List(Party::Caller, PartyList::Ou);
    let expression = compiled("request.method == 'GET' || 'Orders' in caller.ou");
    assert_eq!(expression.attributes(), [method, units]);
    assert!(expression.looks_at(Party::Caller));
    assert!(!expression.looks_at(Party::Speaker));

    let read = facts();
    assert_eq!(expression.holds(&read), Ok(true));
    assert_eq!(read.looked_at.take(), [method]);

    let written = Facts {
        method: "PUT".to_owned(),
        ..facts()
    };
    assert_eq!(expression.holds(&written), Ok(true));
    // How long the subject is tells what it costs to look through it.
    let subject = Attribute::Text(Party::Caller, PartyText::Subject);
    assert_eq!(written.looked_at.take(), [method, subject, units]);
}

#[test]
fn a_name_of_an_inner_loop_hides_that_of_the_outer_one() {
    let text = "['a'].exists(e, ['b'].exists(e, e == 'b') && e == 'a')";
    assert_eq!(holds(text, &facts()), Ok(true));
    let text = "['a'].exists(request, request == 'a') && request.method == 'GET'";
    assert_eq!(holds(text, &facts()), Ok(true));
}

#[test]
fn expressions_compare_and_print_as_they_are_written() {
    let one = compiled("request.method == 'GET'");
    assert_eq!(one, compiled("request.method == 'GET'"));
    assert_ne!(one, compiled("request.method  == 'GET'"));
    assert_eq!(one.to_string(), "request.method == 'GET'");
    assert_eq!(one.text(), "request.method == 'GET'");
    assert_eq!(
        format!("{one:?}"),
        "Expression(\"request.method == 'GET'\")"
    );
}
