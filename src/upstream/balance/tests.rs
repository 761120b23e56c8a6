use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::*;
use crate::telemetry::metrics::UpstreamMetrics;
use crate::upstream::condition::Condition;
use crate::upstream::testing::{Pieces, plan_of};

const SECOND: Duration = Duration::from_secs(1);

/// An upstream of some endpoints, and the choice among them.
struct Choice {
    plan: Arc<Plan>,
    endpoints: Vec<Rc<Endpoint<Pieces>>>,
    balance: Balance,
    now: Instant,
}

impl Choice {
    fn of(count: usize, more: &str) -> Self {
        let names: Vec<_> = (1..=count)
            .map(|port| format!("http://127.0.0.1:{port}"))
            .collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let plan = plan_of(&names, more);
        let all = plan.endpoints().iter().zip(plan.standings()).enumerate();
        let endpoints = all.map(|(index, (endpoint, standing))| {
            let condition = Condition::new(&plan, standing);
            let pool = (SECOND, UpstreamMetrics::default().pool());
            Endpoint::new((index, endpoint.text.as_str()), pool, None, condition)
        });
        Self {
            endpoints: endpoints.collect(),
            balance: Balance::new(&plan),
            now: Instant::now(),
            plan,
        }
    }

    fn choose(&self, affinity: u64) -> usize {
        let whom = (affinity, self.now);
        let chosen = self.balance.choose(&self.endpoints, &[], whom);
        chosen.unwrap().index
    }

    /// How often each endpoint is chosen, in so many requests one after the other.
    fn counts(&self, requests: u32) -> Vec<u32> {
        let mut counts = vec![0; self.endpoints.len()];
        (0..requests).for_each(|_| counts[self.choose(0)] += 1);
        counts
    }
}

/// Where each of a thousand callers goes.
fn homes(choice: &Choice) -> BTreeMap<u32, usize> {
    let home = |caller| {
        (
            caller,
            choice.choose(affinity(&Ipv4Addr::from_bits(caller).octets())),
        )
    };
    (0..1000).map(home).collect()
}

#[test]
fn requests_go_to_one_after_the_other_also_past_one_that_is_left_alone() {
    for method in ["round_robin", "least_requests"] {
        let choice = Choice::of(3, &format!("balance = \"{method}\""));
        let order: Vec<_> = (0..6).map(|_| choice.choose(0)).collect();
        assert_eq!(order, [0, 1, 2, 0, 1, 2], "{method}");
        choice.endpoints[1].condition.refused(choice.now);
        assert_eq!(choice.counts(10), [5, 0, 5], "{method}");
    }
}

#[test]
fn requests_under_way_count_for_least_requests_and_for_no_other() {
    for (method, order) in [("least_requests", [1, 2, 1]), ("round_robin", [0, 1, 2])] {
        let choice = Choice::of(3, &format!("balance = \"{method}\""));
        let _under_way = choice.endpoints[0].enter();
        let found = [choice.choose(0), choice.choose(0), choice.choose(0)];
        assert_eq!(found, order, "{method}");
    }
}

#[test]
fn hash_spreads_callers_evenly_and_says_the_same_everywhere() {
    let choice = Choice::of(4, "balance = \"ip_hash\"");
    let found = homes(&choice);
    for index in 0..4 {
        let callers = found.values().filter(|home| **home == index).count();
        assert!((200..300).contains(&callers), "{index}: {callers}");
    }
    // Another worker, or another start.
    assert_eq!(found, homes(&Choice::of(4, "balance = \"ip_hash\"")));
    // What it is today it is in every version and on every machine.
    assert_eq!(affinity(b"spiffe://prod.example/web"), AFFINITY_OF_WEB);
}

/// FNV-1a and the finalizer of splitmix64, computed by another program.
const AFFINITY_OF_WEB: u64 = 9_199_852_032_568_835_663;

#[test]
fn only_the_callers_of_an_endpoint_that_leaves_move() {
    let choice = Choice::of(4, "balance = \"identity_hash\"");
    let before = homes(&choice);
    choice.endpoints[2].condition.refused(choice.now);
    let after = homes(&choice);
    for (caller, home) in &before {
        let moved = after[caller] != *home;
        assert_eq!(moved, *home == 2, "caller {caller} of {home}");
    }
}

#[test]
fn endpoint_that_is_left_alone_or_unwell_is_chosen_only_when_there_is_no_better_one() {
    let choice = Choice::of(3, "");
    let [unwell, refusing, fine] = &choice.endpoints[..] else {
        panic!("three")
    };
    choice.plan.standings()[0].found(false);
    refusing.condition.refused(choice.now);
    assert_eq!(choice.counts(4), [0, 0, 4]);
    let whom = (0, choice.now);
    let next = |tried: &[usize]| choice.balance.choose(&choice.endpoints, tried, whom);
    assert_eq!(next(&[2]).unwrap().index, refusing.index);
    assert_eq!(next(&[2, 1]).unwrap().index, unwell.index);
    assert!(next(&[0, 1, 2]).is_none());
    fine.condition.refused(choice.now);
    assert_eq!(choice.counts(4), [0, 2, 2], "refused, but not unwell");
    choice.plan.standings()[1].found(false);
    choice.plan.standings()[2].found(false);
    let counts = choice.counts(6);
    assert_eq!(counts, [2, 2, 2], "all are tried all the same");
}

#[test]
fn share_of_an_endpoint_that_came_back_grows() {
    for method in ["round_robin", "least_requests"] {
        let more = format!("balance = \"{method}\"\nslow_start = \"100s\"");
        let mut choice = Choice::of(2, &more);
        choice.endpoints[1].condition.refused(choice.now);
        let begun = choice.now + SECOND;
        // Of 100 + share requests the endpoint that came back gets its share.
        for (after, requests, expected) in [(0, 110, 10), (25, 125, 25), (50, 150, 50)] {
            choice.now = begun + SECOND * after;
            let counts = choice.counts(requests);
            let found = counts[1];
            assert!(
                found.abs_diff(expected) <= 2,
                "{method} {after}: {counts:?}"
            );
        }
        choice.now = begun + SECOND * 100;
        assert_eq!(choice.counts(10), [5, 5], "{method}");
    }
}

#[test]
fn endpoint_that_came_back_and_is_busier_than_the_others_waits() {
    let mut choice = Choice::of(2, "slow_start = \"100s\"");
    choice.endpoints[1].condition.refused(choice.now);
    choice.now += SECOND * 51;
    let _under_way = choice.endpoints[1].enter();
    assert_eq!(choice.counts(10), [10, 0]);
}

#[test]
fn endpoints_that_all_came_back_share_as_if_none_had() {
    let mut choice = Choice::of(2, "slow_start = \"100s\"");
    for endpoint in &choice.endpoints {
        endpoint.condition.refused(choice.now);
    }
    choice.now += SECOND * 2;
    assert_eq!(choice.counts(10), [5, 5]);
}
