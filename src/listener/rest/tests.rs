use std::future::poll_fn;
use std::pin::pin;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::time::{Duration, timeout};

use super::super::activity::tests::limits;
use super::*;
use crate::tls::{Socket, Stream};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: a.test\r\n\r\n";
const HALF_A_BODY: &[u8] = b"POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 8\r\n\r\nhalf";

/// A connection whose requests are answered when `gate` has room.
fn connection<'a>(
    server: UnixStream,
    awake: &'a Awake,
    gate: &'a Semaphore,
) -> Resting<'a, impl Answers, impl Fn() -> http1::Builder + Unpin> {
    let activity = Activity::new(false);
    let stream = Stream::Plain(Socket::Unix(server));
    let begun = (false, Vec::new());
    let watched = Watched::new(stream, Arc::clone(&activity), &limits(), begun);
    let service = service_fn({
        let activity = Arc::clone(&activity);
        move |request: Request<Incoming>| {
            let under_way = activity.request();
            Box::pin(async move {
                drop(gate.acquire().await.unwrap());
                // Whoever sends a body is answered before its end.
                if request.headers().contains_key("content-length") {
                    let mut body = request.into_body();
                    drop(body.frame().await);
                }
                drop(under_way);
                let body = Full::new(Bytes::from_static(b"done"));
                let body = body.map_err(|never| match never {});
                Ok::<_, Infallible>(Response::new(body))
            })
        }
    });
    let io = TokioIo::new(watched);
    Resting::new((io, service), &activity, awake, http1::Builder::new)
}

/// Polls until `what` is seen of the connection.
async fn until<S: Answers, B: Fn() -> http1::Builder + Unpin>(
    resting: &mut Resting<'_, S, B>,
    awake: &Awake,
    what: impl Fn(&State<S>) -> bool,
) {
    let mut watching = pin!(awake.watch());
    let seen = poll_fn(|cx| {
        let Poll::Pending = watching.as_mut().poll(cx);
        let ended = Pin::new(&mut *resting).poll(cx).is_ready();
        if what(&resting.state) || ended {
            return Poll::Ready(());
        }
        Poll::Pending
    });
    let seen = timeout(Duration::from_secs(10), seen).await;
    assert!(seen.is_ok() && what(&resting.state), "it is not seen");
}

/// What one poll finds.
async fn once(future: impl Future + Unpin) -> Poll<()> {
    let mut future = future;
    poll_fn(|cx| Poll::Ready(Pin::new(&mut future).poll(cx).map(drop))).await
}

fn rests<S: Answers>(state: &State<S>) -> bool {
    matches!(state, State::Resting(..))
}

async fn answer(client: &mut UnixStream) -> String {
    let mut bytes = [0; 512];
    let count = client.read(&mut bytes).await.unwrap();
    String::from_utf8_lossy(&bytes[..count]).into_owned()
}

#[tokio::test]
async fn connection_rests_before_its_first_request_and_after_each() {
    let (mut client, server) = UnixStream::pair().unwrap();
    let (awake, gate) = (Awake::default(), Semaphore::new(1));
    let mut resting = connection(server, &awake, &gate);
    until(&mut resting, &awake, rests).await;
    for _ in 0..3 {
        client.write_all(REQUEST).await.unwrap();
        until(&mut resting, &awake, |state| !rests(state)).await;
        until(&mut resting, &awake, rests).await;
        assert!(answer(&mut client).await.starts_with("HTTP/1.1 200"));
    }
    drop(client);
    assert!(resting.await.is_ok());
}

#[tokio::test]
async fn connection_does_not_rest_while_it_is_answered_or_asks() {
    for (asked, answers) in [(REQUEST, 0), (HALF_A_BODY, 1), (&HALF_A_BODY[..9], 1)] {
        let (mut client, server) = UnixStream::pair().unwrap();
        let (awake, gate) = (Awake::default(), Semaphore::new(answers));
        let mut resting = connection(server, &awake, &gate);
        client.write_all(asked).await.unwrap();
        until(&mut resting, &awake, |state| !rests(state)).await;
        for _ in 0..4 {
            awake.look();
            assert!(once(&mut resting).await.is_pending());
            assert!(!rests(&resting.state), "after {answers} answers");
        }
    }
}

#[tokio::test]
async fn connection_that_rests_ends_when_it_is_asked_to() {
    let (mut client, server) = UnixStream::pair().unwrap();
    let (awake, gate) = (Awake::default(), Semaphore::new(1));
    let mut resting = connection(server, &awake, &gate);
    client.write_all(REQUEST).await.unwrap();
    until(&mut resting, &awake, |state| !rests(state)).await;
    until(&mut resting, &awake, rests).await;
    assert!(answer(&mut client).await.starts_with("HTTP/1.1 200"));
    Pin::new(&mut resting).graceful_shutdown();
    assert!(resting.await.is_ok());
    assert_eq!(answer(&mut client).await, "");
}

#[tokio::test]
async fn what_nobody_has_made_anything_of_is_read_again_and_read_along_once() {
    let (mut client, server) = UnixStream::pair().unwrap();
    let activity = Activity::new(false);
    let stream = Stream::Plain(Socket::Unix(server));
    let begun = (false, Vec::new());
    let mut watched = Watched::new(stream, Arc::clone(&activity), &limits(), begun);
    let mut first = [0; REQUEST.len() + 9];
    client.write_all(REQUEST).await.unwrap();
    client.write_all(&HALF_A_BODY[..9]).await.unwrap();
    watched.read_exact(&mut first).await.unwrap();
    assert!(!activity.is_at_rest());
    let (whole, begun) = first.split_at(REQUEST.len());
    watched.take_back(begun);
    watched.take_back(whole);
    poll_fn(|cx| watched.poll_begun(cx)).await;
    client.write_all(&HALF_A_BODY[9..]).await.unwrap();
    client.write_all(b"done").await.unwrap();
    let mut again = [0; REQUEST.len() + HALF_A_BODY.len() + 4];
    watched.read_exact(&mut again).await.unwrap();
    assert_eq!(again[..first.len()], first);
    assert!(activity.is_at_rest());
}
