//! The state behind the endpoints: functions, layers, objects, signed URLs and roles.

use super::clock::{Clock, lambda_time, lock};
use super::log::Log;
use super::storage::{Object, Package, Signed};
use super::when::Rule;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// Account, region, name.
pub(crate) type FunctionKey = (String, String, String);

/// What all connections share.
#[derive(Default)]
pub(crate) struct Shared {
    pub world: Mutex<World>,
    pub rules: Mutex<Vec<Rule>>,
    pub log: Log,
    pub clock: Clock,
}

impl Shared {
    pub fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.world)
    }
}

/// The handle that each connection holds.
pub(crate) type SharedRef = Arc<Shared>;

#[derive(Default)]
pub(crate) struct World {
    pub functions: BTreeMap<FunctionKey, FunctionState>,
    /// By layer version ARN.
    pub layers: BTreeMap<String, LayerState>,
    /// By decoded path, with its leading slash.
    pub objects: HashMap<String, Object>,
    /// By the signature in the URL.
    pub signed: HashMap<String, Signed>,
    /// Access key id to what it may do.
    pub keys: HashMap<String, Key>,
    /// Access keys that `AssumeRole` gave out, and for which role.
    pub assumed: HashMap<String, String>,
    /// Roles that need an external id.
    pub external_ids: HashMap<String, String>,
    /// Answers of side reads: operation, function ARN (or empty), qualifier.
    pub sides: HashMap<(String, String, String), Value>,
    /// Region and stack to logical id, type and physical id of each resource.
    pub stacks: BTreeMap<(String, String), Vec<[String; 3]>>,
    /// The regions that are enabled for every account.
    pub regions: Vec<String>,
    pub url_lifetime: Duration,
    /// Where presigned URLs point to; the endpoint itself when `None`.
    pub objects_at: Option<String>,
    /// Bytes a second of one connection's object bodies.
    pub connection_rate: Option<u64>,
    /// Repositories of the registry, by name.
    pub repositories: HashMap<String, super::registry::Repository>,
    /// Tokens for the registry that were handed out.
    pub tokens: HashMap<String, super::registry::Token>,
    /// How long a token of ECR's is good for; 12 hours when `None`.
    pub token_lifetime: Option<jiff::SignedDuration>,
    /// Uploads in parts that are not complete, by id.
    pub uploads: HashMap<String, super::s3_write::Upload>,
    /// How long creations and updates take.
    pub settle_after: Duration,
    /// Roles that Lambda cannot assume.
    pub roles_gone: std::collections::BTreeSet<String>,
    /// What tags of images lead to.
    pub tags_of_images: HashMap<String, String>,
    /// Time that every answer takes.
    pub latency: Duration,
    /// Calls a second that Lambda's control plane takes before it answers 429.
    pub call_limit: Option<CallLimit>,
}

/// What happens to a call signed with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// Everything is allowed.
    Valid,
    /// 403 `UnrecognizedClientException`: no such key.
    Unrecognized,
    /// 403 `ExpiredTokenException`: the session ended.
    Expired,
    /// 403 `AccessDeniedException`: no policy allows it.
    Denied,
    /// 403 `InvalidSignatureException`: the secret is wrong.
    BadSignature,
}

/// A token bucket.
pub(crate) struct CallLimit {
    pub per_second: f64,
    pub left: f64,
    pub at: std::time::Instant,
}

impl CallLimit {
    pub fn take(&mut self) -> bool {
        let now = std::time::Instant::now();
        let earned = now.duration_since(self.at).as_secs_f64() * self.per_second;
        self.left = (self.left + earned).min(self.per_second.max(1.0));
        self.at = now;
        let allowed = self.left >= 1.0;
        if allowed {
            self.left -= 1.0;
        }
        allowed
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Code {
    Zip(Package),
    Image {
        uri: String,
        digest: String,
    },
    /// Self-managed storage: bucket, key, object version.
    Reference(String, String, String),
}

#[derive(Debug, Clone)]
pub(crate) struct Version {
    pub configuration: Map<String, Value>,
    pub code: Code,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Alias {
    pub version: String,
    pub weights: BTreeMap<String, f64>,
    pub description: String,
    pub revision: String,
}

/// When code is swapped under a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// After this many answers to `GetFunction` for the function, counted from now (1: after the next one).
    AfterGetFunction(u64),
    /// When the next GET of a package of the function starts, before its first byte.
    ObjectStarts,
    /// When a GET of a package of the function has passed this byte of the object.
    ObjectBytes(u64),
}

pub(crate) struct Swap {
    pub trigger: Trigger,
    pub zip: Bytes,
}

/// The `Location` that is stated.
#[derive(Debug, Default, Clone)]
pub(crate) enum Stated {
    /// A fresh presigned URL.
    #[default]
    Presigned,
    Absent,
    Other(String),
}

impl From<Option<&str>> for Stated {
    fn from(url: Option<&str>) -> Self {
        url.map_or(Self::Absent, |url| Self::Other(url.to_owned()))
    }
}

/// How a function's `GetFunction` answer departs from its state.
#[derive(Default, Clone)]
pub(crate) struct Departures {
    pub code_error: Option<(String, String)>,
    pub tags_error: Option<(String, String)>,
    pub location: Stated,
    pub resolved: Option<(String, String, String)>,
    pub patch: Option<super::fault::JsonPatch>,
    pub raw: Option<Bytes>,
}

pub(crate) struct FunctionState {
    pub key: FunctionKey,
    pub latest: Version,
    pub published: BTreeMap<u64, Version>,
    pub aliases: BTreeMap<String, Alias>,
    pub tags: BTreeMap<String, String>,
    pub concurrency: Option<u64>,
    pub departures: Departures,
    pub swaps: Vec<Swap>,
    pub master_region: Option<String>,
    /// A change that is under way.
    pub settling: Option<super::write::Settling>,
    /// Why the next update fails after it was taken.
    pub fail_next: Option<String>,
    /// The highest version number that was given out.
    pub numbered: u64,
}

impl FunctionState {
    pub fn arn(&self) -> String {
        let (account, region, name) = &self.key;
        format!(
            "arn:{}:lambda:{region}:{account}:function:{name}",
            partition(region)
        )
    }

    /// The version number behind a qualifier (version, alias or `$LATEST`), and that version.
    pub fn resolve(&self, qualifier: Option<&str>) -> Option<(String, &Version)> {
        let number = match qualifier {
            None | Some("$LATEST") => return Some(("$LATEST".into(), &self.latest)),
            Some("$LATEST.PUBLISHED") => *self.published.last_key_value()?.0,
            Some(qualifier) => match self.aliases.get(qualifier) {
                Some(alias) if alias.version == "$LATEST" => {
                    return Some(("$LATEST".into(), &self.latest));
                }
                Some(alias) => alias.version.parse().ok()?,
                None => qualifier.parse().ok()?,
            },
        };
        self.published
            .get(&number)
            .map(|version| (number.to_string(), version))
    }

    /// The configuration as the API gives it for this version under this qualifier.
    pub fn configuration(
        &self,
        number: &str,
        qualifier: Option<&str>,
    ) -> Option<Map<String, Value>> {
        let (_, version) = self.resolve(Some(number))?;
        let mut configuration = version.configuration.clone();
        let arn = self.arn();
        let arn = qualifier.map_or(arn.clone(), |qualifier| format!("{arn}:{qualifier}"));
        configuration.insert("FunctionArn".into(), json!(arn));
        configuration.insert("Version".into(), json!(number));
        Some(configuration)
    }

    /// The pending swaps that this trigger sets off, taken out.
    pub fn take_swaps(&mut self, mut due: impl FnMut(&mut Trigger) -> bool) -> Vec<Bytes> {
        let mut taken = Vec::new();
        self.swaps.retain_mut(|swap| {
            let now = due(&mut swap.trigger);
            if now {
                taken.push(swap.zip.clone());
            }
            !now
        });
        taken
    }
}

pub(crate) struct LayerState {
    pub answer: Map<String, Value>,
    pub package: Package,
    pub region: String,
    pub denied: bool,
    pub location: Stated,
}

/// Standard base64 of the SHA-256 of some bytes: what Lambda calls `CodeSha256`.
#[must_use]
pub fn code_sha256(bytes: &[u8]) -> String {
    STANDARD.encode(Sha256::digest(bytes))
}

/// The ARN partition of a region.
pub(crate) fn partition(region: &str) -> &'static str {
    match region {
        _ if region.starts_with("cn-") => "aws-cn",
        _ if region.starts_with("us-gov-") => "aws-us-gov",
        _ if region.starts_with("eusc-") => "aws-eusc",
        _ => "aws",
    }
}

impl World {
    /// Gives `$LATEST` of a function new code; false when there is no such function.
    pub fn update_code(&mut self, key: &FunctionKey, zip: Bytes, now: Timestamp) -> bool {
        if !self.functions.contains_key(key) {
            return false;
        }
        let (sha256, size) = (code_sha256(&zip), zip.len());
        let package = self.put_package(&key.0, &key.2, zip, Some(key.clone()), now);
        let Some(function) = self.functions.get_mut(key) else {
            return false;
        };
        let configuration = &mut function.latest.configuration;
        configuration.insert("CodeSha256".into(), json!(sha256));
        configuration.insert("CodeSize".into(), json!(size));
        configuration.insert("LastModified".into(), json!(lambda_time(now)));
        configuration.insert("RevisionId".into(), json!(super::answer::request_uuid()));
        function.latest.code = Code::Zip(package);
        true
    }
}
