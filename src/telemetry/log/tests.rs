use std::error::Error;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Instant;

use super::super::line::tests::outside_of_quotes;
use super::super::writer::tests::Page;
use super::*;

/// Runs `events` under a log and returns what was written.
fn logged(format: Format, level: Level, coloured: bool, events: impl FnOnce()) -> String {
    logged_under_control(format, level, coloured, |_| events())
}

/// The same for events that change the log they are written to.
fn logged_under_control(
    format: Format,
    level: Level,
    coloured: bool,
    events: impl FnOnce(&LogControl),
) -> String {
    let page = Page::default();
    let (writer, guard) = Writer::start(Settings {
        name: "test",
        output: page.clone(),
        gather: Duration::ZERO,
        on_loss: |_| {},
    })
    .expect("a thread");
    let layer = LogLayer {
        shape: Shape::of(format),
        coloured,
        lane: Some(writer.lane_in_order()),
        direct: None,
    };
    let (subscriber, control) = subscriber(layer, level);
    tracing::subscriber::with_default(subscriber, || events(&control));
    drop(guard);
    page.text()
}

/// Cuts the time off, after a look at its form.
fn without_time(line: &str) -> &str {
    let (time, rest) = line.split_once(' ').expect("a time");
    assert_eq!(time.len(), "1970-01-01T00:00:00.000Z".len());
    assert!(time.starts_with("20") && time.ends_with('Z'), "{time}");
    rest
}

#[derive(Debug, thiserror::Error)]
#[error("cannot load")]
struct Outer(#[source] io::Error);

#[test]
fn event_is_one_line_with_its_name_first_and_its_message_last() {
    let text = logged(Format::Text, Level::Info, false, || {
        tracing::info!(
            listener = %"public",
            workers = 2,
            offset = -2_i64,
            share = 0.5,
            ok = true,
            bound = ?Some("x"),
            event = events::LISTENER_READY,
            "ready, {}",
            "go"
        );
    });
    assert_eq!(
        without_time(&text),
        "level=INFO event=listener.ready listener=public workers=2 offset=-2 share=0.5 ok=true \
         bound=\"Some(\\\"x\\\")\" message=\"ready, go\"\n"
    );
}

#[test]
fn json_event_is_one_flat_object() {
    let text = logged(Format::Json, Level::Info, true, || {
        tracing::warn!(
            event = events::ACCEPT_FAILED,
            listener = "a\"b",
            errno = 24,
            "no room"
        );
    });
    let object: serde_json::Value = serde_json::from_str(&text).expect(&text);
    assert_eq!(object["level"], "WARN");
    assert_eq!(object["event"], "accept.failed");
    assert_eq!(object["listener"], "a\"b");
    assert_eq!(object["errno"], 24);
    assert_eq!(object["message"], "no room");
    assert!(
        object["time"]
            .as_str()
            .is_some_and(|time| time.ends_with('Z'))
    );
    assert_eq!(object.as_object().map(serde_json::Map::len), Some(6));
    assert_eq!(text.matches('\n').count(), 1);
}

#[test]
fn hostile_value_forges_neither_line_nor_field_nor_escape_sequence() {
    let hostile = "x\r\n2026 level=INFO event=server.started \x1b[2J\u{202e}é\0";
    for format in [Format::Text, Format::Json] {
        let text = logged(format, Level::Info, false, || {
            tracing::info!(
                event = events::HANDSHAKE_REFUSED,
                as_str = hostile,
                as_display = %hostile,
                as_debug = ?[hostile],
                "{hostile}"
            );
        });
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        let line = text.trim_end_matches('\n');
        assert!(line.bytes().all(|b| matches!(b, b' '..=b'~')), "{text}");
        if format == Format::Text {
            assert!(
                !outside_of_quotes(line).contains("server.started"),
                "{text}"
            );
        }
    }
}

#[test]
fn error_is_written_with_its_causes() {
    let error = Outer(io::Error::other("disk on fire"));
    let text = logged(Format::Text, Level::Info, false, || {
        tracing::error!(
            event = events::STOPPED,
            error = &error as &(dyn Error + 'static)
        );
    });
    assert!(
        text.ends_with("event=server.stopped error=\"cannot load: disk on fire\"\n"),
        "{text}"
    );
}

#[test]
fn event_without_a_name_goes_by_its_module() {
    let text = logged(Format::Text, Level::Info, false, || tracing::info!("bare"));
    assert_eq!(
        without_time(&text),
        "level=INFO event=countersign::telemetry::log::tests message=\"bare\"\n"
    );
}

#[test]
fn level_holds_back_what_is_less_important() {
    for (level, expected) in [
        (Level::Error, "e"),
        (Level::Warn, "ew"),
        (Level::Info, "ewi"),
        (Level::Debug, "ewid"),
    ] {
        let text = logged(Format::Text, level, false, || {
            tracing::error!(event = "t.e");
            tracing::warn!(event = "t.w");
            tracing::info!(event = "t.i");
            tracing::debug!(event = "t.d");
            tracing::trace!(event = "t.t");
        });
        let seen: String = text
            .lines()
            .filter_map(|line| line.chars().last())
            .collect();
        assert_eq!(seen, expected);
    }
}

#[test]
fn level_that_changes_governs_the_next_event_of_places_that_have_logged_before() {
    let text = logged_under_control(Format::Text, Level::Info, false, |control| {
        // One place for each, whose interest is remembered from the first time.
        let speak = |turn| {
            tracing::info!(event = "t.info", turn);
            tracing::debug!(event = "t.debug", turn);
        };
        speak(1);
        control.set(Format::Text, Level::Debug);
        speak(2);
        control.set(Format::Text, Level::Warn);
        speak(3);
        control.set(Format::Text, Level::Info);
        speak(4);
    });
    let seen: Vec<_> = text
        .lines()
        .filter_map(|line| line.split_once("event=t."))
        .map(|(_, rest)| rest)
        .collect();
    assert_eq!(
        seen,
        ["info turn=1", "info turn=2", "debug turn=2", "info turn=4"]
    );
}

#[test]
fn level_that_changes_is_what_places_ask_for_before_they_gather() {
    logged_under_control(Format::Text, Level::Warn, false, |control| {
        assert!(!tracing::enabled!(tracing::Level::DEBUG));
        control.set(Format::Text, Level::Debug);
        assert!(tracing::enabled!(tracing::Level::DEBUG));
        control.set(Format::Text, Level::Error);
        assert!(!tracing::enabled!(tracing::Level::WARN));
    });
}

#[test]
fn format_that_changes_governs_the_next_line_and_its_colours() {
    let text = logged_under_control(Format::Json, Level::Info, true, |control| {
        let speak = || tracing::warn!(event = "t.w");
        speak();
        control.set(Format::Text, Level::Info);
        speak();
        control.set(Format::Json, Level::Info);
        speak();
    });
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    for json in [lines[0], lines[2]] {
        let object: serde_json::Value = serde_json::from_str(json).expect(json);
        assert_eq!(object["level"], "WARN");
    }
    assert!(
        lines[1].ends_with("level=\x1b[33mWARN\x1b[0m event=t.w"),
        "{text:?}"
    );
}

#[test]
fn control_of_a_log_that_has_ended_changes_nothing() {
    let mut kept = None;
    logged_under_control(Format::Text, Level::Info, false, |control| {
        kept = Some(control.clone());
    });
    kept.expect("a control").set(Format::Json, Level::Debug);
}

#[test]
fn libraries_are_heard_from_warnings_up_even_at_debug() {
    let text = logged(Format::Text, Level::Debug, false, || {
        tracing::info!(target: "h2::codec", event = "lib.info");
        tracing::warn!(target: "h2::codec", event = "lib.warn");
    });
    assert!(
        text.contains("lib.warn") && !text.contains("lib.info"),
        "{text}"
    );
}

#[test]
fn level_is_coloured_when_asked_and_plain_when_not() {
    let speak = || tracing::warn!(event = "t.w");
    let painted = logged(Format::Text, Level::Info, true, speak);
    assert!(
        painted.contains("level=\x1b[33mWARN\x1b[0m event=t.w"),
        "{painted:?}"
    );
    let plain = logged(Format::Text, Level::Info, false, speak);
    assert!(plain.contains("level=WARN event=t.w"), "{plain:?}");
}

#[test]
fn value_that_logs_while_it_is_shown_does_not_block() {
    struct Chatty;
    impl fmt::Display for Chatty {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            tracing::info!(event = "inner.event");
            f.write_str("chatty")
        }
    }
    let text = logged(Format::Text, Level::Info, false, || {
        tracing::info!(event = "outer.event", value = %Chatty);
    });
    assert!(text.contains("event=outer.event value=chatty\n"), "{text}");
}

/// Not a test: what the tests below run in a process of its own, since a log is
/// started once for the whole process and owns its standard error.
#[test]
#[ignore = "run as a child by the tests of the process's own log"]
fn child_that_logs() {
    let guard = start(Format::Text, Level::Info);
    for line in 0..LINES {
        tracing::info!(event = "child.line", line, filler = %"x".repeat(1000));
    }
    let control = guard.control();
    drop(guard);
    tracing::debug!(event = "child.too_quiet");
    control.set(Format::Text, Level::Debug);
    tracing::debug!(event = "child.last_words");
}

/// Twice what a pipe takes.
const LINES: usize = 128;

fn child_with(stderr: impl Into<Stdio>) -> Child {
    Command::new(std::env::current_exe().expect("this binary"))
        .args([
            "--ignored",
            "--exact",
            "telemetry::log::tests::child_that_logs",
        ])
        .stdout(Stdio::null())
        .stderr(stderr)
        .spawn()
        .expect("a child")
}

/// Whether the child ends well before the deadline.
fn ends_well(child: &mut Child) -> bool {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().expect("a child of ours") {
            return status.success();
        }
        thread::yield_now();
    }
    child.kill().expect("a child of ours");
    false
}

#[test]
fn log_of_the_process_arrives_whole_with_the_last_words() {
    let (mut reader, writer) = io::pipe().expect("a pipe");
    let mut child = child_with(writer);
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("text");
    assert!(ends_well(&mut child));
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), LINES + 1, "{text}");
    for (number, line) in lines[..LINES].iter().enumerate() {
        assert!(
            line.contains(&format!("event=child.line line={number} ")),
            "{line}"
        );
    }
    assert!(lines[LINES].ends_with("level=DEBUG event=child.last_words"));
}

#[test]
fn process_whose_standard_error_has_no_reader_ends_well() {
    let (reader, writer) = io::pipe().expect("a pipe");
    drop(reader);
    assert!(ends_well(&mut child_with(writer)));
}

#[test]
fn process_whose_standard_error_is_not_read_ends_well() {
    let (reader, writer) = io::pipe().expect("a pipe");
    assert!(ends_well(&mut child_with(writer)));
    drop(reader);
}
