//! What holds for any archive, tried with many.

use larder_testkit::zip::{Descriptor, Entry, Zip64End, ZipBuilder};
use proptest::prelude::*;

use super::*;

/// Names from a small alphabet, so that they meet: as duplicates, parents, links and what goes through them.
fn name() -> impl Strategy<Value = String> {
    prop::collection::vec(
        prop::sample::select(vec!["a", "b", "a.b", "a-b", "c\\d", ".", "..", ""]),
        1..4,
    )
    .prop_map(|parts| parts.join("/"))
}

fn entry() -> impl Strategy<Value = Entry> {
    let data = prop::collection::vec(any::<u8>(), 0..40);
    (name(), name(), data, 0..8_u8, any::<u16>(), any::<bool>()).prop_map(
        |(name, target, data, kind, mode, deflate)| {
            let entry = match kind {
                0 | 1 => Entry::symlink(name, target),
                2 => Entry::dir(name + "/").mode(u32::from(mode)),
                3 => Entry::file(name, data).descriptor(Descriptor::Signed),
                4 => Entry::file(name, data).zip64(),
                _ => Entry::file(name, data).mode(u32::from(mode)),
            };
            if deflate {
                Entry { method: 8, ..entry }
            } else {
                entry.stored()
            }
        },
    )
}

/// Everything below `root`, and for each link whether following it leaves `root`.
fn walk(root: &Path, path: &Path, seen: &mut Vec<String>) {
    for item in std::fs::read_dir(path).unwrap() {
        let item = item.unwrap();
        let meta = item.path().symlink_metadata().unwrap();
        let relative = item
            .path()
            .strip_prefix(root)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        if meta.is_symlink() {
            // Where it can be followed at all, it stays.
            if let Ok(end) = item.path().canonicalize() {
                assert!(
                    end.starts_with(root.canonicalize().unwrap()),
                    "{relative} leads to {end:?}"
                );
            }
        } else if meta.is_dir() {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::set_permissions(item.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
            walk(root, &item.path(), seen);
        } else {
            assert!(meta.is_file(), "{relative}");
        }
        seen.push(relative);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whatever is accepted lies below the root, is counted rightly, and has no link that leads out.
    #[test]
    fn nothing_leaves_the_root(entries in prop::collection::vec(entry(), 0..7)) {
        let zip = entries.into_iter().fold(ZipBuilder::new(), ZipBuilder::entry).build();
        let (site, result) = unpack(&zip);
        if let Ok(unpacked) = result {
            let mut seen = Vec::new();
            walk(&site.out(), &site.out(), &mut seen);
            prop_assert_eq!(seen.len() as u64, unpacked.files + unpacked.directories + unpacked.symlinks);
        }
    }

    /// A good archive with some bytes changed is unpacked or refused, and never more than that.
    #[test]
    fn changed_bytes_do_no_harm(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut zip = ZipBuilder { zip64_end: Zip64End::Always, ..ZipBuilder::new() }
            .file("dir/file", "some content, some content")
            .symlink("link", "dir")
            .entry(Entry::file("b", "more").descriptor(Descriptor::Signed).zip64().mtime(5))
            .dir("d/")
            .build();
        for (at, byte) in changes {
            let at = at.index(zip.len());
            zip[at] = byte;
        }
        let (site, result) = unpack(&zip);
        if result.is_ok() {
            walk(&site.out(), &site.out(), &mut Vec::new());
        }
    }

    /// However a tree is zipped, it is the same tree: order, method, descriptors and zip64 mean nothing.
    #[test]
    fn one_tree_from_many_archives(
        names in prop::collection::btree_set("[a-c]{1,2}(/[d-f]{1,2}){0,2}", 1..8),
        order in any::<prop::sample::Index>(),
        variant in 0..12_usize,
    ) {
        // Files at the leaves only.
        let leaves: Vec<&String> = names
            .iter()
            .filter(|name| !names.iter().any(|other| other.starts_with(&format!("{name}/"))))
            .collect();
        let zip = |variant: usize, turn: usize| {
            let mut zip = ZipBuilder::new();
            for at in 0..leaves.len() {
                let name = leaves[(at + turn) % leaves.len()];
                let mut entry = Entry::file(name, name.repeat(9));
                entry.method = if variant.is_multiple_of(2) { 0 } else { 8 };
                entry.zip64 = variant.is_multiple_of(3);
                if variant % 4 > 1 {
                    entry.descriptor = Descriptor::Signed;
                }
                zip = zip.entry(entry);
            }
            zip.build()
        };
        let (_one, want) = unpack(&zip(1, 0));
        let (_other, got) = unpack(&zip(variant, order.index(leaves.len())));
        prop_assert_eq!(got.unwrap(), want.unwrap());
    }

    /// No bytes whatever make the reader panic.
    #[test]
    fn any_bytes_are_read(mut bytes in prop::collection::vec(any::<u8>(), 0..300), end in any::<bool>()) {
        if end {
            bytes.extend_from_slice(b"PK\x05\x06\0\0\0\0\x01\0\x01\0");
            bytes.extend_from_slice(&46u32.to_le_bytes());
            bytes.extend_from_slice(&[0; 6]);
        }
        let _ = plan(&package(&bytes), &Limits::default());
    }
}
