//! Contents: from compressed bytes in the package to bytes that are what the central directory says.
//!
//! Two ways that must agree. Most entries fit into a buffer and are inflated at once, which is twice as fast;
//! the others go through in pieces. Both count real bytes and compute the real CRC-32, and both want the compressed data to
//! end exactly where they should.

use libdeflater::{DecompressionError, Decompressor};

use super::error::UnpackError;
use super::local::STORED;
use super::names::Shown;
use super::plan::Data;
use super::source::Source;

/// The largest content, in bytes, that is inflated at once.
pub(super) const WHOLE: u64 = 4 << 20;

/// How many bytes go through at once otherwise. Callers look at their cancel flag as often.
pub(super) const PIECE: usize = 256 * 1024;

/// What a caller leaves free before and behind the compressed data for [`Inflater::whole`].
pub(super) const BEFORE: usize = 10;
pub(super) const BEHIND: usize = 8;

/// Buffers and state that are used for one content after another.
pub(super) struct Inflater {
    whole: Decompressor,
    input: Vec<u8>,
    output: Vec<u8>,
}

/// How the name of an entry is had when an error needs it.
pub(super) type Name<'a> = &'a dyn Fn() -> Shown;

impl Inflater {
    pub(super) fn new() -> Self {
        Self {
            whole: Decompressor::new(),
            input: Vec::new(),
            output: Vec::new(),
        }
    }

    /// Whether a content is to be inflated at once.
    pub(super) fn fits(data: &Data) -> bool {
        // Deflate grows by five bytes a block at the worst; what has grown more is odd, and goes in pieces.
        data.size <= WHOLE && data.compressed <= data.size + data.size / 1024 + 64
    }

    /// The content of an entry whose compressed data stand in `buffer`, with [`BEFORE`] bytes before them and
    /// [`BEHIND`] bytes behind them that may be overwritten (and are put back).
    ///
    /// Gives `None` when something is wrong: then [`Inflater::stream`] says what.
    pub(super) fn whole<'b>(&'b mut self, data: &Data, buffer: &'b mut [u8]) -> Option<&'b [u8]> {
        let end = buffer.len() - BEHIND;
        let size = usize::try_from(data.size).ok()?;
        if data.method == STORED {
            let content = &buffer[BEFORE..end];
            return (content.len() == size && libdeflater::crc32(content) == data.crc)
                .then_some(content);
        }
        if size == 0 && data.compressed == 0 {
            return (data.crc == 0).then_some(&[]);
        }
        // libdeflate does not tell how much it has read. But a gzip member (RFC 1952) has CRC and size right behind
        // the compressed data: put there, they are found only if the data end where they should.
        let mut trailer = [0; BEHIND];
        trailer[..4].copy_from_slice(&data.crc.to_le_bytes());
        trailer[4..].copy_from_slice(&u32::try_from(size).ok()?.to_le_bytes());
        // Unless somebody put the same eight bytes there before: a chance of one in 2^64, or malice.
        if memchr::memmem::find(&buffer[BEFORE..end], &trailer).is_some() {
            return None;
        }
        let kept: [u8; BEHIND] = buffer[end..].try_into().ok()?;
        buffer[..BEFORE].copy_from_slice(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]);
        buffer[end..].copy_from_slice(&trailer);
        if self.output.len() < size {
            self.output.resize(size, 0);
        }
        let result = self.whole.gzip_decompress(buffer, &mut self.output[..size]);
        buffer[end..].copy_from_slice(&kept);
        match result {
            Ok(n) if n == size => Some(&self.output[..size]),
            Ok(_) | Err(DecompressionError::BadData | DecompressionError::InsufficientSpace) => {
                None
            }
        }
    }

    /// Passes the content of an entry to `sink` in pieces of at most [`PIECE`] bytes, reading the package as it goes.
    /// `sink` never gets more than the stated size.
    pub(super) fn stream(
        &mut self,
        source: Source<'_>,
        data: &Data,
        name: Name<'_>,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), UnpackError>,
    ) -> Result<(), UnpackError> {
        let mut crc = libdeflater::Crc::new();
        let mut sink = |piece: &[u8]| {
            crc.update(piece);
            sink(piece)
        };
        if data.method == STORED {
            self.stored(source, data, &mut sink)?;
        } else if data.size > 0 || data.compressed > 0 {
            self.deflated(source, data, name, &mut sink)?;
        }
        if crc.sum() == data.crc {
            return Ok(());
        }
        Err(UnpackError::Crc {
            entry: name(),
            offset: data.header,
            stated: data.crc,
            actual: crc.sum(),
        })
    }

    fn stored(
        &mut self,
        source: Source<'_>,
        data: &Data,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), UnpackError>,
    ) -> Result<(), UnpackError> {
        let mut done = 0;
        while done < data.size {
            let piece = piece(data.size - done);
            grow(&mut self.input, piece);
            source.read(data.start + done, &mut self.input[..piece])?;
            sink(&self.input[..piece])?;
            done += piece as u64;
        }
        Ok(())
    }

    fn deflated(
        &mut self,
        source: Source<'_>,
        data: &Data,
        name: Name<'_>,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), UnpackError>,
    ) -> Result<(), UnpackError> {
        // What was made last stays before what is made next: references go back so far.
        let room = HISTORY + piece(data.size.saturating_add(1));
        grow(&mut self.output, room);
        let output = &mut self.output[..room];
        let mut stream = Stream::new();
        let (mut read, mut made, mut from) = (0, 0, 0);
        let broken = |made| UnpackError::BrokenData {
            entry: name(),
            offset: data.header,
            made,
            stated: data.size,
        };
        let left_over = || UnpackError::LeftOver {
            entry: name(),
            offset: data.header,
            stated: data.compressed,
        };
        while read < data.compressed {
            let len = piece(data.compressed - read);
            grow(&mut self.input, len);
            source.read(data.start + read, &mut self.input[..len])?;
            read += len as u64;
            let mut input = &self.input[..len];
            loop {
                let n = stream
                    .read(&mut input, output, from)
                    .ok_or_else(|| broken(made))?;
                made += n as u64;
                if made > data.size {
                    return Err(UnpackError::MoreData {
                        entry: name(),
                        offset: data.header,
                        stated: data.size,
                    });
                }
                if n > 0 {
                    sink(&output[from..from + n])?;
                }
                from += n;
                if from == room {
                    output.copy_within(room - HISTORY.., 0);
                    from = HISTORY;
                } else if input.is_empty() {
                    break;
                } else if stream.0.is_done() {
                    return Err(left_over());
                } else if n == 0 {
                    // It takes input until there is none or its output is full; this is for safety.
                    return Err(broken(made));
                }
            }
        }
        match stream.end(output, from) {
            StreamEnd::Here if made == data.size => Ok(()),
            StreamEnd::Here => Err(UnpackError::LessData {
                entry: name(),
                offset: data.header,
                stated: data.size,
                actual: made,
            }),
            StreamEnd::Before => Err(left_over()),
            StreamEnd::NotYet => Err(broken(made)),
        }
    }
}

/// How far back a reference can go (RFC 1951 section 2).
const HISTORY: usize = 32 * 1024;

/// A raw deflate stream, through a reader that knows only zlib's (RFC 1950): two bytes before it, a checksum of four
/// behind it.
struct Stream(fdeflate::Decompressor);

/// Where the stream ends.
enum StreamEnd {
    Here,
    Before,
    NotYet,
}

impl Stream {
    fn new() -> Self {
        let mut stream = fdeflate::Decompressor::new();
        // The CRC-32 is compared instead.
        stream.ignore_adler32();
        let mut stream = Self(stream);
        // Method 8 with a window of 32 KiB, no dictionary: there is nothing in it to fail at.
        let _ = stream.read(&mut &[0x78, 0x01][..], &mut [], 0);
        stream
    }

    /// Takes from `input`, and gives how much was put into `output` from `at` on. None when the stream is broken.
    fn read(&mut self, input: &mut &[u8], output: &mut [u8], at: usize) -> Option<usize> {
        let (used, made) = self.0.read(input, output, at, false).ok()?;
        *input = &input[used..];
        Some(made)
    }

    /// Whether the stream ended with the last byte that it was given: then, and only then, it is done after
    /// just the four bytes that it takes for the checksum.
    fn end(&mut self, output: &mut [u8], at: usize) -> StreamEnd {
        for _ in 0..4 {
            if self.0.is_done() {
                return StreamEnd::Before;
            }
            if self.read(&mut &[0][..], output, at) != Some(0) {
                return StreamEnd::NotYet;
            }
        }
        if self.0.is_done() {
            StreamEnd::Here
        } else {
            StreamEnd::NotYet
        }
    }
}

fn piece(bytes: u64) -> usize {
    usize::try_from(bytes).map_or(PIECE, |bytes| bytes.min(PIECE))
}

fn grow(buffer: &mut Vec<u8>, len: usize) {
    if buffer.len() < len {
        buffer.resize(len, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::write::DeflateEncoder;
    use flate2::{Compression, Decompress, FlushDecompress, Status};
    use proptest::prelude::*;

    use super::*;
    use crate::unpack::tests::package;

    /// What a third reader makes of a stream: content, if it ends just where the bytes do.
    fn reference(deflated: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(4 << 20);
        let mut reader = Decompress::new(false);
        let status = reader
            .decompress_vec(deflated, &mut out, FlushDecompress::Finish)
            .ok()?;
        let all = reader.total_in() == deflated.len() as u64;
        (status == Status::StreamEnd && all).then_some(out)
    }

    fn both_ways(deflated: &[u8], size: usize, crc: u32) -> [Option<Vec<u8>>; 2] {
        let mut buffer = [&[7; BEFORE][..], deflated, &[9; BEHIND]].concat();
        let data = Data {
            header: 0,
            start: BEFORE as u64,
            compressed: deflated.len() as u64,
            size: size as u64,
            crc,
            method: 8,
        };
        let package = package(&buffer);
        let mut inflater = Inflater::new();
        let whole = inflater.whole(&data, &mut buffer).map(<[u8]>::to_vec);
        assert_eq!(&buffer[BEFORE..], [deflated, &[9; BEHIND]].concat());
        let mut streamed = Vec::new();
        let result = inflater.stream(
            Source::new(&package),
            &data,
            &|| Shown::from(&b""[..]),
            &mut |piece| {
                streamed.extend_from_slice(piece);
                Ok(())
            },
        );
        assert!(streamed.len() <= size);
        [whole, result.is_ok().then_some(streamed)]
    }

    /// Text that compresses, with references far back.
    fn content() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop::collection::vec(any::<u8>(), 1..300);
        (
            prop::collection::vec(piece, 1..4),
            prop::collection::vec((0..4_usize, 1..400_usize), 0..60),
        )
            .prop_map(|(pieces, uses)| {
                uses.iter()
                    .flat_map(|&(n, times)| pieces[n % pieces.len()].repeat(times))
                    .take(1 << 20)
                    .collect()
            })
    }

    fn deflate(content: &[u8], level: u32) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(level));
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

        #[test]
        fn both_ways_give_the_content(content in content(), level in 0..10_u32) {
            let crc = libdeflater::crc32(&content);
            let deflated = deflate(&content, level);
            for got in both_ways(&deflated, content.len(), crc) {
                prop_assert!(got.as_ref() == Some(&content));
            }
        }

        /// Changed, cut or lengthened streams are right in both ways or in none, and as a third reader has it.
        #[test]
        fn broken_streams_are_broken_in_both_ways(
            content in prop::collection::vec(0..4_u8, 0..400),
            level in 0..10_u32,
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
            tail in prop::collection::vec(any::<u8>(), 0..12),
            cut in 0..4_usize,
        ) {
            let mut deflated = deflate(&content, level);
            deflated.truncate(deflated.len() - cut.min(deflated.len()));
            deflated.extend_from_slice(&tail);
            for (at, byte) in changes {
                if !deflated.is_empty() {
                    let at = at.index(deflated.len());
                    deflated[at] = byte;
                }
            }
            let want = reference(&deflated).filter(|_| !deflated.is_empty());
            let (size, crc) = want.as_ref().map_or((content.len(), 1), |c| (c.len(), libdeflater::crc32(c)));
            let [whole, streamed] = both_ways(&deflated, size, crc);
            prop_assert_eq!(&streamed, &want);
            // What the quick way refuses is given to the other one.
            prop_assert!(whole.is_none() || whole == want);
        }
    }

    #[test]
    fn the_end_is_found_to_the_byte() {
        let content = b"some content, some content, some content".repeat(50);
        let crc = libdeflater::crc32(&content);
        let deflated = deflate(&content, 6);
        for extra in 1..40 {
            for fill in [0, 0xff] {
                let longer = [&deflated[..], &vec![fill; extra]].concat();
                assert_eq!(
                    both_ways(&longer, content.len(), crc),
                    [None, None],
                    "{extra}"
                );
            }
        }
        for cut in 1..20 {
            let shorter = &deflated[..deflated.len() - cut];
            assert_eq!(
                both_ways(shorter, content.len(), crc),
                [None, None],
                "{cut}"
            );
        }
    }
}
