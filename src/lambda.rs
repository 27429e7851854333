//! Lambda's control plane: the one user of `aws_sdk_lambda`.
//!
//! ```text
//! FunctionRef -> describe() -> pacing -> GetFunction -> retry -> Described { the JSON as it came, and what larder reads in it }
//! ```
//!
//! The SDK's own retries are off: they do not honour `Retry-After` in seconds, and larder paces all its calls to
//! an account and region together.

mod answer;
mod call;
mod credentials;
mod describe;
mod failure;
mod layer;
mod list;
mod pacing;
mod payload;
pub mod permission;
mod side;
mod words;
mod write;

pub use answer::Answer;
pub use call::CallMeta;
pub(crate) use credentials::credentials_error;
pub use describe::{Described, NoCode};
pub(crate) use failure::{Call, CallFailure};
pub use layer::DescribedLayer;
pub use list::{Alias, Listed, ListedLayer, Pages, Scope};
pub use pacing::{Budget, Pacer, Pacers, Turn};
pub use payload::Payload;
pub use side::{SideAnswer, SideRead};
pub use write::Write;

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_lambda::Client;
use aws_smithy_types::retry::RetryConfig;

use crate::aws::Session;
use crate::events::Reporter;
use crate::transfer::retry::RetryPolicy;

/// Lambda in one account and region.
#[derive(Clone)]
pub struct Lambda {
    client: Client,
    region: String,
    retry: RetryPolicy,
    read_timeout: Duration,
    pacer: Arc<Pacer>,
    reporter: Arc<dyn Reporter>,
}

impl Lambda {
    /// Lambda as `session` reaches it. Makes no call.
    pub fn new(session: &Session, reporter: Arc<dyn Reporter>) -> Self {
        let mut config = aws_sdk_lambda::config::Builder::from(session.config())
            .retry_config(RetryConfig::disabled());
        if let Some(endpoint) = session.lambda_endpoint() {
            config = config.endpoint_url(endpoint);
        }
        Self {
            client: Client::from_conf(config.build()),
            region: session.region().to_owned(),
            retry: *session.retry(),
            read_timeout: session.read_timeout(),
            pacer: session.pacer(),
            reporter,
        }
    }

    /// The region that is asked.
    pub fn region(&self) -> &str {
        &self.region
    }
}

impl std::fmt::Debug for Lambda {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lambda")
            .field("region", &self.region)
            .field("retry", &self.retry)
            .finish_non_exhaustive()
    }
}
