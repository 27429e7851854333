//! The embedded AWS: Lambda, STS and S3-like storage over real HTTP on loopback, with faults at will.

mod answer;
mod builder;
mod call;
mod clock;
mod delivery;
mod describe;
mod fault;
mod function;
mod lambda;
mod layer;
mod lists;
mod log;
mod registry;
mod s3;
mod s3_write;
mod server;
mod services;
mod side;
mod stack;
mod storage;
mod sts;
#[cfg(test)]
mod tests;
mod when;
mod wire;
mod world;
mod write;

pub use answer::{LambdaError, S3Error};
pub use builder::FunctionBuilder;
pub use call::ACCOUNT;
pub use fault::{Cut, Fault, JsonPatch};
pub use function::Function;
pub use layer::LayerBuilder;
pub use log::Request;
pub use registry::Login;
pub use when::{On, When};
pub use world::{Key, Trigger, code_sha256};

use bytes::Bytes;
use clock::lock;
use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::time::{Duration, Instant};
use storage::Access;
use tokio::runtime::Runtime;
use world::{CallLimit, Shared, SharedRef};

/// Stands in every secret that the server hands out or expects: signatures and tokens in URLs, secret keys, session
/// tokens. A leak test looks for it in everything that a program wrote.
pub const SECRET_MARKER: &str = "LARDERSECRETMARKER";

/// The region of functions and layers, and of the environment, unless a test says otherwise.
pub const REGION: &str = "us-east-1";

/// An AWS that runs in this process until it is dropped. It has its own threads, so that blocking callers can use it,
/// and may be started and dropped within a runtime too.
///
/// ```
/// use larder_testkit::{FakeAws, On, Fault, packages};
///
/// let aws = FakeAws::start();
/// aws.function("hello").zip(packages::python_package().zip()).alias("live", "1").publish().create();
/// aws.fault(On::Object, Fault::rst(1000)); // the first GET of a package breaks after 1,000 bytes
/// // ... run a program with `aws.env()`, then:
/// assert_eq!(aws.count("GetFunction"), 0);
/// ```
pub struct FakeAws {
    shared: SharedRef,
    endpoint: String,
    /// Gone only while dropping.
    runtime: Option<Runtime>,
}

impl FakeAws {
    /// Starts the server on a free port of 127.0.0.1.
    ///
    /// # Panics
    /// When the machine gives neither a thread nor a port.
    #[must_use]
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("fake-aws")
            .enable_all()
            .build()
            .expect("a runtime can be started");
        let shared = SharedRef::default();
        {
            let mut world = shared.world();
            world.url_lifetime = Duration::from_mins(10);
            world.regions.push(REGION.to_owned());
            for key in [
                Key::Unrecognized,
                Key::Expired,
                Key::Denied,
                Key::BadSignature,
            ] {
                world.keys.insert(access_key(key).to_owned(), key);
            }
        }
        let endpoint = listen(&runtime, &shared, "127.0.0.1");
        Self {
            shared,
            endpoint,
            runtime: Some(runtime),
        }
    }

    /// `http://127.0.0.1:PORT`, for Lambda, STS and S3 alike. It serves as a plain HTTP proxy to itself too.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Listens on a further loopback address (`127.0.0.2` on Linux), on a port of its own; answers its URL. The same
    /// world answers there.
    ///
    /// # Panics
    /// When the address cannot be bound.
    pub fn listen_on(&self, host: &str) -> String {
        match &self.runtime {
            Some(runtime) => listen(runtime, &self.shared, host),
            None => unreachable!("the runtime is gone only while dropping"),
        }
    }

    /// The environment that a child process needs, with a key for which everything is allowed.
    #[must_use]
    pub fn env(&self) -> Vec<(String, String)> {
        self.env_as(Key::Valid)
    }

    /// The same, with a key that earns the given answer.
    #[must_use]
    pub fn env_as(&self, key: Key) -> Vec<(String, String)> {
        let nowhere = if cfg!(windows) { "NUL" } else { "/dev/null" };
        [
            ("AWS_ACCESS_KEY_ID", access_key(key).to_owned()),
            ("AWS_SECRET_ACCESS_KEY", format!("{SECRET_MARKER}secretkey")),
            ("AWS_SESSION_TOKEN", format!("{SECRET_MARKER}sessiontoken")),
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_DEFAULT_REGION", REGION.to_owned()),
            ("AWS_ENDPOINT_URL", self.endpoint.clone()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("AWS_CONFIG_FILE", nowhere.to_owned()),
            ("AWS_SHARED_CREDENTIALS_FILE", nowhere.to_owned()),
            (
                "NO_PROXY",
                "127.0.0.0/8,127.0.0.1,127.0.0.2,localhost".to_owned(),
            ),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }

    /// Says what calls signed with an access key id get. A key that was never mentioned is valid.
    pub fn key(&self, access_key_id: &str, answer: Key) {
        self.shared
            .world()
            .keys
            .insert(access_key_id.to_owned(), answer);
    }

    /// A role that can be assumed only with this external id. Every other role can be assumed by anybody.
    pub fn role(&self, role_arn: &str, external_id: &str) {
        self.shared
            .world()
            .external_ids
            .insert(role_arn.to_owned(), external_id.to_owned());
    }

    /// Enables these regions for every account, beside the default one.
    pub fn regions(&self, names: &[&str]) {
        let names = names.iter().map(ToString::to_string);
        self.shared.world().regions.extend(names);
    }

    /// Begins a function.
    pub fn function(&self, name: &str) -> FunctionBuilder {
        FunctionBuilder::new(Arc::clone(&self.shared), REGION, name)
    }

    /// Begins a layer version.
    pub fn layer(&self, name: &str) -> LayerBuilder {
        LayerBuilder::new(Arc::clone(&self.shared), REGION, name)
    }

    /// How long creations and updates stay `Pending` and `InProgress`; no time at all at the start.
    pub fn settle_after(&self, time: Duration) {
        self.shared.world().settle_after = time;
    }

    /// A role that Lambda cannot assume, because it was deleted.
    pub fn role_gone(&self, arn: &str) {
        self.shared.world().roles_gone.insert(arn.to_owned());
    }

    /// What a tag of an image leads to, for functions made with it: `REPOSITORY:TAG` and `sha256:<hex>`.
    pub fn image_tag(&self, uri: &str, digest: &str) {
        let mut world = self.shared.world();
        world
            .tags_of_images
            .insert(uri.to_owned(), digest.to_owned());
    }

    /// The bytes of an object, if it is there.
    #[must_use]
    pub fn object_bytes(&self, bucket: &str, key: &str) -> Option<Bytes> {
        let world = self.shared.world();
        let object = world.objects.get(&format!("/{bucket}/{key}"))?;
        object.versions.last().map(|version| version.bytes.clone())
    }

    /// The keys in a bucket, sorted.
    #[must_use]
    pub fn keys_in(&self, bucket: &str) -> Vec<String> {
        let world = self.shared.world();
        let prefix = format!("/{bucket}/");
        let keys = world
            .objects
            .keys()
            .filter_map(|path| path.strip_prefix(&prefix));
        let mut keys: Vec<String> = keys.map(str::to_owned).collect();
        keys.sort();
        keys
    }

    /// A function that exists, by name, in the default account and region.
    #[must_use]
    pub fn existing(&self, name: &str) -> Option<Function> {
        self.existing_in(ACCOUNT, REGION, name)
    }

    /// The same in another account or region.
    #[must_use]
    pub fn existing_in(&self, account: &str, region: &str, name: &str) -> Option<Function> {
        let key = (account.to_owned(), region.to_owned(), name.to_owned());
        let arn = self.shared.world().functions.get(&key)?.arn();
        Some(Function {
            shared: Arc::clone(&self.shared),
            key,
            arn,
        })
    }

    /// Deletes a layer version: it stays listed on functions and answers 404 (403 for a foreign account's).
    pub fn delete_layer(&self, arn: &str) {
        self.shared.world().layers.remove(arn);
    }

    /// The answer of a side read that belongs to no function, for example `ListEventSourceMappings`.
    pub fn side(&self, operation: &str, answer: serde_json::Value) {
        self.shared
            .world()
            .sides
            .insert((operation.to_owned(), String::new(), String::new()), answer);
    }

    /// A resource of a CloudFormation stack, which is made with its first one. `stack` is its name, or a nested one's id;
    /// an empty `physical_id` is a resource that is not made yet.
    pub fn stack_resource(&self, stack: &str, logical_id: &str, kind: &str, physical_id: &str) {
        self.stack_resource_in(REGION, stack, logical_id, kind, physical_id);
    }

    /// The same in another region.
    pub fn stack_resource_in(
        &self,
        region: &str,
        stack: &str,
        logical_id: &str,
        kind: &str,
        physical_id: &str,
    ) {
        let key = (region.to_owned(), stack.to_owned());
        let resource = [logical_id, kind, physical_id].map(str::to_owned);
        self.shared
            .world()
            .stacks
            .entry(key)
            .or_default()
            .push(resource);
    }

    /// Puts an object that takes a signed request; answers its version id. It is at `/BUCKET/KEY`.
    pub fn object(&self, bucket: &str, key: &str, bytes: impl Into<Bytes>) -> String {
        self.put(bucket, key, bytes.into(), Access::Private)
    }

    /// Puts an object that anybody may read; answers its URL.
    pub fn public_object(&self, bucket: &str, key: &str, bytes: impl Into<Bytes>) -> String {
        self.put(bucket, key, bytes.into(), Access::Public);
        format!("{}/{bucket}/{key}", self.endpoint)
    }

    fn put(&self, bucket: &str, key: &str, bytes: Bytes, access: Access) -> String {
        let now = self.shared.clock.now();
        self.shared
            .world()
            .put(&format!("/{bucket}/{key}"), bytes, access, None, now)
    }

    /// Puts an image into a repository of the registry, which then asks whoever pulls for this login. Answers the name by
    /// which a function states it, without a digest: of ECR's, one of its host names (a client finds this server as the
    /// `proxyEndpoint` of `GetAuthorizationToken`); of any other, this server's.
    pub fn push(&self, repository: &str, image: &crate::image::Image, login: Login) -> String {
        let host = if login == Login::Ecr {
            format!("{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com")
        } else {
            self.endpoint.trim_start_matches("http://").to_owned()
        };
        let now = self.shared.clock.now();
        self.shared.world().push(repository, image, login, now);
        format!("{host}/{repository}")
    }

    /// Lets a tag of a repository name what has this digest there, as `sha256:…`.
    pub fn tag_image(&self, repository: &str, tag: &str, digest: &str) {
        self.shared.world().name_image(repository, tag, digest);
    }

    /// Deletes a manifest or a blob of a repository.
    pub fn delete_image(&self, repository: &str, digest: &str) {
        self.shared.world().forget(repository, digest);
    }

    /// All registry tokens handed out so far have ended.
    pub fn expire_registry_tokens(&self) {
        for token in self.shared.world().tokens.values_mut() {
            token.until = jiff::Timestamp::MIN;
        }
    }

    /// How long ECR's tokens made from now on are good for, in whole seconds; 12 hours at the start.
    pub fn registry_token_lifetime(&self, lifetime: Duration) {
        self.shared.world().token_lifetime = jiff::SignedDuration::try_from(lifetime).ok();
    }

    /// How long presigned URLs made from now on live, in whole seconds; 600 s at the start. `X-Amz-Date` has whole
    /// seconds too, so a URL may end up to a second earlier than it seems.
    pub fn url_lifetime(&self, lifetime: Duration) {
        self.shared.world().url_lifetime = lifetime;
    }

    /// All presigned URLs handed out so far are expired from now on, whatever they say of themselves.
    pub fn expire_urls(&self) {
        for signed in self.shared.world().signed.values_mut() {
            signed.expired = true;
        }
    }

    /// The session token in all presigned URLs handed out so far has ended: 400 `ExpiredToken`.
    pub fn expire_tokens(&self) {
        for signed in self.shared.world().signed.values_mut() {
            signed.token_expired = true;
        }
    }

    /// Presigned URLs made from now on point to this base (`http://host:port`), as from [`Self::listen_on`].
    pub fn objects_at(&self, base: &str) {
        self.shared.world().objects_at = Some(base.to_owned());
    }

    /// Limits each connection's object bodies to so many bytes a second; `None` lifts the limit.
    pub fn connection_rate(&self, bytes_per_second: Option<u64>) {
        self.shared.world().connection_rate = bytes_per_second.map(|rate| rate.max(1));
    }

    /// Every answer comes this much later.
    pub fn latency(&self, time: Duration) {
        self.shared.world().latency = time;
    }

    /// Lambda answers 429 above so many calls a second (all operations together); `None` lifts the limit.
    pub fn call_limit(&self, per_second: Option<f64>) {
        self.shared.world().call_limit = per_second.map(|per_second| CallLimit {
            per_second,
            left: per_second.max(1.0),
            at: Instant::now(),
        });
    }

    /// Sets the server's clock off by so many seconds: the header `Date`, `ServerTime`, what URLs are dated and judged by.
    pub fn clock_offset(&self, seconds: i64) {
        self.shared.clock.set_offset(seconds);
    }

    /// Adds a fault. An [`On`] alone means the next request of that kind, once. All faults that apply to a request act
    /// together; of two that replace the answer, the later one wins.
    pub fn fault(&self, when: impl Into<When>, fault: Fault) {
        lock(&self.shared.rules).push(when::Rule::new(when.into(), fault));
    }

    /// Adds faults for the next requests of a kind, one each, in this order.
    pub fn faults(&self, on: On, faults: impl IntoIterator<Item = Fault>) {
        for (number, fault) in (1..).zip(faults) {
            self.fault(on.nth(number), fault);
        }
    }

    /// Removes all faults.
    pub fn clear_faults(&self) {
        lock(&self.shared.rules).clear();
    }

    /// All requests so far, in order.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.shared.log.settle();
        self.shared.log.requests()
    }

    /// The requests of one operation, in order.
    #[must_use]
    pub fn requests_of(&self, operation: &str) -> Vec<Request> {
        let mut requests = self.requests();
        requests.retain(|request| request.operation == operation);
        requests
    }

    /// How many requests of an operation came.
    #[must_use]
    pub fn count(&self, operation: &str) -> usize {
        self.shared
            .log
            .read(|requests| requests.iter().filter(|r| r.operation == operation).count())
    }

    /// Bytes of bodies handed to the kernel for an operation, all requests together.
    #[must_use]
    pub fn bytes_sent(&self, operation: &str) -> u64 {
        self.shared.log.settle();
        self.shared.log.read(|requests| {
            requests
                .iter()
                .filter(|request| request.operation == operation)
                .map(|request| request.bytes_sent)
                .sum()
        })
    }

    /// Waits until a condition on the log holds; false when the time is up first.
    pub fn wait_until(
        &self,
        time_out: Duration,
        condition: impl FnMut(&[Request]) -> bool,
    ) -> bool {
        self.shared.log.wait_until(time_out, condition)
    }

    /// Waits until one request of an operation has sent so many bytes of its body. With [`Fault::stall`] at that
    /// offset the transfer stands still there, and a test can kill the client at a known point.
    pub fn wait_for_bytes(&self, operation: &str, bytes: u64, time_out: Duration) -> bool {
        self.wait_until(time_out, |requests| {
            requests
                .iter()
                .any(|request| request.operation == operation && request.bytes_sent >= bytes)
        })
    }

    /// The greatest number of connections that were open at once.
    #[must_use]
    pub fn most_connections(&self) -> usize {
        self.shared
            .log
            .most_open
            .load(std::sync::atomic::Ordering::SeqCst)
    }

    /// How many connections were opened in all.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared
            .log
            .connections
            .load(std::sync::atomic::Ordering::SeqCst)
    }

    /// The greatest number of requests of an operation that were under way at once.
    #[must_use]
    pub fn most_at_once(&self, operation: &str) -> usize {
        self.shared
            .log
            .read(|requests| log::most_at_once(requests, operation))
    }

    /// The roles asked for at STS: role ARN, external id (empty for none), session name.
    #[must_use]
    pub fn assumed_roles(&self) -> Vec<AssumedRole> {
        self.requests_of("AssumeRole")
            .iter()
            .map(|request| {
                let field = |name: &str| {
                    url::form_urlencoded::parse(&request.body)
                        .find(|(key, _)| key == name)
                        .map(|(_, value)| value.into_owned())
                };
                AssumedRole {
                    role_arn: field("RoleArn").unwrap_or_default(),
                    external_id: field("ExternalId"),
                    session_name: field("RoleSessionName").unwrap_or_default(),
                }
            })
            .collect()
    }
}

/// One `AssumeRole` as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssumedRole {
    /// `RoleArn`.
    pub role_arn: String,
    /// `ExternalId`, when given.
    pub external_id: Option<String>,
    /// `RoleSessionName`.
    pub session_name: String,
}

impl Drop for FakeAws {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Not an ordinary drop: that would wait, and panic inside another runtime.
            runtime.shutdown_background();
        }
    }
}

/// The access key id that earns an answer.
#[must_use]
pub fn access_key(key: Key) -> &'static str {
    match key {
        Key::Valid => "ASIALARDERVALID00000",
        Key::Unrecognized => "ASIALARDERUNKNOWN000",
        Key::Expired => "ASIALARDEREXPIRED000",
        Key::Denied => "ASIALARDERDENIED0000",
        Key::BadSignature => "ASIALARDERBADSIG0000",
    }
}

fn listen(runtime: &Runtime, shared: &SharedRef, host: &str) -> String {
    let listener = StdListener::bind((host, 0)).expect("a loopback port can be bound");
    listener
        .set_nonblocking(true)
        .expect("a socket can be made non-blocking");
    let address = listener
        .local_addr()
        .expect("a bound socket has an address");
    let base = format!("http://{address}");
    let _context = runtime.enter();
    let listener = tokio::net::TcpListener::from_std(listener)
        .expect("a non-blocking socket fits into the runtime");
    runtime.spawn(server::serve(
        listener,
        Arc::from(base.as_str()),
        Arc::clone(shared),
    ));
    base
}

impl std::fmt::Debug for FakeAws {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FakeAws")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}
