//! Deployment packages as their tools make them, and what must be on disk after they were fetched.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::venv::Venv;

/// A directory and the zip made of it.
pub struct Package {
    pub tree: PathBuf,
    pub zip: PathBuf,
    pub runtime: &'static str,
    pub handler: &'static str,
}

impl Package {
    pub fn bytes(&self) -> Vec<u8> {
        fs::read(&self.zip).expect("the package")
    }

    /// What differs between what was zipped and a directory: names, contents, modes, links.
    pub fn differences(&self, dir: &Path) -> Vec<String> {
        let umask = umask(self.zip.parent().expect("the package's directory"));
        let (ours, theirs) = (read(&self.tree, umask), read(dir, umask));
        let mut out = Vec::new();
        for (path, node) in &ours {
            match theirs.get(path) {
                None => out.push(format!("{path} is missing")),
                Some(found) if found != node => {
                    out.push(format!("{path} is {found:.80?} and should be {node:.80?}"));
                }
                Some(_) => {}
            }
        }
        out.extend(
            theirs
                .keys()
                .filter(|path| !ours.contains_key(*path))
                .map(|path| format!("{path} is too much")),
        );
        out
    }

    /// The nodes, by their paths.
    pub fn nodes(&self) -> BTreeMap<String, Node> {
        read(&self.tree, 0)
    }
}

/// A node of a tree, with all that must survive.
#[derive(Debug, PartialEq, Eq)]
pub enum Node {
    Dir { mode: u32 },
    File { mode: u32, content: Vec<u8> },
    Link { target: PathBuf },
}

/// A Python function with `requests`, installed beside it as AWS documents it (`pip install --target`): console scripts
/// with the executable bit in `bin/`, shared libraries, metadata.
pub fn python(venv: &Venv, dir: &Path) -> Package {
    let tree = dir.join("package");
    let status = Command::new(venv.python())
        .args([
            "-m",
            "pip",
            "--quiet",
            "--disable-pip-version-check",
            "install",
            "--no-index",
            "--no-compile",
        ])
        .arg("--find-links")
        .arg(venv.wheels())
        .arg("--target")
        .arg(&tree)
        .arg("requests")
        .status()
        .expect("pip");
    assert!(status.success(), "pip install --target: {status}");
    let handler = "import requests\n\n\ndef handler(event, context):\n    return requests.get(event[\"url\"]).status_code\n";
    fs::write(tree.join("app.py"), handler).expect("a handler");
    Package {
        zip: zip(venv, &tree, &dir.join("package.zip")),
        tree,
        runtime: "python3.13",
        handler: "app.handler",
    }
}

/// A Node function with `node_modules` in the form that npm leaves: `.bin` holds relative links to scripts with the
/// executable bit, a scoped package, a dependency's own `node_modules` with its own `.bin`.
pub fn npm(venv: &Venv, dir: &Path) -> Package {
    let tree = dir.join("function");
    let modules = "node_modules";
    for (path, content, mode) in [
        (
            "index.mjs",
            "import which from 'which';\nexport const handler = async () => which.sync('node');\n",
            0o644,
        ),
        (
            "package.json",
            "{\"name\": \"fn\", \"dependencies\": {\"which\": \"4.0.0\", \"@acme/util\": \"1.0.0\"}}\n",
            0o644,
        ),
        (
            "node_modules/.package-lock.json",
            "{\"name\": \"fn\", \"lockfileVersion\": 3, \"packages\": {}}\n",
            0o644,
        ),
        (
            "node_modules/which/package.json",
            "{\"name\": \"which\", \"bin\": {\"node-which\": \"./bin/which.js\"}}\n",
            0o644,
        ),
        (
            "node_modules/which/bin/which.js",
            "#!/usr/bin/env node\nrequire('../lib');\n",
            0o755,
        ),
        (
            "node_modules/which/lib/index.js",
            "module.exports = { sync: (name) => name };\n",
            0o644,
        ),
        (
            "node_modules/which/node_modules/isexe/package.json",
            "{\"name\": \"isexe\"}\n",
            0o644,
        ),
        (
            "node_modules/which/node_modules/isexe/cli.js",
            "#!/usr/bin/env node\n",
            0o755,
        ),
        (
            "node_modules/@acme/util/package.json",
            "{\"name\": \"@acme/util\", \"bin\": \"run.js\"}\n",
            0o644,
        ),
        (
            "node_modules/@acme/util/run.js",
            "#!/usr/bin/env node\nconsole.log('\u{e9}\u{1f980}');\n",
            0o755,
        ),
        ("node_modules/@acme/util/.npmignore", "", 0o644),
    ] {
        write(&tree.join(path), content.as_bytes(), mode);
    }
    for (link, target) in [
        (".bin/node-which", "../which/bin/which.js"),
        (".bin/util", "../@acme/util/run.js"),
        ("which/node_modules/.bin/isexe", "../isexe/cli.js"),
    ] {
        let path = tree.join(modules).join(link);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        symlink(target, &path).expect("a link");
    }
    Package {
        zip: zip(venv, &tree, &dir.join("function.zip")),
        tree,
        runtime: "nodejs22.x",
        handler: "index.handler",
    }
}

/// The same by npm itself, where it is installed: two packages from local directories, one of them scoped, so that no
/// registry is asked.
pub fn npm_itself(venv: &Venv, dir: &Path) -> Option<Package> {
    let sources = dir.join("sources");
    for (path, content, mode) in [
        (
            "util/package.json",
            "{\"name\": \"@acme/util\", \"version\": \"1.0.0\", \"bin\": {\"util\": \"bin/run.js\"}}",
            0o644,
        ),
        ("util/bin/run.js", "#!/usr/bin/env node\n", 0o644),
        (
            "isexe/package.json",
            "{\"name\": \"isexe\", \"version\": \"1.0.0\", \"bin\": \"cli.js\"}",
            0o644,
        ),
        ("isexe/cli.js", "#!/usr/bin/env node\n", 0o644),
    ] {
        write(&sources.join(path), content.as_bytes(), mode);
    }
    let tree = dir.join("installed");
    write(
        &tree.join("package.json"),
        b"{\"name\": \"fn\", \"version\": \"1.0.0\"}",
        0o644,
    );
    let installed = Command::new("npm")
        .args([
            "install",
            "--offline",
            "--install-links",
            "--no-audit",
            "--no-fund",
            "--silent",
        ])
        .arg(sources.join("util"))
        .arg(sources.join("isexe"))
        .current_dir(&tree)
        .status();
    match installed {
        Ok(status) if status.success() => Some(Package {
            zip: zip(venv, &tree, &dir.join("installed.zip")),
            tree,
            runtime: "nodejs22.x",
            handler: "index.handler",
        }),
        // An addition to what is tested anyway, so nothing fails without it.
        other => {
            eprintln!("npm made no package: {other:?}");
            None
        }
    }
}

/// A custom runtime: one native program called `bootstrap`. It is `openssl`, which `moto_proxy` needs anyway.
pub fn native(venv: &Venv, dir: &Path) -> Package {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let program = std::env::split_paths(&path)
        .map(|dir| dir.join("openssl"))
        .find(|path| path.is_file())
        .expect("openssl is on the PATH");
    let tree = dir.join("native");
    write(
        &tree.join("bootstrap"),
        &fs::read(program).expect("openssl"),
        0o755,
    );
    Package {
        zip: zip(venv, &tree, &dir.join("native.zip")),
        tree,
        runtime: "provided.al2023",
        handler: "bootstrap",
    }
}

/// A handler of one line, for tests that are about something else.
pub fn small(venv: &Venv, dir: &Path, name: &str) -> Package {
    let tree = dir.join(name);
    write(
        &tree.join("app.py"),
        format!("handler = {name:?}\n").as_bytes(),
        0o644,
    );
    Package {
        zip: zip(venv, &tree, &dir.join(format!("{name}.zip"))),
        tree,
        runtime: "python3.13",
        handler: "app.handler",
    }
}

fn write(path: &Path, content: &[u8], mode: u32) {
    fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
    fs::write(path, content).expect("a file");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("its mode");
}

fn zip(venv: &Venv, tree: &Path, zip: &Path) -> PathBuf {
    let status = venv
        .script("package.py")
        .arg(tree)
        .arg(zip)
        .status()
        .expect("package.py");
    assert!(status.success(), "package.py: {status}");
    zip.to_owned()
}

/// Permission bits that this process may not give.
fn umask(dir: &Path) -> u32 {
    use std::os::unix::fs::OpenOptionsExt as _;
    let path = dir.join(".umask");
    let file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o777)
        .open(&path)
        .expect("a file");
    let mode = file.metadata().expect("its mode").permissions().mode();
    fs::remove_file(path).expect("the file goes");
    !mode & 0o777
}

fn read(top: &Path, umask: u32) -> BTreeMap<String, Node> {
    let mut nodes = BTreeMap::new();
    let mut todo = vec![top.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            let metadata = fs::symlink_metadata(&path).expect("its metadata");
            let mode = metadata.permissions().mode() & 0o7777 & !umask;
            let node = if metadata.is_symlink() {
                Node::Link {
                    target: fs::read_link(&path).expect("a target"),
                }
            } else if metadata.is_dir() {
                todo.push(path.clone());
                Node::Dir { mode }
            } else {
                Node::File {
                    mode,
                    content: fs::read(&path).expect("a content"),
                }
            };
            let name = path
                .strip_prefix(top)
                .expect("a path below")
                .to_string_lossy()
                .into_owned();
            nodes.insert(name, node);
        }
    }
    nodes
}
