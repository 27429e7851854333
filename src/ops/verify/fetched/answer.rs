//! Lambda's answer against the record, which was made from it.

use serde_json::Value;

use super::super::{FindingKind, Job};
use super::quoted;
use crate::image::reference::without_secrets;
use crate::lambda::Answer;
use crate::record::{FUNCTION_JSON, RECORD, Record};

/// Compares all that both have.
pub(super) fn compare(job: &Job<'_>, record: &Record, answer: &Answer) {
    let contradiction =
        |message: String| job.find(FindingKind::Contradiction, FUNCTION_JSON, message);
    let differ = |field: &str, stated: Option<&str>, recorded: Option<&str>| {
        contradiction(format!(
            "its {field} is {} where {RECORD} has {}",
            quoted(stated),
            quoted(recorded)
        ));
    };
    let image = record.image.as_ref();
    let package = record.package.as_ref();
    let code_sha256 = package
        .map(|package| package.code_sha256.as_str())
        .or_else(|| image.and_then(|image| image.code_sha256.as_deref()));
    let function = &record.function;
    let texts = [
        ("FunctionArn", Some(function.arn.as_str())),
        ("FunctionName", Some(&function.name)),
        ("Version", Some(&function.version)),
        ("RevisionId", function.revision_id.as_deref()),
        ("CodeSha256", code_sha256),
        ("PackageType", Some(&record.package_type)),
    ];
    for (field, recorded) in texts {
        let stated = answer.text(&format!("/Configuration/{field}"));
        // What an old server leaves out is taken from elsewhere.
        let may_lack = matches!(field, "FunctionName" | "Version" | "PackageType");
        if stated != recorded && !(stated.is_none() && may_lack) {
            differ(field, stated, recorded);
        }
    }
    let size = answer.size("/Configuration/CodeSize");
    if let Some(package) = package
        && size.is_some_and(|size| size != package.size)
    {
        contradiction(format!(
            "its CodeSize is {} where {RECORD} has {}",
            size.unwrap_or_default(),
            package.size
        ));
    }
    if let Some(image) = image {
        for (field, recorded) in [
            ("ImageUri", &image.image_uri),
            ("ResolvedImageUri", &image.resolved_image_uri),
        ] {
            let stated = answer.text(&format!("/Code/{field}"));
            let stated = stated.map(without_secrets);
            if stated != *recorded {
                differ(field, stated.as_deref(), recorded.as_deref());
            }
        }
    } else if let (Some(stated), Some(recorded)) = (
        answer.text("/Code/Location"),
        record.transfer.location.as_deref(),
    ) && !is_one_place(stated, recorded)
    {
        differ("Location", Some(stated), Some(recorded));
    }
    if record.incomplete != answer.incomplete() {
        let list = |gaps: &[crate::record::Incomplete]| {
            let gaps: Vec<String> = gaps
                .iter()
                .map(|gap| format!("{} ({})", gap.field, gap.code))
                .collect();
            if gaps.is_empty() {
                "nothing".to_owned()
            } else {
                gaps.join(", ")
            }
        };
        contradiction(format!(
            "it lacks {} where {RECORD} has {} as incomplete",
            list(&answer.incomplete()),
            list(&record.incomplete)
        ));
    }
    compare_layers(job, record, answer);
    compare_environment(job, record, answer);
}

/// Whether the package came from where the answer says. An emulator that names hosts of AWS is asked at its own.
fn is_one_place(stated: &str, recorded: &str) -> bool {
    let is_of_aws = |location: &str| {
        url::Url::parse(location).is_ok_and(|url| {
            url.host_str().is_some_and(|host| {
                host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn")
            })
        })
    };
    stated == recorded || is_of_aws(stated) && !is_of_aws(recorded)
}

/// The layers that were fetched are those that the function has. A record without any is one without `--layers`.
fn compare_layers(job: &Job<'_>, record: &Record, answer: &Answer) {
    if record.layers.is_empty() {
        return;
    }
    let stated: Vec<&str> = answer
        .get("/Configuration/Layers")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|layer| layer.get("Arn")?.as_str())
        .collect();
    for layer in &record.layers {
        if !stated.contains(&layer.arn.as_str()) {
            let message = format!(
                "does not name the layer {}, which {RECORD} records",
                quoted(Some(&layer.arn))
            );
            job.find(FindingKind::Contradiction, FUNCTION_JSON, message);
        }
    }
    for arn in stated {
        if !record.layers.iter().any(|layer| layer.arn == arn) {
            let message = format!(
                "names the layer {}, which {RECORD} does not record beside the others",
                quoted(Some(arn))
            );
            job.find(FindingKind::Contradiction, FUNCTION_JSON, message);
        }
    }
}

/// Whether values of environment variables are there or not, as the record says.
fn compare_environment(job: &Job<'_>, record: &Record, answer: &Answer) {
    let Some(variables) = answer
        .get("/Configuration/Environment/Variables")
        .and_then(Value::as_object)
        .filter(|variables| !variables.is_empty())
    else {
        return;
    };
    let message = if record.environment_redacted && variables.values().any(|v| !v.is_null()) {
        "holds values of environment variables, which RECORD says were left out"
    } else if !record.environment_redacted && variables.values().any(Value::is_null) {
        "holds environment variables without their values, and RECORD does not say that they were left out"
    } else {
        return;
    };
    let message = message.replace("RECORD", RECORD);
    job.find(FindingKind::Contradiction, FUNCTION_JSON, message);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_compared_unless_an_emulator_names_hosts_of_aws() {
        let aws = "https://b.s3.eu-west-1.amazonaws.com/k?versionId=1";
        assert!(is_one_place(aws, aws));
        assert!(is_one_place(aws, "http://127.0.0.1:5000/b/k?versionId=1"));
        assert!(!is_one_place(aws, &aws.replace("/k", "/l")));
        assert!(!is_one_place(
            "http://127.0.0.1:1/k",
            "http://127.0.0.1:1/l"
        ));
        assert!(!is_one_place("http://127.0.0.1:1/k", aws));
    }
}
