//! A service that reads the very bytes it is sent, and forgives nothing.

use std::sync::{Arc, Mutex};

use super::raw::Raw;
use super::upstream::Upstream;

/// A service that takes HTTP/1.1 by the letter, and keeps what came.
pub(crate) struct Witness {
    upstream: Upstream,
    seen: Arc<Mutex<Seen>>,
}

/// What came so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Requests that are whole.
    pub(crate) whole: Vec<Wire>,
    /// The request lines of those that began.
    pub(crate) begun: Vec<String>,
    /// What is no HTTP/1.1, in words.
    pub(crate) broken: Vec<String>,
}

/// A request as it stood on the wire.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wire {
    /// Method and target.
    pub(crate) line: String,
    /// The fields, their names in lower case.
    pub(crate) fields: Vec<(String, String)>,
    /// The content, without chunks.
    pub(crate) body: Vec<u8>,
    /// The fields behind the content.
    pub(crate) trailers: Vec<(String, String)>,
}

impl Wire {
    /// The values of a field, in order.
    pub(crate) fn values(&self, name: &str) -> Vec<&str> {
        let fields = self.fields.iter().filter(|(found, _)| found == name);
        fields.map(|(_, value)| value.as_str()).collect()
    }
}

impl Witness {
    /// Starts it on loopback.
    pub(crate) async fn start() -> Self {
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let noted = Arc::clone(&seen);
        let upstream = Upstream::scripted(move |raw, _| serve(raw, Arc::clone(&noted))).await;
        Self { upstream, seen }
    }

    /// As the config writes it.
    pub(crate) fn endpoint(&self) -> &str {
        self.upstream.endpoint()
    }

    /// What came so far.
    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    /// What came so far; the next time, only what came since.
    pub(crate) fn take(&self) -> Seen {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

/// One request, which is answered when it is whole, and nothing behind it.
async fn serve(mut raw: Raw, seen: Arc<Mutex<Seen>>) {
    match read(&mut raw, &seen).await {
        Ok(Some(request)) => seen.lock().unwrap().whole.push(request),
        // It broke off: nobody takes it for a request.
        Ok(None) => return,
        Err(what) => return seen.lock().unwrap().broken.push(what),
    }
    raw.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        .await;
    let rest = raw.read_to_end().await;
    if !rest.is_empty() {
        let what = format!("behind the request: {rest:?}");
        seen.lock().unwrap().broken.push(what);
    }
}

/// `None`: it broke off.
async fn read(raw: &mut Raw, seen: &Mutex<Seen>) -> Result<Option<Wire>, String> {
    let Some(line) = line(raw).await? else {
        return Ok(None);
    };
    seen.lock().unwrap().begun.push(line.clone());
    let mut request = Wire {
        line: request_line(&line)?.to_owned(),
        ..Wire::default()
    };
    let Some(fields) = fields(raw).await? else {
        return Ok(None);
    };
    request.fields = fields;
    if request.values("host").len() != 1 {
        return Err(format!("not one Host: {request:?}"));
    }
    let lengths = request.values("content-length");
    let body = match (&lengths[..], &request.values("transfer-encoding")[..]) {
        ([], []) => Some((Vec::new(), Vec::new())),
        ([length], []) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
            let length = length.parse().map_err(|_| format!("length {length:?}"))?;
            raw.read_bytes(length).await.map(|body| (body, Vec::new()))
        }
        ([], ["chunked"]) => chunks(raw).await?,
        _ => return Err(format!("its length is not clear: {request:?}")),
    };
    Ok(body.map(|(body, trailers)| Wire {
        body,
        trailers,
        ..request
    }))
}

fn request_line(line: &str) -> Result<&str, String> {
    let words: Vec<_> = line.split(' ').collect();
    let legal = |target: &str| target == "*" || target.starts_with('/');
    match words[..] {
        [method, target, "HTTP/1.1"]
            if !method.is_empty() && method.bytes().all(is_token) && legal(target) =>
        {
            Ok(line.trim_end_matches(" HTTP/1.1"))
        }
        _ => Err(format!("no request line: {line:?}")),
    }
}

type Fields = Vec<(String, String)>;

async fn fields(raw: &mut Raw) -> Result<Option<Fields>, String> {
    let mut fields = Vec::new();
    loop {
        let Some(line) = line(raw).await? else {
            return Ok(None);
        };
        if line.is_empty() {
            return Ok(Some(fields));
        }
        let (name, value) = line.split_once(':').ok_or(format!("no field: {line:?}"))?;
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(format!("no name of a field: {line:?}"));
        }
        let value = value.strip_prefix(' ').unwrap_or(value);
        if value.trim() != value {
            return Err(format!("white space about a value: {line:?}"));
        }
        fields.push((name.to_ascii_lowercase(), value.to_owned()));
    }
}

async fn chunks(raw: &mut Raw) -> Result<Option<(Vec<u8>, Fields)>, String> {
    let mut body = Vec::new();
    loop {
        let Some(size) = line(raw).await? else {
            return Ok(None);
        };
        let length = usize::from_str_radix(&size, 16).map_err(|_| format!("chunk {size:?}"))?;
        if length == 0 {
            return Ok(fields(raw).await?.map(|trailers| (body, trailers)));
        }
        let Some(piece) = raw.read_bytes(length).await else {
            return Ok(None);
        };
        body.extend(piece);
        match raw.read_bytes(2).await.as_deref() {
            Some(b"\r\n") => {}
            None => return Ok(None),
            Some(other) => return Err(format!("behind a chunk: {other:?}")),
        }
    }
}

/// A line without its end; `None`: it broke off.
async fn line(raw: &mut Raw) -> Result<Option<String>, String> {
    let mut line = Vec::new();
    loop {
        match raw.read_bytes(1).await.as_deref() {
            None => return Ok(None),
            Some(b"\n") if line.last() == Some(&b'\r') => {
                line.pop();
                let text = String::from_utf8_lossy(&line).into_owned();
                let illegal = |byte: &u8| byte.is_ascii_control() && *byte != b'\t';
                if line.iter().any(illegal) {
                    return Err(format!("control characters: {text:?}"));
                }
                return Ok(Some(text));
            }
            Some(byte) => line.extend(byte),
        }
    }
}

/// RFC 9110 §5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
