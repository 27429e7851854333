//! The body of a request that may carry a package: JSON with the zip as base64 in it, made while it is sent.
//!
//! The SDK would hold zip, base64 and JSON in memory at once. Here the file is read twice, once for the signature's digest
//! and once for the wire, and never held whole.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::BeforeTransmitInterceptorContextMut;
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::ConfigBag;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body::Frame;
use http_body_util::StreamBody;
use serde_json::{Map, Value};

use crate::digest::Hasher;
use crate::error::{Error, ErrorKind, Result};
use crate::package::Verified;
use crate::task::blocking;

/// Bytes of the zip in one piece: a multiple of three, so that the pieces' base64 can be joined.
const PIECE: u64 = 192 << 10;

/// What stands in the JSON where the package belongs. A random number follows.
const PLACE: &str = "larder:package:";

/// The JSON that a write sends.
#[derive(Debug, Clone)]
pub struct Payload {
    head: Bytes,
    package: Option<Package>,
    tail: Bytes,
    /// Values that must not be seen: those of environment variables.
    pub(super) secrets: Vec<String>,
}

#[derive(Debug, Clone)]
struct Package {
    file: Arc<File>,
    size: u64,
    /// The SHA-256 of the whole body, in hex.
    body_sha256: String,
}

impl Payload {
    /// A request without a package.
    pub fn new(json: &Map<String, Value>) -> Self {
        Self {
            secrets: secrets(json),
            head: text(json).into(),
            package: None,
            tail: Bytes::new(),
        }
    }

    /// A request with `package` at `path`: the names of the objects in each other, the last of which holds the base64.
    ///
    /// # Errors
    /// The package cannot be read back.
    pub async fn with_package(
        json: &Map<String, Value>,
        path: &[&str],
        package: &Verified,
    ) -> Result<Self> {
        let place = format!("{PLACE}{:032x}", fastrand::u128(..));
        let mut whole = Value::Object(json.clone());
        let mut at = &mut whole;
        for name in path {
            at = &mut at[*name];
        }
        *at = Value::String(place.clone());
        let whole = whole.to_string();
        let (head, tail) = whole
            .split_once(&place)
            .ok_or_else(|| Error::new(ErrorKind::Bug, "the request has no place for a package"))?;
        let file = package
            .file()
            .try_clone()
            .map_err(|e| crate::files::io_error("the package cannot be opened again", e))?;
        let (file, size) = (Arc::new(file), package.size());
        let (head, tail) = (head.to_owned(), tail.to_owned());
        let (before, after, zip) = (head.clone(), tail.clone(), Arc::clone(&file));
        let body_sha256 = blocking(move || {
            let mut hasher = Hasher::new();
            hasher.update(before.as_bytes());
            let mut at = 0;
            while at < size {
                let piece = piece(&zip, at, size)
                    .map_err(|e| crate::files::io_error("the package cannot be read back", e))?;
                hasher.update(piece.as_bytes());
                at += PIECE;
            }
            hasher.update(after.as_bytes());
            Ok(hasher.finish().hex())
        })
        .await?;
        Ok(Self {
            head: head.into(),
            package: Some(Package {
                file,
                size,
                body_sha256,
            }),
            tail: tail.into(),
            secrets: secrets(json),
        })
    }

    /// The length of the body, in bytes.
    pub(super) fn length(&self) -> u64 {
        let package = self.package.as_ref();
        let base64 = package.map_or(0, |package| package.size.div_ceil(3) * 4);
        (self.head.len() + self.tail.len()) as u64 + base64
    }

    fn body(&self) -> SdkBody {
        let Some(Package { file, size, .. }) = self.package.clone() else {
            return SdkBody::from(self.head.to_vec());
        };
        let zip = stream::try_unfold(0, move |at| {
            let file = Arc::clone(&file);
            async move {
                if at >= size {
                    return Ok::<_, io::Error>(None);
                }
                let read = tokio::task::spawn_blocking(move || piece(&file, at, size));
                let piece = read.await.map_err(io::Error::other)??;
                Ok(Some((Bytes::from(piece), at + PIECE)))
            }
        });
        let one = |bytes: &Bytes| stream::iter([Ok::<_, io::Error>(bytes.clone())]);
        let whole = one(&self.head).chain(zip).chain(one(&self.tail));
        SdkBody::from_body_1_x(StreamBody::new(whole.map(|bytes| bytes.map(Frame::data))))
    }
}

/// The base64 of the piece that begins at `at`.
fn piece(file: &File, at: u64, size: u64) -> io::Result<String> {
    let length = usize::try_from((size - at).min(PIECE)).unwrap_or(0);
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, at)?;
    Ok(STANDARD.encode(bytes))
}

fn text(json: &Map<String, Value>) -> String {
    // A map of JSON values always serializes.
    serde_json::to_string(json).unwrap_or_default()
}

/// The values of environment variables in a request.
fn secrets(json: &Map<String, Value>) -> Vec<String> {
    let variables = json.get("Environment").and_then(|e| e.get("Variables"));
    let variables = variables.and_then(Value::as_object);
    let values = variables.into_iter().flat_map(Map::values);
    values
        .filter_map(Value::as_str)
        .filter(|value| !value.is_empty())
        .map(ToOwned::to_owned)
        .collect()
}

/// Puts the payload in the place of what the SDK made, before it is signed.
#[dyn_dispatch_hint]
impl Intercept for Payload {
    fn name(&self) -> &'static str {
        "larder::Payload"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> std::result::Result<(), BoxError> {
        let request = context.request_mut();
        *request.body_mut() = self.body();
        let headers = request.headers_mut();
        headers.insert("content-length", self.length().to_string());
        headers.insert("content-type", "application/json");
        if let Some(package) = &self.package {
            crate::aws::sign_with_digest(config, &package.body_sha256);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use http_body_util::BodyExt as _;
    use serde_json::json;

    use super::*;
    use crate::digest::Sha256Digest;
    use crate::package::{Claim, Received};

    fn object(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(map) => map,
            _ => Map::new(),
        }
    }

    #[tokio::test]
    async fn the_zip_is_sent_as_base64_and_the_digest_is_that_of_the_whole() {
        for size in [0, 1, 2, 3, 196_607, 196_608, 196_609, 500_000] {
            let bytes: Vec<u8> = (0..size).map(|n: u32| n.to_le_bytes()[0]).collect();
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&bytes).unwrap();
            let claim = Claim::lambda(Sha256Digest::of(&bytes), bytes.len() as u64);
            let package = Received::read(file, &|| false).unwrap();
            let package = package.verify(&claim).unwrap();
            let json = object(json!({"FunctionName": "f", "Code": {"Mode": "m"}, "Z": 1}));
            let path = ["Code", "ZipFile"];
            let payload = Payload::with_package(&json, &path, &package).await.unwrap();
            let sent = payload.body().collect().await.unwrap().to_bytes();
            assert_eq!(sent.len() as u64, payload.length());
            let value: Value = serde_json::from_slice(&sent).unwrap();
            assert_eq!(value["Code"]["ZipFile"], STANDARD.encode(&bytes));
            assert_eq!(
                (&value["Code"]["Mode"], &value["Z"]),
                (&json!("m"), &json!(1))
            );
            let digest = payload.package.unwrap().body_sha256;
            assert_eq!(digest, Sha256Digest::of(&sent).hex(), "{size}");
        }
    }

    #[test]
    fn the_values_of_the_environment_are_known_as_secrets() {
        let json = object(json!({"Environment": {"Variables": {"A": "s3cret", "B": ""}}}));
        assert_eq!(Payload::new(&json).secrets, ["s3cret"]);
    }
}
