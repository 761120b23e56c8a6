//! A strict reader of DER elements, for the parts of a certificate where a
//! lenient one would lose names.
//!
//! `x509-parser` stops a distinguished name at the first attribute that it
//! cannot read and keeps what came before. A name that was cut short may be
//! another peer's, so names are read with this reader, which takes all or none.

/// The bytes are not DER, or not of the type that stands there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct NotDer;

/// One element: tag, length and contents.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element<'a> {
    /// The identifier octet, class and constructed bit included.
    pub(super) tag: u8,
    /// What the element holds.
    pub(super) contents: &'a [u8],
    /// The whole element, identifier and length included.
    pub(super) raw: &'a [u8],
}

/// Universal tags (X.680 §8.6), as identifier octets.
pub(super) mod tag {
    pub(in crate::identity) const OBJECT_IDENTIFIER: u8 = 0x06;
    pub(in crate::identity) const UTF8_STRING: u8 = 0x0c;
    pub(in crate::identity) const NUMERIC_STRING: u8 = 0x12;
    pub(in crate::identity) const PRINTABLE_STRING: u8 = 0x13;
    pub(in crate::identity) const TELETEX_STRING: u8 = 0x14;
    pub(in crate::identity) const IA5_STRING: u8 = 0x16;
    pub(in crate::identity) const VISIBLE_STRING: u8 = 0x1a;
    pub(in crate::identity) const UNIVERSAL_STRING: u8 = 0x1c;
    pub(in crate::identity) const BMP_STRING: u8 = 0x1e;
    pub(in crate::identity) const SEQUENCE: u8 = 0x30;
    pub(in crate::identity) const SET: u8 = 0x31;
}

impl Element<'_> {
    /// Checks the identifier octet.
    pub(super) fn tagged(self, tag: u8) -> Result<Self, NotDer> {
        if self.tag == tag {
            Ok(self)
        } else {
            Err(NotDer)
        }
    }
}

/// Reads the one element that `input` holds; anything after it is an error.
pub(super) fn only(input: &[u8], tag: u8) -> Result<Element<'_>, NotDer> {
    match split(input) {
        Some((element, [])) => element.tagged(tag),
        _ => Err(NotDer),
    }
}

/// Reads the elements of a SEQUENCE's or SET's contents, in order; ends after
/// the first error.
pub(super) fn elements(contents: &[u8]) -> impl Iterator<Item = Result<Element<'_>, NotDer>> {
    let mut rest = contents;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let Some((element, after)) = split(rest) else {
            rest = &[];
            return Some(Err(NotDer));
        };
        rest = after;
        Some(Ok(element))
    })
}

/// Reads exactly two elements.
pub(super) fn pair(contents: &[u8]) -> Result<(Element<'_>, Element<'_>), NotDer> {
    let mut elements = elements(contents);
    match (elements.next(), elements.next(), elements.next()) {
        (Some(first), Some(second), None) => Ok((first?, second?)),
        _ => Err(NotDer),
    }
}

/// Splits the first element off. Tag numbers over 30 do not occur in names.
fn split(input: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let (&tag, after) = input.split_first()?;
    if tag & 0x1f == 0x1f {
        return None;
    }
    let (length, after) = split_length(after)?;
    let (contents, rest) = after.split_at_checked(length)?;
    let raw = input.strip_suffix(rest)?;
    Some((Element { tag, contents, raw }, rest))
}

/// Splits a definite length in its shortest form off (X.690 §10.1).
fn split_length(input: &[u8]) -> Option<(usize, &[u8])> {
    let (&first, after) = input.split_first()?;
    if first < 0x80 {
        return Some((usize::from(first), after));
    }
    let (octets, after) = after.split_at_checked(usize::from(first & 0x7f))?;
    let length = match *octets {
        [low] if low >= 0x80 => u32::from(low),
        [high, low] if high > 0 => u32::from_be_bytes([0, 0, high, low]),
        [high, middle, low] if high > 0 => u32::from_be_bytes([0, high, middle, low]),
        _ => return None,
    };
    Some((usize::try_from(length).ok()?, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_is_read_whole() {
        let element = only(&[0x0c, 2, b'h', b'i'], tag::UTF8_STRING).unwrap();

        assert_eq!(element.contents, b"hi");
        assert_eq!(element.raw, [0x0c, 2, b'h', b'i']);
    }

    #[test]
    fn anything_but_one_whole_element_of_that_type_is_refused() {
        let refused: [&[u8]; 7] = [
            &[],
            &[0x0c],
            &[0x0c, 2, b'h'],
            &[0x0c, 1, b'h', b'i'],
            &[0x13, 2, b'h', b'i'],
            &[0x0c, 0x80, b'h', b'i', 0, 0],
            &[0x0c, 0x81, 2, b'h', b'i'],
        ];

        for bytes in refused {
            assert_eq!(
                only(bytes, tag::UTF8_STRING).err(),
                Some(NotDer),
                "{bytes:?}"
            );
        }
    }

    #[test]
    fn long_lengths_are_read_in_their_shortest_form_only() {
        let mut long = vec![0x0c, 0x82, 0x01, 0x00];
        long.resize(4 + 256, b'x');
        assert_eq!(only(&long, tag::UTF8_STRING).unwrap().contents.len(), 256);

        let mut padded = vec![0x0c, 0x83, 0x00, 0x01, 0x00];
        padded.resize(5 + 256, b'x');
        assert_eq!(only(&padded, tag::UTF8_STRING).err(), Some(NotDer));
    }

    #[test]
    fn elements_end_with_the_first_error() {
        let read: Vec<_> = elements(&[0x0c, 1, b'a', 0x0c, 9, b'b']).collect();

        assert_eq!(read.len(), 2);
        assert!(read[0].is_ok() && read[1].is_err());
    }
}
