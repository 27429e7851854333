//! BagIt manifests (RFC 8493 sections 2.1.3 and 2.2.1): lines of a checksum and a path.
//!
//! In a path, LF, CR and `%` are percent-encoded and nothing else is. Reading decodes `%0A`, `%0D` and `%25`, in either
//! case of the digits; any other `%` stands for itself, as older tools wrote it.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::io::{self, BufRead, Read};

/// The longest line that is read, in bytes: a path of Linux's length with each byte encoded, and a checksum.
const MAX_LINE: usize = 16 * 1024;
/// The most bytes that the manifests of one bag may have together. What is read of them takes less memory than they have
/// bytes: a digest is half of its hex, and an entry 13 bytes.
pub const MAX_MANIFEST: u64 = 64 << 20;
/// The most entries that one manifest may have.
pub const MAX_ENTRIES: usize = 500_000;
/// The most defects that are told of one manifest, each by itself.
const MAX_DEFECTS: usize = 100;

/// A checksum algorithm, by the name that manifests' file names give it (RFC 8493 section 2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// `md5`: broken.
    Md5,
    /// `sha1`: broken.
    Sha1,
    /// `sha224`.
    Sha224,
    /// `sha256`: what larder writes.
    Sha256,
    /// `sha384`.
    Sha384,
    /// `sha512`.
    Sha512,
}

impl Algorithm {
    /// Every algorithm that can be checked, the weakest first.
    pub const ALL: [Self; 6] = [
        Self::Md5,
        Self::Sha1,
        Self::Sha224,
        Self::Sha256,
        Self::Sha384,
        Self::Sha512,
    ];

    /// The name in file names: lower case, without a dash.
    pub fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha224 => "sha224",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// The algorithm of this name, in either case.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    /// Whether two contents with one checksum can be made by whoever wants to.
    pub fn is_broken(self) -> bool {
        matches!(self, Self::Md5 | Self::Sha1)
    }

    /// The checksum's length in bytes.
    pub fn digest_len(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha224 => 28,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which files a manifest lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `manifest-ALGORITHM.txt`: the payload, every path below `data/`.
    Payload,
    /// `tagmanifest-ALGORITHM.txt`: the other files, but for tag manifests.
    Tag,
}

impl Kind {
    /// What a file name at a bag's top says: a manifest's kind and the name of its algorithm.
    pub fn of_file_name(name: &str) -> Option<(Self, &str)> {
        let name = name.strip_suffix(".txt")?;
        if let Some(algorithm) = name.strip_prefix("tagmanifest-") {
            Some((Self::Tag, algorithm))
        } else {
            Some((Self::Payload, name.strip_prefix("manifest-")?))
        }
    }
}

/// The path as a manifest has it: LF, CR and `%` are encoded.
pub fn encode_path(path: &str) -> Cow<'_, str> {
    if !path.contains(['\n', '\r', '%']) {
        return Cow::Borrowed(path);
    }
    Cow::Owned(
        path.replace('%', "%25")
            .replace('\n', "%0A")
            .replace('\r', "%0D"),
    )
}

/// Which codes in a manifest's path stand for another character.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Escapes {
    /// `%0A`, `%0D`, `%25` (RFC 8493 section 2.1.3).
    #[default]
    Rfc,
    /// `%0A` and `%0D`: bagit.py, up to 1.9 at the least, writes a `%` as it is, and reads `%25` as three characters.
    BagitPy,
}

/// The path that a manifest's text stands for.
pub fn decode_path(text: &str, escapes: Escapes) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let decoded = match rest.get(1..3) {
            Some("25") if escapes == Escapes::Rfc => Some('%'),
            Some(code) if code.eq_ignore_ascii_case("0a") => Some('\n'),
            Some(code) if code.eq_ignore_ascii_case("0d") => Some('\r'),
            _ => None,
        };
        out.push(decoded.unwrap_or('%'));
        rest = &rest[if decoded.is_some() { 3 } else { 1 }..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// A manifest's line, with the line feed: the checksum in hex, two spaces, the encoded path.
pub fn line(checksum: &str, path: &str) -> String {
    format!("{checksum}  {}\n", encode_path(path))
}

/// A manifest of `(path, checksum in hex)`, in the order of the paths' bytes, so that the same files give the same bytes.
pub fn write<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut files: Vec<_> = files.into_iter().collect();
    files.sort_unstable();
    files
        .into_iter()
        .map(|(path, checksum)| line(checksum, path))
        .collect()
}

/// Why a line, or a manifest, is not what the RFC allows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Defect {
    /// Not a checksum, white space and a path.
    #[error("is no line of a checksum and a path")]
    Line,
    /// The checksum has another length than the algorithm's, or is no hex.
    #[error("the checksum is no {0} in hex")]
    Checksum(Algorithm),
    /// The path is absolute.
    #[error("the path is absolute")]
    Absolute,
    /// The path leads out of the bag, on this system or on another one.
    #[error("the path leads out of the bag")]
    Escape,
    /// The path begins with `~`, which a shell would take for a home directory.
    #[error("the path begins with '~'")]
    Home,
    /// The path has an empty component, or one that is `.`, within.
    #[error("the path has an empty or '.' component")]
    NotNormal,
    /// The path has a NUL.
    #[error("the path has a NUL")]
    Nul,
    /// A payload manifest names what is not payload.
    #[error("the path is not below data/")]
    NotPayload,
    /// A tag manifest names payload or a tag manifest.
    #[error("the path is payload or a tag manifest, which no tag manifest may list")]
    NotTag,
    /// The path stands in the manifest already.
    #[error("the path is listed twice")]
    Duplicate,
    /// A line is longer than any that is read.
    #[error("the line is longer than {MAX_LINE} bytes")]
    LongLine,
    /// More bytes or entries than are read.
    #[error("the manifest has more than {MAX_ENTRIES} entries, or more than {} MiB with the others of the bag", MAX_MANIFEST >> 20)]
    TooLarge,
    /// So many defects that the rest are left out.
    #[error("more than {MAX_DEFECTS} defects; the others are not told")]
    TooMany,
}

/// A defect and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The line, from 1.
    pub line: usize,
    /// The path as the line has it, if it has one.
    pub path: Option<String>,
    /// What is wrong.
    pub defect: Defect,
}

/// What was read of a manifest: its sound entries in the order of their paths, and what is wrong with the others.
#[derive(Debug, Default)]
pub struct Manifest {
    text: String,
    digests: Vec<u8>,
    digest_len: usize,
    /// In the order of their paths.
    entries: Vec<Entry>,
    /// What is wrong with the manifest.
    pub defects: Vec<Found>,
}

/// An entry: where its path is in the text, and which checksum is its own.
#[derive(Debug, Clone, Copy)]
struct Entry {
    start: u32,
    len: u32,
    digest: u32,
}

impl Manifest {
    /// Reads a manifest as the RFC has it. Memory is bounded by [`MAX_MANIFEST`] and [`MAX_ENTRIES`], whatever comes.
    ///
    /// # Errors
    /// The reader fails, or what comes is no UTF-8 ([`io::ErrorKind::InvalidData`]).
    pub fn read(reader: impl Read, algorithm: Algorithm, kind: Kind) -> io::Result<Self> {
        Self::read_within(reader, algorithm, kind, Escapes::Rfc, MAX_MANIFEST)
    }

    /// Reads a manifest of at most `limit` bytes.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub fn read_within(
        reader: impl Read,
        algorithm: Algorithm,
        kind: Kind,
        escapes: Escapes,
        limit: u64,
    ) -> io::Result<Self> {
        let mut out = Self {
            digest_len: algorithm.digest_len(),
            ..Self::default()
        };
        let mut reader = io::BufReader::new(reader.take(limit.saturating_add(1)));
        let mut line = Vec::new();
        let (mut number, mut read) = (0, 0);
        loop {
            line.clear();
            let taken = (&mut reader)
                .take(MAX_LINE as u64 + 1)
                .read_until(b'\n', &mut line)?;
            if taken == 0 {
                break;
            }
            number += 1;
            read += taken as u64;
            if read > limit || out.entries.len() >= MAX_ENTRIES {
                out.found(number, None, Defect::TooLarge);
                break;
            }
            if taken > MAX_LINE {
                out.found(number, None, Defect::LongLine);
                break;
            }
            let text = std::str::from_utf8(&line)
                .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
            // RFC 8493 section 2.1.3 has LF, CR or CRLF at a line's end; a byte order mark is none of the text.
            let text = text
                .strip_prefix('\u{feff}')
                .filter(|_| number == 1)
                .unwrap_or(text);
            for text in text
                .split(['\r', '\n'])
                .filter(|text| !text.trim().is_empty())
            {
                if let Err((path, defect)) = out.take(text, algorithm, kind, escapes) {
                    out.found(number, path, defect);
                }
            }
        }
        out.text.shrink_to_fit();
        out.digests.shrink_to_fit();
        out.sort();
        Ok(out)
    }

    fn found(&mut self, line: usize, path: Option<&str>, defect: Defect) {
        let told = self.defects.len();
        if told > MAX_DEFECTS {
            return;
        }
        let (path, defect) = if told == MAX_DEFECTS {
            (None, Defect::TooMany)
        } else {
            (path.map(ToOwned::to_owned), defect)
        };
        self.defects.push(Found { line, path, defect });
    }

    fn take<'a>(
        &mut self,
        line: &'a str,
        algorithm: Algorithm,
        kind: Kind,
        escapes: Escapes,
    ) -> Result<(), (Option<&'a str>, Defect)> {
        let Some((checksum, path)) = line.split_once([' ', '\t']) else {
            return Err((None, Defect::Line));
        };
        // Checksum tools put an asterisk before the name of what they read as binary.
        let path = path.trim_start_matches([' ', '\t']);
        let path = path.strip_prefix('*').unwrap_or(path);
        if path.is_empty() {
            return Err((None, Defect::Line));
        }
        let wrong = |defect| (Some(path), defect);
        let decoded = decode_path(path, escapes);
        let normal = check_path(&decoded, kind).map_err(wrong)?;
        let digest = hex(checksum)
            .filter(|digest| digest.len() == self.digest_len)
            .ok_or_else(|| wrong(Defect::Checksum(algorithm)))?;
        // Both are bounded by MAX_MANIFEST and MAX_ENTRIES.
        let at = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        self.entries.push(Entry {
            start: at(self.text.len()),
            len: at(normal.len()),
            digest: at(self.entries.len()),
        });
        self.text.push_str(normal);
        self.digests.extend_from_slice(&digest);
        Ok(())
    }

    /// Brings the entries into order, and leaves the first of those with one path.
    fn sort(&mut self) {
        let mut entries = std::mem::take(&mut self.entries);
        // Of those with one path the first stays; a stable sort would take half as much memory again.
        entries.sort_unstable_by(|a, b| {
            let paths = self.path_of(*a).cmp(self.path_of(*b));
            paths.then(a.digest.cmp(&b.digest))
        });
        let mut twice = Vec::new();
        entries.dedup_by(|later, earlier| {
            let same = self.path_of(*later) == self.path_of(*earlier);
            if same {
                twice.push(*later);
            }
            same
        });
        let names: Vec<String> = twice
            .into_iter()
            .take(MAX_DEFECTS + 1)
            .map(|entry| self.path_of(entry).to_owned())
            .collect();
        for name in names {
            self.found(0, Some(&name), Defect::Duplicate);
        }
        self.entries = entries;
    }

    fn path_of(&self, entry: Entry) -> &str {
        &self.text[entry.start as usize..][..entry.len as usize]
    }

    fn digest_of(&self, entry: Entry) -> &[u8] {
        &self.digests[entry.digest as usize * self.digest_len..][..self.digest_len]
    }

    /// How many sound entries there are, each path counted once.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no sound entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entry of this number, in the order of the paths' bytes: its decoded path and its checksum.
    pub fn get(&self, index: usize) -> Option<(&str, &[u8])> {
        let entry = *self.entries.get(index)?;
        Some((self.path_of(entry), self.digest_of(entry)))
    }

    /// The number of the entry with this path.
    pub fn find(&self, path: &str) -> Option<usize> {
        self.entries
            .binary_search_by(|entry| self.path_of(*entry).cmp(path))
            .ok()
    }

    /// All entries in the order of the paths' bytes: decoded path, checksum.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.entries
            .iter()
            .map(|entry| (self.path_of(*entry), self.digest_of(*entry)))
    }

    /// The names of all directories that entries lie in.
    pub fn directories(&self) -> HashSet<&str> {
        let mut out = HashSet::new();
        for (path, _) in self.iter() {
            let mut rest = path;
            while let Some((above, _)) = rest.rsplit_once('/') {
                if !out.insert(above) {
                    break;
                }
                rest = above;
            }
        }
        out
    }
}

/// The path without a leading `./`, if it stays below the bag and is of the manifest's kind.
fn check_path(path: &str, kind: Kind) -> Result<&str, Defect> {
    if path.contains('\0') {
        return Err(Defect::Nul);
    }
    let drive =
        path.len() >= 2 && path.as_bytes()[1] == b':' && path.as_bytes()[0].is_ascii_alphabetic();
    if path.starts_with(['/', '\\']) || drive {
        return Err(Defect::Absolute);
    }
    if path.starts_with('~') {
        return Err(Defect::Home);
    }
    // A backslash is an ordinary character here, and a separator where the bag may be taken next.
    if path.split(['/', '\\']).any(|component| component == "..") {
        return Err(Defect::Escape);
    }
    let mut normal = path;
    while let Some(rest) = normal.strip_prefix("./") {
        normal = rest;
    }
    if normal
        .split('/')
        .any(|component| matches!(component, "" | "."))
    {
        return Err(Defect::NotNormal);
    }
    let payload = normal.starts_with("data/");
    let tag_manifest = Kind::of_file_name(normal).is_some_and(|(kind, _)| kind == Kind::Tag);
    match kind {
        Kind::Payload if !payload => Err(Defect::NotPayload),
        Kind::Tag if payload || tag_manifest => Err(Defect::NotTag),
        _ => Ok(normal),
    }
}

/// The path that a manifest's, or `fetch.txt`'s, text stands for, if it stays below the bag and is of the kind.
pub(crate) fn sound_path(text: &str, kind: Kind) -> Result<String, Defect> {
    let decoded = decode_path(text, Escapes::Rfc);
    check_path(&decoded, kind).map(ToOwned::to_owned)
}

/// The bytes of hex digits of either case.
pub(crate) fn hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if digits.is_empty() || !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit = |b: u8| char::from(b).to_digit(16);
    digits
        .chunks_exact(2)
        .map(|pair| u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: &str = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";

    fn read(text: &str, kind: Kind) -> Manifest {
        Manifest::read(text.as_bytes(), Algorithm::Sha256, kind).unwrap()
    }

    #[test]
    fn only_three_codes_are_decoded() {
        for (text, path) in [
            ("data/a%0Ab", "data/a\nb"),
            ("data/a%0ab", "data/a\nb"),
            ("data/a%0d%0D", "data/a\r\r"),
            ("data/100%25", "data/100%"),
            ("data/%250A", "data/%0A"),
            ("data/%2525", "data/%25"),
            ("data/a%20b", "data/a%20b"),
            ("data/%", "data/%"),
            ("data/%0", "data/%0"),
            ("data/%é0A", "data/%é0A"),
            ("data/%%0A", "data/%\n"),
            ("data/%2e%2e/x", "data/%2e%2e/x"),
        ] {
            assert_eq!(decode_path(text, Escapes::Rfc), path, "{text}");
            let of_bagit_py = decode_path(text, Escapes::BagitPy);
            if !text.contains("%25") {
                assert_eq!(of_bagit_py, path, "{text}");
            }
        }
    }

    #[test]
    fn bagit_py_writes_a_percent_sign_as_it_is() {
        for (text, path) in [
            ("data/100%25", "data/100%25"),
            ("data/100%", "data/100%"),
            ("data/%250A%0a", "data/%250A\n"),
        ] {
            assert_eq!(decode_path(text, Escapes::BagitPy), path, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_one_line_and_decodes_to_the_same(path in any::<String>()) {
            let encoded = encode_path(&path);
            prop_assert!(!encoded.contains(['\n', '\r']));
            prop_assert_eq!(decode_path(&encoded, Escapes::Rfc), path.as_str());
        }

        #[test]
        fn a_file_of_any_sound_name_is_found_again(
            names in prop::collection::btree_set("[^\0/]{1,40}", 1..8),
        ) {
            let sound: Vec<String> = names
                .into_iter()
                .map(|name| format!("data/{name}"))
                .filter(|path| check_path(path, Kind::Payload).is_ok())
                .collect();
            let text = write(sound.iter().map(|path| (path.as_str(), A)));
            let manifest = read(&text, Kind::Payload);
            prop_assert_eq!(&manifest.defects, &[]);
            let paths: Vec<&str> = manifest.iter().map(|(path, _)| path).collect();
            prop_assert_eq!(paths, sound);
        }

        #[test]
        fn no_text_makes_it_panic_or_leads_out(text in any::<Vec<u8>>()) {
            if let Ok(manifest) =
                Manifest::read(&text[..], Algorithm::Md5, Kind::Tag)
            {
                for (path, digest) in manifest.iter() {
                    prop_assert!(!path.starts_with('/') && !path.split('/').any(|c| c == ".."));
                    prop_assert_eq!(digest.len(), 16);
                }
            }
        }
    }

    #[test]
    fn lines_of_all_tools_are_read() {
        for text in [
            format!("{A}  data/a\n"),
            format!("{A} data/a"),
            format!("{A} *data/a\r\n"),
            format!("{A}\tdata/a\r"),
            format!("{}  ./data/a\n\n", A.to_uppercase()),
            format!("\u{feff}{A}  data/a\n"),
        ] {
            let manifest = read(&text, Kind::Payload);
            assert_eq!(manifest.defects, [], "{text:?}");
            assert_eq!(manifest.len(), 1, "{text:?}");
            let (path, digest) = manifest.get(0).unwrap();
            assert_eq!(path, "data/a");
            assert_eq!(digest, hex(A).unwrap());
            assert_eq!(manifest.find("data/a"), Some(0));
            assert_eq!(manifest.find("data/b"), None);
        }
    }

    #[test]
    fn what_leads_elsewhere_is_a_defect_with_its_name() {
        use Kind::{Payload, Tag};
        for (kind, path, defect) in [
            (Payload, "data/../x", Defect::Escape),
            (Payload, "../data/x", Defect::Escape),
            (Payload, "data/..\\..\\x", Defect::Escape),
            (Payload, "/etc/passwd", Defect::Absolute),
            (Payload, "C:\\x", Defect::Absolute),
            (Payload, "\\\\host\\x", Defect::Absolute),
            (Payload, "~/x", Defect::Home),
            (Tag, "~root/x", Defect::Home),
            (Payload, "bagit.txt", Defect::NotPayload),
            (Payload, "data", Defect::NotPayload),
            (Payload, "data\\x", Defect::NotPayload),
            (Payload, "data//x", Defect::NotNormal),
            (Payload, "data/./x", Defect::NotNormal),
            (Payload, "data/", Defect::NotNormal),
            (Payload, "data/a\0", Defect::Nul),
            (Tag, "data/x", Defect::NotTag),
            (Tag, "tagmanifest-md5.txt", Defect::NotTag),
        ] {
            let manifest = read(&format!("{A}  {path}\n"), kind);
            let found: Vec<_> = manifest.defects.iter().map(|f| &f.defect).collect();
            assert_eq!(found, [&defect], "{path}");
            assert_eq!(manifest.defects[0].path.as_deref(), Some(path));
            assert!(manifest.is_empty(), "{path}");
        }
        for text in [A.to_owned(), format!("{A}  \n"), "x".to_owned()] {
            assert_eq!(
                read(&text, Payload).defects[0].defect,
                Defect::Line,
                "{text}"
            );
        }
        for sum in ["", "00", &A[1..], &format!("{A}00"), &"g".repeat(64)] {
            let manifest = read(&format!("{sum}  data/x\n"), Payload);
            assert_eq!(manifest.defects.len(), 1, "{sum}");
        }
    }

    #[test]
    fn a_path_stands_once() {
        let text = format!("{A}  data/b\n{A}  data/a\n{A}  ./data/b\n");
        let manifest = read(&text, Kind::Payload);
        assert_eq!(manifest.len(), 2);
        assert_eq!(manifest.defects.len(), 1);
        assert_eq!(manifest.defects[0].defect, Defect::Duplicate);
        assert_eq!(manifest.defects[0].path.as_deref(), Some("data/b"));
    }

    #[test]
    fn what_is_huge_is_not_read_whole() {
        let long = format!("{A}  data/{}\n", "x".repeat(MAX_LINE));
        assert_eq!(
            read(&long, Kind::Payload).defects[0].defect,
            Defect::LongLine
        );
        let line = format!("{}\n", " ".repeat(MAX_LINE - 1));
        let endless = io::Cursor::new(line.repeat(1025));
        let (limit, algorithm) = (16 << 20, Algorithm::Sha256);
        let manifest =
            Manifest::read_within(endless, algorithm, Kind::Payload, Escapes::Rfc, limit).unwrap();
        assert_eq!(manifest.defects[0].defect, Defect::TooLarge);
        let bad = "x\n".repeat(MAX_DEFECTS * 3);
        let manifest = read(&bad, Kind::Payload);
        assert_eq!(manifest.defects.len(), MAX_DEFECTS + 1);
        assert_eq!(manifest.defects[MAX_DEFECTS].defect, Defect::TooMany);
        assert!(Manifest::read(&b"\xff\n"[..], Algorithm::Sha256, Kind::Tag).is_err());
    }

    #[test]
    fn file_names_tell_kind_and_algorithm() {
        for (name, want) in [
            ("manifest-sha256.txt", Some((Kind::Payload, "sha256"))),
            ("tagmanifest-md5.txt", Some((Kind::Tag, "md5"))),
            ("manifest-crc32.txt", Some((Kind::Payload, "crc32"))),
            ("manifest.txt", None),
            ("manifest-sha256", None),
        ] {
            assert_eq!(Kind::of_file_name(name), want, "{name}");
        }
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::of_name(algorithm.name()), Some(algorithm));
        }
        assert_eq!(Algorithm::of_name("SHA256"), Some(Algorithm::Sha256));
        assert_eq!(Algorithm::of_name("crc32"), None);
    }
}
