//! A container registry: manifests and blobs by digest (OCI Distribution Specification 1.1), with ECR's tokens and
//! redirects, or with a basic or bearer challenge as other registries have them.

use super::answer::Answer;
use super::call::Call;
use super::clock::random_hex;
use super::storage::{Access, Package};
use super::wire::{Message, decode_path};
use super::world::{Shared, World};
use crate::image::Image;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::collections::HashMap;

/// What a repository asks of whoever pulls from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// Nothing.
    Open,
    /// A token of ECR's. Blobs are answered with a 307 to a presigned URL, as by ECR.
    Ecr,
    /// `user:password` in a `Basic` header.
    Basic(String),
    /// A bearer token from `/token`, which asks for `user:password` where there is one here.
    Bearer(Option<String>),
}

/// One repository.
#[derive(Debug, Clone)]
pub(crate) struct Repository {
    login: Login,
    manifests: HashMap<String, (String, Bytes)>,
    blobs: HashMap<String, Package>,
}

/// A token that was handed out.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub until: Timestamp,
    /// The repository that a bearer token is good for.
    scope: Option<String>,
}

/// The operation of a request to the registry, and its repository and reference; None for any other path.
pub(crate) fn find(message: &Message) -> Option<(&'static str, Vec<String>)> {
    if message.method != "GET" {
        return None;
    }
    if message.path == "/token" {
        return Some(("GetToken", Vec::new()));
    }
    let path = decode_path(message.path.strip_prefix("/v2/")?);
    let (rest, reference) = path.rsplit_once('/')?;
    let (repository, section) = rest.rsplit_once('/')?;
    let operation = match section {
        "manifests" => "GetManifest",
        "blobs" => "GetBlob",
        _ => return None,
    };
    Some((operation, vec![repository.to_owned(), reference.to_owned()]))
}

/// Answers a GET of a manifest, a blob or a token.
pub(crate) fn answer(shared: &Shared, call: &Call) -> Answer {
    let now = shared.clock.now();
    let mut world = shared.world();
    if call.operation == "GetToken" {
        return token(&mut world, call, now);
    }
    let (name, reference) = (call.argument(0), call.argument(1));
    let Some(repository) = world.repositories.get(name).cloned() else {
        return error(404, "NAME_UNKNOWN", "The repository does not exist");
    };
    if let Some(refusal) = refusal(&world, call, name, &repository.login, now) {
        return refusal;
    }
    if call.operation == "GetManifest" {
        return match repository.manifests.get(reference) {
            Some((media_type, bytes)) => Answer::new(200, media_type, bytes.clone())
                .header("Docker-Content-Digest", crate::image::digest(bytes)),
            None => error(404, "MANIFEST_UNKNOWN", "Requested image not found"),
        };
    }
    let Some(package) = repository.blobs.get(reference) else {
        return error(404, "BLOB_UNKNOWN", "blob unknown to registry");
    };
    if repository.login == Login::Ecr {
        let url = world.presign(call.base, package, call.region(), now);
        return Answer::new(307, "text/plain", "").header("Location", url);
    }
    world
        .objects
        .get(&package.path)
        .and_then(|object| object.versions.last())
        .and_then(|version| super::s3::whole_or_part(call, version))
        .unwrap_or_else(|| error(416, "RANGE_INVALID", "invalid content range"))
}

/// Why a request may not be answered.
fn refusal(
    world: &World,
    call: &Call,
    name: &str,
    login: &Login,
    now: Timestamp,
) -> Option<Answer> {
    let given = call.message.header("authorization").unwrap_or_default();
    let unauthorized = |challenge: String| {
        error(401, "UNAUTHORIZED", "authentication required").header("WWW-Authenticate", challenge)
    };
    let realm = format!("{}/token", call.base);
    match login {
        Login::Open => None,
        Login::Ecr => match given
            .strip_prefix("Basic ")
            .and_then(|t| world.tokens.get(t))
        {
            Some(token) if token.until > now => None,
            Some(_) => Some(error(
                403,
                "DENIED",
                "Your authorization token has expired. Reauthenticate and try again.",
            )),
            None => Some(Answer::new(401, "text/plain", "Not Authorized\n").header(
                "WWW-Authenticate",
                format!(
                    "Basic realm=\"{}/\",service=\"ecr.amazonaws.com\"",
                    call.base
                ),
            )),
        },
        Login::Basic(user) => {
            let right = format!("Basic {}", STANDARD.encode(user));
            (given != right).then(|| unauthorized("Basic realm=\"the registry\"".to_owned()))
        }
        Login::Bearer(_) => {
            let token = given
                .strip_prefix("Bearer ")
                .and_then(|t| world.tokens.get(t));
            let good = token.is_some_and(|t| t.until > now && t.scope.as_deref() == Some(name));
            (!good).then(|| {
                unauthorized(format!(
                    "Bearer realm=\"{realm}\",service=\"registry.test\",scope=\"repository:{name}:pull\""
                ))
            })
        }
    }
}

/// `/token?service=…&scope=repository:NAME:pull` (Docker's token authentication).
fn token(world: &mut World, call: &Call, now: Timestamp) -> Answer {
    let scope = call.message.query_value("scope").unwrap_or_default();
    let name = scope
        .strip_prefix("repository:")
        .and_then(|rest| rest.strip_suffix(":pull"))
        .unwrap_or_default()
        .to_owned();
    let login = world.repositories.get(&name).map(|r| r.login.clone());
    let user = match login {
        Some(Login::Bearer(user)) => user,
        _ => None,
    };
    let given = call.message.header("authorization").unwrap_or_default();
    if let Some(user) = user
        && given != format!("Basic {}", STANDARD.encode(user))
    {
        return error(401, "UNAUTHORIZED", "incorrect username or password");
    }
    let text = format!("{}{}", super::SECRET_MARKER, random_hex(24));
    let until = now.checked_add(SignedDuration::from_mins(5)).unwrap_or(now);
    let scope = Some(name);
    world.tokens.insert(text.clone(), Token { until, scope });
    let body = json!({"token": text, "expires_in": 300});
    Answer::new(200, "application/json", body.to_string())
}

/// `GetAuthorizationToken` of ECR.
pub(crate) fn authorization_token(shared: &Shared, call: &Call, _input: &Value) -> Answer {
    let mut world = shared.world();
    let now = shared.clock.now();
    // As base64 of `AWS:password` it would hide what a leak test looks for.
    let text = format!("QVdT{}{}", super::SECRET_MARKER, random_hex(24));
    let lifetime = world
        .token_lifetime
        .unwrap_or(SignedDuration::from_hours(12));
    let until = now.checked_add(lifetime).unwrap_or(now);
    let scope = None;
    world.tokens.insert(text.clone(), Token { until, scope });
    super::services::success(&json!({"authorizationData": [{
        "authorizationToken": text,
        "expiresAt": until.as_second(),
        "proxyEndpoint": call.base,
    }]}))
}

/// An error as registries word it.
pub(crate) fn error(status: u16, code: &str, message: &str) -> Answer {
    let body = json!({"errors": [{"code": code, "message": message}]});
    Answer::new(status, "application/json", body.to_string())
}

impl World {
    /// Puts an image into a repository, which then asks for this login.
    pub fn push(&mut self, name: &str, image: &Image, login: Login, now: Timestamp) {
        let mut blobs = HashMap::new();
        for (digest, bytes) in &image.blobs {
            let path = format!("/layers/{name}/{}", digest.trim_start_matches("sha256:"));
            let version_id = self.put(&path, bytes.clone(), Access::Presigned, None, now);
            blobs.insert(digest.clone(), Package { path, version_id });
        }
        let repository = self
            .repositories
            .entry(name.to_owned())
            .or_insert(Repository {
                login: login.clone(),
                manifests: HashMap::new(),
                blobs: HashMap::new(),
            });
        repository.login = login;
        repository.blobs.extend(blobs);
        let manifests = image.manifests.iter();
        repository
            .manifests
            .extend(manifests.map(|(digest, entry)| (digest.clone(), entry.clone())));
    }

    /// Lets a tag name a manifest that is there.
    pub fn name_image(&mut self, name: &str, tag: &str, digest: &str) {
        if let Some(repository) = self.repositories.get_mut(name)
            && let Some(entry) = repository.manifests.get(digest).cloned()
        {
            repository.manifests.insert(tag.to_owned(), entry);
        }
    }

    /// Takes a manifest or a blob out of a repository.
    pub fn forget(&mut self, name: &str, digest: &str) {
        if let Some(repository) = self.repositories.get_mut(name) {
            repository.manifests.remove(digest);
            repository.blobs.remove(digest);
        }
    }
}
