//! A configuration made fit for the target, and what must be given for it.

use serde_json::{Value, json};

use super::super::environment::Environment;
use super::super::fields;
use super::super::kept::Kept;
use super::super::target::Existing;
use super::{Backup, Notes, Preparation};
use crate::error::{Error, ErrorKind, Result};

impl Preparation<'_> {
    /// Makes a configuration fit for the target: role, environment, and what belongs to another account or region.
    pub(super) fn adapt(&self, kept: &mut Kept, notes: &mut Notes) {
        let place = self.place;
        let parts: Vec<String> = kept.arn.split(':').map(ToOwned::to_owned).collect();
        let part = |at: usize| parts.get(at).map_or("", String::as_str);
        let (region, account, name) = (part(3), part(4), part(6));
        let elsewhere = region != place.region || account != place.account;
        for field in fields::unknown(&kept.answer["Configuration"]) {
            notes.lost(
                field,
                "larder does not know this field, so it cannot be written back",
            );
        }
        if kept.answer["Configuration"]["SigningJobArn"].is_string() {
            notes.lost(
                "code signing",
                "the zip is restored, the signing job and profile are not",
            );
        }
        if elsewhere {
            for field in ["VpcConfig", "FileSystemConfigs", "CapacityProviderConfig"] {
                if kept.fields.shift_remove(field).is_some() {
                    notes.lost(field, format!("belongs to {account} in {region}"));
                }
            }
            for field in ["KMSKeyArn", "DeadLetterConfig", "DurableConfig"] {
                let text = kept
                    .fields
                    .get(field)
                    .map(Value::to_string)
                    .unwrap_or_default();
                let foreign = text.contains("arn:")
                    && !text.contains(&format!(":{}:{}:", place.region, place.account));
                if foreign {
                    kept.fields.shift_remove(field);
                    notes.lost(field, format!("names something of {account} in {region}"));
                }
            }
        }
        // A function's own log group goes by its name.
        if let Some(Value::Object(logging)) = kept.fields.get_mut("LoggingConfig")
            && place.name != name
            && logging.get("LogGroup") == Some(&json!(format!("/aws/lambda/{name}")))
        {
            logging.insert(
                "LogGroup".to_owned(),
                json!(format!("/aws/lambda/{}", place.name)),
            );
        }
        if let Some(role) = &self.options.execution_role {
            kept.fields.insert("Role".to_owned(), json!(role));
        } else {
            let role = kept.fields.get("Role").and_then(Value::as_str);
            let role = role.unwrap_or_default();
            if role.split(':').nth(4) != Some(place.account.as_str()) {
                let reason = format!(
                    "its role {role} is of another account than {}",
                    place.account
                );
                notes.need("--execution-role", reason);
            }
        }
        self.environment(kept, notes);
    }

    fn environment(&self, kept: &mut Kept, notes: &mut Notes) {
        let empty = Environment::default();
        let given = self.options.environment.as_ref();
        if kept.lacks("Environment") {
            match given {
                Some(given) => {
                    kept.fields.insert("Environment".to_owned(), given.whole());
                }
                None => notes.need(
                    "--env-from",
                    "the environment could not be read when the backup was made, not even its names",
                ),
            }
            return;
        }
        let missing = given.unwrap_or(&empty).fill(&mut kept.fields);
        if !missing.is_empty() {
            let reason = format!("the backup has no values for {}", missing.join(", "));
            notes.need("--env-from", reason);
        }
        let variables = kept.fields.get("Environment").map(|e| &e["Variables"]);
        let unknown: Vec<&str> = (given.into_iter().flat_map(Environment::names))
            .filter(|name| variables.is_none_or(|v| v[*name].is_null()))
            .collect();
        if !unknown.is_empty() {
            notes.lost(
                "values in --env-from",
                format!("the backup has no variables named {}", unknown.join(", ")),
            );
        }
    }

    /// What cannot be at all.
    pub(super) fn judge(
        &self,
        backup: &Backup,
        existing: Option<&Existing>,
        notes: &mut Notes,
    ) -> Result<()> {
        for kept in &backup.versions {
            let wrong = |message: &str| Error::new(ErrorKind::Usage, message).about(&*kept.arn);
            if !kept.is_image() && kept.size().is_none() {
                return Err(
                    Error::new(ErrorKind::NotFound, "the backup has no package of it")
                        .about(&*kept.arn)
                        .hint("another run may have it"),
                );
            }
            let there = existing.map(|existing| existing.described.package_type());
            if there.is_some_and(|there| there != kept.record.package_type) {
                return Err(wrong("is of another package type than the function that is there")
                    .hint("Lambda changes no package type: restore it under another name with --to-name"));
            }
            if kept.is_image() && self.options.image_uri.is_none() {
                let image = kept.record.image.as_ref();
                let of = image.and_then(|image| image.resolved_image_uri.as_deref());
                notes.need(
                    "--image-uri",
                    format!(
                        "an image is not pushed by larder; it was {}",
                        of.unwrap_or("unknown")
                    ),
                );
            }
            if !kept.is_image() && self.options.image_uri.is_some() {
                return Err(wrong("is a zip function: --image-uri is of no use"));
            }
        }
        Ok(())
    }
}
