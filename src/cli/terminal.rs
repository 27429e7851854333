//! Asking a person, on the terminal that the process belongs to, whatever standard input and output are.

use std::fs::File;
use std::io::{self, Read as _, Write as _};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio_util::sync::CancellationToken;
use zeroize::{Zeroize as _, Zeroizing};

use crate::error::{Error, Result};

/// How long a wait takes until it is looked whether the run was interrupted.
const LOOK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};
/// The longest line that is taken, in bytes; what a terminal gives at once is shorter.
const MAX_LINE: usize = 16 * 1024;

/// A line that is not shown while it is typed; None where there is no terminal, or it was closed instead of answered.
///
/// # Errors
/// The run was interrupted. The terminal is then as it was before.
pub(super) fn secret(
    prompt: &str,
    cancel: &CancellationToken,
) -> Result<Option<Zeroizing<String>>> {
    let Ok(mut terminal) = File::options().read(true).write(true).open("/dev/tty") else {
        return Ok(None);
    };
    let read = Hushed::new(&terminal).and_then(|hushed| {
        terminal.write_all(prompt.as_bytes())?;
        let line = line(&mut terminal, cancel);
        // The line's end was not shown either.
        terminal.write_all(b"\n")?;
        drop(hushed);
        line
    });
    if cancel.is_cancelled() {
        return Err(Error::interrupted());
    }
    Ok(read.ok().flatten())
}

/// A terminal that shows nothing of what is typed, until this is dropped.
struct Hushed {
    terminal: File,
    before: Termios,
}

impl Hushed {
    fn new(terminal: &File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut hushed = before.clone();
        hushed
            .local_modes
            .remove(LocalModes::ECHO | LocalModes::ECHONL);
        // What was typed before the question is no answer to it.
        tcsetattr(terminal, OptionalActions::Flush, &hushed)?;
        Ok(Self {
            terminal: terminal.try_clone()?,
            before,
        })
    }
}

impl Drop for Hushed {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.terminal, OptionalActions::Flush, &self.before);
    }
}

/// One line, without its end; None at the end of input, or when it was cancelled.
fn line(terminal: &mut File, cancel: &CancellationToken) -> io::Result<Option<Zeroizing<String>>> {
    // It never grows, so that no copy of the secret is left behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_LINE));
    let mut piece = Zeroizing::new([0_u8; 512]);
    loop {
        if cancel.is_cancelled() {
            return Ok(None);
        }
        let mut wait = [PollFd::new(&*terminal, PollFlags::IN)];
        match poll(&mut wait, Some(&LOOK)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => continue,
            Ok(_) => {}
            Err(e) => return Err(e.into()),
        }
        let read = match terminal.read(&mut piece[..]) {
            Ok(0) => return Ok(None),
            Ok(read) => read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        if bytes.len() + read > MAX_LINE {
            return Err(io::ErrorKind::InvalidData.into());
        }
        bytes.extend_from_slice(&piece[..read]);
        piece.zeroize();
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            let text = std::str::from_utf8(&bytes).map_err(|_| io::ErrorKind::InvalidData)?;
            return Ok(Some(Zeroizing::new(text.to_owned())));
        }
    }
}
