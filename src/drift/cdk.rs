//! CDK: what a cloud assembly (`cdk.out`, as `cdk synth` leaves it) means functions to be.
//!
//! The assembly has a manifest, templates, and beside each template a manifest of assets: which object of the bootstrap
//! bucket is made from which file or directory. A stage is an assembly in the assembly. Code that is an asset is compared
//! by content: its key in the bucket is a hash of its sources, and the zip is made when it is published.
//!
//! Sources: the JSON schemas of the package `@aws-cdk/cloud-assembly-schema`, and assemblies of `aws-cdk-lib` (see
//! `testdata/README.md`).

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::template::functions::{Place, Resource, Tool, collect};
use super::template::intrinsic::Scope;
use super::template::{Template, beside};
use super::{Code, Files, SourceKind, Stated, TemplateOptions};
use crate::error::{Error, ErrorKind, Result};

const MANIFEST: &str = "manifest.json";
/// How deep assemblies may be nested.
const MAX_NESTED: usize = 8;

/// Reads the assembly in the directory `path`.
///
/// # Errors
/// [`ErrorKind::Usage`]: there is no manifest, a file of the assembly is broken or missing, none of the stacks asked for is
/// in it, or there is no function at all.
pub fn read(path: &Path, files: &dyn Files, options: &TemplateOptions) -> Result<Stated> {
    let root = match path.file_name() {
        Some(name) if name == MANIFEST => path.parent().unwrap_or(Path::new("")),
        _ => path,
    };
    let mut reader = Reader {
        files,
        options,
        known: Vec::new(),
        used: vec![false; options.stacks.len()],
        stated: Stated::default(),
    };
    reader.assembly(root, 0)?;
    let wrong =
        |message: String| Error::new(ErrorKind::Usage, message).about(path.display().to_string());
    if let Some(stack) =
        (options.stacks.iter().zip(&reader.used)).find_map(|(s, used)| (!used).then_some(s))
    {
        return Err(wrong(format!("there is no stack {stack:?} in it"))
            .hint(format!("the stacks are: {}", reader.known.join(", "))));
    }
    if reader.stated.expectations.is_empty() {
        return Err(wrong("there is no Lambda function in it".into()));
    }
    Ok(reader.stated)
}

struct Reader<'a> {
    files: &'a dyn Files,
    options: &'a TemplateOptions,
    /// The names of all stacks.
    known: Vec<String>,
    /// Which of [`TemplateOptions::stacks`] were found.
    used: Vec<bool>,
    stated: Stated,
}

impl Reader<'_> {
    fn json(&self, path: &Path) -> Result<Map<String, Value>> {
        let shown = || path.display().to_string();
        let bytes = self.files.read(path)?;
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(map)) => Ok(map),
            Ok(_) => Err(Error::new(ErrorKind::Usage, "it is no JSON object").about(shown())),
            Err(e) => Err(Error::new(ErrorKind::Usage, "it is broken JSON")
                .about(shown())
                .because(e.to_string())),
        }
    }

    fn assembly(&mut self, directory: &Path, depth: usize) -> Result<()> {
        let path = directory.join(MANIFEST);
        let shown = path.display().to_string();
        if self.files.kind(&path).is_none() {
            return Err(Error::new(
                ErrorKind::Usage,
                "there is no cloud assembly: no manifest.json",
            )
            .about(directory.display().to_string())
            .hint("give the directory that `cdk synth` writes, mostly cdk.out"));
        }
        let manifest = self.json(&path)?;
        let artifacts = manifest.get("artifacts").and_then(Value::as_object);
        let Some(artifacts) = artifacts else {
            return Err(
                Error::new(ErrorKind::Usage, "it is no manifest of a cloud assembly").about(shown),
            );
        };
        let of_type = |name: &'static str| {
            artifacts
                .iter()
                .filter(move |(_, a)| a.get("type").and_then(Value::as_str) == Some(name))
        };
        let property = |id: &str, artifact: &Value, name: &str| {
            let text = artifact
                .get("properties")
                .and_then(|p| p.get(name)?.as_str().map(ToOwned::to_owned));
            text.ok_or_else(|| {
                Error::new(
                    ErrorKind::Usage,
                    format!("the artifact {id:?} has no {name}"),
                )
                .about(&shown)
            })
        };

        let mut assets = Assets::default();
        for (id, artifact) in of_type("cdk:asset-manifest") {
            let file = beside(&path, &property(id, artifact, "file")?);
            assets.add(&self.json(&file)?, &file);
        }
        for (id, artifact) in of_type("aws:cloudformation:stack") {
            let name = property(id, artifact, "stackName").unwrap_or_else(|_| id.clone());
            if !self.wants(&name, id, artifact) {
                continue;
            }
            let file = beside(&path, &property(id, artifact, "templateFile")?);
            self.stack(&name, &file, artifact, &assets)?;
        }
        for (id, artifact) in of_type("cdk:cloud-assembly") {
            if depth >= MAX_NESTED {
                return Err(Error::new(
                    ErrorKind::Usage,
                    format!("assemblies are nested deeper than {MAX_NESTED} levels"),
                )
                .about(shown));
            }
            let inner = beside(&path, &property(id, artifact, "directoryName")?);
            self.assembly(&inner, depth + 1)?;
        }
        Ok(())
    }

    /// Whether the stack is asked for: by its name, its display name (`Stage/Stack`) or its artifact's id.
    fn wants(&mut self, name: &str, id: &str, artifact: &Value) -> bool {
        self.known.push(name.to_owned());
        let shown = artifact.get("displayName").and_then(Value::as_str);
        let mut wanted = self.options.stacks.is_empty();
        for (asked, used) in self.options.stacks.iter().zip(&mut self.used) {
            if [Some(name), Some(id), shown].contains(&Some(asked.as_str())) {
                *used = true;
                wanted = true;
            }
        }
        wanted
    }

    fn stack(&mut self, name: &str, file: &Path, artifact: &Value, assets: &Assets) -> Result<()> {
        let template = Template::read(file, self.files)?;
        let (account, region) = environment(artifact);
        let mut scope = Scope::new(&template);
        scope.region = region.clone().or_else(|| self.options.region.clone());
        scope.account = account.clone().or_else(|| self.options.account.clone());
        scope.stack = Some(name.to_owned());
        let place = Place {
            path: file,
            files: self.files,
            scope,
            stack: Some(name.to_owned()),
            region,
            account,
            label: format!("{name}/"),
            nest: String::new(),
        };
        collect(assets, &place, &mut self.stated);
        Ok(())
    }
}

/// Account and region of `aws://123456789012/eu-west-1`, as far as the app is bound to them.
fn environment(artifact: &Value) -> (Option<String>, Option<String>) {
    let text = artifact
        .get("environment")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let (account, region) = text
        .strip_prefix("aws://")
        .and_then(|rest| rest.split_once('/'))
        .unwrap_or_default();
    let known =
        |part: &str| (!part.is_empty() && !part.starts_with("unknown-")).then(|| part.to_owned());
    (known(account), known(region))
}

/// What a file asset is made from.
enum Asset {
    /// A file that is uploaded as it is, or a directory that is zipped.
    Local(PathBuf),
    /// A command makes it while publishing.
    Command,
}

/// The asset manifests of one assembly.
#[derive(Default)]
struct Assets {
    /// By their key in the bucket.
    files: HashMap<String, Asset>,
    /// Tags of the images that are built while publishing.
    images: Vec<String>,
}

impl Assets {
    fn add(&mut self, manifest: &Map<String, Value>, file: &Path) {
        let all = |section: &str| {
            manifest
                .get(section)
                .and_then(Value::as_object)
                .into_iter()
                .flatten()
        };
        let destinations = |asset: &'_ Value, key: &str| -> Vec<String> {
            let all = asset.get("destinations").and_then(Value::as_object);
            let keys = all.into_iter().flatten();
            keys.filter_map(|(_, d)| d.get(key)?.as_str().map(ToOwned::to_owned))
                .collect()
        };
        for (_, asset) in all("files") {
            let path = asset.get("source").and_then(|s| s.get("path")?.as_str());
            for key in destinations(asset, "objectKey") {
                let made = path.map_or(Asset::Command, |path| Asset::Local(beside(file, path)));
                self.files.insert(key, made);
            }
        }
        for (_, image) in all("dockerImages") {
            self.images.extend(destinations(image, "imageTag"));
        }
    }
}

impl Tool for Assets {
    fn kind(&self) -> SourceKind {
        SourceKind::Cdk
    }

    fn code(&self, place: &Place<'_>, resource: &Resource<'_>, notes: &mut Vec<String>) -> Code {
        // A function's code, a layer's content, and what SAM's types call them.
        let found = [
            "Code",
            "Content",
            "CodeUri",
            "ContentUri",
            "InlineCode",
            "ImageUri",
        ]
        .into_iter()
        .find_map(|name| Some((name, place.property(resource, name)?)));
        let Some((name, code)) = found else {
            return Code::CannotTell("its code is not stated".into());
        };
        if name == "InlineCode" || code.get("ZipFile").is_some() {
            return Code::CannotTell("its code is written inline in the template".into());
        }
        let image = if name == "ImageUri" {
            Some(code)
        } else {
            code.get("ImageUri")
        };
        if let Some(uri) = image {
            let image = place.image(uri, notes);
            if let Code::Image {
                uri: Some(uri),
                digest: None,
                ..
            } = &image
                && self
                    .images
                    .iter()
                    .any(|tag| uri.ends_with(&format!(":{tag}")))
            {
                notes.push("the image is built while the app is deployed: only its tag, a hash of its sources, is known".into());
            }
            return image;
        }
        let Some(key) = code.get("S3Key").or_else(|| code.get("Key")) else {
            return Code::CannotTell(format!(
                "its {name} is neither an asset, an image nor an object"
            ));
        };
        match place.scope.text(key) {
            Ok(key) => match self.files.get(&key.value) {
                Some(Asset::Local(path)) => place.local(path.clone(), "its asset"),
                Some(Asset::Command) => Code::CannotTell(
                    "its asset is made by a command while the app is deployed".into(),
                ),
                None => Code::CannotTell(format!(
                    "its code is the object {}, which is no asset of the assembly",
                    key.value
                )),
            },
            // Before asset manifests, the key was a parameter, and the asset was named beside it.
            Err(_)
                if key.to_string().contains("\"AssetParameters")
                    && resource.metadata("aws:asset:path").is_some() =>
            {
                let path = resource.metadata("aws:asset:path").unwrap_or_default();
                place.local(beside(place.path, path), "its asset")
            }
            Err(why) => Code::CannotTell(format!("the object with its code cannot be told: {why}")),
        }
    }

    fn nested(&self, place: &Place<'_>, resource: &Resource<'_>) -> Result<PathBuf, String> {
        match resource.metadata("aws:asset:path") {
            Some(path) if resource.metadata("aws:asset:property") == Some("TemplateURL") => {
                Ok(beside(place.path, path))
            }
            _ => Err("its template is no asset of the assembly".into()),
        }
    }
}
