//! One archive, or several, for each reason to refuse.

use larder_testkit::zip::{
    Descriptor, EndLie, Entry, FAT, Lie, Zip64End, Zip64Lie, ZipBuilder, extra,
};

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::*;
use crate::error::{Error, ErrorKind};
use crate::unpack::{Duplicates, plan_or_stop};

fn two() -> ZipBuilder {
    ZipBuilder::new()
        .file("a", "content of a")
        .file("b", "content of b, longer")
}

fn one(entry: Entry) -> Vec<u8> {
    ZipBuilder::new()
        .file("before", "x")
        .entry(entry)
        .file("z", "y")
        .build()
}

fn a() -> Entry {
    Entry::file("a", "content of a, content of a")
}

#[test]
fn what_is_no_zip() {
    let page = "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>";
    assert_refused(b"", "this is no zip");
    assert_refused(page.as_bytes(), "that begin with \"<?xml version=\\\"");
    let zip = two().build();
    for len in [1, 20, 30, zip.len() / 2, zip.len() - 23] {
        let error = assert_refused(&zip[..len], "");
        assert_eq!(error.kind(), ErrorKind::ArchiveBroken, "{len}: {error}");
    }
    assert_refused(&zip[..zip.len() - 30], "the zip is cut");
    assert_refused(&zip[..zip.len() - 1], "the zip is cut");
    let mut comment = two().comment("a comment").build();
    comment.truncate(comment.len() - 4);
    assert_refused(&comment, "the zip's comment should end");
}

#[test]
fn end_records_that_do_not_fit() {
    let end = |end: EndLie| ZipBuilder { end, ..two() }.build();
    let none = EndLie::default;
    for (bytes, words) in [
        (
            end(EndLie {
                disk: Some(1),
                ..none()
            }),
            "this part's number is 1",
        ),
        (
            end(EndLie {
                central_disk: Some(2),
                ..none()
            }),
            "central directory's part is 2",
        ),
        (
            end(EndLie {
                entries_here: Some(1),
                ..none()
            }),
            "states 2",
        ),
        (
            end(EndLie {
                entries: Some(3),
                entries_here: Some(3),
                ..none()
            }),
            "has 2 entries, and the end record states 3",
        ),
        (
            end(EndLie {
                entries: Some(1),
                entries_here: Some(1),
                ..none()
            }),
            "states 1",
        ),
        (
            end(EndLie {
                central_size: Some(5),
                ..none()
            }),
            "the end record is at byte",
        ),
        (
            end(EndLie {
                central_offset: Some(5),
                ..none()
            }),
            "the end record is at byte",
        ),
        (
            end(EndLie {
                central_offset: Some(u32::MAX),
                ..none()
            }),
            "the end record is at byte",
        ),
        (two().trailing("x").build(), "1 more bytes follow"),
        (
            two().prefix("#!/bin/sh\n", false).build(),
            "the end record is at byte",
        ),
        (
            ZipBuilder {
                end_gap: vec![0; 7],
                ..two()
            }
            .build(),
            "the end record is at byte",
        ),
        (
            ZipBuilder::new().prefix("garbage", true).build(),
            "the end record is at byte",
        ),
        (
            ZipBuilder {
                no_end: true,
                ..two()
            }
            .build(),
            "the zip is cut",
        ),
    ] {
        assert_refused(&bytes, words);
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn zip64_end_records_that_do_not_fit() {
    let zip64 = |zip64_lie: Zip64Lie, end: EndLie| {
        ZipBuilder {
            zip64_end: Zip64End::Always,
            zip64_lie,
            end,
            ..two()
        }
        .build()
    };
    let (none, end) = (Zip64Lie::default, EndLie::default);
    for (bytes, words) in [
        (
            zip64(
                Zip64Lie {
                    entries: Some(3),
                    entries_here: Some(3),
                    ..none()
                },
                end(),
            ),
            "states 3",
        ),
        (
            zip64(
                Zip64Lie {
                    entries: Some(65_538),
                    entries_here: Some(65_538),
                    ..none()
                },
                end(),
            ),
            "states 65538",
        ),
        (
            zip64(
                Zip64Lie {
                    entries_here: Some(1),
                    ..none()
                },
                end(),
            ),
            "has 1 entries",
        ),
        (
            zip64(
                Zip64Lie {
                    central_size: Some(1),
                    ..none()
                },
                end(),
            ),
            "the end record is at byte",
        ),
        (
            zip64(
                Zip64Lie {
                    central_size: Some(u64::MAX),
                    ..none()
                },
                end(),
            ),
            "the end record is at byte",
        ),
        (
            zip64(
                Zip64Lie {
                    central_offset: Some(1),
                    ..none()
                },
                end(),
            ),
            "the end record is at byte",
        ),
        (
            zip64(
                Zip64Lie {
                    record_offset: Some(1),
                    ..none()
                },
                end(),
            ),
            "no zip64 end record at byte 1",
        ),
        (
            zip64(
                Zip64Lie {
                    record_offset: Some(u64::MAX),
                    ..none()
                },
                end(),
            ),
            "goes beyond",
        ),
        (
            zip64(
                Zip64Lie {
                    disks: Some(2),
                    ..none()
                },
                end(),
            ),
            "the number of parts is 2",
        ),
        (
            zip64(
                none(),
                EndLie {
                    entries: Some(1),
                    ..end()
                },
            ),
            "number of entries is 1 in the end record and 2",
        ),
        (
            zip64(
                none(),
                EndLie {
                    central_offset: Some(9),
                    ..end()
                },
            ),
            "offset is 9 in the end record",
        ),
        (
            zip64(
                none(),
                EndLie {
                    disk: Some(3),
                    ..end()
                },
            ),
            "this part's number is 3",
        ),
    ] {
        assert_refused(&bytes, words);
    }
}

#[test]
fn a_second_end_record() {
    // The comment of the one is a whole other archive, whose offsets are right.
    let first = ZipBuilder::new().file("seen", "by some");
    let prefix = {
        let mut bytes = first.clone().comment([0; 500]).build();
        bytes.truncate(bytes.len() - 500);
        bytes
    };
    let mut second = ZipBuilder::new()
        .prefix(&prefix, true)
        .file("other", "by others")
        .build();
    let comment = second.split_off(prefix.len());
    let both = first.comment(&comment).build();
    assert_refused(&both, "two end records");
    // The first record's comment is the second record.
    let twice = ZipBuilder {
        second_end: Some(EndLie::default()),
        end: EndLie {
            comment_length: Some(22),
            ..EndLie::default()
        },
        ..two()
    };
    assert_refused(&twice.build(), "two end records");
    // Twice, the second one right behind.
    let doubled = ZipBuilder {
        second_end: Some(EndLie::default()),
        ..two()
    };
    assert_refused(&doubled.build(), "the end record is at byte");
    // An empty archive in the comment of another one.
    assert_refused(
        &two().comment(ZipBuilder::new().build()).build(),
        "two end records",
    );
}

#[test]
fn a_directory_that_is_cut_or_is_none() {
    let zip = two().build();
    let central = zip.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    let mut broken = zip.clone();
    broken[central] = b'X';
    assert_refused(&broken, "no central directory record at byte");
    let second = central
        + 1
        + zip[central + 1..]
            .windows(4)
            .position(|w| w == b"PK\x01\x02")
            .unwrap();
    let mut long_name = zip.clone();
    long_name[second + 29] = 0x70;
    assert_refused(&long_name, "the central directory record at byte");
    let mut long_comment = zip;
    long_comment[central + 32] = 1;
    assert_refused(&long_comment, "no central directory record at byte");
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn headers_that_disagree() {
    let local = |lie: Lie| one(a().local(lie));
    let central = |lie: Lie| one(a().central(lie));
    let none = Lie::default;
    for (bytes, words) in [
        (
            local(Lie {
                name: Some(b"b".to_vec()),
                ..none()
            }),
            "is called \"b\" in its local header",
        ),
        (
            local(Lie {
                name: Some(b"../b".to_vec()),
                ..none()
            }),
            "is called \"../b\"",
        ),
        (
            local(Lie {
                name: Some(b"A".to_vec()),
                ..none()
            }),
            "is called \"A\"",
        ),
        (
            local(Lie {
                method: Some(0),
                ..none()
            }),
            "method 8 in the central directory, 0 in",
        ),
        (
            local(Lie {
                size: Some(1),
                ..none()
            }),
            "uncompressed size 26 in the central directory, 1 in",
        ),
        (
            local(Lie {
                compressed: Some(1),
                ..none()
            }),
            "compressed size",
        ),
        (
            local(Lie {
                size: Some(0),
                ..none()
            }),
            "uncompressed size",
        ),
        (
            local(Lie {
                signature: Some(*b"PK\x03\x05"),
                ..none()
            }),
            "no local header at byte",
        ),
        (
            local(Lie {
                flags: Some(1),
                ..none()
            }),
            "is encrypted",
        ),
        (
            local(Lie {
                extra_length: Some(9),
                ..none()
            }),
            "",
        ),
        (
            local(Lie {
                extra_length: Some(u16::MAX),
                ..none()
            }),
            "goes beyond byte",
        ),
        (
            local(Lie {
                name_length: Some(u16::MAX),
                ..none()
            }),
            "goes beyond byte",
        ),
        (
            local(Lie {
                name_length: Some(2),
                ..none()
            }),
            "is called",
        ),
        (
            central(Lie {
                offset: Some(3),
                ..none()
            }),
            "overlaps",
        ),
        (
            central(Lie {
                offset: Some(u32::MAX.into()),
                ..none()
            }),
            "",
        ),
        (
            central(Lie {
                compressed: Some(1 << 20),
                ..none()
            }),
            "goes beyond byte",
        ),
        (
            one(a().descriptor(Descriptor::Signed).local(Lie {
                size: Some(3),
                ..none()
            })),
            "uncompressed size",
        ),
        (
            one(a().stored().central(Lie {
                size: Some(3),
                ..none()
            })),
            "is stored, with 26 bytes for 3",
        ),
        (
            one(a().stored().lie(Lie {
                size: Some(3),
                ..none()
            })),
            "is stored, with 26 bytes for 3",
        ),
    ] {
        assert_refused(&bytes, words);
    }
}

#[test]
fn extra_fields_that_do_not_fit() {
    let central = |extra: Vec<u8>| {
        let mut entry = a();
        entry.central_extra = extra;
        one(entry)
    };
    let overrun = [7, 0, 9, 0, 1];
    assert_refused(
        &central(overrun.to_vec()),
        "the extra field 0007 has 9 bytes where 1 are left",
    );
    assert_refused(
        &central(extra::zip64(&[1, 2])),
        "its zip64 field of 16 bytes does not fit",
    );
    assert_refused(&central(extra::zip64(&[1])), "its zip64 field of 8 bytes");
    let mut twice = a().zip64();
    twice.central_extra = extra::zip64(&[26, 20, 0]);
    assert_refused(&one(twice), "its zip64 field of 24 bytes");
    let mut local = a();
    local.local_extra = overrun.to_vec();
    assert_refused(&one(local), "the extra field 0007");
    // What the local zip64 field says counts as well.
    let zip64 = one(a().zip64().local(Lie {
        size: Some(3),
        ..Lie::default()
    }));
    assert_refused(&zip64, "uncompressed size 26 in the central directory, 3");
}

#[test]
fn a_unicode_path_that_disagrees() {
    for path in ["b", "../a", "A"] {
        let entry = a().extra(extra::unicode_path(b"a", path));
        assert_refused(&one(entry), "in its Unicode path field");
    }
    let mut local = a();
    local.local_extra = extra::unicode_path(b"a", "b");
    assert_refused(&one(local), "in its Unicode path field");
}

#[test]
fn entries_that_overlap_or_hide() {
    assert_refused(&two().shared("c", 0).build(), "overlaps");
    // The second one's headers and data lie in the first one's data.
    let inner = ZipBuilder::new().stored("b", "inner").build();
    let mut quoted = ZipBuilder::new()
        .stored("a", &inner)
        .entry(Entry::file("b", "inner").stored());
    let name_and_header = 31;
    quoted.entries[1].central.offset = Some(name_and_header);
    assert_refused(&quoted.build(), "overlaps");
    let mut hidden = two();
    hidden.entries[1].hidden = true;
    assert_refused(
        &hidden.build(),
        "an entry that is not in the central directory",
    );
    let mut first = two();
    first.entries[0].hidden = true;
    assert_refused(
        &first.build(),
        "an entry that is not in the central directory",
    );
    let zipped = ZipBuilder::new().file("x", "y").build();
    assert_refused(
        &two().prefix(zipped, true).build(),
        "not in the central directory is at byte 0",
    );
}

#[test]
fn encryption_and_unknown_methods() {
    for flags in [1, 0x41, 0x2000, 0x40] {
        assert_refused(&one(a().flags(flags)), "is encrypted");
    }
    assert_refused(&one(a().method(99).extra(extra::aes(8))), "is encrypted");
    assert_refused(&one(a().flags(0x20)), "patch data");
    for method in [1, 6, 9, 12, 14, 42, 93, 95, 97, 98, 65_535] {
        assert_refused(
            &one(a().method(method)),
            &format!("compression method {method}"),
        );
    }
}

#[test]
fn names_that_lead_out_or_nowhere() {
    let long = "n".repeat(256);
    let deep = "d/".repeat(2100);
    for (name, words) in [
        ("../a", "'..' component"),
        ("x/../../a", "'..' component"),
        ("x/../a", "'..' component"),
        ("..", "'..' component"),
        ("../", "'..' component"),
        ("/etc/passwd", "absolute"),
        ("/", "absolute"),
        ("//x", "absolute"),
        (".//x", "absolute"),
        ("", "is empty"),
        (".", "'.'"),
        ("x/.", "'.'"),
        ("a\0b", "NUL"),
        ("a\0", "NUL"),
        (&long, "256 bytes"),
        (&deep, "4199 bytes"),
    ] {
        let error = assert_refused(&one(Entry::file(name, "x")), words);
        assert_eq!(error.kind(), ErrorKind::ArchiveUnsafe);
    }
    assert_refused(&one(Entry::symlink("../a", "x")), "'..' component");
    assert_refused(&one(Entry::dir("../a/")), "'..' component");
}

#[test]
fn one_name_for_two_things() {
    let zip = |entries: &[Entry]| {
        entries
            .iter()
            .fold(ZipBuilder::new(), |zip, entry| zip.entry(entry.clone()))
            .build()
    };
    let (file, dir, link) = (
        |n: &str| Entry::file(n, n),
        |n: &str| Entry::dir(n),
        |n: &str| Entry::symlink(n, "t"),
    );
    for (entries, words) in [
        (vec![file("a"), Entry::file("a", "other")], "occurs twice"),
        (vec![file("a"), file("a")], "occurs twice"),
        (vec![file("a"), Entry::file("./a", "other")], "occurs twice"),
        (
            vec![file("a/b"), Entry::file("a//b", "other")],
            "occurs twice",
        ),
        (
            vec![file("a/b"), file("x"), Entry::file("a/./b", "other")],
            "occurs twice",
        ),
        (vec![link("a"), Entry::symlink("a", "u")], "occurs twice"),
        (vec![file("a"), dir("a/")], "is a file, and entry"),
        (vec![dir("a/"), file("a")], "is a directory, and entry"),
        (vec![file("a"), file("a/b")], "needs it to be a directory"),
        (vec![file("a/b"), file("a")], "needs it to be a directory"),
        (
            vec![file("a-b"), file("a/b"), file("a"), file("a.b")],
            "needs it to be a directory",
        ),
        (
            vec![link("a"), file("a/b")],
            "is a symbolic link, and entry",
        ),
        (
            vec![file("a/b/c/d"), link("a/b")],
            "is a symbolic link, and entry",
        ),
        (
            vec![link("a"), link("a/b")],
            "is a symbolic link, and entry",
        ),
        (vec![link("a"), dir("a/")], "is a symbolic link, and entry"),
        (vec![link("a"), file("a")], "is a symbolic link, and entry"),
        (
            vec![link("a"), dir("a/b/")],
            "is a symbolic link, and entry",
        ),
    ] {
        let error = assert_refused(&zip(&entries), words);
        assert_eq!(error.kind(), ErrorKind::ArchiveUnsafe);
    }
}

#[test]
fn mixed_kinds_are_refused_whatever_duplicates_says() {
    let zip = ZipBuilder::new().file("a", "x").symlink("a", "b").build();
    for duplicates in [Duplicates::First, Duplicates::Last] {
        let limits = Limits {
            duplicates,
            ..Limits::default()
        };
        assert!(matches!(
            plan(&package(&zip), &limits),
            Err(UnpackError::Conflict { .. })
        ));
    }
}

#[test]
fn special_files_and_doubtful_kinds() {
    for (mode, words) in [
        (0o010_644, "is a FIFO"),
        (0o020_644, "is a character device"),
        (0o060_644, "is a block device"),
        (0o140_644, "is a socket"),
        (0o150_644, "unknown type"),
    ] {
        assert_refused(&one(a().unix_mode(mode)), words);
    }
    assert_refused(
        &one(a().unix_mode(0o040_755)),
        "a file by its name and a directory by its attributes",
    );
    assert_refused(
        &one(a().maker(FAT).external(0x10)),
        "a directory by its attributes",
    );
    assert_refused(
        &one(Entry::symlink("l/", "a")),
        "a symbolic link by its attributes",
    );
    assert_refused(
        &one(Entry::symlink("l", "a").maker(FAT)),
        "a symbolic link by its attributes",
    );
    assert_refused(
        &one(Entry::file("d/", "content")),
        "is a directory and holds 7 bytes",
    );
    assert_refused(
        &one(Entry::file("d/", "content").stored()),
        "is a directory and holds 7 bytes",
    );
}

#[test]
fn a_directory_that_inflates_to_something() {
    let mut entry = Entry::file("d/", "content").lie(Lie {
        size: Some(0),
        ..Lie::default()
    });
    entry.external = 0o040_755 << 16;
    assert_fails(&one(entry), "holds more than the 0 bytes");
}

#[test]
fn contents_that_are_not_what_is_stated() {
    let big: Vec<u8> = (0..6_000_000_u32)
        .flat_map(|n| (n / 7).to_le_bytes()[..1].to_vec())
        .collect();
    for data in [b"content of a, content of a".to_vec(), big] {
        let size = data.len() as u64;
        let entry = || Entry::file("a", &data);
        let lie = |lie: Lie| one(entry().lie(lie));
        let none = Lie::default;
        assert_fails(
            &lie(Lie {
                crc: Some(7),
                ..none()
            }),
            "and 00000007 is stated",
        );
        assert_fails(
            &one(entry().stored().lie(Lie {
                crc: Some(7),
                ..none()
            })),
            "and 00000007 is stated",
        );
        assert_fails(
            &lie(Lie {
                size: Some(size - 1),
                ..none()
            }),
            "holds more than",
        );
        assert_fails(
            &lie(Lie {
                size: Some(10),
                ..none()
            }),
            "holds more than the 10 bytes",
        );
        assert_fails(
            &lie(Lie {
                size: Some(0),
                ..none()
            }),
            "holds more than the 0 bytes",
        );
        assert_fails(
            &lie(Lie {
                size: Some(size + 1),
                ..none()
            }),
            &format!("holds {size} bytes, and {}", size + 1),
        );
        let deflated = deflate(&data);
        let longer = [&deflated[..], b"more"].concat();
        assert_fails(&one(entry().raw(longer)), "compressed bytes");
        let shorter = deflated[..deflated.len() - 2].to_vec();
        assert_fails(&one(entry().raw(shorter)), "its data are broken");
        let mut broken = deflated.clone();
        broken[0] |= 6;
        assert_fails(&one(entry().raw(broken)), "");
        assert_fails(
            &one(entry().raw(Vec::new())),
            "its data are broken after 0 of",
        );
        // More data, made to look like the trailer by which the quick way finds the data's end.
        let crc = libdeflater::crc32(&data).to_le_bytes();
        let size = u32::try_from(size).unwrap().to_le_bytes();
        let planted = [&deflated[..], &crc, &size, b"hidden"].concat();
        assert_fails(&one(entry().raw(planted)), "compressed bytes");
    }
}

fn deflate(data: &[u8]) -> Vec<u8> {
    use flate2::{Compression, write::DeflateEncoder};
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(6));
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn the_ceiling_holds() {
    let zip = two().build();
    let limits = |max_unpacked_size| Limits {
        max_unpacked_size,
        ..Limits::default()
    };
    assert!(plan(&package(&zip), &limits(32)).is_ok());
    let error = plan(&package(&zip), &limits(31)).unwrap_err();
    assert!(
        matches!(
            error,
            UnpackError::TooLarge {
                reached: 32,
                limit: 31
            }
        ),
        "{error}"
    );
    assert_eq!(error.kind(), ErrorKind::ArchiveUnsafe);
    assert!(
        error.to_string().contains("the limit is 31 bytes"),
        "{error}"
    );
    // Link targets are no files: neither the ceiling nor the count of bytes knows them.
    let links = ZipBuilder::new()
        .file("a", b"12345")
        .symlink("l", "abcdef")
        .build();
    let (_site, unpacked) = unpack_with(&links, &limits(5));
    assert_eq!(unpacked.unwrap().bytes, 5);
    assert_eq!(plan(&package(&links), &limits(5)).unwrap().bytes(), 5);
    assert!(plan(&package(&links), &limits(4)).is_err());
    let huge = one(a().zip64().lie(Lie {
        size: Some(u64::MAX),
        ..Lie::default()
    }));
    assert!(matches!(
        plan(&package(&huge), &limits(9)),
        Err(UnpackError::TooLarge { .. })
    ));
}

/// Wherever a plan over many records is when the user interrupts, it ends soon.
#[test]
fn a_plan_over_many_records_can_be_given_up() {
    // Names in an order that sorting has to do with, and links that lead over each other.
    let count = 40_000_u32;
    let mut zip = (0..count).fold(ZipBuilder::new(), |zip, n| {
        zip.file(format!("d{}/{n}", n.wrapping_mul(2_654_435_761) % 977), b"")
    });
    for n in 0..3000 {
        zip = zip.symlink(format!("links/{n}"), format!("{}", n + 1));
    }
    let package = package(&zip.build());
    let (asked, longest) = (Cell::new(0_u32), Cell::new(Duration::ZERO));
    let last = Cell::new(Instant::now());
    let whole = plan_or_stop(&package, &Limits::default(), &|| {
        asked.set(asked.get() + 1);
        longest.set(longest.get().max(last.replace(Instant::now()).elapsed()));
        false
    });
    assert_eq!(whole.unwrap().files(), u64::from(count));
    // Two passes over the directory, one over the local headers, a sort, and what follows.
    let asked = asked.get();
    assert!(asked > 6 * count / 1024, "asked {asked} times");
    // A thousand small steps, or one run of a sort, on a machine that may be busy.
    assert!(longest.get() < Duration::from_secs(1), "{longest:?}");
    for at in (1..=asked).step_by(asked as usize / 12).chain([asked]) {
        let left = Cell::new(at);
        let given_up = plan_or_stop(&package, &Limits::default(), &|| {
            left.set(left.get() - 1);
            left.get() == 0
        });
        assert!(
            matches!(given_up, Err(UnpackError::Interrupted)),
            "at question {at} of {asked}"
        );
        assert_eq!(left.get(), 0, "it went on");
    }
}

#[test]
fn a_plan_is_for_its_package_only() {
    let (one, other) = (package(&two().build()), package(&ZipBuilder::new().build()));
    let plan = plan(&one, &Limits::default()).unwrap();
    let site = Site::new();
    let root = File::open(site.out()).unwrap();
    let options = Options {
        hash_contents: false,
        workers: None,
        cancel: &CancellationToken::new(),
        reporter: &(),
    };
    let error = run(&other, &plan, root.as_fd(), &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Bug);
}

#[test]
fn cancelled_or_in_the_way() {
    let package = package(&two().build());
    let plan = plan(&package, &Limits::default()).unwrap();
    let site = Site::new();
    let root = File::open(site.out()).unwrap();
    let cancel = CancellationToken::new();
    cancel.cancel();
    let options = Options {
        hash_contents: false,
        workers: None,
        cancel: &cancel,
        reporter: &(),
    };
    let error = run(&package, &plan, root.as_fd(), &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Interrupted);
    // Something that is there already is neither opened nor followed.
    std::os::unix::fs::symlink("../canary", site.out().join("b")).unwrap();
    let options = Options {
        cancel: &CancellationToken::new(),
        ..options
    };
    let error = Error::from(run(&package, &plan, root.as_fd(), &options).unwrap_err());
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (ErrorKind::Io, "\"b\" cannot be created")
    );
    assert_eq!(error.causes().len(), 1);
    site.assert_untouched();
}

#[test]
fn messages_replay_no_escapes() {
    let name = "a\x1b]0;owned\x07\u{202e}\r\n";
    for bytes in [
        ZipBuilder::new().file(name, "x").file(name, "y").build(),
        ZipBuilder::new().symlink("l", format!("../{name}")).build(),
        ZipBuilder::new()
            .entry(a().local(Lie {
                name: Some(name.into()),
                ..Lie::default()
            }))
            .build(),
        [name.as_bytes(), &[0xff; 30]].concat(),
    ] {
        let text = plan(&package(&bytes), &Limits::default())
            .unwrap_err()
            .to_string();
        assert!(
            !text.chars().any(|c| c.is_control() || c == '\u{202e}'),
            "{text:?}"
        );
    }
}
