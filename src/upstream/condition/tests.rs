use super::*;
use crate::upstream::testing::plan_of;

const SECOND: Duration = Duration::from_secs(1);

fn condition(more: &str) -> Condition {
    let plan = plan_of(&["http://127.0.0.1:1", "http://127.0.0.1:2"], more);
    Condition::new(&plan, &plan.standings()[0])
}

#[test]
fn each_refusal_in_a_row_doubles_the_time_up_to_the_longest() {
    let condition = condition("ejection = { base = \"2s\", longest = \"7s\" }");
    let mut now = Instant::now();
    for pause in [2, 4, 7, 7] {
        assert_eq!(condition.refused(now), Some(SECOND * pause));
        assert_eq!(condition.refused(now), None, "it is left alone already");
        assert_eq!(condition.rank(now), 1);
        now += SECOND * pause;
        assert_eq!(condition.rank(now), 0);
    }
    condition.explain("nobody is there");
    let seen = condition.standing.pauses().at(now - SECOND).unwrap();
    assert_eq!((seen.workers, seen.cause.as_str()), (1, "nobody is there"));
    assert!(condition.connected(now) && !condition.connected(now));
    assert_eq!(condition.standing.pauses().at(now - SECOND), None);
    assert_eq!(condition.refused(now), Some(SECOND * 2));
}

#[test]
fn it_is_left_alone_after_as_many_failures_in_a_row_as_the_config_says() {
    let condition = condition("ejection.consecutive_failures = 3");
    let now = Instant::now();
    let fail = || condition.failed(now, || true);
    assert_eq!([fail(), fail()], [None, None]);
    // One that succeeds ends the row.
    assert!(!condition.succeeded());
    assert_eq!([fail(), fail()], [None, None]);
    assert_eq!(fail(), Some(SECOND));
    assert!(condition.is_left_alone(now) && !condition.keeps_its_own(now));
    assert!(!condition.connected(now), "it may well take connections");
    assert!(condition.is_left_alone(now));
    assert!(condition.succeeded());
    assert!(!condition.is_left_alone(now));
}

#[test]
fn it_is_not_left_alone_where_that_may_not_be() {
    let condition = condition("ejection.consecutive_failures = 1");
    let now = Instant::now();
    assert_eq!(condition.failed(now, || false), None);
    assert_eq!(condition.failed(now, || true), Some(SECOND));
}

#[test]
fn what_probes_find_counts_more_than_what_requests_met() {
    let condition = condition("");
    let now = Instant::now();
    condition.standing.found(false);
    assert_eq!(condition.rank(now), 2);
    condition.refused(now);
    assert_eq!(condition.rank(now), 2);
    condition.standing.found(true);
    assert_eq!(condition.rank(now), 1);
    assert!(condition.keeps_its_own(now), "that it takes no new ones");
}

#[test]
fn its_share_grows_from_when_it_takes_part_again() {
    let condition = condition("");
    let (now, slow_start) = (Instant::now(), SECOND * 10);
    let share = |after: u32| condition.share(slow_start, now + SECOND * after);
    assert_eq!(share(0), 100);
    condition.refused(now);
    // It is back after a second.
    assert_eq!([share(1), share(2), share(6), share(11)], [10, 10, 50, 100]);
}

#[test]
fn its_share_grows_from_when_probes_found_it_well() {
    let condition = condition("");
    let slow_start = SECOND * 10;
    condition.standing.found(true);
    assert_eq!(condition.share(slow_start, Instant::now()), 100);
    condition.standing.found(false);
    condition.standing.found(true);
    let now = Instant::now();
    assert_eq!(condition.share(slow_start, now), 10);
    let half = condition.share(slow_start, now + SECOND * 5);
    assert!((49..=51).contains(&half), "{half}");
}
