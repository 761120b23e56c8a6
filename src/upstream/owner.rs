//! Whose a connection to a service is.

use std::rc::{Rc, Weak};

/// Whose a connection to a service is: nobody else's requests go over it.
#[derive(Clone, Debug, Default)]
pub enum Owner {
    /// Everybody's.
    #[default]
    Shared,
    /// That of one identity.
    Identity([u8; 32]),
    /// That of one downstream connection.
    Connection(Weak<()>),
}

impl Owner {
    /// The owner of what belongs to one downstream connection, for as long as
    /// that holds `token`.
    pub fn connection(token: &Rc<()>) -> Self {
        Self::Connection(Rc::downgrade(token))
    }

    /// Whether everybody shares.
    pub(super) fn is_everybody(&self) -> bool {
        matches!(self, Self::Shared)
    }

    /// Whether nobody will ever ask for it again.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self, Self::Connection(token) if token.strong_count() == 0)
    }
}

impl PartialEq for Owner {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Shared, Self::Shared) => true,
            (Self::Identity(ours), Self::Identity(theirs)) => ours == theirs,
            // Where a token was is nothing else as long as anybody refers to it.
            (Self::Connection(ours), Self::Connection(theirs)) => Weak::ptr_eq(ours, theirs),
            _ => false,
        }
    }
}

impl Eq for Owner {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owner_is_equal_to_itself_alone() {
        let (one, other) = (Rc::new(()), Rc::new(()));
        let owners = [
            Owner::Shared,
            Owner::Identity([1; 32]),
            Owner::Identity([2; 32]),
            Owner::connection(&one),
            Owner::connection(&other),
        ];
        for (at, owner) in owners.iter().enumerate() {
            for (place, candidate) in owners.iter().enumerate() {
                assert_eq!(owner == candidate, at == place, "{owner:?} {candidate:?}");
            }
        }
        assert_eq!(Owner::connection(&one), Owner::connection(&one));
    }

    #[test]
    fn owner_is_gone_with_its_downstream_connection() {
        let token = Rc::new(());
        let owner = Owner::connection(&token);
        assert!(!owner.is_gone());
        drop(token);
        assert!(owner.is_gone());
        assert_ne!(owner, Owner::connection(&Rc::new(())));
        assert!(!Owner::Shared.is_gone() && !Owner::Identity([0; 32]).is_gone());
    }
}
