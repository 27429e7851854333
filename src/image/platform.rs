//! Which system an image is for.

use std::fmt;
use std::str::FromStr;

/// A platform as image indexes name it: `linux/amd64`, `linux/arm64/v8` (OCI Image Specification 1.1, "Image Index").
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Platform {
    /// `os`.
    pub os: String,
    /// `architecture`, in Go's words: `amd64`, `arm64`.
    pub architecture: String,
    /// `variant`; None fits every one.
    pub variant: Option<String>,
}

/// Why a text is no platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no platform: expected something like linux/amd64 or linux/arm64/v8")]
pub struct ParsePlatformError(String);

impl Platform {
    /// The platform of a function, by the word of its `Architectures`: `x86_64` (also where Lambda states none) or
    /// `arm64`.
    pub fn of_function(architecture: Option<&str>) -> Self {
        Self {
            os: "linux".to_owned(),
            architecture: normal(architecture.unwrap_or("x86_64")).to_owned(),
            variant: None,
        }
    }

    /// Whether what an index offers is what is wanted.
    pub fn accepts(&self, offered: &Self) -> bool {
        self.os == offered.os
            && self.architecture == normal(&offered.architecture)
            && (self.variant.is_none() || self.whole_variant() == offered.whole_variant())
    }
}

impl Platform {
    /// The variant, where an architecture has just one that goes without saying (containerd's normalisation: arm64 is v8).
    fn whole_variant(&self) -> Option<&str> {
        match (self.architecture.as_str(), self.variant.as_deref()) {
            ("arm64" | "aarch64", None) => Some("v8"),
            (_, variant) => variant,
        }
    }
}

/// The word of Go, and so of images, for an architecture.
fn normal(architecture: &str) -> &str {
    match architecture {
        "x86_64" | "x86-64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

impl FromStr for Platform {
    type Err = ParsePlatformError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParsePlatformError(text.chars().take(80).collect());
        let parts: Vec<&str> = text.split('/').collect();
        let plain = |part: &&str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        };
        if !parts.iter().all(plain) {
            return Err(error());
        }
        let (os, architecture, variant) = match parts[..] {
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some(variant.to_owned())),
            _ => return Err(error()),
        };
        Ok(Self {
            os: os.to_ascii_lowercase(),
            architecture: normal(&architecture.to_ascii_lowercase()).to_owned(),
            variant,
        })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if let Some(variant) = &self.variant {
            write!(f, "/{variant}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_read_and_shown() {
        for (text, shown) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("Linux/ARM64/v8", "linux/arm64/v8"),
        ] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), shown);
        }
        for text in [
            "",
            "linux",
            "linux/",
            "/amd64",
            "linux/arm64/v8/x",
            "linux/am d64",
        ] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_function_takes_what_fits_its_architecture() {
        let of = |text: &str| text.parse::<Platform>().unwrap();
        let arm = Platform::of_function(Some("arm64"));
        assert!(arm.accepts(&of("linux/arm64/v8")) && arm.accepts(&of("linux/aarch64")));
        assert!(!arm.accepts(&of("linux/amd64")) && !arm.accepts(&of("windows/arm64")));
        assert!(Platform::of_function(None).accepts(&of("linux/amd64")));
        assert!(!of("linux/arm/v7").accepts(&of("linux/arm/v6")));
        assert!(of("linux/arm64/v8").accepts(&of("linux/arm64")));
        assert!(!of("linux/arm64/v9").accepts(&of("linux/arm64")));
    }
}
