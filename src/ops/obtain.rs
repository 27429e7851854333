//! A package to look into, without keeping it: downloaded to a file without a name, and verified.

use std::sync::Arc;

use crate::aws::Session;
use crate::digest::Sha256Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::events::Reporter;
use crate::files;
use crate::function::FunctionRef;
use crate::lambda::Lambda;
use crate::package::Verified;
use crate::transfer::{self, Renew, Target};

use super::target;

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
    let context = session.transfers(reporter);
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
        if described.code_sha256()? != self.code {
            return Err(Error::new(
                ErrorKind::Unsettled,
                "the code was changed while it was being looked at",
            )
            .about(self.function.to_string())
            .hint("run again"));
        }
        target(self.session, described.code()?, described.claim()?).await
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
        target(self.session, described.code()?, described.claim()?).await
    }
}
