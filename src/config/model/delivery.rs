//! How requests are handed to a service, and its responses taken from it.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use super::Share;

/// How requests are handed to a service, and its responses taken from it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Delivery {
    /// What an endpoint is given at one time.
    pub capacity: Capacity,
    /// What is held for the sake of the service.
    pub buffering: Buffering,
    /// When a request is sent once more; `None`: not for what the service answers.
    pub retries: Option<Retries>,
}

/// What an endpoint is given at one time, by all workers together.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Capacity {
    /// Connections over HTTP/1.1, requests over HTTP/2; `None`: not counted.
    pub per_endpoint: Option<NonZeroU32>,
    /// The key of the option that `per_endpoint` is from.
    pub key: &'static str,
    /// The most requests of the upstream that wait for their turn.
    pub max_queue: NonZeroUsize,
    /// How long each may wait.
    pub queue_timeout: Duration,
}

/// What is held for the sake of the service.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Buffering {
    /// The most of a request's body that is taken before it goes up; `None`: it
    /// goes up as it comes.
    pub request: Option<NonZeroUsize>,
    /// The most of a response that is read before the client takes it; `None`:
    /// it is read as the client takes it.
    pub response: Option<NonZeroUsize>,
    /// The most bytes that are held so at one time, by all workers together.
    pub memory: NonZeroUsize,
    /// Whether a body goes up with its length or not at all.
    pub require_length: bool,
}

/// When a request is sent once more.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Retries {
    /// After what.
    pub on: Vec<RetryOn>,
    /// How often, at most.
    pub most: NonZeroU32,
    /// At most this share of all requests.
    pub budget: Share,
}

/// After what a request is sent once more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RetryOn {
    /// The connection ended before there was an answer.
    Lost,
    /// An answer with this status.
    Status(u16),
}
