//! Requests that the program answers, and those that wait for it.

use super::*;

#[test]
fn request_to_the_program_reaches_it_and_its_answer_comes_back_as_json() {
    let accept_shrink = vec!["partners".to_owned(), "internal".to_owned()];
    run(async {
        let mut admin = Admin::start();
        for (line, request) in [
            ("GET /trust", AdminRequest::Trust),
            ("GET /trust?verbose", AdminRequest::Trust),
            ("GET /trust/peers", AdminRequest::Peers),
            ("POST /trust/preview", AdminRequest::Preview),
            (
                "POST /reload?accept_shrink=partners&accept_shrink=internal",
                AdminRequest::Reload { accept_shrink },
            ),
        ] {
            for code in [StatusCode::OK, StatusCode::CONFLICT] {
                let (asked, answer) = admin.ask_program(line, said(code, "{\"a\":1}")).await;
                assert_eq!(asked, request);
                assert_eq!(
                    (status(&answer), body(&answer)),
                    (code.as_str(), "{\"a\":1}\n")
                );
                for field in ["content-type: application/json", "cache-control: no-store"] {
                    assert!(answer.contains(&format!("{field}\r\n")), "{answer}");
                }
            }
        }
        admin.stop().await;
    });
}

#[test]
fn request_that_is_refused_never_reaches_the_program() {
    run(async {
        let mut admin = Admin::start();
        for (line, more, expected) in [
            ("POST /reload", "Origin: https://evil.example", "403"),
            ("POST /reload", "Origin: null", "403"),
            ("POST /trust/preview", "Sec-Fetch-Site: cross-site", "403"),
            ("POST /reload?force", "", "400"),
            ("POST /reload?accept_shrink=%", "", "400"),
            ("POST /trust/preview?config=a", "", "400"),
            ("POST /reload", "Content-Length: 2\r\n\r\n{}", "400"),
            (
                "POST /reload",
                "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
                "400",
            ),
        ] {
            let answer = read_all(&mut admin.begin(line, more).await).await;
            assert_eq!(status(&answer), expected, "{line} {more}: {answer}");
            assert!(body(&answer).len() > 20, "a sentence: {answer}");
        }
        assert!(admin.has_asked_nothing());
        admin.stop().await;
    });
}

#[test]
fn request_that_says_it_has_no_body_and_comes_from_no_page_is_taken() {
    run(async {
        let mut admin = Admin::start();
        let more = "Content-Length: 0\r\nSec-Fetch-Site: none";
        let (stream, command) = admin.reach_program("POST /reload", more).await;
        let answer = answered(stream, command.answer, said(StatusCode::OK, "{}")).await;
        assert_eq!(status(&answer), "200");
        admin.stop().await;
    });
}

#[test]
fn request_that_nobody_takes_or_answers_gets_503_with_a_sentence() {
    run(async {
        let mut admin = Admin::start();
        let (mut stream, command) = admin.reach_program("GET /trust", "").await;
        drop(command);
        let let_go = read_all(&mut stream).await;
        admin.commands.close();
        let not_taken = admin.ask("POST /reload").await;
        for answer in [let_go, not_taken] {
            assert_eq!(status(&answer), "503");
            assert!(body(&answer).starts_with("nobody answers"), "{answer}");
        }
        assert_eq!(status(&admin.ask("GET /healthz").await), "200");
        admin.stop().await;
    });
}

#[test]
fn long_answer_is_waited_for_beyond_the_deadline_of_other_requests() {
    run_with_jumping_clock(async {
        let mut admin = Admin::start();
        let (stream, command) = admin.reach_program("POST /reload", "").await;
        let long = ANSWER_TIMEOUT - Duration::from_secs(1);
        assert!(long > CONNECTION_TIMEOUT);
        tokio::time::sleep(long).await;
        let answer = answered(stream, command.answer, said(StatusCode::OK, "{}")).await;
        assert_eq!(status(&answer), "200");
        admin.stop().await;
    });
}

#[test]
fn answer_that_does_not_come_in_time_is_a_503_that_says_so() {
    run_with_jumping_clock(async {
        let mut admin = Admin::start();
        let begun = Instant::now();
        let (mut stream, command) = admin.reach_program("POST /reload", "").await;
        let answer = read_all(&mut stream).await;
        assert_eq!(status(&answer), "503");
        assert!(
            body(&answer).starts_with("no answer within 50 s"),
            "{answer}"
        );
        let waited = begun.elapsed();
        assert!(
            waited >= ANSWER_TIMEOUT && waited < ANSWER_TIMEOUT + CONNECTION_TIMEOUT,
            "{waited:?}"
        );
        assert!(command.answer.is_closed());
        admin.stop().await;
    });
}

#[test]
fn requests_that_wait_for_the_program_leave_room_for_health_and_for_those_after_them() {
    run(async {
        let mut admin = Admin::start();
        let mut waiting = Vec::new();
        let mut commands = Vec::new();
        for _ in 0..MAX_COMMANDS {
            let (stream, command) = admin.reach_program("GET /trust", "").await;
            waiting.push(stream);
            commands.push(command);
        }
        let answer = admin.ask("GET /trust").await;
        assert_eq!(status(&answer), "503");
        assert!(body(&answer).starts_with("too many"), "{answer}");
        assert_eq!(status(&admin.ask("GET /healthz").await), "200");

        // Whoever goes away makes no room for another: what they asked for is
        // under way all the same, until the program is done with it.
        let mut gone = commands.pop().expect("a command");
        drop(waiting.pop());
        gone.answer.closed().await;
        let answer = admin.ask("GET /trust").await;
        assert!(body(&answer).starts_with("too many"), "{answer}");
        drop(gone);
        let (_, answer) = admin
            .ask_program("GET /trust", said(StatusCode::OK, "{}"))
            .await;
        assert_eq!(status(&answer), "200");
        drop(commands);
        admin.stop().await;
    });
}

#[test]
fn large_answers_that_nobody_reads_have_the_next_one_wait_and_not_health_or_metrics() {
    // With its end of line.
    let large = |size: usize| said(StatusCode::OK, &"x".repeat((size << 20).saturating_sub(1)));
    run(async {
        let mut admin = Admin::start();
        let mut slow = Vec::new();
        for _ in 0..2 {
            let (mut stream, command) = admin.reach_program("GET /trust/peers", "").await;
            command.answer.send(large(16)).expect("somebody who waits");
            // It is being read, and not to its end.
            stream.read_exact(&mut [0; 1024]).await.expect("its begin");
            slow.push(stream);
        }
        let (_, answer) = admin.ask_program("GET /trust/peers", large(16)).await;
        assert_eq!(status(&answer), "503");
        assert!(body(&answer).contains("no room"), "{answer}");
        for line in ["GET /healthz", "GET /metrics", "GET /"] {
            assert_eq!(status(&admin.ask(line).await), "200", "{line}");
        }
        let (_, answer) = admin.ask_program("GET /trust", large(0)).await;
        assert_eq!(status(&answer), "200", "a small one");
        drop(slow.pop());
        // The server finds out when it writes on.
        let deadline = Instant::now() + CONNECTION_TIMEOUT;
        while status(&admin.ask_program("GET /trust/peers", large(16)).await.1) != "200" {
            assert!(Instant::now() < deadline, "never given");
        }
        drop(slow);
        admin.stop().await;
    });
}
