//! A bucket for a store: S3, or whatever speaks like it, with the credentials, proxies and certificates of a session.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use object_store::aws::{AmazonS3Builder, AwsCredential, Checksum};
use object_store::{
    BackoffConfig, Certificate, ClientOptions, CredentialProvider, HeaderValue, ObjectStore,
    RetryConfig,
};

use super::Session;
use crate::error::{Error, ErrorKind, Result};

/// The longest that one request may take in all. No request carries more than some MiB, and a read goes on where it broke.
const REQUEST_LIMIT: Duration = Duration::from_secs(600);
/// The longest that one request may be tried again.
const RETRY_LIMIT: Duration = Duration::from_secs(180);

/// How a bucket is reached.
#[derive(Debug, Clone, Default)]
pub struct BucketOptions {
    /// The endpoint of an S3-compatible server; None is what environment and profile say, or S3's own.
    pub endpoint_url: Option<String>,
    /// Encrypt with this KMS key: an ARN, an id or an alias. None is the bucket's own default.
    pub kms_key: Option<String>,
}

impl Session {
    /// The bucket as an object store. Makes no call.
    ///
    /// # Errors
    /// The endpoint or a certificate cannot be used, or there are no credentials at all.
    pub fn bucket(&self, name: &str, options: &BucketOptions) -> Result<Arc<dyn ObjectStore>> {
        let endpoint = match &options.endpoint_url {
            Some(url) => Some(super::parse_endpoint("--store-endpoint-url", url)?),
            None => self.s3_endpoint().cloned(),
        };
        let mut client = ClientOptions::new()
            .with_connect_timeout(self.connect_timeout)
            .with_read_timeout(self.read_timeout)
            .with_timeout(REQUEST_LIMIT)
            .with_allow_http(endpoint.as_ref().is_some_and(|url| url.scheme() == "http"));
        let agent = format!(
            "larder/{} (run {})",
            env!("CARGO_PKG_VERSION"),
            self.run_id()
        );
        if let Ok(agent) = HeaderValue::from_str(&agent) {
            client = client.with_user_agent(agent);
        }
        if let Some(pem) = &self.ca_bundle {
            client = client.with_no_system_certificates(true);
            for certificate in Certificate::from_pem_bundle(pem).map_err(unusable)? {
                client = client.with_root_certificate(certificate);
            }
        }
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(name)
            .with_region(self.region())
            .with_credentials(Arc::new(Bridge {
                session: self.clone(),
                subject: format!("s3://{name}"),
            }))
            .with_client_options(client)
            // Not every server that speaks like S3 has DeleteObjects.
            .with_disable_bulk_delete(true)
            // The bytes are named by their SHA-256, and the server is to hold what it got against that.
            .with_checksum_algorithm(Checksum::SHA256)
            .with_retry(RetryConfig {
                backoff: BackoffConfig::default(),
                max_retries: usize::try_from(self.retry().max_attempts() - 1).unwrap_or(7),
                retry_timeout: RETRY_LIMIT,
            })
            // An emulator or another server rarely has a host name for each bucket.
            .with_virtual_hosted_style_request(endpoint.is_none() && !name.contains('.'));
        if let Some(endpoint) = endpoint {
            builder = builder.with_endpoint(endpoint.as_str().trim_end_matches('/'));
        }
        if let Some(key) = &options.kms_key {
            builder = builder.with_sse_kms_encryption(key);
        }
        Ok(Arc::new(builder.build().map_err(unusable)?))
    }
}

fn unusable(e: object_store::Error) -> Error {
    Error::new(ErrorKind::Usage, "the bucket's client cannot be set up").because(e)
}

/// The session's credentials, in another crate's words; kept and renewed as for presigned URLs.
struct Bridge {
    session: Session,
    subject: String,
}

impl std::fmt::Debug for Bridge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bridge").finish_non_exhaustive()
    }
}

#[async_trait]
impl CredentialProvider for Bridge {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let found = self.session.signers.current(&self.session, &self.subject);
        let found = found
            .await
            .map_err(|e| object_store::Error::Unauthenticated {
                path: self.subject.clone(),
                source: Box::new(e),
            })?;
        Ok(Arc::new(AwsCredential {
            key_id: found.access_key_id().to_owned(),
            secret_key: found.secret_access_key().to_owned(),
            token: found.session_token().map(ToOwned::to_owned),
        }))
    }
}
