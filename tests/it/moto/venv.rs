//! The virtual environment that moto runs in: made once below `target/`, and shared by all tests.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::harness;

/// The name in `LARDER_SKIP`, and in what is said about it.
const MOTO: &str = "moto";

/// A Python with what `tests/requirements.txt` lists.
pub struct Venv {
    dir: PathBuf,
}

impl Venv {
    /// The environment, or None where `LARDER_SKIP` leaves moto out.
    ///
    /// # Panics
    /// It cannot be made. The message says what is missing.
    pub fn get() -> Option<&'static Self> {
        static VENV: OnceLock<Result<Venv, String>> = OnceLock::new();
        if harness::skipped(MOTO) {
            return None;
        }
        match VENV.get_or_init(make) {
            Ok(venv) => Some(venv),
            Err(why) => {
                panic!(
                    "moto cannot be set up: {why}\nor skip the tests against it with LARDER_SKIP={MOTO}"
                )
            }
        }
    }

    /// Its Python.
    pub fn python(&self) -> PathBuf {
        self.dir.join("venv/bin/python")
    }

    /// Its Python, with one of the scripts of `tests/moto`.
    pub fn script(&self, name: &str) -> Command {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/moto");
        let mut command = Command::new(self.python());
        command.arg(scripts.join(name));
        command
    }

    /// One of the programs that are installed in it.
    pub fn program(&self, name: &str) -> Command {
        // Its first line may name an interpreter by too long a path.
        let mut command = Command::new(self.python());
        command.arg(self.dir.join("venv/bin").join(name));
        command
    }

    /// Where the wheels are that it was installed from, for further installations without a network.
    pub fn wheels(&self) -> PathBuf {
        self.dir.join("wheels")
    }
}

/// Makes the environment, or finds it made. A lock file keeps two test runs apart; the file `whole` comes last, so that
/// what an interrupted run left is never taken for one.
fn make() -> Result<Venv, String> {
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/requirements.txt");
    let wanted = fs::read(&requirements).map_err(|e| format!("{}: {e}", requirements.display()))?;
    let mut key = DefaultHasher::new();
    (wanted, python()?).hash(&mut key);

    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let dir = target.join(format!("moto-{:016x}", key.finish()));
    let in_dir = |e: std::io::Error| format!("{}: {e}", dir.display());
    fs::create_dir_all(target).map_err(in_dir)?;
    let lock = File::create(dir.with_extension("lock")).map_err(in_dir)?;
    lock.lock().map_err(in_dir)?;

    let whole = dir.join("whole");
    let (venv, wheels) = (dir.join("venv"), dir.join("wheels"));
    if !whole.exists() {
        if dir.exists() {
            fs::remove_dir_all(&dir).map_err(in_dir)?;
        }
        fs::create_dir_all(&dir).map_err(in_dir)?;
        run(
            Command::new("python3").args(["-m", "venv"]).arg(&venv),
            "python3 cannot make a virtual environment (Debian: apt-get install python3-venv)",
        )?;
        let pip = || {
            let mut pip = Command::new(venv.join("bin/python"));
            pip.args([
                "-m",
                "pip",
                "--quiet",
                "--disable-pip-version-check",
                "--no-input",
            ]);
            pip
        };
        run(
            pip()
                .arg("wheel")
                .arg("--wheel-dir")
                .arg(&wheels)
                .arg("--requirement")
                .arg(&requirements),
            "pip cannot get what tests/requirements.txt lists (is a package index reachable?)",
        )?;
        run(
            pip()
                .args(["install", "--no-index", "--no-compile", "--find-links"])
                .arg(&wheels)
                .arg("--requirement")
                .arg(&requirements),
            "pip cannot install what tests/requirements.txt lists",
        )?;
        File::create(&whole).map_err(in_dir)?;
    }
    Ok(Venv { dir })
}

/// Which Python it is: an environment made with one breaks when another takes its place.
fn python() -> Result<Vec<u8>, String> {
    let mut command = Command::new("python3");
    command.args([
        "-c",
        "import sys; print(sys.executable, sys.version); sys.exit(sys.version_info < (3, 10))",
    ]);
    run(
        &mut command,
        "it needs python3, 3.10 or newer (Debian: apt-get install python3 python3-venv)",
    )
}

/// Standard output, or `otherwise` with the end of standard error.
fn run(command: &mut Command, otherwise: &str) -> Result<Vec<u8>, String> {
    let output = command.output().map_err(|e| format!("{otherwise}: {e}"))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let mut why = format!("{otherwise}: {}", output.status);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = stderr.lines().collect();
    for line in &lines[lines.len().saturating_sub(10)..] {
        let _ = write!(why, "\n  {line}");
    }
    Err(why)
}
