//! Serves an embedded AWS until it is interrupted, for trying things by hand: prints the environment that a client
//! needs, as exports for another terminal. `cargo run -p larder-testkit --example serve -- package.zip`
//!
//! Each argument is a zip that becomes a function named after the file; without any, `python`, `node` and `native`.

#![expect(clippy::print_stdout, reason = "an example for people")]

use larder_testkit::{FakeAws, packages};
use std::path::Path;

fn main() -> std::io::Result<()> {
    let aws = FakeAws::start();
    let mut paths = std::env::args().skip(1).peekable();
    if paths.peek().is_none() {
        aws.function("python")
            .zip(packages::python_package().zip())
            .create();
        aws.function("node")
            .zip(packages::node_package().zip())
            .runtime("nodejs22.x")
            .create();
        aws.function("native")
            .zip(packages::native_package().zip())
            .runtime("provided.al2023")
            .create();
    }
    for path in paths {
        let name = Path::new(&path)
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy();
        aws.function(&name).zip(std::fs::read(&path)?).create();
    }
    for (name, value) in aws.env() {
        println!("export {name}={value}");
    }
    loop {
        std::thread::park();
    }
}
