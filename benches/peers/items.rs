//! The packages that everything is measured with.

use std::path::{Path, PathBuf};

use larder_testkit::{FakeAws, Tree, packages};

/// A package on disk, that is a function's code too.
pub(crate) struct Item {
    pub(crate) name: String,
    pub(crate) zip: PathBuf,
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
    /// Where the server of the bench has it.
    pub(crate) url: String,
}

/// The packages: those of `LARDER_CORPUS`, or four that are made here, alike each time.
pub(crate) fn items(aws: &FakeAws, dir: &Path) -> std::io::Result<Vec<Item>> {
    let mut zips: Vec<(String, PathBuf)> = Vec::new();
    if let Some(corpus) = std::env::var_os("LARDER_CORPUS") {
        for entry in std::fs::read_dir(corpus)? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "zip")
                && let Some(stem) = path.file_stem()
            {
                zips.push((stem.to_string_lossy().into_owned(), path));
            }
        }
        zips.sort();
    } else {
        for (name, tree) in made() {
            let path = dir.join(format!("{name}.zip"));
            std::fs::write(&path, tree.zip())?;
            zips.push((name.to_owned(), path));
        }
    }
    let wanted = std::env::var("ITEMS").unwrap_or_default();
    let wanted: Vec<&str> = wanted.split_whitespace().collect();
    zips.retain(|(name, _)| wanted.is_empty() || wanted.contains(&name.as_str()));
    zips.into_iter()
        .map(|(name, zip)| {
            let bytes = std::fs::read(&zip)?;
            let size = bytes.len() as u64;
            let sha256 = larder::digest::Sha256Digest::of(&bytes).hex();
            let url = aws.public_object("bench", &format!("{name}.zip"), bytes.clone());
            aws.function(&name).zip(bytes).create();
            Ok(Item {
                name,
                zip,
                bytes: size,
                sha256,
                url,
            })
        })
        .collect()
}

/// Many small files, some large ones, one binary, and next to nothing.
fn made() -> Vec<(&'static str, Tree)> {
    let text = |bytes: usize, seed: u64| -> Vec<u8> {
        // Words in a changing order: it deflates to about a third, as source code does.
        let words = [
            "export ",
            "const ",
            "function ",
            "return ",
            "value ",
            "=> ",
            "{\n",
            "}\n",
            "import ",
        ];
        let random = packages::sized(bytes / 4, seed);
        let mut out: Vec<u8> = Vec::with_capacity(bytes + 16);
        for byte in random.iter().cycle() {
            if out.len() >= bytes {
                break;
            }
            out.extend_from_slice(words[usize::from(*byte) % words.len()].as_bytes());
            out.push(b'a' + byte % 26);
        }
        out
    };
    let many = (0..6000u64).fold(Tree::new(), |tree, n| {
        let path = format!("node_modules/p{}/lib/f{n}.js", n % 300);
        let size = 500 + usize::try_from(n * 7919 % 16_000).unwrap_or_default();
        tree.file(&path, text(size, n))
    });
    let large = (0..10u64).fold(Tree::new(), |tree, n| {
        let path = format!("lib/m{n}.so");
        tree.file(
            &path,
            [text(6 << 20, n), packages::sized(2 << 20, n)].concat(),
        )
    });
    let native = Tree::new().executable(
        "bootstrap",
        [text(24 << 20, 1), packages::sized(8 << 20, 2)].concat(),
    );
    vec![
        ("many", many),
        ("large", large),
        ("native", native),
        ("tiny", Tree::new().file("index.py", text(1000, 3))),
    ]
}
