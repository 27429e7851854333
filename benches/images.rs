//! `larder fetch --pull-image` beside `skopeo copy`: an image of 500 MB in 20 layers, from Debian's docker-registry on
//! loopback, to a tmpfs where there is one.
//!
//! `cargo bench --bench images` runs it; `ROUNDS`, `LAYERS` and `LAYER_MB` choose. Rounds are interleaved, so that a machine
//! that is busy is busy for both. Figures are medians, a ratio is the median of the ratios within the rounds, and memory is
//! the largest `VmHWM` of the process. Both make an OCI image layout, and neither unpacks: skopeo is given the manifest in
//! the form that needs no conversion.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use larder_testkit::image::{Family, Image};
use larder_testkit::{FakeAws, packages};
use nix::sys::resource::{UsageWho, getrusage};

/// One run: wall and CPU seconds, and KiB resident at the most.
type Run = (f64, f64, u64);

fn main() -> ExitCode {
    // `cargo test --benches` asks for one quick pass; there is nothing to test here.
    if std::env::args().any(|a| a == "--test") {
        return ExitCode::SUCCESS;
    }
    let (text, code) = match bench() {
        Ok(report) => (report, ExitCode::SUCCESS),
        Err(error) => (format!("the bench failed: {error}\n"), ExitCode::FAILURE),
    };
    let _ = std::io::stdout().write_all(text.as_bytes());
    code
}

fn number(name: &str, default: usize) -> usize {
    let value = std::env::var(name).ok();
    value.and_then(|n| n.parse().ok()).unwrap_or(default)
}

fn bench() -> std::io::Result<String> {
    let (rounds, layers) = (number("ROUNDS", 5), number("LAYERS", 20));
    let size = number("LAYER_MB", 25) * 1_000_000;
    let shm = Some(Path::new("/dev/shm")).filter(|dir| dir.is_dir());
    let dir = match shm {
        Some(shm) => tempfile::tempdir_in(shm)?,
        None => tempfile::tempdir()?,
    };
    let registry = Registry::start(dir.path())?;
    let name = format!("127.0.0.1:{}/bench/image", registry.port);
    let digest = push(dir.path(), &name, layers, size)?;
    let aws = FakeAws::start();
    aws.function("image")
        .image(&format!("{name}:v1"), &digest)
        .create();

    let mut report = String::new();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let _ = writeln!(
        report,
        "{rounds} rounds of {layers} layers of {size} bytes, in {}, load {}",
        dir.path().display(),
        load.trim()
    );
    let out = dir.path().join("out");
    let (mut skopeo, mut larder): (Vec<Run>, Vec<Run>) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        skopeo.push(run(
            &out,
            Command::new("skopeo").args([
                "--insecure-policy",
                "copy",
                "-q",
                "--src-tls-verify=false",
                &format!("docker://{name}@{digest}"),
                &format!("oci:{}", out.display()),
            ]),
        )?);
        larder.push(run(
            &out,
            Command::new(env!("CARGO_BIN_EXE_larder"))
                .args(["fetch", "-q", "image", "--pull-image", "--no-sync"])
                .arg(&out)
                .envs(aws.env()),
        )?);
    }
    let _ = writeln!(
        report,
        "  {:<22} {:>8} {:>8} {:>8}",
        "", "wall s", "CPU s", "peak MB"
    );
    for (name, runs) in [("skopeo copy", &skopeo), ("larder --pull-image", &larder)] {
        let peak = runs.iter().map(|run| run.2).max().unwrap_or_default();
        let _ = writeln!(
            report,
            "  {name:<22} {:>8.3} {:>8.3} {:>8.1}",
            median(runs.iter().map(|run| run.0)),
            median(runs.iter().map(|run| run.1)),
            f64::from(u32::try_from(peak).unwrap_or(u32::MAX)) / 1024.0,
        );
    }
    let pairs = || larder.iter().zip(&skopeo);
    let _ = writeln!(
        report,
        "  larder/skopeo: wall {:.2}, CPU {:.2}",
        median(pairs().map(|(a, b)| a.0 / b.0)),
        median(pairs().map(|(a, b)| a.1 / b.1)),
    );
    Ok(report)
}

/// Makes the image layer by layer on disk, pushes it with skopeo, and answers its digest.
fn push(dir: &Path, name: &str, layers: usize, size: usize) -> std::io::Result<String> {
    let seeds = 0..u64::try_from(layers).unwrap_or_default();
    let image = seeds
        .fold(Image::build(Family::Oci), |image, seed| {
            image.layer(packages::sized(size, seed))
        })
        .create();
    let from = dir.join("push");
    image.write_layout(&from)?;
    let pushed = Command::new("skopeo")
        .args([
            "--insecure-policy",
            "copy",
            "-q",
            "--preserve-digests",
            "--dest-tls-verify=false",
        ])
        .arg(format!("oci:{}", from.display()))
        .arg(format!("docker://{name}:v1"))
        .status()?;
    if !pushed.success() {
        return Err(std::io::Error::other("skopeo could not push the image"));
    }
    std::fs::remove_dir_all(from)?;
    Ok(image.digest)
}

fn run(out: &Path, command: &mut Command) -> std::io::Result<Run> {
    let _ = std::fs::remove_dir_all(out);
    let before = cpu()?;
    let began = Instant::now();
    let mut child = command.stdout(Stdio::null()).spawn()?;
    let mut peak = 0;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        peak = peak.max(high_water(child.id()));
        std::thread::sleep(Duration::from_millis(2));
    };
    let wall = began.elapsed().as_secs_f64();
    if !status.success() {
        return Err(std::io::Error::other(format!("{command:?}: {status}")));
    }
    Ok((wall, cpu()? - before, peak))
}

/// User and system seconds of all children that have ended.
fn cpu() -> std::io::Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    // Microseconds of a bench are far below what a float holds exactly.
    #[expect(clippy::cast_precision_loss)]
    let seconds = |t: nix::sys::time::TimeVal| t.tv_sec() as f64 + t.tv_usec() as f64 / 1e6;
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}

/// `VmHWM`, in KiB.
fn high_water(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok())
        .unwrap_or(0)
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// docker-registry on loopback, until it is dropped.
struct Registry {
    child: Child,
    port: u16,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Registry {
    fn start(dir: &Path) -> std::io::Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let configuration = dir.join("registry.yml");
        let root = dir.join("registry");
        std::fs::write(
            &configuration,
            format!(
                "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"127.0.0.1:{port}\"}}\n",
                root.display()
            ),
        )?;
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(configuration)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| {
                std::io::Error::other(format!(
                    "docker-registry: {e} (Debian: apt-get install docker-registry skopeo)"
                ))
            })?;
        let registry = Self { child, port };
        let since = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if since.elapsed() > Duration::from_secs(20) {
                return Err(std::io::Error::other("docker-registry does not start"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(registry)
    }
}
