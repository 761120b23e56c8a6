//! The tunnels of one HTTP/2 connection: WebSockets, each on a stream of its own
//! beside the requests (RFC 8441). They end with their connection.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::activity::Activity;
use super::open::Open;

/// What the tunnels of one connection run in.
#[derive(Debug)]
pub(super) struct Tunnels {
    open: Rc<Open>,
    activity: Arc<Activity>,
    running: RefCell<JoinSet<()>>,
}

impl Tunnels {
    pub(super) fn new(open: &Rc<Open>, activity: &Arc<Activity>) -> Rc<Self> {
        Rc::new(Self {
            open: Rc::clone(open),
            activity: Arc::clone(activity),
            running: RefCell::default(),
        })
    }

    /// Carries on what the request that has just been answered has begun, if it
    /// has begun a tunnel. It counts as a request under way until it ends.
    pub(super) fn carry(&self) {
        let Some(tunnel) = self.open.caller().downstream().take_tunnel() else {
            return;
        };
        let under_way = self.activity.request();
        let mut running = self.running.borrow_mut();
        while running.try_join_next().is_some() {}
        running.spawn_local(async move {
            tunnel.await;
            drop(under_way);
        });
    }

    /// The connection has ended, and they with it.
    pub(super) fn end(&self) {
        self.running.borrow_mut().abort_all();
    }
}
