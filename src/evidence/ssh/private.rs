//! OpenSSH's private key file (`PROTOCOL.key`), with or without a passphrase.
//!
//! Read here and not by a crate: the one there is (ssh-key 0.6) refuses ECDSA keys whose number begins with a zero byte,
//! which is one key in 256 on P-256 and every second one on P-521.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ssh_cipher::Cipher;
use zeroize::Zeroizing;

use super::wire::Reader;

const BEGIN: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";
const END: &str = "-----END OPENSSH PRIVATE KEY-----";
const MAGIC: &[u8] = b"openssh-key-v1\0";
/// The most rounds of the key derivation that are made: some minutes' worth.
const MAX_ROUNDS: u32 = 10_000;

/// A key file whose secret part is still as it was written.
pub(super) struct KeyFile {
    /// The public key, as SSH sends it.
    pub(super) public: Vec<u8>,
    cipher: Cipher,
    /// Salt and rounds of bcrypt-pbkdf, where a passphrase is needed.
    kdf: Option<(Vec<u8>, u32)>,
    secret: Zeroizing<Vec<u8>>,
    tag: Option<[u8; 16]>,
}

/// The secret numbers of a key, as the file has them.
pub(super) enum Numbers {
    Ed25519 {
        seed: Zeroizing<Vec<u8>>,
    },
    Ecdsa {
        d: Zeroizing<Vec<u8>>,
    },
    Rsa(Box<RsaNumbers>),
    /// A kind that cannot sign by itself.
    Other,
}

/// The numbers of an RSA key (RFC 8017 section 3.2), without the two exponents that follow from them.
pub(super) struct RsaNumbers {
    pub(super) n: Vec<u8>,
    pub(super) e: Vec<u8>,
    pub(super) d: Zeroizing<Vec<u8>>,
    pub(super) inverse: Zeroizing<Vec<u8>>,
    pub(super) p: Zeroizing<Vec<u8>>,
    pub(super) q: Zeroizing<Vec<u8>>,
}

impl KeyFile {
    /// Reads the file. None when it is no OpenSSH private key, or of a cipher that is not supported.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let body = text.trim().strip_prefix(BEGIN)?.strip_suffix(END)?;
        let body: Zeroizing<String> = Zeroizing::new(body.split_ascii_whitespace().collect());
        let bytes = Zeroizing::new(STANDARD.decode(&*body).ok()?);
        let mut reader = Reader::new(bytes.strip_prefix(MAGIC)?);
        let (cipher, kdf, options) = (reader.text()?, reader.text()?, reader.string()?);
        let cipher = if cipher == "none" {
            Cipher::None
        } else {
            Cipher::new(cipher).ok()?
        };
        let kdf = match kdf {
            "none" if cipher.is_none() => None,
            "bcrypt" if cipher.is_some() => {
                let mut options = Reader::new(options);
                let salt = options.string()?.to_vec();
                Some((salt, options.u32().filter(|rounds| *rounds <= MAX_ROUNDS)?))
            }
            _ => return None,
        };
        if reader.u32()? != 1 {
            return None;
        }
        let public = reader.string()?.to_vec();
        let secret = Zeroizing::new(reader.string()?.to_vec());
        let tag = if cipher.has_tag() {
            Some(reader.bytes(16)?.try_into().ok()?)
        } else {
            None
        };
        reader.is_at_end().then_some(Self {
            public,
            cipher,
            kdf,
            secret,
            tag,
        })
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.kdf.is_some()
    }

    /// Opens the secret part. None when the passphrase is not the key's, or what it opens is broken.
    pub(super) fn open(&self, passphrase: &str) -> Option<Numbers> {
        let mut secret = Zeroizing::new(self.secret.to_vec());
        if let Some((salt, rounds)) = &self.kdf {
            let (key, iv) = self.cipher.key_and_iv_size()?;
            let mut derived = Zeroizing::new(vec![0; key + iv]);
            bcrypt_pbkdf::bcrypt_pbkdf(passphrase, salt, *rounds, &mut derived).ok()?;
            let (key, iv) = derived.split_at(key);
            self.cipher.decrypt(key, iv, &mut secret, self.tag).ok()?;
        }
        let mut reader = Reader::new(&secret);
        // The same number twice: what a wrong passphrase opens has two others.
        if reader.u32()? != reader.u32()? {
            return None;
        }
        let owned = |bytes: &[u8]| Zeroizing::new(bytes.to_vec());
        Some(match reader.text()? {
            "ssh-ed25519" => {
                let _public = reader.string()?;
                let seed = owned(reader.string()?.get(..32)?);
                Numbers::Ed25519 { seed }
            }
            "ssh-rsa" => Numbers::Rsa(Box::new(RsaNumbers {
                n: reader.positive()?.to_vec(),
                e: reader.positive()?.to_vec(),
                d: owned(reader.positive()?),
                inverse: owned(reader.positive()?),
                p: owned(reader.positive()?),
                q: owned(reader.positive()?),
            })),
            kind if kind.starts_with("ecdsa-sha2-") => {
                let (_curve, _point) = (reader.string()?, reader.string()?);
                let d = owned(reader.positive()?);
                Numbers::Ecdsa { d }
            }
            _ => Numbers::Other,
        })
    }
}
