//! Time stamps (RFC 3161): an authority signs that it saw a digest, and when.
//!
//! `openssl ts -verify -in SIG.tsr -data SIG -CAfile CA` checks the same. What is asked for is a stamp of the SHA-256 of
//! a bag's signature, so the stamp says that the signature existed then.

use jiff::Timestamp;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use std::time::Duration;
use url::Url;
use webpki::{EndEntityCert, KeyUsage, aws_lc_rs as algorithms};

use super::der::{
    self, BOOLEAN, GENERALIZED_TIME, INTEGER, OCTET_STRING, OID, Reader, SEQUENCE, SET,
    UTF8_STRING, context,
};
use crate::digest::Sha256Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::http::{HttpClient, HttpError};

/// The largest answer of an authority that is read, in bytes.
pub const MAX_TOKEN: usize = 1 << 20;
/// How long an authority may take, all in all.
const ASK_TIME: Duration = Duration::from_secs(60);

// The content of object identifiers, in DER.
const SHA1: &[u8] = &[0x2b, 14, 3, 2, 26];
const SHA256: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];
const SHA384: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2];
const SHA512: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3];
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 7, 2];
const TST_INFO: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 9, 16, 1, 4];
const CONTENT_TYPE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 9, 3];
const MESSAGE_DIGEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 9, 4];
const SIGNING_CERTIFICATE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 9, 16, 2, 12];
const SIGNING_CERTIFICATE_V2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 9, 16, 2, 47];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 37];
const TIME_STAMPING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 8];

/// Why a time stamp does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StampError {
    /// Not an answer of a time-stamp authority, nor a token, or one that is not DER.
    #[error("this is no time-stamp token")]
    NotAToken,
    /// The authority refused.
    #[error("the authority gave no time stamp: status {status}{}", said.as_ref().map(|said| format!(" ({said})")).unwrap_or_default())]
    Refused {
        /// `PKIStatus`.
        status: u8,
        /// What it said.
        said: Option<String>,
    },
    /// It stamps other bytes.
    #[error("the time stamp is of other bytes: SHA-256 {0}")]
    OtherBytes(String),
    /// It stamps by a hash that is not SHA-256.
    #[error("the time stamp is not of a SHA-256 digest")]
    OtherHash,
    /// The nonce is not the one that was asked with.
    #[error("the time stamp answers another request")]
    OtherNonce,
    /// The token holds no certificate of its signer.
    #[error("the token does not hold its signer's certificate")]
    NoCertificate,
    /// A hash or signature that is not supported.
    #[error("the token is signed in a way that is not supported")]
    Unsupported,
    /// The signature is not the certificate's over the token.
    #[error("the token's signature is wrong")]
    WrongSignature,
    /// The certificate is not for time stamps alone.
    #[error("the signer's certificate is not one for time stamps")]
    NotForTimeStamps,
    /// The certificate does not lead to one that is trusted.
    #[error("the signer's certificate is not trusted: {0}")]
    NotTrusted(String),
}

/// What is asked of an authority.
#[derive(Debug, Clone)]
pub struct Request {
    digest: Sha256Digest,
    nonce: [u8; 8],
}

impl Request {
    /// A request for a stamp of `digest`, with a nonce, and with the authority's certificate in the answer.
    pub fn new(digest: Sha256Digest) -> Self {
        let mut nonce = fastrand::u64(..).to_be_bytes();
        // A positive number of eight bytes.
        nonce[0] = nonce[0] & 0x3f | 0x40;
        Self { digest, nonce }
    }

    /// `TimeStampReq` in DER.
    pub fn to_der(&self) -> Vec<u8> {
        let imprint = der::put(
            SEQUENCE,
            &[
                der::put(SEQUENCE, &[der::put(OID, SHA256), vec![5, 0]].concat()),
                der::put(OCTET_STRING, self.digest.as_bytes()),
            ]
            .concat(),
        );
        let parts = [
            der::put_positive(&[1]),
            imprint,
            der::put_positive(&self.nonce),
            der::put(BOOLEAN, &[0xff]),
        ];
        der::put(SEQUENCE, &parts.concat())
    }

    /// Asks the authority at `url`, and gives its answer as it came, once it is for this request. The signature in it is
    /// checked against the certificate in it; whether that is to be trusted is not known here.
    ///
    /// # Errors
    /// The authority cannot be had, refuses, or stamps something else.
    pub async fn send(&self, http: &HttpClient, url: &Url) -> Result<Vec<u8>> {
        let host = url.host_str().unwrap_or_default().to_owned();
        let failed = |kind, message: &str| Error::new(kind, message).about(host.clone());
        let content_type = ("content-type", "application/timestamp-query");
        let headers = [(content_type.0.to_owned(), content_type.1.to_owned())];
        let exchange = async {
            let mut response = http.post(url, &headers, self.to_der()).await?;
            let body = response.body(MAX_TOKEN).await?;
            Ok::<_, HttpError>((response.status(), body))
        };
        let answer = tokio::time::timeout(ASK_TIME, exchange)
            .await
            .map_err(|_| {
                failed(
                    ErrorKind::Timeout,
                    "the time-stamp authority did not answer in time",
                )
            })?;
        let (status, body) = answer.map_err(|e| {
            failed(ErrorKind::Network, "the time-stamp authority cannot be had").because(e)
        })?;
        if status != 200 {
            let message = format!("the time-stamp authority answered {status}");
            return Err(failed(ErrorKind::Service, &message));
        }
        let checked = Stamp::parse(&body).and_then(|stamp| {
            if stamp.nonce.as_deref() != Some(&self.nonce[..]) {
                return Err(StampError::OtherNonce);
            }
            stamp.check(self.digest)
        });
        match checked {
            Ok(()) => Ok(body),
            Err(e) => Err(failed(ErrorKind::Service, "the time stamp cannot be used").because(e)),
        }
    }
}

/// Certificates that are trusted to lead to an authority's.
pub struct Authorities {
    certificates: Vec<CertificateDer<'static>>,
}

impl Authorities {
    /// Reads PEM certificates.
    ///
    /// # Errors
    /// There is none, or one is broken.
    pub fn from_pem(pem: &[u8]) -> Result<Self> {
        let bad = || {
            Error::new(
                ErrorKind::Usage,
                "this file holds no usable certificate (PEM)",
            )
        };
        let certificates = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| bad())?;
        let all_good = certificates
            .iter()
            .all(|certificate| webpki::anchor_from_trusted_cert(certificate).is_ok());
        if certificates.is_empty() || !all_good {
            return Err(bad());
        }
        Ok(Self { certificates })
    }
}

/// A time stamp, read and not yet checked.
#[derive(Debug, Clone)]
pub struct Stamp {
    info: Vec<u8>,
    hash: Vec<u8>,
    imprint: Vec<u8>,
    time: Timestamp,
    nonce: Option<Vec<u8>>,
    certificates: Vec<Vec<u8>>,
    digest_algorithm: Vec<u8>,
    /// The signed attributes as the SET that is signed.
    attributes: Vec<u8>,
    message_digest: Vec<u8>,
    /// The algorithm and the digest of the signer's certificate.
    signer: (Vec<u8>, Vec<u8>),
    signature: Vec<u8>,
}

impl Stamp {
    /// Reads an authority's answer (`TimeStampResp`), or the token in it alone.
    ///
    /// # Errors
    /// It is neither, or the authority refused.
    pub fn parse(bytes: &[u8]) -> Result<Self, StampError> {
        let mut outer = Reader::new(bytes);
        let inside = outer
            .content(SEQUENCE)
            .filter(|_| outer.is_at_end())
            .ok_or(StampError::NotAToken)?;
        let mut reader = Reader::new(inside);
        let token = if reader.content(OID).is_some() {
            inside
        } else {
            let mut status = reader.inside(SEQUENCE).ok_or(StampError::NotAToken)?;
            let Some(&[code]) = status.content(INTEGER) else {
                return Err(StampError::NotAToken);
            };
            // granted, grantedWithMods
            if code > 1 {
                let said = status
                    .inside(SEQUENCE)
                    .and_then(|mut texts| texts.content(UTF8_STRING))
                    .map(|text| String::from_utf8_lossy(text).chars().take(200).collect());
                return Err(StampError::Refused { status: code, said });
            }
            reader
                .content(SEQUENCE)
                .filter(|_| reader.is_at_end())
                .ok_or(StampError::NotAToken)?
        };
        parse_token(token).ok_or(StampError::NotAToken)
    }

    /// When the authority saw the digest, as it says.
    pub fn time(&self) -> Timestamp {
        self.time
    }

    /// Whether it is of `digest`, and signed by the certificate that it holds and names.
    ///
    /// # Errors
    /// It is not.
    pub fn check(&self, digest: Sha256Digest) -> Result<(), StampError> {
        if self.hash != SHA256 {
            return Err(StampError::OtherHash);
        }
        if self.imprint != digest.as_bytes() {
            return Err(StampError::OtherBytes(
                <[u8; 32]>::try_from(&self.imprint[..])
                    .map(|bytes| Sha256Digest::from_bytes(bytes).hex())
                    .unwrap_or_default(),
            ));
        }
        let of_info = hash(&self.digest_algorithm, &self.info).ok_or(StampError::Unsupported)?;
        if of_info != self.message_digest {
            return Err(StampError::WrongSignature);
        }
        let certificate = CertificateDer::from(self.certificate()?);
        let certificate =
            EndEntityCert::try_from(&certificate).map_err(|_| StampError::Unsupported)?;
        let mut verdict = StampError::Unsupported;
        for algorithm in candidates(&self.digest_algorithm) {
            match certificate.verify_signature(algorithm, &self.attributes, &self.signature) {
                Ok(()) => return Ok(()),
                Err(webpki::Error::InvalidSignatureForPublicKey) => {
                    verdict = StampError::WrongSignature;
                }
                Err(_) => {}
            }
        }
        Err(verdict)
    }

    /// [`check`](Self::check), and whether the certificate is for time stamps, was valid at that time, and leads to one of
    /// `authorities`. Nobody is asked whether it was revoked.
    ///
    /// # Errors
    /// It is not.
    pub fn check_trusted(
        &self,
        digest: Sha256Digest,
        authorities: &Authorities,
    ) -> Result<(), StampError> {
        self.check(digest)?;
        let signer = self.certificate()?;
        if !is_for_time_stamps(signer) {
            return Err(StampError::NotForTimeStamps);
        }
        let not_trusted = |e: webpki::Error| StampError::NotTrusted(e.to_string());
        let anchors: Vec<TrustAnchor<'_>> = authorities
            .certificates
            .iter()
            .filter_map(|certificate| webpki::anchor_from_trusted_cert(certificate).ok())
            .collect();
        let between: Vec<CertificateDer<'_>> = self
            .certificates
            .iter()
            .filter(|certificate| *certificate != signer)
            .map(|certificate| CertificateDer::from(&certificate[..]))
            .collect();
        let seconds = u64::try_from(self.time.as_second()).unwrap_or_default();
        let certificate = CertificateDer::from(signer);
        EndEntityCert::try_from(&certificate)
            .and_then(|certificate| {
                certificate.verify_for_usage(
                    webpki::ALL_VERIFICATION_ALGS,
                    &anchors,
                    &between,
                    UnixTime::since_unix_epoch(Duration::from_secs(seconds)),
                    KeyUsage::required_if_present(TIME_STAMPING),
                    None,
                    None,
                )?;
                Ok(())
            })
            .map_err(not_trusted)
    }

    /// The certificate that the signed attributes name by its digest.
    fn certificate(&self) -> Result<&[u8], StampError> {
        let (algorithm, digest) = &self.signer;
        let found = self
            .certificates
            .iter()
            .find(|certificate| hash(algorithm, certificate).as_ref() == Some(digest));
        found.map(Vec::as_slice).ok_or(StampError::NoCertificate)
    }
}

fn hash(algorithm: &[u8], bytes: &[u8]) -> Option<Vec<u8>> {
    Some(match algorithm {
        SHA1 => Sha1::digest(bytes).to_vec(),
        SHA256 => Sha256::digest(bytes).to_vec(),
        SHA384 => Sha384::digest(bytes).to_vec(),
        SHA512 => Sha512::digest(bytes).to_vec(),
        _ => return None,
    })
}

/// The ways in which a token with this digest may be signed; the key decides which one it is.
fn candidates(digest: &[u8]) -> Vec<&'static dyn SignatureVerificationAlgorithm> {
    match digest {
        SHA256 => vec![
            algorithms::RSA_PKCS1_2048_8192_SHA256,
            algorithms::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
            algorithms::ECDSA_P256_SHA256,
            algorithms::ECDSA_P384_SHA256,
        ],
        SHA384 => vec![
            algorithms::RSA_PKCS1_2048_8192_SHA384,
            algorithms::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
            algorithms::ECDSA_P256_SHA384,
            algorithms::ECDSA_P384_SHA384,
        ],
        SHA512 => vec![
            algorithms::RSA_PKCS1_2048_8192_SHA512,
            algorithms::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
            algorithms::ECDSA_P256_SHA512,
            algorithms::ECDSA_P384_SHA512,
            algorithms::ECDSA_P521_SHA512,
            algorithms::ED25519,
        ],
        _ => Vec::new(),
    }
}

/// `ContentInfo` of a `SignedData` (RFC 5652) of a `TSTInfo` (RFC 3161 section 2.4.2), with its one signer.
fn parse_token(content_info: &[u8]) -> Option<Stamp> {
    let mut reader = Reader::new(content_info);
    reader.content(OID).filter(|oid| *oid == SIGNED_DATA)?;
    let mut data = reader.inside(context(0))?.inside(SEQUENCE)?;
    data.content(INTEGER)?;
    data.content(SET)?;
    let mut content = data.inside(SEQUENCE)?;
    content.content(OID).filter(|oid| *oid == TST_INFO)?;
    let info = content.inside(context(0))?.content(OCTET_STRING)?;
    let mut certificates = Vec::new();
    if let Some(mut set) = data.inside(context(0)) {
        while let Some(certificate) = set.any() {
            // Other tags are obsolete kinds of certificates.
            if certificate.tag == SEQUENCE {
                certificates.push(certificate.whole.to_vec());
            }
        }
    }
    let _revocations = data.content(context(1));
    let mut signers = data.inside(SET)?;
    let mut signer = signers.inside(SEQUENCE)?;
    if !signers.is_at_end() {
        return None;
    }
    signer.content(INTEGER)?;
    let _named_by = signer.any()?;
    let digest_algorithm = signer.inside(SEQUENCE)?.content(OID)?.to_vec();
    let attributes = signer.content(context(0))?;
    let _signature_algorithm = signer.content(SEQUENCE)?;
    let signature = signer.content(OCTET_STRING)?.to_vec();
    let (message_digest, certificate) = parse_attributes(attributes)?;

    let mut fields = Reader::new(info).inside(SEQUENCE)?;
    fields.content(INTEGER)?;
    fields.content(OID)?;
    let mut imprint = fields.inside(SEQUENCE)?;
    let hash = imprint.inside(SEQUENCE)?.content(OID)?.to_vec();
    let imprint = imprint.content(OCTET_STRING)?.to_vec();
    fields.content(INTEGER)?;
    let time = parse_time(fields.content(GENERALIZED_TIME)?)?;
    let _accuracy = fields.content(SEQUENCE);
    let _ordering = fields.content(BOOLEAN);
    let nonce = fields.content(INTEGER).map(<[u8]>::to_vec);
    Some(Stamp {
        info: info.to_vec(),
        hash,
        imprint,
        time,
        nonce,
        certificates,
        digest_algorithm,
        attributes: der::put(SET, attributes),
        message_digest,
        signer: certificate,
        signature,
    })
}

/// The message digest, and the digest of the signer's certificate (RFC 5035, RFC 2634 section 5.4), each of which a time
/// stamp must have.
#[expect(
    clippy::type_complexity,
    reason = "two digests, one of them with its algorithm"
)]
fn parse_attributes(attributes: &[u8]) -> Option<(Vec<u8>, (Vec<u8>, Vec<u8>))> {
    let (mut message, mut certificate, mut content_type) = (None, None, false);
    let mut reader = Reader::new(attributes);
    while !reader.is_at_end() {
        let mut attribute = reader.inside(SEQUENCE)?;
        let oid = attribute.content(OID)?;
        let mut values = attribute.inside(SET)?;
        match oid {
            CONTENT_TYPE => content_type = values.content(OID)? == TST_INFO,
            MESSAGE_DIGEST => message = Some(values.content(OCTET_STRING)?.to_vec()),
            SIGNING_CERTIFICATE | SIGNING_CERTIFICATE_V2 => {
                let mut first = values
                    .inside(SEQUENCE)?
                    .inside(SEQUENCE)?
                    .inside(SEQUENCE)?;
                let default = if oid == SIGNING_CERTIFICATE {
                    SHA1
                } else {
                    SHA256
                };
                let algorithm = match first.inside(SEQUENCE) {
                    Some(mut named) => named.content(OID)?,
                    None => default,
                };
                let digest = first.content(OCTET_STRING)?.to_vec();
                certificate = Some((algorithm.to_vec(), digest));
            }
            _ => {}
        }
    }
    Some((message.filter(|_| content_type)?, certificate?))
}

/// `YYYYMMDDhhmmss[.f]Z`
fn parse_time(bytes: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(bytes).ok()?.strip_suffix('Z')?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.len() != 14 || !digits(whole) || !digits(fraction) || fraction.is_empty() {
        return None;
    }
    let fraction: String = fraction.chars().take(9).collect();
    let text = format!(
        "{}-{}-{}T{}:{}:{}.{fraction}Z",
        &whole[..4],
        &whole[4..6],
        &whole[6..8],
        &whole[8..10],
        &whole[10..12],
        &whole[12..]
    );
    text.parse().ok()
}

/// Whether a certificate has one extended key usage, that of time stamps, and says that it is critical (RFC 3161
/// section 2.3).
fn is_for_time_stamps(certificate: &[u8]) -> bool {
    let usage = || -> Option<bool> {
        let mut fields = Reader::new(certificate)
            .inside(SEQUENCE)?
            .inside(SEQUENCE)?;
        let mut extensions = loop {
            let value = fields.any()?;
            if value.tag == context(3) {
                break Reader::new(value.content).inside(SEQUENCE)?;
            }
        };
        while let Some(mut extension) = extensions.inside(SEQUENCE) {
            if extension.content(OID)? == EXTENDED_KEY_USAGE {
                let critical = extension.content(BOOLEAN) == Some(&[0xff]);
                let mut usages = Reader::new(extension.content(OCTET_STRING)?).inside(SEQUENCE)?;
                let first = usages.content(OID)?;
                return Some(critical && first == TIME_STAMPING && usages.is_at_end());
            }
        }
        None
    };
    usage().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_is_der() {
        let request = Request::new(Sha256Digest::of(b"abc"));
        let bytes = request.to_der();
        let mut fields = Reader::new(&bytes).inside(SEQUENCE).unwrap();
        assert_eq!(fields.content(INTEGER), Some(&[1][..]));
        let mut imprint = fields.inside(SEQUENCE).unwrap();
        let oid = imprint.inside(SEQUENCE).unwrap().content(OID);
        assert_eq!(oid, Some(SHA256));
        let digest = imprint.content(OCTET_STRING).unwrap();
        assert_eq!(digest, Sha256Digest::of(b"abc").as_bytes());
        assert_eq!(fields.content(INTEGER), Some(&request.nonce[..]));
        assert_eq!(fields.content(BOOLEAN), Some(&[0xff][..]));
        assert!(fields.is_at_end());
    }

    #[test]
    fn times_are_read() {
        for (text, want) in [
            ("20260102030405Z", Some("2026-01-02T03:04:05Z")),
            ("20260102030405.25Z", Some("2026-01-02T03:04:05.25Z")),
            ("20260102030405", None),
            ("2026010203040Z", None),
            ("20261302030405Z", None),
            ("2026010203040é", None),
        ] {
            let time = parse_time(text.as_bytes()).map(|time| time.to_string());
            assert_eq!(time.as_deref(), want, "{text}");
        }
    }

    #[test]
    fn a_refusal_is_told_with_its_words() {
        let text = der::put(SEQUENCE, &der::put(UTF8_STRING, b"busy"));
        let status = der::put(SEQUENCE, &[der::put(INTEGER, &[2]), text].concat());
        let said = Some("busy".to_owned());
        assert_eq!(
            Stamp::parse(&der::put(SEQUENCE, &status)).unwrap_err(),
            StampError::Refused { status: 2, said }
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>()) {
            let _ = Stamp::parse(&bytes);
            let _ = Stamp::parse(&der::put(SEQUENCE, &bytes));
            let _ = is_for_time_stamps(&bytes);
        }
    }
}
