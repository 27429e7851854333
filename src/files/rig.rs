//! Where tests put their hands in: the named moments of publishing, and switches for what a file system
//! may lack. Nothing here is reachable from the command line or the environment.

use std::fmt;
use std::io;

/// A named moment of a staging's life, at which a test may end the process or make the step fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Checkpoint {
    /// The staging exists and is locked; nothing was written.
    AfterStaging,
    /// Everything is written; nothing is synced.
    BeforeSync,
    /// Everything is synced; the destination is as it was.
    BeforeExchange,
    /// The old destination is moved aside, the new one is not in place: the only moment of absence, and
    /// only on file systems without an atomic exchange.
    BetweenRenames,
    /// The new destination is in place, not yet synced.
    AfterRename,
    /// The new destination is in place and durable; what it replaced still lies in the wrapper.
    BeforeOldRemoved,
    /// Inside a mount point: the journal is written, nothing was moved.
    JournalWritten,
    /// Inside a mount point: another old child is about to be moved aside.
    MovingOld,
    /// Inside a mount point: another new child is about to be moved up.
    MovingNew,
    /// Inside a mount point: a child is about to be moved back.
    RollingBack,
}

/// What is called at each checkpoint; an error makes the step fail there.
type Hook = Box<dyn Fn(Checkpoint) -> io::Result<()> + Send + Sync>;

/// What the system is taken to offer, and who is told of checkpoints.
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent switches, not the states of anything"
)]
pub struct Rig {
    /// Whether there is an atomic exchange of two names.
    pub exchange: bool,
    /// Whether a rename can be asked not to replace.
    pub noreplace: bool,
    /// Whether files can be locked.
    pub flock: bool,
    /// Whether one call can sync a file system.
    pub syncfs: bool,
    /// Works inside an existing destination even where it could be renamed over.
    pub inside: bool,
    /// Called at each checkpoint.
    pub at: Hook,
}

impl Default for Rig {
    fn default() -> Self {
        Self {
            exchange: true,
            noreplace: true,
            flock: true,
            syncfs: true,
            inside: false,
            at: Box::new(|_| Ok(())),
        }
    }
}

impl fmt::Debug for Rig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rig").finish_non_exhaustive()
    }
}
