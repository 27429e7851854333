//! A registry as it is asked: where, with which credential, and what its refusals mean (OCI Distribution Specification 1.1).

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use serde_json::Value;
use tokio::sync::Mutex;
use url::Url;

use super::challenge::{self, Challenge};
use super::ecr::Tokens;
use super::login::{self, Login, NoLogin};
use super::reference::{Ecr, Repository, is_loopback};
use crate::aws::Session;
use crate::aws::service::Service;
use crate::digest::Sha256Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, Reporter};
use crate::http::{Authorization, Get, HttpError, Response};
use crate::transfer::retry::{Failure, parse_retry_after};
use crate::transfer::{OpenError, Part};

/// How much of an error's body is read, in bytes.
const ERROR_BODY: usize = 16 * 1024;
/// How many characters of a registry's words are shown.
const MAX_WORDS: usize = 500;
/// The longest answer with a token, in bytes.
const MAX_TOKEN: usize = 1 << 20;
/// The section of manifests below a repository.
pub(super) const MANIFESTS: &str = "manifests";
/// Where ECR keeps the blobs of a region.
const ECR_BUCKET: &str = "prod-REGION-starport-layer-bucket";

/// What all pulls of a run share: the tokens and logins that were got already.
#[derive(Debug, Clone)]
pub struct Registries(Arc<Shared>);

struct Shared {
    session: Session,
    reporter: Arc<dyn Reporter>,
    tokens: Tokens,
    registries: Mutex<HashMap<String, Arc<Registry>>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Registries {
    /// Registries as `session` reaches them; `reporter` is told of what they answer. Makes no call.
    pub fn new(session: &Session, reporter: Arc<dyn Reporter>) -> Self {
        Self(Arc::new(Shared {
            session: session.clone(),
            reporter,
            tokens: Tokens::default(),
            registries: Mutex::default(),
        }))
    }

    pub(super) fn session(&self) -> &Session {
        &self.0.session
    }

    /// The registry of `repository`. For one of ECR's, a token is got first.
    pub(super) async fn open(&self, repository: &Repository) -> Result<Arc<Registry>> {
        let name = repository.registry();
        let mut registries = self.0.registries.lock().await;
        if let Some(known) = registries.get(name) {
            return Ok(Arc::clone(known));
        }
        let ecr = repository.ecr();
        let base = match &ecr {
            Some(ecr) => self.ecr_base(name, ecr).await?,
            None if repository.is_loopback() => url_of("http", name)?,
            None => url_of("https", name)?,
        };
        let registry = Arc::new(Registry {
            all: self.clone(),
            name: name.to_owned(),
            base,
            ecr,
            login: OnceLock::new(),
            credentials: Mutex::default(),
        });
        registries.insert(name.to_owned(), Arc::clone(&registry));
        Ok(registry)
    }

    /// Where a registry of ECR's is. Who sets ECR's endpoint speaks to an emulator: then the registry is where that says
    /// that it is.
    async fn ecr_base(&self, name: &str, ecr: &Ecr) -> Result<Url> {
        let session = self.session();
        if session.has_endpoint(Service::ECR)?
            && let Some(proxy) = self
                .0
                .tokens
                .get(session, ecr, None, &*self.0.reporter)
                .await?
                .proxy
            && matches!(proxy.scheme(), "http" | "https")
            && proxy.has_host()
        {
            tracing::debug!("the registry {name} is at {}", host_of(&proxy));
            return Ok(proxy);
        }
        url_of("https", name)
    }
}

fn url_of(scheme: &str, name: &str) -> Result<Url> {
    Url::parse(&format!("{scheme}://{name}/")).map_err(|e| {
        Error::new(ErrorKind::NoCode, "names no registry")
            .about(name)
            .because(e)
    })
}

fn host_of(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}"));
    url.host_str().unwrap_or_default().to_owned() + &port.unwrap_or_default()
}

/// One registry.
#[derive(Debug)]
pub(super) struct Registry {
    all: Registries,
    name: String,
    base: Url,
    ecr: Option<Ecr>,
    /// The user's login, looked for when a registry that is not ECR's first asks for one.
    login: OnceLock<Result<Login, NoLogin>>,
    /// What a registry that is not ECR's wanted, by repository.
    credentials: Mutex<HashMap<String, Held>>,
}

/// A credential, and which one of its repository it is.
#[derive(Debug, Clone)]
struct Held {
    authorization: Authorization,
    serial: u64,
}

/// By what a registry is asked.
#[derive(Debug, Clone, Copy)]
pub(super) enum By<'a> {
    Digest(Sha256Digest),
    /// What it names may be another thing in a moment.
    Tag(&'a str),
}

impl fmt::Display for By<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Digest(digest) => write!(f, "sha256:{digest}"),
            Self::Tag(tag) => f.write_str(tag),
        }
    }
}

/// What is asked for: a manifest or a blob of a repository.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item<'a> {
    pub(super) repository: &'a str,
    /// `manifests` or `blobs`.
    pub(super) section: &'static str,
    pub(super) by: By<'a>,
}

impl Registry {
    /// Where it is, without anything secret.
    pub(super) fn url(&self, item: Item<'_>) -> Url {
        let mut url = self.base.clone();
        let base = self.base.path().trim_end_matches('/');
        let Item {
            repository,
            section,
            by,
        } = item;
        url.set_path(&format!("{base}/v2/{repository}/{section}/{by}"));
        url.set_query(None);
        url.set_fragment(None);
        url
    }

    /// How errors name it: `registry/repository@sha256:…`, or with a tag.
    pub(super) fn name(&self, item: Item<'_>) -> String {
        let mark = match item.by {
            By::Digest(_) => '@',
            By::Tag(_) => ':',
        };
        format!("{}/{}{mark}{}", self.name, item.repository, item.by)
    }

    /// Begins a GET. A credential is got where the registry asks for one, and once more when it is refused. What is left of
    /// a refusal then is an answer like another.
    pub(super) async fn get(
        &self,
        item: Item<'_>,
        part: Part<'_>,
        accept: Option<&'static str>,
    ) -> Result<Response, OpenError> {
        let url = self.url(item);
        let http = self.all.session().http();
        let mut held = self.held(item.repository, None).await.map_err(no_token)?;
        let mut renewed = false;
        loop {
            let get = Get {
                from: part.from,
                until: part.until,
                if_match: part.if_match,
                accept,
                authorization: held.as_ref().map(|held| &held.authorization),
                ..Get::of(&url)
            };
            let mut response = http.get(get).await.map_err(OpenError::Http)?;
            let status = response.status();
            // A blob that comes is told of as an object, by who reads it.
            if item.section == MANIFESTS {
                self.tell("GetManifest", &self.name(item), &response);
            } else if response.is_of_origin() && matches!(status, 401 | 403) {
                self.tell("GetBlob", &self.name(item), &response);
            }
            if renewed || !response.is_of_origin() {
                return Ok(response);
            }
            let refused = held.as_ref().map(|held| held.serial);
            if let (403, Some(ecr)) = (status, &self.ecr) {
                // ECR refuses a token that has ended as it refuses a caller: only its words differ.
                let body = response.text(ERROR_BODY).await;
                let (code, message) = words(&body);
                if !message.contains("expired") {
                    return Err(OpenError::Other(
                        Failure::Permanent,
                        self.denied_by_ecr(ecr, item, &code, &message),
                    ));
                }
            } else if status != 401 {
                return Ok(response);
            }
            renewed = true;
            held = if self.ecr.is_some() {
                self.held(item.repository, refused)
                    .await
                    .map_err(no_token)?
            } else {
                let challenges: Vec<Challenge> = response
                    .headers("www-authenticate")
                    .into_iter()
                    .flat_map(challenge::parse)
                    .collect();
                match self.answer(item.repository, &challenges, refused).await? {
                    Some(held) => Some(held),
                    None => return Ok(response),
                }
            };
        }
    }

    fn tell(&self, operation: &str, subject: &str, response: &Response) {
        self.all.0.reporter.report(&Event::RegistryAnswered {
            operation,
            subject,
            location: &response.location(),
            status: response.status(),
            digest: response.header("docker-content-digest"),
            request_id: response.header("x-amzn-requestid"),
            date: response.header("date"),
        });
    }

    /// The credential that is known, if any; of ECR's always one that was not `refused`.
    async fn held(&self, repository: &str, refused: Option<u64>) -> Result<Option<Held>> {
        let Some(ecr) = &self.ecr else {
            return Ok(self.credentials.lock().await.get(repository).cloned());
        };
        let shared = &self.all.0;
        let token = shared
            .tokens
            .get(&shared.session, ecr, refused, &*shared.reporter)
            .await?;
        Ok(Some(Held {
            authorization: token.authorization,
            serial: token.serial,
        }))
    }

    /// Meets a challenge of a registry that is not ECR's. None when there is nothing to meet it with, or nothing else than
    /// what was refused.
    async fn answer(
        &self,
        repository: &str,
        challenges: &[Challenge],
        refused: Option<u64>,
    ) -> Result<Option<Held>, OpenError> {
        let mut credentials = self.credentials.lock().await;
        let before = credentials.get(repository);
        if let Some(newer) = before
            && Some(newer.serial) != refused
        {
            return Ok(Some(newer.clone()));
        }
        let serial = before.map_or(0, |held| held.serial) + 1;
        let of = |scheme| challenges.iter().find(|c| c.scheme == scheme);
        let login = self.login.get_or_init(|| login::find(&self.name));
        let basic = login
            .as_ref()
            .ok()
            .and_then(|login| Authorization::basic(login.encoded()));
        let authorization = match (of("bearer"), of("basic")) {
            (Some(bearer), _) => self.bearer(repository, bearer, basic.as_ref()).await?,
            // A login that was refused once is refused again.
            (None, Some(_)) if refused.is_some() => return Ok(None),
            (None, Some(_)) => match basic {
                Some(basic) => basic,
                None => return Ok(None),
            },
            (None, None) => return Ok(None),
        };
        let held = Held {
            authorization,
            serial,
        };
        credentials.insert(repository.to_owned(), held.clone());
        Ok(Some(held))
    }

    /// Gets a bearer token from where the challenge says ("Token Authentication Specification" of Docker's registry).
    async fn bearer(
        &self,
        repository: &str,
        challenge: &Challenge,
        login: Option<&Authorization>,
    ) -> Result<Authorization, OpenError> {
        let refuse = |kind, why: String| {
            let error = Error::new(kind, "the registry's token could not be had")
                .about(&*self.name)
                .because(why);
            OpenError::Other(Failure::Permanent, error)
        };
        let realm = challenge.get("realm").unwrap_or_default();
        let mut url = Url::parse(realm)
            .ok()
            .filter(Url::has_host)
            .ok_or_else(|| refuse(ErrorKind::Service, "its challenge names no realm".into()))?;
        // Neither fails for a URL with a host.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        // A password must not cross the network in clear.
        let plain = url.scheme() == "http" && is_loopback(&host_of(&url));
        if url.scheme() != "https" && !plain {
            let why = format!("its realm is at {}, not over https", host_of(&url));
            return Err(refuse(ErrorKind::Service, why));
        }
        {
            let mut query = url.query_pairs_mut();
            if let Some(service) = challenge.get("service") {
                query.append_pair("service", service);
            }
            let own = format!("repository:{repository}:pull");
            query.append_pair("scope", challenge.get("scope").unwrap_or(&own));
        }
        let get = Get {
            authorization: login,
            ..Get::of(&url)
        };
        let http = self.all.session().http();
        let mut response = http.get(get).await.map_err(OpenError::Http)?;
        let status = response.status();
        let subject = format!("{}/{repository}", self.name);
        self.tell("GetToken", &subject, &response);
        if status != 200 {
            let from = format!("{} answers with status {status}", host_of(&url));
            let (failure, kind) = match status {
                401 | 403 => {
                    let error = or_because(self.denied_by_login(status == 401), from);
                    return Err(OpenError::Other(Failure::Permanent, error));
                }
                429 => (throttled(&response), ErrorKind::Throttled),
                408 | 500..=599 => (Failure::Transient, ErrorKind::Service),
                _ => (Failure::Permanent, ErrorKind::Service),
            };
            let error = Error::new(kind, "the registry's token could not be had")
                .about(&*self.name)
                .because(from);
            return Err(OpenError::Other(failure, error));
        }
        let body = match response.body(MAX_TOKEN).await {
            Ok(body) => body,
            Err(e @ HttpError::TooLong { .. }) => {
                return Err(refuse(ErrorKind::Service, e.to_string()));
            }
            Err(e) => return Err(OpenError::Http(e)),
        };
        let json: Value = serde_json::from_slice(&body).unwrap_or_default();
        // Both names are in use, for the same thing.
        ["token", "access_token"]
            .into_iter()
            .find_map(|name| json.get(name)?.as_str().filter(|token| !token.is_empty()))
            .and_then(Authorization::bearer)
            .ok_or_else(|| refuse(ErrorKind::Service, "the answer holds no token".into()))
    }

    /// What a refusal of a registry that is not ECR's means, by what was found of a login; `refused` says that the login
    /// itself was, and not only what is asked for.
    fn denied_by_login(&self, refused: bool) -> Error {
        let name = &self.name;
        let denied = |message: String| Error::new(ErrorKind::AccessDenied, message).about(&**name);
        match self.login.get() {
            // It never asked for one.
            None => denied("the registry denies the image".to_owned())
                .hint("it asks for no login, so whoever runs it decides who may pull from it"),
            Some(Ok(login)) if refused => denied(format!(
                "the registry refuses the user and password in {}",
                login.path().display()
            ))
            .hint(format!(
                "log in again, with `docker login {name}` or `skopeo login {name}`"
            )),
            Some(Ok(login)) => denied(format!(
                "the registry denies the image to the login in {}",
                login.path().display()
            ))
            .hint("its user needs the right to pull from the repository; REGISTRY_AUTH_FILE names a file with another login"),
            Some(Err(none)) => none.error(name),
        }
    }

    fn denied_by_ecr(&self, ecr: &Ecr, item: Item<'_>, code: &str, message: &str) -> Error {
        let mut cause = code.to_owned();
        if !message.is_empty() {
            cause.push_str(": ");
            cause.push_str(message);
        }
        Error::new(ErrorKind::AccessDenied, "the registry denies the image")
            .about(self.name(item))
            .because(cause)
            .hint(ecr_hint(ecr, item.repository))
    }

    /// What a 401 or 403 means, by who answered: the registry, or where it led.
    pub(super) fn denied(&self, item: Item<'_>, response: &Response) -> Error {
        let denied = || Error::new(ErrorKind::AccessDenied, "the registry denies the image");
        if response.is_of_origin() {
            let Some(ecr) = &self.ecr else {
                // One that gave a token knows the login, whatever it says then.
                let bearer = response
                    .headers("www-authenticate")
                    .into_iter()
                    .flat_map(challenge::parse)
                    .any(|challenge| challenge.scheme == "bearer");
                return self.denied_by_login(response.status() == 401 && !bearer);
            };
            return denied().hint(ecr_hint(ecr, item.repository));
        }
        let location = response.location();
        let host = location.split('/').nth(2).unwrap_or_default();
        let bucket = match &self.ecr {
            Some(ecr) => format!(
                " (an S3 endpoint's must allow s3:GetObject on arn:aws:s3:::{}/*)",
                ECR_BUCKET.replace("REGION", &ecr.region)
            ),
            None => String::new(),
        };
        denied().hint(format!(
            "the registry signed this URL itself, so no permission of yours is missing: something between here and {host} denies it, such as the policy of an S3 endpoint{bucket}, a data perimeter or a proxy"
        ))
    }

    /// What an answer to a GET of a manifest means, which is no success.
    pub(super) async fn refusal(
        &self,
        item: Item<'_>,
        response: &mut Response,
    ) -> (Failure, Error) {
        let status = response.status();
        let retry = throttled(response);
        let location = response.location();
        let body = response.text(ERROR_BODY).await;
        let (code, message) = words(&body);
        let cause = match (code.as_str(), message.as_str()) {
            ("", "") => format!("status {status}, from {location}"),
            (text, "") | ("", text) => format!("{text}, status {status}, from {location}"),
            (code, message) => format!("{code}: {message}, status {status}, from {location}"),
        };
        if matches!(status, 401 | 403) {
            let error = self.denied(item, response).about(self.name(item));
            let error = or_because(error, cause);
            return (Failure::Permanent, error);
        }
        let error = |kind, text: &str| {
            Error::new(kind, text)
                .about(self.name(item))
                .because(cause.clone())
        };
        match status {
            404 | 410 => {
                let text = "the image is not in its registry";
                (Failure::Permanent, error(ErrorKind::NotFound, text))
            }
            429 => {
                let text = "the registry asks to slow down";
                (retry, error(ErrorKind::Throttled, text))
            }
            407 => {
                let hint = "the proxy wants a user and password: HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT";
                let error = error(ErrorKind::Network, "the registry cannot be reached");
                (Failure::Permanent, error.hint(hint))
            }
            408 | 500..=599 => {
                let error = error(ErrorKind::Service, "the registry has a fault of its own");
                (Failure::Transient, error)
            }
            406 | 415 => {
                let text = "the registry has no manifest of a kind that larder knows";
                (Failure::Permanent, error(ErrorKind::ArchiveBroken, text))
            }
            _ => {
                let text = "the registry gives no manifest";
                (Failure::Permanent, error(ErrorKind::Service, text))
            }
        }
    }
}

/// Adds a cause where there is none. Where a file of logins is what is wrong, that is the cause already.
fn or_because(error: Error, cause: String) -> Error {
    if error.causes().is_empty() {
        error.because(cause)
    } else {
        error
    }
}

fn ecr_hint(ecr: &Ecr, repository: &str) -> String {
    format!(
        "the caller needs the IAM actions ecr:BatchGetImage and ecr:GetDownloadUrlForLayer on {}; where that is another account's, the repository's policy must allow them too",
        ecr.repository_arn(repository)
    )
}

fn throttled(response: &Response) -> Failure {
    Failure::Throttled {
        retry_after: response.header("retry-after").and_then(parse_retry_after),
    }
}

/// A token that could not be had was asked for again already.
fn no_token(error: Error) -> OpenError {
    OpenError::Other(Failure::Permanent, error)
}

/// Code and message of a registry's error (OCI Distribution Specification 1.1, "Error Codes"); empty where there are none.
fn words(body: &str) -> (String, String) {
    let json: Value = serde_json::from_str(body).unwrap_or_default();
    let text = |name: &str| {
        let text = json.pointer(&format!("/errors/0/{name}"));
        let text = text.and_then(Value::as_str).unwrap_or_default();
        text.chars().take(MAX_WORDS).collect()
    };
    (text("code"), text("message"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registrys_words_are_bounded() {
        let body = format!(
            r#"{{"errors":[{{"code":"DENIED","message":"{}"}}]}}"#,
            "x".repeat(9000)
        );
        let (code, message) = words(&body);
        assert_eq!((code.as_str(), message.len()), ("DENIED", MAX_WORDS));
        for body in ["", "<html>", "[]", "{\"errors\":{}}"] {
            assert_eq!(words(body), (String::new(), String::new()), "{body}");
        }
    }
}
