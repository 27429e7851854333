//! SSHSIG (OpenSSH's `PROTOCOL.sshsig`): the armored signature that `ssh-keygen -Y sign` makes and
//! `ssh-keygen -Y verify` takes.
//!
//! ```text
//! ssh-keygen -Y verify -f allowed_signers -I PRINCIPAL -n larder-bag -s tagmanifest-sha256.txt.sig < tagmanifest-sha256.txt
//! ```

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256, Sha512};

use super::ssh::wire::{Reader, put_string};
use super::ssh::{KeyError, PublicKey, SigningKey};
use crate::error::Result;

/// The namespace of a bag's signature and of its handovers': a signature made for anything else is none of a bag's.
pub const NAMESPACE: &str = "larder-bag";
/// The largest signature file that is read, in bytes.
pub const MAX_SIGNATURE: u64 = 64 * 1024;

const MAGIC: &[u8] = b"SSHSIG";
const VERSION: u32 = 1;
const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
const END: &str = "-----END SSH SIGNATURE-----";
/// OpenSSH's own width.
const LINE: usize = 70;

/// A signature with the key that it says made it. Nothing about it is trusted before [`verify`](Self::verify), and the
/// key not even then.
#[derive(Debug, Clone)]
pub struct Signature {
    key: PublicKey,
    namespace: String,
    reserved: Vec<u8>,
    hash: Hash,
    /// As SSH sends it.
    bytes: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hash {
    Sha256,
    Sha512,
}

/// Why a signature does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// No armored SSH signature.
    #[error("this is no SSH signature")]
    NotASignature,
    /// A later version of the format.
    #[error("the signature has version {0}; version {VERSION} is supported")]
    Version(u32),
    /// A hash that the format does not allow.
    #[error("the signature's hash {0:?} is not supported")]
    Hash(String),
    /// It was made for another purpose.
    #[error("the signature is of the namespace {found:?}, not {wanted:?}")]
    Namespace {
        /// What the signature was made for.
        found: String,
        /// What it is to be for.
        wanted: String,
    },
    /// The key cannot be used, or says no.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Signs `message` for `namespace`, and gives the armored signature.
///
/// # Errors
/// The agent does not sign.
pub fn sign(key: &SigningKey, namespace: &str, message: &[u8]) -> Result<String> {
    let signature = key.sign(&signed_data(namespace, b"", Hash::Sha512, message))?;
    let mut blob = MAGIC.to_vec();
    blob.extend(VERSION.to_be_bytes());
    put_string(&mut blob, key.public_key().blob());
    put_string(&mut blob, namespace.as_bytes());
    put_string(&mut blob, b"");
    put_string(&mut blob, Hash::Sha512.name().as_bytes());
    put_string(&mut blob, &signature);
    let text = STANDARD.encode(blob);
    let mut armor = format!("{BEGIN}\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, next) = rest.split_at(rest.len().min(LINE));
        armor.push_str(line);
        armor.push('\n');
        rest = next;
    }
    armor.push_str(END);
    armor.push('\n');
    Ok(armor)
}

impl Hash {
    fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    fn of(self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(message).to_vec(),
            Self::Sha512 => Sha512::digest(message).to_vec(),
        }
    }
}

/// What is signed in place of the message.
fn signed_data(namespace: &str, reserved: &[u8], hash: Hash, message: &[u8]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    put_string(&mut out, namespace.as_bytes());
    put_string(&mut out, reserved);
    put_string(&mut out, hash.name().as_bytes());
    put_string(&mut out, &hash.of(message));
    out
}

impl Signature {
    /// Reads an armored signature.
    ///
    /// # Errors
    /// It is none, or by a key of a kind that is not supported.
    pub fn from_armor(text: &[u8]) -> Result<Self, SignatureError> {
        let body = std::str::from_utf8(text).ok().and_then(|text| {
            let body = text.trim().strip_prefix(BEGIN)?.strip_suffix(END)?;
            let body: String = body.split_ascii_whitespace().collect();
            STANDARD.decode(body).ok()
        });
        Self::from_blob(&body.ok_or(SignatureError::NotASignature)?)
    }

    fn from_blob(blob: &[u8]) -> Result<Self, SignatureError> {
        const NOT: SignatureError = SignatureError::NotASignature;
        let mut reader = Reader::new(blob);
        if reader.bytes(MAGIC.len()) != Some(MAGIC) {
            return Err(NOT);
        }
        let version = reader.u32().ok_or(NOT)?;
        if version != VERSION {
            return Err(SignatureError::Version(version));
        }
        let key = PublicKey::from_blob(reader.string().ok_or(NOT)?)?;
        let namespace = reader.text().ok_or(NOT)?.to_owned();
        let reserved = reader.string().ok_or(NOT)?.to_vec();
        let hash = match reader.text().ok_or(NOT)? {
            "sha256" => Hash::Sha256,
            "sha512" => Hash::Sha512,
            other => return Err(SignatureError::Hash(other.chars().take(80).collect())),
        };
        let bytes = reader.string().ok_or(NOT)?.to_vec();
        if !reader.is_at_end() {
            return Err(NOT);
        }
        Ok(Self {
            key,
            namespace,
            reserved,
            hash,
            bytes,
        })
    }

    /// Whether the signature is its key's over `message`, and was made for `namespace`. Whether the key is one to trust
    /// is another question: see [`AllowedSigners`](super::AllowedSigners).
    ///
    /// # Errors
    /// It is not.
    pub fn verify(&self, namespace: &str, message: &[u8]) -> Result<(), SignatureError> {
        if self.namespace != namespace {
            return Err(SignatureError::Namespace {
                found: self.namespace.chars().take(80).collect(),
                wanted: namespace.to_owned(),
            });
        }
        let signed = signed_data(&self.namespace, &self.reserved, self.hash, message);
        Ok(self.key.verify(&signed, &self.bytes)?)
    }

    /// The key that the signature names.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_signature_is_told() {
        for text in [
            "",
            "x",
            BEGIN,
            &format!("{BEGIN}\n{END}\n"),
            &format!("{BEGIN}\nU1NIU0lH\n{END}\n"),
            &format!("{BEGIN}\n!\n{END}\n"),
        ] {
            let error = Signature::from_armor(text.as_bytes()).unwrap_err();
            assert_eq!(error, SignatureError::NotASignature, "{text}");
        }
        let mut later = MAGIC.to_vec();
        later.extend(2u32.to_be_bytes());
        assert_eq!(
            Signature::from_blob(&later).unwrap_err(),
            SignatureError::Version(2)
        );
        assert!(Signature::from_armor(b"\xff").is_err());
    }
}
