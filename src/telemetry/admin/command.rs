//! Requests that the admin server does not answer by itself but hands to the
//! program: what it trusts, who its peers are, and that it is to reload.

use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderName, ORIGIN};
use http::{HeaderMap, Request, StatusCode};
use hyper::body::Body;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

/// What somebody on the admin address asks of the program.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AdminRequest {
    /// `GET /jwks.json`: the public keys of what is signed.
    Keys,
    /// `GET /trust/peers`: who is connected, or was lately.
    Peers,
    /// `POST /trust/preview`: who of them would be refused by what is on the disk.
    Preview,
    /// `POST /reload`: put in force what is on the disk, whether or not it has
    /// changed.
    Reload {
        /// The bundles that may shrink beyond their `max_shrink` this time, as
        /// they were asked for: perhaps twice, perhaps unknown.
        accept_shrink: Vec<String>,
    },
    /// `GET /trust`: what is in force, since when, and what was refused and why.
    Trust,
}

/// A request, and where its answer goes.
///
/// Whoever asked may have gone, or waited too long: the answer then goes nowhere,
/// and what was begun is finished all the same.
#[derive(Debug)]
pub struct AdminCommand {
    /// What is asked for.
    pub request: AdminRequest,
    /// Where the answer goes. Dropped, it is answered 503.
    pub answer: oneshot::Sender<AdminAnswer>,
    /// Its place among the few that are under way at one time; to be held until it
    /// is done, whether or not somebody still waits.
    pub place: OwnedSemaphorePermit,
}

/// What is answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AdminAnswer {
    /// The status.
    pub status: StatusCode,
    /// The body: one JSON document, sent as it is.
    pub json: String,
}

/// Where requests are handed to the program, a few at a time: those who wait for
/// a long answer do not take the place of health and metrics.
#[derive(Clone)]
pub(super) struct Desk {
    commands: mpsc::Sender<AdminCommand>,
    places: Arc<Semaphore>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Unanswered {
    /// All places are taken.
    #[error("too many requests like this one are under way; ask again when they are answered")]
    Busy,
    /// Nobody takes requests, or whoever took this one has let go of it.
    #[error("nobody answers: the process starts or ends, or has nobody for this request")]
    Gone,
    /// The answer did not come in time.
    #[error(
        "no answer within {} s; what was asked for may still be done: see /trust",
        ANSWER_TIMEOUT.as_secs()
    )]
    Late,
}

/// Why a request is not handed to the program.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Refused {
    /// It has a body, which could be meant as anything.
    #[error("no body is taken here; nothing was done")]
    Body,
    /// `accept_shrink` without a name.
    #[error("accept_shrink names no trust bundle; write accept_shrink=NAME")]
    NoName,
    /// A parameter where there is none.
    #[error("no parameters are taken here")]
    NoneTaken,
    /// A parameter is not UTF-8 under percent-encoding (RFC 3986 §2.1).
    #[error("a parameter is not percent-encoded UTF-8")]
    NotDecoded,
    /// A parameter of another name.
    #[error("unknown parameter; there is accept_shrink=NAME, once for each trust bundle")]
    Unknown,
    /// A browser sent it on behalf of a web page.
    #[error(
        "a web page may not ask for this: there is an Origin, or a Sec-Fetch-Site other than none; nothing was done"
    )]
    WebPage,
}

impl AdminRequest {
    /// A reload, with the query's confirmations.
    pub(super) fn reload<B: Body>(request: &Request<B>) -> Result<Self, Refused> {
        guard(request)?;
        let mut accept_shrink = Vec::new();
        for parameter in parameters(request) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            if percent_decoded(name)? != "accept_shrink" {
                return Err(Refused::Unknown);
            }
            if value.is_empty() {
                return Err(Refused::NoName);
            }
            accept_shrink.push(percent_decoded(value)?);
        }
        Ok(Self::Reload { accept_shrink })
    }

    /// A preview, which takes nothing.
    pub(super) fn preview<B: Body>(request: &Request<B>) -> Result<Self, Refused> {
        guard(request)?;
        match parameters(request).next() {
            None => Ok(Self::Preview),
            Some(_) => Err(Refused::NoneTaken),
        }
    }
}

impl Refused {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::WebPage => StatusCode::FORBIDDEN,
            Self::Body | Self::NoName | Self::NoneTaken | Self::NotDecoded | Self::Unknown => {
                StatusCode::BAD_REQUEST
            }
        }
    }
}

impl Desk {
    pub(super) fn new(commands: mpsc::Sender<AdminCommand>) -> Self {
        Self {
            commands,
            places: Arc::new(Semaphore::new(MAX_COMMANDS)),
        }
    }

    /// Hands a request in and waits for the answer, for [`ANSWER_TIMEOUT`].
    pub(super) async fn ask(&self, request: AdminRequest) -> Result<AdminAnswer, Unanswered> {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return Err(Unanswered::Busy);
        };
        let (answer, answered) = oneshot::channel();
        let command = AdminCommand {
            request,
            answer,
            place,
        };
        let exchange = async {
            let taken = self.commands.send(command).await;
            taken.map_err(|_| Unanswered::Gone)?;
            answered.await.map_err(|_| Unanswered::Gone)
        };
        timeout_at(Instant::now() + ANSWER_TIMEOUT, exchange)
            .await
            .unwrap_or(Err(Unanswered::Late))
    }
}

/// What is asked of every POST.
fn guard<B: Body>(request: &Request<B>) -> Result<(), Refused> {
    if is_from_a_web_page(request.headers()) {
        Err(Refused::WebPage)
    } else if request.body().is_end_stream() {
        Ok(())
    } else {
        Err(Refused::Body)
    }
}

/// Whether a browser sends this on behalf of a web page.
///
/// A page may make its reader's browser send a POST anywhere, also to loopback,
/// without asking first. Browsers then say so: in `Origin`, which goes with
/// every POST (Fetch §3.2), a page's own server included, and in
/// `Sec-Fetch-Site` (Fetch Metadata §2.3), `none` being the reader's own doing.
fn is_from_a_web_page(headers: &HeaderMap) -> bool {
    let sites = headers.get_all(HeaderName::from_static("sec-fetch-site"));
    headers.contains_key(ORIGIN) || sites.iter().any(|site| site != "none")
}

/// The parameters of a request's query; an empty one is none.
fn parameters<B>(request: &Request<B>) -> impl Iterator<Item = &str> {
    let query = request.uri().query().unwrap_or_default();
    query.split('&').filter(|parameter| !parameter.is_empty())
}

pub(super) fn percent_decoded(text: &str) -> Result<String, Refused> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => escaped(bytes.next(), bytes.next()).ok_or(Refused::NotDecoded)?,
            byte => byte,
        });
    }
    String::from_utf8(decoded).map_err(|_| Refused::NotDecoded)
}

/// The byte that two hexadecimal digits say.
fn escaped(high: Option<u8>, low: Option<u8>) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high?)? * 16 + digit(low?)?).ok()
}

/// Requests at a time that wait for the program.
pub(super) const MAX_COMMANDS: usize = 8;

/// From the request to the program's answer: a reload may read a revocation list
/// of a million entries from a slow disk, and wait for the one before it.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(50);

#[cfg(test)]
mod tests {
    use http_body_util::{Empty, Full};

    use super::*;

    /// A request that is taken; tests change one thing.
    fn asked(query: &str) -> Request<Empty<&'static [u8]>> {
        let uri = format!("/reload?{query}");
        let request = Request::post(uri).header("host", "localhost:9901");
        request.body(Empty::new()).expect("a request")
    }

    fn reload(names: &[&str]) -> Result<AdminRequest, Refused> {
        Ok(AdminRequest::Reload {
            accept_shrink: names.iter().map(ToString::to_string).collect(),
        })
    }

    #[test]
    fn confirmations_are_read_one_for_each_bundle() {
        for (query, names) in [
            ("", &[][..]),
            ("&", &[]),
            ("accept_shrink=partners", &["partners"]),
            ("accept_shrink=a&accept_shrink=b-2", &["a", "b-2"]),
            ("accept_shrink=a&accept_shrink=a&", &["a", "a"]),
            ("accept%5fshrink=%70artner%53", &["partnerS"]),
            ("accept_shrink=a=b+%26%C3%A9", &["a=b+&é"]),
        ] {
            assert_eq!(
                AdminRequest::reload(&asked(query)),
                reload(names),
                "{query}"
            );
        }
        let without_query = Request::post("/reload").body(Empty::<&[u8]>::new());
        assert_eq!(
            AdminRequest::reload(&without_query.expect("a request")),
            reload(&[])
        );
    }

    #[test]
    fn query_that_says_anything_else_is_refused_with_the_reason() {
        for (query, reason) in [
            ("force", Refused::Unknown),
            ("=partners", Refused::Unknown),
            ("accept_shrink=a&acceptshrink=b", Refused::Unknown),
            ("ACCEPT_SHRINK=a", Refused::Unknown),
            ("accept_shrink", Refused::NoName),
            ("accept_shrink=", Refused::NoName),
            ("accept_shrink=a&accept_shrink=", Refused::NoName),
            ("accept_shrink=%", Refused::NotDecoded),
            ("accept_shrink=%7", Refused::NotDecoded),
            ("accept_shrink=%+7", Refused::NotDecoded),
            ("accept_shrink=%7g", Refused::NotDecoded),
            ("accept_shrink=%ff", Refused::NotDecoded),
            ("%=a", Refused::NotDecoded),
        ] {
            let refused = AdminRequest::reload(&asked(query));
            assert_eq!(refused, Err(reason), "{query}");
            assert_eq!(reason.status(), 400, "{query}");
        }
    }

    #[test]
    fn preview_takes_no_parameters() {
        assert_eq!(AdminRequest::preview(&asked("")), Ok(AdminRequest::Preview));
        assert_eq!(
            AdminRequest::preview(&asked("config=/etc/shadow")),
            Err(Refused::NoneTaken)
        );
    }

    #[test]
    fn request_with_a_body_is_refused_and_one_with_an_empty_body_is_not() {
        for (body, taken) in [("", true), ("accept_shrink=partners", false)] {
            let request = asked("").map(|_| Full::new(body.as_bytes()));
            let refused = (!taken).then_some(Refused::Body);
            assert_eq!(AdminRequest::reload(&request).err(), refused);
            assert_eq!(AdminRequest::preview(&request).err(), refused);
        }
    }

    #[test]
    fn browser_that_speaks_for_a_page_is_refused_and_one_that_speaks_for_its_user_is_not() {
        for (fields, taken) in [
            (&[][..], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("origin", "http://localhost:9901")], false),
            (&[("origin", "null")], false),
            (&[("origin", "")], false),
            (&[("sec-fetch-site", "same-origin")], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "")], false),
            (
                &[("sec-fetch-site", "none"), ("sec-fetch-site", "same-site")],
                false,
            ),
        ] {
            let mut request = asked("");
            for (name, value) in fields {
                let value = value.parse().expect("a value");
                request.headers_mut().append(*name, value);
            }
            let refused = (!taken).then_some(Refused::WebPage);
            assert_eq!(AdminRequest::reload(&request).err(), refused, "{fields:?}");
            assert_eq!(AdminRequest::preview(&request).err(), refused, "{fields:?}");
        }
        assert_eq!(Refused::WebPage.status(), 403);
    }
}
