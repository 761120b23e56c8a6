//! The forms of the two logs; what stands in them is told by the other themes.

use std::net::SocketAddr;

use crate::support::client::Client;
use crate::support::eventually;
use crate::support::pki::{Authority, Pki};
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::Upstream;

#[tokio::test]
async fn text_log_is_for_people() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let proxy = Setup::new(&pki, &upstream)
        .with("log.format = 'text'")
        .start()
        .await;
    let client = Client::new(&pki).presenting(&pki.client());
    client.get(public_in_text(&proxy), "/seen").await.unwrap();
    let line = line_with(|| proxy.access_log(), "/seen").await;
    for word in ["GET", "200", "proxy.test", "orders"] {
        assert!(line.contains(word), "{word} is missing in {line}");
    }
    let lines = proxy.diagnostics().into_iter().chain(proxy.access_log());
    let json: Vec<String> = lines.filter(|line| line.starts_with('{')).collect();
    assert!(json.is_empty(), "{json:#?}");
}

#[tokio::test]
async fn certificate_cannot_write_a_line_of_its_own_into_the_log() {
    let forged = "x\nevent=handshake.refused reason=forged\r\u{1b}[2Jevent=request.end";
    let stranger = Authority::root("Stranger")
        .leaf()
        .client()
        .common_name(forged)
        .issue();
    for format in ["text", "json"] {
        let (pki, upstream) = (Pki::new(), Upstream::unreachable().await);
        let proxy = Setup::new(&pki, &upstream)
            .with(&format!("log.format = '{format}'"))
            .start()
            .await;
        let address = if format == "json" {
            proxy.public()
        } else {
            public_in_text(&proxy)
        };
        Client::new(&pki)
            .presenting(&stranger)
            .refusal(address)
            .await;
        let line = line_with(|| proxy.diagnostics(), "handshake.refused").await;
        assert!(line.contains("untrusted"), "{line}");
        assert!(!line.contains(['\u{1b}', '\r']), "{line:?}");
        let begun = proxy
            .diagnostics()
            .into_iter()
            .filter(|line| line.starts_with("event=handshake.refused"));
        let begun: Vec<String> = begun
            .filter(|line| line.contains("reason=forged"))
            .collect();
        assert!(begun.is_empty(), "{begun:#?}");
    }
}

#[tokio::test]
async fn access_log_can_be_left_out_and_refusals_still_have_their_line() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let mut proxy = Setup::new(&pki, &upstream)
        .with("log.access = false")
        .start()
        .await;
    let client = Client::new(&pki).presenting(&pki.client());
    client.get(proxy.public(), "/").await.unwrap();
    let refused = client.get(proxy.public(), "/%2e%2e").await.unwrap();
    let line = proxy.log_line("request.end", |_| true).await;
    assert_eq!(line["fault"], "downstream/request_head/malformed", "{line}");
    let reference = line["request_id"].as_str().unwrap();
    assert!(
        String::from_utf8_lossy(&refused.body).contains(reference),
        "{line}"
    );
    proxy.terminate();
    assert_eq!(proxy.exit_code().await, Some(0));
    assert_eq!(proxy.logged("request.end").len(), 1);
    assert!(proxy.access_log().is_empty(), "{:#?}", proxy.access_log());
}

/// The address of the only listener, from a log that is not JSON.
fn public_in_text(proxy: &Proxy) -> SocketAddr {
    let lines = proxy.diagnostics();
    let ready = lines
        .iter()
        .find(|line| line.contains("listener.ready"))
        .expect("the listener is ready");
    let words = ready.split([' ', '=', '"']);
    words
        .filter_map(|word| word.parse().ok())
        .next()
        .unwrap_or_else(|| panic!("no address in {ready}"))
}

async fn line_with(lines: impl Fn() -> Vec<String>, text: &str) -> String {
    eventually(text, || {
        lines().into_iter().find(|line| line.contains(text))
    })
    .await
}

#[tokio::test]
async fn access_log_has_the_form_that_the_operator_gives_it() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let proxy = Setup::new(&pki, &upstream)
        .with("log.access_template = '{client} \"{peer}\" \"{method} {path} {protocol}\" {status} {fault}'")
        .start()
        .await;
    let client = Client::new(&pki).presenting(&pki.client_as("spiffe://prod.example/web"));
    client.get(proxy.public(), "/seen").await.unwrap();
    let line = line_with(|| proxy.access_log(), "/seen").await;
    let (address, rest) = line.split_once(' ').unwrap();
    assert!(address.parse::<SocketAddr>().is_ok(), "{line}");
    assert_eq!(
        rest,
        "\"spiffe://prod.example/web\" \"GET /seen HTTP/1.1\" 200 -"
    );
}
