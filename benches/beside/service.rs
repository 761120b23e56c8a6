//! The service behind all proxies: plain HTTP/1.1, with answers that are made
//! beforehand. It answers only who comes with the name of the caller.

use std::io;
use std::net::SocketAddr;
use std::sync::LazyLock;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy_buf, sink};
use tokio::net::{TcpListener, TcpStream};

/// The length of a short answer's content.
pub(crate) const CONTENT: usize = 64;
/// The length of what comes from [`LARGE_PATH`].
pub(crate) const LARGE: usize = 1 << 20;
/// The length of what [`UPLOAD_PATH`] must be sent.
pub(crate) const UPLOAD: usize = 8 << 20;
/// Answered with [`LARGE`] bytes.
pub(crate) const LARGE_PATH: &str = "/large";
/// Answered shortly after all of [`UPLOAD`] bytes.
pub(crate) const UPLOAD_PATH: &str = "/upload";
/// What stands in the names of the caller, in whatever form they are told.
pub(crate) const CALLER: &str = "billing";

/// In which the proxies tell who is calling, in lower case.
const FIELDS: [&str; 2] = ["x-forwarded-client-cert", "x-client-dn"];
const BUFFER: usize = 64 * 1024;

static SHORT_ANSWER: LazyLock<Vec<u8>> = LazyLock::new(|| answer("200 OK", CONTENT));
static LARGE_ANSWER: LazyLock<Vec<u8>> = LazyLock::new(|| answer("200 OK", LARGE));
static NAMELESS: LazyLock<Vec<u8>> = LazyLock::new(|| answer("500 Nobody Is Named", 0));
static INCOMPLETE: LazyLock<Vec<u8>> = LazyLock::new(|| answer("400 Content Is Missing", 0));

fn answer(status: &str, length: usize) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\n\r\n"
    );
    [head.into_bytes(), vec![b'x'; length]].concat()
}

/// Starts it; where it is.
pub(crate) async fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            // A proxy that hangs up in the middle is what the client fails of.
            tokio::spawn(async { drop(serve(stream).await) });
        }
    });
    address
}

async fn serve(stream: TcpStream) -> io::Result<()> {
    let mut stream = BufReader::with_capacity(BUFFER, stream);
    let mut head = Vec::new();
    loop {
        head.clear();
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read_until(b'\n', &mut head).await? == 0 {
                return Ok(());
            }
        }
        let head = Head(String::from_utf8_lossy(&head).to_ascii_lowercase());
        let content = copy_buf(&mut (&mut stream).take(head.length()), &mut sink()).await?;
        let answer = match head.path() {
            _ if !head.names_the_caller() => &NAMELESS,
            LARGE_PATH => &LARGE_ANSWER,
            UPLOAD_PATH if content != UPLOAD as u64 => &INCOMPLETE,
            _ => &SHORT_ANSWER,
        };
        stream.write_all(answer).await?;
    }
}

/// The head of a request, in lower case.
struct Head(String);

impl Head {
    fn path(&self) -> &str {
        self.0.split(' ').nth(1).unwrap_or_default()
    }

    fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        let lines = self.0.lines().skip(1);
        lines.filter_map(|line| line.split_once(':'))
    }

    fn length(&self) -> u64 {
        let length = self.fields().find(|(name, _)| *name == "content-length");
        length.map_or(0, |(_, value)| value.trim().parse().unwrap())
    }

    fn names_the_caller(&self) -> bool {
        let mut fields = self.fields();
        fields.any(|(name, value)| FIELDS.contains(&name) && value.contains(CALLER))
    }
}
