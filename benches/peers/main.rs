//! larder beside the tools that a user would take instead, over loopback and on a tmpfs where there is one.
//!
//! `make bench` runs all of it. What chooses, in the environment:
//!
//! | variable | what |
//! |---|---|
//! | `ROUNDS` | rounds; 5 |
//! | `LARDER_CORPUS` | a directory: every `NAME.zip` in it is measured; else packages that are made, alike each time |
//! | `ITEMS` | names of the packages, with spaces between; all |
//! | `SECTIONS` | of `unpack job tls limited`; all |
//!
//! | section | what is compared |
//! |---|---|
//! | `unpack` | `larder unpack` with unzip, bsdtar, 7z and ripunzip; pinned to one core, with the same steps in one worker |
//! | `job` | `larder fetch` with pipelines of curl, sha256sum and an unpacker; once on the disk, with its syncs; its CPU with the floor that `floor.rs` models |
//! | `tls` | the transfer alone from an nginx, with TLS and without, with curl's |
//! | `limited` | the transfer of packages of 24 MB or more from a server that limits each connection to 25 or 50 MB/s, or not, with one connection: there the server does not know ranges, so that larder takes the whole at once |
//!
//! Rounds are interleaved, each tool once a round, so that a machine that is busy is busy for all.
//! The figures are medians; a ratio is the median of the ratios within the rounds. CPU is user and system time of all processes of a run,
//! the servers' not among them; memory is the largest `VmHWM`. What is not installed is named.

mod alone;
mod floor;
mod items;
mod measure;
mod tls;

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use larder_testkit::{FakeAws, Fault, On};

use floor::Floor;
use items::Item;
use measure::{Peer, Place, installed, medians, ratio, table};

/// From this size on a package may come over several connections, in bytes.
const LARGE: u64 = 24 << 20;

/// Measures, and writes its report.
type Section = fn(&Place, &[Item], &mut String) -> io::Result<()>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    // `cargo test --benches` asks for one quick pass; there is nothing to test here.
    if args.iter().any(|a| a == "--test") {
        return ExitCode::SUCCESS;
    }
    let outcome = match args.iter().position(|a| a == "--one-worker") {
        Some(at) => match &args[at + 1..] {
            [package, dest] => alone::unpack(Path::new(package), Path::new(dest)),
            _ => Err(io::Error::other("--one-worker PACKAGE DEST")),
        },
        None => bench(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print(&format!("the bench failed: {error}\n"));
            ExitCode::FAILURE
        }
    }
}

fn bench() -> io::Result<()> {
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
    let items = items::items(&aws, dir.path())?;
    let place = Place {
        aws: &aws,
        dir: dir.path(),
        rounds,
        env: Vec::new(),
    };
    print(&format!(
        "{rounds} rounds, in {}, load {}\n",
        dir.path().display(),
        load()
    ));
    let chosen = std::env::var("SECTIONS").unwrap_or_default();
    let sections: [(&str, Section); 4] = [
        ("unpack", unpack),
        ("job", job),
        ("tls", tls),
        ("limited", limited),
    ];
    for (name, section) in sections {
        if chosen.is_empty() || chosen.split_whitespace().any(|c| c == name) {
            let mut report = String::new();
            section(&place, &items, &mut report)?;
            print(&format!("\n{name}\n{report}  load afterwards {}\n", load()));
        }
    }
    Ok(())
}

fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.trim().to_owned()
}

/// Unpacking alone.
fn unpack(place: &Place, items: &[Item], report: &mut String) -> io::Result<()> {
    let this = std::env::current_exe()?;
    let place = place.with([("this", this.to_string_lossy().into_owned())]);
    let pinned = "larder, pinned to one core";
    let alone = "the same steps, one worker";
    let peers = vec![
        Peer::new("Info-ZIP unzip", "unzip", r#"unzip -q "$zip" -d "$out""#),
        Peer::new(
            "bsdtar",
            "bsdtar",
            r#"mkdir "$out" && bsdtar -xf "$zip" -C "$out""#,
        ),
        Peer::new("7z", "7z", r#"7z x -y -bd "-o$out" "$zip""#),
        Peer::new(
            "ripunzip",
            "ripunzip",
            r#"ripunzip -q unzip-file "$zip" -d "$out""#,
        ),
        Peer::new("larder", "sh", r#""$larder" unpack -q "$zip" "$out""#),
        Peer::new(
            pinned,
            "taskset",
            r#"taskset -c 0 "$larder" unpack -q "$zip" "$out""#,
        ),
        Peer::new(alone, "sh", r#""$this" --one-worker "$zip" "$out""#),
    ];
    let peers = Place::here(report, peers);
    for item in items {
        let runs = place.rounds(item, &peers)?;
        table(report, &item.name, &peers, &runs, Some("ripunzip"));
        let at = |name| peers.iter().position(|p| p.name == name);
        if let (Some(pinned), Some(alone)) = (at(pinned), at(alone)) {
            let (pinned, alone) = (&runs[pinned], &runs[alone]);
            let _ = writeln!(
                report,
                "           pinned to one worker: wall {:.3}, CPU {:.3}",
                ratio(pinned, alone, |r| r.wall),
                ratio(pinned, alone, |r| r.cpu)
            );
        }
    }
    Ok(())
}

/// The whole job.
fn job(place: &Place, items: &[Item], report: &mut String) -> io::Result<()> {
    let disk = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let path = disk.path().join("out");
    let place = place.with([("disk", path.to_string_lossy().into_owned())]);
    let fetch = "larder fetch";
    let nowhere = "curl to nowhere";
    let peers = vec![
        Peer::new(
            "curl|tee|sha256sum; unzip",
            "curl",
            r#"h=$(curl -sSf "$url" | tee "$out.zip" | sha256sum | cut -d' ' -f1) && [ "$h" = "$sha" ] && unzip -q "$out.zip" -d "$out""#,
        ),
        Peer::new(
            "curl; sha256sum; ripunzip",
            "ripunzip",
            r#"curl -sSf -o "$out.zip" "$url" && [ "$(sha256sum "$out.zip" | cut -d' ' -f1)" = "$sha" ] && ripunzip -q unzip-file "$out.zip" -d "$out""#,
        ),
        Peer::new(
            fetch,
            "sh",
            r#""$larder" fetch -q "$name" "$out" --no-sync"#,
        ),
        Peer::new(
            "larder fetch, synced",
            "sh",
            r#""$larder" fetch -q "$name" "$out""#,
        ),
        Peer::new(nowhere, "curl", r#"curl -sSf -o /dev/null "$url""#),
    ];
    let peers = Place::here(report, peers);
    let on_disk = [Peer::new(
        "larder fetch, synced, on disk",
        "sh",
        r#""$larder" fetch -q "$name" "$disk/$(date +%s%N)""#,
    )];
    for item in items {
        let runs = place.rounds(item, &peers)?;
        table(report, &item.name, &peers, &runs, None);
        let at = |name| peers.iter().position(|p| p.name == name);
        let net = at(nowhere).map(|at| medians(&runs[at], |r| r.cpu));
        let floor = Floor::of(item, place.dir, net)?;
        let ours = at(fetch).map_or(0.0, |at| medians(&runs[at], |r| r.cpu));
        let net = net.map_or("MISSING (needs curl)".to_owned(), |s| format!("{s:.3}"));
        let _ = writeln!(
            report,
            "           floor {:.3} s CPU (net {net}, hash {:.3}, inflate {:.3}, write {:.3}): larder fetch is {:.2} of it",
            floor.sum(),
            floor.hash,
            floor.inflate,
            floor.write,
            ours / floor.sum()
        );
        std::fs::create_dir_all(&path)?;
        let runs = place.rounds(item, &on_disk)?;
        let _ = writeln!(
            report,
            "           {} ({}): wall {:.3} s, CPU {:.3} s",
            on_disk[0].name,
            file_system(disk.path()),
            medians(&runs[0], |r| r.wall),
            medians(&runs[0], |r| r.cpu)
        );
        // Only now: what is removed between the rounds would be paid for by the next one's sync.
        std::fs::remove_dir_all(&path)?;
    }
    Ok(())
}

/// The transfer alone, with TLS and without, beside curl's.
fn tls(place: &Place, items: &[Item], report: &mut String) -> io::Result<()> {
    for needs in ["nginx", "openssl", "curl"] {
        if !installed(needs) {
            let _ = writeln!(report, "  MISSING, not measured: {needs}");
            return Ok(());
        }
    }
    let www = tempfile::tempdir_in(place.dir)?;
    let server = tls::Server::start(www.path())?;
    let place = place.with([
        ("https", server.https.clone()),
        ("http", server.http.clone()),
        ("AWS_CA_BUNDLE", format!("{}/ca.pem", www.path().display())),
    ]);
    let peers = [
        Peer::new(
            "curl, http",
            "curl",
            r#"curl -sSf -o "$out" "$http/$name.zip""#,
        ),
        Peer::new(
            "curl, https",
            "curl",
            r#"curl -sSf --cacert "$AWS_CA_BUNDLE" -o "$out" "$https/$name.zip""#,
        ),
        Peer::new(
            "curl, https; openssl dgst",
            "curl",
            r#"curl -sSf --cacert "$AWS_CA_BUNDLE" -o "$out" "$https/$name.zip" && openssl dgst -sha256 "$out""#,
        ),
        Peer::new(
            "larder, http",
            "sh",
            r#""$larder" fetch -q "$name-http" "$out.d" --no-unpack --no-sync && rm -r "$out.d""#,
        ),
        Peer::new(
            "larder, https",
            "sh",
            r#""$larder" fetch -q "$name-https" "$out.d" --no-unpack --no-sync && rm -r "$out.d""#,
        ),
    ];
    for item in items {
        let bytes = std::fs::read(&item.zip)?;
        std::fs::copy(&item.zip, www.path().join(format!("{}.zip", item.name)))?;
        for (scheme, base) in [("http", &server.http), ("https", &server.https)] {
            place
                .aws
                .function(&format!("{}-{scheme}", item.name))
                .zip(bytes.clone())
                .location(Some(&format!("{base}/{}.zip", item.name)))
                .create();
        }
        let runs = place.rounds(item, &peers)?;
        table(report, &item.name, &peers, &runs, None);
        let more = |with: usize, without: usize| {
            let pairs = runs[with].iter().zip(&runs[without]);
            measure::median(pairs.map(|(a, b)| a.cpu - b.cpu).collect())
        };
        let _ = writeln!(
            report,
            "           TLS costs curl {:.3} s CPU, larder {:.3} s; larder's https to curl's with openssl's hash: wall {:.2}, CPU {:.2}",
            more(1, 0),
            more(4, 3),
            ratio(&runs[4], &runs[2], |r| r.wall),
            ratio(&runs[4], &runs[2], |r| r.cpu)
        );
    }
    Ok(())
}

/// The transfer alone from a server that limits each connection: parts over several connections, and the whole over one.
fn limited(place: &Place, items: &[Item], report: &mut String) -> io::Result<()> {
    let transfer = r#""$larder" fetch -q "$name" "$out" --no-unpack --no-sync"#;
    let peers = [
        Peer::new("larder, one connection", "sh", transfer)
            .before(|aws| aws.fault(On::Object.always(), Fault::IgnoreRange)),
        Peer::new("larder", "sh", transfer).before(FakeAws::clear_faults),
        Peer::new(
            "curl; openssl dgst",
            "openssl",
            r#"curl -sSf -o "$out" "$url" && openssl dgst -sha256 "$out""#,
        ),
    ];
    let peers = Place::here(report, peers.into());
    for item in items {
        if item.bytes < LARGE {
            let _ = writeln!(report, "  {}: too small for parts", item.name);
            continue;
        }
        for rate in [Some(25), Some(50), None] {
            place.aws.connection_rate(rate.map(|mb| mb * 1_000_000));
            let runs = place.rounds(item, &peers)?;
            let limit = rate.map_or("no limit".to_owned(), |mb| format!("{mb} MB/s"));
            let _ = writeln!(report, "  {limit}");
            table(report, &item.name, &peers, &runs, None);
        }
    }
    place.aws.clear_faults();
    place.aws.connection_rate(None);
    Ok(())
}

/// The kind of file system that a directory is on.
fn file_system(dir: &Path) -> String {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    let real = dir.canonicalize().unwrap_or_else(|_| PathBuf::from(dir));
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let (at, kind) = (fields.next()?, fields.next()?);
            real.starts_with(at).then_some((at.len(), kind))
        })
        .max()
        .map_or("unknown".to_owned(), |(_, kind)| kind.to_owned())
}

#[expect(clippy::print_stdout, reason = "the report is the bench's result")]
fn print(text: &str) {
    print!("{text}");
}
