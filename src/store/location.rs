//! Where a store is: a path, `file://`, or `s3://bucket/prefix`.

use std::path::PathBuf;
use std::str::FromStr;

use crate::error::{Error, ErrorKind, Result};

/// Where a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A directory of this machine.
    Directory(PathBuf),
    /// A bucket, with the prefix of all keys, without `/` at either end; empty is the whole bucket.
    Bucket {
        /// The bucket's name.
        bucket: String,
        /// The prefix.
        prefix: String,
    },
}

impl FromStr for Location {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |message: &str| {
            Error::new(ErrorKind::Usage, message.to_owned())
                .about(text)
                .hint("expected a directory, file:///path or s3://bucket/prefix")
        };
        let Some((scheme, rest)) = text.split_once("://") else {
            return match text {
                "" => Err(wrong("names no store")),
                path => Ok(Self::Directory(PathBuf::from(path))),
            };
        };
        match scheme {
            "file" => match url::Url::parse(text)
                .ok()
                .and_then(|url| url.to_file_path().ok())
            {
                Some(path) => Ok(Self::Directory(path)),
                None => Err(wrong("is no URL of a local directory")),
            },
            "s3" => {
                let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
                if bucket.is_empty() || !bucket.bytes().all(legal) {
                    return Err(wrong("names no bucket"));
                }
                let prefix = prefix.trim_matches('/');
                if prefix.split('/').any(|part| matches!(part, "." | "..")) || prefix.contains("//")
                {
                    return Err(wrong("has a prefix with an empty, \".\" or \"..\" part"));
                }
                Ok(Self::Bucket {
                    bucket: bucket.to_owned(),
                    prefix: prefix.to_owned(),
                })
            }
            _ => Err(wrong("is a URL of a kind that larder keeps no stores in")),
        }
    }
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Directory(path) => write!(f, "{}", path.display()),
            Self::Bucket { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::Bucket { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_a_path_or_one_of_two_urls() {
        let bucket = |bucket: &str, prefix: &str| Location::Bucket {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
        };
        for (text, expected) in [
            ("dir/x", Location::Directory("dir/x".into())),
            ("file:///a%20b", Location::Directory("/a b".into())),
            ("s3://b", bucket("b", "")),
            ("s3://b/", bucket("b", "")),
            ("s3://b.c-d/p/q/", bucket("b.c-d", "p/q")),
        ] {
            assert_eq!(text.parse::<Location>().unwrap(), expected, "{text}");
        }
        for text in [
            "",
            "s3://",
            "s3:///p",
            "s3://b/../x",
            "s3://b//x//y",
            "gs://b",
            "https://h/x",
            "s3://b c",
        ] {
            let e = text.parse::<Location>().unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Usage, "{text}");
        }
    }
}
