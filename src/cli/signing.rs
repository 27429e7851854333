//! The options that say who signs, and the passphrase of a key that is encrypted.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::{Context, escape, interrupt, terminal};
use crate::error::Result;
use crate::evidence::ssh::SigningKey;
use crate::task::blocking;

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
    pub(super) fn key(&self, context: &Context) -> Result<Option<Arc<SigningKey>>> {
        let key = match (&self.sign_key, &self.sign_agent) {
            (Some(path), _) => {
                let path = path.clone();
                interrupt::run(&context.progress, |cancel| {
                    blocking(move || {
                        let mut asked = false;
                        SigningKey::from_file(&path, &mut |path| {
                            let again = std::mem::replace(&mut asked, true);
                            passphrase(path, again, &cancel)
                        })
                    })
                })?
            }
            (None, Some(fingerprint)) => SigningKey::from_agent(fingerprint)?,
            (None, None) => return Ok(None),
        };
        Ok(Some(Arc::new(key)))
    }
}

/// Asks for the passphrase of the key at `path`; None where there is nobody to ask.
fn passphrase(
    path: &Path,
    again: bool,
    cancel: &CancellationToken,
) -> Result<Option<Zeroizing<String>>> {
    let shown = path.display().to_string();
    let shown = escape::line(&shown);
    let prompt = if again {
        format!("Wrong. Passphrase of {shown}: ")
    } else {
        format!("Passphrase of {shown}: ")
    };
    terminal::secret(&prompt, cancel)
}
