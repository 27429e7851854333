//! Users and passwords of registries other than ECR's, as `docker login` and `skopeo login` keep them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::files;

/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// What is known of one registry: `user:password` in base64, as a `Basic` credential has it.
#[derive(Clone)]
pub(super) struct Login(String);

impl Login {
    /// The credential of a `Basic` header.
    pub(super) fn encoded(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Login(…)")
    }
}

/// The login for `registry`, from the first of the usual files that has one: `REGISTRY_AUTH_FILE`, `config.json` in
/// `DOCKER_CONFIG`, `~/.docker/config.json`, and skopeo's own `containers/auth.json` in `XDG_RUNTIME_DIR` or `~/.config`.
/// Helpers that such a file names are not run.
pub(super) fn find(registry: &str) -> Option<Login> {
    places(|name| std::env::var_os(name).filter(|value| !value.is_empty()))
        .iter()
        .find_map(|path| in_file(path, registry))
}

/// Where skopeo and podman keep logins (containers-auth.json(5)).
const CONTAINERS: &str = "containers/auth.json";

fn places(variable: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let path = |name: &str| variable(name).map(PathBuf::from);
    let home = path("HOME").map(|home| home.join(".docker"));
    [
        path("REGISTRY_AUTH_FILE"),
        path("DOCKER_CONFIG")
            .or(home)
            .map(|dir| dir.join("config.json")),
        path("XDG_RUNTIME_DIR").map(|dir| dir.join(CONTAINERS)),
        path("HOME").map(|home| home.join(".config").join(CONTAINERS)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn in_file(path: &Path, registry: &str) -> Option<Login> {
    // A login that cannot be read is one that is not there: the registry then says what it wants.
    let json = files::read_small(path, MAX_FILE).ok()?;
    let json: Value = serde_json::from_slice(&json).ok()?;
    let auths = json.get("auths")?.as_object()?;
    let entry = auths
        .iter()
        .find(|(name, _)| host_of(name).eq_ignore_ascii_case(registry))?;
    let encoded = entry.1.get("auth")?.as_str()?;
    let decoded = STANDARD.decode(encoded).ok()?;
    decoded.contains(&b':').then(|| Login(encoded.to_owned()))
}

/// The registry that a key of `auths` names: `host:port`, or as a URL with a path.
fn host_of(name: &str) -> &str {
    let bare = name.split_once("://").map_or(name, |(_, rest)| rest);
    bare.split('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_found_under_its_host() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        let auth = STANDARD.encode("u:s3cret");
        let json = serde_json::json!({"auths": {
            "127.0.0.1:5000": {"auth": auth},
            "https://index.example/v1/": {"auth": auth},
            "helper.example": {},
            "broken.example": {"auth": "?"},
        }});
        std::fs::write(&path, json.to_string()).unwrap();
        for (registry, found) in [
            ("127.0.0.1:5000", true),
            ("index.example", true),
            ("127.0.0.1", false),
            ("helper.example", false),
            ("broken.example", false),
        ] {
            assert_eq!(in_file(&path, registry).is_some(), found, "{registry}");
        }
        let login = in_file(&path, "index.example").unwrap();
        assert_eq!(login.encoded(), auth);
        assert_eq!(format!("{login:?}"), "Login(…)");
        assert!(in_file(&dir.path().join("none"), "index.example").is_none());
    }

    #[test]
    fn the_files_are_those_of_docker_and_skopeo() {
        let of = |known: &[(&str, &str)]| {
            places(|name| {
                let found = known.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| value.into())
            })
        };
        let paths = |list: &[&str]| list.iter().map(PathBuf::from).collect::<Vec<_>>();
        assert_eq!(
            of(&[("HOME", "/h"), ("XDG_RUNTIME_DIR", "/r")]),
            paths(&[
                "/h/.docker/config.json",
                "/r/containers/auth.json",
                "/h/.config/containers/auth.json"
            ])
        );
        assert_eq!(
            of(&[
                ("HOME", "/h"),
                ("DOCKER_CONFIG", "/d"),
                ("REGISTRY_AUTH_FILE", "/a.json")
            ]),
            paths(&[
                "/a.json",
                "/d/config.json",
                "/h/.config/containers/auth.json"
            ])
        );
    }
}
