//! The one configuration that all AWS clients share: credentials, region, proxies, certificates, time-outs.
//!
//! The SDK by itself honours neither `HTTPS_PROXY` nor `AWS_CA_BUNDLE`. Both are wired here, once, and the same
//! settings go to the HTTP client that downloads packages.

mod bucket;
mod caller;
mod credentials;
mod payload;
mod presign;
mod proxy;
mod regions;
pub(crate) mod service;
mod stack;
mod tagged;
mod xml;

pub use bucket::BucketOptions;
pub use caller::Caller;
pub(crate) use payload::sign_with_digest;
pub(crate) use service::{Body, Service, ServiceCall};
pub use stack::StackResource;
pub(crate) use xml::Element;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_config::sts::AssumeRoleProvider;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_runtime::env_config::file::EnvConfigFiles;
use aws_smithy_http_client::pool;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{self, TlsContext, TrustStore};
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::os_shim_internal::{Env, Fs};
use aws_types::service_config::ServiceConfigKey;
use url::Url;

use crate::error::{Error, ErrorKind, Result};
use crate::events::Reporter;
use crate::files;
use crate::http::{HttpClient, HttpOptions};
use crate::lambda::{Pacer, Pacers};
use crate::transfer::Context;
use crate::transfer::retry::RetryPolicy;

/// The largest CA bundle that is read, in bytes; the system's own has a quarter of a MiB.
const MAX_CA_BUNDLE: u64 = 16 << 20;
/// Attempts of one request when nobody says otherwise.
const DEFAULT_MAX_ATTEMPTS: u32 = 8;

/// What the user set for all commands.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// Keys to use instead of the standard chain of sources. There is no option for it: on a command line they would be
    /// seen by every user of the machine.
    pub keys: Option<AccessKeys>,
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
    /// The pacers of the process. Sessions whose options are clones of one another share them.
    pub pacers: Pacers,
}

/// An access key of an IAM user or of a session.
#[derive(Clone)]
pub struct AccessKeys {
    /// `AWS_ACCESS_KEY_ID`.
    pub access_key_id: String,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret_access_key: String,
    /// `AWS_SESSION_TOKEN`, for a session's.
    pub session_token: Option<String>,
}

/// The id alone, which is no secret.
impl std::fmt::Debug for AccessKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessKeys")
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            keys: None,
            profile: None,
            region: None,
            endpoint_url: None,
            role_arn: None,
            external_id: None,
            max_attempts: None,
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(60),
            max_rate: 5.0,
            pacers: Pacers::default(),
        }
    }
}

/// A run's connection to AWS: credentials, proxies, certificates, time-outs and pacing.
#[derive(Debug, Clone)]
pub struct Session {
    run_id: String,
    region: String,
    /// Set when the user named a region that is not the ARN's.
    region_conflict: Option<String>,
    config: SdkConfig,
    lambda_endpoint: Option<String>,
    s3_endpoint: Option<Url>,
    http: HttpClient,
    retry: RetryPolicy,
    connect_timeout: Duration,
    read_timeout: Duration,
    /// The certificates to trust instead of the system's: PEM.
    ca_bundle: Option<Arc<[u8]>>,
    max_rate: f64,
    pacers: Pacers,
    /// Whose budget calls are counted against; one word an account, as far as it is known without a call.
    payer: String,
    /// The longest that a source of credentials may take.
    credentials_timeout: Duration,
    signers: presign::Signers,
}

/// What `~/.aws/config` says of settings that the SDK does not look at.
#[derive(Debug, Default)]
struct ProfileSettings {
    ca_bundle: Option<String>,
    max_attempts: Option<String>,
    retry_mode: Option<String>,
}

impl Session {
    /// Prepares a session for a function whose ARN says `arn_region`, if it does. No call is made to Lambda yet;
    /// without a region in options, environment and profile, the instance is asked for its own.
    ///
    /// # Errors
    /// There is no region, an endpoint or CA bundle cannot be used, or the profile does not exist.
    pub async fn connect(options: &SessionOptions, arn_region: Option<&str>) -> Result<Self> {
        let run_id = new_run_id();
        let profile = profile_settings(options.profile.as_deref()).await?;
        let ca_bundle = ca_bundle(profile.ca_bundle)?;
        let trusted = ca_bundle.as_ref().map(|(_, pem)| Arc::from(pem.as_slice()));
        // This also checks the certificates, which the SDK's builder would panic on.
        let proxies = proxy::check(env)?;
        let http = HttpClient::new(&HttpOptions {
            proxies,
            user_agent: format!("larder/{} (run {run_id})", env!("CARGO_PKG_VERSION")),
            ca_bundle: ca_bundle.clone(),
            connect_timeout: options.connect_timeout,
            read_timeout: options.read_timeout,
        })?;
        let max_attempts = max_attempts(options.max_attempts, profile.max_attempts)?;
        if let Some(mode) = env("AWS_RETRY_MODE").or(profile.retry_mode) {
            tracing::info!("retry_mode {mode:?} is not used: larder paces and retries by itself");
        }

        let named_region = options.region.as_deref();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(sdk_http_client(ca_bundle, proxies)?)
            .retry_config(RetryConfig::standard().with_max_attempts(max_attempts))
            .timeout_config(timeouts(options));
        if let Ok(name) = AppName::new(format!("larder-{}-{run_id}", env!("CARGO_PKG_VERSION"))) {
            loader = loader.app_name(name);
        }
        if let Some(keys) = &options.keys {
            loader = loader.credentials_provider(Credentials::new(
                &keys.access_key_id,
                &keys.secret_access_key,
                keys.session_token.clone(),
                None,
                "larder::aws::AccessKeys",
            ));
        }
        if let Some(profile) = &options.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(region) = named_region.or(arn_region) {
            loader = loader.region(Region::new(region.to_owned()));
        }
        let mut config = loader.load().await;
        if let (Some(profile), None) = (&options.profile, &options.keys) {
            let provider = credentials::of_profile(&config, profile);
            config = config.into_builder().credentials_provider(provider).build();
        }
        let region = config
            .region()
            .map(ToString::to_string)
            .ok_or_else(no_region)?;
        check_region(&region)?;
        tracing::info!("run {run_id}, region {region}");
        if let Some(role) = &options.role_arn {
            tracing::info!("assuming {role}");
            config = assume_role(config, role, options.external_id.as_deref(), &run_id).await;
        }
        let region_conflict = match (named_region, arn_region) {
            (Some(named), Some(arn)) if named != arn => Some(arn.to_owned()),
            _ => None,
        };
        Ok(Self {
            lambda_endpoint: options
                .endpoint_url
                .as_deref()
                .map(|url| parse_endpoint("--endpoint-url", url).map(|_| url.to_owned()))
                .transpose()?,
            s3_endpoint: service_endpoint(&config, "S3")?,
            config,
            region_conflict,
            region,
            http,
            retry: RetryPolicy::new(max_attempts),
            connect_timeout: options.connect_timeout,
            read_timeout: options.read_timeout,
            ca_bundle: trusted,
            max_rate: options.max_rate,
            pacers: options.pacers.clone(),
            payer: payer(options),
            credentials_timeout: options.connect_timeout + options.read_timeout,
            signers: presign::Signers::default(),
            run_id,
        })
    }

    /// The same run with the same credentials, pacers and clients, in another region.
    ///
    /// # Errors
    /// `region` is none.
    pub fn in_region(&self, region: &str) -> Result<Self> {
        check_region(region)?;
        let mut other = self.clone();
        region.clone_into(&mut other.region);
        other.region_conflict = None;
        let there = Region::new(region.to_owned());
        other.config = self.config.to_builder().region(there).build();
        Ok(other)
    }

    /// The same run with the same clients, as a role that this session's credentials assume. No call is made yet: whether the
    /// role may be assumed is found by the first one.
    pub async fn in_role(&self, role: &str, external_id: Option<&str>) -> Self {
        let mut other = self.clone();
        other.config = assume_role(self.config.clone(), role, external_id, &self.run_id).await;
        other.payer = account_of_role(role).unwrap_or_default().to_owned();
        other.signers = presign::Signers::default();
        other
    }

    /// What spaces out the calls to this session's account and region, in all its clients.
    pub fn pacer(&self) -> Arc<Pacer> {
        self.pacers.of(&self.payer, &self.region, self.max_rate)
    }

    /// This run's id, as in the User-Agent and the role session's name.
    pub fn run_id(&self) -> &str {
        &self.run_id
    }

    /// The region that calls go to.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The ARN's region, when the user named another one.
    pub fn region_conflict(&self) -> Option<&str> {
        self.region_conflict.as_deref()
    }

    /// The configuration of the SDK's clients.
    pub(crate) fn config(&self) -> &SdkConfig {
        &self.config
    }

    /// `--endpoint-url`; endpoints from the environment are the SDK's to find.
    pub(crate) fn lambda_endpoint(&self) -> Option<&str> {
        self.lambda_endpoint.as_deref()
    }

    /// `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL`, or their twins in the profile.
    pub(crate) fn s3_endpoint(&self) -> Option<&Url> {
        self.s3_endpoint.as_ref()
    }

    /// Whether environment or profile set an endpoint for `service`, or for all.
    ///
    /// # Errors
    /// What they set is no URL.
    pub(crate) fn has_endpoint(&self, service: service::Service) -> Result<bool> {
        Ok(service_endpoint(&self.config, service.id)?.is_some())
    }

    /// The client that fetches packages.
    pub(crate) fn http(&self) -> &HttpClient {
        &self.http
    }

    /// What all transfers of this session share.
    pub(crate) fn transfers<'a>(&'a self, reporter: &'a dyn Reporter) -> Context<'a> {
        Context {
            http: &self.http,
            retry: self.retry,
            patience: self.read_timeout,
            reporter,
        }
    }

    /// How long no byte may come.
    pub(crate) fn read_timeout(&self) -> Duration {
        self.read_timeout
    }

    /// How often a request is tried.
    pub(crate) fn retry(&self) -> &RetryPolicy {
        &self.retry
    }
}

/// Twelve hex digits: unlikely to occur twice in one account's logs.
fn new_run_id() -> String {
    format!("{:012x}", fastrand::u64(..) >> 16)
}

/// A variable's value; empty counts as unset.
fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A region becomes a part of host names.
fn check_region(region: &str) -> Result<()> {
    let label = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    if region.is_empty() || !region.bytes().all(label) {
        return Err(Error::new(
            ErrorKind::Usage,
            format!("{region:?} is no region; expected something like eu-west-1"),
        ));
    }
    Ok(())
}

/// The role's account where a role is assumed, else the profile, else the caller of the environment.
fn payer(options: &SessionOptions) -> String {
    match (&options.role_arn, &options.profile) {
        (Some(role), _) => account_of_role(role).unwrap_or_default().to_owned(),
        (None, Some(profile)) => format!("profile {profile}"),
        (None, None) => String::new(),
    }
}

/// The account in a role's ARN.
pub(crate) fn account_of_role(arn: &str) -> Option<&str> {
    arn.split(':').nth(4).filter(|account| !account.is_empty())
}

fn no_region() -> Error {
    Error::new(ErrorKind::Usage, "no region is set")
        .hint("name one with --region, AWS_REGION or the profile, or name the function by its ARN")
}

async fn profile_settings(name: Option<&str>) -> Result<ProfileSettings> {
    let files = EnvConfigFiles::default();
    let chosen = name.map(|name| name.to_owned().into());
    let profiles = aws_config::profile::load(&Fs::real(), &Env::real(), &files, chosen)
        .await
        .map_err(|e| {
            Error::new(
                ErrorKind::Usage,
                "the AWS configuration file cannot be read",
            )
            .because(e)
        })?;
    let selected = profiles.selected_profile();
    let Some(profile) = profiles.get_profile(selected) else {
        // No files at all is fine; a profile that somebody asked for and that does not exist is not.
        return if selected == "default" {
            Ok(ProfileSettings::default())
        } else {
            let mut known: Vec<_> = profiles.profiles().collect();
            known.sort_unstable();
            let error = Error::new(ErrorKind::Usage, "there is no such profile").about(selected);
            Err(if known.is_empty() {
                error.hint("no profile is set up; `aws configure` makes one")
            } else {
                error.hint(format!("the profiles are: {}", known.join(", ")))
            })
        };
    };
    let get = |key: &str| profile.get(key).map(ToOwned::to_owned);
    Ok(ProfileSettings {
        ca_bundle: get("ca_bundle"),
        max_attempts: get("max_attempts"),
        retry_mode: get("retry_mode"),
    })
}

/// The CA bundle in `AWS_CA_BUNDLE` or the profile: PEM, and instead of the system's certificates.
fn ca_bundle(from_profile: Option<String>) -> Result<Option<(PathBuf, Vec<u8>)>> {
    let Some(path) = env("AWS_CA_BUNDLE").or(from_profile) else {
        return Ok(None);
    };
    let path = PathBuf::from(path);
    let pem = files::read_small(&path, MAX_CA_BUNDLE).map_err(|e| {
        Error::from(e).hint_instead("AWS_CA_BUNDLE, or ca_bundle in the profile, names this file")
    })?;
    Ok(Some((path, pem)))
}

fn max_attempts(option: Option<u32>, from_profile: Option<String>) -> Result<u32> {
    if let Some(n) = option {
        return Ok(n.max(1));
    }
    let Some(text) = env("AWS_MAX_ATTEMPTS").or(from_profile) else {
        return Ok(DEFAULT_MAX_ATTEMPTS);
    };
    text.parse().ok().filter(|n| *n > 0).ok_or_else(|| {
        Error::new(
            ErrorKind::Usage,
            format!("AWS_MAX_ATTEMPTS (or max_attempts in the profile) is {text:?}; expected a number from 1"),
        )
    })
}

fn timeouts(options: &SessionOptions) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(options.connect_timeout)
        .read_timeout(options.read_timeout)
        // The SDK's read time-out ends with the answer's first byte; this one bounds a body that trickles.
        .operation_attempt_timeout(options.connect_timeout + options.read_timeout * 2)
        .build()
}

/// The SDK's HTTP client with the proxies of the environment and, where given, another trust store.
fn sdk_http_client(ca_bundle: Option<(PathBuf, Vec<u8>)>, proxies: bool) -> Result<pool::Client> {
    let trust = match ca_bundle {
        Some((_, pem)) => TrustStore::empty().with_pem_certificate(pem),
        None => TrustStore::default(),
    };
    let failed = |e: Box<dyn std::error::Error + Send + Sync>| {
        Error::new(ErrorKind::Usage, "the HTTPS client cannot be set up").because(e)
    };
    let tls = TlsContext::builder()
        .with_trust_store(trust)
        .build()
        .map_err(|e| failed(e.into()))?;
    let pool = pool::ConnectionPool::builder()
        .proxy_config(if proxies {
            ProxyConfig::from_env()
        } else {
            ProxyConfig::disabled()
        })
        .tls_provider(tls::Provider::Rustls(
            tls::rustls_provider::CryptoMode::AwsLc,
        ))
        .tls_context(tls)
        .build_https()
        .map_err(|e| failed(e.into()))?;
    pool::Client::new(&pool).map_err(|e| failed(e.into()))
}

async fn assume_role(
    config: SdkConfig,
    role: &str,
    external_id: Option<&str>,
    run_id: &str,
) -> SdkConfig {
    let mut provider = AssumeRoleProvider::builder(role)
        .session_name(format!("larder-{run_id}"))
        .configure(&config);
    if let Some(id) = external_id {
        provider = provider.external_id(id);
    }
    if let Some(region) = config.region() {
        provider = provider.region(region.clone());
    }
    let provider = match config.credentials_provider() {
        Some(caller) => provider.build_from_provider(caller).await,
        None => provider.build().await,
    };
    config
        .into_builder()
        .credentials_provider(
            aws_credential_types::provider::SharedCredentialsProvider::new(provider),
        )
        .build()
}

/// The endpoint that environment or profile set for a service, or for all.
fn service_endpoint(config: &SdkConfig, service: &'static str) -> Result<Option<Url>> {
    let key = ServiceConfigKey::builder()
        .service_id(service)
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build();
    let found = match (config.service_config(), key) {
        (Some(settings), Ok(key)) => settings.load_config(key),
        _ => None,
    };
    found
        .or_else(|| config.endpoint_url().map(ToOwned::to_owned))
        .map(|url| parse_endpoint("AWS_ENDPOINT_URL", &url))
        .transpose()
}

fn parse_endpoint(name: &str, text: &str) -> Result<Url> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        _ => Err(Error::new(
            ErrorKind::Usage,
            format!("{name} is {text:?}; expected something like http://127.0.0.1:4566"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_come_from_the_flag_then_the_profile_then_the_default() {
        assert_eq!(max_attempts(Some(3), Some("9".to_owned())).unwrap(), 3);
        assert_eq!(max_attempts(None, Some("9".to_owned())).unwrap(), 9);
        assert_eq!(max_attempts(None, None).unwrap(), DEFAULT_MAX_ATTEMPTS);
        for bad in ["0", "-1", "many"] {
            let e = max_attempts(None, Some(bad.to_owned())).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Usage);
            assert!(e.to_string().contains(bad), "{e}");
        }
    }

    #[test]
    fn an_endpoint_is_an_http_url() {
        assert!(parse_endpoint("x", "http://127.0.0.1:4566").is_ok());
        for bad in ["127.0.0.1:4566", "ftp://h", "http://", "", "h"] {
            assert!(parse_endpoint("x", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_do_not_show_their_secrets() {
        let keys = AccessKeys {
            access_key_id: "AKIA".to_owned(),
            secret_access_key: "s3cret".to_owned(),
            session_token: Some("t0ken".to_owned()),
        };
        let shown = format!("{keys:?}");
        assert!(shown.contains("AKIA") && !shown.contains("s3cret") && !shown.contains("t0ken"));
    }

    #[test]
    fn run_ids_differ() {
        let (a, b) = (new_run_id(), new_run_id());
        assert_ne!(a, b);
        assert_eq!(a.len(), 12);
    }
}
