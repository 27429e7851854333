//! Which layer versions the restored function uses.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::kept::Kept;
use crate::error::{ErrorKind, Result};
use crate::lambda::Lambda;

/// How many versions of a layer are looked at for one with the same code, the newest first.
const LOOK_AT: usize = 50;

/// What becomes of a layer version of the backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// This one is used: the same, or one with the same code.
    Used(String),
    /// It is published anew from the zip that the backup of this version of the function has.
    Publish {
        /// The layer's name.
        name: String,
        /// Where the zip is: the index of the function version.
        of: usize,
        /// In bytes.
        size: u64,
    },
    /// It cannot be had: why.
    Missing(String),
}

/// Looks for each layer version that `versions` use. `now` has those that the target uses already.
pub(super) async fn resolve(
    lambda: &Lambda,
    account: &str,
    versions: &[Kept],
    now: &[String],
) -> Result<BTreeMap<String, Fate>> {
    let mut fates = BTreeMap::new();
    for (of, version) in versions.iter().enumerate() {
        let arns = version.fields.get("Layers").and_then(Value::as_array);
        for arn in arns.into_iter().flatten().filter_map(Value::as_str) {
            if !fates.contains_key(arn) {
                let fate = one(lambda, account, version, of, arn, now).await?;
                fates.insert(arn.to_owned(), fate);
            }
        }
    }
    Ok(fates)
}

async fn one(
    lambda: &Lambda,
    account: &str,
    version: &Kept,
    of: usize,
    arn: &str,
    now: &[String],
) -> Result<Fate> {
    let record = version.layer(arn);
    let stated = record.and_then(|record| record.code_sha256.as_deref());
    let parts: Vec<&str> = arn.split(':').collect();
    let ["arn", _, "lambda", region, owner, "layer", name, _] = parts[..] else {
        return Ok(Fate::Missing(
            "its ARN is none of a layer version".to_owned(),
        ));
    };
    if region == lambda.region() {
        match lambda.describe_layer(arn).await {
            Ok(layer) if stated.is_none() || layer.code_sha256_text() == stated => {
                return Ok(Fate::Used(arn.to_owned()));
            }
            Ok(_) => {}
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::AccessDenied) => {}
            Err(e) => return Err(e),
        }
        // Lambda goes on running a layer version that was deleted, where a function has it.
        if now.iter().any(|used| used == arn) {
            return Ok(Fate::Used(arn.to_owned()));
        }
    }
    let kept = record.filter(|record| record.path.is_some());
    let (Some(stated), Some(kept)) = (stated, kept) else {
        let whose = if owner == account {
            "it was deleted"
        } else {
            "it is another account's, or in another region"
        };
        return Ok(Fate::Missing(format!(
            "{whose}, and the backup has no copy"
        )));
    };
    if let Some(same) = of_same_code(lambda, name, stated).await? {
        return Ok(Fate::Used(same));
    }
    Ok(Fate::Publish {
        name: name.to_owned(),
        of,
        size: kept.size.unwrap_or(0),
    })
}

/// A version of the caller's layer `name` with this code.
pub(super) async fn of_same_code(
    lambda: &Lambda,
    name: &str,
    code_sha256: &str,
) -> Result<Option<String>> {
    let versions = match lambda.layer_version_arns(name).await {
        Err(e) if e.kind() == ErrorKind::NotFound => Vec::new(),
        versions => versions?,
    };
    for arn in versions.into_iter().take(LOOK_AT) {
        match lambda.describe_layer(&arn).await {
            Ok(layer) if layer.code_sha256_text() == Some(code_sha256) => return Ok(Some(arn)),
            Ok(_) => {}
            // Deleted since it was listed.
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(None)
}

/// PublishLayerVersion's input but for the code, from the answer of then.
pub(super) fn input(answer: &Value) -> Map<String, Value> {
    let mut input = Map::new();
    for field in [
        "Description",
        "LicenseInfo",
        "CompatibleRuntimes",
        "CompatibleArchitectures",
    ] {
        let value = &answer[field];
        if !value.is_null() && value != "" && *value != json!([]) {
            input.insert(field.to_owned(), value.clone());
        }
    }
    input
}
