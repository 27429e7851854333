//! S3's writes: PUT, uploads in parts, DELETE. Any signed caller may write into any bucket.

use super::answer::{Answer, S3Error, S3Subject};
use super::call::Call;
use super::storage::Access;
use super::wire::{Message, decode_path};
use super::world::SharedRef;
use bytes::Bytes;
use std::collections::BTreeMap;

/// An upload in parts: where to, and the parts by their numbers.
pub(crate) struct Upload {
    path: String,
    parts: BTreeMap<u64, Bytes>,
}

/// The operation of a request that writes.
pub(crate) fn operation(message: &Message) -> Option<&'static str> {
    let asks = |name: &str| message.query_pairs().iter().any(|(key, _)| key == name);
    match message.method.as_str() {
        "PUT" if asks("partNumber") => Some("UploadPart"),
        "PUT" => Some("PutObject"),
        "POST" if asks("delete") => Some("DeleteObjects"),
        "POST" if asks("uploads") => Some("CreateMultipartUpload"),
        "POST" if asks("uploadId") => Some("CompleteMultipartUpload"),
        "DELETE" if asks("uploadId") => Some("AbortMultipartUpload"),
        "DELETE" => Some("DeleteObject"),
        _ => None,
    }
}

/// Whether an operation is one of these.
pub(crate) fn owns(operation: &str) -> bool {
    matches!(
        operation,
        "PutObject"
            | "UploadPart"
            | "CreateMultipartUpload"
            | "CompleteMultipartUpload"
            | "AbortMultipartUpload"
            | "DeleteObject"
            | "DeleteObjects"
    )
}

pub(crate) fn answer(shared: &SharedRef, call: &Call, subject: &S3Subject) -> Answer {
    write(shared, call).unwrap_or_else(|error| error.answer(subject, &shared.clock))
}

fn write(shared: &SharedRef, call: &Call) -> Result<Answer, S3Error> {
    let now = shared.clock.now();
    let path = decode_path(&call.message.path);
    let mut world = shared.world();
    match super::call::refusal(&world, call).map(|error| error.code) {
        None => {}
        Some(code) if code == "ExpiredTokenException" => return Err(S3Error::ExpiredToken),
        Some(_) => return Err(S3Error::AccessDenied),
    }
    let xml = |body: String| Answer::new(200, "application/xml", body);
    let upload_id = call.message.query_value("uploadId").unwrap_or_default();
    let etag = |bytes: &Bytes| format!("\"{}\"", super::world::code_sha256(bytes));
    match call.operation {
        "PutObject" => {
            let bytes = call.message.body.clone();
            let taken = world
                .objects
                .get(&path)
                .is_some_and(|o| !o.versions.is_empty());
            if taken && call.message.header("if-none-match") == Some("*") {
                return Err(S3Error::PreconditionFailed);
            }
            let tag = etag(&bytes);
            let id = world.put(&path, bytes, Access::Private, None, now);
            Ok(Answer::new(200, "application/xml", Bytes::new())
                .header("ETag", tag)
                .header("x-amz-version-id", id))
        }
        "CreateMultipartUpload" => {
            let id = super::clock::random_hex(16);
            let upload = Upload {
                path,
                parts: BTreeMap::new(),
            };
            world.uploads.insert(id.clone(), upload);
            Ok(xml(format!(
                "<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
            )))
        }
        "UploadPart" => {
            let number = call.message.query_value("partNumber");
            let number = number.and_then(|text| text.parse().ok()).unwrap_or(0);
            let bytes = call.message.body.clone();
            let tag = etag(&bytes);
            let upload = world
                .uploads
                .get_mut(&upload_id)
                .ok_or(S3Error::NoSuchKey)?;
            upload.parts.insert(number, bytes);
            Ok(Answer::new(200, "application/xml", Bytes::new()).header("ETag", tag))
        }
        "CompleteMultipartUpload" => {
            let upload = world.uploads.remove(&upload_id).ok_or(S3Error::NoSuchKey)?;
            let bytes: Vec<u8> = upload.parts.values().flatten().copied().collect();
            let bytes = Bytes::from(bytes);
            let tag = etag(&bytes);
            world.put(&upload.path, bytes, Access::Private, None, now);
            Ok(xml(format!(
                "<CompleteMultipartUploadResult><ETag>{}</ETag></CompleteMultipartUploadResult>",
                tag.replace('"', "&quot;")
            )))
        }
        "DeleteObjects" => {
            let body = String::from_utf8_lossy(&call.message.body).into_owned();
            let keys = body.split("<Key>").skip(1);
            let keys = keys.filter_map(|rest| rest.split("</Key>").next());
            let mut deleted = String::from("<DeleteResult>");
            for key in keys {
                world
                    .objects
                    .remove(&format!("{}/{key}", path.trim_end_matches('/')));
                deleted.push_str("<Deleted><Key>");
                deleted.push_str(key);
                deleted.push_str("</Key></Deleted>");
            }
            Ok(xml(deleted + "</DeleteResult>"))
        }
        "AbortMultipartUpload" => {
            world.uploads.remove(&upload_id);
            Ok(Answer::new(204, "application/xml", Bytes::new()))
        }
        _ => {
            world.objects.remove(&path);
            Ok(Answer::new(204, "application/xml", Bytes::new()))
        }
    }
}
