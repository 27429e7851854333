//! Layers: the two reads of a layer version, and the builder that makes one.

use super::answer::{Answer, LambdaError};
use super::call::{ACCOUNT, Call, account_of, caller_arn};
use super::clock::lambda_time;
use super::lambda::not_found;
use super::world::{LayerState, Shared, SharedRef, Stated, World, code_sha256, partition};
use bytes::Bytes;
use serde_json::{Map, Value, json};

/// Makes a layer version; start with [`crate::FakeAws::layer`].
#[must_use = "`create` makes the layer"]
pub struct LayerBuilder {
    shared: SharedRef,
    name: String,
    account: String,
    region: String,
    zip: Bytes,
    code_sha256: Option<String>,
    denied: bool,
    location: Stated,
}

impl LayerBuilder {
    pub(crate) fn new(shared: SharedRef, region: &str, name: &str) -> Self {
        Self {
            shared,
            name: name.to_owned(),
            account: ACCOUNT.to_owned(),
            region: region.to_owned(),
            zip: Bytes::new(),
            code_sha256: None,
            denied: false,
            location: Stated::Presigned,
        }
    }

    /// The layer's zip.
    pub fn zip(mut self, zip: impl Into<Bytes>) -> Self {
        self.zip = zip.into();
        self
    }

    /// The account that owns it, if not [`ACCOUNT`]. Foreign layers may be read unless [`Self::denied`].
    pub fn account(mut self, account: &str) -> Self {
        account.clone_into(&mut self.account);
        self
    }

    /// The region, if not the server's.
    pub fn region(mut self, region: &str) -> Self {
        region.clone_into(&mut self.region);
        self
    }

    /// Another `CodeSha256` than the zip's.
    pub fn code_sha256(mut self, digest: &str) -> Self {
        self.code_sha256 = Some(digest.to_owned());
        self
    }

    /// Reading it is answered with 403.
    pub fn denied(mut self) -> Self {
        self.denied = true;
        self
    }

    /// Another `Location`, or (`None`) none.
    pub fn location(mut self, url: Option<&str>) -> Self {
        self.location = url.into();
        self
    }

    /// Publishes the next version of the layer and answers its ARN.
    #[must_use]
    pub fn create(self) -> String {
        let now = self.shared.clock.now();
        let mut world = self.shared.world();
        let layer_arn = format!(
            "arn:{}:lambda:{}:{}:layer:{}",
            partition(&self.region),
            self.region,
            self.account,
            self.name
        );
        let number = next_number(&world, &layer_arn);
        let arn = format!("{layer_arn}:{number}");
        let digest = self.code_sha256.unwrap_or_else(|| code_sha256(&self.zip));
        let size = self.zip.len();
        let package = world.put_package(&self.account, &self.name, self.zip, None, now);
        let answer = json!({
            "Content": { "CodeSha256": digest, "CodeSize": size },
            "LayerArn": layer_arn,
            "LayerVersionArn": arn,
            "Description": "",
            "CreatedDate": lambda_time(now),
            "Version": number,
            "CompatibleRuntimes": ["python3.13"],
            "CompatibleArchitectures": ["x86_64"],
            "LicenseInfo": "Apache-2.0",
        });
        let Value::Object(answer) = answer else {
            return arn;
        };
        world.layers.insert(
            arn.clone(),
            LayerState {
                answer,
                package,
                region: self.region,
                denied: self.denied,
                location: self.location,
            },
        );
        arn
    }
}

/// The number of the next version of a layer.
pub(crate) fn next_number(world: &super::world::World, layer_arn: &str) -> u64 {
    let prefix = format!("{layer_arn}:");
    let numbers = world.layers.keys();
    let numbers = numbers.filter_map(|arn| arn.strip_prefix(&prefix)?.parse::<u64>().ok());
    1 + numbers.max().unwrap_or(0)
}

/// `ListLayers`: the layers of the caller's account.
pub(crate) fn list_layers(shared: &Shared, call: &Call) -> Result<Answer, LambdaError> {
    let world = shared.world();
    let mut layers: Vec<Value> = Vec::new();
    for (layer, version) in own(&world, call) {
        let arn = &layer.answer["LayerArn"];
        layers.retain(|other| other["LayerArn"] != *arn);
        layers.push(json!({
            "LayerName": arn.as_str().and_then(|arn| arn.rsplit(':').next()),
            "LayerArn": arn,
            "LatestMatchingVersion": version,
        }));
    }
    super::lists::page(call, "Layers", layers)
}

/// `ListLayerVersions`, by name or ARN of the layer.
pub(crate) fn list_layer_versions(shared: &Shared, call: &Call) -> Result<Answer, LambdaError> {
    let world = shared.world();
    let wanted = call.argument(0);
    let versions = own(&world, call).filter(|(layer, _)| {
        let arn = layer.answer["LayerArn"].as_str().unwrap_or_default();
        arn == wanted || arn.rsplit(':').next() == Some(wanted)
    });
    let mut versions: Vec<Value> = versions.map(|(_, version)| version).collect();
    // The newest comes first.
    versions.sort_by_key(|version| std::cmp::Reverse(version["Version"].as_u64()));
    super::lists::page(call, "LayerVersions", versions)
}

/// The layer versions of the caller's account, each as a list gives it.
fn own<'a>(world: &'a World, call: &Call) -> impl Iterator<Item = (&'a LayerState, Value)> {
    let account = account_of(world, call.access_key());
    let region = call.region().to_owned();
    let here = world.layers.iter().filter(move |(arn, layer)| {
        arn.split(':').nth(4) == Some(account.as_str()) && layer.region == region
    });
    here.map(|(_, layer)| {
        let mut version = layer.answer.clone();
        version.remove("Content");
        version.remove("LayerArn");
        (layer, Value::Object(version))
    })
}

/// `GetLayerVersionByArn`; the same path without `find` is `ListLayers`.
pub(crate) fn get_by_arn(shared: &Shared, call: &Call) -> Result<Answer, LambdaError> {
    match call.message.query_value("Arn") {
        Some(arn) if call.message.query_value("find").as_deref() == Some("LayerVersion") => {
            answer(shared, call, &arn)
        }
        _ => Err(LambdaError::new(
            400,
            "ValidationException",
            "the fake serves this path with find=LayerVersion and Arn only",
        )),
    }
}

/// `GetLayerVersion`, by name or layer ARN, and number.
pub(crate) fn get_by_number(shared: &Shared, call: &Call) -> Result<Answer, LambdaError> {
    let (layer, number) = (call.argument(0), call.argument(1));
    let arn = if layer.starts_with("arn:") {
        format!("{layer}:{number}")
    } else {
        let region = call.region();
        let account = account_of(&shared.world(), call.access_key());
        format!(
            "arn:{}:lambda:{region}:{account}:layer:{layer}:{number}",
            partition(region)
        )
    };
    answer(shared, call, &arn)
}

fn answer(shared: &Shared, call: &Call, arn: &str) -> Result<Answer, LambdaError> {
    let now = shared.clock.now();
    let mut world = shared.world();
    let own = arn.split(':').nth(4) == Some(account_of(&world, call.access_key()).as_str());
    let layer = world.layers.get(arn);
    let readable = layer.is_some_and(|layer| !layer.denied && layer.region == call.region());
    let Some(layer) = layer.filter(|_| readable) else {
        // A foreign layer that is not there is answered as one that may not be read.
        let denied = layer.is_some_and(|layer| layer.denied);
        return Err(if own && !denied {
            not_found("The resource you requested does not exist.")
        } else {
            LambdaError::new(
                403,
                "AccessDeniedException",
                format!(
                    "User: {} is not authorized to perform: lambda:GetLayerVersion on resource: {arn} because no resource-based policy allows the lambda:GetLayerVersion action",
                    caller_arn(&world, call.access_key())
                ),
            )
        });
    };
    let mut body: Map<String, Value> = layer.answer.clone();
    let (package, location) = (layer.package.clone(), layer.location.clone());
    let url = match location {
        Stated::Other(url) => Some(url),
        Stated::Absent => None,
        Stated::Presigned => Some(world.presign(call.base, &package, call.region(), now)),
    };
    if let (Some(url), Some(content)) =
        (url, body.get_mut("Content").and_then(Value::as_object_mut))
    {
        content.insert("Location".into(), json!(url));
    }
    Ok(Answer::json(200, &Value::Object(body)))
}
