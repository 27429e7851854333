//! From resources to expectations: which of a resource's values says what is meant.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::resource::{Kind, Resource};
use super::{TerraformHash, TerraformOptions};
use crate::digest::Sha256Digest;
use crate::drift::{
    AliasExpectation, Code, Config, Expectation, FileKind, Files, Layer, Named, Source, SourceKind,
    State, Stated, Target,
};
use crate::function::FunctionRef;

/// What all of a file's resources are read with.
struct Reader<'a> {
    path: &'a Path,
    files: &'a dyn Files,
    hash: TerraformHash,
    layers: Vec<&'a Resource>,
}

/// One expectation a function, and one a function that only an alias names.
pub(super) fn expectations(
    resources: &[Resource],
    path: &Path,
    files: &dyn Files,
    options: &TerraformOptions,
) -> Stated {
    let of = |kind| resources.iter().filter(move |r| r.kind == kind);
    let reader = Reader {
        path,
        files,
        hash: options.hash,
        layers: of(Kind::LayerVersion).collect(),
    };
    let functions: Vec<_> = of(Kind::Function).collect();
    let mut expectations: Vec<_> = functions.iter().map(|f| reader.function(f)).collect();
    for alias in of(Kind::Alias) {
        let owner = functions.iter().position(|f| owns(f, alias));
        let at = owner.unwrap_or_else(|| {
            let source = reader.source(alias);
            let target = target_of(alias, alias.text("function_name"));
            // The same function by two aliases is one expectation.
            let mut known = expectations.iter().skip(functions.len());
            let known = known.position(|e| e.target == target);
            known.map_or_else(
                || {
                    expectations.push(Expectation::of_code(target, source, Code::Unstated));
                    expectations.len() - 1
                },
                |at| at + functions.len(),
            )
        });
        let version = owner.and_then(|i| functions[i].text("version"));
        let expectation = &mut expectations[at];
        match reader.alias(alias, version, &expectation.state) {
            Ok(alias) => expectation.aliases.push(alias),
            Err(note) => expectation.notes.push(note),
        }
    }
    Stated {
        expectations,
        warnings: Vec::new(),
    }
}

/// Whether the alias is one of this function's.
fn owns(function: &Resource, alias: &Resource) -> bool {
    if let (Some(function), Some(alias)) = (function.text("arn"), alias.text("arn")) {
        return alias.rsplit_once(':').map(|(arn, _)| arn) == Some(function);
    }
    let Some(named) = alias.text("function_name") else {
        return false;
    };
    let same_region = function.text("region") == alias.text("region");
    [("function_name", same_region), ("arn", true)]
        .into_iter()
        .any(|(name, same_region)| same_region && function.text(name) == Some(named))
}

fn target_of(resource: &Resource, name: Option<&str>) -> Target {
    // The ARN has region and account. An alias's ends with the alias, which is no part of the target.
    let arn = resource.text("arn").map(|arn| match resource.kind {
        Kind::Alias => arn.rsplit_once(':').map_or(arn, |(arn, _)| arn),
        _ => arn,
    });
    let unknown = |reason: String| Target {
        function: Named::Unknown {
            label: resource.address.clone(),
            reason,
            cause: None,
        },
        region: None,
        account: None,
        qualifier: None,
    };
    let Some(text) = arn.or(name) else {
        let known_later = resource.is_unknown("function_name") || resource.is_unknown("arn");
        return unknown(if known_later {
            "the function's name is known after apply only".into()
        } else {
            "the state has neither arn nor function_name".into()
        });
    };
    match text.parse::<FunctionRef>() {
        Ok(function) => {
            let mut target = Target::of(function);
            if target.region.is_none() {
                target.region = resource.text("region").map(ToOwned::to_owned);
            }
            target
        }
        Err(e) => unknown(e.to_string()),
    }
}

impl Reader<'_> {
    fn source(&self, resource: &Resource) -> Source {
        Source::new(SourceKind::Terraform, self.path.display().to_string())
            .labelled(&resource.address)
    }

    fn function(&self, function: &Resource) -> Expectation {
        let mut notes = Vec::new();
        let image =
            function.text("package_type") == Some("Image") || function.text("image_uri").is_some();
        let code = if image {
            self.image(function, &mut notes)
        } else {
            self.zip(function, &mut notes)
        };
        let target = target_of(function, function.text("function_name"));
        let mut expectation = Expectation::of_code(target, self.source(function), code);
        expectation.state.layers = if image { None } else { self.layers(function) };
        expectation.state.config = config(function);
        expectation.notes = notes;
        expectation
    }

    /// The code of a zip function or layer, by the order of intent.
    fn zip(&self, resource: &Resource, notes: &mut Vec<String>) -> Code {
        let wanted = self.hash;
        if wanted == TerraformHash::Auto
            && resource.code_sha256_configured
            && let Some(sha256) = hash_of(resource, "code_sha256")
        {
            return digest(sha256, "code_sha256 of the configuration");
        }
        if wanted == TerraformHash::Auto
            && let Some(path) = self.local_file(resource, notes)
        {
            return Code::Zip(path);
        }
        if wanted != TerraformHash::CodeSha256 {
            match source_code_hash(resource, Sha256Digest::from_base64) {
                Ok(Some(sha256)) => {
                    return Code::Digest {
                        sha256,
                        size: None,
                        tree: None,
                        h1: None,
                        basis: "source_code_hash".into(),
                        instead: hash_of(resource, "code_sha256")
                            .filter(|own| *own != sha256)
                            .map(|own| (own, hash_of_sources(resource)))
                            .into_iter()
                            .collect(),
                    };
                }
                Ok(None) => {}
                Err(note) => notes.push(note),
            }
        }
        match hash_of(resource, "code_sha256") {
            Some(sha256) if wanted != TerraformHash::SourceCodeHash => {
                digest(sha256, refreshed(resource))
            }
            _ => Code::CannotTell(self.nothing(resource)),
        }
    }

    fn image(&self, function: &Resource, notes: &mut Vec<String>) -> Code {
        let uri = function.text("image_uri");
        let image = |digest: Option<Sha256Digest>, basis: &str| Code::Image {
            digest,
            uri: uri.map(ToOwned::to_owned),
            basis: basis.to_owned(),
        };
        let own = hash_of(function, "code_sha256");
        if self.hash == TerraformHash::Auto {
            if function.code_sha256_configured && own.is_some() {
                return image(own, "code_sha256 of the configuration");
            }
            let pinned = uri.and_then(|uri| uri.split_once("@sha256:"));
            if let Some(digest) = pinned.and_then(|(_, hex)| Sha256Digest::from_hex(hex).ok()) {
                return image(Some(digest), "image_uri");
            }
        }
        if self.hash != TerraformHash::CodeSha256 {
            match source_code_hash(function, Sha256Digest::from_hex) {
                Ok(Some(digest)) => return image(Some(digest), "source_code_hash"),
                Ok(None) => {}
                Err(note) => notes.push(note),
            }
        }
        match (own, uri) {
            (Some(_), _) if self.hash != TerraformHash::SourceCodeHash => {
                image(own, refreshed(function))
            }
            (_, Some(_)) if self.hash == TerraformHash::Auto => image(None, "image_uri"),
            _ => Code::CannotTell(self.nothing(function)),
        }
    }

    /// Why there is nothing to compare with.
    fn nothing(&self, resource: &Resource) -> String {
        let (names, hint): (&[&str], _) = match self.hash {
            TerraformHash::Auto => (&["source_code_hash", "code_sha256"], ""),
            TerraformHash::CodeSha256 => (
                &["code_sha256"],
                " (the AWS provider writes it since version 5.51)",
            ),
            TerraformHash::SourceCodeHash => (&["source_code_hash"], ""),
        };
        let later = names.iter().any(|name| resource.is_unknown(name));
        let names = names.join(" or ");
        if later {
            format!("{names} is known after apply only")
        } else {
            format!("there is no usable {names} in it{hint}")
        }
    }

    /// The file that `filename` names: as it is when absolute, else from the directory of the state, else from the
    /// current one. Terraform itself takes it from the directory it runs in, where the state usually lies.
    fn local_file(&self, resource: &Resource, notes: &mut Vec<String>) -> Option<PathBuf> {
        let filename = Path::new(resource.text("filename")?);
        let beside = self.path.parent().unwrap_or(Path::new("")).join(filename);
        let mut tried = vec![(beside, "from the directory of the Terraform file")];
        if tried[0].0 != filename {
            tried.push((filename.to_owned(), "from the current directory"));
        }
        for (path, how) in &tried {
            if self.files.kind(path) == Some(FileKind::File) {
                let how = if filename.is_absolute() {
                    "as it is"
                } else {
                    how
                };
                notes.push(format!(
                    "compared with filename {}, taken {how}: {}",
                    filename.display(),
                    path.display()
                ));
                return Some(path.clone());
            }
        }
        let tried: Vec<_> = tried.iter().map(|(p, _)| p.display().to_string()).collect();
        notes.push(format!(
            "filename {} is not here (tried {}); the next value in the state is used",
            filename.display(),
            tried.join(" and ")
        ));
        None
    }

    fn layers(&self, function: &Resource) -> Option<Vec<Layer>> {
        let listed = function.attributes.get("layers").and_then(Value::as_array);
        let later = |label: String| Layer {
            label,
            arn: None,
            code: Code::CannotTell("it is known after apply only".into()),
        };
        let unreadable = |label: String| Layer {
            code: Code::CannotTell(format!("what the source says of {label} cannot be read")),
            ..later(label)
        };
        let items = match listed {
            Some(items) => items,
            None if function.is_unknown("layers") => return Some(vec![later(Layer::LIST.into())]),
            // A null stands there where none is configured.
            None => {
                return match function.attributes.get("layers")? {
                    Value::Null => Some(Vec::new()),
                    _ => Some(vec![unreadable(Layer::LIST.into())]),
                };
            }
        };
        let of_item = |(i, item): (usize, &Value)| match item {
            Value::Null => later(format!("layers[{i}]")),
            Value::String(arn) => Layer {
                label: arn.clone(),
                arn: Some(arn.clone()),
                code: self.layer_code(arn),
            },
            _ if function.is_unknown("layers") => later(format!("layers[{i}]")),
            _ => unreadable(format!("layers[{i}]")),
        };
        Some(items.iter().enumerate().map(of_item).collect())
    }

    /// The code of a layer version that the same state has.
    fn layer_code(&self, arn: &str) -> Code {
        let layer = self.layers.iter().find(|l| l.text("arn") == Some(arn));
        match layer.map(|layer| self.zip(layer, &mut Vec::new())) {
            // The ARN alone is enough.
            None | Some(Code::CannotTell(_)) => Code::Unstated,
            Some(code) => code,
        }
    }

    /// An alias, or why its routing cannot be told. `function_version` is the version that has the function's code.
    fn alias(
        &self,
        alias: &Resource,
        function_version: Option<&str>,
        state: &State,
    ) -> Result<AliasExpectation, String> {
        let name = alias.text("name");
        let (Some(name), Some(version)) = (name, alias.text("function_version")) else {
            return Err(format!(
                "the alias {} is not compared: its name or version is not in the {}",
                name.unwrap_or(&alias.address),
                if alias.planned {
                    "plan; it is known after apply only"
                } else {
                    "state"
                }
            ));
        };
        let routing = alias.attributes.get("routing_config");
        let weights: BTreeMap<_, _> = routing
            .and_then(|routing| {
                routing
                    .get(0)?
                    .get("additional_version_weights")?
                    .as_object()
            })
            .into_iter()
            .flatten()
            .filter_map(|(version, weight)| Some((version.clone(), weight.as_f64()?)))
            .collect();
        let keys: Vec<_> = weights.keys().cloned().collect();
        let routed = keys.iter().map(String::as_str).chain([version]);
        let same_code = |v: &&str| *v == "$LATEST" || Some(*v) == function_version;
        let versions: BTreeMap<_, _> = match state.code {
            Code::Unstated => BTreeMap::new(),
            _ => routed
                .filter(same_code)
                .map(|v| (v.to_owned(), state.clone()))
                .collect(),
        };
        Ok(AliasExpectation {
            name: name.to_owned(),
            version: version.to_owned(),
            weights,
            versions,
            source: Some(self.source(alias)),
        })
    }
}

fn digest(sha256: Sha256Digest, basis: &str) -> Code {
    Code::Digest {
        sha256,
        size: None,
        tree: None,
        h1: None,
        basis: basis.to_owned(),
        instead: Vec::new(),
    }
}

fn hash_of(resource: &Resource, name: &str) -> Option<Sha256Digest> {
    resource.text(name)?.parse().ok()
}

/// A `source_code_hash` of the form that this package type has; Err for one that is no such hash.
fn source_code_hash<E>(
    resource: &Resource,
    parse: fn(&str) -> Result<Sha256Digest, E>,
) -> Result<Option<Sha256Digest>, String> {
    let Some(text) = resource.text("source_code_hash") else {
        return Ok(None);
    };
    parse(text).map(Some).map_err(|_| {
        "source_code_hash is not the SHA-256 of a package (32 bytes in base64 for a zip, 64 hex digits for an image) and \
         is not used"
            .to_owned()
    })
}

fn refreshed(resource: &Resource) -> &'static str {
    if resource.planned {
        "code_sha256 of the plan, as of the last refresh"
    } else {
        "code_sha256 of the state, as of the last refresh"
    }
}

fn hash_of_sources(resource: &Resource) -> String {
    format!(
        "what is deployed is the code_sha256 of the {} and not its source_code_hash: that may be a hash of sources and not of \
         the package; if so, use --terraform-hash code_sha256",
        if resource.planned { "plan" } else { "state" }
    )
}

/// The configuration. What is there, is not null and is not of the form that Terraform writes is named as unreadable.
fn config(function: &Resource) -> Config {
    let mut unreadable = BTreeSet::new();
    let mut config = Config {
        package_type: read(function, "package_type", &mut unreadable, text),
        runtime: read(function, "runtime", &mut unreadable, text),
        handler: read(function, "handler", &mut unreadable, text),
        architectures: read(function, "architectures", &mut unreadable, texts),
        memory_size: read(function, "memory_size", &mut unreadable, number),
        timeout: read(function, "timeout", &mut unreadable, number),
        role: read(function, "role", &mut unreadable, text),
        environment: read(function, "environment", &mut unreadable, |value| {
            are_blocks(value).then(|| environment(function))
        }),
        ..Config::default()
    };
    config.unreadable = unreadable;
    config
}

/// A value of the function by what reads it: None of one that cannot be read, `Some(None)` of one that is not set.
fn read<T>(
    function: &Resource,
    name: &str,
    unreadable: &mut BTreeSet<String>,
    read: impl Fn(&Value) -> Option<Option<T>>,
) -> Option<T> {
    let value = function.attributes.get(name)?;
    // Of blocks the values may be unknown and the names not; the reader of them sees to that.
    let later = name != "environment" && function.is_unknown(name);
    if value.is_null() || later {
        return None;
    }
    read(value).unwrap_or_else(|| {
        unreadable.insert(name.to_owned());
        None
    })
}

/// A text; providers write `""` for what is not set.
#[expect(clippy::option_option, reason = "unreadable, not set, or set")]
fn text(value: &Value) -> Option<Option<String>> {
    let text = value.as_str()?;
    Some((!text.is_empty()).then(|| text.to_owned()))
}

/// A whole number of at least 0: as such, with a fraction of zero, or in quotes as Terraform 0.11 wrote it.
#[expect(clippy::option_option, reason = "unreadable, not set, or set")]
fn number(value: &Value) -> Option<Option<u64>> {
    let text = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        _ => return None,
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let is_whole = digits(whole) && digits(fraction) && fraction.bytes().all(|b| b == b'0');
    is_whole.then(|| whole.parse().ok()).flatten().map(Some)
}

/// A list of texts; an empty one is not set.
#[expect(clippy::option_option, reason = "unreadable, not set, or set")]
fn texts(value: &Value) -> Option<Option<BTreeSet<String>>> {
    let items = value.as_array()?.iter();
    let items: BTreeSet<String> = items
        .map(|item| item.as_str().map(ToOwned::to_owned))
        .collect::<Option<_>>()?;
    Some((!items.is_empty()).then_some(items))
}

/// Whether a value is a list of blocks whose `variables` are a map or not set.
fn are_blocks(value: &Value) -> bool {
    let is_block = |block: &Value| match block {
        Value::Null => true,
        Value::Object(block) => match block.get("variables") {
            None | Some(Value::Null | Value::Object(_)) => true,
            Some(_) => false,
        },
        _ => false,
    };
    value
        .as_array()
        .is_some_and(|blocks| blocks.iter().all(is_block))
}

/// The names of the environment variables; None where a part of them is unknown yet.
fn environment(function: &Resource) -> Option<BTreeSet<String>> {
    let blocks = function.attributes.get("environment")?.as_array()?;
    let unknown = function.unknown.get("environment");
    // The values may be unknown while the names are not: `[{"variables": {"A": true}}]`.
    let names_unknown = match unknown {
        Some(Value::Bool(all)) => *all,
        Some(tree) => tree
            .pointer("/0/variables")
            .is_some_and(|v| v.as_bool() == Some(true)),
        None => false,
    };
    if names_unknown {
        return None;
    }
    let later = unknown.and_then(|tree| tree.pointer("/0/variables")?.as_object());
    let variables = blocks
        .iter()
        .filter_map(|b| b.get("variables")?.as_object());
    Some(
        variables
            .chain(later)
            .flat_map(|v| v.keys().cloned())
            .collect(),
    )
}
