//! `larder verify` beside `sha256sum -c` on the same bag: 1 GB in files of several sizes, on tmpfs where there is one.
//!
//! `cargo bench --bench verify`; `ROUNDS=5 MB=1000` choose. Rounds are interleaved; figures are medians, the ratio is the
//! median of the ratios within the rounds.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use larder::digest::Sha256Digest;
use larder_testkit::packages;

/// Seconds, and the largest `VmHWM` in KiB.
type Run = (f64, u64);

fn main() -> ExitCode {
    // `cargo test --benches` asks for one quick pass; there is nothing to test here.
    if std::env::args().any(|a| a == "--test") {
        return ExitCode::SUCCESS;
    }
    match bench() {
        Ok(report) => {
            print(&report);
            ExitCode::SUCCESS
        }
        Err(error) => {
            print(&format!("the bench failed: {error}\n"));
            ExitCode::FAILURE
        }
    }
}

fn bench() -> std::io::Result<String> {
    let number = |name: &str, or: usize| {
        std::env::var(name)
            .ok()
            .and_then(|n| n.parse().ok())
            .unwrap_or(or)
    };
    let (rounds, megabytes) = (number("ROUNDS", 5), number("MB", 1000));
    let dir = match Some(Path::new("/dev/shm")).filter(|dir| dir.is_dir()) {
        Some(shm) => tempfile::tempdir_in(shm)?,
        None => tempfile::tempdir()?,
    };
    let bag = dir.path().join("bag");
    let (files, bytes) = make(&bag, megabytes)?;
    let mut runs: [Vec<Run>; 2] = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        runs[0].push(run(
            "sha256sum --quiet -c manifest-sha256.txt && sha256sum --quiet -c tagmanifest-sha256.txt",
            &bag,
        )?);
        runs[1].push(run("\"$larder\" verify -q .", &bag)?);
    }
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let mut report = format!(
        "verify: {files} files, {bytes} bytes, {rounds} rounds, in {}, load {}\n",
        dir.path().display(),
        load.trim()
    );
    for (name, runs) in ["sha256sum -c", "larder verify"].iter().zip(&runs) {
        let wall = median(runs.iter().map(|run| run.0).collect());
        let peak = runs.iter().map(|run| run.1).max().unwrap_or_default();
        let _ = writeln!(report, "  {name:<14} {wall:>7.3} s  {peak:>6} KiB");
    }
    let ratios = runs[0].iter().zip(&runs[1]).map(|(a, b)| b.0 / a.0);
    let _ = writeln!(report, "  wall ratio     {:.2}", median(ratios.collect()));
    Ok(report)
}

/// A bag of files from a few kilobytes to 64 MB.
fn make(bag: &Path, megabytes: usize) -> std::io::Result<(usize, usize)> {
    let mut manifest = String::new();
    let (mut files, mut bytes) = (0, 0);
    let sizes = [64_000_000, 20_000_000, 5_000_000, 500_000, 60_000, 4_000];
    std::fs::create_dir_all(bag.join("data"))?;
    while bytes < megabytes * 1_000_000 {
        let content = packages::sized(sizes[files % sizes.len()], files as u64);
        let name = format!("data/{files:05}.bin");
        std::fs::write(bag.join(&name), &content)?;
        let _ = writeln!(manifest, "{}  {name}", Sha256Digest::of(&content));
        files += 1;
        bytes += content.len();
    }
    let declaration = "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n";
    let tags = [
        ("bagit.txt", declaration),
        ("manifest-sha256.txt", &manifest),
    ];
    let mut tag_manifest = String::new();
    for (name, text) in tags {
        std::fs::write(bag.join(name), text)?;
        let _ = writeln!(
            tag_manifest,
            "{}  {name}",
            Sha256Digest::of(text.as_bytes())
        );
    }
    std::fs::write(bag.join("tagmanifest-sha256.txt"), tag_manifest)?;
    Ok((files, bytes))
}

fn run(line: &str, dir: &Path) -> std::io::Result<Run> {
    let began = Instant::now();
    // `exec`, so that the process that is watched is the tool; of the two sums, the shell is.
    let line = if line.contains("&&") {
        line.to_owned()
    } else {
        format!("exec {line}")
    };
    let mut child = Command::new("sh")
        .args(["-c", &line])
        .env("larder", env!("CARGO_BIN_EXE_larder"))
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
    Ok((began.elapsed().as_secs_f64(), peak))
}

/// `VmHWM`, in KiB.
fn high_water(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok())
        .unwrap_or(0)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[expect(clippy::print_stdout, reason = "the report is the bench's result")]
fn print(text: &str) {
    print!("{text}");
}
