//! What is made of the answers of a resolver, and which connections stay.

use std::io::ErrorKind;
use std::net::TcpListener;

use super::*;
use crate::config::{Endpoint, EndpointAddress, Place};
use crate::upstream::connect::connect_by_name;
use crate::upstream::testing::on_a_worker;

fn at(ip: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, ip], port))
}

fn known(found: &[SocketAddr]) -> Addresses {
    let addresses = Addresses::new("orders.test", 80);
    addresses.learn(found.to_vec(), Instant::now());
    addresses
}

#[test]
fn each_address_has_its_turn_to_be_first() {
    let all = [at(1, 80), at(2, 80), at(3, 80)];
    let addresses = known(&all);
    let first = |_| addresses.in_turn(Instant::now()).unwrap()[0];
    let firsts: Vec<_> = (0..6).map(first).collect();
    assert_eq!(firsts, [all, all].concat());
}

#[test]
fn address_that_failed_is_last_until_it_serves_or_the_resolver_answers() {
    let all = [at(1, 80), at(2, 80)];
    let addresses = known(&all);
    let is_ever_first = || {
        let mut turns = (0..4).map(|_| addresses.in_turn(Instant::now()).unwrap());
        turns.any(|turn| turn[0] == at(1, 80))
    };
    assert!(is_ever_first());
    addresses.failed(at(1, 80));
    assert!(!is_ever_first());
    assert!(
        addresses
            .in_turn(Instant::now())
            .unwrap()
            .contains(&at(1, 80))
    );
    addresses.served(at(1, 80));
    assert!(is_ever_first());
    addresses.failed(at(1, 80));
    addresses.learn(all.to_vec(), Instant::now());
    assert!(is_ever_first());
}

#[test]
fn answer_in_another_order_is_the_same_answer() {
    let addresses = Addresses::new("orders.test", 80);
    let now = Instant::now();
    let (a, b) = (at(1, 80), at(2, 80));
    assert_eq!(addresses.learn(vec![a, b], now), Learnt::First);
    assert_eq!(addresses.learn(vec![b, a, b], now), Learnt::Same);
    assert_eq!(addresses.learn(vec![b], now), Learnt::Changed);
}

#[test]
fn last_answer_holds_for_a_while_and_no_longer() {
    let addresses = known(&[at(1, 80)]);
    let now = Instant::now();
    let just = Duration::from_secs(1);
    assert!(addresses.in_turn(now + KEPT - just).is_some());
    assert!(addresses.in_turn(now + KEPT + just).is_none());
    addresses.learn(vec![at(1, 80)], now + KEPT);
    assert!(addresses.in_turn(now + KEPT + just).is_some());
}

#[test]
fn name_with_many_addresses_is_tried_at_some_of_them() {
    let all: Vec<_> = (1..=20).map(|ip| at(ip, 80)).collect();
    let turn = known(&all).in_turn(Instant::now()).unwrap();
    assert_eq!(turn.len(), MAX_TRIED);
}

#[test]
fn connection_goes_to_each_address_and_past_one_that_refuses() {
    on_a_worker(async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let second = TcpListener::bind(at(2, port)).unwrap();
        // Nothing listens at the third.
        let addresses = known(&[at(1, port), at(2, port), at(3, port)]);
        let mut reached = Vec::new();
        for _ in 0..6 {
            let time = Duration::from_secs(9);
            let socket = connect_by_name(&addresses, time).await.unwrap();
            reached.push(socket.peer_addr().unwrap());
        }
        let times = |address| reached.iter().filter(|one| **one == address).count();
        assert!(
            times(at(1, port)) >= 2 && times(at(2, port)) >= 2,
            "{reached:?}"
        );
        drop((listener, second));
        let refused = connect_by_name(&addresses, Duration::from_secs(9)).await;
        assert_eq!(refused.unwrap_err().kind, SendFaultKind::ConnectRefused);
    });
}

#[test]
fn name_that_nobody_knows_has_no_address() {
    on_a_worker(async {
        let addresses = Addresses::new("does-not-exist.invalid", 80);
        let fault = addresses.to_try().await.unwrap_err();
        assert_eq!(fault.kind, SendFaultKind::Resolve);
        assert_ne!(
            addresses.look_up().await.unwrap_err().kind(),
            ErrorKind::NotFound
        );
    });
}

#[test]
fn connections_are_judged_by_the_addresses_of_now() {
    let endpoint = |host: &str| Endpoint {
        text: format!("http://{host}"),
        place: Place::default(),
        address: EndpointAddress::Tcp {
            host: host.to_owned(),
            port: 80,
        },
        tls: false,
    };
    let standing = Arc::new(Standing::new(&endpoint("orders.test")));
    let seen = Seen::new(Arc::clone(&standing));
    let addresses = standing.addresses().unwrap();
    assert!(!seen.has_changed() && seen.has(Some(at(1, 80))));
    addresses.learn(vec![at(1, 80), at(2, 80)], Instant::now());
    assert!(seen.has_changed() && !seen.has_changed());
    assert!(seen.has(Some(at(1, 80))) && !seen.has(Some(at(3, 80))));
    addresses.learn(vec![at(2, 80)], Instant::now());
    assert!(seen.has_changed());
    assert!(!seen.has(Some(at(1, 80))) && seen.has(Some(at(2, 80))));

    // An address is no name.
    let literal = Arc::new(Standing::new(&endpoint("127.0.0.1")));
    assert!(literal.addresses().is_none());
    let seen = Seen::new(literal);
    assert!(!seen.has_changed() && seen.has(Some(at(9, 80))));
}
