//! Who shares a connection to the service with whom.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::client::{Client, HttpVersion, get, with};
use crate::support::pki::{CLIENT_URI, Pki};
use crate::support::scene::Scene;
use crate::support::upstream::{Reply, Upstream};

/// One worker, so that there is one pool.
async fn scene(protocol: HttpVersion, pool_per: &str) -> Scene {
    let upstream = Upstream::build(|_| Reply::ok("hello"));
    let (upstream, name) = match protocol {
        HttpVersion::Http1 => (upstream, "http/1.1"),
        HttpVersion::Http2 => (upstream.h2(), "h2"),
    };
    Scene::start(Pki::new(), upstream.start().await, |setup| {
        setup
            .with("server.workers = 1")
            .with(&format!("upstreams.orders.protocol = '{name}'"))
            .with(&format!(
                "upstreams.orders.outbound.pool_per = '{pool_per}'"
            ))
    })
    .await
}

/// Sends two requests over one connection of this client.
async fn twice(scene: &Scene, client: &Client, whose: &str) {
    let mut session = client.connect(scene.proxy.public()).await.unwrap();
    for _ in 0..2 {
        let answer = session.send(with(get("/"), "x-whose", whose)).await;
        assert_eq!(answer.unwrap().status, 200);
    }
}

/// Whose requests went over the same connections.
fn shared(scene: &Scene) -> Vec<Vec<String>> {
    let mut by_connection: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    for request in scene.upstream.requests() {
        let whose = request.header("x-whose").unwrap().to_owned();
        by_connection
            .entry(request.connection)
            .or_default()
            .insert(whose);
    }
    let owners = by_connection.into_values();
    owners.map(|whose| whose.into_iter().collect()).collect()
}

const BOTH: [HttpVersion; 2] = [HttpVersion::Http1, HttpVersion::Http2];

#[tokio::test]
async fn everybody_shares_connections_unless_the_config_says_otherwise() {
    for protocol in BOTH {
        let scene = scene(protocol, "none").await;
        twice(&scene, &scene.caller(CLIENT_URI), "a").await;
        twice(&scene, &scene.caller(CLIENT_URI), "b").await;
        twice(&scene, &Client::new(&scene.pki), "anonymous").await;
        assert_eq!(shared(&scene), [["a", "anonymous", "b"]], "{protocol:?}");
    }
}

#[tokio::test]
async fn with_identity_no_two_identities_share_and_the_anonymous_share_with_nobody() {
    for protocol in BOTH {
        let scene = scene(protocol, "identity").await;
        let (one, other, anonymous) = (
            scene.caller(CLIENT_URI),
            scene.caller(CLIENT_URI),
            Client::new(&scene.pki),
        );
        for _ in 0..2 {
            // Of its connections downstream an identity may have several.
            twice(&scene, &one, "a").await;
            twice(&scene, &one.clone().h2(), "a").await;
            twice(&scene, &other, "b").await;
        }
        for whose in ["nobody 1", "nobody 2"] {
            twice(&scene, &anonymous, whose).await;
        }
        let shared = shared(&scene);
        assert_eq!(
            shared,
            [["a"], ["b"], ["nobody 1"], ["nobody 2"]],
            "{protocol:?}"
        );
    }
}

#[tokio::test]
async fn with_connection_not_even_two_connections_of_one_identity_share() {
    for protocol in BOTH {
        let scene = scene(protocol, "connection").await;
        let client = scene.caller(CLIENT_URI);
        twice(&scene, &client, "first").await;
        twice(&scene, &client, "second").await;
        twice(&scene, &client.clone().h2(), "third").await;
        let shared = shared(&scene);
        assert_eq!(shared, [["first"], ["second"], ["third"]], "{protocol:?}");
    }
}

#[tokio::test]
async fn connection_that_was_bound_to_one_that_has_gone_is_closed_soon() {
    for protocol in BOTH {
        for (pool_per, anonymous) in [("connection", false), ("identity", true)] {
            let scene = scene(protocol, pool_per).await;
            let client = match anonymous {
                true => Client::new(&scene.pki),
                false => scene.caller(CLIENT_URI),
            };
            let mut session = client.connect(scene.proxy.public()).await.unwrap();
            session.send(get("/")).await.unwrap();
            assert_eq!(scene.upstream.connections(), 1);
            drop(session);
            // Long before the 30 s of idle_timeout.
            scene.upstream.connections_ended().await;
        }
    }
}

#[tokio::test]
async fn connection_of_an_identity_outlasts_those_downstream() {
    for protocol in BOTH {
        let scene = scene(protocol, "identity").await;
        let client = scene.caller(CLIENT_URI);
        twice(&scene, &client, "a").await;
        // Somebody whose own is gone soon: by then the other would be too.
        twice(&scene, &Client::new(&scene.pki), "nobody").await;
        let idle = std::time::Duration::from_millis(1500);
        tokio::time::timeout(idle, scene.upstream.connections_ended())
            .await
            .expect_err("one of them stays");
        twice(&scene, &client, "a").await;
        assert_eq!(shared(&scene), [["a"], ["nobody"]], "{protocol:?}");
    }
}
