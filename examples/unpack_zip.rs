//! Temporary: unpacks a zip until `larder unpack` exists. `unpack_zip IN.zip OUT [--hash]`
#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::exit,
    clippy::unwrap_used,
    missing_docs
)]
use std::os::fd::AsFd;
use std::path::Path;

use larder::error::Error;
use larder::package::{Claim, Received};
use larder::unpack::{Limits, Options, plan, run};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let hash_contents = args.iter().any(|a| a == "--hash");
    let out = Path::new(&args[2]);
    let received = Received::read(std::fs::File::open(&args[1]).unwrap(), &|| false).unwrap();
    let verified = received.verify(&Claim::local()).unwrap();
    let fail = |e: Error| -> ! {
        eprintln!("error: {e}");
        for cause in e.causes() {
            eprintln!("cause: {cause}");
        }
        std::process::exit(7)
    };
    let plan = plan(&verified, &Limits::default()).unwrap_or_else(|e| fail(e.into()));
    let staging = out.with_extension("staging");
    std::fs::create_dir(&staging).unwrap();
    let root = std::fs::File::open(&staging).unwrap();
    let cancel = tokio_util::sync::CancellationToken::new();
    let options = Options {
        hash_contents,
        cancel: &cancel,
        reporter: &(),
    };
    match run(&verified, &plan, root.as_fd(), &options) {
        Ok(unpacked) => {
            std::fs::rename(&staging, out).unwrap();
            if args.iter().any(|a| a == "-v") {
                println!("{unpacked:?}");
                let status = std::fs::read_to_string("/proc/self/status").unwrap();
                print!(
                    "{}",
                    status
                        .lines()
                        .filter(|l| l.starts_with("VmHWM"))
                        .collect::<String>()
                );
            }
        }
        Err(e) => {
            let _ = std::process::Command::new("chmod")
                .arg("-R")
                .arg("u+rwX")
                .arg(&staging)
                .status();
            let _ = std::fs::remove_dir_all(&staging);
            fail(e.into())
        }
    }
}
