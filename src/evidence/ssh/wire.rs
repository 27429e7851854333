//! SSH's wire format (RFC 4251 section 5): numbers, strings with their length before them, and signed integers.

/// Reads one value after the other; None where the bytes end before it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.rest.split_at_checked(len)?;
        self.rest = tail;
        Some(head)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.bytes(1).map(|b| b[0])
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        let bytes = self.bytes(4)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    }

    /// `string`: a length and so many bytes.
    pub(crate) fn string(&mut self) -> Option<&'a [u8]> {
        let len = self.u32()?;
        self.bytes(usize::try_from(len).ok()?)
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.string()?).ok()
    }

    /// `mpint` of a positive number: its bytes, without the zero that keeps it positive.
    pub(crate) fn positive(&mut self) -> Option<&'a [u8]> {
        match self.string()? {
            [] => None,
            [0, rest @ ..] => Some(rest),
            [first, ..] if *first >= 0x80 => None,
            bytes => Some(bytes),
        }
    }

    pub(crate) fn is_at_end(self) -> bool {
        self.rest.is_empty()
    }
}

/// Appends a `string`.
pub(crate) fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    // Nothing that is signed or sent here comes near four gigabytes.
    out.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Appends the `mpint` of a positive number that may begin with zeros.
pub(crate) fn put_positive(out: &mut Vec<u8>, bytes: &[u8]) {
    let zeros = bytes.iter().take_while(|b| **b == 0).count();
    let bytes = &bytes[zeros..];
    if bytes.first().is_some_and(|b| *b >= 0x80) {
        put_string(out, &[&[0], bytes].concat());
    } else {
        put_string(out, bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_read() {
        let mut out = Vec::new();
        put_string(&mut out, b"ssh");
        put_positive(&mut out, &[0, 0, 0x80, 1]);
        put_positive(&mut out, &[0x7f]);
        let mut reader = Reader::new(&out);
        assert_eq!(reader.text(), Some("ssh"));
        assert_eq!(reader.positive(), Some(&[0x80, 1][..]));
        assert_eq!(reader.positive(), Some(&[0x7f][..]));
        assert!(reader.is_at_end());
        assert_eq!(reader.u32(), None);
        assert_eq!(Reader::new(&[0, 0, 0, 9, 1]).string(), None);
        assert_eq!(Reader::new(&[0, 0, 0, 1, 0xff]).positive(), None);
        assert_eq!(Reader::new(&[0xff; 4]).string(), None);
    }
}
