//! S3-like GETs: presigned URLs with their checks, ranges, conditions, versions, and S3's own error bodies.

use super::answer::{Answer, S3Error, S3Subject};
use super::call::Call;
use super::clock::{Clock, http_date, iso};
use super::delivery::Action;
use super::fault::Fault;
use super::storage::{Access, ObjectVersion};
use super::wire::decode_path;
use super::world::{SharedRef, Trigger, World};
use jiff::SignedDuration;
use std::ops::Range;
use std::sync::Arc;

/// An object's answer, and what is to be done while its body goes out.
pub(crate) struct ObjectAnswer {
    pub answer: Answer,
    pub actions: Vec<(u64, Action)>,
}

/// What an error would repeat from this request.
pub(crate) fn subject(call: &Call, clock: &Clock) -> S3Subject {
    let value = |name: &str| call.message.query_value(name).unwrap_or_default();
    let lifetime = value("X-Amz-Expires").parse().unwrap_or(0);
    S3Subject {
        key: decode_path(&call.message.path)
            .trim_start_matches('/')
            .to_owned(),
        version: value("versionId"),
        token: value("X-Amz-Security-Token"),
        signature: value("X-Amz-Signature"),
        access_key: value("X-Amz-Credential")
            .split('/')
            .next()
            .unwrap_or_default()
            .to_owned(),
        expires_seconds: lifetime,
        expires_at: clock.iso(),
        range: call.message.header("range").unwrap_or_default().to_owned(),
        size: 0,
    }
}

/// Answers a GET or HEAD of an object.
pub(crate) fn answer(shared: &SharedRef, call: &Call) -> ObjectAnswer {
    let mut subject = subject(call, &shared.clock);
    match object(shared, call, &mut subject) {
        Ok(answer) => answer,
        Err(error) => ObjectAnswer {
            answer: error.answer(&subject, &shared.clock),
            actions: Vec::new(),
        },
    }
}

fn object(
    shared: &SharedRef,
    call: &Call,
    subject: &mut S3Subject,
) -> Result<ObjectAnswer, S3Error> {
    if !matches!(call.message.method.as_str(), "GET" | "HEAD") {
        return Err(S3Error::MethodNotAllowed);
    }
    let path = decode_path(&call.message.path);
    let mut world = shared.world();
    authorize(&world, call, &path, subject, &shared.clock)?;
    let object = world.objects.get(&path).ok_or(S3Error::NoSuchKey)?;
    let version = match call.message.query_value("versionId") {
        None => object.versions.last().ok_or(S3Error::NoSuchKey)?,
        Some(id) => object
            .versions
            .iter()
            .find(|version| version.id == id)
            .ok_or(S3Error::NoSuchVersion)?,
    }
    .clone();
    let owner = object.owner.clone();
    let ignore_range = call.faults.iter().any(|f| matches!(f, Fault::IgnoreRange));
    let answer = body(call, &version, ignore_range, subject)?;

    let mut actions: Vec<(u64, Action)> = Vec::new();
    if let Some(key) = owner
        && call.message.method == "GET"
        && let Some(function) = world.functions.get_mut(&key)
    {
        let now = shared.clock.now();
        let starts = function.take_swaps(|trigger| *trigger == Trigger::ObjectStarts);
        let reach = answer.start..answer.start + answer.body.len() as u64;
        let mut offsets = Vec::new();
        let passing = function.take_swaps(|trigger| match trigger {
            Trigger::ObjectBytes(at) if reach.contains(at) || *at == reach.end => {
                offsets.push(*at - answer.start);
                true
            }
            _ => false,
        });
        for zip in starts {
            world.update_code(&key, zip, now);
        }
        for (offset, zip) in offsets.into_iter().zip(passing) {
            let (shared, key) = (Arc::clone(shared), key.clone());
            actions.push((
                offset,
                Box::new(move || {
                    let now = shared.clock.now();
                    shared.world().update_code(&key, zip, now);
                }),
            ));
        }
    }
    Ok(ObjectAnswer { answer, actions })
}

/// Judges a presigned URL, a signed request, or neither.
fn authorize(
    world: &World,
    call: &Call,
    path: &str,
    subject: &mut S3Subject,
    clock: &Clock,
) -> Result<(), S3Error> {
    let access = world.objects.get(path).map(|object| object.access);
    let by_caller = access == Some(Access::Private) && call.signer.is_some();
    if let Some(signature) = call.message.query_value("X-Amz-Signature")
        && !by_caller
    {
        if call.message.header("authorization").is_some() {
            return Err(S3Error::TwoMechanisms);
        }
        let signed = world
            .signed
            .get(&signature)
            .ok_or(S3Error::SignatureDoesNotMatch)?;
        let query = call
            .message
            .query
            .strip_suffix(&format!("&X-Amz-Signature={signature}"));
        if signed.path != path
            || query != Some(signed.query.as_str())
            || call.message.method != "GET"
        {
            return Err(S3Error::SignatureDoesNotMatch);
        }
        let lifetime = SignedDuration::try_from(signed.lifetime).unwrap_or(SignedDuration::MAX);
        let end = signed.made.checked_add(lifetime).unwrap_or(signed.made);
        subject.expires_at = iso(end);
        if signed.expired || clock.now() >= end {
            return Err(S3Error::RequestHasExpired);
        }
        if signed.token_expired {
            subject.token.clone_from(&signed.token);
            return Err(S3Error::ExpiredToken);
        }
        return Ok(());
    }
    match access {
        Some(Access::Public) => Ok(()),
        Some(Access::Private) if call.signer.is_some() => {
            match super::call::refusal(world, call).map(|error| error.code) {
                None => Ok(()),
                Some(code) if code == "ExpiredTokenException" => Err(S3Error::ExpiredToken),
                Some(code) if code == "InvalidSignatureException" => {
                    Err(S3Error::SignatureDoesNotMatch)
                }
                Some(_) => Err(S3Error::AccessDenied),
            }
        }
        // Who may not list the bucket learns only that access is denied, not whether the key exists.
        None if call.signer.is_some() => Err(S3Error::NoSuchKey),
        _ => Err(S3Error::AccessDenied),
    }
}

/// An object version as another service gives it out: whole, or the part asked for; None for a part that is nowhere.
pub(crate) fn whole_or_part(call: &Call, version: &ObjectVersion) -> Option<Answer> {
    let ignore_range = call.faults.iter().any(|f| matches!(f, Fault::IgnoreRange));
    body(call, version, ignore_range, &mut S3Subject::default()).ok()
}

fn body(
    call: &Call,
    version: &ObjectVersion,
    ignore_range: bool,
    subject: &mut S3Subject,
) -> Result<Answer, S3Error> {
    let size = version.bytes.len() as u64;
    subject.size = size;
    if let Some(wanted) = call.message.header("if-match")
        && wanted != "*"
        && !wanted.split(',').any(|tag| tag.trim() == version.etag)
    {
        return Err(S3Error::PreconditionFailed);
    }
    let range = match call.message.header("range") {
        Some(header) if !ignore_range => parse_range(header, size),
        _ => Asked::Whole,
    };
    let mut answer = match range {
        Asked::Whole => Answer::new(200, "application/zip", version.bytes.clone()),
        Asked::Part(part) => {
            // Both ends are within the object, whose length is a `usize`.
            let within = |at: u64| usize::try_from(at).unwrap_or(version.bytes.len());
            let (start, end) = (within(part.start), within(part.end));
            let mut answer = Answer::new(206, "application/zip", version.bytes.slice(start..end))
                .header(
                    "Content-Range",
                    format!("bytes {}-{}/{size}", part.start, part.end - 1),
                );
            answer.start = part.start;
            answer
        }
        Asked::Nowhere => return Err(S3Error::InvalidRange),
    };
    for (name, value) in [
        ("ETag", version.etag.clone()),
        ("Last-Modified", http_date(version.modified)),
        ("Accept-Ranges", "bytes".to_owned()),
        ("x-amz-version-id", version.id.clone()),
        ("x-amz-server-side-encryption", "AES256".to_owned()),
        (
            "x-amz-request-id",
            super::clock::random_hex(8).to_uppercase(),
        ),
        ("x-amz-id-2", super::clock::random_hex(28)),
        ("Server", "AmazonS3".to_owned()),
    ] {
        answer.set_header(name, value);
    }
    Ok(answer)
}

#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Whole,
    Part(Range<u64>),
    Nowhere,
}

/// RFC 9110 section 14.1.2; several ranges or a broken header mean the whole object, as at S3.
fn parse_range(header: &str, size: u64) -> Asked {
    let Some((first, last)) = header
        .strip_prefix("bytes=")
        .filter(|spec| !spec.contains(','))
        .and_then(|spec| spec.split_once('-'))
    else {
        return Asked::Whole;
    };
    match (first.parse::<u64>(), last.parse::<u64>()) {
        (Err(_), Ok(suffix)) if first.is_empty() => {
            if suffix == 0 || size == 0 {
                Asked::Nowhere
            } else {
                Asked::Part(size.saturating_sub(suffix)..size)
            }
        }
        (Ok(first), Err(_)) if last.is_empty() => {
            if first >= size {
                Asked::Nowhere
            } else {
                Asked::Part(first..size)
            }
        }
        (Ok(first), Ok(last)) if first <= last => {
            if first >= size {
                Asked::Nowhere
            } else {
                Asked::Part(first..size.min(last.saturating_add(1)))
            }
        }
        _ => Asked::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_mean_what_the_rfc_says() {
        for (header, expected) in [
            ("bytes=0-", Asked::Part(0..10)),
            ("bytes=3-", Asked::Part(3..10)),
            ("bytes=3-3", Asked::Part(3..4)),
            ("bytes=3-99", Asked::Part(3..10)),
            ("bytes=-4", Asked::Part(6..10)),
            ("bytes=-99", Asked::Part(0..10)),
            ("bytes=10-", Asked::Nowhere),
            ("bytes=-0", Asked::Nowhere),
            ("bytes=5-3", Asked::Whole),
            ("bytes=0-1,3-4", Asked::Whole),
            ("items=0-1", Asked::Whole),
        ] {
            assert_eq!(parse_range(header, 10), expected, "{header}");
        }
        assert_eq!(parse_range("bytes=0-", 0), Asked::Nowhere);
    }
}
