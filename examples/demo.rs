//! The main job against an embedded AWS: no account, no network.
//!
//! Starts the AWS on loopback, then runs the real program: a zip function and an image function are fetched, and a
//! package that was tampered with on its way is caught. What is left on disk is printed.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, ExitCode};

use larder_testkit::{FakeAws, Fault, On};

/// With this first argument, the demo is `larder` itself.
const LARDER: &str = "--as-larder";
/// Bytes a second of the embedded AWS, so that there is a download to look at.
const RATE: u64 = 160 * 1024;
/// What the demo passes on of the user's environment: the terminal's, and nothing of AWS.
const KEPT: [&str; 6] = ["PATH", "TERM", "COLORTERM", "NO_COLOR", "LANG", "LC_ALL"];

fn main() -> ExitCode {
    let mut args: Vec<OsString> = std::env::args_os().collect();
    if args.get(1).is_some_and(|first| first == LARDER) {
        args.remove(1);
        args[0] = "larder".into();
        return ExitCode::from(larder::cli::run_from(&args).code());
    }
    match demo() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "the demo failed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn demo() -> io::Result<()> {
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/zips");
    let aws = FakeAws::start();
    aws.connection_rate(Some(RATE));
    aws.function("orders")
        .zip(std::fs::read(testdata.join("orders.zip"))?)
        .runtime("python3.13")
        .env("TABLE", "orders-prod")
        .create();
    let image: serde_json::Value =
        serde_json::from_slice(&std::fs::read(testdata.join("image.json"))?)?;
    let text = |name: &str| image[name].as_str().unwrap_or_default().to_owned();
    aws.function("renderer")
        .image(&text("image_uri"), &text("digest"))
        .create();
    let dir = tempfile::tempdir()?;

    say("1. A function whose code is a zip: download, verify, unpack.")?;
    larder(&aws, dir.path(), &["fetch", "orders"], 0)?;
    say("\n2. A function whose code is a container image: recorded.")?;
    larder(&aws, dir.path(), &["fetch", "renderer"], 0)?;
    say("\n3. The same zip, with one bit flipped on its way, twice: caught, and nothing is kept.")?;
    aws.fault(On::Object.always(), Fault::flip(70_000));
    larder(&aws, dir.path(), &["fetch", "orders", "tampered"], 1)?;

    say("\nWhat is left on disk:")?;
    let mut lines = Vec::new();
    list(dir.path(), "", &mut lines)?;
    say(&lines.join("\n"))?;
    say("There is nothing called `tampered`. All of it goes with the demo.")
}

/// Runs the real program, and expects `code`.
fn larder(aws: &FakeAws, dir: &Path, arguments: &[&str], code: i32) -> io::Result<()> {
    say(&format!("   $ larder {}", arguments.join(" ")))?;
    let kept = KEPT
        .iter()
        .filter_map(|name| Some((name, std::env::var_os(name)?)));
    let status = Command::new(std::env::current_exe()?)
        .arg(LARDER)
        .args(arguments)
        .current_dir(dir)
        .env_clear()
        .envs(kept)
        .envs(aws.env())
        .status()?;
    say(&format!("   exit code {}", status.code().unwrap_or(-1)))?;
    if status.code() == Some(code) {
        Ok(())
    } else {
        Err(io::Error::other(format!("expected exit code {code}")))
    }
}

/// All names below `dir`, with sizes and link targets.
fn list(dir: &Path, prefix: &str, lines: &mut Vec<String>) -> io::Result<()> {
    let mut entries = std::fs::read_dir(dir)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let meta = entry.path().symlink_metadata()?;
        if meta.is_dir() {
            list(&entry.path(), &format!("{name}/"), lines)?;
        } else if meta.is_symlink() {
            let target = std::fs::read_link(entry.path())?;
            lines.push(format!("   {name} -> {}", target.display()));
        } else {
            lines.push(format!("   {name}  ({} bytes)", meta.len()));
        }
    }
    Ok(())
}

fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}
