//! The function in AWS that is made or changed, as it is now.

use super::fields::{self, Fields};
use crate::error::{Error, ErrorKind, Result};
use crate::function::FunctionRef;
use crate::lambda::{Alias, Described, Lambda, Listed, SideAnswer, SideRead};
use serde_json::Value;

/// What is there.
pub(super) struct Existing {
    pub(super) described: Described,
    pub(super) fields: Fields,
    /// Published versions, by ascending numbers.
    pub(super) versions: Vec<Listed>,
    pub(super) aliases: Vec<Alias>,
    /// The event source mappings of the region, where the backup has some.
    pub(super) sources: Vec<Value>,
}

impl Existing {
    /// Looks; None where there is no function of this name.
    pub(super) async fn look(lambda: &Lambda, name: &FunctionRef) -> Result<Option<Self>> {
        let described = match lambda.describe(name).await {
            Ok(described) => described,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        if let Some(what) = under_way(
            described.answer().text("/Configuration/State"),
            described.answer().text("/Configuration/LastUpdateStatus"),
        ) {
            return Err(Error::new(
                ErrorKind::Unsettled,
                format!("a change is under way: {what}"),
            )
            .about(name.to_string())
            .hint("nothing was changed; run the same command again when it has ended"));
        }
        let configuration = described.answer().get("/Configuration");
        let fields = configuration
            .map(fields::of_configuration)
            .unwrap_or_default();
        let mut versions = lambda.versions(name.name()).all().await?;
        versions.retain(|version| version.version() != "$LATEST");
        versions.sort_by_key(number);
        Ok(Some(Self {
            described,
            fields,
            versions,
            aliases: lambda.aliases(name.name()).await?,
            sources: Vec::new(),
        }))
    }

    /// Looks for event source mappings of the region too.
    pub(super) async fn look_for_sources(&mut self, lambda: &Lambda) -> Result<()> {
        self.sources = sources(lambda).await?;
        Ok(())
    }

    pub(super) fn text(&self, pointer: &str) -> Option<&str> {
        self.described.answer().text(pointer)
    }

    /// The published version that is this one: same code, same configuration. `after` is the number above which it must be.
    pub(super) fn same(
        &self,
        code_sha256: Option<&str>,
        fields: &Fields,
        after: u64,
        preferred: &str,
    ) -> Option<&Listed> {
        let mut same = self.versions.iter().filter(|version| {
            number(version) > after
                && version.code_sha256_text() == code_sha256
                && listed_fields(version) == *fields
        });
        let first = same.next();
        let again = first.into_iter().chain(same);
        let mut best = None;
        for version in again {
            if best.is_none() || version.version() == preferred {
                best = Some(version);
            }
        }
        best
    }
}

/// The event source mappings of the region.
pub(super) async fn sources(lambda: &Lambda) -> Result<Vec<Value>> {
    let read = SideRead::EventSourceMappings;
    let (answer, _) = lambda.side_read(read, "", None).await?;
    match answer {
        SideAnswer::Found(answer) => {
            let all = answer.get("/EventSourceMappings").and_then(Value::as_array);
            Ok(all.cloned().unwrap_or_default())
        }
        SideAnswer::Denied { action, .. } => Err(Error::new(
            ErrorKind::AccessDenied,
            "ListEventSourceMappings is denied",
        )
        .about(lambda.region())
        .hint(format!("the caller needs the IAM action {action}"))),
        _ => Ok(Vec::new()),
    }
}

/// Whether Lambda keeps no copy of the code, and refers to the customer's object.
pub(super) fn is_referred(described: &Described) -> bool {
    let text = |pointer| described.answer().text(pointer);
    text("/Configuration/S3ObjectStorageMode") == Some("REFERENCE")
        || (text("/Code/Location").is_none() && text("/Code/ResolvedS3Object/S3Key").is_some())
}

pub(super) fn number(version: &Listed) -> u64 {
    version.version().parse().unwrap_or(0)
}

pub(super) fn listed_fields(listed: &Listed) -> Fields {
    let value = serde_json::from_slice(&listed.answer().to_recorded_json(false));
    fields::of_configuration(&value.unwrap_or_default())
}

/// What AWS is still doing, if it is.
pub(super) fn under_way(state: Option<&str>, update: Option<&str>) -> Option<String> {
    match (state, update) {
        (Some(state @ ("Pending" | "Deleting" | "Deactivating")), _) => {
            Some(format!("State is {state}"))
        }
        (_, Some("InProgress")) => Some("LastUpdateStatus is InProgress".to_owned()),
        _ => None,
    }
}
