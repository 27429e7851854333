//! A signed call to a service of which larder needs one or two operations: STS, ECR, CloudFormation, EC2, tagging.
//!
//! An SDK crate for each would cost minutes of compiling for one call. All of them take a POST to `/`, either JSON
//! ("AWS JSON 1.1 protocol") or a form ("AWS Query protocol"), signed with Signature Version 4.

use std::time::SystemTime;

use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use serde_json::Value;
use url::Url;

use super::Session;
use super::presign::dns_suffix;
use super::xml::Element;
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, Reporter};
use crate::http::HttpError;
use crate::lambda::{Call, CallFailure};
use crate::transfer::retry::{Decision, Failure};

/// The longest answer that is read, in bytes; the longest known, a page of a stack's resources, has some 200 KiB.
const MAX_ANSWER: usize = 4 << 20;

/// A service, as its documentation names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Service {
    /// The id in `AWS_ENDPOINT_URL_<ID>`, in the spelling of the SDKs' reference ("Service-specific endpoints").
    pub(crate) id: &'static str,
    /// The name in the signature's scope, and in IAM actions.
    pub(crate) name: &'static str,
    /// What stands before the region in the host name.
    pub(crate) host: &'static str,
}

impl Service {
    /// Security Token Service.
    pub(crate) const STS: Self = Self::new("STS", "sts", "sts");
    /// Elastic Container Registry's own API, which is not the registry.
    pub(crate) const ECR: Self = Self::new("ECR", "ecr", "api.ecr");
    /// CloudFormation.
    pub(crate) const CLOUDFORMATION: Self =
        Self::new("CloudFormation", "cloudformation", "cloudformation");
    /// EC2, for the regions of an account.
    pub(crate) const EC2: Self = Self::new("EC2", "ec2", "ec2");
    /// Resource Groups Tagging API.
    pub(crate) const TAGGING: Self = Self::new("Resource Groups Tagging API", "tagging", "tagging");

    const fn new(id: &'static str, name: &'static str, host: &'static str) -> Self {
        Self { id, name, host }
    }
}

/// What is sent.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    /// AWS JSON 1.1: `X-Amz-Target` is `PREFIX.Operation`.
    Json {
        /// The prefix, for example `AmazonEC2ContainerRegistry_V20150921`.
        target: &'static str,
        /// The input.
        input: Value,
    },
    /// AWS Query: a form with `Action` and `Version`.
    Query {
        /// The API's version, for example `2011-06-15`.
        version: &'static str,
        /// The parameters beside those two.
        parameters: Vec<(String, String)>,
    },
}

/// One call.
#[derive(Debug, Clone)]
pub(crate) struct ServiceCall<'a> {
    /// Who is asked.
    pub(crate) service: Service,
    /// The operation: `GetCallerIdentity`.
    pub(crate) operation: &'static str,
    /// The region that is asked; mostly the session's.
    pub(crate) region: &'a str,
    /// What the call is about, for errors.
    pub(crate) subject: &'a str,
    /// The input.
    pub(crate) body: Body,
}

/// A success.
#[derive(Debug)]
pub(crate) struct ServiceAnswer {
    /// The body as it came.
    body: Vec<u8>,
    operation: &'static str,
    /// AWS's id of the call.
    pub(crate) request_id: Option<String>,
}

impl ServiceAnswer {
    /// The body of a JSON protocol's answer.
    ///
    /// # Errors
    /// It is no JSON.
    pub(crate) fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).map_err(|e| {
            // Its text could quote the body, which may hold a token.
            self.unreadable(&format!(
                "no JSON at line {}, column {}",
                e.line(),
                e.column()
            ))
        })
    }

    /// The body of a Query protocol's answer.
    ///
    /// # Errors
    /// It is no XML.
    pub(crate) fn xml(&self) -> Result<Element> {
        Element::parse(&self.body).map_err(|e| self.unreadable(&e))
    }

    /// An answer that lacks what it must have.
    pub(crate) fn unreadable(&self, why: &str) -> Error {
        let message = format!("{} brought no usable answer", self.operation);
        Error::new(ErrorKind::Service, message)
            .because(why.to_owned())
            .hint("is the endpoint the service's?")
    }
}

impl Session {
    /// Makes `call`, again where that may help.
    ///
    /// # Errors
    /// The endpoint is no URL, there are no credentials, or the call failed after its retries.
    pub(crate) async fn service(&self, call: &ServiceCall<'_>) -> Result<ServiceAnswer> {
        self.service_told(call, &()).await
    }

    /// The same; `reporter` is told of each answer.
    ///
    /// # Errors
    /// As for [`service`](Self::service).
    pub(crate) async fn service_told(
        &self,
        call: &ServiceCall<'_>,
        reporter: &dyn Reporter,
    ) -> Result<ServiceAnswer> {
        let url = self.endpoint_of(call.service, call.region)?;
        let mut attempt = 1;
        loop {
            let failure = match self.send(call, &url, reporter).await? {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            match self.retry.decide(failure.retry, attempt, fastrand::f64()) {
                Decision::Again(wait) => {
                    tracing::info!(
                        "{} of {}: attempt {attempt} failed ({}); again in {wait:.1?}",
                        call.operation,
                        call.subject,
                        failure.reason()
                    );
                    tokio::time::sleep(wait).await;
                    attempt += 1;
                }
                Decision::Stop => {
                    return Err(failure.into_error(Call {
                        operation: call.operation,
                        subject: call.subject,
                        region: call.region,
                    }));
                }
            }
        }
    }

    fn endpoint_of(&self, service: Service, region: &str) -> Result<Url> {
        if let Some(url) = super::service_endpoint(&self.config, service.id)? {
            return Ok(url);
        }
        let host = format!("{}.{region}.{}", service.host, dns_suffix(region));
        Url::parse(&format!("https://{host}/")).map_err(|e| {
            Error::new(ErrorKind::Usage, "makes no host name")
                .about(region)
                .because(e)
        })
    }

    async fn send(
        &self,
        call: &ServiceCall<'_>,
        url: &Url,
        reporter: &dyn Reporter,
    ) -> Result<std::result::Result<ServiceAnswer, CallFailure>> {
        let (body, mut headers) = encoded(call)?;
        let credentials = self.signers.current(self, call.subject).await?;
        let signature = signed(call, url, &headers, &body, credentials).map_err(|e| {
            Error::new(ErrorKind::Bug, "the request cannot be signed")
                .about(call.operation)
                .because(e)
        })?;
        headers.extend(signature);
        let answered = self.http.post(url, &headers, body).await;
        let mut response = match answered {
            Ok(response) => response,
            Err(e) => return Ok(Err(not_answered(&e))),
        };
        let header = |name| response.header(name).map(ToOwned::to_owned);
        let request_id = header("x-amzn-requestid");
        let retry_after = header("retry-after");
        let type_header = header("x-amzn-errortype");
        let status = response.status();
        reporter.report(&Event::Answered {
            operation: call.operation,
            subject: call.subject,
            region: call.region,
            status,
            request_id: request_id.as_deref(),
            date: header("date").as_deref(),
        });
        let body = match response.body(MAX_ANSWER).await {
            Ok(body) => body,
            Err(e) => return Ok(Err(not_answered(&e))),
        };
        if status == 200 {
            tracing::info!(
                "{} of {}: answered, request {}",
                call.operation,
                call.subject,
                request_id.as_deref().unwrap_or("unknown")
            );
            return Ok(Ok(ServiceAnswer {
                body,
                operation: call.operation,
                request_id,
            }));
        }
        let (code, message) = words(&body, type_header.as_deref());
        let mut failure = CallFailure::from_answer(
            status,
            code.as_deref(),
            message.as_deref(),
            retry_after.as_deref(),
            request_id,
        );
        failure.host = url.host_str().map(ToOwned::to_owned);
        if failure.kind == ErrorKind::CredentialsRefused {
            // They may have ended meanwhile.
            self.signers.forget().await;
        }
        Ok(Err(failure))
    }
}

/// Names and values.
type Headers = Vec<(String, String)>;

/// The body and the headers that belong to it.
fn encoded(call: &ServiceCall<'_>) -> Result<(Vec<u8>, Headers)> {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    match &call.body {
        Body::Json { target, input } => {
            let body = serde_json::to_vec(input).map_err(|e| {
                Error::new(ErrorKind::Bug, "the request cannot be written").because(e)
            })?;
            let target = format!("{target}.{}", call.operation);
            Ok((
                body,
                vec![
                    header("content-type", "application/x-amz-json-1.1"),
                    header("x-amz-target", &target),
                ],
            ))
        }
        Body::Query {
            version,
            parameters,
        } => {
            let mut form = url::form_urlencoded::Serializer::new(String::new());
            form.append_pair("Action", call.operation);
            form.append_pair("Version", version);
            for (name, value) in parameters {
                form.append_pair(name, value);
            }
            Ok((
                form.finish().into_bytes(),
                vec![header(
                    "content-type",
                    "application/x-www-form-urlencoded; charset=utf-8",
                )],
            ))
        }
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The headers that carry the signature.
fn signed(
    call: &ServiceCall<'_>,
    url: &Url,
    headers: &[(String, String)],
    body: &[u8],
    credentials: aws_credential_types::Credentials,
) -> Result<Headers, BoxError> {
    let identity = credentials.into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(call.region)
        .name(call.service.name)
        .time(SystemTime::now())
        .settings(SigningSettings::default())
        .build()?
        .into();
    let request = SignableRequest::new(
        "POST",
        url.as_str(),
        headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str())),
        SignableBody::Bytes(body),
    )?;
    let (instructions, _) = sign(request, &params)?.into_parts();
    Ok(instructions
        .headers()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect())
}

fn not_answered(error: &HttpError) -> CallFailure {
    let kind = match error {
        HttpError::Timeout { .. } => ErrorKind::Timeout,
        HttpError::Connect { .. } | HttpError::Broken { .. } => ErrorKind::Network,
        HttpError::Redirect { .. } | HttpError::TooLong { .. } => ErrorKind::Service,
    };
    let retry = match error {
        HttpError::Redirect { .. } | HttpError::TooLong { .. } => Failure::Permanent,
        _ => Failure::Transient,
    };
    CallFailure::unanswered(kind, retry, error)
}

/// The code and the message of an error, in JSON or XML.
fn words(body: &[u8], type_header: Option<&str>) -> (Option<String>, Option<String>) {
    // `com.amazonaws.ecr#ServerException:http://...` is ServerException.
    let bare = |code: &str| {
        let code = code.rsplit('#').next().unwrap_or(code);
        code.split(':').next().unwrap_or(code).to_owned()
    };
    if let Ok(json) = serde_json::from_slice::<Value>(body) {
        let text = |name: &str| json.get(name).and_then(Value::as_str);
        let code = type_header.or_else(|| text("__type").or(text("code")));
        let message = text("message").or(text("Message"));
        return (code.map(bare), message.map(ToOwned::to_owned));
    }
    let text = |name: &str| {
        let root = Element::parse(body).ok()?;
        root.find(name).map(|element| element.text().to_owned())
    };
    (text("Code").or(type_header.map(bare)), text("Message"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_read_in_both_protocols() {
        for (body, header, code, message) in [
            (
                r#"{"__type":"com.amazonaws.ecr#InvalidParameterException","message":"m"}"#,
                None,
                Some("InvalidParameterException"),
                Some("m"),
            ),
            (
                r#"{"Message":"m"}"#,
                Some("AccessDeniedException:http://internal/"),
                Some("AccessDeniedException"),
                Some("m"),
            ),
            (
                "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>a &amp; b</Message></Error></ErrorResponse>",
                None,
                Some("AccessDenied"),
                Some("a & b"),
            ),
            (
                "<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>m</Message></Error></Errors></Response>",
                None,
                Some("UnauthorizedOperation"),
                Some("m"),
            ),
            ("<html>oops", None, None, None),
            ("", None, None, None),
        ] {
            let (got_code, got_message) = words(body.as_bytes(), header);
            assert_eq!(
                (got_code.as_deref(), got_message.as_deref()),
                (code, message),
                "{body}"
            );
        }
    }

    #[test]
    fn a_form_names_its_action_and_version() {
        let call = ServiceCall {
            service: Service::STS,
            operation: "GetCallerIdentity",
            region: "eu-west-1",
            subject: "the caller",
            body: Body::Query {
                version: "2011-06-15",
                parameters: vec![("A.1".to_owned(), "b c&d".to_owned())],
            },
        };
        let (body, _) = encoded(&call).unwrap();
        assert_eq!(
            String::from_utf8(body).unwrap(),
            "Action=GetCallerIdentity&Version=2011-06-15&A.1=b+c%26d"
        );
    }
}
