//! Running a tool, and what it took.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use larder_testkit::FakeAws;
use nix::sys::resource::{UsageWho, getrusage};

use crate::items::Item;

/// One run of one tool.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    /// Seconds.
    pub(crate) wall: f64,
    /// Seconds, user and system, of all processes.
    pub(crate) cpu: f64,
    /// KiB.
    pub(crate) peak: u64,
}

/// A way to do the job: a shell line with `$zip`, `$url`, `$sha`, `$name`, `$out` and what else a section sets.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    /// The program that must be there.
    needs: &'static str,
    line: &'static str,
    /// What is done to the server before each run.
    before: fn(&FakeAws),
}

impl Peer {
    pub(crate) fn new(name: &'static str, needs: &'static str, line: &'static str) -> Self {
        Self {
            name,
            needs,
            line,
            before: |_| {},
        }
    }

    pub(crate) fn before(self, before: fn(&FakeAws)) -> Self {
        Self { before, ..self }
    }
}

/// Where runs take place.
pub(crate) struct Place<'a> {
    pub(crate) aws: &'a FakeAws,
    pub(crate) dir: &'a Path,
    pub(crate) rounds: usize,
    /// Variables for the shell lines.
    pub(crate) env: Vec<(&'static str, String)>,
}

/// The runs of one peer on one item, a run a round.
pub(crate) type Runs = Vec<Run>;

impl<'a> Place<'a> {
    /// The same with these variables.
    pub(crate) fn with<const N: usize>(&self, env: [(&'static str, String); N]) -> Place<'a> {
        Place {
            env: env.into(),
            ..*self
        }
    }

    /// The peers that are installed; says which are not.
    pub(crate) fn here(report: &mut String, peers: Vec<Peer>) -> Vec<Peer> {
        let (here, missing): (Vec<_>, Vec<_>) = peers.into_iter().partition(|p| installed(p.needs));
        for peer in &missing {
            let _ = writeln!(
                report,
                "  MISSING, not measured: {} (needs {})",
                peer.name, peer.needs
            );
        }
        here
    }

    /// All rounds: each peer once a round.
    pub(crate) fn rounds(&self, item: &Item, peers: &[Peer]) -> std::io::Result<Vec<Runs>> {
        let mut runs: Vec<Runs> = vec![Vec::new(); peers.len()];
        for _ in 0..self.rounds {
            for (peer, runs) in peers.iter().zip(&mut runs) {
                (peer.before)(self.aws);
                runs.push(self.run(peer, item)?);
            }
        }
        Ok(runs)
    }

    fn run(&self, peer: &Peer, item: &Item) -> std::io::Result<Run> {
        let out = self.dir.join("out");
        let _ = std::fs::remove_dir_all(&out).or_else(|_| std::fs::remove_file(&out));
        let before = children()?;
        let began = Instant::now();
        let mut child = Command::new("sh")
            .args(["-c", peer.line])
            .envs(self.aws.env())
            .env("larder", env!("CARGO_BIN_EXE_larder"))
            .env("zip", &item.zip)
            .env("url", &item.url)
            .env("sha", &item.sha256)
            .env("name", &item.name)
            .env("out", &out)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(self.dir)
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
        let cpu = children()? - before;
        if !status.success() {
            let text = format!("{} on {}: {status}", peer.name, item.name);
            return Err(std::io::Error::other(text));
        }
        Ok(Run { wall, cpu, peak })
    }
}

pub(crate) fn installed(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

/// User and system seconds of all children that have ended.
fn children() -> std::io::Result<f64> {
    cpu(UsageWho::RUSAGE_CHILDREN)
}

/// User and system seconds of the thread that asks.
pub(crate) fn own() -> std::io::Result<f64> {
    cpu(UsageWho::RUSAGE_THREAD)
}

fn cpu(who: UsageWho) -> std::io::Result<f64> {
    let usage = getrusage(who)?;
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

/// One line a peer: its medians, and the median of its ratios within the rounds to the first peer, and to `other`.
pub(crate) fn table(
    report: &mut String,
    item: &str,
    peers: &[Peer],
    runs: &[Runs],
    other: Option<&str>,
) {
    let other = other.and_then(|name| Some((name, peers.iter().position(|p| p.name == name)?)));
    let to_other = other.map_or(String::new(), |(name, _)| format!("CPU/{name}"));
    let _ = writeln!(
        report,
        "  {item:<8} {:<30} {:>8} {:>8} {:>8}  {:>10} {:>9} {:>13}",
        "", "wall s", "CPU s", "peak MB", "wall/first", "CPU/first", to_other
    );
    for (peer, own) in peers.iter().zip(runs) {
        let peak = own.iter().map(|r| r.peak).max().unwrap_or_default();
        let to_other = other.map_or(String::new(), |(_, at)| {
            format!("{:.2}", ratio(own, &runs[at], |r| r.cpu))
        });
        let _ = writeln!(
            report,
            "           {:<30} {:>8.3} {:>8.3} {:>8.1}  {:>10.2} {:>9.2} {:>13}",
            peer.name,
            medians(own, |r| r.wall),
            medians(own, |r| r.cpu),
            // KiB of one process: exact in a float.
            f64::from(u32::try_from(peak).unwrap_or(u32::MAX)) / 1024.0,
            ratio(own, &runs[0], |r| r.wall),
            ratio(own, &runs[0], |r| r.cpu),
            to_other
        );
    }
}

/// The median of one figure.
pub(crate) fn medians(runs: &[Run], get: fn(&Run) -> f64) -> f64 {
    median(runs.iter().map(get).collect())
}

/// The median of the ratios within the rounds.
pub(crate) fn ratio(own: &[Run], other: &[Run], get: fn(&Run) -> f64) -> f64 {
    let ratios = own.iter().zip(other);
    median(ratios.map(|(a, b)| get(a) / get(b).max(1e-6)).collect())
}

/// The one in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
