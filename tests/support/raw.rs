//! Bytes by hand, for what a well-behaved HTTP library would never send.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Stream, Target, secrets, within};

/// A stream on which a test writes and reads the very bytes.
pub(crate) struct Raw {
    stream: Box<dyn Stream>,
    unread: Vec<u8>,
}

/// A response as it stood on the wire.
#[derive(Debug)]
pub(crate) struct RawAnswer {
    /// The status code.
    pub(crate) status: u16,
    /// The status line and the fields, without the empty line.
    pub(crate) head: String,
    /// The content, with any chunked coding taken off.
    pub(crate) body: String,
}

impl RawAnswer {
    /// The values of a field, in order.
    pub(crate) fn values(&self, name: &str) -> Vec<String> {
        let lines = self
            .head
            .split("\r\n")
            .skip(1)
            .filter_map(|line| line.split_once(':'));
        lines
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_owned())
            .collect()
    }
}

impl Raw {
    /// Opens a stream without TLS.
    pub(crate) async fn plain(target: impl Into<Target>) -> Self {
        Self::over(
            target
                .into()
                .open()
                .await
                .expect("the port accepts connections"),
        )
    }

    /// Takes over a stream.
    pub(crate) fn over(stream: Box<dyn Stream>) -> Self {
        Self {
            stream,
            unread: Vec::new(),
        }
    }

    /// Writes all of it. A peer that has hung up already is no failure here:
    /// what it said before is there to be read.
    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        secrets::plant_head(bytes.as_ref());
        let sent = async {
            self.stream.write_all(bytes.as_ref()).await?;
            self.stream.flush().await
        };
        if let Err(error) = within("writing raw bytes", sent).await {
            eprintln!("raw write: {error}");
        }
    }

    /// Ends the writing side.
    pub(crate) async fn finish(&mut self) {
        if let Err(error) = within("closing the writing side", self.stream.shutdown()).await {
            eprintln!("raw shutdown: {error}");
        }
    }

    /// Reads until `mark` has arrived; returns everything up to its end.
    pub(crate) async fn read_until(&mut self, mark: &str) -> String {
        let what = format!("reading until {mark:?}");
        within(&what, async {
            loop {
                if let Some(at) = find(&self.unread, mark.as_bytes()) {
                    let rest = self.unread.split_off(at + mark.len());
                    let text = std::mem::replace(&mut self.unread, rest);
                    return String::from_utf8_lossy(&text).into_owned();
                }
                let more = self.fill().await;
                assert!(
                    more,
                    "ended before {mark:?}: {:?}",
                    String::from_utf8_lossy(&self.unread)
                );
            }
        })
        .await
    }

    /// Reads a response head, of whatever status.
    pub(crate) async fn read_head(&mut self) -> RawAnswer {
        let head = self.read_until("\r\n\r\n").await;
        let head = head.trim_end_matches("\r\n").to_owned();
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.unwrap_or_else(|| panic!("not a status line: {head:?}"));
        RawAnswer {
            status,
            head,
            body: String::new(),
        }
    }

    /// Reads a whole response. Interim ones (1xx) end with their head.
    pub(crate) async fn read_response(&mut self) -> RawAnswer {
        let mut answer = self.read_head().await;
        let length = answer
            .values("content-length")
            .first()
            .and_then(|length| length.parse().ok());
        answer.body = if answer.status < 200 || matches!(answer.status, 204 | 304) {
            String::new()
        } else if !answer.values("transfer-encoding").is_empty() {
            self.read_chunks().await
        } else if let Some(length) = length {
            self.read_exactly(length).await
        } else {
            self.read_to_end().await
        };
        answer
    }

    /// Reads until the peer hangs up; a reset or an alert counts as hanging up.
    pub(crate) async fn read_to_end(&mut self) -> String {
        within("reading to the end", async { while self.fill().await {} }).await;
        String::from_utf8_lossy(&std::mem::take(&mut self.unread)).into_owned()
    }

    /// Reads this many bytes.
    pub(crate) async fn read_exactly(&mut self, length: usize) -> String {
        let bytes = self.read_bytes(length).await;
        let bytes = bytes.unwrap_or_else(|| {
            let count = self.unread.len();
            panic!("ended after {count} of {length} bytes")
        });
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Reads this many bytes as they are; `None` when the peer hangs up before.
    pub(crate) async fn read_bytes(&mut self, length: usize) -> Option<Vec<u8>> {
        let filled = within("reading a known length", async {
            while self.unread.len() < length {
                if !self.fill().await {
                    return false;
                }
            }
            true
        });
        if !filled.await {
            return None;
        }
        let rest = self.unread.split_off(length);
        Some(std::mem::replace(&mut self.unread, rest))
    }

    /// Reads one chunk of a chunked body; `None` is the last one, trailers included.
    pub(crate) async fn read_chunk(&mut self) -> Option<String> {
        let line = self.read_until("\r\n").await;
        let size = line.trim().split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(size, 16)
            .unwrap_or_else(|_| panic!("not a chunk size: {line:?}"));
        if size == 0 {
            while self.read_until("\r\n").await != "\r\n" {}
            return None;
        }
        let data = self.read_exactly(size).await;
        assert_eq!(self.read_exactly(2).await, "\r\n", "a chunk ends with CRLF");
        Some(data)
    }

    async fn read_chunks(&mut self) -> String {
        let mut body = String::new();
        while let Some(chunk) = self.read_chunk().await {
            body.push_str(&chunk);
        }
        body
    }

    /// Reads once; false at the end.
    async fn fill(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer).await {
            Ok(0) => false,
            Ok(count) => {
                self.unread.extend_from_slice(&buffer[..count]);
                true
            }
            Err(error) => {
                eprintln!("raw read: {error}");
                false
            }
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}
