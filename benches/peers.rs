//! larder beside the tools that a user would take instead: unpacking alone, and the whole job over loopback.
//!
//! `make bench` runs it; `make bench ITEMS="python node" ROUNDS=7 LARDER_CORPUS=DIR` takes other packages: every
//! `DIR/NAME.zip`. Rounds are interleaved, each tool once a round, so that a machine that is busy is busy for all.
//! Everything is written to a tmpfs where there is one. The figures are medians; a ratio is the median of the ratios
//! within the rounds. CPU is user and system time of all processes of a run; memory is the largest `VmHWM` among them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use larder_testkit::{FakeAws, Tree, packages};
use nix::sys::resource::{UsageWho, getrusage};

/// One run of one tool.
#[derive(Debug, Clone, Copy)]
struct Run {
    wall: f64,
    cpu: f64,
    /// KiB.
    peak: u64,
}

/// A way to do the job: a shell line with `$zip`, `$url`, `$sha` and `$out`.
struct Peer {
    name: &'static str,
    /// The program that must be there.
    needs: &'static str,
    line: String,
}

/// A package on disk.
struct Item {
    name: String,
    zip: PathBuf,
    sha256: String,
    url: String,
}

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
    let rounds: usize = std::env::var("ROUNDS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(5);
    let base = Some(Path::new("/dev/shm")).filter(|dir| dir.is_dir());
    let dir = match base {
        Some(shm) => tempfile::tempdir_in(shm)?,
        None => tempfile::tempdir()?,
    };
    let aws = FakeAws::start();
    let items = items(&aws, dir.path())?;
    let mut report = String::new();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let _ = writeln!(
        report,
        "{} rounds, in {}, load {}",
        rounds,
        dir.path().display(),
        load.trim()
    );
    for (title, peers) in [("unpack", unpack_peers()), ("whole job", job_peers())] {
        let (here, missing): (Vec<_>, Vec<_>) = peers.into_iter().partition(|p| installed(p.needs));
        let _ = writeln!(report, "\n{title}");
        for peer in &missing {
            let _ = writeln!(report, "  missing: {} (needs {})", peer.name, peer.needs);
        }
        for item in &items {
            let mut runs: Vec<Vec<Run>> = vec![Vec::new(); here.len()];
            for _ in 0..rounds {
                for (peer, runs) in here.iter().zip(&mut runs) {
                    runs.push(run(peer, item, dir.path(), &aws)?);
                }
            }
            table(&mut report, &item.name, &here, &runs);
        }
    }
    Ok(report)
}

fn unpack_peers() -> Vec<Peer> {
    let peer = |name, needs, line: &str| Peer {
        name,
        needs,
        line: line.to_owned(),
    };
    vec![
        peer("Info-ZIP unzip", "unzip", "unzip -q \"$zip\" -d \"$out\""),
        peer(
            "bsdtar",
            "bsdtar",
            "mkdir \"$out\" && bsdtar -xf \"$zip\" -C \"$out\"",
        ),
        peer("7z", "7z", "7z x -y -bd \"-o$out\" \"$zip\""),
        peer(
            "ripunzip",
            "ripunzip",
            "ripunzip -q unzip-file \"$zip\" -d \"$out\"",
        ),
        peer("larder", "sh", "\"$larder\" unpack -q \"$zip\" \"$out\""),
        peer(
            "larder, one core",
            "taskset",
            "taskset -c 0 \"$larder\" unpack -q \"$zip\" \"$out\"",
        ),
    ]
}

fn job_peers() -> Vec<Peer> {
    let peer = |name, needs, line: &str| Peer {
        name,
        needs,
        line: line.to_owned(),
    };
    vec![
        peer(
            "curl|tee|sha256sum; unzip",
            "curl",
            "h=$(curl -sSf \"$url\" | tee \"$out.zip\" | sha256sum | cut -d' ' -f1) && [ \"$h\" = \"$sha\" ] && unzip -q \"$out.zip\" -d \"$out\"",
        ),
        peer(
            "curl; sha256sum; ripunzip",
            "ripunzip",
            "curl -sSf -o \"$out.zip\" \"$url\" && [ \"$(sha256sum \"$out.zip\" | cut -d' ' -f1)\" = \"$sha\" ] && ripunzip -q unzip-file \"$out.zip\" -d \"$out\"",
        ),
        peer(
            "larder fetch",
            "sh",
            "\"$larder\" fetch -q \"$name\" \"$out\" --no-sync",
        ),
        peer(
            "larder fetch, synced",
            "sh",
            "\"$larder\" fetch -q \"$name\" \"$out\"",
        ),
    ]
}

/// The packages: those of `LARDER_CORPUS`, or four that are made here, alike each time.
fn items(aws: &FakeAws, dir: &Path) -> std::io::Result<Vec<Item>> {
    let mut zips: Vec<(String, PathBuf)> = Vec::new();
    if let Some(corpus) = std::env::var_os("LARDER_CORPUS") {
        for entry in std::fs::read_dir(corpus)? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "zip")
                && let Some(stem) = path.file_stem()
            {
                zips.push((stem.to_string_lossy().into_owned(), path));
            }
        }
        zips.sort();
    } else {
        for (name, tree) in made() {
            let path = dir.join(format!("{name}.zip"));
            std::fs::write(&path, tree.zip())?;
            zips.push((name.to_owned(), path));
        }
    }
    let wanted = std::env::var("ITEMS").unwrap_or_default();
    let wanted: Vec<&str> = wanted.split_whitespace().collect();
    zips.retain(|(name, _)| wanted.is_empty() || wanted.contains(&name.as_str()));
    zips.into_iter()
        .map(|(name, zip)| {
            let bytes = std::fs::read(&zip)?;
            let sha256 = larder::digest::Sha256Digest::of(&bytes).hex();
            let url = aws.public_object("bench", &format!("{name}.zip"), bytes.clone());
            aws.function(&name).zip(bytes).create();
            Ok(Item {
                name,
                zip,
                sha256,
                url,
            })
        })
        .collect()
}

/// Many small files, some large ones, one binary, and next to nothing.
fn made() -> Vec<(&'static str, Tree)> {
    let text = |bytes: usize, seed: u64| -> Vec<u8> {
        // Words in a changing order: it deflates to about a third, as source code does.
        let words = [
            "export ",
            "const ",
            "function ",
            "return ",
            "value ",
            "=> ",
            "{\n",
            "}\n",
            "import ",
        ];
        let random = packages::sized(bytes / 4, seed);
        let mut out: Vec<u8> = Vec::with_capacity(bytes + 16);
        for byte in random.iter().cycle() {
            if out.len() >= bytes {
                break;
            }
            out.extend_from_slice(words[usize::from(*byte) % words.len()].as_bytes());
            out.push(b'a' + byte % 26);
        }
        out
    };
    let many = (0..6000u64).fold(Tree::new(), |tree, n| {
        let path = format!("node_modules/p{}/lib/f{n}.js", n % 300);
        let size = 500 + usize::try_from(n * 7919 % 16_000).unwrap_or_default();
        tree.file(&path, text(size, n))
    });
    let large = (0..10u64).fold(Tree::new(), |tree, n| {
        let path = format!("lib/m{n}.so");
        tree.file(
            &path,
            [text(6 << 20, n), packages::sized(2 << 20, n)].concat(),
        )
    });
    let native = Tree::new().executable(
        "bootstrap",
        [text(24 << 20, 1), packages::sized(8 << 20, 2)].concat(),
    );
    vec![
        ("many", many),
        ("large", large),
        ("native", native),
        ("tiny", Tree::new().file("index.py", text(1000, 3))),
    ]
}

fn installed(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

fn run(peer: &Peer, item: &Item, dir: &Path, aws: &FakeAws) -> std::io::Result<Run> {
    let out = dir.join("out");
    let _ = std::fs::remove_dir_all(&out);
    let before = cpu()?;
    let began = Instant::now();
    let mut child = Command::new("sh")
        .args(["-c", &peer.line])
        .envs(aws.env())
        .env("larder", env!("CARGO_BIN_EXE_larder"))
        .env("zip", &item.zip)
        .env("url", &item.url)
        .env("sha", &item.sha256)
        .env("name", &item.name)
        .env("out", &out)
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
    let wall = began.elapsed().as_secs_f64();
    let cpu = cpu()? - before;
    if !status.success() {
        let text = format!("{} on {}: {status}", peer.name, item.name);
        return Err(std::io::Error::other(text));
    }
    Ok(Run { wall, cpu, peak })
}

/// User and system seconds of all children that have ended.
fn cpu() -> std::io::Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let seconds = |t: nix::sys::time::TimeVal| {
        // Microseconds of a bench are far below what a float holds exactly.
        #[expect(clippy::cast_precision_loss)]
        let micros = t.tv_sec() as f64 * 1e6 + t.tv_usec() as f64;
        micros / 1e6
    };
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}

/// The largest `VmHWM` among a process and its children, in KiB.
fn high_water(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let own = status
        .lines()
        .find_map(|line| {
            line.strip_prefix("VmHWM:")?
                .trim()
                .strip_suffix("kB")?
                .trim()
                .parse()
                .ok()
        })
        .unwrap_or(0);
    let children =
        std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children
        .split_whitespace()
        .filter_map(|child| child.parse().ok())
        .map(high_water)
        .fold(own, u64::max)
}

fn table(report: &mut String, item: &str, peers: &[Peer], runs: &[Vec<Run>]) {
    let ripunzip = peers.iter().position(|p| p.name.contains("ripunzip"));
    let _ = writeln!(
        report,
        "  {item:<8} {:<26} {:>8} {:>8} {:>8}  {:>9} {:>8} {:>12}",
        "", "wall s", "CPU s", "peak MB", "wall/base", "CPU/base", "CPU/ripunzip"
    );
    for (peer, own) in peers.iter().zip(runs) {
        let of = |get: fn(&Run) -> f64| median(own.iter().map(get).collect());
        let ratio = |other: &[Run], get: fn(&Run) -> f64| {
            median(
                own.iter()
                    .zip(other)
                    .map(|(a, b)| get(a) / get(b).max(1e-6))
                    .collect(),
            )
        };
        let to_ripunzip = ripunzip.map_or_else(
            || "-".to_owned(),
            |at| format!("{:.2}", ratio(&runs[at], |r| r.cpu)),
        );
        let peak = own.iter().map(|r| r.peak).max().unwrap_or_default();
        let _ = writeln!(
            report,
            "           {:<26} {:>8.3} {:>8.3} {:>8.1}  {:>9.2} {:>8.2} {:>12}",
            peer.name,
            of(|r| r.wall),
            of(|r| r.cpu),
            // KiB of one process: exact in a float.
            f64::from(u32::try_from(peak).unwrap_or(u32::MAX)) / 1024.0,
            ratio(&runs[0], |r| r.wall),
            ratio(&runs[0], |r| r.cpu),
            to_ripunzip
        );
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[expect(clippy::print_stdout, reason = "the report is the bench's result")]
fn print(text: &str) {
    print!("{text}");
}
