//! What the proofs share: tables whose cases run side by side, a case of a run that must fail, and what holds for every
//! run whatever happens to it (no secret shown, nothing left behind, nothing of the user's touched).

#![allow(
    clippy::expect_used,
    clippy::print_stderr,
    reason = "tests may panic, and say what they leave out"
)]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use larder_testkit::zip::ZipBuilder;
use larder_testkit::{FunctionBuilder, SECRET_MARKER};
use serde_json::Value;

use crate::harness::{Bench, Ran, finish, run};

/// Stands in the environment of every function of [`planted`].
pub const ENV_VALUE: &str = "LARDERENVIRONMENTVALUE";
/// How many cases of a table run at once. They mostly wait.
const AT_ONCE: usize = 6;

/// Runs every case of a table, several at once, and then says which failed.
#[track_caller]
pub fn each<C: Sync>(cases: &[C], name: impl Fn(&C) -> String + Sync, check: impl Fn(&C) + Sync) {
    assert!(!cases.is_empty(), "a table without cases proves nothing");
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(cases.len()) {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::SeqCst)) {
                    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(case))) {
                        let words = panic
                            .downcast_ref::<String>()
                            .map(String::as_str)
                            .or_else(|| panic.downcast_ref::<&str>().copied())
                            .unwrap_or("no words");
                        let text = format!("case {:?}: {words}", name(case));
                        failed.lock().expect("no panic while held").push(text);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("no panic while held");
    assert!(
        failed.is_empty(),
        "{} of {} cases failed:\n{}",
        failed.len(),
        cases.len(),
        failed.join("\n----\n")
    );
}

/// A function whose environment holds a value that must never be shown.
pub fn planted(bench: &Bench, name: &str) -> FunctionBuilder {
    bench.aws.function(name).env("DATABASE_PASSWORD", ENV_VALUE)
}

/// A package of about `size` bytes that do not compress, different for each seed: `data.bin`, and a few small files.
pub fn package(seed: u64, size: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut data = vec![0_u8; size];
    random.fill(&mut data);
    ZipBuilder::new()
        .file("index.mjs", format!("export const seed = {seed};\n"))
        .stored("data.bin", data)
        .file("bin/run", "#!/bin/sh\n")
        .mode(0o755)
        .symlink("latest", "index.mjs")
        .build()
}

/// Everything below a directory, by path: kind, mode, inode and content. Equal snapshots: nothing was touched.
pub fn snapshot(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            let data = fs::symlink_metadata(&path).expect("it was just listed");
            let content = if data.is_symlink() {
                format!("-> {}", fs::read_link(&path).expect("a link").display())
            } else if data.is_dir() {
                todo.push(path.clone());
                "directory".to_owned()
            } else if data.is_file() {
                let bytes = fs::read(&path).unwrap_or_default();
                larder_testkit::code_sha256(&bytes)
            } else {
                "special".to_owned()
            };
            let name = path
                .strip_prefix(root)
                .expect("below")
                .display()
                .to_string();
            let what = format!("{:o} {} {content}", data.mode(), data.ino());
            found.insert(name, what);
        }
    }
    found
}

/// The bytes of all regular files below a directory, by path.
pub fn contents(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            let data = fs::symlink_metadata(&path).expect("it was just listed");
            if data.is_dir() {
                todo.push(path);
            } else if data.is_file() {
                let name = path
                    .strip_prefix(root)
                    .expect("below")
                    .display()
                    .to_string();
                found.insert(name, fs::read(&path).expect("a readable file"));
            }
        }
    }
    found
}

/// Permission bits.
#[track_caller]
pub fn mode(path: &Path) -> u32 {
    let data = fs::symlink_metadata(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    data.permissions().mode() & 0o7777
}

/// Nothing that a run said holds a secret, or a byte that acts on a terminal.
#[track_caller]
pub fn harmless(ran: &Ran) {
    for (stream, text) in [("stdout", &ran.stdout), ("stderr", &ran.stderr)] {
        for secret in [
            SECRET_MARKER,
            ENV_VALUE,
            "X-Amz-Signature",
            "X-Amz-Security-Token",
        ] {
            assert!(!text.contains(secret), "{secret} in {stream}:\n{text}");
        }
        let acts = text.chars().find(|c| {
            (c.is_control() && !matches!(c, '\n' | '\t'))
                || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        });
        assert_eq!(acts, None, "{stream} acts on a terminal:\n{text}");
    }
}

type Arrange = Box<dyn Fn(&Bench) + Send + Sync>;

/// A run that must fail: how it comes about, and how it must end.
pub struct Failing {
    pub name: String,
    arrange: Arrange,
    /// Arguments after `larder`.
    arguments: Vec<String>,
    variables: Vec<(&'static str, String)>,
    unset: Vec<&'static str>,
    code: i32,
    kind: &'static str,
    says: Vec<String>,
    hint: Option<&'static str>,
    calls: Option<(usize, usize)>,
}

impl Failing {
    /// `larder fetch web out`, with two attempts of each request and a second of patience, must end with this exit
    /// code and kind of error.
    pub fn new(name: impl Into<String>, code: i32, kind: &'static str) -> Self {
        Self {
            name: name.into(),
            arrange: Box::new(|_| {}),
            arguments: ["fetch", "web", "out"].map(String::from).to_vec(),
            variables: Vec::new(),
            unset: Vec::new(),
            code,
            kind,
            says: Vec::new(),
            hint: None,
            calls: None,
        }
    }

    /// What is made before: functions, faults, files.
    pub fn when(mut self, arrange: impl Fn(&Bench) + Send + Sync + 'static) -> Self {
        self.arrange = Box::new(arrange);
        self
    }

    /// Other arguments.
    pub fn run(mut self, arguments: &[&str]) -> Self {
        self.arguments = arguments.iter().map(|&a| a.to_owned()).collect();
        self
    }

    /// Further arguments.
    pub fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments
            .extend(arguments.iter().map(|&a| a.to_owned()));
        self
    }

    /// A variable of the environment.
    pub fn var(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    /// Variables that are not set.
    pub fn without(mut self, names: &[&'static str]) -> Self {
        self.unset.extend(names);
        self
    }

    /// What the message must hold.
    pub fn says(mut self, parts: &[&str]) -> Self {
        self.says.extend(parts.iter().map(|&p| p.to_owned()));
        self
    }

    /// What the hint must hold.
    pub fn hint(mut self, part: &'static str) -> Self {
        self.hint = Some(part);
        self
    }

    /// How many `GetFunction` and `GetObject` are sent.
    pub fn calls(mut self, get_function: usize, get_object: usize) -> Self {
        self.calls = Some((get_function, get_object));
        self
    }

    /// Makes what is there before.
    pub fn arrange(&self, bench: &Bench) {
        (self.arrange)(bench);
    }

    /// The bench with everything arranged, and the run with these further arguments.
    pub fn go(&self, further: &[&str]) -> (Bench, Ran) {
        let bench = Bench::new();
        self.arrange(&bench);
        let before = snapshot(bench.dir.path());
        let mut arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        arguments.extend(["--max-attempts", "2", "--read-timeout", "1s"]);
        arguments.extend(further);
        let mut command = bench.command(&arguments);
        command.envs(self.variables.iter().map(|(k, v)| (k, v)));
        for name in &self.unset {
            command.env_remove(name);
        }
        let ran = run(&mut command).expect(self.code);
        harmless(&ran);
        assert_eq!(ran.stdout, "", "stdout carries results only");
        assert_eq!(
            snapshot(bench.dir.path()),
            before,
            "the directory was touched; stderr:\n{}",
            ran.stderr
        );
        if let Some(calls) = self.calls {
            let sent = (bench.aws.count("GetFunction"), bench.aws.count("GetObject"));
            assert_eq!(
                sent, calls,
                "GetFunction and GetObject; stderr:\n{}",
                ran.stderr
            );
        }
        (bench, ran)
    }

    /// Runs it in both forms of output, once without logs and once with all of them.
    pub fn check(&self) {
        let (_bench, ran) = self.go(&[]);
        let error = ran
            .stderr
            .lines()
            .position(|line| line.starts_with("error: "));
        assert!(
            error.is_some(),
            "no line begins with \"error: \":\n{}",
            ran.stderr
        );
        let parts: Vec<&str> = self.says.iter().map(String::as_str).collect();
        let ran = ran.says(&parts);
        let hints: Vec<&str> = ran
            .stderr
            .lines()
            .skip(error.unwrap_or_default())
            .filter_map(|line| line.strip_prefix("hint: "))
            .collect();
        if let Some(part) = self.hint {
            assert!(
                hints.iter().any(|hint| hint.contains(part)),
                "no hint with {part:?}:\n{}",
                ran.stderr
            );
        }

        // With all logs too: the error stays the last line, and none of them holds a secret.
        let (_bench, ran) = self.go(&["--output", "json", "-vvv"]);
        let error = ran.json_error();
        assert_eq!(error["exit_code"], self.code, "{error}");
        assert_eq!(error["kind"], self.kind, "{error}");
        for part in &self.says {
            let text = unescaped(&error).join("\n");
            assert!(
                text.contains(part) || ran.stderr.contains(part),
                "{part:?} is not in {error}"
            );
        }
        if let Some(part) = self.hint {
            let hint = error["hint"].as_str().unwrap_or_default();
            assert!(hint.contains(part), "no hint with {part:?}: {error}");
        }
    }
}

/// All texts of a JSON value.
fn unescaped(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().flat_map(unescaped).collect(),
        Value::Object(map) => map.values().flat_map(unescaped).collect(),
        _ => Vec::new(),
    }
}

/// Whether this process may do everything to every file.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs `larder` in a mount namespace of its own, with a file system of these options (`size=1m`) at `mnt` in the
/// bench's directory and `mnt` as the working directory. Answers the run, and what was left in `mnt`: names as `find`
/// prints them. `script` may prepare the place. None when the machine does not allow it and the test is to be skipped.
pub fn on_tmpfs(
    bench: &Bench,
    options: &str,
    script: &str,
    arguments: &[&str],
) -> Option<(Ran, Vec<String>)> {
    namespaces()?;
    let mount = bench.path("mnt");
    fs::create_dir_all(&mount).expect("a mount point");
    let list = bench.path("left");
    let larder = bench.command(arguments);
    let mut command = Command::new("unshare");
    command
        .args(["-r", "-m", "sh", "-c"])
        .arg(format!(
            "set -e; mount -t tmpfs -o {options} none \"$1\"; cd \"$1\"; {script}\n\
             list=$2; shift 2; set +e; \"$@\"; code=$?; find . -mindepth 1 > \"$list\"; exit $code"
        ))
        .args(["sh".as_ref(), mount.as_os_str(), list.as_os_str()])
        .arg(larder.get_program())
        .args(larder.get_args())
        .env_clear()
        .envs(larder.get_envs().filter_map(|(k, v)| Some((k, v?))))
        .stdin(Stdio::null());
    let ran = run(&mut command);
    let mut left: Vec<String> = fs::read_to_string(&list)
        .unwrap_or_else(|e| panic!("the script did not come to its end: {e}\n{ran:?}"))
        .lines()
        .map(|line| line.trim_start_matches("./").to_owned())
        .collect();
    left.sort();
    Some((ran, left))
}

/// Whether user and mount namespaces can be made. A machine without them must say `LARDER_SKIP=unshare`.
fn namespaces() -> Option<()> {
    let probe = Command::new("unshare")
        .args([
            "-r",
            "-m",
            "sh",
            "-c",
            "mount -t tmpfs -o size=64k none /mnt",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let why = match probe {
        Ok(child) => {
            let ran = finish(child);
            if ran.code == 0 {
                return Some(());
            }
            ran.stderr
        }
        Err(e) => e.to_string(),
    };
    let skip = std::env::var("LARDER_SKIP").unwrap_or_default();
    assert!(
        skip.split(',').any(|s| s == "unshare"),
        "no mount namespace can be made here: {why}\nSkip the tests that need one with LARDER_SKIP=unshare"
    );
    eprintln!("SKIPPED: no mount namespace can be made here (LARDER_SKIP)");
    None
}

/// `command` as a user who is not root, for whom permissions hold. Gives it back as it is where this process is none.
pub fn as_nobody(command: &Command) -> Command {
    if !is_root() {
        return again(command.get_program(), &[], command);
    }
    let drop = ["--reuid=65534", "--regid=65534", "--clear-groups", "--"];
    again("setpriv".as_ref(), &drop, command)
}

fn again(program: &OsStr, before: &[&str], command: &Command) -> Command {
    let mut out = Command::new(program);
    out.args(before);
    if !before.is_empty() {
        out.arg(command.get_program());
    }
    out.args(command.get_args())
        .env_clear()
        .envs(command.get_envs().filter_map(|(k, v)| Some((k, v?))))
        .stdin(Stdio::null());
    if let Some(dir) = command.get_current_dir() {
        out.current_dir(dir);
    }
    out
}
