//! The calls that change something, each with JSON of larder's own, so that fields which no SDK knows can be written back.
//!
//! None of them may be sent blindly a second time: an attempt whose answer was lost may have been carried out. So whoever
//! writes says how to look whether it was.

use std::time::Duration;

use aws_smithy_types::timeout::TimeoutConfig;

use super::failure::CallFailure;
use super::{Answer, Budget, Lambda, Payload};
use crate::error::{ErrorKind, Result};
use crate::events::Event;
use crate::transfer::retry::Failure;

/// A package may come through the network at this rate at least, in bytes a second.
const SLOWEST_UPLOAD: u64 = 64 << 10;

/// What is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write<'a> {
    /// CreateFunction: its name.
    CreateFunction(&'a str),
    /// UpdateFunctionCode of a function.
    UpdateFunctionCode(&'a str),
    /// UpdateFunctionConfiguration of a function.
    UpdateFunctionConfiguration(&'a str),
    /// PublishVersion of a function.
    PublishVersion(&'a str),
    /// CreateAlias: function and alias.
    CreateAlias(&'a str, &'a str),
    /// UpdateAlias: function and alias.
    UpdateAlias(&'a str, &'a str),
    /// TagResource: an ARN.
    TagResource(&'a str),
    /// PutFunctionConcurrency: reserved concurrency of a function.
    PutFunctionConcurrency(&'a str),
    /// PublishLayerVersion: the layer's name.
    PublishLayerVersion(&'a str),
    /// CreateEventSourceMapping for a function.
    CreateEventSourceMapping(&'a str),
}

impl Write<'_> {
    /// The API operation.
    pub fn operation(self) -> &'static str {
        match self {
            Self::CreateFunction(_) => "CreateFunction",
            Self::UpdateFunctionCode(_) => "UpdateFunctionCode",
            Self::UpdateFunctionConfiguration(_) => "UpdateFunctionConfiguration",
            Self::PublishVersion(_) => "PublishVersion",
            Self::CreateAlias(..) => "CreateAlias",
            Self::UpdateAlias(..) => "UpdateAlias",
            Self::TagResource(_) => "TagResource",
            Self::PutFunctionConcurrency(_) => "PutFunctionConcurrency",
            Self::PublishLayerVersion(_) => "PublishLayerVersion",
            Self::CreateEventSourceMapping(_) => "CreateEventSourceMapping",
        }
    }

    fn subject(self) -> String {
        match self {
            Self::CreateAlias(function, alias) | Self::UpdateAlias(function, alias) => {
                format!("{function}:{alias}")
            }
            Self::CreateFunction(name)
            | Self::UpdateFunctionCode(name)
            | Self::UpdateFunctionConfiguration(name)
            | Self::PublishVersion(name)
            | Self::TagResource(name)
            | Self::PutFunctionConcurrency(name)
            | Self::PublishLayerVersion(name)
            | Self::CreateEventSourceMapping(name) => name.to_owned(),
        }
    }
}

impl Lambda {
    /// Makes the change. Where an attempt may have been carried out without its answer, `look` says what came of it: the
    /// answer that counts as its own, or None when nothing was done, so that it may be sent again.
    ///
    /// # Errors
    /// AWS refuses it, or it failed after its retries; or `look` failed.
    pub async fn write(
        &self,
        write: Write<'_>,
        payload: &Payload,
        look: impl AsyncFn() -> Result<Option<Answer>>,
    ) -> Result<Answer> {
        let subject = write.subject();
        self.reporter.report(&Event::Asking { subject: &subject });
        let call = self.about(write.operation(), &subject);
        let mut attempt = 1;
        // An attempt before this one may have been carried out.
        let mut lost = false;
        loop {
            let mut failure = match self.once(write, payload).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            failure.hide(&payload.secrets);
            // Who is throttled was not heard; any other fault may have come after the work was done.
            let unknown =
                failure.kind != ErrorKind::Throttled && failure.retry != Failure::Permanent;
            if unknown || (lost && failure.kind == ErrorKind::Unsettled) {
                lost = true;
                if let Some(answer) = look().await? {
                    tracing::info!("{} of {subject}: it was carried out", call.operation);
                    return Ok(answer);
                }
            }
            if self.wait_to_try_again(call, &failure, attempt).await {
                attempt += 1;
                continue;
            }
            return Err(failure.into_error(call));
        }
    }

    /// One attempt.
    async fn once(&self, write: Write<'_>, payload: &Payload) -> Result<Answer, CallFailure> {
        let subject = write.subject();
        let call = self.about(write.operation(), &subject);
        let client = &self.client;
        let upload = Duration::from_secs(payload.length() / SLOWEST_UPLOAD);
        // The SDK's time-outs count from the first byte that is sent.
        let timeouts = TimeoutConfig::builder()
            .read_timeout(self.read_timeout + upload)
            .operation_attempt_timeout(self.read_timeout * 3 + upload)
            .build();
        // Each operation has a builder type of its own. Of the input only what stands in the path counts.
        macro_rules! send {
            ($build:expr) => {
                self.attempt(call, Budget::Shared, &|capture| {
                    let mut config = aws_sdk_lambda::config::Config::builder();
                    config.set_timeout_config(Some(timeouts.clone()));
                    $build
                        .customize()
                        .interceptor(payload.clone())
                        .interceptor(capture)
                        .config_override(config)
                        .send()
                })
                .await
                .map(|called| called.answer)
            };
        }
        match write {
            Write::CreateFunction(name) => send!(client.create_function().function_name(name)),
            Write::UpdateFunctionCode(name) => {
                send!(client.update_function_code().function_name(name))
            }
            Write::UpdateFunctionConfiguration(name) => {
                send!(client.update_function_configuration().function_name(name))
            }
            Write::PublishVersion(name) => send!(client.publish_version().function_name(name)),
            Write::CreateAlias(function, alias) => {
                send!(client.create_alias().function_name(function).name(alias))
            }
            Write::UpdateAlias(function, alias) => {
                send!(client.update_alias().function_name(function).name(alias))
            }
            Write::TagResource(arn) => {
                send!(client.tag_resource().resource(arn).tags("k", "v"))
            }
            Write::PutFunctionConcurrency(name) => {
                send!(client.put_function_concurrency().function_name(name))
            }
            Write::PublishLayerVersion(name) => {
                send!(client.publish_layer_version().layer_name(name))
            }
            Write::CreateEventSourceMapping(name) => {
                send!(client.create_event_source_mapping().function_name(name))
            }
        }
    }
}
