//! `-v`: larder's own spans and events, to stderr.
//!
//! Only larder's targets are let through below a warning. The SDK and the HTTP stack log signed URIs and headers
//! with tokens at their lower levels, so those stay shut however often `-v` is given.

use std::io;
use std::sync::Arc;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::escape;
use super::progress::Progress;

/// Starts logging, once a process; `verbosity` 0 starts nothing.
pub(super) fn start(verbosity: u8, progress: &Arc<Progress>) {
    if verbosity == 0 {
        return;
    }
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(Writer(Arc::clone(progress)));
    // A second run in the same process goes on with the first one's.
    let _ = tracing_subscriber::registry()
        .with(filter(verbosity))
        .with(layer)
        .try_init();
}

fn filter(verbosity: u8) -> Targets {
    let (own, others) = match verbosity {
        0 => (LevelFilter::OFF, LevelFilter::OFF),
        1 => (LevelFilter::INFO, LevelFilter::OFF),
        2 => (LevelFilter::DEBUG, LevelFilter::OFF),
        _ => (LevelFilter::TRACE, LevelFilter::WARN),
    };
    Targets::new()
        .with_target("larder", own)
        .with_default(others)
}

/// Writes each record above the progress bar.
struct Writer(Arc<Progress>);

impl<'a> MakeWriter<'a> for Writer {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        Line(&self.0)
    }
}

/// A record comes in one `write_all`.
struct Line<'a>(&'a Progress);

impl io::Write for Line<'_> {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(record);
        self.0.line(&escape::line(text.trim_end()));
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn others_never_log_below_a_warning() {
        for verbosity in 0..=u8::MAX {
            let filter = filter(verbosity);
            for target in [
                "aws_config",
                "aws_smithy_runtime::client::http",
                "aws_sdk_lambda",
                "hyper_util::client",
                "h2::codec",
                "reqwest::connect",
                "rustls::client",
                "larder_else",
            ] {
                for level in [Level::INFO, Level::DEBUG, Level::TRACE] {
                    let open = filter.would_enable(target, &level);
                    // A target of the same first letters is let through by Targets; no crate of the tree has one.
                    assert!(!open || target == "larder_else", "{target} {level}");
                }
            }
        }
    }

    #[test]
    fn each_v_says_more() {
        for (verbosity, levels) in [(0, 0), (1, 3), (2, 4), (3, 5), (9, 5)] {
            let filter = filter(verbosity);
            let all = [
                Level::ERROR,
                Level::WARN,
                Level::INFO,
                Level::DEBUG,
                Level::TRACE,
            ];
            let open = all
                .iter()
                .filter(|l| filter.would_enable("larder::transfer", l))
                .count();
            assert_eq!(open, levels, "-v times {verbosity}");
        }
    }
}
