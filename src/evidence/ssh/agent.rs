//! A client of ssh-agent (draft-miller-ssh-agent): its keys, and signatures by them.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::key::PublicKey;
use super::wire::{Reader, put_string};
use crate::error::{Error, ErrorKind, Result};

const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;
/// `SSH_AGENT_RSA_SHA2_512`: without it an agent signs with SHA-1.
const RSA_SHA2_512: u32 = 4;
/// The longest answer that is read, in bytes; OpenSSH's own limit.
const MAX_ANSWER: u32 = 256 * 1024;
/// How long a key list may take.
const LIST_TIME: Duration = Duration::from_secs(20);
/// How long a signature may take: somebody may have to confirm it, or to touch a token.
const SIGN_TIME: Duration = Duration::from_secs(120);

/// An agent, by its socket.
#[derive(Debug, Clone)]
pub(super) struct Agent {
    socket: PathBuf,
}

impl Agent {
    /// The agent that `SSH_AUTH_SOCK` names.
    pub(super) fn of_environment() -> Result<Self> {
        match std::env::var_os("SSH_AUTH_SOCK").filter(|socket| !socket.is_empty()) {
            Some(socket) => Ok(Self {
                socket: socket.into(),
            }),
            None => Err(
                Error::new(ErrorKind::Usage, "SSH_AUTH_SOCK names no ssh-agent")
                    .hint("start one (eval \"$(ssh-agent)\") and add the key (ssh-add KEY), or sign with a key file"),
            ),
        }
    }

    /// The agent that listens at `socket`.
    pub(super) fn at(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
        }
    }

    /// The keys that the agent holds and that can be read here.
    pub(super) fn keys(&self) -> Result<Vec<PublicKey>> {
        let answer = self.ask(&[REQUEST_IDENTITIES], LIST_TIME)?;
        let mut reader = Reader::new(&answer);
        let broken = || self.failed("the agent's answer is no list of keys");
        if reader.u8() != Some(IDENTITIES_ANSWER) {
            return Err(broken());
        }
        let count = reader.u32().ok_or_else(broken)?;
        let mut keys = Vec::new();
        for _ in 0..count {
            let (Some(blob), Some(_comment)) = (reader.string(), reader.string()) else {
                return Err(broken());
            };
            keys.extend(PublicKey::from_blob(blob));
        }
        Ok(keys)
    }

    /// The signature of `message` by a key of the agent's, as SSH sends it.
    pub(super) fn sign(&self, key: &PublicKey, message: &[u8]) -> Result<Vec<u8>> {
        let mut request = vec![SIGN_REQUEST];
        put_string(&mut request, key.blob());
        put_string(&mut request, message);
        let flags = if key.is_rsa() { RSA_SHA2_512 } else { 0 };
        request.extend(flags.to_be_bytes());
        let answer = self.ask(&request, SIGN_TIME)?;
        let mut reader = Reader::new(&answer);
        if reader.u8() != Some(SIGN_RESPONSE) {
            return Err(self.failed("the agent refuses to sign with this key").hint(
                "it may be locked, or wait for a confirmation or a touch that did not come",
            ));
        }
        let signature = reader.string().map(<[u8]>::to_vec);
        signature.ok_or_else(|| self.failed("the agent's answer is no signature"))
    }

    fn ask(&self, request: &[u8], time: Duration) -> Result<Vec<u8>> {
        let exchange = || -> std::io::Result<Vec<u8>> {
            let mut stream = UnixStream::connect(&self.socket)?;
            stream.set_read_timeout(Some(time))?;
            stream.set_write_timeout(Some(LIST_TIME))?;
            let mut message = Vec::with_capacity(request.len() + 4);
            put_string(&mut message, request);
            stream.write_all(&message)?;
            let mut len = [0; 4];
            stream.read_exact(&mut len)?;
            let len = u32::from_be_bytes(len);
            if len > MAX_ANSWER {
                return Err(std::io::Error::other("its answer is too long"));
            }
            let mut answer = vec![0; len as usize];
            stream.read_exact(&mut answer)?;
            Ok(answer)
        };
        exchange().map_err(|e| self.failed("the ssh-agent cannot be had").because(e))
    }

    fn failed(&self, message: &str) -> Error {
        Error::new(ErrorKind::Io, message).about(socket_name(&self.socket))
    }
}

fn socket_name(socket: &Path) -> String {
    socket.display().to_string()
}
