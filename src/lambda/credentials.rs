//! Failures to get credentials: which of them are AWS's word, and which are a matter of this machine.

use std::error::Error as StdError;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::error::ErrorMetadata;

use super::failure::{Call, CallFailure};
use super::words::causes;
use crate::error::{Error, ErrorKind};
use crate::transfer::retry::Failure;

/// Why there are no credentials for `subject`, in the words of a call that got none.
pub(crate) fn credentials_error(error: &CredentialsError, subject: &str, region: &str) -> Error {
    of_credentials(error).into_error(Call {
        operation: "the request for credentials",
        subject,
        region,
    })
}

/// Finds a failure to get credentials at all, in whatever it is wrapped.
pub(super) fn credentials_failure(error: &(dyn StdError + 'static)) -> Option<CallFailure> {
    let mut next = Some(error);
    while let Some(e) = next {
        if let Some(credentials) = e.downcast_ref::<CredentialsError>() {
            return Some(of_credentials(credentials));
        }
        next = e.source();
    }
    None
}

fn of_credentials(error: &CredentialsError) -> CallFailure {
    let detail = causes(error);
    match error {
        CredentialsError::CredentialsNotLoaded(_) => {
            CallFailure::local(ErrorKind::NoCredentials, Failure::Permanent, detail)
        }
        CredentialsError::ProviderTimedOut(_) => {
            CallFailure::local(ErrorKind::NoCredentials, Failure::Transient, detail)
        }
        // The SDK has tried these again by itself.
        _ => {
            let kind = refusal(error);
            let mut failure = CallFailure::local(kind, Failure::Permanent, detail);
            failure.unobtained = kind == ErrorKind::NoCredentials;
            failure
        }
    }
}

/// Whether the credentials' source refused, could not even be asked, or has a fault.
fn refusal(error: &CredentialsError) -> ErrorKind {
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(e) = next {
        if let Some(connector) = e.downcast_ref::<ConnectorError>() {
            return if connector.is_timeout() {
                ErrorKind::Timeout
            } else {
                ErrorKind::Network
            };
        }
        // What STS said: a fault of its own has one of these codes, or none at all.
        if let Some(answer) = e.downcast_ref::<ErrorMetadata>() {
            return match answer.code() {
                Some("Throttling" | "ThrottlingException" | "RequestLimitExceeded") => {
                    ErrorKind::Throttled
                }
                None | Some("InternalFailure" | "InternalError" | "ServiceUnavailable") => {
                    ErrorKind::Service
                }
                Some(_) => ErrorKind::CredentialsRefused,
            };
        }
        next = e.source();
    }
    // An answer that is no XML, or ends early, is not STS's own; a wait that ends has no answer at all.
    let detail = causes(error);
    if detail.contains("timed out") || detail.contains("timeout") {
        ErrorKind::Timeout
    } else if detail.contains("error parsing XML") || detail.contains("response error") {
        ErrorKind::Service
    } else {
        // AWS had no word in it: a program that failed, a file that is missing, a cache that is empty.
        ErrorKind::NoCredentials
    }
}

/// What to do where a source of credentials gives none.
pub(super) fn unobtained_hint(detail: &str) -> &'static str {
    if detail.contains("external process") {
        "run the profile's credential_process by hand: it must print the credentials as JSON and end with 0"
    } else if detail.contains("SSO") || detail.contains("access token") {
        "sign in with `aws sso login` (--profile, if it is not the default one)"
    } else if detail.contains("HTTP credential provider") {
        "the container's or the instance's source of credentials refuses: check the role of the task or the instance"
    } else {
        "check the source that the environment or the profile names: `aws sts get-caller-identity` asks the same one"
    }
}

/// What to do where AWS refuses the credentials.
pub(super) fn credentials_hint(code: &str, detail: &str) -> &'static str {
    match code {
        "RequestExpired" | "RequestTimeTooSkewed" => "this machine's clock is wrong; set it",
        "InvalidSignatureException" | "SignatureDoesNotMatch"
            if detail.contains("expired") || detail.contains("not yet current") =>
        {
            "this machine's clock is wrong; set it"
        }
        "InvalidSignatureException" | "SignatureDoesNotMatch" => {
            "the secret access key is wrong, or a proxy rewrote the request"
        }
        "ExpiredTokenException" | "ExpiredToken" => {
            "the session has ended; renew it, for example with `aws sso login`"
        }
        "UnrecognizedClientException" | "InvalidClientTokenId" | "InvalidAccessKeyId" => {
            "the access key or session token is not valid, or not in this region (is the region enabled for the account?)"
        }
        // Credentials that are got from STS fail with its errors.
        _ if detail.contains("ExpiredToken") => credentials_hint("ExpiredToken", detail),
        _ if detail.contains("AssumeRole") => {
            "the caller needs sts:AssumeRole on the role, and the role must trust the caller (with the external id, if it asks for one)"
        }
        _ => "check which credentials are used: `aws sts get-caller-identity`",
    }
}
