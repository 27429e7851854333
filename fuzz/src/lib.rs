//! What the targets share: packages in memory, archives from fuzzer input, and a place where an escape shows.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use larder::package::{Claim, Received, Verified};
use larder::unpack::{self, Duplicates, Limits, Options, UnpackError, Unpacked};
use larder_testkit::zip::{Descriptor, EndLie, Entry, Lie, Zip64End, ZipBuilder, extra};
use rustix::fs::{MemfdFlags, memfd_create};
use tokio_util::sync::CancellationToken;

/// The most that an archive may unpack to here: enough to try the ceiling, too little to be slow.
pub const CEILING: u64 = 64 * 1024;

/// A package of these bytes.
pub fn package(bytes: &[u8]) -> Verified {
    let file = File::from(memfd_create("zip", MemfdFlags::CLOEXEC).expect("memfd"));
    file.write_all_at(bytes, 0).expect("write to memory");
    let received = Received::read(file, &|| false).expect("read from memory");
    received.verify(&Claim::local()).expect("no claim")
}

/// The limits that a byte of input stands for.
pub fn limits(byte: u8) -> Limits {
    Limits {
        max_unpacked_size: CEILING,
        duplicates: match byte % 3 {
            0 => Duplicates::Refuse,
            1 => Duplicates::First,
            _ => Duplicates::Last,
        },
    }
}

/// Reads fuzzer input as choices; zeros when it is used up.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((&first, rest)) => {
                self.0 = rest;
                first
            }
            None => 0,
        }
    }

    /// True for one byte value in sixteen: lies are rare, or everything is refused.
    fn rarely(&mut self) -> bool {
        self.byte() & 15 == 15
    }

    fn number(&mut self) -> u64 {
        match self.byte() {
            255 => u64::from(u32::MAX),
            254 => u64::MAX,
            253 => 0xffff,
            small => u64::from(small),
        }
    }

    fn name(&mut self) -> Vec<u8> {
        const PARTS: [&[u8]; 16] = [
            b"a", b"b", b"c", b"a", b"b", b"l", b"l", b"m", b"a.b", b"a-b", b"..", b".", b"", b"\xe9", b"x\\y", b"a\0",
        ];
        let mut name = Vec::new();
        for _ in 0..=self.byte() % 4 {
            if !name.is_empty() {
                name.push(b'/');
            }
            name.extend_from_slice(PARTS[usize::from(self.byte() & 15)]);
        }
        name
    }

    fn lie(&mut self) -> Lie {
        let mut lie = Lie::default();
        match self.byte() % 10 {
            0 => lie.name = Some(self.name()),
            1 => lie.flags = Some(u16::from(self.byte()) | u16::from(self.byte()) << 8),
            2 => lie.method = Some(self.byte().into()),
            3 => lie.crc = Some(self.byte().into()),
            4 => lie.compressed = Some(self.number()),
            5 => lie.size = Some(self.number()),
            6 => lie.offset = Some(self.number()),
            7 => lie.name_length = Some(self.byte().into()),
            8 => lie.extra_length = Some(self.byte().into()),
            _ => lie.signature = Some(*b"PK\x05\x06"),
        }
        lie
    }

    fn entry(&mut self) -> Entry {
        let name = self.name();
        let mut entry = match self.byte() % 8 {
            0 | 1 => Entry::symlink(&name, self.name()),
            2 => Entry::dir([&name[..], b"/"].concat()),
            _ => {
                let len = usize::from(self.byte()) * usize::from(self.byte());
                let fill = self.byte();
                Entry::file(&name, vec![fill; len])
            }
        };
        entry.method = if self.byte() & 1 == 0 { 8 } else { 0 };
        let odd = self.byte();
        if odd & 1 != 0 {
            entry.descriptor = Descriptor::Signed;
        }
        if odd & 2 != 0 {
            entry.descriptor = Descriptor::Unsigned;
        }
        entry.zip64 = odd & 4 != 0;
        if odd & 8 != 0 {
            entry = entry.mode(u32::from(self.byte()) << 4);
        }
        if odd & 16 != 0 {
            entry = entry.mtime(i32::from(self.byte()) - 5);
        }
        if self.rarely() {
            entry.external = u32::from(self.byte()) << 24 | u32::from(self.byte());
            entry.maker = self.byte() % 20;
        }
        if self.rarely() {
            entry = entry.extra(extra::unicode_path(&name, "a"));
        }
        if self.rarely() {
            entry.central_extra = extra::zip64(&[self.number(), self.number()]);
        }
        if self.rarely() {
            entry.local = self.lie();
        }
        if self.rarely() {
            entry.central = self.lie();
        }
        if self.rarely() {
            entry.gap = vec![self.byte(); usize::from(self.byte() % 8)];
        }
        if self.rarely() {
            entry.raw = Some(self.0.iter().copied().take(32).collect());
        }
        entry.hidden = self.rarely() && self.rarely();
        entry
    }
}

/// An archive that input stands for: mostly well-formed, with few names, so that they meet.
pub fn archive(input: &[u8]) -> Vec<u8> {
    let mut input = Input(input);
    let mut zip = ZipBuilder::new();
    for _ in 0..input.byte() % 8 {
        let entry = input.entry();
        zip = zip.entry(entry);
    }
    if input.rarely() {
        zip = zip.shared("shared", usize::from(input.byte() % 4));
    }
    if input.rarely() {
        zip = zip.prefix("#!/bin/sh\n", input.byte() & 1 == 0);
    }
    if input.rarely() {
        zip = zip.comment(b"PK\x05\x06 and so on and so on");
    }
    if input.rarely() {
        zip.zip64_end = Zip64End::Always;
    }
    if input.rarely() {
        zip.end = EndLie {
            entries: Some(input.byte().into()),
            ..EndLie::default()
        };
    }
    if input.rarely() {
        zip.zip64_lie.central_offset = Some(input.number());
    }
    let mut bytes = zip.build();
    // And some bytes changed at the end of it all.
    while !input.0.is_empty() && input.rarely() {
        let at = (usize::from(input.byte()) << 8 | usize::from(input.byte())) % bytes.len();
        bytes[at] = input.byte();
    }
    bytes
}

/// A directory to unpack into, among files that must stay as they are.
pub struct Site {
    outer: tempfile::TempDir,
}

impl Site {
    /// A new one, in memory where the system has a place for that.
    pub fn new() -> Self {
        let base = Path::new("/dev/shm");
        let outer = if base.is_dir() {
            tempfile::tempdir_in(base)
        } else {
            tempfile::tempdir()
        };
        let site = Self {
            outer: outer.expect("a temporary directory"),
        };
        for name in ["a", "b", "l"] {
            fs::write(site.outer.path().join(name), "canary").expect("a canary");
        }
        fs::create_dir(site.root()).expect("the root");
        site
    }

    /// The directory to unpack into.
    pub fn root(&self) -> PathBuf {
        self.outer.path().join("root")
    }

    /// Unpacks into it.
    pub fn unpack(&self, package: &Verified, limits: &Limits) -> Result<Unpacked, UnpackError> {
        let plan = unpack::plan(package, limits)?;
        assert!(plan.bytes() <= CEILING);
        let root = File::open(self.root()).expect("the root");
        let options = Options {
            hash_contents: true,
            workers: None,
            cancel: &CancellationToken::new(),
            reporter: &(),
        };
        unpack::run(package, &plan, root.as_fd(), &options)
    }

    /// Panics unless all canaries live, and all below the root is what an archive may make.
    pub fn inspect(&self, unpacked: Option<&Unpacked>) {
        let mut around: Vec<_> = fs::read_dir(self.outer.path())
            .expect("the site")
            .map(|item| item.expect("an item").file_name())
            .collect();
        around.sort();
        assert_eq!(around, ["a", "b", "l", "root"]);
        for name in ["a", "b", "l"] {
            let path = self.outer.path().join(name);
            assert_eq!(fs::read(path).expect("a canary"), b"canary");
        }
        let (mut nodes, mut bytes) = (0, 0);
        self.walk(&self.root(), &mut nodes, &mut bytes);
        assert!(bytes <= CEILING);
        if let Some(unpacked) = unpacked {
            let counted = unpacked.files + unpacked.directories + unpacked.symlinks;
            assert_eq!((nodes, bytes), (counted, unpacked.bytes));
        }
    }

    fn walk(&self, directory: &Path, nodes: &mut u64, bytes: &mut u64) {
        // Whatever its mode: it is looked into, and removed.
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).expect("its mode");
        for item in fs::read_dir(directory).expect("a directory") {
            let path = item.expect("an item").path();
            let meta = fs::symlink_metadata(&path).expect("its metadata");
            *nodes += 1;
            if meta.is_dir() {
                self.walk(&path, nodes, bytes);
            } else if meta.is_symlink() {
                assert!(!self.leaves(&path), "{path:?} leads outside");
            } else {
                assert!(meta.is_file(), "{path:?} is special");
                assert_eq!(meta.permissions().mode() & 0o7000, 0, "{path:?}");
                *bytes += meta.len();
            }
        }
    }

    /// Follows a link, component by component and without any of the unpacker's knowledge; components that are
    /// not there count as directories.
    fn leaves(&self, link: &Path) -> bool {
        let root = self.root();
        let mut at: Vec<Vec<u8>> = link
            .parent()
            .and_then(|parent| parent.strip_prefix(&root).ok())
            .expect("below the root")
            .components()
            .map(|c| c.as_os_str().as_bytes().to_vec())
            .collect();
        let target = fs::read_link(link).expect("a link");
        if target.is_absolute() {
            return true;
        }
        let mut todo = split(&target);
        let mut followed = 0;
        while let Some(component) = todo.pop() {
            match &component[..] {
                b"" | b"." => continue,
                b".." => {
                    if at.pop().is_none() {
                        return true;
                    }
                    continue;
                }
                _ => at.push(component),
            }
            let here = at
                .iter()
                .fold(root.clone(), |path, c| path.join(OsStr::from_bytes(c)));
            if let Ok(target) = fs::read_link(&here) {
                followed += 1;
                if followed > 40 {
                    return false;
                }
                at.pop();
                if target.is_absolute() {
                    return true;
                }
                todo.extend(split(&target));
            }
        }
        false
    }
}

impl Default for Site {
    fn default() -> Self {
        Self::new()
    }
}

/// The components of a target, the last first.
fn split(target: &Path) -> Vec<Vec<u8>> {
    target
        .as_os_str()
        .as_bytes()
        .split(|&b| b == b'/')
        .rev()
        .map(<[u8]>::to_vec)
        .collect()
}
