//! The cases of the BagIt community's conformance suite (LibraryOfCongress/bagit-conformance-suite), written anew: what is
//! valid, what is not, and what readers only warn about, for the versions in which it differs.

use std::fs;
use std::path::Path;

use larder::digest::Sha256Digest;
use larder::evidence::checksums::Checksums;
use larder::evidence::manifest::Algorithm;

use super::{findings, put, seal};

/// What larder says.
#[derive(Debug, Clone, Copy)]
enum Say {
    Valid,
    /// A finding of this kind, for this path.
    Finds(&'static str, &'static str),
}

use Say::{Finds, Valid};

/// A bag of a version with two payload files.
fn bag(dir: &Path, version: &str, algorithm: Algorithm) {
    let sum = |bytes: &[u8]| {
        let mut sums = Checksums::new([algorithm]);
        sums.read_all(bytes, &mut [0; 64], &mut |_| true).unwrap();
        sums.finish()[0]
            .1
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    put(dir, "data/hello.txt", "hello");
    put(dir, "data/sub/world.txt", "world");
    let text = format!(
        "{} data/hello.txt\n{} data/sub/world.txt\n",
        sum(b"hello"),
        sum(b"world")
    );
    put(dir, &format!("manifest-{algorithm}.txt"), text);
    put(
        dir,
        "bagit.txt",
        format!("BagIt-Version: {version}\nTag-File-Character-Encoding: UTF-8\n"),
    );
}

type Case<'a> = (&'static str, &'static str, Box<dyn Fn(&Path) + 'a>, Say);

fn add<'a>(
    cases: &mut Vec<Case<'a>>,
    name: &'static str,
    version: &'static str,
    change: impl Fn(&Path) + 'a,
    say: Say,
) {
    cases.push((name, version, Box::new(change), say));
}

#[test]
fn cases_of_the_suite() {
    let line = |name: &str, bytes: &[u8]| format!("{} {name}\n", Sha256Digest::of(bytes));
    let append = |dir: &Path, name: &str, text: &str| {
        let before = fs::read_to_string(dir.join(name)).unwrap_or_default();
        put(dir, name, format!("{before}{text}"));
    };
    let none = |_: &Path| {};
    let mut cases: Vec<Case<'_>> = Vec::new();
    for version in ["0.93", "0.94", "0.95", "0.96", "0.97", "1.0"] {
        add(&mut cases, "basic", version, none, Valid);
        add(&mut cases, "sealed", version, |d: &Path| seal(d), Valid);
        add(
            &mut cases,
            "duplicate-metadata-entries",
            version,
            |d: &Path| drop(put(d, "bag-info.txt", "A: b\nA: c\n")),
            Valid,
        );
        add(
            &mut cases,
            "metadata-continued",
            version,
            |d: &Path| drop(put(d, "bag-info.txt", "A: b\n  and more\n\tand more\n")),
            Valid,
        );
        add(
            &mut cases,
            "package-info",
            version,
            |d: &Path| drop(put(d, "package-info.txt", "Payload-Oxum: 10.2\n")),
            Valid,
        );
        add(
            &mut cases,
            "wrong-oxum",
            version,
            |d: &Path| drop(put(d, "bag-info.txt", "Payload-Oxum: 10.3\n")),
            Finds("contradiction", "bag-info.txt"),
        );
        add(
            &mut cases,
            "missing-bagit",
            version,
            |d: &Path| fs::remove_file(d.join("bagit.txt")).unwrap(),
            Finds("missing", "bagit.txt"),
        );
        add(
            &mut cases,
            "missing-data",
            version,
            |d: &Path| fs::remove_dir_all(d.join("data")).unwrap(),
            Finds("missing", "data"),
        );
        add(
            &mut cases,
            "missing-manifest",
            version,
            |d: &Path| fs::remove_file(d.join("manifest-sha256.txt")).unwrap(),
            Finds("missing", "manifest-sha256.txt"),
        );
        add(
            &mut cases,
            "missing-file",
            version,
            |d: &Path| fs::remove_file(d.join("data/hello.txt")).unwrap(),
            Finds("missing", "data/hello.txt"),
        );
        add(
            &mut cases,
            "corrupt-data-file",
            version,
            |d: &Path| drop(put(d, "data/hello.txt", "x")),
            Finds("modified", "data/hello.txt"),
        );
        add(
            &mut cases,
            "extra-data-file",
            version,
            |d: &Path| drop(put(d, "data/extra", "x")),
            Finds("unexpected", "data/extra"),
        );
        add(
            &mut cases,
            "same-filename-listed-twice-with-different-hashes",
            version,
            |d: &Path| append(d, "manifest-sha256.txt", &line("data/hello.txt", b"x")),
            Finds("duplicate", "data/hello.txt"),
        );
        add(
            &mut cases,
            "same-line-in-manifest-more-than-once",
            version,
            |d: &Path| append(d, "manifest-sha256.txt", &line("data/hello.txt", b"hello")),
            Finds("duplicate", "data/hello.txt"),
        );
        add(
            &mut cases,
            "out-of-scope-file-paths-using-dot-notation",
            version,
            |d: &Path| append(d, "manifest-sha256.txt", &line("data/../bagit.txt", b"x")),
            Finds("path", "data/../bagit.txt"),
        );
        add(
            &mut cases,
            "out-of-scope-file-paths-absolute",
            version,
            |d: &Path| append(d, "manifest-sha256.txt", &line("/etc/passwd", b"x")),
            Finds("path", "/etc/passwd"),
        );
        add(
            &mut cases,
            "out-of-scope-file-paths-using-tilde",
            version,
            |d: &Path| append(d, "manifest-sha256.txt", &line("~/x", b"x")),
            Finds("path", "~/x"),
        );
        add(
            &mut cases,
            "out-of-scope-in-fetch",
            version,
            |d: &Path| drop(put(d, "fetch.txt", "http://h/ - ../x\n")),
            Finds("path", "../x"),
        );
        add(
            &mut cases,
            "tag-file-in-payload-manifest",
            version,
            |d: &Path| append(d, "manifest-sha256.txt", &line("bagit.txt", b"x")),
            Finds("path", "bagit.txt"),
        );
        add(
            &mut cases,
            "payload-in-tag-manifest",
            version,
            |d: &Path| {
                drop(put(
                    d,
                    "tagmanifest-sha256.txt",
                    line("data/hello.txt", b"hello"),
                ))
            },
            Finds("path", "data/hello.txt"),
        );
        add(
            &mut cases,
            "fetch-not-in-manifest",
            version,
            |d: &Path| drop(put(d, "fetch.txt", "http://h/ 3 data/other\n")),
            Finds("contradiction", "data/other"),
        );
        add(
            &mut cases,
            "local-fetch",
            version,
            |d: &Path| drop(put(d, "fetch.txt", "http://h/ 5 data/hello.txt\n")),
            Valid,
        );
        add(
            &mut cases,
            "bagit-with-invalid-whitespace",
            version,
            |d: &Path| {
                drop(put(
                    d,
                    "bagit.txt",
                    "BagIt-Version : 1.0\nTag-File-Character-Encoding : UTF-8\n",
                ))
            },
            Finds("malformed", "bagit.txt"),
        );
        add(
            &mut cases,
            "bagit-with-extra-lines",
            version,
            |d: &Path| append(d, "bagit.txt", "Foo: bar\n"),
            Finds("malformed", "bagit.txt"),
        );
        add(
            &mut cases,
            "bom-in-bagit.txt",
            version,
            |d: &Path| {
                let text = fs::read_to_string(d.join("bagit.txt")).unwrap();
                put(d, "bagit.txt", format!("\u{feff}{text}"));
            },
            Finds("malformed", "bagit.txt"),
        );
        add(
            &mut cases,
            "unknown-encoding",
            version,
            |d: &Path| {
                let text = fs::read_to_string(d.join("bagit.txt")).unwrap();
                put(d, "bagit.txt", text.replace("UTF-8", "FOO-16"));
            },
            Finds("unsupported", "bagit.txt"),
        );
        add(
            &mut cases,
            "UTF-16-encoded-tag-files",
            version,
            |d: &Path| {
                let text = fs::read_to_string(d.join("bagit.txt")).unwrap();
                put(d, "bagit.txt", text.replace("UTF-8", "UTF-16"));
                let manifest = fs::read_to_string(d.join("manifest-sha256.txt")).unwrap();
                let units = std::iter::once(0xfeff).chain(manifest.encode_utf16());
                put(
                    d,
                    "manifest-sha256.txt",
                    units.flat_map(u16::to_le_bytes).collect::<Vec<u8>>(),
                );
            },
            Valid,
        );
        add(
            &mut cases,
            "ISO-8859-1-encoded-tag-files",
            version,
            |d: &Path| {
                let text = fs::read_to_string(d.join("bagit.txt")).unwrap();
                put(d, "bagit.txt", text.replace("UTF-8", "ISO-8859-1"));
                put(d, "data/\u{fc}", "u");
                let mut manifest = fs::read(d.join("manifest-sha256.txt")).unwrap();
                manifest.extend(line("data/", b"u").trim_end().bytes());
                manifest.extend([0xfc, b'\n']);
                put(d, "manifest-sha256.txt", manifest);
            },
            Valid,
        );
        add(
            &mut cases,
            "carriage-returns",
            version,
            |d: &Path| {
                let text = fs::read_to_string(d.join("manifest-sha256.txt")).unwrap();
                put(d, "manifest-sha256.txt", text.replace('\n', "\r\n"));
            },
            Valid,
        );
        add(
            &mut cases,
            "uppercase-checksums",
            version,
            |d: &Path| {
                let text = fs::read_to_string(d.join("manifest-sha256.txt")).unwrap();
                let upper: String = text
                    .lines()
                    .map(|l| format!("{}{}\n", l[..64].to_uppercase(), &l[64..]))
                    .collect();
                put(d, "manifest-sha256.txt", upper);
            },
            Valid,
        );
        // The suite's warnings: read, as bagit.py does.
        add(
            &mut cases,
            "made-with-md5sum-tools",
            version,
            |d: &Path| {
                let text = fs::read_to_string(d.join("manifest-sha256.txt")).unwrap();
                put(d, "manifest-sha256.txt", text.replace(" data", " *data"));
            },
            Valid,
        );
        add(
            &mut cases,
            "leading-dot-slash-in-manifest",
            version,
            |d: &Path| {
                let text = fs::read_to_string(d.join("manifest-sha256.txt")).unwrap();
                put(d, "manifest-sha256.txt", text.replace(" data", " ./data"));
            },
            Valid,
        );
        add(
            &mut cases,
            "encoded-newline",
            version,
            |d: &Path| {
                put(d, "data/a\nb", "n");
                append(d, "manifest-sha256.txt", &line("data/a%0Ab", b"n"));
            },
            Valid,
        );
        // Names that only look alike are different files here.
        add(
            &mut cases,
            "filename-normalization",
            version,
            |d: &Path| {
                put(d, "data/e\u{301}", "e");
                append(d, "manifest-sha256.txt", &line("data/\u{e9}", b"e"));
            },
            Finds("missing", "data/\u{e9}"),
        );
        add(
            &mut cases,
            "symlink",
            version,
            |d: &Path| {
                fs::remove_file(d.join("data/hello.txt")).unwrap();
                std::os::unix::fs::symlink("sub/world.txt", d.join("data/hello.txt")).unwrap();
            },
            Finds("special", "data/hello.txt"),
        );
        add(
            &mut cases,
            "unlisted-tag-file",
            version,
            |d: &Path| {
                seal(d);
                put(d, "more.txt", "x");
            },
            Finds("unexpected", "more.txt"),
        );
    }
    // Since 1.0 each payload manifest must be complete.
    let half = |d: &Path| {
        drop(put(
            d,
            "manifest-md5.txt",
            "5d41402abc4b2a76b9719d911017c592 data/hello.txt\n",
        ))
    };
    for version in ["0.93", "0.97"] {
        add(
            &mut cases,
            "incomplete-second-manifest",
            version,
            half,
            Valid,
        );
    }
    add(
        &mut cases,
        "incomplete-second-manifest",
        "1.0",
        half,
        Finds("contradiction", "data/sub/world.txt"),
    );
    add(
        &mut cases,
        "unknown-version",
        "1.1",
        none,
        Finds("unsupported", "bagit.txt"),
    );
    add(
        &mut cases,
        "unknown-version",
        "0.92",
        none,
        Finds("unsupported", "bagit.txt"),
    );

    let dir = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for (name, version, change, say) in &cases {
        let path = dir.path().join("bag");
        bag(&path, version, Algorithm::Sha256);
        change(&path);
        let kinds = findings(dir.path(), &["bag"]);
        let right = match say {
            Valid => kinds.is_empty(),
            Finds(kind, path) => kinds.iter().any(|(k, p)| k == kind && p == path),
        };
        if !right {
            wrong.push(format!("{name} {version}: {say:?}: {kinds:?}"));
        }
        fs::remove_dir_all(&path).unwrap();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for algorithm in Algorithm::ALL {
        let path = dir.path().join("bag");
        bag(&path, "1.0", algorithm);
        assert_eq!(findings(dir.path(), &["bag"]), [], "{algorithm}");
        put(&path, "data/hello.txt", "hellO");
        assert_eq!(
            findings(dir.path(), &["bag"]),
            [("modified".to_owned(), "data/hello.txt".to_owned())],
            "{algorithm}"
        );
        fs::remove_dir_all(&path).unwrap();
    }
}
