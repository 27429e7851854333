//! `larder backup` of some 2,000 function versions beside a script with boto3 that downloads all of them with four threads
//! (`backups.py`). Both ask the embedded AWS, which takes 30 ms for each answer and throttles nobody.
//!
//! `cargo bench --bench backups`; `ROUNDS=3 FUNCTIONS=400 LATENCY_MS=30 PYTHON=python3` choose. A function has four published
//! versions, and `$LATEST` is the last of them; every fourth function shares its code with another. Rounds are interleaved;
//! figures are medians, ratios medians of the ratios within the rounds.

#[path = "common/timed.rs"]
mod timed;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use larder_testkit::{FakeAws, packages};

use timed::{Run, float, load, median, number, run, scratch};

/// Published versions of a function, beside `$LATEST`.
const VERSIONS: usize = 4;
const SIZES: [usize; 6] = [4_000, 20_000, 60_000, 200_000, 500_000, 2_000_000];
const LAYERS: usize = 8;

fn main() -> ExitCode {
    timed::main(bench)
}

/// A run, and what the server saw of it.
struct Seen {
    run: Run,
    calls: Vec<(&'static str, usize)>,
    bytes: u64,
}

const OPERATIONS: [&str; 5] = [
    "ListFunctions",
    "ListAliases",
    "GetFunction",
    "GetLayerVersionByArn",
    "GetObject",
];

fn bench() -> std::io::Result<String> {
    let (rounds, functions) = (number("ROUNDS", 3), number("FUNCTIONS", 400));
    let latency = Duration::from_millis(number("LATENCY_MS", 30) as u64);
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/backups.py");
    let aws = FakeAws::start();
    let deployed = deploy(&aws, functions);
    aws.latency(latency);
    let dir = scratch()?;
    let lines = [
        (
            "boto3, 4 threads",
            format!("{python} {} out", script.display()),
        ),
        ("first run", backup("")),
        ("second run", backup("")),
    ];
    let mut all: [Vec<Seen>; 3] = Default::default();
    for _ in 0..rounds {
        for place in ["out", "store"] {
            let place = dir.path().join(place);
            if place.exists() {
                std::fs::remove_dir_all(place)?;
            }
        }
        for ((_, line), seen) in lines.iter().zip(&mut all) {
            seen.push(watched(&aws, line, dir.path())?);
        }
    }
    let mut report = format!(
        "backups: {} versions of {functions} functions, {:.0} MB as deployed, {latency:?} an answer, {rounds} rounds, in {}, load {}\n",
        functions * (VERSIONS + 1),
        float(deployed) / 1e6,
        dir.path().display(),
        load()
    );
    for ((name, _), seen) in lines.iter().zip(&all) {
        let wall = median(seen.iter().map(|s| s.run.wall).collect());
        let peak = seen.iter().map(|s| s.run.peak).max().unwrap_or_default();
        let ratios = all[0]
            .iter()
            .zip(seen)
            .map(|(a, b)| b.run.wall / a.run.wall);
        let _ = writeln!(
            report,
            "  {name:<17} {wall:>7.2} s  ratio {:.2}  {:>5.1} MB peak  {:>7.1} MB received",
            median(ratios.collect()),
            float(peak) / 1024.0,
            seen.last().map_or(0.0, |s| float(s.bytes) / 1e6),
        );
        for (operation, count) in seen.last().iter().flat_map(|s| &s.calls) {
            let _ = writeln!(report, "      {operation:<21} {count:>6}");
        }
    }
    let stored = size(&dir.path().join("store"))?;
    let _ = writeln!(
        report,
        "  the store holds {:.0} MB: {:.2} of what is deployed",
        float(stored) / 1e6,
        float(stored) / float(deployed)
    );
    Ok(report)
}

fn backup(more: &str) -> String {
    format!(
        "\"$larder\" backup --store store --all --redact-env --max-rate 1000 --progress never -q {more}"
    )
}

/// Makes the functions, and answers the size of all their packages together.
fn deploy(aws: &FakeAws, functions: usize) -> u64 {
    let layers: Vec<String> = (0..LAYERS)
        .map(|i| {
            let zip = packages::zip_of_size(1_000_000, 1_000_000 + i as u64);
            aws.layer(&format!("layer-{i}")).zip(zip).create()
        })
        .collect();
    let mut zips: HashMap<(usize, usize), bytes::Bytes> = HashMap::new();
    let mut deployed = 0;
    for i in 0..functions {
        // Every fourth has the code of the one before it.
        let code = if i % 4 == 3 { i - 1 } else { i };
        let mut zip = |version: usize| {
            let made = zips.entry((code, version)).or_insert_with(|| {
                let size = SIZES[code % SIZES.len()];
                packages::zip_of_size(size, (code * 10 + version) as u64).into()
            });
            made.clone()
        };
        let mut function = aws
            .function(&format!("function-{i:04}"))
            .env("STAGE", "live");
        for version in 1..VERSIONS {
            deployed += zip(version).len() as u64;
            function = function.version(zip(version));
        }
        deployed += 2 * zip(VERSIONS).len() as u64;
        function
            .zip(zip(VERSIONS))
            .publish()
            .alias("live", "4")
            .layer(&layers[i % LAYERS])
            .create();
    }
    deployed
}

fn watched(aws: &FakeAws, line: &str, dir: &Path) -> std::io::Result<Seen> {
    let count = || OPERATIONS.map(|operation| aws.count(operation));
    let sent = || aws.bytes_sent("GetObject");
    let (before, bytes) = (count(), sent());
    let run = run(line, dir, &aws.env())?;
    let calls = OPERATIONS.iter().zip(count()).zip(before);
    Ok(Seen {
        run,
        calls: calls
            .map(|((name, now), then)| (*name, now - then))
            .collect(),
        bytes: sent() - bytes,
    })
}

/// The bytes of all files below.
fn size(dir: &Path) -> std::io::Result<u64> {
    let mut total = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        total += if meta.is_dir() {
            size(&entry.path())?
        } else {
            meta.len()
        };
    }
    Ok(total)
}
