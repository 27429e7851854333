//! The calls that change functions: creating, updating, publishing, aliases, tags, concurrency, event sources, with the
//! guards (`RevisionId`, "an update is in progress") and states (`Pending`, `InProgress`) that AWS has.

use super::answer::{Answer, LambdaError, request_uuid};
use super::call::{Call, account_of, caller_arn};
use super::clock::lambda_time;
use super::describe::{configuration, describe_code};
use super::lambda::{find_function, name};
use super::world::{
    Alias, Code, Departures, FunctionKey, FunctionState, Shared, Version, World, code_sha256,
    partition,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::Instant;

/// A change that AWS is still carrying out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settling {
    Creation(Instant),
    Update(Instant),
}

/// The most bytes of a zip that a request may carry.
const DIRECT: usize = 52_428_800;

/// The fields of a request that become the configuration as they are.
const PLAIN: &[&str] = &[
    "Runtime",
    "Role",
    "Handler",
    "Description",
    "Timeout",
    "MemorySize",
    "TracingConfig",
    "EphemeralStorage",
    "LoggingConfig",
    "FileSystemConfigs",
    "TenancyConfig",
    "CapacityProviderConfig",
    "DurableConfig",
    "RuntimeConfig",
    "AcceleratorConfig",
    "DeadLetterConfig",
    "KMSKeyArn",
    "Environment",
];

impl World {
    /// Ends the changes whose time has come. Their end is a change of its own: it has another `RevisionId`.
    pub fn settle(&mut self) {
        let now = Instant::now();
        for function in self.functions.values_mut() {
            let due = match function.settling {
                Some(Settling::Creation(at) | Settling::Update(at)) => at <= now,
                None => false,
            };
            if due {
                function.settling = None;
                let configuration = &mut function.latest.configuration;
                let failed = function.fail_next.take();
                let (state, update) = match &failed {
                    Some(_) => ("Active", "Failed"),
                    None => ("Active", "Successful"),
                };
                configuration.insert("State".into(), json!(state));
                configuration.insert("LastUpdateStatus".into(), json!(update));
                if let Some(reason) = failed {
                    configuration.insert("LastUpdateStatusReason".into(), json!(reason));
                    configuration
                        .insert("LastUpdateStatusReasonCode".into(), json!("InvalidRuntime"));
                }
                configuration.insert("RevisionId".into(), json!(request_uuid()));
            }
        }
    }
}

fn invalid(message: impl Into<String>) -> LambdaError {
    LambdaError::new(400, "InvalidParameterValueException", message)
}

fn conflict(message: impl Into<String>) -> LambdaError {
    LambdaError::new(409, "ResourceConflictException", message)
}

/// The request's JSON.
fn input(call: &Call) -> Result<Map<String, Value>, LambdaError> {
    match serde_json::from_slice(&call.message.body) {
        Ok(Value::Object(map)) => Ok(map),
        _ => Err(LambdaError::new(
            400,
            "SerializationException",
            "the request is no JSON object",
        )),
    }
}

fn text<'a>(input: &'a Map<String, Value>, field: &str) -> Option<&'a str> {
    input.get(field).and_then(Value::as_str)
}

/// The function that the path names, for a change: known, the caller's, and nothing under way.
fn key_of(world: &World, call: &Call) -> Result<FunctionKey, LambdaError> {
    let (function, _) = find_function(world, call)?;
    Ok(function.key.clone())
}

fn guarded<'a>(
    world: &'a mut World,
    key: &FunctionKey,
    input: &Map<String, Value>,
) -> Result<&'a mut FunctionState, LambdaError> {
    let Some(function) = world.functions.get_mut(key) else {
        return Err(super::lambda::not_found("Function not found"));
    };
    if function.settling.is_some() {
        return Err(conflict(format!(
            "The operation cannot be performed at this time. An update is in progress for resource: {}",
            function.arn()
        )));
    }
    let current = &function.latest.configuration["RevisionId"];
    if let Some(given) = text(input, "RevisionId")
        && current != given
    {
        return Err(LambdaError::new(
            412,
            "PreconditionFailedException",
            "The RevisionId provided does not match the latest RevisionId. Call the GetFunction/GetAlias API to retrieve the latest RevisionId for your resource.",
        ));
    }
    Ok(function)
}

/// The code that a request brings, with its digest and size.
fn code(
    world: &mut World,
    call: &Call,
    shared: &Shared,
    key: &FunctionKey,
    given: &Map<String, Value>,
) -> Result<(Code, String, u64), LambdaError> {
    let now = shared.clock.now();
    if let Some(zip) = text(given, "ZipFile") {
        let zip = STANDARD
            .decode(zip)
            .map_err(|_| invalid("ZipFile is no base64"))?;
        if zip.len() > DIRECT {
            return Err(LambdaError::new(
                413,
                "RequestEntityTooLargeException",
                "Request must be smaller than 70167211 bytes for the CreateFunction operation",
            ));
        }
        let (digest, size) = (code_sha256(&zip), zip.len() as u64);
        let package = world.put_package(&key.0, &key.2, zip.into(), Some(key.clone()), now);
        return Ok((Code::Zip(package), digest, size));
    }
    if let (Some(bucket), Some(object)) = (text(given, "S3Bucket"), text(given, "S3Key")) {
        let wanted = text(given, "S3ObjectVersion");
        let kept = world.objects.get(&format!("/{bucket}/{object}"));
        let version = kept.and_then(|kept| match wanted {
            None => kept.versions.last(),
            Some(id) => kept.versions.iter().find(|version| version.id == id),
        });
        let Some((bytes, id)) = version.map(|version| (version.bytes.clone(), version.id.clone()))
        else {
            return Err(invalid(
                "Error occurred while GetObject. S3 Error Code: NoSuchKey. S3 Error Message: The specified key does not exist.",
            ));
        };
        let (digest, size) = (code_sha256(&bytes), bytes.len() as u64);
        if text(given, "S3ObjectStorageMode") == Some("REFERENCE") {
            let code = Code::Reference(bucket.to_owned(), object.to_owned(), id);
            return Ok((code, digest, size));
        }
        let package = world.put_package(&key.0, &key.2, bytes, Some(key.clone()), now);
        return Ok((Code::Zip(package), digest, size));
    }
    if let Some(uri) = text(given, "ImageUri") {
        let named = uri.split_once('@').map(|(_, digest)| digest.to_owned());
        let digest = named.or_else(|| world.tags_of_images.get(uri).cloned());
        let Some(digest) = digest else {
            return Err(invalid(format!("Source image {uri} does not exist.")));
        };
        let hex = digest.trim_start_matches("sha256:").to_owned();
        let code = Code::Image {
            uri: uri.to_owned(),
            digest,
        };
        return Ok((code, hex, 0));
    }
    let _ = call;
    Err(invalid("Please provide a source for function code."))
}

/// Writes what a request says into a configuration.
fn apply(
    world: &World,
    region: &str,
    configuration: &mut Map<String, Value>,
    input: &Map<String, Value>,
) -> Result<(), LambdaError> {
    if let Some(role) = text(input, "Role")
        && world.roles_gone.contains(role)
    {
        return Err(invalid(
            "The role defined for the function cannot be assumed by Lambda.",
        ));
    }
    for field in PLAIN {
        if let Some(value) = input.get(*field) {
            let empty = match *field {
                "Environment" => value["Variables"].as_object().is_none_or(Map::is_empty),
                "DeadLetterConfig" => value["TargetArn"].as_str().is_none_or(str::is_empty),
                "KMSKeyArn" => value == "",
                "FileSystemConfigs" => value.as_array().is_some_and(Vec::is_empty),
                _ => false,
            };
            if empty {
                configuration.shift_remove(*field);
            } else {
                configuration.insert((*field).into(), value.clone());
            }
        }
    }
    if let Some(layers) = input.get("Layers").and_then(Value::as_array) {
        let mut listed = Vec::new();
        for arn in layers.iter().filter_map(Value::as_str) {
            let known = world.layers.get(arn).filter(|layer| layer.region == region);
            let Some(layer) = known.filter(|layer| !layer.denied) else {
                return Err(invalid(format!("Layer version {arn} does not exist.")));
            };
            listed.push(json!({"Arn": arn, "CodeSize": layer.answer["Content"]["CodeSize"]}));
        }
        if listed.is_empty() {
            configuration.shift_remove("Layers");
        } else {
            configuration.insert("Layers".into(), json!(listed));
        }
    }
    if let Some(snap) = input.get("SnapStart") {
        configuration.insert(
            "SnapStart".into(),
            json!({"ApplyOn": snap["ApplyOn"], "OptimizationStatus": "Off"}),
        );
    }
    if let Some(vpc) = input.get("VpcConfig") {
        if vpc["SubnetIds"].as_array().is_none_or(Vec::is_empty) {
            configuration.shift_remove("VpcConfig");
        } else {
            let mut vpc = vpc.clone();
            vpc["VpcId"] = json!("vpc-0123456789abcdef0");
            configuration.insert("VpcConfig".into(), vpc);
        }
    }
    if let Some(image) = input.get("ImageConfig") {
        configuration.insert("ImageConfigResponse".into(), json!({"ImageConfig": image}));
    }
    Ok(())
}

/// Marks a function as being changed, and answers its configuration.
fn begin(shared: &Shared, world: &mut World, key: &FunctionKey, creation: bool) -> Value {
    let now = shared.clock.now();
    let after = world.settle_after;
    let Some(function) = world.functions.get_mut(key) else {
        return Value::Null;
    };
    let configuration = &mut function.latest.configuration;
    configuration.insert("LastModified".into(), json!(lambda_time(now)));
    configuration.insert("RevisionId".into(), json!(request_uuid()));
    let end = Instant::now() + after;
    if creation {
        configuration.insert("State".into(), json!("Pending"));
        configuration.insert("LastUpdateStatus".into(), json!("Successful"));
        function.settling = Some(Settling::Creation(end));
    } else {
        configuration.insert("LastUpdateStatus".into(), json!("InProgress"));
        function.settling = Some(Settling::Update(end));
    }
    Value::Object(function.configuration("$LATEST", None).unwrap_or_default())
}

pub(crate) fn create_function(shared: &Shared, call: &Call) -> Result<Answer, LambdaError> {
    let input = input(call)?;
    let mut world = shared.world();
    let given = text(&input, "FunctionName").unwrap_or_default().to_owned();
    let key = name(&world, call, &given)?.key;
    if world.functions.contains_key(&key) {
        return Err(conflict(format!("Function already exist: {}", key.2)));
    }
    let role = text(&input, "Role").unwrap_or_default();
    if role.split(':').nth(4) != Some(key.0.as_str()) {
        return Err(LambdaError::new(
            403,
            "AccessDeniedException",
            format!(
                "{} is not authorized: Cross-account pass role is not allowed.",
                caller_arn(&world, call.access_key())
            ),
        ));
    }
    let Some(given) = input.get("Code").and_then(Value::as_object) else {
        return Err(invalid("Please provide a source for function code."));
    };
    let (code, digest, size) = code(&mut world, call, shared, &key, given)?;
    let mut base = configuration(&key, shared.clock.now());
    apply(&world, &key.1, &mut base, &input)?;
    if let Some(architectures) = input.get("Architectures") {
        base.insert("Architectures".into(), architectures.clone());
    }
    if matches!(code, Code::Reference(..)) {
        base.insert("S3ObjectStorageMode".into(), json!("REFERENCE"));
    }
    let mut latest = Version {
        configuration: base,
        code,
    };
    describe_code(&mut latest, &digest, size);
    let tags = input.get("Tags").and_then(Value::as_object);
    let tags = tags.into_iter().flatten();
    let tags = tags.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
    let function = FunctionState {
        key: key.clone(),
        latest,
        published: BTreeMap::new(),
        aliases: BTreeMap::new(),
        tags: tags.collect(),
        concurrency: None,
        departures: Departures::default(),
        swaps: Vec::new(),
        master_region: None,
        settling: None,
        fail_next: None,
        // Numbers go on where a deleted function of this name ended.
        numbered: 0,
    };
    world.functions.insert(key.clone(), function);
    let body = begin(shared, &mut world, &key, true);
    Ok(Answer::json(201, &body))
}

pub(crate) fn update_code(shared: &Shared, call: &Call) -> Result<Answer, LambdaError> {
    let input = input(call)?;
    let mut world = shared.world();
    let key = key_of(&world, call)?;
    guarded(&mut world, &key, &input)?;
    let (code, digest, size) = code(&mut world, call, shared, &key, &input)?;
    let function = guarded(&mut world, &key, &input)?;
    if matches!(code, Code::Image { .. }) != matches!(function.latest.code, Code::Image { .. }) {
        return Err(invalid(
            "Please don't provide ImageUri when updating a function with packageType Zip.",
        ));
    }
    if matches!(code, Code::Reference(..)) {
        let mode = json!("REFERENCE");
        function
            .latest
            .configuration
            .insert("S3ObjectStorageMode".into(), mode);
    } else {
        // Leaving the mode out of an update turns it back to a copy.
        function
            .latest
            .configuration
            .shift_remove("S3ObjectStorageMode");
    }
    function.latest.code = code;
    describe_code(&mut function.latest, &digest, size);
    if let Some(architectures) = input.get("Architectures") {
        let architectures = architectures.clone();
        function
            .latest
            .configuration
            .insert("Architectures".into(), architectures);
    }
    let body = begin(shared, &mut world, &key, false);
    Ok(Answer::json(200, &body))
}

pub(crate) fn update_configuration(shared: &Shared, call: &Call) -> Result<Answer, LambdaError> {
    let input = input(call)?;
    let mut world = shared.world();
    let key = key_of(&world, call)?;
    let mut changed = guarded(&mut world, &key, &input)?
        .latest
        .configuration
        .clone();
    apply(&world, &key.1, &mut changed, &input)?;
    guarded(&mut world, &key, &input)?.latest.configuration = changed;
    let body = begin(shared, &mut world, &key, false);
    Ok(Answer::json(200, &body))
}

/// What makes two versions different.
fn essence(version: &Version) -> Map<String, Value> {
    let mut configuration = version.configuration.clone();
    for field in ["RevisionId", "LastModified", "FunctionArn", "Version"] {
        configuration.shift_remove(field);
    }
    configuration
}

pub(crate) fn publish_version(shared: &Shared, call: &Call) -> Result<Answer, LambdaError> {
    let input = input(call)?;
    let mut world = shared.world();
    let key = key_of(&world, call)?;
    let function = guarded(&mut world, &key, &input)?;
    if let Some(wanted) = text(&input, "CodeSha256")
        && function.latest.configuration["CodeSha256"] != wanted
    {
        return Err(invalid(format!(
            "CodeSHA256 ({wanted}) is different from current CodeSHA256 in $LATEST."
        )));
    }
    let same = function
        .published
        .last_key_value()
        .filter(|(_, last)| essence(last) == essence(&function.latest));
    let number = if let Some((number, _)) = same {
        *number
    } else {
        let last = function
            .published
            .last_key_value()
            .map_or(0, |(last, _)| *last);
        let next = last.max(function.numbered) + 1;
        let mut version = function.latest.clone();
        let revise = |configuration: &mut Map<String, Value>| {
            configuration.insert("RevisionId".into(), json!(request_uuid()));
        };
        revise(&mut version.configuration);
        revise(&mut function.latest.configuration);
        function.published.insert(next, version);
        function.numbered = next;
        next
    };
    let number = number.to_string();
    let body = function
        .configuration(&number, Some(&number))
        .unwrap_or_default();
    Ok(Answer::json(201, &Value::Object(body)))
}

fn alias_of(input: &Map<String, Value>, function: &FunctionState) -> Result<Alias, LambdaError> {
    let version = text(input, "FunctionVersion")
        .unwrap_or_default()
        .to_owned();
    let weights = input
        .get("RoutingConfig")
        .and_then(|routing| routing["AdditionalVersionWeights"].as_object());
    let weights: BTreeMap<String, f64> = weights
        .into_iter()
        .flatten()
        .filter_map(|(version, weight)| Some((version.clone(), weight.as_f64()?)))
        .collect();
    for version in std::iter::once(&version).chain(weights.keys()) {
        if function.resolve(Some(version)).is_none() {
            return Err(super::lambda::not_found(&format!(
                "Function not found: {}:{version}",
                function.arn()
            )));
        }
    }
    Ok(Alias {
        version,
        weights,
        description: text(input, "Description").unwrap_or_default().to_owned(),
        revision: request_uuid(),
    })
}

pub(crate) fn create_alias(shared: &Shared, call: &Call) -> Result<Answer, LambdaError> {
    let input = input(call)?;
    let mut world = shared.world();
    let key = key_of(&world, call)?;
    let Some(function) = world.functions.get_mut(&key) else {
        return Err(super::lambda::not_found("Function not found"));
    };
    let name = text(&input, "Name").unwrap_or_default().to_owned();
    if function.aliases.contains_key(&name) {
        return Err(conflict(format!(
            "Alias already exists: {}:{name}",
            function.arn()
        )));
    }
    let alias = alias_of(&input, function)?;
    function.aliases.insert(name.clone(), alias);
    Ok(Answer::json(
        201,
        &super::lists::alias_answer(function, &name),
    ))
}

pub(crate) fn update_alias(shared: &Shared, call: &Call) -> Result<Answer, LambdaError> {
    let input = input(call)?;
    let mut world = shared.world();
    let key = key_of(&world, call)?;
    let Some(function) = world.functions.get_mut(&key) else {
        return Err(super::lambda::not_found("Function not found"));
    };
    let name = call.argument(1).to_owned();
    let Some(alias) = function.aliases.get(&name) else {
        return Err(super::lambda::not_found("Cannot find alias"));
    };
    if text(&input, "RevisionId").is_some_and(|given| given != alias.revision) {
        return Err(LambdaError::new(
            412,
            "PreconditionFailedException",
            "The RevisionId provided does not match the latest RevisionId.",
        ));
    }
    let alias = alias_of(&input, function)?;
    function.aliases.insert(name.clone(), alias);
    Ok(Answer::json(
        200,
        &super::lists::alias_answer(function, &name),
    ))
}

pub(crate) fn tag_resource(shared: &Shared, call: &Call) -> Result<Answer, LambdaError> {
    let input = input(call)?;
    let arn = call.argument(0).to_owned();
    let mut world = shared.world();
    let mut functions = world.functions.values_mut();
    let Some(function) = functions.find(|function| function.arn() == arn) else {
        return Err(super::lambda::not_found(&format!(
            "Function not found: {arn}"
        )));
    };
    for (key, value) in input
        .get("Tags")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        if key.starts_with("aws:") {
            return Err(invalid("aws: prefixed tag key names are not allowed"));
        }
        let value = value.as_str().unwrap_or_default().to_owned();
        function.tags.insert(key.clone(), value);
    }
    Ok(Answer::new(204, "application/json", Bytes::new()))
}

pub(crate) fn put_concurrency(shared: &Shared, call: &Call) -> Result<Answer, LambdaError> {
    let input = input(call)?;
    let mut world = shared.world();
    let key = key_of(&world, call)?;
    let reserved = input
        .get("ReservedConcurrentExecutions")
        .and_then(Value::as_u64);
    if let Some(function) = world.functions.get_mut(&key) {
        function.concurrency = reserved;
    }
    Ok(Answer::json(
        200,
        &json!({"ReservedConcurrentExecutions": reserved}),
    ))
}

pub(crate) fn publish_layer(shared: &Shared, call: &Call) -> Result<Answer, LambdaError> {
    let input = input(call)?;
    let now = shared.clock.now();
    let mut world = shared.world();
    let account = account_of(&world, call.access_key());
    let region = call.region().to_owned();
    let layer = call
        .argument(0)
        .rsplit(':')
        .next()
        .unwrap_or_default()
        .to_owned();
    let key = (account.clone(), region.clone(), layer.clone());
    let Some(content) = input.get("Content").and_then(Value::as_object) else {
        return Err(invalid("Content is missing"));
    };
    let (code, digest, size) = code(&mut world, call, shared, &key, content)?;
    let Code::Zip(package) = code else {
        return Err(invalid("a layer is a zip"));
    };
    let arn = format!(
        "arn:{}:lambda:{region}:{account}:layer:{layer}",
        partition(&region)
    );
    let number = super::layer::next_number(&world, &arn);
    let version = format!("{arn}:{number}");
    let answer = json!({
        "Content": { "CodeSha256": digest, "CodeSize": size },
        "LayerArn": arn,
        "LayerVersionArn": version,
        "Description": input.get("Description").cloned().unwrap_or(json!("")),
        "CreatedDate": lambda_time(now),
        "Version": number,
        "CompatibleRuntimes": input.get("CompatibleRuntimes"),
        "CompatibleArchitectures": input.get("CompatibleArchitectures"),
        "LicenseInfo": input.get("LicenseInfo"),
    });
    let Value::Object(state) = answer.clone() else {
        return Err(invalid("no answer"));
    };
    let state = super::world::LayerState {
        answer: state,
        package,
        region,
        denied: false,
        location: super::world::Stated::Presigned,
    };
    world.layers.insert(version, state);
    Ok(Answer::json(201, &answer))
}

pub(crate) fn create_event_source(shared: &Shared, call: &Call) -> Result<Answer, LambdaError> {
    let input = input(call)?;
    let mut world = shared.world();
    let given = text(&input, "FunctionName").unwrap_or_default().to_owned();
    let named = name(&world, call, &given)?;
    let Some(function) = world.functions.get(&named.key) else {
        return Err(super::lambda::not_found("Function not found"));
    };
    // An event source of a version or alias has its ARN.
    let arn = match &named.qualifier {
        Some(qualifier) => format!("{}:{qualifier}", function.arn()),
        None => function.arn(),
    };
    let mut mapping = Value::Object(input);
    let enabled = mapping["Enabled"] != json!(false);
    if let Some(map) = mapping.as_object_mut() {
        map.shift_remove("FunctionName");
        map.shift_remove("Enabled");
    }
    mapping["UUID"] = json!(request_uuid());
    mapping["FunctionArn"] = json!(arn);
    mapping["State"] = json!(if enabled { "Enabled" } else { "Disabled" });
    let place = (
        "ListEventSourceMappings".to_owned(),
        String::new(),
        String::new(),
    );
    let all = world
        .sides
        .entry(place)
        .or_insert_with(|| json!({ "EventSourceMappings": [] }));
    if let Some(list) = all["EventSourceMappings"].as_array_mut() {
        let same = |one: &Value| {
            one["EventSourceArn"] == mapping["EventSourceArn"]
                && one["FunctionArn"] == mapping["FunctionArn"]
        };
        if list.iter().any(same) {
            return Err(conflict(
                "An event source mapping with these parameters already exists.",
            ));
        }
        list.push(mapping.clone());
    }
    Ok(Answer::json(202, &mapping))
}
