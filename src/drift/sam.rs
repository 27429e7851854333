//! SAM: what a built template (`.aws-sam/build/template.yaml`, as `sam build` leaves it) means functions to be.
//!
//! `sam build` puts each function's code into a directory and names it in `CodeUri` (`Code` of a plain
//! `AWS::Lambda::Function`), from the template's own directory. The zip is made when it is deployed, so code is compared
//! by content. A template that was not built is read alike: then the directories of the sources are compared.
//!
//! Source: the AWS SAM specification ("AWS SAM resources and properties", "Globals section"), and templates that `sam
//! build` wrote (see `testdata/README.md`).

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::template::functions::{Place, Resource, Tool, collect, rests_on};
use super::template::intrinsic::Scope;
use super::template::{Template, beside};
use super::{Code, FileKind, Files, SourceKind, Stated, TemplateOptions};
use crate::error::{Error, ErrorKind, Result};

/// The names that `sam` itself looks for, in its order.
const NAMES: [&str; 3] = ["template.yaml", "template.yml", "template.json"];

/// Reads the template `path`, or the one in the directory `path`.
///
/// # Errors
/// [`ErrorKind::Usage`]: it is no template, has no function, or more than one stack is named.
pub fn read(path: &Path, files: &dyn Files, options: &TemplateOptions) -> Result<Stated> {
    let wrong =
        |message: &str| Error::new(ErrorKind::Usage, message).about(path.display().to_string());
    let mut file = path.to_owned();
    if files.kind(path) == Some(FileKind::Directory) {
        let found = NAMES.iter().map(|name| path.join(name));
        file = found
            .into_iter()
            .find(|candidate| files.kind(candidate) == Some(FileKind::File))
            .ok_or_else(|| {
                wrong("there is no template.yaml in it")
                    .hint("`sam build` writes .aws-sam/build/template.yaml")
            })?;
    }
    if options.stacks.len() > 1 {
        return Err(wrong("one template is one stack; give --stack once"));
    }
    let template = Template::read(&file, files)?;
    let mut scope = Scope::new(&template);
    scope.region.clone_from(&options.region);
    scope.account.clone_from(&options.account);
    scope.stack = options.stacks.first().cloned();
    let place = Place {
        path: &file,
        files,
        scope,
        stack: options.stacks.first().cloned(),
        region: None,
        account: None,
        label: String::new(),
        nest: String::new(),
    };
    let mut stated = Stated::default();
    collect(&Built, &place, &mut stated);
    if stated.expectations.is_empty() {
        return Err(wrong("there is no Lambda function in it"));
    }
    Ok(stated)
}

/// What `sam build` leaves.
struct Built;

const INLINE: &str = "its code is written inline in the template";

impl Tool for Built {
    fn kind(&self) -> SourceKind {
        SourceKind::Sam
    }

    fn code(&self, place: &Place<'_>, resource: &Resource<'_>, notes: &mut Vec<String>) -> Code {
        let names: &[&str] = match (resource.is_function(), resource.is_serverless()) {
            (true, true) => &["InlineCode", "ImageUri", "CodeUri"],
            (true, false) => &["Code"],
            (false, true) => &["ContentUri"],
            (false, false) => &["Content"],
        };
        let own = names
            .iter()
            .find_map(|name| Some((*name, resource.property(name)?)));
        let found = own.or_else(|| {
            names
                .iter()
                .find_map(|name| Some((*name, place.property(resource, name)?)))
        });
        let Some((name, value)) = found else {
            let image = place
                .property(resource, "PackageType")
                .is_some_and(|kind| place.scope.text(kind).is_ok_and(|t| t.value == "Image"));
            let name = if image {
                "ImageUri"
            } else {
                names[names.len() - 1]
            };
            return Code::CannotTell(format!("it has no {name}"));
        };
        let mut assumed = std::collections::BTreeSet::new();
        let value = match place.scope.chosen(value, &mut assumed) {
            Ok(Some(value)) => value,
            Ok(None) => return Code::CannotTell(format!("its {name} is left out (AWS::NoValue)")),
            Err(why) => return Code::CannotTell(format!("its {name} cannot be told: {why}")),
        };
        rests_on(&assumed, name, notes);
        if name == "InlineCode" || value.get("ZipFile").is_some() {
            return Code::CannotTell(INLINE.into());
        }
        if name == "ImageUri" {
            return image(place, value, notes);
        }
        if let Some(uri) = value.get("ImageUri") {
            return image(place, uri, notes);
        }
        if value
            .get("S3Bucket")
            .or_else(|| value.get("Bucket"))
            .is_some()
        {
            return Code::CannotTell(format!("its {name} is an object of S3, which is not read"));
        }
        match place.scope.text(value) {
            Ok(text) if text.value.starts_with("s3://") || text.value.starts_with("https://") => {
                Code::CannotTell(format!("its {name} is {}, which is not read", text.value))
            }
            Ok(text) => {
                rests_on(&text.assumed, name, notes);
                place.local(beside(place.path, &text.value), &format!("its {name}"))
            }
            Err(why) => Code::CannotTell(format!("its {name} cannot be told: {why}")),
        }
    }

    fn nested(&self, place: &Place<'_>, resource: &Resource<'_>) -> Result<PathBuf, String> {
        let name = if resource.is_serverless() {
            "Location"
        } else {
            "TemplateURL"
        };
        let location = resource
            .property(name)
            .ok_or_else(|| format!("it has no {name}"))?;
        if location.get("ApplicationId").is_some() {
            return Err("it is an application of the Serverless Application Repository".into());
        }
        let text = place.scope.text(location)?;
        if text.value.contains("://") {
            return Err(format!("its {name} is {}, which is not read", text.value));
        }
        Ok(beside(place.path, &text.value))
    }
}

/// `sam build` leaves the tag of a local image there; `sam package` the reference in a registry.
fn image(place: &Place<'_>, uri: &Value, notes: &mut Vec<String>) -> Code {
    match place.image(uri, notes) {
        // A registry's host has a dot, or a port.
        Code::Image { uri: Some(uri), .. }
            if !uri
                .split_once('/')
                .is_some_and(|(host, _)| host.contains(['.', ':'])) =>
        {
            Code::CannotTell(format!("{uri} is an image on the machine that built it"))
        }
        other => other,
    }
}
