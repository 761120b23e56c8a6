//! How hints are gathered, and what is none.

use super::*;

#[tokio::test]
async fn a_burst_is_gathered_into_one() {
    let mut scene = Scene::new(&["folder"], |root| {
        fs::create_dir(root.join("folder")).unwrap();
    })
    .await;
    for _ in 0..2 {
        for index in 0..20 {
            replace(&scene.path("folder").join(index.to_string()), "1");
        }
        let hint = timeout(PATIENCE, scene.hints.recv()).await;
        assert_eq!(hint, Ok(Some(())));
        // As slow as the busiest machine, so that the end of the burst is surely in it.
        gather(&mut scene.hints, GATHER_QUIET * 5, PATIENCE).await;
        scene.no_hint_of(|_| ()).await;
        scene.settle(GATHER_QUIET).await;
    }
}

#[tokio::test(start_paused = true)]
async fn hints_are_gathered_until_there_is_none_for_a_while() {
    let (hint, mut hints) = mpsc::channel(1);
    let begin = Instant::now();
    let burst = async {
        for _ in 0..3 {
            sleep(Duration::from_millis(60)).await;
            give(&hint);
        }
    };
    let gathered = async {
        gather(&mut hints, GATHER_QUIET, GATHER_AT_MOST).await;
        begin.elapsed()
    };
    let (_, took) = tokio::join!(burst, gathered);
    assert_eq!(took, Duration::from_millis(3 * 60) + GATHER_QUIET);
}

#[tokio::test(start_paused = true)]
async fn hints_that_do_not_end_are_gathered_for_as_long_as_is_allowed() {
    let (hint, mut hints) = mpsc::channel(1);
    let begin = Instant::now();
    let endless = async {
        loop {
            give(&hint);
            sleep(Duration::from_millis(30)).await;
        }
    };
    tokio::select! {
        () = endless => {}
        () = gather(&mut hints, GATHER_QUIET, GATHER_AT_MOST) => {}
    }
    assert_eq!(begin.elapsed(), GATHER_AT_MOST);
}

#[test]
fn what_only_reads_is_no_hint() {
    use AccessKind::{Close, Open, Read};
    let event = |kind| Ok(Event::new(kind));
    for kind in [
        Open(AccessMode::Any),
        Close(AccessMode::Read),
        Read,
        AccessKind::Any,
    ] {
        assert!(!is_a_hint(&event(EventKind::Access(kind))), "{kind:?}");
    }
    for kind in [
        EventKind::Access(Close(AccessMode::Write)),
        EventKind::Create(CreateKind::File),
        EventKind::Modify(ModifyKind::Data(DataChange::Any)),
        EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any)),
        EventKind::Modify(ModifyKind::Name(RenameMode::To)),
        EventKind::Remove(RemoveKind::File),
        // Others were lost.
        EventKind::Other,
    ] {
        assert!(is_a_hint(&event(kind)), "{kind:?}");
    }
    assert!(is_a_hint(&Err(notify::Error::generic("lost"))));
}

#[test]
fn what_removes_renames_or_loses_events_leaves_the_watches_in_doubt() {
    let event = |kind| Ok(Event::new(kind));
    for kind in [
        EventKind::Modify(ModifyKind::Name(RenameMode::From)),
        EventKind::Remove(RemoveKind::Folder),
        EventKind::Other,
    ] {
        assert!(may_end_a_watch(&event(kind)), "{kind:?}");
    }
    for kind in [
        EventKind::Access(AccessKind::Open(AccessMode::Any)),
        EventKind::Create(CreateKind::Folder),
        EventKind::Modify(ModifyKind::Data(DataChange::Any)),
    ] {
        assert!(!may_end_a_watch(&event(kind)), "{kind:?}");
    }
    assert!(may_end_a_watch(&Err(notify::Error::generic("lost"))));
}
