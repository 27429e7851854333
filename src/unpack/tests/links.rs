//! Symbolic links: what is kept, what leads outside, in any order of the archive.

use larder_testkit::zip::{Entry, Lie, ZipBuilder};

use super::*;

/// An archive of links, and of one file; both ways round.
fn orders(links: &[(&str, &str)]) -> [Vec<u8>; 2] {
    let zip = |links: &mut dyn Iterator<Item = &(&str, &str)>| {
        links
            .fold(ZipBuilder::new(), |zip, (name, target)| {
                zip.symlink(name, target)
            })
            .file("dir/sub/file", "x")
            .build()
    };
    [zip(&mut links.iter()), zip(&mut links.iter().rev())]
}

#[test]
fn links_that_stay_inside_are_kept_verbatim() {
    for links in [
        &[("l", "dir")][..],
        &[("l", "./dir//sub/../sub/file")],
        &[("l", "nowhere/at/all")],
        &[("l", "nowhere/../dir")],
        &[("l", ".")],
        &[("dir/l", "..")],
        &[("dir/l", "../")],
        &[("dir/sub/l", "../..")],
        &[("dir/sub/l", "../../dir/sub")],
        &[("l", "l")],
        &[("l", "m"), ("m", "l")],
        &[("l", "m/../x"), ("m", "l/..")],
        &[("l", "m"), ("m", "dir/n"), ("dir/n", "sub")],
        &[("a/b/c/l", "../../../m/file"), ("m", "dir/sub")],
        &[("dir/sub/back", "../.."), ("l", "dir/sub/back/dir")],
        &[("l", "dir\\..\\..\\x")],
        &[("l", "\\etc\\passwd")],
        &[("l", "C:\\x")],
        &[("l", "...")],
        &[("l", "é \u{202e}x\n")],
        &[
            ("l", "a-b/.."),
            ("a-b", "dir"),
            ("a/x", "../dir"),
            ("a.b/x", "../a-b"),
        ],
    ] {
        for bytes in orders(links) {
            let (site, result) = unpack(&bytes);
            let unpacked = result.unwrap_or_else(|error| panic!("{links:?}: {error}"));
            assert_eq!(unpacked.symlinks, links.len() as u64);
            for (name, target) in links {
                let found = std::fs::read_link(site.out().join(name)).unwrap();
                assert_eq!(found.to_str(), Some(*target));
            }
        }
    }
}

#[test]
fn links_that_lead_outside_are_refused() {
    for links in [
        &[("l", "..")][..],
        &[("l", "../x")],
        &[("l", "../out/dir")],
        &[("l", "dir/../../x")],
        &[("l", "./.././x")],
        &[("l", "nowhere/../../x")],
        &[("l", "dir/sub/file/../../../../x")],
        &[("dir/l", "../..")],
        &[("dir/sub/l", "../../../etc")],
        // A link to a directory deeper down, and `..` from there; and the reverse.
        &[("l", "m/.."), ("m", ".")],
        &[("l", "m/../.."), ("m", "dir")],
        &[("dir/sub/up", "../.."), ("l", "dir/sub/up/..")],
        &[
            ("dir/sub/up", "../.."),
            ("dir/a", "sub/up"),
            ("dir/b", "a/../c"),
        ],
        &[
            ("a", "b/c"),
            ("b", "dir/sub/up"),
            ("dir/sub/up", "../.."),
            ("c", "b/.."),
        ],
        &[("a/b/c", "d/../../../e"), ("a/b/d", "../..")],
        &[
            ("l", "m/../x"),
            ("m", "n"),
            ("n", "o"),
            ("o", "dir/p"),
            ("dir/p", ".."),
        ],
    ] {
        for bytes in orders(links) {
            assert_refused(&bytes, "it leads outside");
        }
    }
    for target in ["/", "/etc/passwd", "//x", "/var/task/x", "/opt"] {
        assert_refused(
            &ZipBuilder::new().symlink("l", target).build(),
            "absolute path",
        );
    }
}

#[test]
fn long_chains_are_followed_to_their_end() {
    let chain = |end: &str| {
        let links: Vec<(String, String)> = (0..60)
            .map(|n| {
                (
                    format!("l{n:02}"),
                    if n == 59 {
                        end.to_owned()
                    } else {
                        format!("l{:02}", n + 1)
                    },
                )
            })
            .collect();
        links
            .iter()
            .fold(ZipBuilder::new(), |zip, (name, target)| {
                zip.symlink(name, target)
            })
            .build()
    };
    let (_site, result) = unpack(&chain("dir"));
    assert_eq!(result.unwrap().symlinks, 60);
    assert_refused(&chain("../x"), "it leads outside");
}

#[test]
fn many_links_through_each_other_take_no_time() {
    // Each leads through the one before, twice: followed anew each time that would be 2^2000 steps.
    let mut zip = ZipBuilder::new().symlink("d/0000", "..");
    for n in 1..2000 {
        let before = n - 1;
        zip = zip.symlink(format!("d/{n:04}"), format!("{before:04}/d/{before:04}"));
    }
    let (_site, result) = unpack(&zip.build());
    assert_eq!(result.unwrap().symlinks, 2000);
}

#[test]
fn targets_are_read_like_any_content() {
    let deflated = |target: &str| Entry {
        method: 8,
        ..Entry::symlink("l", target)
    };
    let (site, result) = unpack(&ZipBuilder::new().entry(deflated("dir/some/where")).build());
    result.unwrap();
    assert_eq!(
        std::fs::read_link(site.out().join("l")).unwrap().to_str(),
        Some("dir/some/where")
    );
    let one = |entry: Entry| ZipBuilder::new().entry(entry).build();
    assert_refused(&one(Entry::symlink("l", "")), "target is empty");
    assert_refused(&one(Entry::symlink("l", "a\0b")), "NUL");
    assert_refused(
        &one(Entry::symlink("l", "x".repeat(4096))),
        "4096 bytes, more than 4095",
    );
    assert_refused(
        &one(deflated(&"x".repeat(100_000))),
        "100000 bytes, more than 4095",
    );
    assert_refused(
        &one(deflated("dir").lie(Lie {
            crc: Some(1),
            ..Lie::default()
        })),
        "CRC-32",
    );
    assert_refused(
        &one(Entry::symlink("l", "dir").lie(Lie {
            crc: Some(1),
            ..Lie::default()
        })),
        "CRC-32",
    );
    assert_refused(
        &one(deflated(&"x".repeat(100_000)).lie(Lie {
            size: Some(5),
            ..Lie::default()
        })),
        "more than the 5",
    );
    let (site, result) = unpack(&one(Entry::symlink("l", "x/".repeat(2047))));
    result.unwrap();
    assert_eq!(
        std::fs::read_link(site.out().join("l"))
            .unwrap()
            .as_os_str()
            .len(),
        4094
    );
}

#[test]
fn all_targets_together_are_bounded() {
    let target = "x/".repeat(2000);
    let mut zip = ZipBuilder::new();
    for n in 0..1100 {
        let link = Entry {
            method: 8,
            ..Entry::symlink(format!("l{n}"), &target)
        };
        zip = zip.entry(link);
    }
    assert_refused(&zip.build(), "the targets of all links");
}
