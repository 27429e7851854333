//! What `larder fetch` leaves: the record, and everything that it records, held against each other.

mod answer;
mod image;
mod tree;

use std::io;

use crate::digest::Sha256Digest;
use crate::error::{Error, Result};
use crate::files::{Node, names};
use crate::function::FunctionRef;
use crate::lambda::Answer;
use crate::package::{Claim, Received, Verified};
use crate::record::{
    CODE, FUNCTION_JSON, IMAGE, LayerRecord, PACKAGE_ZIP, RECORD, Record, RecordError, Status,
    UnpackedRecord,
};

use super::{FindingKind, Job};

/// The largest record that is read, in bytes.
const MAX_RECORD: u64 = 16 << 20;
const LAYERS: &str = "layers";
const LAYER_JSON: &str = "layer.json";

/// What is stated about one package: the function's or a layer's.
struct Stated<'a> {
    /// The directory with `/`, or nothing for the top.
    prefix: String,
    size: Option<u64>,
    sha256: Option<&'a str>,
    code_sha256: Option<&'a str>,
    unpacked: Option<&'a UnpackedRecord>,
}

pub(super) fn verify(job: &mut Job<'_>) -> Result<()> {
    job.announce()?;
    let record = read_record(job);
    let answer = read_answer(job, FUNCTION_JSON);
    let Some(record) = record else {
        return without_record(job, answer.as_ref());
    };
    if let Some(answer) = &answer {
        answer::compare(job, &record, answer);
    }
    check_itself(job, &record);
    check_names(job, &record);
    if let Some(package) = &record.package {
        if package.path != PACKAGE_ZIP {
            let message = format!("names a package at {:?}, not {PACKAGE_ZIP}", package.path);
            job.find(FindingKind::Path, RECORD, message);
        }
        let stated = Stated {
            prefix: String::new(),
            size: Some(package.size),
            sha256: Some(&package.sha256),
            code_sha256: Some(&package.code_sha256),
            unpacked: record.unpacked.as_ref(),
        };
        check_package(job, &stated)?;
    } else if record.unpacked.is_some() {
        let message = "records an unpacked tree, and no package that it is of";
        job.find(FindingKind::Contradiction, RECORD, message);
    }
    check_layers(job, &record.layers)?;
    if let Some(image) = &record.image {
        image::check(job, image)?;
    } else if record.package.is_none() {
        let message = "records neither a package nor an image";
        job.find(FindingKind::Contradiction, RECORD, message);
    }
    Ok(())
}

/// What can be told without a record: whether the package is the one that Lambda's answer states.
fn without_record(job: &mut Job<'_>, answer: Option<&Answer>) -> Result<()> {
    job.report.note(format!(
        "without {RECORD} only the package and {FUNCTION_JSON} can be compared"
    ));
    let code_sha256 = answer.and_then(|answer| answer.text("/Configuration/CodeSha256"));
    if job.below.top(PACKAGE_ZIP).is_none() || code_sha256.is_none() {
        return Ok(());
    }
    let stated = Stated {
        prefix: String::new(),
        size: answer.and_then(|answer| answer.size("/Configuration/CodeSize")),
        sha256: None,
        code_sha256,
        unpacked: None,
    };
    check_package(job, &stated)
}

fn read_record(job: &Job<'_>) -> Option<Record> {
    let json = read(job, RECORD)?;
    match Record::from_json(&json) {
        Ok(record) => Some(record),
        Err(RecordError::Newer(version)) => {
            let message = format!(
                "has schema version {version}, which this larder does not know: a newer one can verify it"
            );
            job.find(FindingKind::Unsupported, RECORD, message);
            None
        }
        Err(RecordError::NotARecord(e)) => {
            job.find(
                FindingKind::Malformed,
                RECORD,
                format!("is no record of larder: {e}"),
            );
            None
        }
    }
}

fn read_answer(job: &mut Job<'_>, path: &str) -> Option<Answer> {
    let json = read(job, path)?;
    job.report.files += 1;
    job.report.bytes += json.len() as u64;
    match Answer::parse(&json) {
        Ok(answer) => Some(answer),
        Err(e) => {
            job.find(
                FindingKind::Malformed,
                path,
                format!("is no answer of Lambda: {e}"),
            );
            None
        }
    }
}

/// A small file that must be there.
fn read(job: &Job<'_>, path: &str) -> Option<Vec<u8>> {
    match job.below.small(path.as_bytes(), MAX_RECORD) {
        Ok(bytes) => Some(bytes),
        Err(e) => {
            tell_unread(job, path, &e);
            None
        }
    }
}

fn tell_unread(job: &Job<'_>, path: &str, e: &io::Error) {
    if e.kind() == io::ErrorKind::NotFound {
        job.find(FindingKind::Missing, path, "is recorded, and not there");
    } else {
        job.find(
            FindingKind::Unreadable,
            path,
            format!("cannot be read: {e}"),
        );
    }
}

/// What the record says of itself: fields that follow from other fields of it.
fn check_itself(job: &Job<'_>, record: &Record) {
    let contradiction = |message: String| job.find(FindingKind::Contradiction, RECORD, message);
    let function = &record.function;
    if let Ok(arn) = function.arn.parse::<FunctionRef>() {
        for (field, of_arn, recorded) in [
            ("region", arn.region(), function.region.as_str()),
            ("account", arn.account(), &function.account),
            ("name", Some(arn.name()), &function.name),
        ] {
            if of_arn.is_some_and(|of_arn| of_arn != recorded) {
                contradiction(format!(
                    "its {field} is {} where its ARN has {}",
                    quoted(Some(recorded)),
                    quoted(of_arn)
                ));
            }
        }
        // An answer by a qualifier names it in the ARN; some servers name the version that it led to.
        if let Some(of_arn) = arn.qualifier()
            && function.qualifier.as_deref() != Some(of_arn)
            && function.version != of_arn
        {
            contradiction(format!(
                "its qualifier is {} where its ARN has {of_arn:?}",
                quoted(function.qualifier.as_deref())
            ));
        }
    }
    let is_image = record.image.is_some();
    if is_image && record.package.is_some() {
        contradiction("records both a package and an image".to_owned());
    }
    if (record.package_type == "Image") != is_image {
        contradiction(format!(
            "its package_type is {} where it records {}",
            quoted(Some(&record.package_type)),
            if is_image { "an image" } else { "no image" }
        ));
    }
    let status = match record.status {
        Status::Partial => !record.incomplete.is_empty(),
        Status::Unchanged => record.incomplete.is_empty(),
        Status::Image => record.incomplete.is_empty() && is_image,
        Status::Saved => record.incomplete.is_empty() && !is_image,
        Status::Gone | Status::Unavailable | Status::Denied | Status::Failed => false,
    };
    if !status {
        contradiction(format!(
            "its status is {:?}, which is not that of what it records",
            record.status.name()
        ));
    }
}

fn quoted(text: Option<&str>) -> String {
    text.map_or_else(
        || "not stated".to_owned(),
        |text| {
            let short: String = text.chars().take(300).collect();
            format!("{short:?}")
        },
    )
}

/// What lies at the top and in `layers/`, and is recorded by nothing.
fn check_names(job: &Job<'_>, record: &Record) {
    let layers = record.layers.iter().any(|layer| layer.path.is_some());
    let image = record.image.as_ref().and_then(|image| image.path.as_ref());
    for name in names(job.below.path()) {
        let expected = match name.as_str() {
            RECORD | FUNCTION_JSON => true,
            PACKAGE_ZIP => record.package.is_some(),
            CODE => record.unpacked.is_some(),
            LAYERS => layers,
            IMAGE => image.is_some(),
            _ => false,
        };
        check_name(job, "", &name, expected);
    }
    if layers && job.below.has_directory(LAYERS) {
        for name in names(&job.path().join(LAYERS)) {
            let path = format!("{LAYERS}/{name}");
            let expected = record
                .layers
                .iter()
                .any(|layer| layer.path.as_deref() == Some(&path));
            check_name(job, "layers/", &name, expected);
        }
    }
}

fn check_name(job: &Job<'_>, prefix: &str, name: &str, expected: bool) {
    if !expected {
        let message = "is there, and nothing in the record says so";
        job.find(FindingKind::Unexpected, format!("{prefix}{name}"), message);
    }
}

/// A package against what is stated about it, and its tree against the package.
fn check_package(job: &mut Job<'_>, stated: &Stated<'_>) -> Result<()> {
    let path = format!("{}{PACKAGE_ZIP}", stated.prefix);
    let by_hex = stated.sha256.map(Sha256Digest::from_hex);
    let by_lambda = stated.code_sha256.map(Sha256Digest::from_base64);
    for (what, digest) in [("sha256", &by_hex), ("code_sha256", &by_lambda)] {
        if let Some(Err(e)) = digest {
            job.find(
                FindingKind::Malformed,
                RECORD,
                format!("{what} of {path}: {e}"),
            );
        }
    }
    let by_hex = by_hex.and_then(Result::ok);
    let by_lambda = by_lambda.and_then(Result::ok);
    if let (Some(one), Some(other)) = (by_hex, by_lambda)
        && one != other
    {
        let message = format!(
            "states sha256 {one} and code_sha256 {} of {path}",
            other.base64()
        );
        job.find(FindingKind::Contradiction, RECORD, message);
    }
    let mut verified = None;
    if let Some(received) = receive(job, &path)? {
        verified = compare(job, stated, &path, by_lambda.or(by_hex), received);
    }
    let code = format!("{}{CODE}", stated.prefix);
    match stated.unpacked {
        Some(unpacked) => {
            if unpacked.path != CODE {
                let message = format!("names a tree at {:?}, not {code}", unpacked.path);
                job.find(FindingKind::Path, RECORD, message);
            }
            tree::check(job, &code, unpacked, verified.as_ref())
        }
        None => Ok(()),
    }
}

fn receive(job: &mut Job<'_>, path: &str) -> Result<Option<Received>> {
    let cancel = job.cancel;
    let read = job
        .below
        .file(path.as_bytes())
        .and_then(|file| Received::read(file, &|| cancel.is_cancelled()));
    match read {
        Ok(received) => {
            job.report.files += 1;
            job.report.bytes += received.size();
            job.hashed(received.size());
            Ok(Some(received))
        }
        Err(_) if cancel.is_cancelled() => Err(Error::interrupted()),
        Err(e) => {
            tell_unread(job, path, &e);
            Ok(None)
        }
    }
}

fn compare(
    job: &Job<'_>,
    stated: &Stated<'_>,
    path: &str,
    sha256: Option<Sha256Digest>,
    received: Received,
) -> Option<Verified> {
    let size = stated.size.filter(|size| *size != received.size());
    let sha256 = sha256?;
    if received.sha256() != sha256 {
        let sizes = size.map_or_else(String::new, |size| {
            format!(", and it has {} bytes where {size} are", received.size())
        });
        let message = format!(
            "its SHA-256 is {} where {sha256} is recorded{sizes}",
            received.sha256()
        );
        job.find(FindingKind::Modified, path, message);
        return None;
    }
    if let Some(size) = size {
        let message = format!(
            "states {size} bytes of {path}, which has {}",
            received.size()
        );
        job.find(FindingKind::Contradiction, RECORD, message);
    }
    received.verify(&Claim::user(sha256)).ok()
}

fn check_layers(job: &mut Job<'_>, layers: &[LayerRecord]) -> Result<()> {
    for (number, layer) in layers.iter().enumerate() {
        job.go_on()?;
        let Some(path) = &layer.path else {
            if layer.status.is_had() {
                let message = format!(
                    "states {:?} of the layer {:?}, and not where it lies",
                    layer.status.name(),
                    layer.arn.chars().take(300).collect::<String>()
                );
                job.find(FindingKind::Contradiction, RECORD, message);
            }
            continue;
        };
        if !layer.status.is_had() {
            let message = format!(
                "states {:?} of a layer, and that it lies at {path:?}",
                layer.status.name()
            );
            job.find(FindingKind::Contradiction, RECORD, message);
        }
        let sound = path.strip_prefix("layers/").is_some_and(|name| {
            !name.is_empty() && !name.contains(['/', '\\', '\0']) && name != "." && name != ".."
        });
        if !sound {
            let message = format!(
                "names a layer at {:?}",
                path.chars().take(300).collect::<String>()
            );
            job.find(FindingKind::Path, RECORD, message);
            continue;
        }
        if layers[..number]
            .iter()
            .any(|other| other.path.as_ref() == Some(path))
        {
            let message = format!("names two layers at {path}");
            job.find(FindingKind::Duplicate, RECORD, message);
            continue;
        }
        check_layer(job, layer, path)?;
    }
    Ok(())
}

fn check_layer(job: &mut Job<'_>, layer: &LayerRecord, path: &str) -> Result<()> {
    let file = format!("{path}/{LAYER_JSON}");
    // One word about a directory that is not there says it all.
    match job.below.walk(path.as_bytes()).next() {
        Some((at, Node::Unreadable(e))) if at == path.as_bytes() => {
            tell_unread(job, path, &e);
            return Ok(());
        }
        _ => {}
    }
    if let Some(answer) = read_answer(job, &file) {
        for (field, recorded) in [
            ("/LayerVersionArn", Some(layer.arn.as_str())),
            ("/Content/CodeSha256", layer.code_sha256.as_deref()),
        ] {
            let stated = answer.text(field);
            if stated != recorded {
                let message = format!(
                    "its {} is {} where {RECORD} has {}",
                    field.trim_start_matches('/'),
                    quoted(stated),
                    quoted(recorded)
                );
                job.find(FindingKind::Contradiction, &file, message);
            }
        }
    }
    for name in names(&job.path().join(path)) {
        let expected = match name.as_str() {
            LAYER_JSON | PACKAGE_ZIP => true,
            CODE => layer.unpacked.is_some(),
            _ => false,
        };
        check_name(job, &format!("{path}/"), &name, expected);
    }
    let stated = Stated {
        prefix: format!("{path}/"),
        size: layer.size,
        sha256: layer.sha256.as_deref(),
        code_sha256: layer.code_sha256.as_deref(),
        unpacked: layer.unpacked.as_ref(),
    };
    if stated.sha256.is_none() && stated.code_sha256.is_none() {
        let message = format!("states no digest of {path}/{PACKAGE_ZIP}");
        job.find(FindingKind::Malformed, RECORD, message);
    }
    check_package(job, &stated)
}
