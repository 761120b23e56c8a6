//! HTTP/1.1 on one connection, which lays down what it does not need while
//! nothing is asked.
//!
//! The HTTP library keeps two buffers of 8 KiB for as long as it has a
//! connection. Between requests this keeps the stream alone; the library is
//! given it when there is something to read.

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::body::{Body, Incoming};
use hyper::server::conn::http1::{self, Parts};
use hyper::service::HttpService;
use hyper_util::rt::TokioIo;

use super::activity::Activity;
use super::awake::{Awake, Spell};
use super::io::Watched;
use crate::proxy::BodyFault;

/// HTTP/1.1 on one connection; ready when it has ended.
pub(super) struct Resting<'a, S, B>
where
    S: HttpService<Incoming>,
{
    state: State<S>,
    spell: Rc<Spell>,
    awake: &'a Awake,
    builder: B,
    /// Whether it was asked to finish.
    leaves: bool,
}

#[expect(
    clippy::large_enum_variant,
    reason = "most connections rest, and another allocation would be for them"
)]
enum State<S>
where
    S: HttpService<Incoming>,
{
    /// Nothing is asked, and nothing is kept for it.
    Resting(TokioIo<Watched>, S),
    /// The library has it.
    Awake(Box<http1::UpgradeableConnection<TokioIo<Watched>, S>>),
    /// It has ended.
    Over,
}

/// What answers the requests of a connection.
pub(super) trait Answers:
    HttpService<Incoming, ResBody: Body<Error = BodyFault> + 'static, Error = Infallible> + Unpin
{
}

impl<S> Answers for S where
    S: HttpService<Incoming, ResBody: Body<Error = BodyFault> + 'static, Error = Infallible>
        + Unpin
{
}

impl<'a, S: Answers, B: Fn() -> http1::Builder + Unpin> Resting<'a, S, B> {
    /// On a connection on which nothing was asked yet. `builder` makes what the
    /// library is given it with.
    pub(super) fn new(
        (io, service): (TokioIo<Watched>, S),
        activity: &Arc<Activity>,
        awake: &'a Awake,
        builder: B,
    ) -> Self {
        Self {
            state: State::Resting(io, service),
            spell: Spell::new(activity),
            awake,
            builder,
            leaves: false,
        }
    }

    /// Asks it to finish what is under way and to take nothing more.
    pub(super) fn graceful_shutdown(mut self: Pin<&mut Self>) {
        self.wake();
        self.leaves = true;
        if let State::Awake(connection) = &mut self.state {
            Pin::new(&mut **connection).graceful_shutdown();
        }
    }

    /// Gives the stream to the library.
    fn wake(&mut self) {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Resting(io, service) => {
                let connection = (self.builder)().serve_connection(io, service);
                self.state = State::Awake(Box::new(connection.with_upgrades()));
            }
            other => self.state = other,
        }
    }

    /// Takes the stream back from the library, where it has nothing under way.
    fn rest(&mut self) {
        self.spell.end();
        match std::mem::replace(&mut self.state, State::Over) {
            // There is nothing that has not ended, else it would not be asked.
            State::Awake(connection) => {
                let Some(parts) = connection.into_parts() else {
                    return;
                };
                let Parts {
                    mut io,
                    read_buf,
                    service,
                    ..
                } = parts;
                io.inner_mut().take_back(&read_buf);
                self.state = State::Resting(io, service);
            }
            other => self.state = other,
        }
    }
}

impl<S: Answers, B: Fn() -> http1::Builder + Unpin> Future for Resting<'_, S, B> {
    type Output = Result<(), hyper::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            match &mut this.state {
                State::Resting(io, _) => {
                    std::task::ready!(io.inner_mut().poll_begun(cx));
                    this.wake();
                    this.awake.join(&this.spell, cx.waker());
                }
                State::Awake(connection) => match Pin::new(&mut **connection).poll(cx) {
                    // The library remembers that it was asked to finish; another one
                    // of the same stream would not.
                    Poll::Pending if this.spell.is_over() && !this.leaves => this.rest(),
                    outcome => return outcome,
                },
                State::Over => return Poll::Ready(Ok(())),
            }
        }
    }
}

#[cfg(test)]
mod tests;
