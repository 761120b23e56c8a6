//! What each part of a generation was made of, so that the next one keeps the
//! parts that would be the same again.
//!
//! What is kept is the same [`Arc`]: connections, sessions and pools that rest on
//! it need no other sign that nothing has changed for them.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::ops::Deref;
use std::sync::Arc;

use super::bundle::Bundle;
use super::client::ClientTls;
use super::front::Front;
use super::own_certificate::OwnChain;
use super::server::ServerTls;
use super::sessions::TicketKeys;
use crate::config::{
    self, ChainLimits, Files, Inputs, LayerMode, ListenerTls, OwnCertificate, Place, Protocol,
    TrustBundle, UpstreamTls, UpstreamTrust,
};

/// What everything that was loaded was made of.
#[derive(Debug, Default)]
pub(super) struct Origins {
    pub(super) bundles: Loaded<TrustBundle, Bundle>,
    pub(super) chains: Loaded<OwnCertificate, OwnChain>,
    pub(super) servers: Built<ServerRecipe, ServerTls>,
    pub(super) clients: Built<ClientRecipe, ClientTls>,
    /// The machine's own authorities, if any upstream is verified against them.
    pub(super) system: Option<Arc<Bundle>>,
}

/// What equals something only if their labels are the same.
pub(super) trait Labelled: PartialEq {
    /// Short to compare, and seldom that of another.
    fn label(&self) -> &OsStr;
}

impl Labelled for TrustBundle {
    fn label(&self) -> &OsStr {
        OsStr::new(&self.name)
    }
}

impl Labelled for OwnCertificate {
    fn label(&self) -> &OsStr {
        self.chain.value.as_os_str()
    }
}

impl Labelled for ServerRecipe {
    fn label(&self) -> &OsStr {
        OsStr::new(&self.listener)
    }
}

impl Labelled for ClientRecipe {
    fn label(&self) -> &OsStr {
        OsStr::new(&self.upstream)
    }
}

/// Things of which many are kept and each is looked for, so by label; those of
/// one label in the order in which they came.
#[derive(Debug)]
struct ByLabel<E>(HashMap<OsString, Vec<E>>);

impl<E> ByLabel<E> {
    fn of(&self, label: &OsStr) -> &[E] {
        self.0.get(label).map_or(&[], Vec::as_slice)
    }

    fn push(&mut self, label: OsString, entry: E) {
        self.0.entry(label).or_default().push(entry);
    }
}

impl<E> Default for ByLabel<E> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

/// Things that were made of files.
#[derive(Debug)]
pub(super) struct Loaded<C, T>(ByLabel<(C, Inputs, Arc<T>)>);

impl<C: Labelled, T> Loaded<C, T> {
    /// What a config and the files it names would make again, if it is here.
    ///
    /// What can change without a file is not looked at: a certificate of our own
    /// that has expired since is kept. It is warned of, and refusing it would
    /// hold up every other change, a revocation perhaps.
    pub(super) fn find(&self, config: &C, files: &Files) -> Option<(Inputs, Arc<T>)> {
        let (_, inputs, made) = self
            .0
            .of(config.label())
            .iter()
            .find(|(known, inputs, _)| known == config && inputs.hold(files))?;
        Some((inputs.clone(), Arc::clone(made)))
    }

    /// The first that was made of a config, whatever its files hold now.
    pub(super) fn made_of(&self, config: &C) -> Option<&T> {
        let mut alike = self.0.of(config.label()).iter();
        let (_, _, made) = alike.find(|(known, _, _)| known == config)?;
        Some(made)
    }

    /// The first of a label, with what it was made of, whatever has changed since.
    pub(super) fn labelled(&self, label: &OsStr) -> Option<&(C, Inputs, Arc<T>)> {
        self.0.of(label).first()
    }

    /// Everything, in no order.
    #[cfg(test)]
    pub(super) fn all(&self) -> impl Iterator<Item = (&C, &T)> {
        let all = self.0.0.values().flatten();
        all.map(|(config, _, made)| (config, &**made))
    }

    pub(super) fn push(&mut self, config: C, inputs: Inputs, made: Arc<T>) {
        let label = config.label().to_owned();
        self.0.push(label, (config, inputs, made));
    }
}

impl<C, T> Default for Loaded<C, T> {
    fn default() -> Self {
        Self(ByLabel::default())
    }
}

/// Things that were made of settings and of other things.
#[derive(Debug)]
pub(super) struct Built<R, T>(ByLabel<(R, Arc<T>)>);

impl<R: Labelled, T> Built<R, T> {
    /// What a recipe would make again, if it is here.
    pub(super) fn find(&self, recipe: &R) -> Option<Arc<T>> {
        let mut alike = self.0.of(recipe.label()).iter();
        let (_, made) = alike.find(|(known, _)| known == recipe)?;
        Some(Arc::clone(made))
    }

    pub(super) fn push(&mut self, recipe: R, made: Arc<T>) {
        let label = recipe.label().to_owned();
        self.0.push(label, (recipe, made));
    }
}

impl<R, T> Default for Built<R, T> {
    fn default() -> Self {
        Self(ByLabel::default())
    }
}

/// What a listener's [`ServerTls`] is made of.
#[derive(Debug, PartialEq)]
pub(super) struct ServerRecipe {
    listener: String,
    tls: ListenerTls,
    protocols: Vec<Protocol>,
    limits: ChainLimits,
    /// In the order of the config.
    pub(super) chains: Vec<Same<OwnChain>>,
    /// For each of its policies, in the order of [`ListenerTls::policies`], what
    /// client certificates are verified against; `None`: they are not asked for.
    pub(super) trust: Vec<Option<Same<Bundle>>>,
    /// What its sessions are sealed with.
    pub(super) ticket_keys: Same<TicketKeys>,
}

impl ServerRecipe {
    pub(super) fn new(
        front: Front<'_>,
        chains: Vec<Arc<OwnChain>>,
        (trust, ticket_keys): (Vec<Option<Arc<Bundle>>>, &Arc<TicketKeys>),
    ) -> Self {
        // Indexes; the bundles themselves are compared.
        let mut tls = front.tls.clone();
        tls.trust = None;
        for named in &mut tls.names {
            named.policy.trust = None;
        }
        Self {
            listener: front.name.to_owned(),
            tls,
            protocols: front.protocols.to_vec(),
            limits: front.limits,
            chains: chains.into_iter().map(Same).collect(),
            trust: trust.into_iter().map(|bundle| bundle.map(Same)).collect(),
            ticket_keys: Same(Arc::clone(ticket_keys)),
        }
    }
}

/// What an upstream's [`ClientTls`] is made of.
#[derive(Debug, PartialEq)]
pub(super) struct ClientRecipe {
    upstream: String,
    tls: UpstreamTls,
    protocol: Protocol,
    layer: LayerMode,
    pub(super) certificate: Option<Same<OwnChain>>,
    pub(super) trust: Same<Bundle>,
}

impl ClientRecipe {
    pub(super) fn new(
        upstream: &config::Upstream,
        tls: &UpstreamTls,
        certificate: Option<Arc<OwnChain>>,
        trust: Arc<Bundle>,
    ) -> Self {
        Self {
            upstream: upstream.name.clone(),
            tls: UpstreamTls {
                // An index, or not even that; the bundle itself is compared.
                trust: UpstreamTrust::System(Place::default()),
                ..tls.clone()
            },
            protocol: upstream.protocol,
            layer: upstream.outbound.client_certificate,
            certificate: certificate.map(Same),
            trust: Same(trust),
        }
    }
}

/// Something that equals only itself.
#[derive(Debug)]
pub(super) struct Same<T>(pub(super) Arc<T>);

impl<T> PartialEq for Same<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<T> Deref for Same<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    /// Something that counts how often it is compared.
    struct Counted {
        label: OsString,
        value: u32,
        compared: Rc<Cell<usize>>,
    }

    impl Counted {
        fn new(label: usize, value: u32, compared: &Rc<Cell<usize>>) -> Self {
            Self {
                label: label.to_string().into(),
                value,
                compared: Rc::clone(compared),
            }
        }
    }

    impl PartialEq for Counted {
        fn eq(&self, other: &Self) -> bool {
            self.compared.set(self.compared.get() + 1);
            self.label == other.label && self.value == other.value
        }
    }

    impl Labelled for Counted {
        fn label(&self) -> &OsStr {
            &self.label
        }
    }

    #[test]
    fn each_of_many_is_found_by_comparing_it_with_those_of_its_label_alone() {
        const MANY: usize = 1000;
        let compared = Rc::default();
        let (mut loaded, mut built) = (Loaded::default(), Built::default());
        for label in 0..MANY {
            let it = || Counted::new(label, 0, &compared);
            loaded.push(it(), Inputs::default(), Arc::new(label));
            built.push(it(), Arc::new(label));
        }
        let files = Files::new();
        for label in 0..MANY {
            let it = Counted::new(label, 0, &compared);
            assert_eq!(*loaded.find(&it, &files).unwrap().1, label);
            assert_eq!(loaded.made_of(&it), Some(&label));
            assert_eq!(*built.find(&it).unwrap(), label);
        }
        assert_eq!(compared.get(), 3 * MANY);
    }

    #[test]
    fn of_one_label_the_first_that_is_equal_is_found_and_none_that_differs() {
        let compared = Rc::default();
        let it = |value| Counted::new(1, value, &compared);
        let mut loaded = Loaded::default();
        for (value, made) in [(1, 'a'), (2, 'b'), (2, 'c')] {
            loaded.push(it(value), Inputs::default(), Arc::new(made));
        }
        assert_eq!(loaded.made_of(&it(2)), Some(&'b'));
        assert_eq!(loaded.made_of(&it(3)), None);
        let (_, _, first) = loaded.labelled(OsStr::new("1")).unwrap();
        assert_eq!(**first, 'a');
        assert!(loaded.labelled(OsStr::new("2")).is_none());
    }
}
