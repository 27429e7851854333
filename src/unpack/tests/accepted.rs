//! Odd archives that are legal, and the tree that each must give.

use std::num::NonZero;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use larder_testkit::packages;
use larder_testkit::zip::{Descriptor, EndLie, Entry, FAT, Lie, Zip64End, ZipBuilder, extra};

use super::*;
use crate::digest::{Sha256Digest, TreeNode, tree_hashes};
use crate::unpack::Duplicates;

#[test]
fn packages_as_people_deploy_them() {
    for tree in [
        packages::python_package(),
        packages::node_package(),
        packages::native_package(),
        packages::layer_package(),
    ] {
        let unpacked = assert_tree(&tree.zip(), &tree);
        assert_eq!(unpacked.bytes, tree.bytes());
        let (site, portable) = unpack_portably(&tree.zip());
        assert_eq!(portable.unwrap(), unpacked);
        assert!(tree.differences(&site.out()).unwrap().is_empty());
    }
}

#[test]
fn counts_and_hashes_are_those_of_the_tree() {
    let zip = ZipBuilder::new()
        .dir("empty/")
        .file("a/b/c", "content")
        .mode(0o755)
        .symlink("a/l", "b")
        .file("a-b", "")
        .build();
    let (_site, result) = unpack(&zip);
    let unpacked = result.unwrap();
    assert_eq!(
        (
            unpacked.files,
            unpacked.directories,
            unpacked.symlinks,
            unpacked.bytes
        ),
        (2, 3, 1, 7)
    );
    let file = |data: &[u8], executable| TreeNode::File {
        sha256: Sha256Digest::of(data),
        executable,
    };
    let want = tree_hashes([
        (&b"a/b/c"[..], &file(b"content", true)),
        (b"a-b", &file(b"", false)),
        (b"empty", &TreeNode::EmptyDirectory),
        (
            b"a/l",
            &TreeNode::Symlink {
                target: b"b".to_vec(),
            },
        ),
    ]);
    assert_eq!(unpacked.hashes, Some(want));
}

#[test]
fn the_smallest_archive_is_an_empty_tree() {
    let unpacked = assert_tree(&ZipBuilder::new().build(), &Tree::new());
    assert_eq!((unpacked.files, unpacked.directories), (0, 0));
    assert_tree(&ZipBuilder::new().comment("empty").build(), &Tree::new());
}

#[test]
fn descriptors_and_zip64_in_all_forms() {
    let tree = Tree::new()
        .file("a", "aaaaaaaaaaaaaaaaaaaaaaaa")
        .file("b", "b")
        .file("e", "");
    for descriptor in [Descriptor::None, Descriptor::Signed, Descriptor::Unsigned] {
        for zip64 in [false, true] {
            for method in [0, 8] {
                for end in [Zip64End::Auto, Zip64End::Always] {
                    let mut zip = tree.builder();
                    zip.zip64_end = end;
                    for entry in &mut zip.entries {
                        (entry.descriptor, entry.zip64, entry.method) = (descriptor, zip64, method);
                    }
                    assert_tree(&zip.build(), &tree);
                }
            }
        }
    }
}

#[test]
fn where_headers_may_differ_the_central_directory_wins() {
    let tree = Tree::new().file("a", "content").file("b", "x");
    let with = |change: &dyn Fn(&mut Entry)| {
        let mut zip = tree.builder();
        change(&mut zip.entries[0]);
        zip.build()
    };
    let lie = |lie: Lie| with(&|entry| entry.local = lie.clone());
    assert_tree(
        &lie(Lie {
            crc: Some(1),
            ..Lie::default()
        }),
        &tree,
    );
    assert_tree(
        &lie(Lie {
            flags: Some(0x800),
            ..Lie::default()
        }),
        &tree,
    );
    assert_tree(
        &lie(Lie {
            needed: Some(63),
            ..Lie::default()
        }),
        &tree,
    );
    assert_tree(&with(&|entry| entry.gap = vec![0; 3]), &tree);
    assert_tree(&with(&|entry| entry.gap = b"PK\x07\x08".to_vec()), &tree);
    assert_tree(&with(&|entry| entry.local_extra = vec![0; 3]), &tree);
    assert_tree(&with(&|entry| entry.comment = b"a comment".to_vec()), &tree);
    assert_tree(
        &with(&|entry| {
            entry.descriptor = Descriptor::Signed;
            entry.descriptor_lie.crc = Some(3);
        }),
        &tree,
    );
    let gap = ZipBuilder {
        central_gap: vec![7; 4096],
        ..tree.builder()
    };
    assert_tree(&gap.build(), &tree);
    assert_tree(
        &tree
            .builder()
            .prefix("#!/usr/bin/env python3\n", true)
            .build(),
        &tree,
    );
    let reversed = ZipBuilder {
        central_order: Some(vec![1, 0]),
        ..tree.builder()
    };
    assert_tree(&reversed.build(), &tree);
    // Chance bytes in a comment are no end record, nor is that of a zip within the zip.
    let chance = [&b"PK\x05\x06"[..], &[9; 40]].concat();
    assert_tree(&tree.builder().comment(&chance).build(), &tree);
    let inner = Tree::new().file("inner", "x").zip();
    let outer = ZipBuilder::new().stored("zip", &inner).build();
    assert_tree(&outer, &Tree::new().file("zip", &inner));
}

#[test]
fn a_stale_unicode_path_counts_for_nothing() {
    let entry = Entry::file("a", "x").extra(extra::unicode_path(b"old", "../old"));
    let same = Entry::file("é", "y").extra(extra::unicode_path("é".as_bytes(), "é"));
    let zip = ZipBuilder::new().entry(entry).entry(same).build();
    assert_tree(&zip, &Tree::new().file("a", "x").file("é", "y"));
}

#[test]
fn names_are_kept_byte_for_byte() {
    let names = [
        "..\\..\\x",
        "C:\\x",
        "C:/y",
        "\\\\host\\share\\x",
        "a\\b",
        "con",
        "nul.txt",
        "a:b",
        "x ",
        "x.",
        "%2e%2e",
        "...",
        "-rf",
        "$(x);`y`",
        "Readme",
        "README",
        "e\u{301}",
        "é",
        "\u{1b}[31m",
        "new\nline",
    ];
    let tree = names
        .iter()
        .fold(Tree::new(), |tree, name| tree.file(name, name));
    assert_tree(&tree.zip(), &tree);
    // Bytes that are no UTF-8.
    let (site, result) = unpack(&ZipBuilder::new().file(b"caf\xe9", "x").build());
    result.unwrap();
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9");
    assert_eq!(std::fs::read(site.out().join(name)).unwrap(), b"x");
}

#[test]
fn what_a_kernel_ignores_in_names_is_ignored() {
    let zip = ZipBuilder::new()
        .dir("./")
        .dir("./d/")
        .file("./d/a", "a")
        .file("d//b", "b")
        .file("./e/./c", "c")
        .dir("f//g//")
        .build();
    let tree = Tree::new()
        .dir("d")
        .file("d/a", "a")
        .file("d/b", "b")
        .file("e/c", "c")
        .dir("f/g");
    assert_tree(&zip, &tree);
}

#[test]
fn modes_are_kept_and_special_bits_dropped() {
    let zip = ZipBuilder::new()
        .dir("ro/")
        .mode(0o555)
        .file("ro/f", "x")
        .mode(0o400)
        .dir("ro/deep/")
        .mode(0o500)
        .file("ro/deep/g", "x")
        .mode(0o4755)
        .file("s", "x")
        .mode(0o7777)
        .entry(Entry::file("zero", "x").external(0))
        .entry(Entry::file("zero-dir/", "").external(0))
        .entry(Entry::file("fat", "x").maker(FAT).external(0o100_755 << 16))
        .entry(Entry::file("mac", "x").maker(19).mode(0o750))
        .file("implied/f", "x")
        .build();
    let (site, result) = unpack(&zip);
    result.unwrap();
    let umask = {
        let probe = tempfile::tempdir().unwrap();
        std::fs::write(probe.path().join("f"), "").unwrap();
        !mode(&probe.path().join("f")) & 0o666
    };
    for (path, want) in [
        ("ro", 0o555),
        ("ro/f", 0o400),
        ("ro/deep", 0o500),
        ("ro/deep/g", 0o755),
        ("s", 0o777),
        ("zero", 0o644),
        ("zero-dir", 0o755),
        ("fat", 0o644),
        ("mac", 0o750),
        ("implied", 0o755),
    ] {
        assert_eq!(mode(&site.out().join(path)), want & !umask, "{path}");
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path)
        .unwrap()
        .permissions()
        .mode()
        & 0o7777
}

#[test]
fn utc_times_are_set_on_everything() {
    let mut local_only = Entry::file("local", "x");
    local_only.local_extra = extra::extended_timestamp(5);
    let ticks = (11_644_473_600 + 1_600_000_000) * 10_000_000;
    let zip = ZipBuilder::new()
        .entry(Entry::dir("d/").mtime(1_000_000_000))
        .entry(Entry::file("d/f", "x").mtime(1_234_567_890))
        .entry(Entry::symlink("d/l", "f").mtime(1_111_111_111))
        .entry(Entry::dir("d/e/").mtime(-5).mode(0o500))
        .file("d/e/x", "x")
        .entry(Entry::file("old", "x").mtime(-1))
        .entry(Entry::file("ntfs", "x").extra(extra::ntfs(ticks, 0, 0)))
        .entry(local_only)
        .entry(Entry::file("odd", "x").dos_time(0, 0xffff))
        .build();
    let (site, result) = unpack(&zip);
    result.unwrap();
    for (path, want) in [
        ("d", 1_000_000_000),
        ("d/f", 1_234_567_890),
        ("d/l", 1_111_111_111),
        ("d/e", -5),
        ("old", -1),
        ("ntfs", 1_600_000_000),
        ("local", 5),
    ] {
        let meta = std::fs::symlink_metadata(site.out().join(path)).unwrap();
        assert_eq!(meta.mtime(), want, "{path}");
    }
}

#[test]
fn the_same_directory_twice_is_one() {
    let zip = ZipBuilder::new()
        .dir("d/")
        .mode(0o700)
        .file("d/f", "x")
        .dir("d/")
        .mode(0o755)
        .build();
    let unpacked = assert_tree(&zip, &Tree::new().dir("d").file("d/f", "x"));
    assert_eq!((unpacked.directories, unpacked.dropped_duplicates), (1, 0));
}

#[test]
fn duplicates_are_taken_as_asked() {
    let zip = ZipBuilder::new()
        .file("a", "first")
        .file("b", "x")
        .file("./a", "last")
        .file("a", "middle");
    let zip = ZipBuilder {
        central_order: Some(vec![0, 3, 1, 2]),
        ..zip
    }
    .build();
    for (duplicates, want) in [(Duplicates::First, "first"), (Duplicates::Last, "last")] {
        let limits = Limits {
            duplicates,
            ..Limits::default()
        };
        let (site, result) = unpack_with(&zip, &limits);
        let unpacked = result.unwrap();
        assert_eq!((unpacked.files, unpacked.dropped_duplicates), (2, 2));
        assert_eq!(std::fs::read_to_string(site.out().join("a")).unwrap(), want);
    }
}

#[test]
fn directories_may_be_compressed_nothing() {
    let mut entry = Entry::dir("d/");
    entry.method = 8;
    assert_tree(
        &ZipBuilder::new().entry(entry).build(),
        &Tree::new().dir("d"),
    );
}

#[test]
fn large_contents_and_many_entries() {
    let zeros = vec![0; 20 << 20];
    assert_tree(
        &ZipBuilder::new().file("z", &zeros).build(),
        &Tree::new().file("z", &zeros),
    );
    assert_tree(
        &ZipBuilder::new().stored("z", &zeros).build(),
        &Tree::new().file("z", &zeros),
    );
    // More than 65,535, with zip64 and with a count that went round.
    for zip64_end in [Zip64End::Auto, Zip64End::Never] {
        let mut zip = ZipBuilder {
            zip64_end,
            ..ZipBuilder::new()
        };
        for n in 0..70_000 {
            zip = zip.stored(format!("d{}/f{n}", n / 1000), "x");
        }
        let package = package(&zip.build());
        assert_eq!(plan(&package, &Limits::default()).unwrap().files(), 70_000);
    }
    let wrong = EndLie {
        entries: Some(1),
        entries_here: Some(1),
        ..EndLie::default()
    };
    let zip = ZipBuilder {
        end: wrong,
        ..ZipBuilder::new().file("a", "").file("b", "")
    };
    assert_refused(&zip.build(), "states 1");
}

#[test]
fn long_and_deep_paths() {
    let long = format!("{}{}", "d/".repeat(1900), "f".repeat(255));
    let (_site, result) = unpack(&ZipBuilder::new().file(&long, "x").build());
    assert_eq!(result.unwrap().directories, 1900);
    let (site, result) =
        unpack_portably(&ZipBuilder::new().file("d/".repeat(500) + "f", "x").build());
    assert_eq!(result.unwrap().directories, 500);
    drop(site);
    // The longest path of all ends in a name that is made in its directory.
    let longest = format!("{}{}", "abc/".repeat(1023), "wxyz");
    let (_site, result) = unpack(&ZipBuilder::new().file(&longest, "x").build());
    assert_eq!((longest.len(), result.unwrap().files), (4096, 1));
}

/// Two workers take small contents from both ends and large ones in turn; every content is written once.
#[test]
fn one_worker_and_two_make_the_same_tree() {
    let tree = (0..700_u64).fold(Tree::new(), |tree, n| {
        let size = if n % 200 == 7 { 700_000 } else { 3000 + n };
        let content = packages::sized(usize::try_from(size).unwrap(), n);
        tree.file(&format!("d{}/f{n}", n % 30), content)
    });
    let package = package(&tree.zip());
    let made = [1, 2].map(|workers| {
        let site = Site::new();
        let root = File::open(site.out()).unwrap();
        let options = Options {
            hash_contents: true,
            workers: NonZero::new(workers),
            cancel: &CancellationToken::new(),
            reporter: &(),
        };
        let plan = plan(&package, &Limits::default()).unwrap();
        let unpacked = run(&package, &plan, root.as_fd(), &options).unwrap();
        let differences = tree.differences(&site.out()).unwrap();
        assert!(differences.is_empty(), "{workers}: {differences:#?}");
        unpacked
    });
    assert_eq!(made[0], made[1]);
    assert_eq!(made[0].files, 700);
}
