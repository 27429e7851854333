//! Where a store is and whose credentials reach it: the options of all commands that use one.

#![expect(
    clippy::doc_markdown,
    reason = "doc comments of options are their help, shown as they are"
)]

use clap::Args;

use super::Context;
use crate::aws::{BucketOptions, Session, SessionOptions};
use crate::error::Result;
use crate::store::{Location, Store};

/// Which store.
#[derive(Debug, Args)]
pub struct StoreArgs {
    /// The store: a directory, file:///path, or s3://bucket/prefix
    #[arg(long, value_name = "URL")]
    pub store: String,

    /// Profile for the store [default: the caller's]
    #[arg(long, value_name = "NAME")]
    pub store_profile: Option<String>,

    /// Role to assume for the store; without it the caller's own credentials, before --role-arn
    #[arg(long, value_name = "ARN", value_parser = super::args::role)]
    pub store_role_arn: Option<String>,

    /// Region of the store's bucket [default: the caller's]
    #[arg(long, value_name = "REGION", value_parser = super::args::region)]
    pub store_region: Option<String>,

    /// Endpoint of an S3-compatible server [default: AWS_ENDPOINT_URL_S3]
    #[arg(long, value_name = "URL", value_parser = super::args::endpoint)]
    pub store_endpoint_url: Option<String>,

    /// KMS key that encrypts what is put into a bucket [default: as the bucket says]
    #[arg(long, value_name = "KEY")]
    pub store_kms_key: Option<String>,
}

impl StoreArgs {
    /// Opens the store, or with `create` makes the directory for one.
    pub async fn open(&self, context: &Context, create: bool) -> Result<Store> {
        let location: Location = self.store.parse()?;
        match &location {
            Location::Directory(path) => Store::directory(path, create),
            Location::Bucket { bucket, prefix } => {
                let session = Session::connect(&self.session(context), None).await?;
                let options = BucketOptions {
                    endpoint_url: self.store_endpoint_url.clone(),
                    kms_key: self.store_kms_key.clone(),
                };
                let objects = session.bucket(bucket, &options)?;
                Ok(Store::bucket(objects, prefix, &location.to_string()))
            }
        }
    }

    fn session(&self, context: &Context) -> SessionOptions {
        let common = &context.settings.session;
        SessionOptions {
            profile: self.store_profile.clone().or(common.profile.clone()),
            role_arn: self.store_role_arn.clone(),
            external_id: None,
            region: self.store_region.clone().or(common.region.clone()),
            endpoint_url: None,
            ..common.clone()
        }
    }
}
