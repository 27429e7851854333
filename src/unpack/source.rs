//! Reads of the package at an offset: little-endian numbers, and a window that makes many small reads few.

use std::io;
use std::os::fd::AsFd;

use rustix::io::{Errno, pread};

use super::error::UnpackError;
use crate::package::Verified;

/// The package's bytes, by offset. Never changes, has no cursor, can be shared by threads.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    package: &'a Verified,
}

impl<'a> Source<'a> {
    pub(super) fn new(package: &'a Verified) -> Self {
        Self { package }
    }

    /// How many bytes there are.
    pub(super) fn size(self) -> u64 {
        self.package.size()
    }

    /// Fills `buffer` with the bytes from `offset` on. That there are so many is for the caller to know: a
    /// file that meanwhile became shorter is a read error.
    pub(super) fn read(self, offset: u64, mut buffer: &mut [u8]) -> Result<(), UnpackError> {
        let mut at = offset;
        while !buffer.is_empty() {
            match pread(self.package.file().as_fd(), &mut *buffer, at) {
                Ok(0) => {
                    return Err(UnpackError::Read {
                        offset: at,
                        source: io::ErrorKind::UnexpectedEof.into(),
                    });
                }
                Ok(n) => {
                    buffer = &mut buffer[n..];
                    at += n as u64;
                }
                Err(Errno::INTR) => {}
                Err(errno) => {
                    return Err(UnpackError::Read {
                        offset: at,
                        source: errno.into(),
                    });
                }
            }
        }
        Ok(())
    }

    /// The `len` bytes from `offset` on, which must lie within the package.
    pub(super) fn bytes(self, offset: u64, len: usize) -> Result<Vec<u8>, UnpackError> {
        let mut buffer = vec![0; len];
        self.read(offset, &mut buffer)?;
        Ok(buffer)
    }
}

/// A window over the package for reads that mostly go forward: headers of neighbours come with one read.
pub(super) struct Window<'a> {
    source: Source<'a>,
    buffer: Vec<u8>,
    start: u64,
}

/// What is read at once where reads lie close together.
const NEAR: usize = 64 * 1024;
/// What is read at once after a jump.
const FAR: usize = 512;

impl<'a> Window<'a> {
    pub(super) fn new(source: Source<'a>) -> Self {
        Self {
            source,
            buffer: Vec::with_capacity(NEAR),
            start: 0,
        }
    }

    /// The `len` bytes from `offset` on, or `None` where the package ends before.
    pub(super) fn get(&mut self, offset: u64, len: usize) -> Result<Option<&[u8]>, UnpackError> {
        let end = self.start + self.buffer.len() as u64;
        if offset < self.start || offset.saturating_add(len as u64) > end {
            let room = self.source.size().saturating_sub(offset);
            if room < len as u64 {
                return Ok(None);
            }
            let near = offset >= self.start && offset.saturating_sub(end) < NEAR as u64;
            let most = len.max(if near { NEAR } else { FAR });
            let size = usize::try_from(room).map_or(most, |room| room.min(most));
            self.buffer.resize(size, 0);
            self.start = offset;
            self.source.read(offset, &mut self.buffer)?;
        }
        let from = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        Ok(self.buffer.get(from..from + len))
    }
}

/// The little-endian number of two bytes at `at`; 0 beyond the end.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes
        .get(at..at + 2)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u16::from_le_bytes)
}

/// The little-endian number of four bytes at `at`; 0 beyond the end.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u32::from_le_bytes)
}

/// The little-endian number of eight bytes at `at`; 0 beyond the end.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes
        .get(at..at + 8)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unpack::tests::package;

    #[test]
    fn a_window_gives_what_is_there_in_any_order() {
        let data: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8).collect();
        let package = package(&data);
        let mut window = Window::new(Source::new(&package));
        for (offset, len) in [
            (0, 30),
            (10, 40),
            (65_530, 30),
            (299_999, 1),
            (5, 200_000),
            (250_000, 9),
            (0, 1),
        ] {
            let want = &data[offset..offset + len];
            assert_eq!(window.get(offset as u64, len).unwrap(), Some(want));
        }
        assert_eq!(window.get(299_999, 2).unwrap(), None);
        assert_eq!(window.get(u64::MAX, 1).unwrap(), None);
    }

    #[test]
    fn a_read_beyond_the_end_names_the_place() {
        let package = package(b"abc");
        let error = Source::new(&package).bytes(1, 9).unwrap_err();
        assert_eq!(error.to_string(), "the package cannot be read at byte 3");
    }
}
