//! Who may use what: the boundaries of the modules, held against the source itself.

use std::fs;
use std::path::{Path, PathBuf};

/// What a word in the code means, and which files under `src/` may hold it: a file, or a folder with `/`.
struct Rule {
    words: &'static [&'static str],
    may: &'static [&'static str],
    why: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        words: &["crate::cli", "super::cli", "larder::cli"],
        may: &["cli.rs", "cli/", "main.rs"],
        why: "the library does not know the command line",
    },
    Rule {
        words: &[
            "println!",
            "eprintln!",
            "print!",
            "eprint!",
            "dbg!",
            "stdout()",
            "stderr()",
            "anstream",
        ],
        may: &["cli.rs", "cli/"],
        why: "the library never prints; it reports events",
    },
    Rule {
        words: &["process::exit", "process::abort"],
        may: &[],
        why: "a run ends through main, so that everything is cleaned up",
    },
    Rule {
        words: &["clap", "clap_complete", "clap_mangen", "tracing_subscriber"],
        may: &["cli.rs", "cli/"],
        why: "these are the command line's",
    },
    Rule {
        words: &["indicatif"],
        may: &["cli/progress.rs"],
        why: "the library reports events, and one file draws them",
    },
    Rule {
        words: &["quick_junit", "serde_sarif"],
        may: &["cli/report/"],
        why: "a form of the report is one file",
    },
    Rule {
        words: &["saphyr_parser"],
        may: &["drift/yaml.rs"],
        why: "one module bounds what a YAML document may become",
    },
    Rule {
        words: &["aws_sdk_lambda"],
        may: &["lambda.rs", "lambda/"],
        why: "one module speaks to Lambda",
    },
    Rule {
        words: &["aws_config", "aws_runtime"],
        may: &["aws.rs", "aws/"],
        why: "one configuration is shared by all clients",
    },
    Rule {
        words: &["object_store"],
        may: &["store.rs", "store/", "aws/bucket.rs"],
        why: "one module knows the format of a store, and keeps a server's answers out of errors",
    },
    Rule {
        words: &["reqwest"],
        may: &["http.rs", "http/"],
        why: "one module knows how to keep a URL's query out of errors, and to bound every wait",
    },
    Rule {
        words: &["libdeflater", "fdeflate", "flate2"],
        may: &["unpack.rs", "unpack/"],
        why: "one module reads archives, by the policy",
    },
    Rule {
        words: &[
            "fs::write",
            "fs::rename",
            "fs::remove_file",
            "fs::remove_dir",
            "fs::remove_dir_all",
            "fs::create_dir",
            "fs::create_dir_all",
            "fs::copy",
            "fs::hard_link",
            "fs::set_permissions",
            "File::create",
            "File::create_new",
            "OpenOptions",
        ],
        // man.rs writes documentation, nothing that was fetched.
        may: &["files.rs", "files/", "unpack.rs", "unpack/", "cli/man.rs"],
        why: "what is kept is staged and published in one place",
    },
];

/// Where `word` stands in `code` with no letter, digit or `_` on either side.
fn holds(code: &str, word: &str) -> bool {
    let part_of_name = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    code.match_indices(word).any(|(at, _)| {
        let after = code[at + word.len()..].chars().next();
        !part_of_name(code[..at].chars().next_back())
            && (word.ends_with(['!', ')', ':']) || !part_of_name(after))
    })
}

/// The source with its strings emptied and its comments left out, line for line; good enough for what rustfmt wrote.
fn code_of(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut chars = source.chars().peekable();
    let (mut in_string, mut in_comment) = (false, false);
    while let Some(c) = chars.next() {
        match c {
            '\n' => {
                in_comment = false;
                out.push(c);
            }
            _ if in_comment => {}
            // What is escaped in a string is left out; a line break stays one.
            '\\' if in_string => out.extend(chars.next().filter(|c| *c == '\n')),
            '"' if !out.ends_with('\'') || in_string => in_string = !in_string,
            '/' if !in_string && chars.peek() == Some(&'/') => in_comment = true,
            c if !in_string => out.push(c),
            _ => {}
        }
    }
    out
}

fn breaches(file: &str, source: &str) -> Vec<String> {
    let mut out = Vec::new();
    let code = code_of(source);
    let mut lines = code.lines().enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        // Tests stand last in a file and may do as they need.
        if line == "#[cfg(test)]" && lines.peek().is_some_and(|(_, next)| next.ends_with('{')) {
            break;
        }
        for rule in RULES {
            let allowed = rule
                .may
                .iter()
                .any(|may| file == *may || (may.ends_with('/') && file.starts_with(may)));
            for word in rule
                .words
                .iter()
                .filter(|word| !allowed && holds(line, word))
            {
                out.push(format!("src/{file}:{}: {word}: {}", number + 1, rule.why));
            }
        }
    }
    out
}

fn sources(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

#[test]
fn the_source_keeps_the_boundaries() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 10, "{files:?}");
    let mut found = Vec::new();
    for path in files {
        let name = path
            .strip_prefix(&root)
            .unwrap()
            .to_str()
            .unwrap()
            .replace('\\', "/");
        // This file is made of the words themselves, and tests may do as they need.
        if name != "cli/boundaries.rs" && !name.ends_with("/tests.rs") && !name.contains("/tests/")
        {
            found.extend(breaches(&name, &fs::read_to_string(&path).unwrap()));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_breach_is_found() {
    for (file, line, count) in [
        ("transfer.rs", "use reqwest::Client;", 1),
        ("http.rs", "use reqwest::Client;", 0),
        ("ops/fetch.rs", "    eprintln!(\"x\");", 1),
        ("ops/fetch.rs", "    println!(\"x\");", 1),
        ("ops/fetch.rs", "use crate::cli::exit;", 1),
        ("ops/fetch.rs", "// as in crate::cli", 0),
        ("ops/fetch.rs", "let s = \"reqwest // \\\" println!\";", 0),
        ("cli/fetch.rs", "std::process::exit(1)", 1),
        ("lambda/describe.rs", "use aws_sdk_lambda::Client;", 0),
        ("lambda/describe.rs", "use libdeflater_sys::X;", 0),
        ("lambda/describe.rs", "use flate2::read;", 1),
        (
            "lambda/describe.rs",
            "let c = '\"'; // \nuse flate2::read;",
            1,
        ),
        (
            "lambda/describe.rs",
            "let c = \"\n\\\nuse flate2::read;\";",
            0,
        ),
        ("files.rs", "fs::rename(a, b)?;", 0),
        ("record.rs", "std::fs::rename(a, b)?;", 1),
        ("record.rs", "fs::renamed(a, b)?;", 0),
    ] {
        assert_eq!(breaches(file, line).len(), count, "{file}: {line}");
    }
}
