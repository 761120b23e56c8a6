//! What goes up in the message layer and in the attribute layer, and what
//! becomes of requests that a layer has nothing to say for.

use crate::support::client::{Client, get, with};
use crate::support::pki::Pki;
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::Upstream;

/// `aladdin` and `opensesame`, as RFC 7617 writes them.
const BASIC: &str = "Basic YWxhZGRpbjpvcGVuc2VzYW1l";

struct Scene {
    pki: Pki,
    proxy: Proxy,
    upstream: Upstream,
}

impl Scene {
    /// With these settings under `upstreams.orders.outbound`, and callers that
    /// may be anonymous.
    async fn with(outbound: &str) -> Self {
        let (pki, upstream) = (Pki::new(), Upstream::start().await);
        let proxy = Setup::new(&pki, &upstream)
            .file("secret", "opensesame\n")
            .file("token", "planted-token\r\n")
            .with("listeners.public.tls.client_auth = 'want'")
            .with(&format!("[upstreams.orders.outbound]\n{outbound}"))
            .start()
            .await;
        Self {
            pki,
            proxy,
            upstream,
        }
    }

    fn known(&self) -> Client {
        Client::new(&self.pki).presenting(&self.pki.client())
    }

    /// The status that a caller gets who sends a credential of its own, or none.
    async fn status(&self, client: &Client, own: Option<&str>) -> u16 {
        let request = match own {
            Some(own) => with(get("/"), "authorization", own),
            None => get("/"),
        };
        let answer = client.send(self.proxy.public(), request).await.unwrap();
        answer.status.as_u16()
    }

    /// What the upstream has got under these names, request by request.
    fn received(&self, name: &str) -> Vec<Vec<String>> {
        let all = self.upstream.requests();
        let values = all.iter().map(|request| request.values(name));
        values
            .map(|values| values.into_iter().map(str::to_owned).collect())
            .collect()
    }
}

#[tokio::test]
async fn credential_of_the_caller_goes_up_unless_it_shall_not() {
    for (mode, goes_up) in [("supported", true), ("required", true), ("never", false)] {
        let scene = Scene::with(&format!("basic_authentication = '{mode}'")).await;
        assert_eq!(scene.status(&scene.known(), Some("Bearer mine")).await, 200);
        let expected: &[&str] = if goes_up { &["Bearer mine"] } else { &[] };
        assert_eq!(scene.received("authorization"), [expected], "{mode}");
    }
}

#[tokio::test]
async fn request_without_the_credential_that_is_required_goes_nowhere() {
    let scene = Scene::with("basic_authentication = 'required'").await;
    for client in scene.known().in_both_protocols() {
        assert_eq!(scene.status(&client, None).await, 403);
    }
    assert!(scene.upstream.requests().is_empty());
    let line = scene.proxy.access_line("/").await;
    assert_eq!(line["fault"], "proxy/outbound/credential_missing", "{line}");
}

#[tokio::test]
async fn basic_credential_of_the_proxy_takes_the_place_of_the_callers() {
    let credential =
        "credential = { source = 'basic', user = 'aladdin', password_file = 'secret' }";
    let scene = Scene::with(credential).await;
    for own in [None, Some("Basic bWluZTptaW5l")] {
        assert_eq!(scene.status(&scene.known(), own).await, 200);
    }
    assert_eq!(scene.received("authorization"), [[BASIC], [BASIC]]);
    says_no_secret(&scene, &["opensesame", "YWxhZGRpbjpvcGVuc2VzYW1l"]);
}

#[tokio::test]
async fn bearer_credential_is_the_content_of_its_file_without_the_line_end() {
    let scene = Scene::with("credential = { source = 'bearer', token_file = 'token' }").await;
    assert_eq!(scene.status(&scene.known(), Some("Bearer mine")).await, 200);
    assert_eq!(scene.received("authorization"), [["Bearer planted-token"]]);
    says_no_secret(&scene, &["planted-token", "Bearer mine"]);
}

fn says_no_secret(scene: &Scene, secrets: &[&str]) {
    let mut said = scene.proxy.diagnostics();
    said.extend(scene.proxy.access_log());
    for secret in secrets {
        assert!(
            !said.iter().any(|line| line.contains(secret)),
            "{secret}: {said:#?}"
        );
    }
}

#[tokio::test]
async fn credential_file_that_cannot_be_used_refuses_the_start() {
    let (pki, upstream) = (Pki::new(), Upstream::unreachable().await);
    for (file, cause) in [
        ("missing", "cannot be read"),
        ("empty", "is empty"),
        ("odd", "control"),
    ] {
        let setup = Setup::new(&pki, &upstream)
            .file("empty", "\n")
            .file("odd", "a\u{1}b");
        let setup = setup.with(&format!(
            "upstreams.orders.outbound.credential = {{ source = 'bearer', token_file = '{file}' }}"
        ));
        let finished = setup.run("check").await;
        finished
            .expect_code(2)
            .expect_words(&[file, cause, "upstreams.orders"]);
    }
}

#[tokio::test]
async fn anonymous_caller_is_refused_where_an_identity_must_be_asserted() {
    for (mode, status) in [("required", 403), ("supported", 200), ("never", 200)] {
        let scene = Scene::with(&format!("identity_assertion = '{mode}'")).await;
        let anonymous = Client::new(&scene.pki);
        for client in anonymous.in_both_protocols() {
            assert_eq!(scene.status(&client, None).await, status, "{mode}");
        }
        let nobody = scene.received("x-forwarded-client-cert").concat();
        assert!(nobody.is_empty(), "{mode}: {nobody:?}");
        assert_eq!(
            scene.upstream.requests().is_empty(),
            status == 403,
            "{mode}"
        );
    }
}

#[tokio::test]
async fn identity_is_asserted_unless_it_shall_not_be() {
    for (mode, times) in [("required", 1), ("supported", 1), ("never", 0)] {
        let scene = Scene::with(&format!("identity_assertion = '{mode}'")).await;
        assert_eq!(scene.status(&scene.known(), None).await, 200);
        let told = scene.received("x-forwarded-client-cert").concat();
        assert_eq!(told.len(), times, "{mode}: {told:?}");
        let line = scene.proxy.access_line("/").await;
        let rank = if times == 1 { "assertion" } else { "none" };
        assert_eq!(line["asserted"], rank, "{line}");
    }
}
