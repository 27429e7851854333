//! What every command has in common: help, errors, exit codes, streams. No AWS is asked for anything here.

use std::fs::{self, OpenOptions};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{Bench, Ran, bare, finish, names, run};

fn larder(arguments: &[&str]) -> Command {
    let mut command = bare(Path::new("."));
    command.args(arguments);
    command
}

fn ran(arguments: &[&str]) -> Ran {
    run(&mut larder(arguments))
}

#[test]
fn help_and_version_are_results() {
    for arguments in [
        &["--help"][..],
        &["-h"],
        &["help"],
        &["help", "fetch"],
        &["fetch", "--help"],
        &["fetch", "-h", "--output", "json"],
        &["unpack", "--help"],
        &["completions", "--help"],
        &["man", "--help"],
    ] {
        let ran = ran(arguments).expect(0);
        assert!(ran.stdout.contains("Usage: larder"), "{arguments:?}");
        assert_eq!(ran.stderr, "", "{arguments:?}");
    }
    let version = ran(&["--version"]).expect(0);
    let expected = concat!("larder ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(version.stdout, expected);
}

#[test]
fn mistakes_are_told_on_stderr_with_code_2() {
    for (arguments, part) in [
        (&[][..], "Usage: larder"),
        (&["fetch"], "<FUNCTION>"),
        (&["nonsense"], "nonsense"),
        (&["fetch", "f", "--nonsense"], "--nonsense"),
        (&["fetch", "f", "--expect-sha256", "zz"], "64 hex digits"),
        (&["fetch", "f", "--output", "yaml"], "yaml"),
        (&["fetch", "f", "--max-attempts", "0"], "--max-attempts"),
        (&["fetch", "f", "--max-rate", "nan"], "--max-rate"),
        (&["fetch", "f", "--read-timeout", "soon"], "10s"),
        (&["fetch", "f", "--region", "a.evil"], "--region"),
        (&["fetch", "f", "--external-id", "x"], "--role-arn"),
        (&["fetch", "f", "--update", "--force"], "--force"),
        (&["fetch", "a b"], "holds ' '"),
        (&["fetch", ""], "empty"),
        (&["fetch", "f:1", "--qualifier", "2"], "--qualifier"),
        (&["unpack"], "<PACKAGE>"),
        (&["unpack", "x", "--max-unpacked-size", "much"], "250MiB"),
        (&["completions", "tcsh"], "tcsh"),
    ] {
        let text = ran(arguments).expect(2).says(&[part]);
        assert_eq!(text.stdout, "", "{arguments:?}");

        let with_json = [&["--output", "json"], arguments].concat();
        if arguments.contains(&"--output") || arguments.is_empty() {
            continue; // the last --output counts; without a command there is only the help
        }
        let json = ran(&with_json).expect(2);
        assert_eq!(json.stdout, "", "{arguments:?}");
        assert_eq!(json.stderr.lines().count(), 1, "{}", json.stderr);
        let error = json.json_error();
        assert_eq!(error["kind"], "usage", "{error}");
        assert_eq!(error["exit_code"], 2, "{error}");
        assert!(error["message"].is_string(), "{error}");
    }
}

#[test]
fn a_failure_has_its_cause_and_its_code() {
    let text = ran(&["unpack", "/no/such.zip"]).expect(8);
    let text = text.says(&["error: /no/such.zip", "\ncause: No such file"]);
    assert_eq!(text.stdout, "");
    let error = ran(&["unpack", "/no/such.zip", "--output=json"])
        .expect(8)
        .json_error();
    assert_eq!(error["kind"], "io");
    assert_eq!(error["exit_code"], 8);
    assert_eq!(error["subject"], "/no/such.zip");
}

#[test]
fn what_the_user_typed_does_not_reach_the_terminal_raw() {
    for arguments in [
        &["fetch", "a\x1b[31mb\u{202e}"][..],
        &["\x1b]0;title\x07"],
        &["fetch", "f", "--\x1b[2J"],
        &["unpack", "/no/\x1b[31m\u{202e}.zip"],
    ] {
        for output in ["text", "json"] {
            let ran = ran(&[&["--output", output, "--color", "always"], arguments].concat());
            let plain = ran.stderr.replace("\x1b[0m", "").replace("\x1b[1m", "");
            for raw in [
                "\x1b[31mb",
                "\x1b]0",
                "\x1b[2J",
                "\x1b[31m\\",
                "\x07",
                "\u{202e}",
            ] {
                assert!(!plain.contains(raw), "{arguments:?}: {:?}", ran.stderr);
            }
        }
    }
}

#[test]
fn colours_are_for_terminals_unless_asked_for() {
    let failing = ["unpack", "/no/such.zip"];
    for (color, variables, coloured) in [
        ("auto", &[][..], false),
        ("always", &[], true),
        ("never", &[("CLICOLOR_FORCE", "1")], false),
        ("auto", &[("CLICOLOR_FORCE", "1")], true),
        ("auto", &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], false),
    ] {
        let ran = run(larder(&["--color", color])
            .args(failing)
            .envs(variables.iter().copied()));
        assert_eq!(
            ran.stderr.contains('\x1b'),
            coloured,
            "{color} {variables:?}"
        );
    }
}

#[test]
fn a_closed_stdout_is_no_error_and_a_full_one_is() {
    for arguments in [&["--help"][..], &["completions", "bash"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let ran = run_into(arguments, writer.into());
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{arguments:?}");
        if let Ok(full) = OpenOptions::new().write(true).open("/dev/full") {
            let ran = run_into(arguments, full.into()).expect(8);
            ran.says(&["error: stdout: cannot be written"]);
        }
    }
}

fn run_into(arguments: &[&str], stdout: Stdio) -> Ran {
    let mut command = larder(arguments);
    command.stdout(stdout).stderr(Stdio::piped());
    finish(command.spawn().expect("larder starts"))
}

#[test]
fn completions_are_what_the_shell_takes() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let ran = ran(&["completions", shell]).expect(0);
        assert!(ran.stdout.contains("larder"), "{shell}");
        assert_eq!(ran.stderr, "", "{shell}");
        if shell == "bash" {
            let dir = tempfile::tempdir().expect("a directory");
            let script = dir.path().join("larder");
            fs::write(&script, &ran.stdout).expect("a file");
            // A machine without bash has nothing to check it with.
            if let Ok(status) = Command::new("bash").arg("-n").arg(&script).status() {
                assert!(status.success());
            }
        }
    }
}

#[test]
fn man_writes_a_page_for_each_command() {
    let dir = tempfile::tempdir().expect("a directory");
    let man = dir.path().join("share/man1");
    let target = man.to_str().expect("a path");
    let ran = ran(&["man", target, "--output", "json"]).expect(0);
    let report = ran.json();
    assert_eq!(report["schema_version"], 1);
    let mut pages: Vec<&str> = report["pages"]
        .as_array()
        .map(|pages| pages.iter().filter_map(|p| p.as_str()).collect())
        .unwrap_or_default();
    pages.sort_unstable();
    assert_eq!(names(&man), pages);
    assert!(pages.contains(&"larder-fetch.1"));
    // Again, over what is there; and to where nothing can be made.
    let again = self::ran(&["man", target]).expect(0);
    assert!(
        again
            .stdout
            .starts_with(&format!("wrote {} pages to ", pages.len())),
        "{}",
        again.stdout
    );
    let file = man.join("larder.1");
    let below = file.join("x");
    self::ran(&["man", below.to_str().expect("a path")]).expect(8);
}

#[test]
fn a_zip_at_hand_is_unpacked_and_reported() {
    let dir = tempfile::tempdir().expect("a directory");
    let tree = larder_testkit::packages::node_package();
    let package = dir.path().join("web.zip");
    fs::write(&package, tree.zip()).expect("a file");
    let in_dir = |arguments: &[&str]| run(bare(dir.path()).args(arguments));

    let text = in_dir(&["unpack", "web.zip"]).expect(0);
    assert!(
        text.stdout.starts_with("unpacked web.zip\n"),
        "{}",
        text.stdout
    );
    assert_eq!(text.stderr, "");
    let quiet = in_dir(&["unpack", "-q", "web.zip", "quiet"]).expect(0);
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
    let report = in_dir(&["unpack", "-q", "web.zip", "out", "--output", "json"])
        .expect(0)
        .json();
    assert_eq!(report["schema_version"], 1);
    assert_eq!(report["unpacked"]["path"], "out");
    assert_eq!(report["unpacked"]["bytes"], tree.bytes());
    let lines = in_dir(&["unpack", "web.zip", "lines", "--progress", "always"]).expect(0);
    lines.says(&["unpacking "]);
    for dest in ["web", "quiet", "out", "lines"] {
        let differences = tree.differences(&dir.path().join(dest)).expect("a tree");
        assert!(differences.is_empty(), "{dest}: {differences:?}");
    }
    assert_eq!(
        names(dir.path()),
        ["lines", "out", "quiet", "web", "web.zip"]
    );
}

#[cfg(unix)]
#[test]
fn an_interrupted_fetch_ends_with_130_and_leaves_nothing() {
    use rustix::process::{Pid, Signal, kill_process};

    let bench = Bench::new();
    bench
        .aws
        .function("big")
        .zip(larder_testkit::packages::zip_of_size(4 << 20, 1))
        .create();
    bench.aws.connection_rate(Some(200_000));
    for signal in [Signal::INT, Signal::TERM] {
        let child = bench
            .command(&["fetch", "big", "--output", "json", "--progress", "always"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("larder starts");
        let before = bench.aws.bytes_sent("GetObject");
        let time = Duration::from_secs(30);
        assert!(bench.aws.wait_for_bytes("GetObject", before + 50_000, time));
        let sent = Instant::now();
        kill_process(Pid::from_child(&child), signal).expect("larder runs");
        let ran = finish(child).expect(130);
        assert!(sent.elapsed() < Duration::from_secs(5), "{ran:?}");
        assert_eq!(ran.json_error()["kind"], "interrupted");
        assert_eq!(ran.stdout, "");
        ran.says(&["downloading big", "interrupted; cleaning up"]);
        assert_eq!(bench.names(), [""; 0]);
    }
}
