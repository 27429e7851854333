//! The work of each command, as functions that return values and report events.

pub mod fetch;
pub mod list;
pub mod select;
pub mod unpack;

use crate::events::{Event, Reporter};
use crate::files::Published;

/// Says when what was replaced still lies there.
fn warn_of_leftover(published: &Published, reporter: &dyn Reporter) {
    if let Some(leftover) = &published.leftover {
        reporter.report(&Event::Warning {
            subject: &published.path.display().to_string(),
            message: &format!("what was replaced could not be removed: {leftover}"),
            hint: Some("the next run for the same destination tries again"),
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::files::FilesError;

    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);

    impl Reporter for Heard {
        fn report(&self, event: &Event<'_>) {
            self.0.lock().unwrap().push(format!("{event:?}"));
        }
    }

    #[test]
    fn what_could_not_be_removed_is_said() {
        let denied = std::io::ErrorKind::PermissionDenied;
        let error = FilesError::io("remove", "/x/old", std::io::Error::from(denied));
        for (leftover, count) in [(None, 0), (Some(error), 1)] {
            let heard = Heard::default();
            let path = "/x/f".into();
            warn_of_leftover(&Published { path, leftover }, &heard);
            let heard = heard.0.into_inner().unwrap();
            assert_eq!(heard.len(), count, "{heard:?}");
            assert!(
                heard.iter().all(|said| said.contains("/x/old")),
                "{heard:?}"
            );
        }
    }
}
