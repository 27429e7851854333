//! Who signs: the key of a file, or one that an agent holds.

use std::path::Path;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{self, KeyPairComponents};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA512,
    RsaPublicKeyComponents,
};
use zeroize::Zeroizing;

use super::agent::Agent;
use super::key::{Curve, PublicKey, fixed_of, signature_blob};
use super::private::{KeyFile, Numbers, RsaNumbers};
use super::wire::{Reader, put_positive};
use crate::error::{Error, ErrorKind, Result};
use crate::files;

/// The largest key file that is read, in bytes.
const MAX_KEY_FILE: u64 = 64 * 1024;
/// How often a passphrase is asked for, as ssh does.
const TRIES: u32 = 3;

/// A key that can sign.
#[derive(Debug)]
pub struct SigningKey {
    public: PublicKey,
    secret: Secret,
}

enum Secret {
    Ed25519(Box<Ed25519KeyPair>),
    Ecdsa(Box<EcdsaKeyPair>),
    Rsa(Box<rsa::KeyPair>),
    Agent(Agent),
}

/// Never shows a key.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Agent(_) => "(in an agent)",
            Self::Ed25519(_) | Self::Ecdsa(_) | Self::Rsa(_) => "(secret)",
        })
    }
}

impl SigningKey {
    /// Reads an OpenSSH private key. `passphrase` is called with the file's path when the key is encrypted; None means
    /// that nobody can be asked. A public key's file stands for the same key in the agent, as with `ssh-keygen -Y sign`.
    ///
    /// # Errors
    /// The file cannot be read, is no OpenSSH key, or is of a kind that cannot sign; the passphrase is wrong.
    pub fn from_file(
        path: &Path,
        passphrase: &mut dyn FnMut(&Path) -> Result<Option<Zeroizing<String>>>,
    ) -> Result<Self> {
        let shown = || path.display().to_string();
        let text = Zeroizing::new(files::read_small(path, MAX_KEY_FILE)?);
        if let Some(public) = std::str::from_utf8(&text)
            .ok()
            .and_then(|line| PublicKey::from_line(line).ok())
        {
            return Self::from_agent(&public.fingerprint());
        }
        let bad = |message: &str| Error::new(ErrorKind::Usage, message).about(shown());
        let key = std::str::from_utf8(&text)
            .ok()
            .and_then(KeyFile::parse)
            .ok_or_else(|| {
                bad("this is no OpenSSH private key")
                    .hint("ssh-keygen -p -f KEY rewrites an older PEM file in OpenSSH's own form")
            })?;
        let public = PublicKey::from_blob(&key.public)
            .map_err(|e| bad("this key cannot be used").because(e))?;
        let numbers = if key.is_encrypted() {
            let mut tries = 0;
            loop {
                let phrase = passphrase(path)?.ok_or_else(|| {
                    bad("this key is encrypted, and there is no terminal to ask for its passphrase")
                        .hint("add it to an agent (ssh-add KEY) and sign with that")
                })?;
                tries += 1;
                match key.open(&phrase) {
                    Some(numbers) => break numbers,
                    None if tries < TRIES => {}
                    None => {
                        return Err(bad("this passphrase does not open the key")
                            .because(format!("{TRIES} tries")));
                    }
                }
            }
        } else {
            key.open("").ok_or_else(|| bad("this key is broken"))?
        };
        let secret = secret_of(&numbers, &public).ok_or_else(|| {
            bad(if public.is_on_token() {
                "this key is on a token, which only an agent can ask"
            } else {
                "keys of this type cannot sign here"
            })
            .hint("add it to an agent (ssh-add KEY) and sign with that, or use an ed25519, ECDSA or RSA key")
        })?;
        Ok(Self { public, secret })
    }

    /// The key with this fingerprint, `SHA256:…`, in the agent that `SSH_AUTH_SOCK` names.
    ///
    /// # Errors
    /// There is no agent, or it has no such key.
    pub fn from_agent(fingerprint: &str) -> Result<Self> {
        Self::of(Agent::of_environment()?, fingerprint)
    }

    /// The same of the agent at this socket.
    ///
    /// # Errors
    /// As for [`from_agent`](Self::from_agent).
    pub fn from_agent_at(socket: &Path, fingerprint: &str) -> Result<Self> {
        Self::of(Agent::at(socket), fingerprint)
    }

    fn of(agent: Agent, fingerprint: &str) -> Result<Self> {
        let wanted = fingerprint.trim_end_matches('=');
        let wanted = wanted.strip_prefix("SHA256:").unwrap_or(wanted);
        let keys = agent.keys()?;
        let public = keys
            .into_iter()
            .find(|key| key.fingerprint().strip_prefix("SHA256:") == Some(wanted));
        match public {
            Some(public) => Ok(Self {
                public,
                secret: Secret::Agent(agent),
            }),
            None => Err(Error::new(
                ErrorKind::Usage,
                "the ssh-agent has no key with this fingerprint",
            )
            .about(fingerprint)
            .hint("ssh-add -l lists its keys; expected SHA256: and 43 characters")),
        }
    }

    /// The public key.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// The signature of `message`, as SSH sends it. RSA signs with SHA-512.
    ///
    /// # Errors
    /// The agent does not sign.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let algorithm = self.public.algorithm();
        let blob = match &self.secret {
            Secret::Agent(agent) => agent.sign(&self.public, message)?,
            Secret::Ed25519(pair) => {
                let bytes = pair.try_sign(message).map_err(|_| self.failed())?;
                signature_blob(&algorithm, bytes.as_ref())
            }
            Secret::Ecdsa(pair) => {
                let bytes = pair
                    .sign(&SystemRandom::new(), message)
                    .map_err(|_| self.failed())?;
                let (r, s) = bytes.as_ref().split_at(bytes.as_ref().len() / 2);
                let mut numbers = Vec::new();
                put_positive(&mut numbers, r);
                put_positive(&mut numbers, s);
                signature_blob(&algorithm, &numbers)
            }
            Secret::Rsa(pair) => {
                let mut bytes = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA512, &SystemRandom::new(), message, &mut bytes)
                    .map_err(|_| self.failed())?;
                signature_blob("rsa-sha2-512", &bytes)
            }
        };
        // An agent, or a broken machine, may answer anything: nothing is passed on that does not verify.
        match self.public.verify(message, &blob) {
            Ok(()) => Ok(blob),
            Err(e) => Err(self.failed().because(e)),
        }
    }

    /// The signature of `message` in the form that other tools take: Ed25519's 64 bytes (RFC 8032), ECDSA as DER
    /// (RFC 3279 section 2.2.3), RSA PKCS #1 v1.5 with SHA-512.
    ///
    /// # Errors
    /// As for [`sign`](Self::sign); and a key on a token never signs a message as it is.
    pub fn sign_plain(&self, message: &[u8]) -> Result<Vec<u8>> {
        if self.public.is_on_token() {
            return Err(Error::new(
                ErrorKind::Usage,
                "a key on a token signs in SSH's own form only",
            )
            .about(self.public.fingerprint()));
        }
        let blob = self.sign(message)?;
        let mut reader = Reader::new(&blob);
        let bytes = reader.string().and_then(|_| reader.string());
        let bytes = bytes.ok_or_else(|| self.failed())?;
        let Some((curve, _)) = self.public.ecdsa() else {
            return Ok(bytes.to_vec());
        };
        let fixed = fixed_of(bytes, curve).ok_or_else(|| self.failed())?;
        let (r, s) = fixed.split_at(curve.field_len());
        Ok(crate::evidence::der::ecdsa_signature(r, s))
    }

    fn failed(&self) -> Error {
        Error::new(ErrorKind::Io, "this key did not sign").about(self.public.fingerprint())
    }
}

/// None for a kind that cannot sign here, and for numbers that are not the public key's.
fn secret_of(numbers: &Numbers, public: &PublicKey) -> Option<Secret> {
    match numbers {
        Numbers::Ed25519 { seed } => {
            let pair = Ed25519KeyPair::from_seed_and_public_key(seed, public.ed25519()?).ok()?;
            Some(Secret::Ed25519(Box::new(pair)))
        }
        Numbers::Ecdsa { d } => {
            let (curve, point) = public.ecdsa()?;
            let algorithm = match curve {
                Curve::P256 => &ECDSA_P256_SHA256_FIXED_SIGNING,
                Curve::P384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
                Curve::P521 => &ECDSA_P521_SHA512_FIXED_SIGNING,
            };
            let mut padded = Zeroizing::new(vec![0; curve.field_len().checked_sub(d.len())?]);
            padded.extend_from_slice(d);
            let pair =
                EcdsaKeyPair::from_private_key_and_public_key(algorithm, &padded, point).ok()?;
            Some(Secret::Ecdsa(Box::new(pair)))
        }
        Numbers::Rsa(numbers) => Some(Secret::Rsa(Box::new(rsa_pair(numbers)?))),
        Numbers::Other => None,
    }
}

/// OpenSSH keeps an RSA key without the two exponents of the Chinese remainder theorem (RFC 8017 section 3.2): they
/// follow from the rest.
fn rsa_pair(numbers: &RsaNumbers) -> Option<rsa::KeyPair> {
    let RsaNumbers {
        n,
        e,
        d,
        inverse,
        p,
        q,
    } = numbers;
    let components = KeyPairComponents {
        public_key: RsaPublicKeyComponents { n, e },
        d: &d[..],
        p: &p[..],
        q: &q[..],
        dP: &remainder_below(d, p)?[..],
        dQ: &remainder_below(d, q)?[..],
        qInv: &inverse[..],
    };
    rsa::KeyPair::from_components(&components).ok()
}

/// `number` modulo `odd - 1`, big-endian.
fn remainder_below(number: &[u8], odd: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    if odd.last()? % 2 == 0 {
        return None;
    }
    // One byte more, so that doubling does not overflow.
    let mut modulus = Zeroizing::new([&[0], odd].concat());
    *modulus.last_mut()? -= 1;
    let mut rest = Zeroizing::new(vec![0u8; modulus.len()]);
    for bit in number
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1))
    {
        let mut carry = bit;
        for byte in rest.iter_mut().rev() {
            let next = *byte >> 7;
            *byte = *byte << 1 | carry;
            carry = next;
        }
        if *rest >= *modulus {
            let mut borrow = false;
            for (byte, other) in rest.iter_mut().zip(modulus.iter()).rev() {
                let (first, one) = byte.overflowing_sub(*other);
                let (second, two) = first.overflowing_sub(u8::from(borrow));
                *byte = second;
                borrow = one || two;
            }
        }
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remainders_are_right() {
        for (number, odd) in [
            (0u64, 3u64),
            (5, 7),
            (12, 7),
            (1 << 60, 65_537),
            (u64::MAX, 0xffff_ffff_ffff_fff1),
        ] {
            let rest = remainder_below(&number.to_be_bytes(), &odd.to_be_bytes()).unwrap();
            let value = rest
                .iter()
                .fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
            assert_eq!(value, number % (odd - 1), "{number} {odd}");
        }
        assert!(remainder_below(&[1], &[4]).is_none());
    }
}
