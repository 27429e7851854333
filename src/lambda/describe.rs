//! GetFunction: what a function is, and where its code lies.

use crate::digest::Sha256Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::events::Event;
use crate::function::FunctionRef;
use crate::package::{Claim, CodeLocation, ImageRef, S3ObjectRef};
use crate::presigned::{LocationError, PresignedUrl};
use crate::record::{FunctionRecord, Incomplete};

use super::call::CallMeta;
use super::failure::Call;
use super::{Answer, Budget, Lambda};

/// A function as one GetFunction call described it.
#[derive(Debug, Clone)]
pub struct Described {
    answer: Answer,
    meta: CallMeta,
    function: FunctionRecord,
    package_type: String,
    code: Result<CodeLocation, NoCode>,
}

/// Why a 200 answer names no code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoCode {
    /// `Code.Error`: Lambda says that it cannot give the code.
    #[error("Lambda gives no code: {0}")]
    Refused(String),
    /// Neither a location nor an image nor an object.
    #[error("Lambda's answer names no place where the code is")]
    Missing,
    /// A location that is no place to fetch from.
    #[error(transparent)]
    Location(#[from] LocationError),
}

impl Lambda {
    /// Asks GetFunction about `function`.
    ///
    /// # Errors
    /// The call failed, after its retries, or the answer is not about a function. An answer that is incomplete, or
    /// without code, is no error here: see [`Described::incomplete`] and [`Described::code`].
    pub async fn describe(&self, function: &FunctionRef) -> Result<Described> {
        let subject = function.to_string();
        self.reporter.report(&Event::Asking { subject: &subject });
        let call = Call {
            operation: "GetFunction",
            subject: &subject,
            region: &self.region,
        };
        let called = self
            .call(call, Budget::GetFunction, |capture| {
                self.client
                    .get_function()
                    .function_name(function.unqualified())
                    .set_qualifier(function.qualifier().map(ToOwned::to_owned))
                    .customize()
                    .interceptor(capture)
                    .send()
            })
            .await?;
        Described::read(called.answer, called.meta, function, &self.region)
    }
}

impl Described {
    fn read(answer: Answer, meta: CallMeta, asked: &FunctionRef, region: &str) -> Result<Self> {
        let text = |pointer: &str| answer.text(pointer).map(ToOwned::to_owned);
        if !answer
            .get("/Configuration")
            .is_some_and(serde_json::Value::is_object)
        {
            return Err(Error::new(
                ErrorKind::Service,
                "GetFunction's answer has no Configuration",
            )
            .about(asked.to_string())
            .hint("is the endpoint Lambda's?"));
        }
        let arn = text("/Configuration/FunctionArn").unwrap_or_default();
        let of_arn: Option<FunctionRef> = arn.parse().ok();
        let of_arn = of_arn.as_ref();
        let name = text("/Configuration/FunctionName");
        if name.as_deref().is_some_and(|name| name != asked.name())
            || of_arn.is_some_and(|arn| arn.name() != asked.name())
        {
            return Err(Error::new(
                ErrorKind::Service,
                "GetFunction's answer is about another function",
            )
            .about(asked.to_string())
            .because(format!("it names {:?}, {arn:?}", name.unwrap_or_default()))
            .hint("is the endpoint Lambda's?"));
        }
        let package_type = text("/Configuration/PackageType");
        let code = code_location(&answer, package_type.as_deref());
        Ok(Self {
            function: FunctionRecord {
                name: asked.name().to_owned(),
                version: text("/Configuration/Version").unwrap_or_default(),
                qualifier: asked.qualifier().map(ToOwned::to_owned),
                region: of_arn
                    .and_then(FunctionRef::region)
                    .unwrap_or(region)
                    .to_owned(),
                account: of_arn
                    .and_then(FunctionRef::account)
                    .or(asked.account())
                    .unwrap_or_default()
                    .to_owned(),
                revision_id: text("/Configuration/RevisionId"),
                arn,
            },
            // Old answers have no PackageType: then it is a zip, unless there is an image.
            package_type: package_type.unwrap_or_else(|| match &code {
                Ok(CodeLocation::Image(_)) => "Image".to_owned(),
                _ => "Zip".to_owned(),
            }),
            code,
            answer,
            meta,
        })
    }

    /// The whole answer.
    pub fn answer(&self) -> &Answer {
        &self.answer
    }

    /// AWS's id of the call.
    pub fn request_id(&self) -> Option<&str> {
        self.meta.request_id.as_deref()
    }

    /// What the answer says about the call.
    pub fn meta(&self) -> &CallMeta {
        &self.meta
    }

    /// Which function it is.
    pub fn function(&self) -> &FunctionRecord {
        &self.function
    }

    /// `Zip` or `Image`, as Lambda states it.
    pub fn package_type(&self) -> &str {
        &self.package_type
    }

    /// What the answer says that it lacks.
    pub fn incomplete(&self) -> Vec<Incomplete> {
        self.answer.incomplete()
    }

    /// Where the code is.
    ///
    /// # Errors
    /// The answer names no code. The kind follows the cause that Lambda gives.
    pub fn code(&self) -> Result<&CodeLocation> {
        self.code
            .as_ref()
            .map_err(|no_code| Error::from(no_code.clone()).about(&*self.function.name))
    }

    /// The ARN of each layer version and its `CodeSize` in bytes, in the order in which Lambda applies them.
    pub fn layers(&self) -> impl Iterator<Item = (&str, Option<u64>)> {
        let layers = self.answer.get("/Configuration/Layers");
        let layers = layers.and_then(serde_json::Value::as_array);
        layers.into_iter().flatten().filter_map(|layer| {
            let size = layer.get("CodeSize").and_then(serde_json::Value::as_u64);
            Some((layer.get("Arn")?.as_str()?, size))
        })
    }

    /// `CodeSha256` as Lambda states it.
    pub fn code_sha256_text(&self) -> Option<&str> {
        self.answer.text("/Configuration/CodeSha256")
    }

    /// `CodeSize`, in bytes.
    pub fn code_size(&self) -> Option<u64> {
        self.answer.size("/Configuration/CodeSize")
    }

    /// `CodeSha256` of a zip, read.
    ///
    /// # Errors
    /// It is missing or no digest: then nothing that is received can be verified.
    pub fn code_sha256(&self) -> Result<Sha256Digest> {
        code_sha256(self.code_sha256_text(), &self.function.name)
    }

    /// What Lambda states about the zip.
    ///
    /// # Errors
    /// Digest or size are missing or malformed.
    pub fn claim(&self) -> Result<Claim> {
        claim(self.code_sha256(), self.code_size(), &self.function.name)
    }
}

/// What Lambda states about a zip: without both, nothing that is received can be verified.
pub(super) fn claim(
    sha256: Result<Sha256Digest>,
    size: Option<u64>,
    subject: &str,
) -> Result<Claim> {
    let sha256 = sha256?;
    let size = size.ok_or_else(|| {
        Error::new(ErrorKind::Mismatch, "Lambda states no CodeSize")
            .about(subject)
            .hint("without it no package can be verified, so none is fetched")
    })?;
    Ok(Claim::lambda(sha256, size))
}

/// Reads a zip's `CodeSha256`: without it, nothing that is received can be verified.
pub(super) fn code_sha256(text: Option<&str>, subject: &str) -> Result<Sha256Digest> {
    let unverifiable = |message: &str| {
        Error::new(ErrorKind::Mismatch, message)
            .about(subject)
            .hint("without it no package can be verified, so none is fetched")
    };
    let text = text.ok_or_else(|| unverifiable("Lambda states no CodeSha256"))?;
    Sha256Digest::from_base64(text).map_err(|e| unverifiable("CodeSha256 is malformed").because(e))
}

fn code_location(answer: &Answer, package_type: Option<&str>) -> Result<CodeLocation, NoCode> {
    let text = |pointer: &str| answer.text(pointer).map(ToOwned::to_owned);
    if answer.get("/Code/Error").is_some() {
        let code = text("/Code/Error/ErrorCode").unwrap_or_else(|| "unknown".to_owned());
        return Err(NoCode::Refused(code));
    }
    let image = ImageRef {
        image_uri: text("/Code/ImageUri"),
        resolved_image_uri: text("/Code/ResolvedImageUri"),
    };
    let has_image = image.image_uri.is_some() || image.resolved_image_uri.is_some();
    if has_image && package_type != Some("Zip") {
        return Ok(CodeLocation::Image(image));
    }
    zip_location(answer, "/Code")
}

/// Where the zip is, of a function (`/Code`) or a layer version (`/Content`).
pub(super) fn zip_location(answer: &Answer, section: &str) -> Result<CodeLocation, NoCode> {
    let text = |field: &str| answer.text(&format!("{section}/{field}"));
    if let Some(location) = text("Location") {
        return Ok(CodeLocation::Zip(PresignedUrl::parse(location)?));
    }
    let object = (
        text("ResolvedS3Object/S3Bucket"),
        text("ResolvedS3Object/S3Key"),
    );
    match object {
        (Some(bucket), Some(key)) => Ok(CodeLocation::Object(S3ObjectRef {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            version: text("ResolvedS3Object/S3ObjectVersion").map(ToOwned::to_owned),
        })),
        _ => Err(NoCode::Missing),
    }
}

/// Exit code 4, 5 or 6 in the end, by the cause that Lambda gives.
impl From<NoCode> for Error {
    fn from(no_code: NoCode) -> Self {
        let message = no_code.to_string();
        match no_code {
            NoCode::Refused(code) => {
                let lower = code.to_ascii_lowercase();
                let error = |kind| Self::new(kind, message);
                if lower.contains("denied") || lower.contains("unauthorized") {
                    error(ErrorKind::AccessDenied).hint(
                        "code that is encrypted needs kms:Decrypt on its key; code in your own bucket needs s3:GetObjectVersion on the object",
                    )
                } else if lower.contains("notfound") || lower.contains("nosuch") {
                    error(ErrorKind::NotFound)
                        .hint("the object or key that holds the code no longer exists")
                } else {
                    error(ErrorKind::NoCode)
                        .hint("try again later; the function's state may say more")
                }
            }
            NoCode::Missing => Self::new(ErrorKind::NoCode, message).hint(
                "a function that is being created or deleted may have no code yet or any more",
            ),
            NoCode::Location(_) => Self::new(ErrorKind::NoCode, message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(body: &serde_json::Value) -> Described {
        let answer = Answer::parse(body.to_string().as_bytes()).unwrap();
        let asked = FunctionRef::new("f", None).unwrap();
        Described::read(answer, CallMeta::default(), &asked, "eu-west-1").unwrap()
    }

    fn with_code(code: &serde_json::Value) -> Described {
        described(&serde_json::json!({"Configuration": {"FunctionName": "f"}, "Code": code}))
    }

    #[test]
    fn code_is_found_wherever_it_is() {
        let zip = with_code(&serde_json::json!({"Location": "https://h/p?X-Amz-Signature=x"}));
        assert!(matches!(zip.code(), Ok(CodeLocation::Zip(_))));
        assert_eq!(zip.package_type(), "Zip");
        let image = with_code(&serde_json::json!({"ImageUri": "r:t", "RepositoryType": "ECR"}));
        assert!(matches!(image.code(), Ok(CodeLocation::Image(_))));
        assert_eq!(image.package_type(), "Image");
        let object =
            with_code(&serde_json::json!({"ResolvedS3Object": {"S3Bucket": "b", "S3Key": "k"}}));
        assert!(matches!(object.code(), Ok(CodeLocation::Object(_))));
    }

    #[test]
    fn an_answer_without_code_has_the_kind_of_its_cause() {
        use ErrorKind as K;
        let error =
            |code: &str| serde_json::json!({"Error": {"ErrorCode": code, "Message": "secret"}});
        for (code, kind) in [
            (error("AccessDeniedException"), K::AccessDenied),
            (error("KMSAccessDeniedException"), K::AccessDenied),
            (error("NoSuchKey"), K::NotFound),
            (error("S3ObjectNotFound"), K::NotFound),
            (error("InternalError"), K::NoCode),
            (serde_json::json!({}), K::NoCode),
            (serde_json::json!({"Location": null}), K::NoCode),
            (serde_json::json!({"Location": "s3://b/k"}), K::NoCode),
        ] {
            let e = with_code(&code).code().unwrap_err();
            assert_eq!(e.kind(), kind, "{code}");
            assert!(!format!("{e:?}").contains("secret"), "{e:?}");
        }
    }

    #[test]
    fn a_digest_that_is_none_cannot_verify_anything() {
        for text in [None, Some(""), Some("not base64"), Some("YWJj")] {
            let d = described(&serde_json::json!({"Configuration": {"CodeSha256": text}}));
            assert_eq!(d.code_sha256().unwrap_err().kind(), ErrorKind::Mismatch);
        }
    }

    #[test]
    fn an_answer_about_another_function_is_none() {
        let arn = "arn:aws:lambda:us-east-2:123456789012:function:g";
        for configuration in [
            serde_json::json!({"FunctionName": "g"}),
            serde_json::json!({"FunctionArn": arn}),
        ] {
            let body = serde_json::json!({"Configuration": configuration}).to_string();
            let answer = Answer::parse(body.as_bytes()).unwrap();
            let asked = FunctionRef::new("f", None).unwrap();
            let error =
                Described::read(answer, CallMeta::default(), &asked, "us-east-2").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Service);
        }
    }

    #[test]
    fn the_account_and_region_come_from_the_arn() {
        let arn = "arn:aws:lambda:us-east-2:123456789012:function:f:live";
        let d =
            described(&serde_json::json!({"Configuration": {"FunctionArn": arn, "Version": "7"}}));
        let f = d.function();
        assert_eq!(
            (f.region.as_str(), f.account.as_str(), f.version.as_str()),
            ("us-east-2", "123456789012", "7")
        );
    }
}
