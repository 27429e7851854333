//! The options that say who signs, and the passphrase of a key that is encrypted.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use console::Term;
use zeroize::Zeroizing;

use super::escape;
use crate::error::Result;
use crate::evidence::ssh::SigningKey;

/// Who signs.
#[derive(Debug, Args)]
pub struct SigningArgs {
    /// Sign with this OpenSSH private key; an encrypted one is asked for on the terminal
    ///
    /// A public key's file stands for the same key in the ssh-agent.
    #[arg(long, value_name = "FILE", conflicts_with = "sign_agent")]
    pub sign_key: Option<PathBuf>,

    /// Sign with the key of the ssh-agent that has this fingerprint, SHA256:…
    #[arg(long, value_name = "FINGERPRINT")]
    pub sign_agent: Option<String>,
}

impl SigningArgs {
    /// The key, ready to sign; None where none was named.
    pub(super) fn key(&self) -> Result<Option<Arc<SigningKey>>> {
        let key = match (&self.sign_key, &self.sign_agent) {
            (Some(path), _) => SigningKey::from_file(path, &mut |path| Ok(passphrase(path)))?,
            (None, Some(fingerprint)) => SigningKey::from_agent(fingerprint)?,
            (None, None) => return Ok(None),
        };
        Ok(Some(Arc::new(key)))
    }
}

/// Asks for the passphrase of the key at `path`; None where there is nobody to ask.
fn passphrase(path: &Path) -> Option<Zeroizing<String>> {
    let terminal = Term::stderr();
    if !std::io::stderr().is_terminal() {
        return None;
    }
    let shown = path.display().to_string();
    terminal
        .write_str(&format!("Passphrase of {}: ", escape::line(&shown)))
        .ok()?;
    // It reads from the terminal also when standard input is something else.
    terminal.read_secure_line().ok().map(Zeroizing::new)
}
