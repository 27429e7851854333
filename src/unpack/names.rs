//! Names of entries: from the bytes in a header to a path below the root, and to something that can be shown.
//!
//! A name is never repaired. Only what every kernel ignores is ignored here as well: a leading `./`, a `.`
//! or an empty component between two others. Everything else is either an ordinary character (backslashes,
//! colons, `%2e`, names that Windows reserves) or a reason to refuse the whole archive.

use std::fmt;

/// The longest path, in bytes (Linux's `PATH_MAX`, less than the 65,535 that APPNOTE.TXT 4.4.10 allows).
pub const MAX_PATH: usize = 4096;

/// The longest component of a path, in bytes (Linux's `NAME_MAX`).
pub const MAX_COMPONENT: usize = 255;

/// Why a name cannot be a path below the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameDefect {
    /// No bytes at all.
    #[error("it is empty")]
    Empty,
    /// A NUL: some readers end the name there, others do not.
    #[error("it contains a NUL byte")]
    Nul,
    /// It starts with `/`.
    #[error("it is an absolute path")]
    Absolute,
    /// A component is `..`.
    #[error("it has a '..' component")]
    Parent,
    /// The last component is `.`, which no file can be called.
    #[error("its last component is '.'")]
    Dot,
    /// A component is too long for any file system Lambda uses.
    #[error("it has a component of {0} bytes, more than {MAX_COMPONENT}")]
    LongComponent(usize),
    /// The path is too long for the kernel.
    #[error("it is a path of {0} bytes, more than {MAX_PATH}")]
    LongPath(usize),
}

/// A name that may be used: where its path lies within it, and whether it is a directory by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NormalName {
    /// Where the path begins within the name.
    pub(super) start: usize,
    /// The path's length; 0 for the root itself.
    pub(super) len: usize,
    /// The path is there only after [`squeeze`] was called with the name from `start` on.
    pub(super) squeeze: bool,
}

/// Checks a name, and finds the path that it stands for: without `.` and empty components, and
/// without `/` at either end.
pub(super) fn check(name: &[u8]) -> Result<NormalName, NameDefect> {
    if name.is_empty() {
        return Err(NameDefect::Empty);
    }
    if name.contains(&0) {
        return Err(NameDefect::Nul);
    }
    let directory = name.ends_with(b"/");
    let mut start = 0;
    while name[start..].starts_with(b"./") {
        start += 2;
    }
    if name[start..].starts_with(b"/") {
        return Err(NameDefect::Absolute);
    }
    let mut len = 0;
    let mut ordinary = true;
    for component in name[start..].split(|&b| b == b'/') {
        match component {
            b"" | b"." => {
                ordinary = false;
            }
            b".." => return Err(NameDefect::Parent),
            _ if component.len() > MAX_COMPONENT => {
                return Err(NameDefect::LongComponent(component.len()));
            }
            _ => len += component.len() + usize::from(len > 0),
        }
    }
    if !directory && (&name[start..] == b"." || name.ends_with(b"/.")) {
        return Err(NameDefect::Dot);
    }
    if len > MAX_PATH {
        return Err(NameDefect::LongPath(len));
    }
    Ok(NormalName {
        start,
        len,
        // A trailing slash alone needs no rewriting: the path is what stands before it.
        squeeze: !ordinary && name[start..].len() != len + usize::from(directory),
    })
}

/// Moves the components that count to the front, one `/` between them.
pub(super) fn squeeze(name: &mut [u8]) {
    let (mut read, mut write) = (0, 0);
    while read < name.len() {
        let end = name[read..]
            .iter()
            .position(|&b| b == b'/')
            .map_or(name.len(), |n| read + n);
        if !matches!(&name[read..end], b"" | b".") {
            if write > 0 {
                name[write] = b'/';
                write += 1;
            }
            name.copy_within(read..end, write);
            write += end - read;
        }
        read = end + 1;
    }
}

/// The directory part of a path, without a `/` at its end; empty for a path at the root.
pub(super) fn parent(path: &[u8]) -> &[u8] {
    split(path).0
}

/// A path's directory part and its last component.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&b| b == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&[], path),
    }
}

/// Bytes of a name or of a link's target, shown so that a terminal, a log or a person is not deceived:
/// in double quotes; control, bidirectional and invisible characters, and bytes that are no UTF-8, escaped; cut
/// after some 200 characters.
#[derive(Clone, PartialEq, Eq)]
pub struct Shown(Box<[u8]>);

impl Shown {
    /// The bytes themselves.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for Shown {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        const MOST: usize = 200;
        let mut shown = 0;
        f.write_char('"')?;
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                if shown == MOST {
                    return f.write_str("…\"");
                }
                shown += 1;
                match c {
                    '"' | '\\' => write!(f, "\\{c}")?,
                    c if c.is_control() || deceives(c) => {
                        write!(f, "{}", c.escape_default())?;
                    }
                    c => f.write_char(c)?,
                }
            }
            for byte in chunk.invalid() {
                if shown == MOST {
                    return f.write_str("…\"");
                }
                shown += 1;
                write!(f, "\\x{byte:02x}")?;
            }
        }
        f.write_char('"')
    }
}

/// Characters that change how the text around them looks: bidirectional controls, joiners and other
/// invisible ones, line and paragraph separators, tags.
fn deceives(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> Result<String, NameDefect> {
        let mut bytes = name.as_bytes().to_vec();
        let normal = check(&bytes)?;
        if normal.squeeze {
            squeeze(&mut bytes[normal.start..]);
        }
        let path = &bytes[normal.start..normal.start + normal.len];
        Ok(String::from_utf8(path.to_vec()).unwrap())
    }

    #[test]
    fn ordinary_names_are_paths_as_they_are() {
        for name in [
            "a",
            "a/b",
            "...",
            "a..b",
            "..a",
            "a\\..\\..\\b",
            "C:\\x",
            "C:/x",
            "\\\\host\\share",
            "%2e%2e/x",
            "nul",
            "con.txt",
            "a b;$(x)|&",
            " ",
            "-rf",
            "~",
            "é",
            "e\u{301}",
            "\u{202e}x",
        ] {
            assert_eq!(path(name), Ok(name.to_owned()), "{name:?}");
        }
    }

    #[test]
    fn only_what_a_kernel_ignores_is_left_out() {
        for (name, want) in [
            ("./a", "a"),
            ("././a/b", "a/b"),
            ("a//b", "a/b"),
            ("a/./b", "a/b"),
            ("a/.//./b//", "a/b"),
            ("a/", "a"),
            ("a//", "a"),
            ("a/./", "a"),
            ("./", ""),
            ("././", ""),
        ] {
            assert_eq!(path(name), Ok(want.to_owned()), "{name:?}");
        }
    }

    #[test]
    fn names_that_are_no_path_below_the_root_are_refused() {
        let long = "x".repeat(256);
        let deep = "x/".repeat(2100);
        for (name, want) in [
            ("", NameDefect::Empty),
            ("a\0b", NameDefect::Nul),
            ("/", NameDefect::Absolute),
            ("/etc/passwd", NameDefect::Absolute),
            ("//host/share", NameDefect::Absolute),
            (".//etc/passwd", NameDefect::Absolute),
            ("..", NameDefect::Parent),
            ("../a", NameDefect::Parent),
            ("a/../../b", NameDefect::Parent),
            ("a/../b", NameDefect::Parent),
            ("a/..", NameDefect::Parent),
            ("a/../", NameDefect::Parent),
            (".", NameDefect::Dot),
            ("./.", NameDefect::Dot),
            ("a/.", NameDefect::Dot),
            (&long, NameDefect::LongComponent(256)),
            (&deep, NameDefect::LongPath(4199)),
        ] {
            assert_eq!(path(name), Err(want), "{name:?}");
        }
    }

    #[test]
    fn a_path_may_be_as_long_as_the_kernel_takes() {
        let name = format!("{}{}", "x/".repeat(1920), "y".repeat(255));
        assert_eq!(path(&name), Ok(name.clone()));
        let name = format!("{}y", "xyz/".repeat(1023));
        assert_eq!(path(&name).map(|p| p.len()), Ok(4093));
    }

    #[test]
    fn what_is_shown_deceives_nobody() {
        let show = |bytes: &[u8]| Shown::from(bytes).to_string();
        assert_eq!(show(b"a/b"), r#""a/b""#);
        assert_eq!(show(b"\x1b]0;x\x07"), r#""\u{1b}]0;x\u{7}""#);
        assert_eq!(show("\u{202e}gpj.exe".as_bytes()), r#""\u{202e}gpj.exe""#);
        assert_eq!(show(b"caf\xe9\"\\"), r#""caf\xe9\"\\""#);
        assert_eq!(show("é".as_bytes()), "\"é\"");
        assert!(show(&vec![b'x'; 60_000]).len() < 220);
    }

    #[test]
    fn a_path_splits_at_its_last_slash() {
        assert_eq!(split(b"a/b/c"), (&b"a/b"[..], &b"c"[..]));
        assert_eq!(split(b"a"), (&b""[..], &b"a"[..]));
    }
}
