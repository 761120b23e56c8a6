//! The service behind the program: it answers every request with 64 bytes, and
//! does next to nothing for it, so that the program is never short of work.
//!
//! It answers in rounds: nobody until so many have asked, and then all at once.
//! How much the program finds to do at one time would else depend on what else
//! the machine has to do.

use std::io::ErrorKind;
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream};

/// The length of an answer's content.
pub(crate) const CONTENT: usize = 64;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\n\
    date: Sun, 22 Nov 2026 09:00:00 GMT\r\n\
    content-type: text/plain\r\n\
    content-length: 64\r\n\r\n\
    0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// For a request that does not say who is calling.
const NAMELESS: &[u8] = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";

/// The running service.
pub(crate) struct Service {
    /// Where it is, as the config writes it.
    pub(crate) endpoint: String,
    round: Arc<Mutex<Round>>,
}

/// Those who have asked and wait for the others, with what they will be told.
struct Round {
    size: usize,
    waiting: Vec<(Arc<TcpStream>, &'static [u8])>,
}

impl Service {
    /// Starts it. It answers everybody at once until it is told otherwise.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let round = Arc::new(Mutex::new(Round {
            size: 1,
            waiting: Vec::new(),
        }));
        let joined = Arc::clone(&round);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                tokio::spawn(serve(Arc::new(stream), Arc::clone(&joined)));
            }
        });
        Self { endpoint, round }
    }

    /// From now on so many requests are answered at a time.
    pub(crate) fn answer_by(&self, size: usize) {
        self.round.lock().unwrap().size = size;
    }
}

impl Round {
    fn join(&mut self, stream: Arc<TcpStream>, answer: &'static [u8]) {
        self.waiting.push((stream, answer));
        if self.waiting.len() < self.size {
            return;
        }
        for (stream, answer) in self.waiting.drain(..) {
            // Nothing else waits to be sent, so there is room for all of it.
            assert_eq!(stream.try_write(answer).unwrap(), answer.len());
        }
    }
}

/// Reads requests without content until the other side hangs up.
async fn serve(stream: Arc<TcpStream>, round: Arc<Mutex<Round>>) {
    stream.writable().await.unwrap();
    let mut buffer = vec![0; 16 * 1024];
    let mut filled = 0;
    while stream.readable().await.is_ok() {
        match stream.try_read(&mut buffer[filled..]) {
            Ok(count @ 1..) => filled += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Ok(0) | Err(_) => return,
        }
        let head = &buffer[..filled];
        if head.ends_with(b"\r\n\r\n") {
            let told = names_a_caller(head);
            let answer = if told { ANSWER } else { NAMELESS };
            round.lock().unwrap().join(Arc::clone(&stream), answer);
            filled = 0;
        }
    }
}

fn names_a_caller(head: &[u8]) -> bool {
    const FIELD: &[u8] = b"x-forwarded-client-cert: ";
    let mut lines = head.split(|byte| *byte == b'\n');
    lines.any(|line| {
        line.get(..FIELD.len())
            .is_some_and(|name| name.eq_ignore_ascii_case(FIELD))
    })
}
