//! GetLayerVersionByArn: what a layer version is, and where its code lies.

use crate::digest::Sha256Digest;
use crate::error::{Error, Result};
use crate::events::Event;
use crate::package::{Claim, CodeLocation};

use super::call::CallMeta;
use super::describe::{NoCode, claim, code_sha256, zip_location};
use super::failure::Call;
use super::{Answer, Budget, Lambda};

/// A layer version as one call described it.
#[derive(Debug, Clone)]
pub struct DescribedLayer {
    arn: String,
    answer: Answer,
    meta: CallMeta,
    code: Result<CodeLocation, NoCode>,
}

impl Lambda {
    /// Asks GetLayerVersionByArn about the layer version `arn`, which may belong to another account.
    ///
    /// # Errors
    /// The call failed, after its retries. A layer version that was deleted is not found in one's own account, and
    /// denied in another's.
    pub async fn describe_layer(&self, arn: &str) -> Result<DescribedLayer> {
        self.reporter.report(&Event::Asking { subject: arn });
        let call = Call {
            operation: "GetLayerVersionByArn",
            subject: arn,
            region: &self.region,
        };
        let called = self
            .call(call, Budget::Shared, |capture| {
                self.client
                    .get_layer_version_by_arn()
                    .arn(arn)
                    .customize()
                    .interceptor(capture)
                    .send()
            })
            .await?;
        Ok(DescribedLayer {
            arn: arn.to_owned(),
            code: zip_location(&called.answer, "/Content"),
            answer: called.answer,
            meta: called.meta,
        })
    }
}

impl DescribedLayer {
    /// The whole answer.
    pub fn answer(&self) -> &Answer {
        &self.answer
    }

    /// What the answer says about the call.
    pub fn meta(&self) -> &CallMeta {
        &self.meta
    }

    /// Where the code is.
    ///
    /// # Errors
    /// The answer names no code.
    pub fn code(&self) -> Result<&CodeLocation> {
        self.code
            .as_ref()
            .map_err(|no_code| Error::from(no_code.clone()).about(&*self.arn))
    }

    /// `CodeSha256` as Lambda states it.
    pub fn code_sha256_text(&self) -> Option<&str> {
        self.answer.text("/Content/CodeSha256")
    }

    /// `CodeSize`, in bytes.
    pub fn code_size(&self) -> Option<u64> {
        self.answer.size("/Content/CodeSize")
    }

    /// `CodeSha256`, read.
    ///
    /// # Errors
    /// It is missing or no digest.
    pub fn code_sha256(&self) -> Result<Sha256Digest> {
        code_sha256(self.code_sha256_text(), &self.arn)
    }

    /// What Lambda states about the zip.
    ///
    /// # Errors
    /// Digest or size are missing or malformed.
    pub fn claim(&self) -> Result<Claim> {
        claim(self.code_sha256(), self.code_size(), &self.arn)
    }
}
