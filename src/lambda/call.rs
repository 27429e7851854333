//! One call: paced, tried again where that may help, and its JSON kept as it came.

use std::error::Error as StdError;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::{
    AfterDeserializationInterceptorContextRef, BeforeDeserializationInterceptorContextMut,
    BeforeTransmitInterceptorContextRef,
};
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use http_body_util::Limited;
use url::Url;

use super::failure::{Call, CallFailure};
use super::{Answer, Budget, Lambda};
use crate::error::Result;
use crate::events::Event;
use crate::transfer::retry::{Decision, Failure};

/// The longest answer that is read, in bytes. Lambda's longest, a page of functions, is a few hundred KiB; as a JSON value
/// in memory an answer takes ten times its length.
const MAX_ANSWER: usize = 2 << 20;

/// What an attempt's answer was on the wire. One capture belongs to one attempt, so concurrent calls never mix.
#[derive(Debug, Clone, Default)]
pub(super) struct Capture(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    /// The host that was asked.
    host: Option<String>,
    answer: Option<Captured>,
}

#[derive(Debug)]
struct Captured {
    status: u16,
    meta: CallMeta,
    body: Vec<u8>,
}

#[dyn_dispatch_hint]
impl Intercept for Capture {
    fn name(&self) -> &'static str {
        "larder::Capture"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let url = Url::parse(context.request().uri()).ok();
        self.seen().host = url.and_then(|url| url.host_str().map(ToOwned::to_owned));
        Ok(())
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // The SDK reads a body into memory however long it is.
        let body = context.response_mut().body_mut();
        let whole = std::mem::replace(body, SdkBody::taken());
        *body = SdkBody::from_body_1_x(Limited::new(whole, MAX_ANSWER));
        Ok(())
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // Before deserialization the body is still a stream; now it is in memory, whole.
        let response = context.response();
        if let Some(body) = response.body().bytes() {
            let header = |name| response.headers().get(name).map(ToOwned::to_owned);
            let captured = Captured {
                status: response.status().as_u16(),
                meta: CallMeta {
                    request_id: header("x-amzn-requestid"),
                    server_date: header("date"),
                },
                body: body.to_vec(),
            };
            self.seen().answer = Some(captured);
        }
        Ok(())
    }
}

impl Capture {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a call's answer says about the call itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallMeta {
    /// AWS's id of the call: `x-amzn-RequestId`.
    pub request_id: Option<String>,
    /// The server's clock: the `Date` header as it came (RFC 9110 section 6.6.1).
    pub server_date: Option<String>,
}

/// An answer and what it says about its call.
#[derive(Debug)]
pub(super) struct Called {
    pub(super) answer: Answer,
    pub(super) meta: CallMeta,
}

impl Lambda {
    /// Makes a call until it succeeds or may not be tried again. `send` makes one attempt, with the capture it is given.
    pub(super) async fn call<T, E, F>(
        &self,
        call: Call<'_>,
        budget: Budget,
        send: impl Fn(Capture) -> F,
    ) -> Result<Called>
    where
        E: ProvideErrorMetadata + StdError + 'static,
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    {
        let called = self.try_call(call, budget, send).await;
        called.map_err(|failure| failure.into_error(call))
    }

    /// The same, for who must tell one failure from another by AWS's own words.
    pub(super) async fn try_call<T, E, F>(
        &self,
        call: Call<'_>,
        budget: Budget,
        send: impl Fn(Capture) -> F,
    ) -> Result<Called, CallFailure>
    where
        E: ProvideErrorMetadata + StdError + 'static,
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    {
        let mut attempt = 1;
        loop {
            match self.attempt(call, budget, &send).await {
                Ok(called) => return Ok(called),
                Err(failure) if self.wait_to_try_again(call, &failure, attempt).await => {
                    attempt += 1;
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    /// One attempt, when its turn has come.
    pub(super) async fn attempt<T, E, F>(
        &self,
        call: Call<'_>,
        budget: Budget,
        send: &impl Fn(Capture) -> F,
    ) -> Result<Called, CallFailure>
    where
        E: ProvideErrorMetadata + StdError + 'static,
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    {
        let turn = self.pacer.wait(budget).await;
        let capture = Capture::default();
        let outcome = send(capture.clone()).await;
        let Seen { host, answer } = std::mem::take(&mut *capture.seen());
        if let Some(answer) = &answer {
            self.reporter.report(&Event::Answered {
                operation: call.operation,
                subject: call.subject,
                region: call.region,
                status: answer.status,
                request_id: answer.meta.request_id.as_deref(),
                date: answer.meta.server_date.as_deref(),
            });
        }
        let mut failure = match (outcome, answer) {
            // The JSON is what counts: a field that changed its type may break the SDK's reading, not ours.
            (_, Some(captured)) if (200..300).contains(&captured.status) => {
                let read = match captured.status {
                    // No Content.
                    204 => Ok(Answer::empty()),
                    _ => Answer::parse(&captured.body),
                };
                match read {
                    Ok(answer) => {
                        self.pacer.succeeded(turn);
                        tracing::info!(
                            "{} of {}: answered, request {}",
                            call.operation,
                            call.subject,
                            captured.meta.request_id.as_deref().unwrap_or("unknown")
                        );
                        return Ok(Called {
                            answer,
                            meta: captured.meta,
                        });
                    }
                    Err(why) => CallFailure::no_answer(why),
                }
            }
            (Ok(_), _) => CallFailure::no_answer("it has no body".to_owned()),
            (Err(e), _) => CallFailure::from_sdk(&e),
        };
        failure.host = host;
        if let Failure::Throttled { retry_after } = failure.retry {
            self.pacer.throttled(turn, retry_after);
        }
        Err(failure)
    }

    /// Whether to try again after this attempt, once the wait before it is over.
    pub(super) async fn wait_to_try_again(
        &self,
        call: Call<'_>,
        failure: &CallFailure,
        attempt: u32,
    ) -> bool {
        let Decision::Again(wait) = self.retry.decide(failure.retry, attempt, fastrand::f64())
        else {
            return false;
        };
        tracing::info!(
            "{} of {}: attempt {attempt} failed ({}); again in {wait:.1?}",
            call.operation,
            call.subject,
            failure.reason()
        );
        self.reporter.report(&Event::Retrying {
            what: call.operation,
            attempt,
            max_attempts: self.retry.max_attempts(),
            wait,
            reason: &failure.reason(),
        });
        tokio::time::sleep(wait).await;
        true
    }
}
