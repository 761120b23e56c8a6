//! Conditions in CEL, among the others.

use super::*;

#[test]
fn condition_that_would_hold_for_anonymous_callers_lets_in_only_those_who_are_meant() {
    let web = test_identity(WEB);
    let when = "when = \"!caller.authenticated || request.method == 'GET'\"";
    let (known, nobody) = (facts(Some(&web)), facts(None));
    check(
        &format!("allow = [{{ {when} }}]"),
        &[
            ("known", known, Ok("allow[0]")),
            ("anonymous", nobody, Err("certificate required")),
        ],
    );
    check(
        &format!("allow = [{{ {when}, rule = 'reads' }}]"),
        &[("anonymous", nobody, Err("certificate required"))],
    );
    check(
        &format!("allow = [{{ {when}, anonymous = true }}]"),
        &[
            ("known", known, Err("none matched")),
            ("anonymous", nobody, Ok("allow[0]")),
        ],
    );
    check(
        &format!("deny = [{{ {when} }}]"),
        &[
            ("known", known, Err("deny[0]")),
            ("anonymous", nobody, Err("deny[0]")),
        ],
    );
}

#[test]
fn condition_is_one_more_that_must_hold() {
    let web = test_identity(WEB);
    let post = |caller| Facts {
        method: "POST",
        ..facts(caller)
    };
    let stranger = test_identity("spiffe://evil.example/web");
    check(
        "allow = [{ uri = 'spiffe://prod.example/*', when = 'request.method == \"GET\"' }]",
        &[
            ("both", facts(Some(&web)), Ok("allow[0]")),
            ("not the condition", post(Some(&web)), Err("none matched")),
            ("not the name", facts(Some(&stranger)), Err("none matched")),
            ("anonymous", facts(None), Err("certificate required")),
        ],
    );
    check(
        "deny = [{ when = 'request.method != \"GET\"' }]",
        &[
            ("not true", facts(Some(&web)), Ok("-")),
            ("true", post(Some(&web)), Err("deny[0]")),
            ("true of anybody", post(None), Err("deny[0]")),
        ],
    );
    check(
        "allow = [{ when = 'caller.uri.exists(u, u.endsWith(\"prod.example/web\"))' }, { anonymous = true, when = 'request.host == \"open.example.com\"' }]",
        &[
            (
                "a condition on the caller alone",
                facts(Some(&web)),
                Ok("allow[0]"),
            ),
            (
                "another caller",
                facts(Some(&stranger)),
                Err("none matched"),
            ),
            ("anonymous elsewhere", facts(None), Err("none matched")),
            (
                "anonymous",
                Facts {
                    host: "open.example.com",
                    ..facts(None)
                },
                Ok("allow[1]"),
            ),
        ],
    );
}

#[test]
fn condition_without_a_result_permits_nobody_and_denies() {
    let web = test_identity(WEB);
    let when = "when = 'speaker.issuer != \"CN=Old\"'";
    let allow = format!("allow = [{{ uri = 'spiffe://prod.example/*', {when} }}]");
    let known = Facts {
        speaker: Some(&web),
        ..facts(Some(&web))
    };
    check(
        &allow,
        &[
            ("no result", facts(Some(&web)), Err("none matched")),
            ("true", known, Ok("allow[0]")),
        ],
    );
    let deny = "deny = [{ when = 'speaker.issuer == \"CN=Old\"' }]";
    check(
        deny,
        &[
            ("no result", facts(Some(&web)), Err("deny[0]")),
            ("not true", known, Ok("-")),
        ],
    );
    let told = |route: &str| {
        let policy = rules(route);
        let denial = decide(&policy, &facts(Some(&web))).unwrap_err();
        denial.to_string()
    };
    let why = "; `when` has no result: `speaker.issuer` is not known here; `has(speaker.issuer)` asks whether it is";
    assert!(told(&allow).ends_with(why), "{}", told(&allow));
    assert!(told(deny).ends_with(why), "{}", told(deny));
    assert!(told(deny).contains("{ when = 'speaker.issuer == \"CN=Old\"' }"));
}
