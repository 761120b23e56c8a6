use tokio::time::advance;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

pub(in crate::listener) fn limits() -> Limits {
    Limits {
        header_timeout: 10 * SECOND,
        idle_timeout: 100 * SECOND,
        body_timeout: 20 * SECOND,
        ..Limits::defaults()
    }
}

/// What it waits for, and for how much longer it may.
fn left(activity: &Activity) -> (Overdue, u64) {
    let (deadline, overdue) = activity.deadline(&limits());
    // Times are kept in milliseconds.
    let left = deadline - Instant::now() + Duration::from_millis(5);
    (overdue, left.as_secs())
}

#[tokio::test(start_paused = true)]
async fn head_has_its_time_from_its_first_byte() {
    let activity = Activity::new(false);
    advance(SECOND).await;
    assert_eq!(left(&activity), (Overdue::Head, 9));
    drop(activity.request());
    assert_eq!(left(&activity), (Overdue::Idle, 100));
    advance(SECOND).await;
    activity.head(true);
    advance(SECOND).await;
    activity.head(true);
    assert_eq!(left(&activity), (Overdue::Head, 9));
    activity.head(false);
    assert_eq!(left(&activity), (Overdue::Idle, 98));
}

#[tokio::test(start_paused = true)]
async fn head_begun_during_another_request_has_its_time_from_the_end_of_that_one() {
    let activity = Activity::new(false);
    let open = activity.request();
    activity.head(true);
    advance(50 * SECOND).await;
    assert_eq!(left(&activity), (Overdue::Blocked, 20));
    drop(open);
    assert_eq!(left(&activity), (Overdue::Head, 10));
    assert_eq!(activity.idle_since(), None);
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_no_head_leave_it_idle() {
    let activity = Activity::new(false);
    drop(activity.request());
    advance(SECOND).await;
    activity.head(false);
    assert_eq!(left(&activity), (Overdue::Idle, 99));
    assert!(activity.idle_since().is_some());
}

#[tokio::test(start_paused = true)]
async fn response_that_is_still_being_written_is_not_idle() {
    for http2 in [false, true] {
        let activity = Activity::new(http2);
        let open = activity.request();
        let piece = open.hand_out();
        drop(open);
        assert_eq!(activity.idle_since(), None);
        activity.took(false);
        drop(piece);
        advance(SECOND).await;
        assert_eq!(activity.idle_since(), None);
        assert_eq!(left(&activity), (Overdue::Blocked, 19));
        activity.took(true);
        assert!(activity.idle_since().is_some());
        assert_eq!(left(&activity), (Overdue::Idle, 100));
    }
}

#[tokio::test(start_paused = true)]
async fn http2_response_that_is_not_taken_has_a_deadline_though_others_are() {
    let activity = Activity::new(true);
    let (stuck, moving) = (activity.request(), activity.request());
    let (never_taken, taken) = (stuck.hand_out(), moving.hand_out());
    advance(15 * SECOND).await;
    taken.moved(15 * 240);
    activity.took(true);
    assert_eq!(left(&activity), (Overdue::Blocked, 5));
    drop(never_taken);
    assert_eq!(left(&activity), (Overdue::Blocked, 20));
}

#[tokio::test(start_paused = true)]
async fn http2_response_that_is_taken_slowly_goes_on() {
    let activity = Activity::new(true);
    let open = activity.request();
    let (first, _second) = (open.hand_out(), open.hand_out());
    for _ in 0..10 {
        advance(15 * SECOND).await;
        first.moved(15 * 240);
        assert_eq!(left(&activity), (Overdue::Blocked, 20));
    }
    advance(15 * SECOND).await;
    drop(first);
    assert_eq!(left(&activity), (Overdue::Blocked, 5));
}

#[tokio::test(start_paused = true)]
async fn http2_response_of_which_a_byte_is_taken_now_and_then_ends() {
    let activity = Activity::new(true);
    let open = activity.request();
    let piece = open.hand_out();
    advance(15 * SECOND).await;
    piece.moved(1);
    assert_eq!(left(&activity), (Overdue::Slow, 5));
    // What is sent at once costs no time, and earns some.
    drop(piece);
    let piece = open.hand_out();
    piece.moved(240 * 30);
    assert_eq!(left(&activity), (Overdue::Blocked, 20));
    drop(piece);
    open.end_body();
    assert!(activity.held().is_empty());
}

#[tokio::test(start_paused = true)]
async fn response_that_is_taken_in_drips_ends_and_the_next_one_begins_anew() {
    let activity = Activity::new(false);
    let first = activity.request();
    activity.took(false);
    advance(15 * SECOND).await;
    activity.took(true);
    activity.wrote(100);
    // The service has nothing ready: that is not the client's doing.
    advance(1000 * SECOND).await;
    activity.took(false);
    assert_eq!(left(&activity), (Overdue::Slow, 5));
    activity.took(true);
    drop(first);
    let _second = activity.request();
    activity.took(false);
    assert_eq!(left(&activity), (Overdue::Blocked, 20));
}
