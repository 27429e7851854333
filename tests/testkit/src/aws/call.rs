//! A request made sense of: which operation, whose credentials, which region.

use super::answer::LambdaError;
use super::fault::Fault;
use super::wire::Message;
use super::world::{Key, World};

/// The account that everything belongs to unless a test says otherwise.
pub const ACCOUNT: &str = "123456789012";

/// One call on its way through a handler.
pub(crate) struct Call<'a> {
    pub message: &'a Message,
    pub operation: &'static str,
    /// The decoded placeholders of the route.
    pub arguments: Vec<String>,
    /// `http://host:port` of the listener that took it.
    pub base: &'a str,
    pub faults: &'a [Fault],
    pub signer: Option<Signer>,
}

impl Call<'_> {
    pub fn argument(&self, index: usize) -> &str {
        self.arguments.get(index).map_or("", String::as_str)
    }

    pub fn region(&self) -> &str {
        self.signer
            .as_ref()
            .map_or("us-east-1", |signer| signer.region.as_str())
    }

    pub fn access_key(&self) -> &str {
        self.signer
            .as_ref()
            .map_or("", |signer| signer.access_key.as_str())
    }
}

/// What the header `Authorization` says (AWS Signature Version 4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Signer {
    pub access_key: String,
    pub region: String,
}

impl Signer {
    /// Reads the credential scope; the signature itself is not computed.
    pub fn read(message: &Message) -> Option<Self> {
        Self::of_header(message).or_else(|| Self::of_query(message))
    }

    /// A URL that the caller presigned.
    fn of_query(message: &Message) -> Option<Self> {
        let value = |name| message.query_value(name).unwrap_or_default();
        let signed = value("X-Amz-Algorithm") == "AWS4-HMAC-SHA256"
            && value("X-Amz-SignedHeaders").contains("host")
            && value("X-Amz-Signature").len() == 64
            && !value("X-Amz-Date").is_empty()
            && !value("X-Amz-Expires").is_empty();
        signed
            .then(|| Self::of_scope(&value("X-Amz-Credential")))
            .flatten()
    }

    fn of_scope(credential: &str) -> Option<Self> {
        let scope: Vec<&str> = credential.split('/').collect();
        let [access_key, _date, region, _service, "aws4_request"] = scope[..] else {
            return None;
        };
        Some(Self {
            access_key: access_key.to_owned(),
            region: region.to_owned(),
        })
    }

    fn of_header(message: &Message) -> Option<Self> {
        let header = message.header("authorization")?;
        let rest = header.strip_prefix("AWS4-HMAC-SHA256 ")?;
        let mut credential = None;
        let (mut headers, mut signature) = (false, false);
        for part in rest.split(',') {
            match part.trim().split_once('=')? {
                ("Credential", value) => credential = Some(value),
                ("SignedHeaders", value) => headers = value.contains("host"),
                ("Signature", value) => signature = value.len() == 64,
                _ => return None,
            }
        }
        Self::of_scope(credential?).filter(|_| headers && signature)
    }
}

/// The account behind a key: that of the role it was given for, or the default.
pub(crate) fn account_of(world: &World, access_key: &str) -> String {
    world
        .assumed
        .get(access_key)
        .and_then(|role| role.split(':').nth(4))
        .unwrap_or(ACCOUNT)
        .to_owned()
}

/// The ARN of the caller behind a key.
pub(crate) fn caller_arn(world: &World, access_key: &str) -> String {
    match world.assumed.get(access_key) {
        Some(role) => {
            let account = account_of(world, access_key);
            let name = role.rsplit('/').next().unwrap_or(role);
            format!("arn:aws:sts::{account}:assumed-role/{name}/session")
        }
        None => format!("arn:aws:iam::{ACCOUNT}:user/alice"),
    }
}

/// The refusal that credentials earn, if any.
pub(crate) fn refusal(world: &World, call: &Call) -> Option<LambdaError> {
    let Some(signer) = &call.signer else {
        return Some(if call.message.header("authorization").is_some() {
            LambdaError::new(
                403,
                "IncompleteSignatureException",
                "Authorization header requires 'Credential', 'Signature' and 'SignedHeaders' parameters.",
            )
        } else {
            LambdaError::new(
                403,
                "MissingAuthenticationTokenException",
                "Missing Authentication Token",
            )
        });
    };
    let (code, message) = match world.keys.get(&signer.access_key).copied()? {
        Key::Valid => return None,
        Key::Unrecognized => (
            "UnrecognizedClientException",
            "The security token included in the request is invalid.".to_owned(),
        ),
        Key::Expired => (
            "ExpiredTokenException",
            "The security token included in the request is expired".to_owned(),
        ),
        Key::BadSignature => (
            "InvalidSignatureException",
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.".to_owned(),
        ),
        Key::Denied => {
            let action = iam_action(call.operation);
            (
                "AccessDeniedException",
                format!(
                    "User: {} is not authorized to perform: {action} on resource: * because no identity-based policy allows the {action} action",
                    caller_arn(world, &signer.access_key)
                ),
            )
        }
    };
    Some(LambdaError::new(403, code, message))
}

/// The IAM action that an operation needs; not always its own name.
pub(crate) fn iam_action(operation: &str) -> String {
    match operation {
        "GetLayerVersionByArn" => "lambda:GetLayerVersion".to_owned(),
        "GetCallerIdentity" | "AssumeRole" => format!("sts:{operation}"),
        "GetObject" | "PutObject" | "DeleteObject" => format!("s3:{operation}"),
        "GetAuthorizationToken" => "ecr:GetAuthorizationToken".to_owned(),
        _ => format!("lambda:{operation}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn the_scope_of_the_signature_tells_key_and_region() {
        let mut message = Message {
            method: "GET".into(),
            path: "/".into(),
            query: String::new(),
            headers: vec![(
                "authorization".into(),
                format!(
                    "AWS4-HMAC-SHA256 Credential=AKIA/20260101/eu-west-1/lambda/aws4_request, SignedHeaders=host;x-amz-date, Signature={}",
                    "0".repeat(64)
                ),
            )],
            body: Bytes::new(),
            keep_alive: true,
        };
        let signer = Signer::read(&message).unwrap();
        assert_eq!(
            (signer.access_key.as_str(), signer.region.as_str()),
            ("AKIA", "eu-west-1")
        );
        message.headers[0].1 = "Basic abc".into();
        assert_eq!(Signer::read(&message), None);
    }
}
