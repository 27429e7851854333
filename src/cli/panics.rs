//! A panic is a bug: it ends the run with code 70 and asks for a report, without noise.

use std::panic::{self, PanicHookInfo, UnwindSafe};
use std::sync::{Mutex, PoisonError};

use super::exit::Exit;
use super::failure;
use super::settings::Early;
use crate::error::{Error, ErrorKind};

/// The first panic of any thread.
static FIRST: Mutex<Option<String>> = Mutex::new(None);

/// Runs `program`; when any thread panicked meanwhile, the run ends as a bug.
pub(super) fn caught(early: Early, program: impl FnOnce() -> Exit + UnwindSafe) -> Exit {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        // What happened is told at the end, where it garbles no progress bar and JSON errors stay the last line.
        let mut first = FIRST.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert_with(|| describe(info));
        drop(first);
        if std::env::var_os("RUST_BACKTRACE").is_some_and(|v| v != "0") {
            usual(info);
        }
    }));
    let outcome = panic::catch_unwind(program);
    let first = FIRST.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (outcome, first) {
        (Ok(exit), None) => exit,
        (_, what) => {
            let what = what.unwrap_or_else(|| "nothing more is known".to_owned());
            failure::report(
                &Error::new(ErrorKind::Bug, format!("larder panicked: {what}")),
                early,
            )
        }
    }
}

fn describe(info: &PanicHookInfo<'_>) -> String {
    let message = info.payload_as_str().unwrap_or("a panic without a message");
    let message = without_queries(message);
    match info.location() {
        Some(at) => format!("{message} ({}:{})", at.file(), at.line()),
        None => message,
    }
}

/// A panic's message may quote a value that was never meant to be shown, so no URL in it keeps its query.
fn without_queries(message: &str) -> String {
    message
        .split_inclusive(char::is_whitespace)
        .map(|word| match (word.find("://"), word.find('?')) {
            (Some(scheme), Some(query)) if scheme < query => {
                let end = word.trim_end().len();
                format!("{}?…{}", &word[..query], &word[end..])
            }
            _ => word.to_owned(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::super::args::{Format, When};
    use super::*;

    #[test]
    fn queries_are_cut() {
        assert_eq!(
            without_queries("GET https://h/p?X-Amz-Signature=s failed\nwhy? a://b"),
            "GET https://h/p?… failed\nwhy? a://b"
        );
    }

    /// Runs in the process that the next test starts, since the hook is one for all threads.
    #[test]
    #[ignore = "started by a_panic_ends_with_70"]
    fn panicking_child() {
        let early = Early {
            format: Format::Json,
            color: When::Never,
        };
        let exit = caught(early, || {
            let other = std::thread::spawn(|| panic!("as meant: https://h/?s3cret"));
            assert!(other.join().is_err());
            Exit::Done
        });
        assert_eq!(exit, Exit::Bug);
    }

    #[test]
    fn a_panic_ends_with_70() {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "cli::panics::tests::panicking_child"])
            .args(["--include-ignored", "--nocapture"])
            .env_remove("RUST_BACKTRACE")
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&child.stderr);
        assert!(child.status.success(), "{stderr}");
        assert!(stderr.contains(r#""exit_code":70"#), "{stderr}");
        assert!(stderr.contains("as meant: https://h/?…"), "{stderr}");
        assert!(!stderr.contains("s3cret"), "{stderr}");
        assert!(!stderr.contains("stack backtrace"), "{stderr}");
    }
}
