//! A directory, an AWS, and the program run in it as its user would: nothing of this machine's environment gets in.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use larder_testkit::FakeAws;
use serde_json::Value;

/// The longest a run may take before the test kills it and fails.
const TIME_OUT: Duration = Duration::from_secs(120);

/// A temporary directory and an embedded AWS.
pub struct Bench {
    pub aws: FakeAws,
    pub dir: tempfile::TempDir,
}

/// What a run of the program left.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Bench {
    pub fn new() -> Self {
        Self {
            aws: FakeAws::start(),
            dir: tempfile::tempdir().expect("a temporary directory"),
        }
    }

    /// A path in the directory.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The program, in the directory, with the credentials and the endpoint of the embedded AWS and no other variable.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = bare(self.dir.path());
        command.envs(self.aws.env()).args(arguments);
        command
    }

    /// Runs `larder ARGUMENTS`.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        run(&mut self.command(arguments))
    }

    /// Runs `larder ARGUMENTS` with further variables.
    pub fn run_with(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Ran {
        run(self.command(arguments).envs(variables.iter().copied()))
    }

    /// Every name in the directory, hidden ones too; nothing of larder's may stay but what was asked for.
    pub fn names(&self) -> Vec<String> {
        names(self.dir.path())
    }

    /// `larder.json` of a destination.
    pub fn record(&self, dest: &str) -> Value {
        json(&self.path(dest).join("larder.json"))
    }
}

/// The program in `dir` with an empty environment but for a `HOME` without any AWS configuration.
pub fn bare(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command
        .current_dir(dir)
        .env_clear()
        .env("HOME", dir.join("no-home"))
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .stdin(Stdio::null());
    command
}

/// Runs to the end, or fails the test after the time-out.
pub fn run(command: &mut Command) -> Ran {
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("larder starts");
    finish(child)
}

/// Runs it, and gives its largest resident memory (`VmHWM`) in KiB.
pub fn run_measured(command: &mut Command) -> (Ran, u64) {
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let watch = std::thread::spawn(move || {
        let mut peak = 0;
        while let Ok(text) = fs::read_to_string(&status) {
            let high = text.lines().find_map(|line| {
                line.strip_prefix("VmHWM:")?
                    .trim()
                    .strip_suffix("kB")?
                    .trim()
                    .parse()
                    .ok()
            });
            let Some(high) = high else { break };
            peak = peak.max(high);
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        peak
    });
    let ran = finish(child);
    (ran, watch.join().unwrap())
}

/// Waits for a child that [`bare`] or [`Bench::command`] made, with both outputs piped.
pub fn finish(mut child: Child) -> Ran {
    let id = child.id();
    let (done, watched) = std::sync::mpsc::channel::<()>();
    let watchdog = std::thread::spawn(move || {
        if watched.recv_timeout(TIME_OUT) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            let _ = Command::new("kill").args(["-9", &id.to_string()]).status();
            return true;
        }
        false
    });
    let began = Instant::now();
    drop(child.stdin.take());
    let output: Output = child.wait_with_output().expect("larder's output");
    let _ = done.send(());
    let killed = watchdog.join().unwrap_or_default();
    let ran = Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    };
    assert!(!killed, "larder hung for {:?}: {ran:?}", began.elapsed());
    ran
}

impl Ran {
    /// The exit code must be `code`.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "exit code\n--- stdout\n{}\n--- stderr\n{}",
            self.stdout, self.stderr
        );
        self
    }

    /// Standard error must hold each of `parts`.
    #[track_caller]
    pub fn says(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(
                self.stderr.contains(part),
                "{part:?} is not in stderr:\n{}",
                self.stderr
            );
        }
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|e| panic!("stdout is no JSON: {e}\n{}", self.stdout))
    }

    /// The error object that `--output json` puts on the last line of standard error.
    #[track_caller]
    pub fn json_error(&self) -> Value {
        let last = self.stderr.lines().last().unwrap_or_default();
        let value: Value = serde_json::from_str(last)
            .unwrap_or_else(|e| panic!("the last line of stderr is no JSON: {e}\n{}", self.stderr));
        value["error"].clone()
    }
}

/// The names in a directory, sorted.
pub fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .map(|entries| {
            entries
                .filter_map(Result::ok)
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .collect()
        })
        .unwrap_or_default();
    names.sort();
    names
}

/// A JSON file.
#[track_caller]
pub fn json(path: &Path) -> Value {
    let bytes = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_slice(&bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Writes a file and gives its path.
pub fn write(path: PathBuf, bytes: impl AsRef<[u8]>) -> PathBuf {
    let mut file = fs::File::create(&path).expect("a file");
    file.write_all(bytes.as_ref()).expect("its content");
    path
}

/// The tool's path, or a failure that says how to get it or how to skip the tests that need it.
pub fn tool(name: &str, package: &str) -> Option<PathBuf> {
    let found = std::env::var_os("PATH").and_then(|path| {
        std::env::split_paths(&path)
            .map(|dir| dir.join(name))
            .find(|candidate| candidate.is_file())
    });
    if found.is_none() {
        assert!(
            skipped(name),
            "{name} is not installed. Install it (Debian: apt-get install {package}), or skip the tests that need it \
             with LARDER_SKIP={name}"
        );
    }
    found
}

/// Whether `LARDER_SKIP`, a list with commas, leaves out the tests that need `what`. If so it is said on the real
/// standard error, where the test runner's capture does not hide it.
pub fn skipped(what: &str) -> bool {
    let list = std::env::var("LARDER_SKIP").unwrap_or_default();
    let skip = list.split(',').any(|name| name.trim() == what);
    if skip {
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("a test").to_owned();
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: {test}: needs {what} (LARDER_SKIP)"
        );
    }
    skip
}

/// Whether any of `files` or `texts` holds `needle`; says where.
pub fn holds(dir: &Path, needle: &str, leave_out: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir)
            .into_iter()
            .flatten()
            .filter_map(Result::ok)
        {
            let path = entry.path();
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                todo.push(path);
            } else if !leave_out
                .iter()
                .any(|name| path.file_name() == Some(OsStr::new(name)))
                && fs::read(&path).is_ok_and(|bytes| {
                    bytes
                        .windows(needle.len())
                        .any(|window| window == needle.as_bytes())
                })
            {
                found.push(path);
            }
        }
    }
    found
}
