//! Making functions.

use super::call::ACCOUNT;
use super::describe::{configuration, describe_code};
use super::function::Function;
use super::storage::Access;
use super::world::{
    Alias, Code, Departures, FunctionKey, FunctionState, SharedRef, Version, World, code_sha256,
    partition,
};
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::BTreeMap;

enum Source {
    Zip(Bytes),
    Image {
        uri: String,
        digest: String,
    },
    Reference {
        bucket: String,
        key: String,
        zip: Bytes,
    },
}

/// Makes a function; start with [`crate::FakeAws::function`]. Without [`zip`](Self::zip) or
/// [`image`](Self::image) it is a zip function whose package has no entries.
#[must_use = "`create` makes the function"]
pub struct FunctionBuilder {
    shared: SharedRef,
    key: FunctionKey,
    source: Source,
    versions: Vec<Bytes>,
    publish: bool,
    aliases: BTreeMap<String, Alias>,
    tags: BTreeMap<String, String>,
    concurrency: Option<u64>,
    code_sha256: Option<String>,
    code_size: Option<u64>,
    changes: Vec<(String, Value)>,
    environment: BTreeMap<String, String>,
    environment_error: Option<Value>,
    layers: Vec<String>,
    departures: Departures,
    master_region: Option<String>,
}

impl FunctionBuilder {
    pub(crate) fn new(shared: SharedRef, region: &str, name: &str) -> Self {
        Self {
            shared,
            key: (ACCOUNT.to_owned(), region.to_owned(), name.to_owned()),
            source: Source::Zip(crate::zip::ZipBuilder::new().build().into()),
            versions: Vec::new(),
            publish: false,
            aliases: BTreeMap::new(),
            tags: BTreeMap::new(),
            concurrency: None,
            code_sha256: None,
            code_size: None,
            changes: Vec::new(),
            environment: BTreeMap::new(),
            environment_error: None,
            layers: Vec::new(),
            departures: Departures::default(),
            master_region: None,
        }
    }

    /// The package of `$LATEST`.
    pub fn zip(mut self, zip: impl Into<Bytes>) -> Self {
        self.source = Source::Zip(zip.into());
        self
    }

    /// An image function: the image reference and its digest (`sha256:<hex>`).
    pub fn image(mut self, uri: &str, digest: &str) -> Self {
        self.source = Source::Image {
            uri: uri.to_owned(),
            digest: digest.to_owned(),
        };
        self
    }

    /// Self-managed storage: no `Location`, but `ResolvedS3Object`. The zip is put into that bucket, readable with
    /// signed requests.
    pub fn reference(mut self, bucket: &str, key: &str, zip: impl Into<Bytes>) -> Self {
        self.source = Source::Reference {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            zip: zip.into(),
        };
        self
    }

    /// A published version with this package; versions are numbered from 1 in the order given.
    pub fn version(mut self, zip: impl Into<Bytes>) -> Self {
        self.versions.push(zip.into());
        self
    }

    /// Publishes `$LATEST` as the next version, after all [`version`](Self::version)s.
    pub fn publish(mut self) -> Self {
        self.publish = true;
        self
    }

    /// An alias of a version number (or `$LATEST`).
    pub fn alias(self, name: &str, version: &str) -> Self {
        self.weighted_alias(name, version, &[])
    }

    /// An alias with a routing configuration: further versions with the weight that each gets.
    pub fn weighted_alias(mut self, name: &str, version: &str, weights: &[(&str, f64)]) -> Self {
        let weights = weights
            .iter()
            .map(|(version, weight)| ((*version).to_owned(), *weight))
            .collect();
        let alias = Alias {
            version: version.to_owned(),
            weights,
            description: String::new(),
            revision: super::answer::request_uuid(),
        };
        self.aliases.insert(name.to_owned(), alias);
        self
    }

    /// The account that owns it, if not [`ACCOUNT`].
    pub fn account(mut self, account: &str) -> Self {
        account.clone_into(&mut self.key.0);
        self
    }

    /// The region, if not the server's.
    pub fn region(mut self, region: &str) -> Self {
        region.clone_into(&mut self.key.1);
        self
    }

    /// `Runtime`.
    pub fn runtime(self, runtime: &str) -> Self {
        self.set("Runtime", json!(runtime))
    }

    /// One environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// A layer by its version ARN.
    pub fn layer(mut self, arn: &str) -> Self {
        self.layers.push(arn.to_owned());
        self
    }

    /// One tag.
    pub fn tag(mut self, key: &str, value: &str) -> Self {
        self.tags.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Reserved concurrency.
    pub fn concurrency(mut self, reserved: u64) -> Self {
        self.concurrency = Some(reserved);
        self
    }

    /// Any field of `Configuration`, as it shall be.
    pub fn set(mut self, field: &str, value: Value) -> Self {
        self.changes.push((field.to_owned(), value));
        self
    }

    /// Another `CodeSha256` for `$LATEST` than the package's.
    pub fn code_sha256(mut self, digest: &str) -> Self {
        self.code_sha256 = Some(digest.to_owned());
        self
    }

    /// Another `CodeSize` for `$LATEST` than the package's, in bytes.
    pub fn code_size(mut self, size: u64) -> Self {
        self.code_size = Some(size);
        self
    }

    /// Another `Code.Location`, or (`None`) none.
    pub fn location(mut self, url: Option<&str>) -> Self {
        self.departures.location = url.into();
        self
    }

    /// `Code.Error` in the place of the code.
    pub fn code_error(mut self, code: &str, message: &str) -> Self {
        self.departures.code_error = Some((code.to_owned(), message.to_owned()));
        self
    }

    /// `TagsError` in the place of the tags.
    pub fn tags_error(mut self, code: &str, message: &str) -> Self {
        self.departures.tags_error = Some((code.to_owned(), message.to_owned()));
        self
    }

    /// `Environment.Error` in the place of the variables.
    pub fn environment_error(mut self, code: &str, message: &str) -> Self {
        self.environment_error = Some(sub_error(code, message));
        self
    }

    /// `ImageConfigResponse.Error`.
    pub fn image_config_error(self, code: &str, message: &str) -> Self {
        self.set("ImageConfigResponse", sub_error(code, message))
    }

    /// `RuntimeVersionConfig.Error`.
    pub fn runtime_version_error(self, code: &str, message: &str) -> Self {
        self.set("RuntimeVersionConfig", sub_error(code, message))
    }

    /// `Code.ResolvedS3Object`, whether or not the object exists.
    pub fn resolved_s3_object(mut self, bucket: &str, key: &str, version: &str) -> Self {
        self.departures.resolved = Some((bucket.to_owned(), key.to_owned(), version.to_owned()));
        self
    }

    /// Makes it a Lambda@Edge replica of a function in this region.
    pub fn replica_of(mut self, region: &str, master_arn: &str) -> Self {
        self.master_region = Some(region.to_owned());
        self.set("MasterArn", json!(master_arn))
    }

    /// Makes the function.
    pub fn create(self) -> Function {
        let now = self.shared.clock.now();
        let mut world = self.shared.world();
        let (account, region, name) = &self.key;
        let mut base = configuration(&self.key, now);
        if !self.environment.is_empty() {
            base.insert(
                "Environment".into(),
                json!({ "Variables": self.environment }),
            );
        }
        if let Some(error) = self.environment_error {
            base.insert("Environment".into(), error);
        }
        let layers = layer_list(&world, &self.layers);
        if !layers.is_empty() {
            base.insert("Layers".into(), Value::Array(layers));
        }
        let owner = Some(self.key.clone());
        let mut published = BTreeMap::new();
        for (number, zip) in (1_u64..).zip(self.versions) {
            let (digest, size) = (code_sha256(&zip), zip.len() as u64);
            let package = world.put_package(account, name, zip, owner.clone(), now);
            let mut version = Version {
                configuration: base.clone(),
                code: Code::Zip(package),
            };
            describe_code(&mut version, &digest, size);
            version
                .configuration
                .insert("RevisionId".into(), json!(super::answer::request_uuid()));
            published.insert(number, version);
        }
        let (code, digest, size) = match self.source {
            Source::Zip(zip) => {
                let (digest, size) = (code_sha256(&zip), zip.len() as u64);
                let package = world.put_package(account, name, zip, owner, now);
                (Code::Zip(package), digest, size)
            }
            Source::Image { uri, digest } => {
                let hex = digest.trim_start_matches("sha256:").to_owned();
                (Code::Image { uri, digest }, hex, 0)
            }
            Source::Reference { bucket, key, zip } => {
                let (digest, size) = (code_sha256(&zip), zip.len() as u64);
                let version =
                    world.put(&format!("/{bucket}/{key}"), zip, Access::Private, None, now);
                base.insert("S3ObjectStorageMode".into(), json!("REFERENCE"));
                (Code::Reference(bucket, key, version), digest, size)
            }
        };
        let mut latest = Version {
            configuration: base,
            code,
        };
        describe_code(
            &mut latest,
            &self.code_sha256.unwrap_or(digest),
            self.code_size.unwrap_or(size),
        );
        for (field, value) in self.changes {
            for version in published.values_mut() {
                version.configuration.insert(field.clone(), value.clone());
            }
            latest.configuration.insert(field, value);
        }
        if self.publish {
            let next = published.last_key_value().map_or(1, |(last, _)| last + 1);
            published.insert(next, latest.clone());
        }
        let function = FunctionState {
            key: self.key.clone(),
            latest,
            published,
            aliases: self.aliases,
            tags: self.tags,
            concurrency: self.concurrency,
            departures: self.departures,
            swaps: Vec::new(),
            master_region: self.master_region,
            settling: None,
            fail_next: None,
            numbered: 0,
        };
        let arn = format!(
            "arn:{}:lambda:{region}:{account}:function:{name}",
            partition(region)
        );
        world.functions.insert(self.key.clone(), function);
        drop(world);
        Function {
            shared: self.shared,
            key: self.key,
            arn,
        }
    }
}

/// `Configuration.Layers`; a layer that the server does not have gets some size.
fn layer_list(world: &World, arns: &[String]) -> Vec<Value> {
    arns.iter()
        .map(|arn| {
            let size = world
                .layers
                .get(arn)
                .and_then(|layer| layer.answer["Content"]["CodeSize"].as_u64());
            json!({ "Arn": arn, "CodeSize": size.unwrap_or(1) })
        })
        .collect()
}

fn sub_error(code: &str, message: &str) -> Value {
    json!({ "Error": { "ErrorCode": code, "Message": message } })
}
