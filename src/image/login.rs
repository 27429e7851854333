//! Users and passwords of registries other than ECR's, as `docker login` and `skopeo login` keep them.
//!
//! Helpers that such a file names (`credsStore`, `credHelpers`) are not run: ECR, the one registry that Lambda takes images
//! from, is asked with the caller's own credentials, and a program that a file names would be run with all that the caller
//! may do. Whoever has a login in a helper alone is told so.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::error::{Error, ErrorKind};
use crate::files::{self, FilesError};

/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;
/// The longest name of a helper that is shown, in characters.
const MAX_NAME: usize = 100;

/// What is known of one registry: `user:password` in base64, as a `Basic` credential has it, and where that stands.
#[derive(Clone)]
pub(super) struct Login {
    encoded: String,
    path: PathBuf,
}

impl Login {
    /// The credential of a `Basic` header.
    pub(super) fn encoded(&self) -> &str {
        &self.encoded
    }

    /// The file that has it.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Login(…)")
    }
}

/// Why there is no login.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoLogin {
    /// None of the usual files has one.
    #[error("the registry wants a login, and there is none")]
    Nowhere,
    /// A file cannot be read; also that which `REGISTRY_AUTH_FILE` names and which is not there.
    #[error("the registry wants a login, and a file that may hold it cannot be read")]
    Unreadable(#[source] FilesError),
    /// A file is not what it should be. What it holds is never quoted.
    #[error("the registry wants a login, and {} is no file of logins", path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        why: Why,
    },
    /// A file names a program that would know it.
    #[error(
        "the registry wants a login, and {} leaves it to the helper docker-credential-{helper}, which larder does not run",
        path.display()
    )]
    Helper {
        /// The file.
        path: PathBuf,
        /// What follows `docker-credential-`.
        helper: String,
    },
}

/// What is wrong with a file of logins.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Why(String);

impl NoLogin {
    /// As an error about the registry.
    pub(super) fn error(&self, registry: &str) -> Error {
        let kind = match self {
            Self::Nowhere | Self::Helper { .. } => ErrorKind::AccessDenied,
            Self::Unreadable(_) => ErrorKind::Io,
            Self::Malformed { .. } => ErrorKind::Usage,
        };
        let mut error = Error::new(kind, self.to_string()).about(registry);
        match self {
            Self::Unreadable(cause) => error = error.because(cause.to_string()),
            Self::Malformed { why, .. } => error = error.because(why.to_string()),
            Self::Nowhere | Self::Helper { .. } => {}
        }
        error.hint(self.hint(registry))
    }

    /// What to do about it.
    pub(super) fn hint(&self, registry: &str) -> String {
        match self {
            Self::Nowhere => format!(
                "log in first, with `docker login {registry}` or `skopeo login {registry}`: larder reads REGISTRY_AUTH_FILE, ~/.docker/config.json and skopeo's containers/auth.json (no credential helpers)"
            ),
            Self::Unreadable(_) => {
                "REGISTRY_AUTH_FILE, DOCKER_CONFIG, HOME and XDG_RUNTIME_DIR say which files are read; mend that one, or name another with REGISTRY_AUTH_FILE".to_owned()
            }
            Self::Malformed { path, .. } => format!(
                "mend {}, or write another with `skopeo login --authfile FILE {registry}` and set REGISTRY_AUTH_FILE=FILE",
                path.display()
            ),
            Self::Helper { .. } => format!(
                "write the login into a file with `skopeo login --authfile FILE {registry}`, and set REGISTRY_AUTH_FILE=FILE; for ECR's own registries none is needed"
            ),
        }
    }
}

/// The login for `registry`, from the first of the usual files that has one: `REGISTRY_AUTH_FILE`, `config.json` in
/// `DOCKER_CONFIG`, `~/.docker/config.json`, and skopeo's own `containers/auth.json` in `XDG_RUNTIME_DIR` or `~/.config`.
/// When none has one, the first thing that was in the way.
pub(super) fn find(registry: &str) -> Result<Login, NoLogin> {
    among(
        &places(|name| std::env::var_os(name).filter(|value| !value.is_empty())),
        registry,
    )
}

/// A file that may hold logins, and whether the user named it.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    path: PathBuf,
    named: bool,
}

/// Where skopeo and podman keep logins (containers-auth.json(5)).
const CONTAINERS: &str = "containers/auth.json";

fn places(variable: impl Fn(&str) -> Option<OsString>) -> Vec<Place> {
    let path = |name: &str| variable(name).map(PathBuf::from);
    let home = path("HOME").map(|home| home.join(".docker"));
    let usual = [
        path("DOCKER_CONFIG")
            .or(home)
            .map(|dir| dir.join("config.json")),
        path("XDG_RUNTIME_DIR").map(|dir| dir.join(CONTAINERS)),
        path("HOME").map(|home| home.join(".config").join(CONTAINERS)),
    ];
    let place = |named| move |path| Place { path, named };
    let named = path("REGISTRY_AUTH_FILE").map(place(true));
    let usual = usual.into_iter().flatten().map(place(false));
    named.into_iter().chain(usual).collect()
}

fn among(places: &[Place], registry: &str) -> Result<Login, NoLogin> {
    let mut first = None;
    for place in places {
        match in_file(place, registry) {
            Ok(Some(login)) => return Ok(login),
            Ok(None) => {}
            Err(trouble) => {
                tracing::debug!("{trouble}");
                first.get_or_insert(trouble);
            }
        }
    }
    Err(first.unwrap_or(NoLogin::Nowhere))
}

fn in_file(place: &Place, registry: &str) -> Result<Option<Login>, NoLogin> {
    let path = &place.path;
    if !place.named && !files::exists(path) {
        return Ok(None);
    }
    let malformed = |why: String| NoLogin::Malformed {
        path: path.clone(),
        why: Why(why),
    };
    let json = files::read_small(path, MAX_FILE).map_err(NoLogin::Unreadable)?;
    let json: Value =
        serde_json::from_slice(&json).map_err(|e| malformed(format!("it is no JSON: {e}")))?;
    if !json.is_object() {
        return Err(malformed("it is no JSON object".to_owned()));
    }
    let of = |field: &str| {
        let entries = json.get(field)?.as_object()?;
        let (_, entry) = entries
            .iter()
            .find(|(name, _)| host_of(name).eq_ignore_ascii_case(registry))?;
        Some(entry)
    };
    if let Some(encoded) = of("auths")
        .and_then(|entry| entry.get("auth")?.as_str())
        .filter(|encoded| !encoded.is_empty())
    {
        let decoded = STANDARD.decode(encoded).unwrap_or_default();
        if !decoded.contains(&b':') {
            return Err(malformed(format!(
                "what it has for {registry} is no user and password in base64"
            )));
        }
        return Ok(Some(Login {
            encoded: encoded.to_owned(),
            path: path.clone(),
        }));
    }
    let helper = of("credHelpers").or_else(|| json.get("credsStore"));
    match helper
        .and_then(Value::as_str)
        .filter(|name| !name.is_empty())
    {
        Some(helper) => Err(NoLogin::Helper {
            path: path.clone(),
            helper: helper.chars().take(MAX_NAME).collect(),
        }),
        None => Ok(None),
    }
}

/// The registry that a key of `auths` names: `host:port`, or as a URL with a path.
fn host_of(name: &str) -> &str {
    let bare = name.split_once("://").map_or(name, |(_, rest)| rest);
    bare.split('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn usual(path: PathBuf) -> Place {
        Place { path, named: false }
    }

    #[test]
    fn a_login_is_found_under_its_host() {
        let dir = tempfile::tempdir().unwrap();
        let place = usual(dir.path().join("config.json"));
        let auth = STANDARD.encode("u:s3cret");
        let json = json!({
            "auths": {
                "127.0.0.1:5000": {"auth": auth},
                "https://index.example/v1/": {"auth": auth},
                "both.example": {"auth": auth},
                "helper.example": {},
                "broken.example": {"auth": "?"},
            },
            "credHelpers": {"helper.example": "one", "both.example": "two"},
        });
        std::fs::write(&place.path, json.to_string()).unwrap();
        for (registry, found) in [
            ("127.0.0.1:5000", "login"),
            ("index.example", "login"),
            ("both.example", "login"),
            ("127.0.0.1", "nothing"),
            ("helper.example", "docker-credential-one"),
            ("broken.example", "config.json is no file of logins"),
        ] {
            let said = match in_file(&place, registry) {
                Ok(Some(login)) => {
                    assert_eq!((login.encoded(), login.path()), (&*auth, &*place.path));
                    assert_eq!(format!("{login:?}"), "Login(…)");
                    "login".to_owned()
                }
                Ok(None) => "nothing".to_owned(),
                Err(e) => e.to_string(),
            };
            assert!(said.contains(found), "{registry}: {said}");
        }
        let absent = usual(dir.path().join("none"));
        assert!(in_file(&absent, "index.example").unwrap().is_none());
        let named = Place {
            named: true,
            ..absent
        };
        let refused = in_file(&named, "index.example");
        assert!(matches!(refused, Err(NoLogin::Unreadable(_))));
    }

    #[test]
    fn a_file_that_is_none_does_not_hide_another_and_is_not_quoted() {
        let dir = tempfile::tempdir().unwrap();
        let places = ["a", "b", "c"].map(|name| usual(dir.path().join(name)));
        std::fs::write(&places[0].path, "{\"auths\": s3cret").unwrap();
        std::fs::write(
            &places[1].path,
            json!({"credsStore": "desktop"}).to_string(),
        )
        .unwrap();
        let first = among(&places, "r.example").unwrap_err();
        assert!(matches!(first, NoLogin::Malformed { .. }), "{first}");
        let error = first.error("r.example");
        assert!(!format!("{error} {:?}", error.causes()).contains("s3cret"));
        assert!(matches!(
            among(&places[1..], "r.example"),
            Err(NoLogin::Helper { helper, .. }) if helper == "desktop"
        ));
        let auth = STANDARD.encode("u:p");
        let json = json!({"auths": {"r.example": {"auth": auth}}});
        std::fs::write(&places[2].path, json.to_string()).unwrap();
        assert_eq!(among(&places, "r.example").unwrap().encoded(), auth);
        assert!(matches!(among(&[], "r.example"), Err(NoLogin::Nowhere)));
    }

    #[test]
    fn the_files_are_those_of_docker_and_skopeo() {
        let of = |known: &[(&str, &str)]| {
            places(|name| {
                let found = known.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| value.into())
            })
        };
        let paths = |list: &[&str]| {
            list.iter()
                .map(|path| usual(PathBuf::from(path)))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            of(&[("HOME", "/h"), ("XDG_RUNTIME_DIR", "/r")]),
            paths(&[
                "/h/.docker/config.json",
                "/r/containers/auth.json",
                "/h/.config/containers/auth.json"
            ])
        );
        let found = of(&[
            ("HOME", "/h"),
            ("DOCKER_CONFIG", "/d"),
            ("REGISTRY_AUTH_FILE", "/a.json"),
        ]);
        assert_eq!(found[0].path, Path::new("/a.json"));
        assert!(found[0].named);
        assert_eq!(
            found[1..],
            paths(&["/d/config.json", "/h/.config/containers/auth.json"])
        );
    }
}
