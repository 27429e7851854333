//! A package to look into, without keeping it: downloaded to a file without a name, and verified.

use std::sync::Arc;

use crate::aws::Session;
use crate::digest::Sha256Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::events::Reporter;
use crate::files;
use crate::function::FunctionRef;
use crate::lambda::{DescribedLayer, Lambda};
use crate::package::{Claim, CodeLocation, Verified};
use crate::transfer::{self, Context, Renew, Signer, Target};

/// Downloads the package of a function version whose `CodeSha256` is `code`, and verifies it.
///
/// # Errors
/// GetFunction or the transfer failed, the bytes are not what Lambda states, or another code is deployed by now
/// ([`ErrorKind::Unsettled`]).
pub(super) async fn function_package(
    session: &Session,
    lambda: &Lambda,
    function: &FunctionRef,
    code: Sha256Digest,
    reporter: Arc<dyn Reporter>,
) -> Result<Verified> {
    let mut ask = OfFunction {
        session,
        lambda,
        function,
        code,
    };
    package(session, &function.to_string(), &mut ask, &*reporter).await
}

/// Downloads the package of a layer version, and verifies it.
///
/// # Errors
/// As for [`function_package`].
pub(super) async fn layer_package(
    session: &Session,
    lambda: &Lambda,
    arn: &str,
    reporter: Arc<dyn Reporter>,
) -> Result<Verified> {
    let mut ask = OfLayer {
        session,
        lambda,
        arn,
    };
    package(session, arn, &mut ask, &*reporter).await
}

async fn package(
    session: &Session,
    subject: &str,
    ask: &mut impl Renew,
    reporter: &dyn Reporter,
) -> Result<Verified> {
    let target = ask.renew().await?;
    let spool = files::scratch_file()?;
    let context = Context {
        http: session.http(),
        retry: *session.retry(),
        patience: session.read_timeout(),
        reporter,
    };
    let (verified, _) = transfer::download(context, subject, target, ask, spool).await?;
    Ok(verified)
}

struct OfFunction<'a> {
    session: &'a Session,
    lambda: &'a Lambda,
    function: &'a FunctionRef,
    code: Sha256Digest,
}

impl Renew for OfFunction<'_> {
    async fn renew(&mut self) -> Result<Target> {
        let described = self.lambda.describe(self.function).await?;
        let stated = described.code_sha256()?;
        if stated != self.code {
            return Err(Error::new(
                ErrorKind::Unsettled,
                "the code was changed while it was being looked at",
            )
            .about(self.function.to_string())
            .hint("run again"));
        }
        let size = described.code_size().ok_or_else(|| {
            Error::new(ErrorKind::Mismatch, "Lambda states no CodeSize")
                .about(self.function.to_string())
        })?;
        target(self.session, described.code()?, Claim::lambda(stated, size)).await
    }
}

struct OfLayer<'a> {
    session: &'a Session,
    lambda: &'a Lambda,
    arn: &'a str,
}

impl Renew for OfLayer<'_> {
    async fn renew(&mut self) -> Result<Target> {
        let described = self.lambda.describe_layer(self.arn).await?;
        let claim = claim_of_layer(&described)?;
        target(self.session, described.code()?, claim).await
    }
}

fn claim_of_layer(described: &DescribedLayer) -> Result<Claim> {
    let size = described
        .code_size()
        .ok_or_else(|| Error::new(ErrorKind::Mismatch, "Lambda states no CodeSize"))?;
    Ok(Claim::lambda(described.code_sha256()?, size))
}

async fn target(session: &Session, code: &CodeLocation, claim: Claim) -> Result<Target> {
    match code {
        CodeLocation::Zip(location) => {
            let (url, signer) = match session.presign_unsigned(location).await? {
                Some(url) => (url, Signer::Caller),
                None => (location.clone(), Signer::Lambda),
            };
            Ok(Target { url, claim, signer })
        }
        CodeLocation::Object(object) => Ok(Target {
            url: session.presign(object).await?,
            claim,
            signer: Signer::Caller,
        }),
        CodeLocation::Image(_) => Err(Error::new(
            ErrorKind::Unsettled,
            "the function became an image while it was being looked at",
        )
        .hint("run again")),
    }
}
