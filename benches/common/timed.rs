//! Running a shell line, and what it took.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What one run took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    /// Seconds.
    pub(crate) wall: f64,
    /// The largest `VmHWM` of the process, in KiB.
    pub(crate) peak: u64,
}

/// Runs a shell line in `dir`, where `$larder` is the program. The line is one command, or what is watched is the shell.
pub(crate) fn run(line: &str, dir: &Path, env: &[(String, String)]) -> std::io::Result<Run> {
    let began = Instant::now();
    let line = if line.contains("&&") {
        line.to_owned()
    } else {
        format!("exec {line}")
    };
    let mut child = Command::new("sh")
        .args(["-c", &line])
        .env("larder", env!("CARGO_BIN_EXE_larder"))
        .envs(env.iter().map(|(name, value)| (name, value)))
        .current_dir(dir)
        .stdout(Stdio::null())
        .spawn()?;
    let mut peak = 0;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        peak = peak.max(high_water(child.id()));
        std::thread::sleep(Duration::from_micros(500));
    };
    if !status.success() {
        return Err(std::io::Error::other(format!("{line}: {status}")));
    }
    Ok(Run {
        wall: began.elapsed().as_secs_f64(),
        peak,
    })
}

/// `VmHWM`, in KiB.
fn high_water(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok())
        .unwrap_or(0)
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// A number that the environment may choose.
pub(crate) fn number(name: &str, or: usize) -> usize {
    let chosen = std::env::var(name).ok().and_then(|n| n.parse().ok());
    chosen.unwrap_or(or)
}

/// A directory of its own, in memory where the machine has such.
pub(crate) fn scratch() -> std::io::Result<tempfile::TempDir> {
    match Some(Path::new("/dev/shm")).filter(|dir| dir.is_dir()) {
        Some(shm) => tempfile::tempdir_in(shm),
        None => tempfile::tempdir(),
    }
}

pub(crate) fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.trim().to_owned()
}

/// Runs the bench, but not under `cargo test --benches`: there is nothing to test here.
#[expect(clippy::print_stdout, reason = "the report is the bench's result")]
pub(crate) fn main(bench: fn() -> std::io::Result<String>) -> std::process::ExitCode {
    if std::env::args().any(|a| a == "--test") {
        return std::process::ExitCode::SUCCESS;
    }
    match bench() {
        Ok(report) => {
            print!("{report}");
            std::process::ExitCode::SUCCESS
        }
        Err(error) => {
            println!("the bench failed: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

/// A count for a ratio or a round figure.
#[expect(clippy::cast_precision_loss, reason = "for people")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}
