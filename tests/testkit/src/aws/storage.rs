//! What the server's buckets hold, and the URLs signed for it.

use super::clock::{amz_date, random_hex};
use super::world::{FunctionKey, World};
use bytes::Bytes;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use std::time::Duration;

/// A package kept in the server's bucket.
#[derive(Debug, Clone)]
pub(crate) struct Package {
    pub path: String,
    pub version_id: String,
}

/// Who may read an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Only with a presigned URL.
    Presigned,
    /// With a signed request (`Authorization`) or a presigned URL.
    Private,
    /// Anybody.
    Public,
}

pub(crate) struct Object {
    /// Oldest first.
    pub versions: Vec<ObjectVersion>,
    pub access: Access,
    pub owner: Option<FunctionKey>,
}

#[derive(Clone)]
pub(crate) struct ObjectVersion {
    pub id: String,
    pub bytes: Bytes,
    pub etag: String,
    pub modified: Timestamp,
}

/// A presigned URL that was handed out.
#[derive(Debug, Clone)]
pub(crate) struct Signed {
    pub path: String,
    /// The query without the signature, as minted.
    pub query: String,
    pub token: String,
    pub made: Timestamp,
    pub lifetime: Duration,
    pub expired: bool,
    pub token_expired: bool,
}

impl World {
    /// Puts an object version at a path and answers its version id.
    pub fn put(
        &mut self,
        path: &str,
        bytes: Bytes,
        access: Access,
        owner: Option<FunctionKey>,
        now: Timestamp,
    ) -> String {
        let id = random_hex(16);
        // Like the MD5 of the usual ETag, but cheaper to have here.
        let digest = Sha256::digest(&bytes);
        let etag = digest
            .first_chunk()
            .map_or(0, |first| u128::from_be_bytes(*first));
        let object = self.objects.entry(path.to_owned()).or_insert(Object {
            versions: Vec::new(),
            access,
            owner,
        });
        object.access = access;
        object.versions.push(ObjectVersion {
            id: id.clone(),
            bytes,
            etag: format!("\"{etag:032x}\""),
            modified: now,
        });
        id
    }

    /// Stores a package under a fresh name as Lambda does.
    pub fn put_package(
        &mut self,
        account: &str,
        name: &str,
        bytes: Bytes,
        owner: Option<FunctionKey>,
        now: Timestamp,
    ) -> Package {
        let path = format!(
            "/snapshots/{account}/{name}-{}",
            super::answer::request_uuid()
        );
        let version_id = self.put(&path, bytes, Access::Presigned, owner, now);
        Package { path, version_id }
    }

    /// A presigned URL for an object version, signed afresh.
    pub fn presign(
        &mut self,
        base: &str,
        package: &Package,
        region: &str,
        now: Timestamp,
    ) -> String {
        let made = Timestamp::from_second(now.as_second()).unwrap_or(now);
        let stamp = amz_date(made);
        let token = format!("IQoJb3JpZ2luX2Vj{}{}", super::SECRET_MARKER, random_hex(48));
        let signature = format!("{}{}", super::SECRET_MARKER, random_hex(32));
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("versionId", &package.version_id)
            .append_pair("X-Amz-Security-Token", &token)
            .append_pair("X-Amz-Algorithm", "AWS4-HMAC-SHA256")
            .append_pair("X-Amz-Date", &stamp)
            .append_pair("X-Amz-SignedHeaders", "host")
            .append_pair("X-Amz-Expires", &self.url_lifetime.as_secs().to_string())
            .append_pair(
                "X-Amz-Credential",
                &format!(
                    "ASIALARDERSIGNER0000/{}/{region}/s3/aws4_request",
                    &stamp[..8]
                ),
            )
            .finish();
        let base = self.objects_at.clone().unwrap_or_else(|| base.to_owned());
        let url = format!("{base}{}?{query}&X-Amz-Signature={signature}", package.path);
        self.signed.insert(
            signature,
            Signed {
                path: package.path.clone(),
                query,
                token,
                made,
                lifetime: self.url_lifetime,
                expired: false,
                token_expired: false,
            },
        );
        url
    }
}
