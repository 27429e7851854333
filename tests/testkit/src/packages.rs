//! Deployment packages as people deploy them, small, and the same bytes at every call.

use crate::Tree;

/// A Python package: a handler, a vendored wheel with its metadata, a native module with the executable bit and a
/// console script.
#[must_use]
pub fn python_package() -> Tree {
    Tree::new()
        .file(
            "index.py",
            "import json\n\nimport greetings\n\n\ndef handler(event, context):\n    return {\"statusCode\": 200, \"body\": json.dumps(greetings.hello(event))}\n",
        )
        .file("greetings/__init__.py", "from ._fast import hello\n\n__version__ = \"1.4.2\"\n")
        .file("greetings/py.typed", "")
        .file("greetings/data/names.txt", "Åsa\nBjörn\n李\n".repeat(200))
        .executable(
            "greetings/_fast.cpython-313-x86_64-linux-gnu.so",
            elf(96 * 1024, 1),
        )
        .executable("bin/greet", "#!/usr/bin/python3\nfrom greetings.cli import main\nmain()\n")
        .dir("greetings/locale")
        .file(
            "greetings-1.4.2.dist-info/METADATA",
            "Metadata-Version: 2.3\nName: greetings\nVersion: 1.4.2\nLicense: MIT\n",
        )
        .file("greetings-1.4.2.dist-info/RECORD", "greetings/__init__.py,,\ngreetings/py.typed,,\n")
        .file("greetings-1.4.2.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: cp313-cp313-manylinux_2_28_x86_64\n")
}

/// An npm tree: a handler, packages with and without a scope, and `.bin` links.
#[must_use]
pub fn node_package() -> Tree {
    let module = "export const parse = (text) => text.split('.').map(Number);\n".repeat(40);
    Tree::new()
        .file("index.mjs", "import { parse } from 'semver';\nexport const handler = async (event) => ({ version: parse(event.version) });\n")
        .file("package.json", "{\n  \"name\": \"hello\",\n  \"type\": \"module\",\n  \"dependencies\": { \"semver\": \"^7.6.0\", \"@acme/log\": \"^2.0.0\" }\n}\n")
        .file("node_modules/.package-lock.json", "{ \"lockfileVersion\": 3, \"packages\": {} }\n")
        .symlink("node_modules/.bin/semver", "../semver/bin/semver.js")
        .symlink("node_modules/.bin/acme-log", "../@acme/log/cli.js")
        .file("node_modules/semver/package.json", "{ \"name\": \"semver\", \"version\": \"7.6.3\", \"bin\": { \"semver\": \"bin/semver.js\" } }\n")
        .file("node_modules/semver/index.js", module)
        .executable("node_modules/semver/bin/semver.js", "#!/usr/bin/env node\nconsole.log(process.argv[2]);\n")
        .file("node_modules/@acme/log/package.json", "{ \"name\": \"@acme/log\", \"version\": \"2.0.1\" }\n")
        .executable("node_modules/@acme/log/cli.js", "#!/usr/bin/env node\n")
}

/// A single executable, as Go, Rust and C++ functions have it.
#[must_use]
pub fn native_package() -> Tree {
    Tree::new().executable("bootstrap", elf(512 * 1024, 2))
}

/// A layer: files below `python/`.
#[must_use]
pub fn layer_package() -> Tree {
    Tree::new()
        .dir("python")
        .file("python/shared/__init__.py", "VALUE = 42\n")
        .executable("bin/tool", "#!/bin/sh\nexec true\n")
}

/// A package whose zip is `bytes` long, or a little more than 130 where less is asked for: one stored file of
/// [`sized`] bytes.
#[must_use]
pub fn zip_of_size(bytes: usize, seed: u64) -> Vec<u8> {
    let zip = |size: usize| {
        crate::zip::ZipBuilder::new()
            .stored("data.bin", sized(size, seed))
            .build()
    };
    let frame = zip(0).len();
    zip(bytes.saturating_sub(frame))
}

/// Bytes that no compressor makes smaller, the same for the same seed (`SplitMix64`).
#[must_use]
pub fn sized(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut out = Vec::with_capacity(bytes + 8);
    while out.len() < bytes {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        out.extend_from_slice(&(word ^ (word >> 31)).to_le_bytes());
    }
    out.truncate(bytes);
    out
}

/// Something that `file` takes for a 64-bit ELF object; half of it compresses, as machine code does.
fn elf(bytes: usize, seed: u64) -> Vec<u8> {
    let mut out = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0\x01\0\0\0".to_vec();
    out.extend_from_slice(&sized(bytes / 2, seed));
    out.resize(bytes, 0x90);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_met_and_bytes_repeat() {
        for size in [0, 1, 7, 8, 1000] {
            assert_eq!(sized(size, 5).len(), size);
        }
        assert_eq!(sized(100, 5), sized(100, 5));
        assert_ne!(sized(100, 5), sized(100, 6));
        assert_eq!(zip_of_size(5000, 1).len(), 5000);
        assert_eq!(python_package().zip(), python_package().zip());
    }
}
