//! A strict reader of DER elements, for the parts of certificates and of
//! revocation lists where a lenient one would lose names, and for those that
//! the verifier reads but does not hand out.
//!
//! `x509-parser` stops a distinguished name at the first attribute that it
//! cannot read and keeps what came before. A name that was cut short may be
//! another peer's, so names are read with this reader, which takes all or none.

/// The bytes are not DER, or not of the type that stands there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct NotDer;

/// One element: tag, length and contents.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Element<'a> {
    /// The identifier octet, class and constructed bit included.
    pub(crate) tag: u8,
    /// What the element holds.
    pub(crate) contents: &'a [u8],
    /// The whole element, identifier and length included.
    pub(crate) raw: &'a [u8],
}

/// Universal tags (X.680 §8.6), as identifier octets.
pub(crate) mod tag {
    pub(crate) const INTEGER: u8 = 0x02;
    pub(crate) const BIT_STRING: u8 = 0x03;
    pub(crate) const OCTET_STRING: u8 = 0x04;
    pub(crate) const OBJECT_IDENTIFIER: u8 = 0x06;
    pub(crate) const UTF8_STRING: u8 = 0x0c;
    pub(crate) const NUMERIC_STRING: u8 = 0x12;
    pub(crate) const PRINTABLE_STRING: u8 = 0x13;
    pub(crate) const TELETEX_STRING: u8 = 0x14;
    pub(crate) const IA5_STRING: u8 = 0x16;
    pub(crate) const VISIBLE_STRING: u8 = 0x1a;
    pub(crate) const UNIVERSAL_STRING: u8 = 0x1c;
    pub(crate) const BMP_STRING: u8 = 0x1e;
    pub(crate) const SEQUENCE: u8 = 0x30;
    pub(crate) const SET: u8 = 0x31;
}

impl Element<'_> {
    /// Checks the identifier octet.
    pub(crate) fn tagged(self, tag: u8) -> Result<Self, NotDer> {
        if self.tag == tag {
            Ok(self)
        } else {
            Err(NotDer)
        }
    }
}

/// Reads the one element that `input` holds; anything after it is an error.
pub(crate) fn only(input: &[u8], tag: u8) -> Result<Element<'_>, NotDer> {
    only_any(input)?.tagged(tag)
}

/// Reads the one element, of whatever type, that `input` holds.
pub(crate) fn only_any(input: &[u8]) -> Result<Element<'_>, NotDer> {
    match split(input) {
        Some((element, [])) => Ok(element),
        _ => Err(NotDer),
    }
}

/// Reads the elements of a SEQUENCE's or SET's contents, in order; ends after
/// the first error.
pub(crate) fn elements(contents: &[u8]) -> impl Iterator<Item = Result<Element<'_>, NotDer>> {
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
pub(crate) fn pair(contents: &[u8]) -> Result<(Element<'_>, Element<'_>), NotDer> {
    let mut elements = elements(contents);
    match (elements.next(), elements.next(), elements.next()) {
        (Some(first), Some(second), None) => Ok((first?, second?)),
        _ => Err(NotDer),
    }
}

/// Puts the header before an element's contents, which the verifier hands out without it.
pub(crate) fn with_header(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = contents.len().to_be_bytes();
    let zeros = length.iter().take_while(|byte| **byte == 0).count();
    let significant = length.get(zeros..).unwrap_or_default();
    let mut out = vec![tag];
    match (significant, u8::try_from(significant.len())) {
        ([], _) => out.push(0),
        ([short @ ..0x80], _) => out.push(*short),
        (_, octets) => {
            out.push(0x80 | octets.unwrap_or(0));
            out.extend_from_slice(significant);
        }
    }
    out.extend_from_slice(contents);
    out
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
        // A revocation list of a million entries takes four.
        [highest, high, middle, low] if highest > 0 => {
            u32::from_be_bytes([highest, high, middle, low])
        }
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
    fn a_header_put_before_contents_is_read_again() {
        for length in [0, 1, 127, 128, 255, 256, 65_535, 65_536] {
            let contents = vec![7; length];
            let whole = with_header(tag::SEQUENCE, &contents);
            assert_eq!(only(&whole, tag::SEQUENCE).unwrap().contents, contents);
        }
    }

    #[test]
    fn a_length_of_four_octets_is_read() {
        let whole = with_header(tag::SEQUENCE, &vec![7; 1 << 24]);
        assert_eq!(whole.get(..2), Some(&[0x30, 0x84][..]));
        assert!(only(&whole, tag::SEQUENCE).is_ok());
    }

    #[test]
    fn elements_end_with_the_first_error() {
        let read: Vec<_> = elements(&[0x0c, 1, b'a', 0x0c, 9, b'b']).collect();

        assert_eq!(read.len(), 2);
        assert!(read[0].is_ok() && read[1].is_err());
    }
}
