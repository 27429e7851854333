//! `bagit.txt`: which version, and how the tag files are encoded (RFC 8493 section 2.1.1).

use std::io;

use crate::record::BAGIT_TXT;

use super::super::{FindingKind, Job};

const MAX_DECLARATION: u64 = 4096;
/// The versions that are known.
const VERSIONS: [(u32, u32); 6] = [(0, 93), (0, 94), (0, 95), (0, 96), (0, 97), (1, 0)];

/// What a bag says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Declaration {
    pub(super) version: (u32, u32),
    pub(super) encoding: Encoding,
}

/// How tag files are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Utf8,
    Latin1,
    /// By its byte order mark, or big-endian without one.
    Utf16,
}

impl Encoding {
    fn of_name(name: &str) -> Option<Self> {
        Some(match name.to_ascii_uppercase().as_str() {
            "UTF-8" | "UTF8" | "US-ASCII" | "ASCII" => Self::Utf8,
            "ISO-8859-1" | "LATIN1" | "LATIN-1" => Self::Latin1,
            "UTF-16" | "UTF16" => Self::Utf16,
            _ => return None,
        })
    }

    /// The text of a tag file.
    ///
    /// # Errors
    /// It is not of the encoding ([`io::ErrorKind::InvalidData`]).
    pub(super) fn decode(self, bytes: &[u8]) -> io::Result<String> {
        let wrong = || io::Error::new(io::ErrorKind::InvalidData, format!("it is not {self:?}"));
        match self {
            Self::Utf8 => {
                let text = std::str::from_utf8(bytes).map_err(|_| wrong())?;
                Ok(text.strip_prefix('\u{feff}').unwrap_or(text).to_owned())
            }
            Self::Latin1 => Ok(bytes.iter().map(|byte| char::from(*byte)).collect()),
            Self::Utf16 => {
                let (little, bytes) = match bytes {
                    [0xff, 0xfe, rest @ ..] => (true, rest),
                    [0xfe, 0xff, rest @ ..] | rest => (false, rest),
                };
                let pairs = bytes.chunks_exact(2);
                if !pairs.remainder().is_empty() {
                    return Err(wrong());
                }
                let units = pairs.map(|pair| {
                    let pair = [pair[0], pair[1]];
                    if little {
                        u16::from_le_bytes(pair)
                    } else {
                        u16::from_be_bytes(pair)
                    }
                });
                char::decode_utf16(units)
                    .collect::<Result<String, _>>()
                    .map_err(|_| wrong())
            }
        }
    }
}

/// Reads `bagit.txt`. What is wrong with it is told; then the bag is taken for one of version 1.0 in UTF-8.
pub(super) fn read(job: &Job<'_>) -> Declaration {
    let fallback = Declaration {
        version: (1, 0),
        encoding: Encoding::Utf8,
    };
    let bytes = match job.below.small(BAGIT_TXT.as_bytes(), MAX_DECLARATION) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let message = "is not there, so this is no bag by its own word";
            job.find(FindingKind::Missing, BAGIT_TXT, message);
            return fallback;
        }
        Err(e) => {
            job.find(
                FindingKind::Unreadable,
                BAGIT_TXT,
                format!("cannot be read: {e}"),
            );
            return fallback;
        }
    };
    match parse(&bytes) {
        Ok(declaration) => declaration,
        Err((kind, message)) => {
            job.find(kind, BAGIT_TXT, message);
            fallback
        }
    }
}

fn parse(bytes: &[u8]) -> Result<Declaration, (FindingKind, String)> {
    let malformed = |why: &str| (FindingKind::Malformed, why.to_owned());
    let text = std::str::from_utf8(bytes).map_err(|_| malformed("is no UTF-8"))?;
    if text.starts_with('\u{feff}') {
        return Err(malformed("begins with a byte order mark"));
    }
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let lines: Vec<&str> = text.trim_end_matches('\n').split('\n').collect();
    let [version, encoding] = lines[..] else {
        return Err(malformed("has not just two lines"));
    };
    let value = |line: &str, label: &str| -> Option<String> {
        let value = line.strip_prefix(label)?.strip_prefix(':')?;
        let bare = value.trim_matches([' ', '\t']);
        (value.starts_with([' ', '\t']) && !bare.is_empty()).then(|| bare.to_owned())
    };
    let version = value(version, "BagIt-Version")
        .ok_or_else(|| malformed("its first line is not BagIt-Version: M.N"))?;
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let numbers = version
        .split_once('.')
        .filter(|(major, minor)| digits(major) && digits(minor))
        .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)))
        .ok_or_else(|| malformed("its version is not of the form M.N"))?;
    if !VERSIONS.contains(&numbers) {
        let version: String = version.chars().take(20).collect();
        let message =
            format!("is of BagIt {version}, which is not known; 0.93 to 0.97 and 1.0 are");
        return Err((FindingKind::Unsupported, message));
    }
    let name = value(encoding, "Tag-File-Character-Encoding")
        .ok_or_else(|| malformed("its second line is not Tag-File-Character-Encoding: NAME"))?;
    let encoding = Encoding::of_name(&name).ok_or_else(|| {
        let name: String = name.chars().take(40).collect();
        let message = format!("names the encoding {name:?}, which is not supported");
        (FindingKind::Unsupported, message)
    })?;
    Ok(Declaration {
        version: numbers,
        encoding,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declarations_are_read_to_the_letter() {
        for (text, want) in [
            (
                "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n",
                Some((1, 0)),
            ),
            (
                "BagIt-Version: 0.97\r\nTag-File-Character-Encoding: UTF-8",
                Some((0, 97)),
            ),
            (
                "BagIt-Version: 0.96\rTag-File-Character-Encoding: utf-8\r",
                Some((0, 96)),
            ),
            (
                "BagIt-Version : 1.0\nTag-File-Character-Encoding: UTF-8\n",
                None,
            ),
            (
                "BagIt-Version:1.0\nTag-File-Character-Encoding: UTF-8\n",
                None,
            ),
            (
                " BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n",
                None,
            ),
            (
                "BagIt-version: 1.0\nTag-File-Character-Encoding: UTF-8\n",
                None,
            ),
            ("BagIt-Version: 1.0\n", None),
            (
                "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\nMore: x\n",
                None,
            ),
            (
                "Tag-File-Character-Encoding: UTF-8\nBagIt-Version: 1.0\n",
                None,
            ),
            (
                "BagIt-Version: 2.0\nTag-File-Character-Encoding: UTF-8\n",
                None,
            ),
            (
                "BagIt-Version: 1\nTag-File-Character-Encoding: UTF-8\n",
                None,
            ),
            (
                "BagIt-Version: +1.0\nTag-File-Character-Encoding: UTF-8\n",
                None,
            ),
            (
                "BagIt-Version: 1.0\nTag-File-Character-Encoding: EBCDIC\n",
                None,
            ),
            (
                "\u{feff}BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n",
                None,
            ),
            ("", None),
        ] {
            let got = parse(text.as_bytes()).ok().map(|d| d.version);
            assert_eq!(got, want, "{text:?}");
        }
        assert!(parse(b"\xff").is_err());
    }

    #[test]
    fn encodings_are_decoded() {
        for (name, bytes, want) in [
            ("UTF-8", &b"\xef\xbb\xbfa\xc3\xa9"[..], Some("aé")),
            ("UTF-8", b"\xff", None),
            ("ISO-8859-1", b"a\xe9", Some("aé")),
            ("UTF-16", b"\xff\xfea\0\xe9\0", Some("aé")),
            ("UTF-16", b"\xfe\xff\0a\0\xe9", Some("aé")),
            ("UTF-16", b"\0a\0\xe9", Some("aé")),
            ("UTF-16", b"\0a\0", None),
            ("UTF-16", b"\xd8\0", None),
        ] {
            let got = Encoding::of_name(name).unwrap().decode(bytes).ok();
            assert_eq!(got.as_deref(), want, "{name} {bytes:?}");
        }
    }
}
