//! A public key as OpenSSH writes it, and what it says about a signature.

use std::fmt;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_ASN1,
    ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_ASN1, ECDSA_P521_SHA512_FIXED, ED25519,
    EcdsaVerificationAlgorithm, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA512,
    RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use super::wire::{Reader, put_string};
use crate::digest::Sha256Digest;

/// The longest key or signature that is looked at, in bytes: RSA of 16,384 bits fits several times.
const MAX_BLOB: usize = 32 * 1024;

/// A public key: its bytes as SSH sends them, and what they mean.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    blob: Vec<u8>,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Ed25519(Vec<u8>),
    Ecdsa(Curve, Vec<u8>),
    Rsa {
        e: Vec<u8>,
        n: Vec<u8>,
    },
    /// A key on a FIDO token signs this application's name, flags and a counter along with the message.
    SkEd25519(Vec<u8>, String),
    SkEcdsa(Vec<u8>, String),
}

/// A NIST curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
    P521,
}

/// Why a key cannot be used, or does not say yes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The bytes are no key.
    #[error("this is no SSH public key")]
    NotAKey,
    /// A kind of key that is not supported; certificates are among them.
    #[error("keys of the type {0:?} are not supported")]
    Unsupported(String),
    /// The signature is none of this key's kind, or an old one that is not to be trusted (`ssh-rsa`, which is SHA-1).
    #[error("a signature of the type {0:?} is not accepted for this key")]
    Algorithm(String),
    /// The signature's bytes are not what its type says.
    #[error("the signature is broken")]
    BrokenSignature,
    /// The signature is not this key's over these bytes.
    #[error("the signature is not this key's over these bytes")]
    Wrong,
}

impl Curve {
    pub(super) fn field_len(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::P256 => "nistp256",
            Self::P384 => "nistp384",
            Self::P521 => "nistp521",
        }
    }

    /// The same, with the signature in DER.
    fn verification_of_der(self) -> &'static EcdsaVerificationAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_ASN1,
            Self::P384 => &ECDSA_P384_SHA384_ASN1,
            Self::P521 => &ECDSA_P521_SHA512_ASN1,
        }
    }

    fn verification(self) -> &'static EcdsaVerificationAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_FIXED,
            Self::P384 => &ECDSA_P384_SHA384_FIXED,
            Self::P521 => &ECDSA_P521_SHA512_FIXED,
        }
    }
}

impl PublicKey {
    /// Reads a key as SSH sends it.
    ///
    /// # Errors
    /// It is no key, or one of a kind that is not supported.
    pub fn from_blob(blob: &[u8]) -> Result<Self, KeyError> {
        if blob.len() > MAX_BLOB {
            return Err(KeyError::NotAKey);
        }
        let mut reader = Reader::new(blob);
        let kind = parse(&mut reader)?.filter(|_| reader.is_at_end());
        Ok(Self {
            blob: blob.to_vec(),
            kind: kind.ok_or(KeyError::NotAKey)?,
        })
    }

    /// Reads a line of a `.pub` file: type, base64, comment.
    ///
    /// # Errors
    /// As for [`from_blob`](Self::from_blob).
    pub fn from_line(line: &str) -> Result<Self, KeyError> {
        let mut words = line.split_ascii_whitespace();
        let (algorithm, text) = (words.next(), words.next().unwrap_or_default());
        let key = STANDARD
            .decode(text)
            .map_err(|_| KeyError::NotAKey)
            .and_then(|blob| Self::from_blob(&blob))?;
        if algorithm == Some(key.algorithm().as_str()) {
            Ok(key)
        } else {
            Err(KeyError::NotAKey)
        }
    }

    /// The key as SSH sends it.
    pub fn blob(&self) -> &[u8] {
        &self.blob
    }

    /// The type's name: `ssh-ed25519`.
    pub fn algorithm(&self) -> String {
        match &self.kind {
            Kind::Ed25519(_) => "ssh-ed25519".to_owned(),
            Kind::Ecdsa(curve, _) => format!("ecdsa-sha2-{}", curve.name()),
            Kind::Rsa { .. } => "ssh-rsa".to_owned(),
            Kind::SkEd25519(..) => "sk-ssh-ed25519@openssh.com".to_owned(),
            Kind::SkEcdsa(..) => "sk-ecdsa-sha2-nistp256@openssh.com".to_owned(),
        }
    }

    /// `SHA256:` and the unpadded base64 of the key's digest, as `ssh-keygen -l` prints it.
    pub fn fingerprint(&self) -> String {
        let digest = Sha256Digest::of(&self.blob);
        format!("SHA256:{}", STANDARD_NO_PAD.encode(digest.as_bytes()))
    }

    /// The line of a `.pub` file, without a comment.
    pub fn to_line(&self) -> String {
        format!("{} {}", self.algorithm(), STANDARD.encode(&self.blob))
    }

    /// Whether the key lives on a FIDO token.
    pub fn is_on_token(&self) -> bool {
        matches!(self.kind, Kind::SkEd25519(..) | Kind::SkEcdsa(..))
    }

    /// Whether it is an RSA key, of which an agent must be told the hash.
    pub(super) fn is_rsa(&self) -> bool {
        matches!(self.kind, Kind::Rsa { .. })
    }

    /// The curve and the point of an ECDSA key.
    pub(super) fn ecdsa(&self) -> Option<(Curve, &[u8])> {
        match &self.kind {
            Kind::Ecdsa(curve, point) => Some((*curve, point)),
            _ => None,
        }
    }

    /// The bytes of an Ed25519 key.
    pub(super) fn ed25519(&self) -> Option<&[u8]> {
        match &self.kind {
            Kind::Ed25519(key) => Some(key),
            _ => None,
        }
    }

    /// Whether `signature`, as SSH sends it, is this key's over `message`.
    ///
    /// # Errors
    /// It is not.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), KeyError> {
        if signature.len() > MAX_BLOB {
            return Err(KeyError::BrokenSignature);
        }
        let mut reader = Reader::new(signature);
        let (Some(algorithm), Some(bytes)) = (reader.text(), reader.string()) else {
            return Err(KeyError::BrokenSignature);
        };
        let right = match &self.kind {
            Kind::Rsa { .. } => matches!(algorithm, "rsa-sha2-512" | "rsa-sha2-256"),
            _ => algorithm == self.algorithm(),
        };
        if !right {
            return Err(KeyError::Algorithm(algorithm.chars().take(80).collect()));
        }
        let signed;
        let message = match &self.kind {
            Kind::SkEd25519(_, application) | Kind::SkEcdsa(_, application) => {
                let trailer = reader.bytes(5).ok_or(KeyError::BrokenSignature)?;
                signed = [
                    Sha256Digest::of(application.as_bytes()).as_bytes(),
                    trailer,
                    Sha256Digest::of(message).as_bytes(),
                ]
                .concat();
                &signed[..]
            }
            _ => message,
        };
        if !reader.is_at_end() {
            return Err(KeyError::BrokenSignature);
        }
        let verdict = match &self.kind {
            Kind::Ed25519(key) | Kind::SkEd25519(key, _) => {
                UnparsedPublicKey::new(&ED25519, key).verify(message, bytes)
            }
            Kind::Ecdsa(curve, point) => {
                let fixed = fixed_of(bytes, *curve).ok_or(KeyError::BrokenSignature)?;
                UnparsedPublicKey::new(curve.verification(), point).verify(message, &fixed)
            }
            Kind::SkEcdsa(point, _) => {
                let fixed = fixed_of(bytes, Curve::P256).ok_or(KeyError::BrokenSignature)?;
                UnparsedPublicKey::new(Curve::P256.verification(), point).verify(message, &fixed)
            }
            Kind::Rsa { e, n } => {
                let parameters = if algorithm == "rsa-sha2-256" {
                    &RSA_PKCS1_2048_8192_SHA256
                } else {
                    &RSA_PKCS1_2048_8192_SHA512
                };
                // SSH leaves leading zeros out.
                let mut padded = vec![0; n.len().saturating_sub(bytes.len())];
                padded.extend_from_slice(bytes);
                RsaPublicKeyComponents { n, e }.verify(parameters, message, &padded)
            }
        };
        verdict.map_err(|_| KeyError::Wrong)
    }
}

impl PublicKey {
    /// Whether `signature` is this key's plain one over `message`, as [`SigningKey::sign_plain`] makes it.
    ///
    /// # Errors
    /// It is not, or the key is on a token, which signs in SSH's own form only.
    ///
    /// [`SigningKey::sign_plain`]: super::SigningKey::sign_plain
    pub fn verify_plain(&self, message: &[u8], signature: &[u8]) -> Result<(), KeyError> {
        let verdict = match &self.kind {
            Kind::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key).verify(message, signature),
            Kind::Ecdsa(curve, point) => UnparsedPublicKey::new(curve.verification_of_der(), point)
                .verify(message, signature),
            Kind::Rsa { e, n } => RsaPublicKeyComponents { n, e }.verify(
                &RSA_PKCS1_2048_8192_SHA512,
                message,
                signature,
            ),
            Kind::SkEd25519(..) | Kind::SkEcdsa(..) => {
                return Err(KeyError::Unsupported(self.algorithm()));
            }
        };
        verdict.map_err(|_| KeyError::Wrong)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({} {})", self.algorithm(), self.fingerprint())
    }
}

fn parse(reader: &mut Reader<'_>) -> Result<Option<Kind>, KeyError> {
    let Some(algorithm) = reader.text() else {
        return Ok(None);
    };
    let mut owned = || reader.string().map(<[u8]>::to_vec);
    Ok(match algorithm {
        "ssh-ed25519" => owned().filter(|key| key.len() == 32).map(Kind::Ed25519),
        "sk-ssh-ed25519@openssh.com" => owned()
            .filter(|key| key.len() == 32)
            .and_then(|key| Some(Kind::SkEd25519(key, reader.text()?.to_owned()))),
        "sk-ecdsa-sha2-nistp256@openssh.com" => {
            let point = owned()
                .filter(|curve| curve == b"nistp256")
                .and_then(|_| reader.string());
            point.and_then(|point| Some(Kind::SkEcdsa(point.to_vec(), reader.text()?.to_owned())))
        }
        "ssh-rsa" => {
            let e = reader.positive().map(<[u8]>::to_vec);
            let n = reader.positive().map(<[u8]>::to_vec);
            e.zip(n).map(|(e, n)| Kind::Rsa { e, n })
        }
        _ => {
            let curve = [Curve::P256, Curve::P384, Curve::P521]
                .into_iter()
                .find(|curve| algorithm.strip_prefix("ecdsa-sha2-") == Some(curve.name()));
            let Some(curve) = curve else {
                return Err(KeyError::Unsupported(algorithm.chars().take(80).collect()));
            };
            owned()
                .filter(|name| name == curve.name().as_bytes())
                .and_then(|_| reader.string())
                .map(|point| Kind::Ecdsa(curve, point.to_vec()))
        }
    })
}

/// An ECDSA signature of SSH, two integers (RFC 5656 section 3.1.2), as two numbers of the field's length.
pub(super) fn fixed_of(bytes: &[u8], curve: Curve) -> Option<Vec<u8>> {
    let mut reader = Reader::new(bytes);
    let len = curve.field_len();
    let mut out = Vec::with_capacity(2 * len);
    for _ in 0..2 {
        let number = reader.positive().filter(|number| number.len() <= len)?;
        out.resize(out.len() + len - number.len(), 0);
        out.extend_from_slice(number);
    }
    reader.is_at_end().then_some(out)
}

/// The bytes of a signature as SSH sends them.
pub(super) fn signature_blob(algorithm: &str, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_string(&mut out, algorithm.as_bytes());
    put_string(&mut out, bytes);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    // ssh-keygen -t ed25519, with what `ssh-keygen -l` says of it.
    const LINE: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAQGnMcbsAALC04Xud7zbYMszL6GPn4jQVCl/fPPfxtP a@b";

    #[test]
    fn a_key_is_read_and_written() {
        let key = PublicKey::from_line(LINE).unwrap();
        assert_eq!(key.algorithm(), "ssh-ed25519");
        assert_eq!(format!("{} a@b", key.to_line()), LINE);
        assert!(key.fingerprint().starts_with("SHA256:"));
        assert!(!key.is_on_token());
        for line in [
            "",
            "ssh-ed25519",
            "ssh-ed25519 AAAA",
            &LINE.replace("ssh-ed25519 ", "ssh-rsa "),
            &LINE.replace("xtP", "xt"),
        ] {
            assert_eq!(PublicKey::from_line(line), Err(KeyError::NotAKey), "{line}");
        }
        let mut certificate = Vec::new();
        put_string(&mut certificate, b"ssh-ed25519-cert-v01@openssh.com");
        assert!(matches!(
            PublicKey::from_blob(&certificate),
            Err(KeyError::Unsupported(_))
        ));
    }

    #[test]
    fn no_bytes_are_a_signature_of_another_kind() {
        let key = PublicKey::from_line(LINE).unwrap();
        assert_eq!(key.verify(b"m", b""), Err(KeyError::BrokenSignature));
        let other = signature_blob("ssh-rsa", &[1; 64]);
        assert_eq!(
            key.verify(b"m", &other),
            Err(KeyError::Algorithm("ssh-rsa".to_owned()))
        );
        let wrong = signature_blob("ssh-ed25519", &[1; 64]);
        assert_eq!(key.verify(b"m", &wrong), Err(KeyError::Wrong));
        let longer = [&wrong[..], &[0]].concat();
        assert_eq!(key.verify(b"m", &longer), Err(KeyError::BrokenSignature));
    }
}
