//! The joint at which whoever comes to the admin address proves who they are.

use std::fmt::Debug;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::socket::Stream;

/// Lets in whoever may ask. Without one everybody may.
pub trait Door: Debug {
    /// Makes a handshake that ends by `deadline`; `None`: it was refused, and
    /// the log knows why.
    fn admit(&self, stream: Stream, deadline: Instant) -> Admission;
}

/// A handshake under way.
pub type Admission = Pin<Box<dyn Future<Output = Option<Box<dyn Io>>>>>;

/// A stream of bytes, in both directions.
pub trait Io: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Io for T {}
