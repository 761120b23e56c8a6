//! The serial numbers of a revocation list: a table of where each stands in the list's own bytes.
//!
//! A list may have a million entries, and its bytes are kept anyway, to verify
//! its signature later with a key that was not known before. So nothing is
//! copied out of it: a slot of the table has eight bytes, at most two thirds of
//! the slots are taken, and looking a number up that is not in the list mostly
//! touches one line of memory.
//!
//! Serial numbers are compared without their leading zero bytes. RFC 5280
//! §4.1.2.2 leaves one encoding to each number, but not every authority keeps
//! to it, and a certificate must not escape its revocation by a zero.

use std::hash::{BuildHasher, RandomState};

/// The longest serial number that a list may name, in bytes; RFC 5280 §4.1.2.2
/// allows 20.
const MAX_SERIAL: usize = 255;

/// Where each serial number of a list stands. It holds for the bytes that it was made of.
pub(super) struct Serials {
    /// A power of two of them, or none.
    slots: Box<[Slot]>,
    /// Keyed by chance, so that nobody can choose numbers that collide.
    hasher: RandomState,
    count: usize,
}

/// One serial number. A list begins with a header, so nothing stands at 0, and
/// a slot that says so is free.
#[derive(Clone, Copy, Default)]
struct Slot {
    at: u32,
    /// Part of the hash: mostly tells another number without a look at the list.
    tag: u16,
    length: u8,
}

/// The serial number is longer than a list may name, or outside of the list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Unlisted;

impl Serials {
    /// Makes the table of `serials`, each a part of `der`.
    pub(super) fn new<'a>(
        der: &'a [u8],
        serials: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Self, Unlisted> {
        let found = serials
            .map(|serial| Slot::of(der, serial))
            .collect::<Result<Vec<_>, _>>()?;
        let size = match found.len() {
            0 => 0,
            count => count.saturating_add(count / 2).next_power_of_two(),
        };
        let mut table = Self {
            slots: vec![Slot::default(); size].into_boxed_slice(),
            hasher: RandomState::new(),
            count: 0,
        };
        for slot in found {
            table.insert(der, slot);
        }
        Ok(table)
    }

    /// How many different serial numbers there are.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Whether this serial number, the contents of an INTEGER, is among them.
    pub(super) fn contains(&self, der: &[u8], serial: &[u8]) -> bool {
        self.end_of(der, serial).is_some()
    }

    /// Where in the list the entry goes on behind this serial number.
    pub(super) fn end_of(&self, der: &[u8], serial: &[u8]) -> Option<usize> {
        let serial = significant(serial);
        let (start, tag) = self.place(serial);
        let slot = self
            .probe(start)
            .map_while(|at| self.slots.get(at).filter(|slot| slot.at != 0))
            .find(|slot| slot.tag == tag && slot.serial(der) == Some(serial))?;
        usize::try_from(slot.at)
            .ok()?
            .checked_add(usize::from(slot.length))
    }

    /// Numbers that are there already stay out: a list that names one a million
    /// times must not make every look-up walk past all of them.
    fn insert(&mut self, der: &[u8], mut new: Slot) {
        let Some(serial) = new.serial(der) else {
            return;
        };
        let (start, tag) = self.place(serial);
        new.tag = tag;
        for at in self.probe(start) {
            let Some(slot) = self.slots.get_mut(at) else {
                return;
            };
            if slot.at == 0 {
                *slot = new;
                self.count += 1;
                return;
            }
            if slot.tag == tag && slot.serial(der) == Some(serial) {
                return;
            }
        }
    }

    /// Where the search for a serial number begins, and its tag.
    fn place(&self, serial: &[u8]) -> (usize, u16) {
        let hash = self.hasher.hash_one(serial);
        let [high, low, ..] = hash.to_be_bytes();
        let [.., a, b, c, d] = hash.to_be_bytes();
        let start = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(0);
        (start, u16::from_be_bytes([high, low]))
    }

    /// The slots in the order of the search, each once.
    fn probe(&self, start: usize) -> impl Iterator<Item = usize> + use<> {
        let size = self.slots.len();
        let mask = size.saturating_sub(1);
        (0..size).map(move |step| start.wrapping_add(step) & mask)
    }
}

impl Slot {
    fn of(der: &[u8], serial: &[u8]) -> Result<Self, Unlisted> {
        let serial = significant(serial);
        let at = serial.as_ptr().addr().wrapping_sub(der.as_ptr().addr());
        let slot = Self {
            at: u32::try_from(at).map_err(|_| Unlisted)?,
            tag: 0,
            length: u8::try_from(serial.len().min(MAX_SERIAL + 1)).map_err(|_| Unlisted)?,
        };
        if slot.at == 0 || slot.serial(der) != Some(serial) {
            return Err(Unlisted);
        }
        Ok(slot)
    }

    fn serial(self, der: &[u8]) -> Option<&[u8]> {
        let at = usize::try_from(self.at).ok()?;
        der.get(at..)?.get(..usize::from(self.length))
    }
}

/// A number without its leading zero bytes; zero itself is empty.
fn significant(serial: &[u8]) -> &[u8] {
    let zeros = serial.iter().take_while(|byte| **byte == 0).count();
    serial.get(zeros..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, prop_assert_eq, proptest};

    use super::*;

    /// A list's bytes with these serial numbers in it, and the table of them.
    fn table(serials: &[&[u8]]) -> (Vec<u8>, Result<Serials, Unlisted>) {
        let mut der = vec![0x30];
        let mut ranges = Vec::new();
        for serial in serials {
            ranges.push(der.len()..der.len() + serial.len());
            der.extend_from_slice(serial);
            der.push(0xee);
        }
        let found = Serials::new(&der, ranges.into_iter().map(|range| &der[range]));
        (der, found)
    }

    #[test]
    fn a_serial_number_is_found_and_its_neighbours_are_not() {
        let (der, found) = table(&[&[1, 2, 3], &[1, 2], &[9]]);
        let found = found.unwrap();
        assert_eq!(found.len(), 3);
        for listed in [&[1, 2, 3][..], &[1, 2], &[9]] {
            assert!(found.contains(&der, listed), "{listed:?}");
        }
        for other in [&[1][..], &[1, 2, 4], &[2, 3], &[], &[1, 2, 3, 0]] {
            assert!(!found.contains(&der, other), "{other:?}");
        }
    }

    #[test]
    fn leading_zeros_hide_no_serial_number() {
        let (der, found) = table(&[&[0, 0x80], &[7], &[0]]);
        let found = found.unwrap();
        for listed in [&[0x80][..], &[0, 0x80], &[0, 7], &[], &[0, 0]] {
            assert!(found.contains(&der, listed), "{listed:?}");
        }
        assert!(!found.contains(&der, &[7, 0]));
    }

    #[test]
    fn a_serial_number_that_is_named_again_counts_once() {
        let (der, found) = table(&[&[5][..]; 1000]);
        let found = found.unwrap();
        assert_eq!(found.len(), 1);
        assert!(found.contains(&der, &[5]) && !found.contains(&der, &[6]));
    }

    #[test]
    fn an_empty_list_names_nobody() {
        let (der, found) = table(&[]);
        let found = found.unwrap();
        assert_eq!(found.len(), 0);
        assert!(!found.contains(&der, &[]) && !found.contains(&der, &[1]));
    }

    #[test]
    fn a_serial_number_beyond_all_bounds_is_refused() {
        let longest = [1; MAX_SERIAL];
        let (der, found) = table(&[&longest]);
        assert!(found.unwrap().contains(&der, &longest));
        assert!(matches!(table(&[&[1; MAX_SERIAL + 1]]).1, Err(Unlisted)));
    }

    #[test]
    fn what_is_no_part_of_the_list_is_refused() {
        let elsewhere = vec![1, 2, 3];
        let found = Serials::new(&[0x30, 1, 2, 3], [&*elsewhere].into_iter());
        assert!(matches!(found, Err(Unlisted)));
    }

    proptest! {
        #[test]
        fn the_table_answers_as_a_set_would(
            listed in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..4), 0..200),
            asked in prop::collection::vec(any::<u8>(), 0..4),
        ) {
            let slices: Vec<_> = listed.iter().map(Vec::as_slice).collect();
            let (der, found) = table(&slices);
            let found = found.unwrap();
            let expected = listed.iter().any(|serial| significant(serial) == significant(&asked));
            prop_assert_eq!(found.contains(&der, &asked), expected);
            for serial in &listed {
                proptest::prop_assert!(found.contains(&der, serial));
            }
        }
    }
}
