//! The one configuration that all AWS clients share.

use std::time::Duration;

use crate::error::Result;

/// What the user set for all commands.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// `--profile`.
    pub profile: Option<String>,
    /// `--region`.
    pub region: Option<String>,
    /// `--endpoint-url`: Lambda's.
    pub endpoint_url: Option<String>,
    /// `--role-arn`: assumed with the caller's credentials.
    pub role_arn: Option<String>,
    /// `--external-id`, for the role.
    pub external_id: Option<String>,
    /// `--max-attempts`: tries of one request, the first included; None is `AWS_MAX_ATTEMPTS`, the profile's, or 8.
    pub max_attempts: Option<u32>,
    /// `--connect-timeout`.
    pub connect_timeout: Duration,
    /// `--read-timeout`: no byte for so long.
    pub read_timeout: Duration,
    /// `--max-rate`: control-plane calls a second, account and region.
    pub max_rate: f64,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            profile: None,
            region: None,
            endpoint_url: None,
            role_arn: None,
            external_id: None,
            max_attempts: None,
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(60),
            max_rate: 5.0,
        }
    }
}

/// A run's connection to AWS: credentials, proxies, certificates, time-outs and pacing.
#[derive(Debug)]
pub struct Session {}

impl Session {
    /// Prepares a session for functions that say `arn_region` themselves, if they do. No call is made yet.
    pub async fn connect(_options: &SessionOptions, _arn_region: Option<&str>) -> Result<Self> {
        Ok(Self {})
    }

    /// This run's id, as in the User-Agent and the role session's name.
    pub fn run_id(&self) -> &str {
        ""
    }

    /// The region calls go to.
    pub fn region(&self) -> &str {
        ""
    }
}
