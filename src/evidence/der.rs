//! DER (X.690), as much of it as time stamps need: definite lengths, low tag numbers, nothing copied.

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OID: u8 = 0x06;
pub(crate) const UTF8_STRING: u8 = 0x0c;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

/// A constructed value with the context's own tag number.
pub(crate) const fn context(number: u8) -> u8 {
    0xa0 | number
}

/// One value: its tag, its content, and both with the length between them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Value<'a> {
    pub(crate) tag: u8,
    pub(crate) content: &'a [u8],
    pub(crate) whole: &'a [u8],
}

/// Reads one value after the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn is_at_end(self) -> bool {
        self.rest.is_empty()
    }

    /// The next value, whatever it is.
    pub(crate) fn any(&mut self) -> Option<Value<'a>> {
        let all = self.rest;
        let (&tag, rest) = all.split_first()?;
        let (&first, rest) = rest.split_first()?;
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (len, rest) = if first < 0x80 {
            (usize::from(first), rest)
        } else {
            let count = usize::from(first & 0x7f);
            let (bytes, rest) = rest.split_at_checked(count)?;
            // An indefinite length is BER's; one that could be shorter is not DER's.
            if count == 0 || count > 4 || bytes[0] == 0 {
                return None;
            }
            let len = bytes
                .iter()
                .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            if len < 0x80 {
                return None;
            }
            (len, rest)
        };
        let (content, rest) = rest.split_at_checked(len)?;
        self.rest = rest;
        Some(Value {
            tag,
            content,
            whole: &all[..all.len() - rest.len()],
        })
    }

    /// The next value, which must have this tag.
    pub(crate) fn value(&mut self, tag: u8) -> Option<Value<'a>> {
        let mut ahead = *self;
        let value = ahead.any().filter(|value| value.tag == tag)?;
        *self = ahead;
        Some(value)
    }

    /// The content of the next value, which must have this tag. Nothing is taken when it has not.
    pub(crate) fn content(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.value(tag).map(|value| value.content)
    }

    /// A reader of what the next value holds, which must have this tag.
    pub(crate) fn inside(&mut self, tag: u8) -> Option<Reader<'a>> {
        self.content(tag).map(Reader::new)
    }
}

/// Writes a value.
pub(crate) fn put(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = content.len();
    let mut out = vec![tag];
    match u8::try_from(len) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            let bytes = len.to_be_bytes();
            let zeros = bytes.iter().take_while(|b| **b == 0).count();
            // At most eight.
            out.push(0x80 | u8::try_from(bytes.len() - zeros).unwrap_or_default());
            out.extend_from_slice(&bytes[zeros..]);
        }
    }
    out.extend_from_slice(content);
    out
}

/// Writes the INTEGER of a positive number that may begin with zeros.
pub(crate) fn put_positive(bytes: &[u8]) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|b| **b == 0).count();
    match &bytes[zeros..] {
        [] => put(INTEGER, &[0]),
        rest @ [first, ..] if *first >= 0x80 => put(INTEGER, &[&[0], rest].concat()),
        rest => put(INTEGER, rest),
    }
}

/// `Ecdsa-Sig-Value` of RFC 3279 section 2.2.3.
pub(crate) fn ecdsa_signature(r: &[u8], s: &[u8]) -> Vec<u8> {
    put(SEQUENCE, &[put_positive(r), put_positive(s)].concat())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lengths_are_der_s() {
        for len in [0, 1, 127, 128, 255, 256, 65_535, 65_536] {
            let content = vec![7; len];
            let bytes = put(OCTET_STRING, &content);
            let mut reader = Reader::new(&bytes);
            let value = reader.any().unwrap();
            assert_eq!((value.content, value.whole), (&content[..], &bytes[..]));
            assert!(reader.is_at_end());
        }
        for bytes in [
            &[][..],
            &[4],
            &[4, 2, 0],
            &[4, 0x80, 0, 0],
            &[4, 0x81, 1, 0],
            &[4, 0x82, 0, 0x80],
            &[0x1f, 1, 0],
            &[4, 0x85, 1, 0, 0, 0, 0],
        ] {
            assert!(Reader::new(bytes).any().is_none(), "{bytes:?}");
        }
    }

    #[test]
    fn integers_stay_positive() {
        assert_eq!(put_positive(&[0, 0]), [2, 1, 0]);
        assert_eq!(put_positive(&[0, 0x80]), [2, 2, 0, 0x80]);
        assert_eq!(
            ecdsa_signature(&[1], &[0xff]),
            [0x30, 7, 2, 1, 1, 2, 2, 0, 0xff]
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>()) {
            let mut reader = Reader::new(&bytes);
            while let Some(value) = reader.any() {
                prop_assert!(value.whole.ends_with(value.content));
            }
        }
    }
}
