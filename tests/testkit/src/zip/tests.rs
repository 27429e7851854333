//! Well-formed archives are read by the tools that everybody has; ill-formed ones differ where they were told to.

use super::*;
use crate::{Tree, packages};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A directory that goes away.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("testkit-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs a tool; `None`, said aloud, when the machine lacks it.
fn run(program: &str, arguments: &[&str]) -> Option<(bool, String)> {
    match Command::new(program).args(arguments).output() {
        Ok(output) => {
            let text = [output.stdout, output.stderr].concat();
            Some((
                output.status.success(),
                String::from_utf8_lossy(&text).into_owned(),
            ))
        }
        Err(error) => {
            eprintln!("skipped: {program}: {error}");
            None
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn trees_come_back_through_info_zip() {
    for (name, tree) in [
        ("python", packages::python_package()),
        ("node", packages::node_package()),
        ("native", packages::native_package()),
        ("layer", packages::layer_package()),
    ] {
        let scratch = Scratch::new(name);
        let (zip, out) = (scratch.0.join("p.zip"), scratch.0.join("out"));
        std::fs::write(&zip, tree.zip()).unwrap();
        let Some((ok, log)) = run("unzip", &["-q", text(&zip), "-d", text(&out)]) else {
            return;
        };
        assert!(ok, "{name}: {log}");
        assert_eq!(
            tree.differences(&out).unwrap(),
            Vec::<String>::new(),
            "{name}"
        );
    }
}

#[test]
fn differences_are_told() {
    let scratch = Scratch::new("differences");
    std::fs::write(scratch.0.join("a"), "1").unwrap();
    std::fs::write(scratch.0.join("b"), "2").unwrap();
    let tree = Tree::new().file("a", "x").file("c", "");
    let told = tree.differences(&scratch.0).unwrap();
    assert_eq!(told.len(), 3, "{told:?}");
}

fn well_formed() -> Vec<(&'static str, ZipBuilder)> {
    let body = packages::sized(3000, 1);
    let with = |change: fn(Entry) -> Entry| {
        ZipBuilder::new()
            .file("a", &body)
            .last(change)
            .dir("d/")
            .file("d/b", "bb")
    };
    vec![
        ("plain", with(|e| e)),
        ("empty", ZipBuilder::new()),
        ("stored", with(Entry::stored)),
        (
            "signed descriptor",
            with(|e| e.descriptor(Descriptor::Signed)),
        ),
        (
            "unsigned descriptor",
            with(|e| e.descriptor(Descriptor::Unsigned)),
        ),
        (
            "stored with descriptor",
            with(|e| e.stored().descriptor(Descriptor::Signed)),
        ),
        ("zip64 entry", with(Entry::zip64)),
        (
            "zip64 with descriptor",
            with(|e| e.zip64().descriptor(Descriptor::Signed)),
        ),
        (
            "zip64 end",
            ZipBuilder {
                zip64_end: Zip64End::Always,
                ..with(|e| e)
            },
        ),
        ("comment", with(|e| e).comment("hello")),
        (
            "counted prefix",
            with(|e| e).prefix("#!/usr/bin/python3\n", true),
        ),
        (
            "uncounted prefix",
            with(|e| e).prefix("#!/usr/bin/python3\n", false),
        ),
        ("time stamp", with(|e| e.mtime(1_700_000_000))),
        ("ntfs", with(|e| e.extra(extra::ntfs(1, 2, 3)))),
        (
            "unicode path",
            with(|e| e.extra(extra::unicode_path(b"a", "a"))),
        ),
        ("fat", with(|e| e.maker(FAT).external(0x20))),
        (
            "reversed directory",
            ZipBuilder {
                central_order: Some(vec![2, 1, 0]),
                ..with(|e| e)
            },
        ),
        (
            "gap",
            with(|e| Entry {
                gap: b"gap".to_vec(),
                ..e
            }),
        ),
    ]
}

#[test]
fn python_reads_every_well_formed_archive() {
    let scratch = Scratch::new("wellformed");
    let script = "import sys, zipfile\nfor p in sys.argv[1:]:\n  z = zipfile.ZipFile(p)\n  assert z.testzip() is None, p\n  [z.read(i) for i in z.infolist()]\n  print(p, len(z.infolist()))\n";
    for (name, builder) in well_formed() {
        let zip = scratch.0.join(format!("{name}.zip"));
        std::fs::write(&zip, builder.build()).unwrap();
        let Some((ok, log)) = run("python3", &["-c", script, text(&zip)]) else {
            return;
        };
        assert!(ok, "{name}: {log}");
        let count = builder.entries.len();
        assert!(
            log.trim_end().ends_with(&count.to_string()),
            "{name}: {log}"
        );
    }
}

#[test]
fn seventy_thousand_entries_make_zip64_end_records() {
    let mut builder = ZipBuilder::new();
    for number in 0..70_000 {
        builder = builder.stored(format!("f{number}"), b"");
    }
    let auto = builder.build();
    assert!(auto.windows(4).any(|w| w == b"PK\x06\x06"));
    builder.zip64_end = Zip64End::Never;
    let wrapped = builder.build();
    let end = wrapped.len() - 22;
    assert_eq!(wrapped[end + 10..end + 12], 4464_u16.to_le_bytes());
}

/// Where the bytes of two archives differ.
fn changed(lie: &ZipBuilder) -> Vec<usize> {
    let truth = ZipBuilder::new().stored("ab", "data").build();
    let lie = lie.build();
    assert_eq!(truth.len(), lie.len());
    (0..truth.len())
        .filter(|&at| truth[at] != lie[at])
        .collect()
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn lies_stand_where_they_belong() {
    // A local header is 30 bytes, the name 2, the data 4: the central header begins at 36, the end record at 84.
    let entry = || Entry::file("ab", "data").stored();
    let one = |entry: Entry| ZipBuilder::new().entry(entry);
    let lie = Lie::default;
    let cases: Vec<(&str, ZipBuilder, Vec<usize>)> = vec![
        (
            "local name",
            one(entry().local(Lie {
                name: Some(b"xb".to_vec()),
                ..lie()
            })),
            vec![30],
        ),
        (
            "central name",
            one(entry().central(Lie {
                name: Some(b"xb".to_vec()),
                ..lie()
            })),
            vec![82],
        ),
        (
            "local method",
            one(entry().local(Lie {
                method: Some(8),
                ..lie()
            })),
            vec![8],
        ),
        (
            "central method",
            one(entry().central(Lie {
                method: Some(8),
                ..lie()
            })),
            vec![46],
        ),
        (
            "local size",
            one(entry().local(Lie {
                size: Some(5),
                ..lie()
            })),
            vec![22],
        ),
        (
            "central size",
            one(entry().central(Lie {
                size: Some(5),
                ..lie()
            })),
            vec![60],
        ),
        (
            "local compressed",
            one(entry().local(Lie {
                compressed: Some(5),
                ..lie()
            })),
            vec![18],
        ),
        (
            "central compressed",
            one(entry().central(Lie {
                compressed: Some(5),
                ..lie()
            })),
            vec![56],
        ),
        (
            "central offset",
            one(entry().central(Lie {
                offset: Some(1),
                ..lie()
            })),
            vec![78],
        ),
        ("both flags", one(entry().flags(1)), vec![6, 44]),
        (
            "signature",
            one(entry().local(Lie {
                signature: Some(*b"PK\x03\x05"),
                ..lie()
            })),
            vec![3],
        ),
        ("raw", one(entry().raw(*b"dota")), vec![33]),
        ("disk", one(Entry { disk: 1, ..entry() }), vec![70]),
        (
            "count",
            ZipBuilder {
                end: EndLie {
                    entries: Some(2),
                    ..EndLie::default()
                },
                ..one(entry())
            },
            vec![94],
        ),
        (
            "end disk",
            ZipBuilder {
                end: EndLie {
                    disk: Some(1),
                    ..EndLie::default()
                },
                ..one(entry())
            },
            vec![88],
        ),
    ];
    for (name, builder, expected) in cases {
        assert_eq!(changed(&builder), expected, "{name}");
    }
}

#[test]
fn two_names_can_share_one_local_header() {
    let zip = ZipBuilder::new().stored("a", "data").shared("b", 0).build();
    let headers: Vec<usize> = (0..zip.len() - 4)
        .filter(|&at| &zip[at..at + 4] == b"PK\x01\x02")
        .collect();
    assert_eq!(headers.len(), 2);
    assert!(headers.iter().all(|at| zip[at + 42..at + 46] == [0; 4]));
    assert_eq!(zip.windows(4).filter(|w| w == b"PK\x03\x04").count(), 1);
}
