//! The work of each command, as functions that return values and report events.

pub mod backup;
pub mod check;
pub mod custody;
mod deployed;
pub mod fetch;
pub mod list;
pub mod lock;
mod obtain;
pub mod restore;
pub mod select;
pub mod snapshot;
pub mod stacks;
pub mod unpack;
pub mod verify;

use crate::aws::Session;
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, Reporter};
use crate::files::Published;
use crate::package::{Claim, CodeLocation};
use crate::transfer::{Signer, Target};

/// What to fetch for a location that Lambda named. `claim` is what it stated about the bytes.
async fn target(session: &Session, code: &CodeLocation, claim: Claim) -> Result<Target> {
    match code {
        CodeLocation::Zip(location) => {
            let (url, signer) = match session.presign_unsigned(location).await? {
                Some(url) => (url, Signer::Caller),
                None => (location.clone(), Signer::Lambda),
            };
            Ok(Target { url, claim, signer })
        }
        CodeLocation::Object(object) => Ok(Target {
            url: session.presign(object).await?,
            claim,
            signer: Signer::Caller,
        }),
        CodeLocation::Image(_) => Err(Error::new(
            ErrorKind::Unsettled,
            "the function became an image while it was fetched",
        )
        .hint("run again")),
    }
}

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
