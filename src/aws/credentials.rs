//! The credentials of a profile that `--profile` names.
//!
//! The SDK's default chain looks at the environment first, also when a profile is named. The AWS CLI does not: who names
//! a profile means its account, whatever keys a shell still exports.

use aws_config::SdkConfig;
use aws_config::ecs::EcsCredentialsProvider;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::provider::SharedCredentialsProvider;

/// The profile's own; for one that names none, the container's or the instance's. Never the environment's.
pub(super) fn of_profile(config: &SdkConfig, profile: &str) -> SharedCredentialsProvider {
    let mut settings = ProviderConfig::without_region()
        .with_region(config.region().cloned())
        .with_use_fips(config.use_fips())
        .with_use_dual_stack(config.use_dual_stack())
        .with_behavior_version(config.behavior_version());
    if let Some(client) = config.http_client() {
        settings = settings.with_http_client(client);
    }
    if let Some(retry) = config.retry_config() {
        settings = settings.with_retry_config(retry.clone());
    }
    if let Some(timeouts) = config.timeout_config() {
        settings = settings.with_timeout_config(timeouts.clone());
    }
    let of_files = ProfileFileCredentialsProvider::builder()
        .configure(&settings)
        .profile_name(profile)
        .build();
    let of_container = EcsCredentialsProvider::builder()
        .configure(&settings)
        .build();
    let of_instance = ImdsCredentialsProvider::builder()
        .configure(&settings)
        .build();
    let chain = CredentialsProviderChain::first_try("Profile", of_files)
        .or_else("EcsContainer", of_container)
        .or_else("Ec2InstanceMetadata", of_instance);
    SharedCredentialsProvider::new(chain)
}
