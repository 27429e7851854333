//! What a call that failed means: its kind, whether to try again, and what to tell the user.

use std::error::Error as StdError;
use std::time::Duration;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::credentials::{credentials_failure, credentials_hint, unobtained_hint};
use super::permission::action_of;
use super::words::{causes, shortened, without_signed_material};
use crate::error::{Error, ErrorKind, is_about_certificates};
use crate::transfer::retry::{Failure, parse_retry_after};

/// A call that failed.
#[derive(Debug)]
pub(crate) struct CallFailure {
    pub(crate) kind: ErrorKind,
    pub(crate) retry: Failure,
    /// There is a source of credentials, and it gives none.
    pub(super) unobtained: bool,
    /// AWS's error code.
    pub(super) code: Option<String>,
    /// AWS's message, or the causes of a local failure.
    detail: Option<String>,
    pub(super) status: Option<u16>,
    request_id: Option<String>,
    /// The host that was asked, when it came so far.
    pub(crate) host: Option<String>,
}

/// The call that failed, for the words of its error.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    /// The operation: `GetFunction`.
    pub(crate) operation: &'a str,
    /// What it is about, as the user named it.
    pub(crate) subject: &'a str,
    /// The region that was asked.
    pub(crate) region: &'a str,
}

impl CallFailure {
    pub(super) fn from_sdk<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + StdError + 'static,
    {
        // Credentials are looked for inside the call, so their failure can come in any of the variants.
        if let Some(failure) = credentials_failure(error) {
            return failure;
        }
        match error {
            SdkError::ServiceError(service) => {
                let raw = service.raw();
                let meta = service.err().meta();
                let header = |name| raw.headers().get(name).map(ToOwned::to_owned);
                Self::from_answer(
                    raw.status().as_u16(),
                    meta.code(),
                    meta.message(),
                    header("retry-after").as_deref(),
                    header("x-amzn-requestid"),
                )
            }
            SdkError::ResponseError(response) => {
                let status = response.raw().status().as_u16();
                let mut failure = Self::from_answer(status, None, None, None, None);
                let detail = causes(error);
                if (200..300).contains(&status) {
                    failure.kind = broken_answer(&detail);
                }
                failure.detail = Some(detail);
                failure
            }
            SdkError::TimeoutError(_) => {
                Self::local(ErrorKind::Timeout, Failure::Transient, causes(error))
            }
            SdkError::DispatchFailure(dispatch) if dispatch.is_timeout() => {
                Self::local(ErrorKind::Timeout, Failure::Transient, causes(error))
            }
            SdkError::DispatchFailure(_) => {
                let detail = causes(error);
                let retry = if is_about_certificates(&detail) {
                    Failure::Permanent
                } else {
                    Failure::Transient
                };
                Self::local(ErrorKind::Network, retry, detail)
            }
            _ => Self::local(ErrorKind::Usage, Failure::Permanent, causes(error)),
        }
    }

    /// An answer with status 200 that is none.
    pub(super) fn no_answer(why: String) -> Self {
        let mut failure = Self::local(ErrorKind::Service, Failure::Transient, why);
        failure.status = Some(200);
        failure
    }

    /// A failure without an answer.
    pub(crate) fn unanswered(kind: ErrorKind, retry: Failure, error: &dyn StdError) -> Self {
        Self::local(kind, retry, causes(error))
    }

    pub(super) fn local(kind: ErrorKind, retry: Failure, detail: String) -> Self {
        Self {
            kind,
            retry,
            unobtained: false,
            code: None,
            detail: Some(detail),
            status: None,
            request_id: None,
            host: None,
        }
    }

    /// What an answer's status and error code mean.
    pub(crate) fn from_answer(
        status: u16,
        code: Option<&str>,
        message: Option<&str>,
        retry_after: Option<&str>,
        request_id: Option<String>,
    ) -> Self {
        let retry_after: Option<Duration> = retry_after.and_then(parse_retry_after);
        let (kind, retry) = judge(status, code, retry_after);
        Self {
            kind,
            retry,
            unobtained: false,
            code: code.map(shortened),
            detail: message.map(|m| shortened(without_signed_material(m))),
            status: Some(status),
            request_id,
            host: None,
        }
    }

    /// Leaves AWS's words out where they quote a value that must not be seen: a validation names what it refuses.
    pub(super) fn hide(&mut self, secrets: &[String]) {
        let Some(detail) = &self.detail else { return };
        // A long message is cut, perhaps within a value.
        let cut = detail.strip_suffix('…').unwrap_or_default();
        let about = detail.to_ascii_lowercase().contains("environment");
        let quotes = |secret: &String| {
            let long = secret.len() >= 4;
            let begun = secret
                .char_indices()
                .map(|(at, c)| &secret[..at + c.len_utf8()])
                .any(|begin| begin.len() >= 4 && cut.ends_with(begin));
            (long || about) && (detail.contains(secret.as_str()) || begun)
        };
        if secrets.iter().any(quotes) {
            self.detail = Some("its words quote the value of an environment variable".to_owned());
        }
    }

    /// Why it failed, in a few words, for a retry's notice.
    pub(crate) fn reason(&self) -> String {
        match (&self.code, self.status, &self.detail) {
            (Some(code), _, _) => code.clone(),
            (None, Some(status), None) => format!("status {status}"),
            (_, _, Some(detail)) => detail.clone(),
            (None, None, None) => "no answer".to_owned(),
        }
    }

    /// The error as the user sees it.
    pub(crate) fn into_error(self, call: Call<'_>) -> Error {
        let Call {
            operation,
            subject,
            region,
        } = call;
        let message = match self.kind {
            ErrorKind::NotFound => format!("not found in {region}"),
            ErrorKind::AccessDenied => format!("{operation} is denied"),
            ErrorKind::CredentialsRefused => "AWS refuses the credentials".to_owned(),
            ErrorKind::NoCredentials if self.unobtained => {
                "AWS credentials could not be obtained".to_owned()
            }
            ErrorKind::NoCredentials => "no AWS credentials were found".to_owned(),
            ErrorKind::Throttled => format!("AWS throttles {operation}, also after all attempts"),
            ErrorKind::Timeout => format!("{operation} brought no answer in time"),
            ErrorKind::Network if self.status.is_some() => {
                format!("the answer to {operation} broke off")
            }
            ErrorKind::Network => format!("{operation} could not be sent"),
            ErrorKind::Usage if is_write(operation) => format!("AWS refuses {operation}"),
            ErrorKind::Usage => format!("{operation} is refused as malformed"),
            ErrorKind::Unsettled => {
                format!("somebody else changes it at this moment: {operation} was refused")
            }
            _ => match self.status {
                Some(200) => format!("{operation} brought no usable answer"),
                Some(status) => format!("{operation} failed with status {status}"),
                None => format!("{operation} failed"),
            },
        };
        let mut error = Error::new(self.kind, message).about(subject);
        if let Some(hint) = self.hint(operation, subject, region) {
            error = error.hint(hint);
        }
        let mut cause = match (&self.code, &self.detail) {
            (Some(code), Some(detail)) => format!("{code}: {detail}"),
            (Some(text), None) | (None, Some(text)) => text.clone(),
            (None, None) => return error,
        };
        if let Some(id) = &self.request_id {
            cause.push_str(" (request ");
            cause.push_str(id);
            cause.push(')');
        }
        error.because(cause)
    }

    fn hint(&self, operation: &str, subject: &str, region: &str) -> Option<String> {
        let action = action_of(operation);
        let detail = self.detail.as_deref().unwrap_or_default();
        let code = self.code.as_deref().unwrap_or_default();
        Some(match self.kind {
            ErrorKind::NotFound if detail.contains("not reachable in this region") => {
                "leave --region out, or give the one in the ARN".to_owned()
            }
            ErrorKind::NotFound if code.is_empty() => {
                "is the endpoint Lambda's? it answers without an error code".to_owned()
            }
            ErrorKind::NotFound if action == "lambda:GetLayerVersion" => {
                "the layer version was deleted; Lambda goes on running it, but nobody can download it any more"
                    .to_owned()
            }
            ErrorKind::NotFound => format!(
                "check the name and the qualifier, the region ({region}) and the account; `aws lambda list-functions --region {region}` shows what is there"
            ),
            ErrorKind::AccessDenied if code.is_empty() => format!(
                "AWS says why it denies, and this answer does not: a proxy or firewall between here and {} may have given it",
                self.host.as_deref().unwrap_or("the endpoint")
            ),
            ErrorKind::AccessDenied => {
                format!("the caller needs the IAM action {action} on {subject}")
            }
            ErrorKind::NoCredentials if self.unobtained => unobtained_hint(detail).to_owned(),
            ErrorKind::NoCredentials => {
                "set AWS_PROFILE or --profile, run `aws sso login`, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
                    .to_owned()
            }
            ErrorKind::CredentialsRefused => credentials_hint(code, detail).to_owned(),
            ErrorKind::Throttled => {
                "ask more slowly with --max-rate, or try more often with --max-attempts".to_owned()
            }
            ErrorKind::Network if is_about_certificates(detail) => {
                "if a proxy signs with its own certificate, name its CA in AWS_CA_BUNDLE".to_owned()
            }
            ErrorKind::Network | ErrorKind::Timeout => {
                let host = self.host.as_ref().map(|host| format!(" ({host})"));
                format!(
                    "check the network, HTTPS_PROXY, the endpoint{} and the region's name ({region})",
                    host.unwrap_or_default()
                )
            }
            ErrorKind::Service if self.status.is_some_and(|status| status >= 500) => {
                "the fault is on the server's side: try again later, or more often with --max-attempts".to_owned()
            }
            // Lambda never answers so.
            ErrorKind::Service if code.is_empty() => {
                let host = self.host.as_ref().map(|host| format!(" ({host})"));
                format!(
                    "is the endpoint{} the right one? Something else answers there, such as a proxy or a sign-in page",
                    host.unwrap_or_default()
                )
            }
            ErrorKind::Usage if is_write(operation) => return None,
            ErrorKind::Unsettled => {
                "nothing was overwritten; look who deploys it, then run the same command again".to_owned()
            }
            ErrorKind::Usage if !code.is_empty() => {
                "check the name and the qualifier: what they say is well-formed, and not to AWS's liking".to_owned()
            }
            _ => return None,
        })
    }
}

/// Whether the operation changes something: then AWS's own words say what is wrong with the request.
fn is_write(operation: &str) -> bool {
    ["Create", "Update", "Publish", "Put", "Tag"]
        .iter()
        .any(|verb| operation.starts_with(verb))
}

/// The kind of an answer that is no success, and whether it may pass.
fn judge(status: u16, code: Option<&str>, retry_after: Option<Duration>) -> (ErrorKind, Failure) {
    let throttled = Failure::Throttled { retry_after };
    match code.unwrap_or_default() {
        "TooManyRequestsException"
        | "ThrottlingException"
        | "Throttling"
        | "ThrottledException"
        | "RequestLimitExceeded"
        | "SlowDown" => (ErrorKind::Throttled, throttled),
        "ResourceNotFoundException" => (ErrorKind::NotFound, Failure::Permanent),
        "AccessDeniedException" | "AccessDenied" | "NotAuthorized" | "UnauthorizedOperation" => {
            (ErrorKind::AccessDenied, Failure::Permanent)
        }
        "ExpiredTokenException"
        | "ExpiredToken"
        | "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "InvalidClientTokenId"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "RequestExpired"
        | "RequestTimeTooSkewed"
        | "InvalidToken"
        | "InvalidAccessKeyId" => (ErrorKind::CredentialsRefused, Failure::Permanent),
        "InvalidParameterValueException" | "ValidationException" => {
            (ErrorKind::Usage, Failure::Permanent)
        }
        // Another RevisionId than the one that was given, or an update under way.
        "PreconditionFailedException" | "ResourceConflictException" => {
            (ErrorKind::Unsettled, Failure::Permanent)
        }
        _ => match status {
            429 => (ErrorKind::Throttled, throttled),
            408 => (ErrorKind::Timeout, Failure::Transient),
            // A server that is overloaded may say until when, too.
            503 if retry_after.is_some() => (ErrorKind::Service, throttled),
            // A fault of the server's, or a success that could not be read.
            500..=599 | 200..=299 => (ErrorKind::Service, Failure::Transient),
            401 | 403 => (ErrorKind::AccessDenied, Failure::Permanent),
            404 => (ErrorKind::NotFound, Failure::Permanent),
            _ => (ErrorKind::Service, Failure::Permanent),
        },
    }
}

/// What an answer is that began well and did not come whole.
fn broken_answer(detail: &str) -> ErrorKind {
    if detail.contains("minimum throughput") {
        ErrorKind::Timeout
    } else if detail.contains("error reading a body") {
        ErrorKind::Network
    } else {
        ErrorKind::Service
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_has_a_kind() {
        use ErrorKind as K;
        let transient = |f| matches!(f, Failure::Transient | Failure::Throttled { .. });
        for (status, code, kind, again) in [
            (500, Some("ServiceException"), K::Service, true),
            (404, Some("ResourceNotFoundException"), K::NotFound, false),
            (429, Some("TooManyRequestsException"), K::Throttled, true),
            (400, Some("InvalidParameterValueException"), K::Usage, false),
            (403, Some("AccessDeniedException"), K::AccessDenied, false),
            (
                403,
                Some("ExpiredTokenException"),
                K::CredentialsRefused,
                false,
            ),
            (
                403,
                Some("UnrecognizedClientException"),
                K::CredentialsRefused,
                false,
            ),
            (
                403,
                Some("InvalidSignatureException"),
                K::CredentialsRefused,
                false,
            ),
            (400, Some("ThrottlingException"), K::Throttled, true),
            (429, None, K::Throttled, true),
            (403, None, K::AccessDenied, false),
            (502, None, K::Service, true),
            (200, None, K::Service, true),
            (418, Some("NewException"), K::Service, false),
        ] {
            let (got, retry) = judge(status, code, None);
            assert_eq!((got, transient(retry)), (kind, again), "{status} {code:?}");
        }
    }

    #[test]
    fn retry_after_reaches_the_decision() {
        let failure = CallFailure::from_answer(429, None, None, Some("3"), None);
        let want = Failure::Throttled {
            retry_after: Some(Duration::from_secs(3)),
        };
        assert_eq!(failure.retry, want);
    }

    #[test]
    fn a_signature_error_does_not_quote_the_token() {
        let message = "The signature does not match. The Canonical String for this request should have been \
            'GET\n/\nx-amz-security-token:t0ken'";
        let call = Call {
            operation: "GetFunction",
            subject: "f",
            region: "eu-west-1",
        };
        let code = Some("InvalidSignatureException");
        let error = CallFailure::from_answer(403, code, Some(message), None, None).into_error(call);
        assert!(!format!("{error:?}").contains("t0ken"), "{error:?}");
        assert_eq!(error.kind(), ErrorKind::CredentialsRefused);
    }

    #[test]
    fn long_words_of_a_server_are_cut() {
        let call = Call {
            operation: "GetFunction",
            subject: "f",
            region: "eu-west-1",
        };
        let long = "ü".repeat(100_000);
        let failure = CallFailure::from_answer(500, Some(&long), Some(&long), None, None);
        assert!(failure.reason().chars().count() <= 501);
        let text = format!("{:?}", failure.into_error(call));
        assert!(text.contains("üü…"), "{text}");
        assert!(text.chars().count() < 1500, "{text}");
        assert_eq!(shortened("as it is"), "as it is");
    }

    #[test]
    fn a_denial_names_the_action() {
        let call = Call {
            operation: "GetLayerVersionByArn",
            subject: "arn:l",
            region: "eu-west-1",
        };
        let failure =
            CallFailure::from_answer(403, Some("AccessDeniedException"), None, None, None);
        let error = failure.into_error(call);
        assert!(
            error
                .hint_text()
                .is_some_and(|h| h.contains("lambda:GetLayerVersion on arn:l"))
        );
    }
}
