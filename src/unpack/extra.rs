//! Extra fields (APPNOTE.TXT 4.5): zip64 sizes, UTC times, Unicode paths.

use super::source::{u16_at, u32_at, u64_at};

/// 4.5.3
pub(super) const ZIP64: u16 = 0x0001;
/// NTFS times (4.5.5): units of 100 ns since 1601, UTC.
const NTFS: u16 = 0x000a;
/// Info-ZIP's "UT": seconds since 1970, UTC (4.6.1 names it; Info-ZIP's extrafld.txt describes it).
const EXTENDED_TIME: u16 = 0x5455;
/// Info-ZIP's older "UX": access and modification time, UTC.
const OLD_UNIX: u16 = 0x5855;
/// 4.6.9
const UNICODE_PATH: u16 = 0x7075;

/// Seconds from 1601 to 1970.
const NTFS_EPOCH: i64 = 11_644_473_600;

/// An extra field whose stated length goes beyond its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Overrun {
    pub(super) id: u16,
    pub(super) size: usize,
    pub(super) room: usize,
}

/// The fields of one header: identifier and data. Fewer than four bytes at the end are padding, as packers
/// that align entries write it.
pub(super) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn new(extra: &'a [u8]) -> Self {
        Self(extra)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u16, &'a [u8]), Overrun>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.len() < 4 {
            return None;
        }
        let (id, size) = (u16_at(self.0, 0), usize::from(u16_at(self.0, 2)));
        let room = self.0.len() - 4;
        if size > room {
            self.0 = &[];
            return Some(Err(Overrun { id, size, room }));
        }
        let data = &self.0[4..4 + size];
        self.0 = &self.0[4 + size..];
        Some(Ok((id, data)))
    }
}

/// A point in time: seconds since 1970 and nanoseconds, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Time {
    pub(super) seconds: i64,
    pub(super) nanoseconds: u32,
}

/// The modification time, where a field gives it in UTC. The time in the header proper has no zone
/// and is not used.
pub(super) fn modified(extra: &[u8]) -> Option<Time> {
    let mut found = None;
    for (id, data) in Fields::new(extra).flatten() {
        match id {
            // One flag bit a time; the modification time comes first.
            EXTENDED_TIME if data.len() >= 5 && data[0] & 1 != 0 => {
                return Some(seconds(u32_at(data, 1)));
            }
            OLD_UNIX if data.len() >= 8 => {
                found = Some(seconds(u32_at(data, 4)));
            }
            NTFS if found.is_none() => found = ntfs(data),
            _ => {}
        }
    }
    found
}

fn seconds(value: u32) -> Time {
    Time {
        seconds: value.cast_signed().into(),
        nanoseconds: 0,
    }
}

/// Tag 1 within the NTFS field: three times, the first is the modification's. 0 means that it is not known.
fn ntfs(data: &[u8]) -> Option<Time> {
    let (_, data) = Fields::new(data.get(4..)?)
        .flatten()
        .find(|(tag, data)| *tag == 1 && data.len() >= 24)?;
    let ticks = u64_at(data, 0);
    if ticks == 0 {
        return None;
    }
    Some(Time {
        seconds: i64::try_from(ticks / 10_000_000).ok()? - NTFS_EPOCH,
        nanoseconds: u32::try_from(ticks % 10_000_000).ok()? * 100,
    })
}

/// The name in a Unicode Path field that was written for the header's `name` (its CRC-32 says so); a stale
/// field, left by a program that renamed the entry, counts for nothing.
pub(super) fn unicode_path<'a>(extra: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    Fields::new(extra)
        .flatten()
        .find(|(id, data)| {
            *id == UNICODE_PATH
                && data.len() >= 5
                && data[0] == 1
                && u32_at(data, 1) == libdeflater::crc32(name)
        })
        .map(|(_, data)| &data[5..])
}

/// What a header of 32 bits says where the zip64 field says it.
const FULL: u64 = u32::MAX as u64;

/// The values of a header that has a zip64 field, in the field's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wide {
    pub(super) size: u64,
    pub(super) compressed: u64,
    /// The local header's offset; a local header has none.
    pub(super) offset: Option<u64>,
    /// The number of the part of a split archive; a local header has none.
    pub(super) disk: Option<u32>,
}

impl Wide {
    /// Puts the field's values in the place of those that are full in the header (4.5.3). Values that the
    /// field has beside those must be the header's own, since some readers take them all. Gives `None`
    /// where the field does not fit.
    pub(super) fn widen(self, field: &[u8]) -> Option<Self> {
        let full = [
            self.size == FULL,
            self.compressed == FULL,
            self.offset == Some(FULL),
        ];
        let full_disk = self.disk == Some(0xffff);
        let exact = full.iter().filter(|f| **f).count() * 8 + usize::from(full_disk) * 4;
        let mut wide = self;
        if field.len() == exact {
            let mut at = 0;
            let mut take = || {
                at += 8;
                u64_at(field, at - 8)
            };
            if full[0] {
                wide.size = take();
            }
            if full[1] {
                wide.compressed = take();
            }
            if full[2] {
                wide.offset = Some(take());
            }
            if full_disk {
                wide.disk = Some(u32_at(field, exact - 4));
            }
            return Some(wide);
        }
        // All values, or the first two, or three, whether the header is full there or not.
        let values = match field.len() {
            16 => 2,
            24 | 28 => 3,
            _ => return None,
        };
        for (n, full) in full.into_iter().enumerate().take(values) {
            let value = u64_at(field, n * 8);
            let own = match n {
                0 => &mut wide.size,
                1 => &mut wide.compressed,
                _ => match &mut wide.offset {
                    Some(offset) => offset,
                    // Some packers give the local header a copy of the central directory's field.
                    None => break,
                },
            };
            if full {
                *own = value;
            } else if *own != value {
                return None;
            }
        }
        if full[2] && values < 3 {
            return None;
        }
        if let Some(disk) = &mut wide.disk {
            match field.len() {
                28 if full_disk || *disk == u32_at(field, 24) => *disk = u32_at(field, 24),
                28 => return None,
                _ if full_disk => return None,
                _ => {}
            }
        }
        Some(wide)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(id: u16, data: &[u8]) -> Vec<u8> {
        let size = u16::try_from(data.len()).unwrap();
        [&id.to_le_bytes()[..], &size.to_le_bytes(), data].concat()
    }

    #[test]
    fn fields_end_with_padding_or_an_overrun() {
        let extra = [field(7, b"ab"), vec![0; 3]].concat();
        let fields: Vec<_> = Fields::new(&extra).collect();
        assert_eq!(fields, [Ok((7, &b"ab"[..]))]);
        let overrun = Overrun {
            id: 7,
            size: 2,
            room: 1,
        };
        let fields: Vec<_> = Fields::new(&extra[..5]).collect();
        assert_eq!(fields, [Err(overrun)]);
    }

    #[test]
    fn a_utc_time_is_found_in_any_of_three_fields() {
        let time = |seconds, nanoseconds| {
            Some(Time {
                seconds,
                nanoseconds,
            })
        };
        let ut = field(0x5455, &[1, 0x80, 0x51, 1, 0]);
        assert_eq!(modified(&ut), time(86_400, 0));
        let before_1970 = field(0x5455, &[3, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(modified(&before_1970), time(-1, 0));
        let no_modification = field(0x5455, &[2, 0x80, 0x51, 1, 0]);
        assert_eq!(modified(&no_modification), None);
        let ux = field(0x5855, &[9, 9, 9, 9, 0x80, 0x51, 1, 0]);
        assert_eq!(modified(&ux), time(86_400, 0));
        let ticks = (11_644_473_600u64 + 86_400) * 10_000_000 + 15;
        let times = [&ticks.to_le_bytes()[..], &[0; 16]].concat();
        let ntfs = field(0x000a, &[&[0; 4][..], &field(1, &times)].concat());
        assert_eq!(modified(&ntfs), time(86_400, 1500));
        assert_eq!(
            modified(&[ntfs.clone(), ut.clone()].concat()),
            time(86_400, 0)
        );
        let unknown = field(0x000a, &[&[0; 4][..], &field(1, &[0; 24])].concat());
        assert_eq!(modified(&unknown), None);
        assert_eq!(modified(&[]), None);
    }

    #[test]
    fn a_unicode_path_counts_only_for_the_name_it_was_written_for() {
        let crc = libdeflater::crc32(b"old").to_le_bytes();
        let extra = field(0x7075, &[&[1][..], &crc, b"new"].concat());
        assert_eq!(unicode_path(&extra, b"old"), Some(&b"new"[..]));
        assert_eq!(unicode_path(&extra, b"other"), None);
    }

    #[test]
    fn zip64_values_replace_full_ones_and_contradict_none() {
        let header = |size: u64, compressed: u64, offset: u64| Wide {
            size,
            compressed,
            offset: Some(offset),
            disk: Some(0),
        };
        let full = u64::from(u32::MAX);
        let data = |values: &[u64]| {
            values
                .iter()
                .flat_map(|v| v.to_le_bytes())
                .collect::<Vec<u8>>()
        };
        let cases = [
            (
                header(full, full, full),
                vec![1, 2, 3],
                Some(header(1, 2, 3)),
            ),
            (header(full, 2, 3), vec![1], Some(header(1, 2, 3))),
            (header(1, 2, full), vec![3], Some(header(1, 2, 3))),
            (header(1, 2, full), vec![1, 2, 3], Some(header(1, 2, 3))),
            (header(1, 2, 3), vec![1, 2, 3], Some(header(1, 2, 3))),
            (header(1, 2, 3), vec![1, 2], Some(header(1, 2, 3))),
            (header(1, 2, 3), vec![], Some(header(1, 2, 3))),
            (header(1, 2, 3), vec![1, 9, 3], None),
            (header(1, 2, 3), vec![9], None),
            (header(full, full, full), vec![1, 2], None),
            (header(full, full, 3), vec![1], None),
        ];
        for (header, values, want) in cases {
            assert_eq!(header.widen(&data(&values)), want, "{header:?} {values:?}");
        }
        let local = Wide {
            size: full,
            compressed: full,
            offset: None,
            disk: None,
        };
        let want = Wide {
            size: 1,
            compressed: 2,
            ..local
        };
        assert_eq!(local.widen(&data(&[1, 2])), Some(want));
        assert_eq!(local.widen(&data(&[1, 2, 3])), Some(want));
        assert_eq!(local.widen(&data(&[1])), None);
    }
}
