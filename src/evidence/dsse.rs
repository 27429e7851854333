//! DSSE, the envelope of an in-toto Statement (secure-systems-lab/dsse, `protocol.md` and `envelope.md` 1.0).
//!
//! The signature is the key's plain one over the pre-authentication encoding (PAE), the `keyid` the key's fingerprint as
//! `ssh-keygen -l` prints it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::ssh::SigningKey;
use crate::error::Result;

/// The payload type of an in-toto Statement.
pub const IN_TOTO: &str = "application/vnd.in-toto+json";

/// A payload with its signatures, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// What the payload is: [`IN_TOTO`].
    #[serde(rename = "payloadType")]
    pub payload_type: String,
    /// The payload in base64.
    pub payload: String,
    /// Signatures over [`pae`].
    pub signatures: Vec<EnvelopeSignature>,
}

/// One signature of an envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvelopeSignature {
    /// The key's fingerprint, `SHA256:…`.
    pub keyid: String,
    /// The signature in base64: see [`SigningKey::sign_plain`].
    pub sig: String,
}

/// What is signed: `DSSEv1`, and type and payload each with its length before it.
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!(
        "DSSEv1 {} {payload_type} {} ",
        payload_type.len(),
        payload.len()
    );
    [head.as_bytes(), payload].concat()
}

impl EnvelopeSignature {
    /// The signature's bytes; None when they are no base64.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        STANDARD.decode(&self.sig).ok()
    }
}

impl Envelope {
    /// Wraps and signs a payload.
    ///
    /// # Errors
    /// The key does not sign, or is on a token, which signs in SSH's own form only.
    pub fn sign(payload_type: &str, payload: &[u8], key: &SigningKey) -> Result<Self> {
        let signature = key.sign_plain(&pae(payload_type, payload))?;
        Ok(Self {
            payload_type: payload_type.to_owned(),
            payload: STANDARD.encode(payload),
            signatures: vec![EnvelopeSignature {
                keyid: key.public_key().fingerprint(),
                sig: STANDARD.encode(signature),
            }],
        })
    }

    /// The payload's bytes; None when they are no base64.
    pub fn payload(&self) -> Option<Vec<u8>> {
        STANDARD.decode(&self.payload).ok()
    }

    /// The envelope as JSON with a newline at the end.
    pub fn to_json(&self) -> Vec<u8> {
        // These types hold nothing that JSON cannot say, so this does not fail.
        let mut json = serde_json::to_vec(self).unwrap_or_default();
        json.push(b'\n');
        json
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoding_is_the_protocols() {
        // The example of protocol.md.
        let encoded = pae("http://example.com/HelloWorld", b"hello world");
        assert_eq!(
            encoded,
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
    }

    #[test]
    fn an_envelope_has_the_names_of_the_format() {
        let envelope = Envelope {
            payload_type: IN_TOTO.to_owned(),
            payload: "e30=".to_owned(),
            signatures: vec![EnvelopeSignature {
                keyid: "k".to_owned(),
                sig: "cw==".to_owned(),
            }],
        };
        let json = String::from_utf8(envelope.to_json()).unwrap();
        assert_eq!(
            json,
            "{\"payloadType\":\"application/vnd.in-toto+json\",\"payload\":\"e30=\",\"signatures\":[{\"keyid\":\"k\",\"sig\":\"cw==\"}]}\n"
        );
        assert_eq!(envelope.payload().unwrap(), b"{}");
    }
}
