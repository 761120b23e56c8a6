//! The service behind the program: it answers every request with 64 bytes, and
//! does next to nothing for it, so that the program is never short of work.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
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

/// Starts it; returns the endpoint, as the config writes it.
pub(crate) async fn start() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            tokio::spawn(serve(stream));
        }
    });
    endpoint
}

/// Answers requests without content until the other side hangs up.
async fn serve(mut stream: TcpStream) {
    let mut buffer = vec![0; 16 * 1024];
    let mut filled = 0;
    while let Ok(count @ 1..) = stream.read(&mut buffer[filled..]).await {
        filled += count;
        let head = &buffer[..filled];
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        let answer = if names_a_caller(head) {
            ANSWER
        } else {
            NAMELESS
        };
        if stream.write_all(answer).await.is_err() {
            return;
        }
        filled = 0;
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
