//! To which requests a fault applies: an operation, from which request on, how often.

use super::fault::Fault;

/// The operations that a fault can be set on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// Every request.
    Any,
    /// Every request to Lambda.
    Lambda,
    /// `GetFunction`.
    GetFunction,
    /// `GetFunctionConfiguration`.
    GetFunctionConfiguration,
    /// `ListFunctions`.
    ListFunctions,
    /// `ListVersionsByFunction`.
    ListVersionsByFunction,
    /// `ListAliases`.
    ListAliases,
    /// `GetLayerVersion` and `GetLayerVersionByArn`.
    Layer,
    /// The GET of a package or another object.
    Object,
    /// Every call to STS.
    Sts,
    /// The operation with this name, as the log has it.
    Operation(&'static str),
}

impl On {
    pub(crate) fn covers(self, operation: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Lambda => !matches!(
                operation,
                "GetObject"
                    | "HeadObject"
                    | "PutObject"
                    | "UploadPart"
                    | "CreateMultipartUpload"
                    | "CompleteMultipartUpload"
                    | "AbortMultipartUpload"
                    | "DeleteObject"
                    | "DeleteObjects"
                    | "GetCallerIdentity"
                    | "AssumeRole"
                    | "DescribeRegions"
                    | "GetResources"
                    | "GetAuthorizationToken"
                    | "GetManifest"
                    | "GetBlob"
                    | "GetToken"
                    | "Unknown"
            ),
            Self::GetFunction => operation == "GetFunction",
            Self::GetFunctionConfiguration => operation == "GetFunctionConfiguration",
            Self::ListFunctions => operation == "ListFunctions",
            Self::ListVersionsByFunction => operation == "ListVersionsByFunction",
            Self::ListAliases => operation == "ListAliases",
            Self::Layer => matches!(operation, "GetLayerVersion" | "GetLayerVersionByArn"),
            Self::Object => operation == "GetObject",
            Self::Sts => matches!(operation, "GetCallerIdentity" | "AssumeRole"),
            Self::Operation(name) => operation == name,
        }
    }

    /// For the next `count` requests of this kind.
    #[must_use]
    pub fn times(self, count: u64) -> When {
        When::from(self).times(count)
    }

    /// For every request of this kind.
    #[must_use]
    pub fn always(self) -> When {
        When::from(self).times(u64::MAX)
    }

    /// For the `number`-th request of this kind from now on, counted from 1.
    #[must_use]
    pub fn nth(self, number: u64) -> When {
        When::from(self).nth(number)
    }

    /// Only for requests whose path, percent-decoded, contains this (a function's name, say).
    #[must_use]
    pub fn path(self, part: &str) -> When {
        When::from(self).path(part)
    }
}

/// To which requests a fault applies. Made from an [`On`] it is the next request of that kind, once.
#[derive(Debug, Clone)]
pub struct When {
    on: On,
    first: u64,
    count: u64,
    path: Option<String>,
}

impl From<On> for When {
    fn from(on: On) -> Self {
        Self {
            on,
            first: 1,
            count: 1,
            path: None,
        }
    }
}

impl When {
    /// For this many requests.
    #[must_use]
    pub fn times(mut self, count: u64) -> Self {
        self.count = count;
        self
    }

    /// From the `number`-th matching request on, counted from 1 since the fault was set.
    #[must_use]
    pub fn nth(mut self, number: u64) -> Self {
        self.first = number.max(1);
        self
    }

    /// Only for requests whose path, percent-decoded, contains this.
    #[must_use]
    pub fn path(mut self, part: &str) -> Self {
        self.path = Some(part.to_owned());
        self
    }
}

#[derive(Debug)]
pub(crate) struct Rule {
    when: When,
    fault: Fault,
    seen: u64,
}

impl Rule {
    pub fn new(when: When, fault: Fault) -> Self {
        Self {
            when,
            fault,
            seen: 0,
        }
    }

    /// Counts a request; the fault when it applies to it.
    pub fn take(&mut self, operation: &str, path: &str) -> Option<Fault> {
        let matches = self.when.on.covers(operation)
            && self
                .when
                .path
                .as_ref()
                .is_none_or(|part| path.contains(part.as_str()));
        if !matches {
            return None;
        }
        self.seen += 1;
        (self.seen >= self.when.first && self.seen - self.when.first < self.when.count)
            .then(|| self.fault.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_counts_only_what_it_covers() {
        let mut rule = Rule::new(On::Object.nth(2).times(2).path("app"), Fault::Chunked);
        let taken: Vec<bool> = [
            ("GetObject", "/app"),
            ("GetFunction", "/app"),
            ("GetObject", "/other"),
            ("GetObject", "/app"),
            ("GetObject", "/app"),
            ("GetObject", "/app"),
        ]
        .iter()
        .map(|(operation, path)| rule.take(operation, path).is_some())
        .collect();
        assert_eq!(taken, [false, false, false, true, true, false]);
    }
}
