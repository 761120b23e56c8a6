//! Why a connection to a service carries a message no further.

use std::error::Error;
use std::fmt;
use std::io;

use crate::upstream::BoxError;

/// Why a connection to a service carries a message no further.
#[derive(Debug)]
pub enum LinkFault {
    /// What came is not HTTP; the rule that it breaks.
    Malformed(&'static str),
    /// The service has closed it before the message was complete.
    Closed,
    /// It broke.
    Broken(io::Error),
    /// The body that was to go up broke off.
    Upload(BoxError),
    /// The HTTP library says so.
    Library(hyper::Error),
}

impl LinkFault {
    /// Whether the request itself was at fault, and not the service.
    pub(in crate::upstream) fn is_of_upload(&self) -> bool {
        match self {
            Self::Upload(_) => true,
            Self::Library(fault) => fault.is_user(),
            Self::Malformed(_) | Self::Closed | Self::Broken(_) => false,
        }
    }

    /// Whether the service answered something that is not HTTP.
    pub fn is_malformed(&self) -> bool {
        match self {
            Self::Malformed(_) => true,
            // Too many interim responses: see `Prelude`.
            Self::Broken(cause) => cause.kind() == io::ErrorKind::InvalidData,
            Self::Library(fault) => fault.is_parse() || fault.is_parse_too_large(),
            Self::Closed | Self::Upload(_) => false,
        }
    }

    /// Whether the service closed, rather than answered something wrong.
    pub(in crate::upstream) fn is_close(&self) -> bool {
        match self {
            Self::Closed => true,
            Self::Broken(cause) => is_reset(cause),
            Self::Library(fault) => {
                let cause = fault.source().and_then(|it| it.downcast_ref::<io::Error>());
                fault.is_incomplete_message()
                    || fault.is_closed()
                    || fault.is_canceled()
                    || cause.is_some_and(is_reset)
            }
            Self::Malformed(_) | Self::Upload(_) => false,
        }
    }
}

fn is_reset(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset};
    matches!(error.kind(), ConnectionReset | BrokenPipe)
}

impl From<hyper::Error> for LinkFault {
    fn from(fault: hyper::Error) -> Self {
        Self::Library(fault)
    }
}

impl fmt::Display for LinkFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(rule) => write!(f, "the response cannot be read: {rule}"),
            Self::Closed => f.write_str("connection closed before message completed"),
            Self::Broken(_) => f.write_str("connection error"),
            Self::Upload(_) => f.write_str("error from user's Body stream"),
            Self::Library(fault) => fault.fmt(f),
        }
    }
}

impl Error for LinkFault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Malformed(_) | Self::Closed => None,
            Self::Broken(cause) => Some(cause),
            Self::Upload(cause) => Some(&**cause),
            Self::Library(fault) => fault.source(),
        }
    }
}
