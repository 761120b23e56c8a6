//! Nothing that is written, and nothing that a certificate holds, takes up more
//! than its share.

use std::time::{Duration, Instant};

use proptest::prelude::{Just, Strategy, any, prop};
use proptest::{prop_assert, prop_oneof, proptest};

use super::super::LONGEST;
use super::super::tokens::DEEPEST;
use super::*;

/// Compiles it or not; where it does, evaluates it too.
fn survives(text: &str) {
    match Expression::compile(text) {
        Ok(expression) => drop(expression.holds(&facts())),
        Err(error) => {
            assert!(error.offset <= text.len(), "{text:?}: {error:?}");
            assert!(text.is_char_boundary(error.offset), "{text:?}: {error:?}");
            assert!(!error.message.is_empty() && !error.remedy.is_empty());
        }
    }
}

#[test]
fn the_longest_and_deepest_texts_are_read_or_refused() {
    let n = LONGEST;
    let deep = |open: &str, inner: &str, close: &str| {
        open.repeat(DEEPEST) + inner + &close.repeat(DEEPEST)
    };
    let texts = [
        "1+".repeat(n / 2 - 1) + "1",
        "!".repeat(n - 1) + "a",
        "!-".repeat(n / 2 - 1) + "a",
        "-".repeat(n - 1) + "1",
        "a.".repeat(n / 2 - 1) + "b",
        "a?b:".repeat(n / 4 - 1) + "c",
        "a?".repeat(n / 4 - 1) + "c" + &":d".repeat(n / 4 - 1),
        "a&&".repeat(n / 3 - 1) + "c",
        "true||".repeat(n / 6 - 1) + "true",
        "a".to_owned() + &"[1]".repeat(n / 3 - 1),
        "a".to_owned() + &".b()".repeat(n / 4 - 1),
        "a<".repeat(n / 2 - 1) + "b",
        "a in ".repeat(n / 5 - 1) + "b",
        "[".repeat(n),
        "{".repeat(n),
        "(".repeat(n),
        "f(".repeat(n / 2),
        "(a?".repeat(n / 3),
        "a.b(".repeat(n / 4),
        deep("(", "true", ")"),
        deep("[", "1", "]"),
        deep("{1:", "1", "}"),
        deep("f(", "1", ")"),
        deep("(!", "true", ")"),
        deep("(a?b:c+", "1", ")"),
        deep("(a+", "1", ")"),
        deep("a.exists(b, b", "1", ")"),
        deep("[1,2,", "1", "]") + &"+1".repeat(n / 4),
        ")".repeat(n),
        "'".repeat(n - 1),
        "\"\\".repeat(n / 2),
    ];
    for text in texts {
        assert!(text.len() <= n, "{} bytes: {:.40}", text.len(), text);
        survives(&text);
    }
}

#[test]
fn a_text_that_is_too_long_or_too_deep_is_refused_and_one_less_is_not() {
    let padded = |length: usize| format!("{:length$}", "true");
    let nested = |depth: usize| "(".repeat(depth) + "true" + &")".repeat(depth);
    let negated = |depth: usize| "!(".repeat(depth) + "true" + &")".repeat(depth);

    assert!(Expression::compile(&padded(LONGEST)).is_ok());
    let long = Expression::compile(&padded(LONGEST + 1)).unwrap_err();
    assert_eq!(
        (long.offset, long.message.as_str()),
        (LONGEST, "the expression is over 4096 bytes")
    );

    assert!(Expression::compile(&nested(DEEPEST)).is_ok());
    assert!(Expression::compile(&negated(DEEPEST)).is_ok());
    let deep = Expression::compile(&nested(DEEPEST + 1)).unwrap_err();
    assert_eq!(
        (deep.offset, deep.message.as_str()),
        (DEEPEST, "more than 24 brackets are open")
    );

    let sum = |terms: usize| format!("{}1 > 0", "1 + ".repeat(terms));
    assert!(Expression::compile(&sum(62)).is_ok());
    let deep = Expression::compile(&sum(63)).unwrap_err();
    assert_eq!(deep.message, "more than 64 operations are nested");
    // What is joined by `&&` and `||` is as flat as the parser can make it.
    let many = "request.method == 'GET' || ".repeat(140) + "true";
    assert!(Expression::compile(&many).is_ok());
}

#[test]
fn a_pattern_that_would_be_large_is_refused() {
    for pattern in [
        "(a{1000}){1000}",
        r"\\pL{1000}{1000}",
        "(((((((((a{9}){9}){9}){9}){9}){9}){9}){9}){9})",
    ] {
        let text = format!("request.path.matches('{pattern}')");
        assert!(Expression::compile(&text).is_err(), "{pattern}");
    }
    assert!(Expression::compile("request.path.matches('(a{100}){10}')").is_ok());
}

#[test]
fn a_certificate_with_thousands_of_names_does_not_stop_a_worker() {
    let mut crowded = facts();
    let names: Vec<String> = (0..5000)
        .map(|i| format!("spiffe://prod.example/{i}"))
        .collect();
    let lists = &mut crowded.caller.as_mut().unwrap().lists;
    lists.retain(|(list, _)| *list != PartyList::Uri);
    lists.push((PartyList::Uri, names));
    let started = Instant::now();

    let cubed = "caller.uri.all(a, caller.uri.all(b, caller.uri.all(c, a + b != c)))";
    for text in [
        cubed.to_owned(),
        format!("({cubed}) || true"),
        format!("!({cubed}) && false"),
        format!("['x'].exists(e, {cubed}) || true"),
        "caller.uri.all(a, !caller.uri.exists(b, b.matches('(x+x+)+y')))".to_owned(),
    ] {
        assert_eq!(
            holds(&text, &crowded),
            Err(EvaluationError::TooLong),
            "{text}"
        );
    }
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(
        holds("'spiffe://prod.example/4999' in caller.uri", &crowded),
        Ok(true)
    );
    assert_eq!(
        holds("caller.uri.exists(u, u.endsWith('/4999'))", &crowded),
        Ok(true)
    );
}

#[test]
fn a_subject_that_is_long_counts_each_time_that_it_is_looked_through() {
    let mut crowded = facts();
    let caller = crowded.caller.as_mut().unwrap();
    let names = (0..1000).map(|i| format!("spiffe://prod.example/{i}"));
    caller.lists.retain(|(list, _)| *list != PartyList::Uri);
    caller.lists.push((PartyList::Uri, names.collect()));
    let text = "caller.uri.all(a, !(a in caller.ou))";
    assert_eq!(holds(text, &crowded), Ok(true));
    let caller = crowded.caller.as_mut().unwrap();
    caller.texts.retain(|(name, _)| *name != PartyText::Subject);
    let subject = format!("CN={}", "x".repeat(16_000));
    caller.texts.push((PartyText::Subject, subject));
    assert_eq!(holds(text, &crowded), Err(EvaluationError::TooLong));
}

#[test]
fn a_string_that_is_put_together_has_a_bound() {
    let long = Facts {
        path: "/".repeat(20_000),
        ..facts()
    };
    let joined = |times: usize| format!("({}).size() > 5", vec!["request.path"; times].join(" + "));
    assert_eq!(holds(&joined(3), &long), Ok(true));
    assert_eq!(holds(&joined(4), &long), Err(EvaluationError::TooLarge));
}

fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "caller",
            "request",
            "speaker",
            ".",
            "ou",
            "method",
            "name",
            "source",
            "(",
            ")",
            "[",
            "]",
            "{",
            "}",
            "==",
            "!=",
            "<",
            "&&",
            "||",
            "!",
            "-",
            "+",
            "?",
            ":",
            ",",
            "in",
            "in_network",
            "'a'",
            "\"",
            "'",
            "'''",
            "r'",
            "\\",
            "1",
            "0x",
            "1u",
            "1.5",
            "true",
            "null",
            "exists",
            "all",
            "matches",
            "has",
            "size",
            "e",
            "//",
            "\n",
            " ",
            "é",
            "😀",
            "=",
            "b'x'",
            "'(a'",
        ])
        .prop_map(ToOwned::to_owned),
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

/// An expression that is legal but for a few characters.
fn damaged() -> impl Strategy<Value = String> {
    let legal = Just(
        "request.method in ['GET', \"HEAD\"] && caller.ou.exists(o, o.matches(r'^é\\d+$')) \
         || in_network(request.source, '10.0.0.0/8') ? has(caller.issuer) : caller.not_after > -5",
    );
    let damage = prop::collection::vec((0_usize..180, any::<Option<char>>()), 1..4);
    (legal, damage).prop_map(|(legal, damage)| {
        let mut text: Vec<char> = legal.chars().collect();
        for (at, damage) in damage {
            match damage {
                Some(other) if at < text.len() => text[at] = other,
                None if at < text.len() => drop(text.remove(at)),
                _ => text.truncate(at),
            }
        }
        text.into_iter().collect()
    })
}

proptest! {
    #[test]
    fn whatever_is_written_is_read_or_refused(
        text in prop_oneof![pieces(), damaged(), any::<String>()]
    ) {
        survives(&text);
        prop_assert!(true);
    }
}
