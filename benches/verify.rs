//! `larder verify` beside `sha256sum -c` on the same bag: 1 GB in files of several sizes, on tmpfs where there is one.
//!
//! `cargo bench --bench verify`; `ROUNDS=5 MB=1000` choose. Rounds are interleaved; figures are medians, the ratio is the
//! median of the ratios within the rounds.

#[path = "common/timed.rs"]
mod timed;

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use larder::digest::Sha256Digest;
use larder_testkit::packages;

use timed::{Run, float, load, median, number, run, scratch};

fn main() -> ExitCode {
    timed::main(bench)
}

fn bench() -> std::io::Result<String> {
    let (rounds, megabytes) = (number("ROUNDS", 5), number("MB", 1000));
    let dir = scratch()?;
    let bag = dir.path().join("bag");
    let (files, bytes) = make(&bag, megabytes)?;
    let mut runs: [Vec<Run>; 2] = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        runs[0].push(run(
            "sha256sum --quiet -c manifest-sha256.txt && sha256sum --quiet -c tagmanifest-sha256.txt",
            &bag,
            &[],
        )?);
        runs[1].push(run("\"$larder\" verify -q .", &bag, &[])?);
    }
    let mut report = format!(
        "verify: {files} files, {:.0} MB, {rounds} rounds, in {}, load {}\n",
        float(bytes as u64) / 1e6,
        dir.path().display(),
        load()
    );
    for (name, runs) in ["sha256sum -c", "larder verify"].iter().zip(&runs) {
        let wall = median(runs.iter().map(|run| run.wall).collect());
        let peak = runs.iter().map(|run| run.peak).max().unwrap_or_default();
        let _ = writeln!(report, "  {name:<14} {wall:>7.3} s  {peak:>6} KiB");
    }
    let ratios = runs[0].iter().zip(&runs[1]).map(|(a, b)| b.wall / a.wall);
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
