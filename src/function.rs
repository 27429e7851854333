//! From what the user typed to a function that can be asked for.
//!
//! ```text
//! my-function                                            a name
//! my-function:live                                       a name and an alias or version
//! 123456789012:function:my-function[:live]               a partial ARN
//! arn:aws:lambda:eu-west-1:123456789012:function:my-function[:live]
//! ```
//!
//! The rules are those of `FunctionName` and `Qualifier` in the Lambda API reference. What AWS would refuse
//! by its form alone is refused here, before any call; what merely does not exist is for AWS to say.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind};

/// The longest `FunctionName`, in characters.
const MAX_FUNCTION_NAME: usize = 256;
/// The longest bare name, in characters.
const MAX_BARE_NAME: usize = 64;
/// The longest `Qualifier`, in characters.
const MAX_QUALIFIER: usize = 128;

/// A function, and perhaps one version or alias of it, as the user named it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FunctionRef {
    text: String,
    /// The text without the qualifier in it.
    unqualified: String,
    partition: Option<String>,
    region: Option<String>,
    account: Option<String>,
    name: String,
    qualifier: Option<Qualifier>,
}

/// A version number, an alias, `$LATEST` or `$LATEST.PUBLISHED`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Qualifier(String);

/// Why a text names no function.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing at all.
    #[error("the function's name is empty")]
    Empty,
    /// More than 256 characters.
    #[error("the name has {0} characters, and at most {MAX_FUNCTION_NAME} are allowed")]
    TooLong(usize),
    /// A bare name of more than 64 characters.
    #[error("the function's name has {0} characters, and at most {MAX_BARE_NAME} are allowed")]
    BareNameTooLong(usize),
    /// A character that no name holds.
    #[error("the name holds {0:?}; allowed are letters, digits, '-', '_' and '.'")]
    Character(char),
    /// An ARN of something else.
    #[error("this is the ARN of {0}, not of a Lambda function")]
    OtherArn(String),
    /// A part of an ARN that is malformed or missing.
    #[error("the ARN's {part} is {found:?}; expected {expected}")]
    ArnPart {
        /// Which part: partition, region, account, resource type.
        part: &'static str,
        /// What stands there.
        found: String,
        /// What would be right.
        expected: &'static str,
    },
    /// More parts than any form has.
    #[error("too many parts after the function's name {0:?}: at most one qualifier may follow")]
    TooManyParts(String),
    /// A qualifier that is malformed.
    #[error("{0}")]
    Qualifier(#[from] QualifierError),
    /// Two qualifiers that differ.
    #[error("the name says {in_name:?} and --qualifier says {given:?}; give one of them")]
    TwoQualifiers {
        /// The one after the name.
        in_name: String,
        /// The one given beside it.
        given: String,
    },
}

/// Why a text is no qualifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QualifierError {
    /// Nothing at all.
    #[error("the qualifier is empty")]
    Empty,
    /// More than 128 characters.
    #[error("the qualifier has {0} characters, and at most {MAX_QUALIFIER} are allowed")]
    TooLong(usize),
    /// A character that no qualifier holds.
    #[error(
        "the qualifier holds {0:?}; it is a version number, an alias (letters, digits, '-', '_'), or $LATEST"
    )]
    Character(char),
}

impl FunctionRef {
    /// Reads any form of `FunctionName`, and sets `qualifier` beside it as `--qualifier` does.
    ///
    /// # Errors
    /// The text is malformed, or it holds another qualifier than the one given.
    pub fn new(text: &str, qualifier: Option<&str>) -> Result<Self, NameError> {
        let mut function: Self = text.parse()?;
        if let Some(given) = qualifier {
            let given: Qualifier = given.parse()?;
            match &function.qualifier {
                Some(in_name) if *in_name != given => {
                    return Err(NameError::TwoQualifiers {
                        in_name: in_name.0.clone(),
                        given: given.0,
                    });
                }
                _ => function.qualifier = Some(given),
            }
        }
        Ok(function)
    }

    /// The text as the user typed it.
    pub fn as_typed(&self) -> &str {
        &self.text
    }

    /// What the user typed, without a qualifier in it: what is sent as `FunctionName`, with the qualifier beside it.
    /// To AWS both forms are the same; a name such as `prod` that its alias shares then needs no telling apart.
    pub fn unqualified(&self) -> &str {
        &self.unqualified
    }

    /// The function's name alone.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version or alias, from the name or from beside it.
    pub fn qualifier(&self) -> Option<&str> {
        self.qualifier.as_ref().map(|q| q.0.as_str())
    }

    /// The region that the ARN names.
    pub fn region(&self) -> Option<&str> {
        self.region.as_deref()
    }

    /// The account (12 digits) that the ARN or partial ARN names.
    pub fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }

    /// The partition that the ARN names: `aws`, `aws-cn`, `aws-us-gov` and so on.
    pub fn partition(&self) -> Option<&str> {
        self.partition.as_deref()
    }

    /// The default destination's name: `NAME`, or `NAME-QUALIFIER`. Always one plain path component.
    pub fn directory_name(&self) -> String {
        // The grammar leaves only letters, digits, '-', '_', '.' and '$'; of those, just a name of dots alone
        // would mean something to the file system.
        let mut name = match &self.qualifier {
            Some(qualifier) => format!("{}-{}", self.name, qualifier.0),
            None => self.name.clone(),
        };
        if name.bytes().all(|b| b == b'.') {
            name.insert(0, '_');
        }
        name
    }
}

impl FromStr for FunctionRef {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        let length = text.chars().count();
        if length > MAX_FUNCTION_NAME {
            return Err(NameError::TooLong(length));
        }
        let mut parts: Vec<&str> = text.split(':').collect();
        parts.reverse(); // a stack: the next part is the last
        let partition = take_arn_head(&mut parts)?;
        let is_arn = partition.is_some();

        // Each of these may be left out, as in the pattern of the API reference; the last part is never theirs.
        let region = take_if(&mut parts, is_region);
        let account = take_if(&mut parts, is_account);
        if is_arn {
            check_arn_place(&parts, region, account)?;
        }
        let resource = take_if(&mut parts, |part| part == "function");
        if is_arn && resource.is_none() {
            return Err(other_resource(parts.last().copied().unwrap_or_default()));
        }

        let name = parts.pop().unwrap_or_default();
        let qualifier = parts.pop();
        if !parts.is_empty() {
            return Err(NameError::TooManyParts(name.to_owned()));
        }
        check_name(
            name,
            region.is_none() && account.is_none() && resource.is_none(),
        )?;
        let unqualified = match qualifier {
            Some(qualifier) => &text[..text.len() - qualifier.len() - 1],
            None => text,
        };
        Ok(Self {
            text: text.to_owned(),
            unqualified: unqualified.to_owned(),
            partition: partition.map(ToOwned::to_owned),
            region: region.map(ToOwned::to_owned),
            account: account.map(ToOwned::to_owned),
            name: name.to_owned(),
            qualifier: qualifier.map(after_name).transpose()?,
        })
    }
}

/// The qualifier after a name: there a `$` stands only in `$LATEST` and `$LATEST.PUBLISHED`, while `Qualifier` may hold one
/// anywhere.
fn after_name(text: &str) -> Result<Qualifier, QualifierError> {
    if text.contains('$') && !matches!(text, "$LATEST" | "$LATEST.PUBLISHED") {
        return Err(QualifierError::Character('$'));
    }
    text.parse()
}

/// Takes `arn:PARTITION:lambda` off, and gives the partition.
fn take_arn_head<'a>(parts: &mut Vec<&'a str>) -> Result<Option<&'a str>, NameError> {
    if parts.len() < 2 || parts.last() != Some(&"arn") {
        return Ok(None);
    }
    parts.pop();
    let partition = parts.pop().unwrap_or_default();
    let tail = partition.strip_prefix("aws");
    if !tail.is_some_and(|t| t.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-')) {
        return Err(NameError::ArnPart {
            part: "partition",
            found: partition.to_owned(),
            expected: "aws, aws-cn, aws-us-gov or another aws-…",
        });
    }
    match parts.pop() {
        Some("lambda") => Ok(Some(partition)),
        Some(service) if !service.is_empty() => {
            Err(NameError::OtherArn(format!("the service {service:?}")))
        }
        _ => Err(NameError::ArnPart {
            part: "service",
            found: String::new(),
            expected: "lambda",
        }),
    }
}

/// Takes the next part when it is not the last one and `accept` says so.
fn take_if<'a>(parts: &mut Vec<&'a str>, accept: impl Fn(&str) -> bool) -> Option<&'a str> {
    if parts.len() > 1 && parts.last().is_some_and(|part| accept(part)) {
        parts.pop()
    } else {
        None
    }
}

/// In a whole ARN, region and account are always there; says which one is wrong.
fn check_arn_place(
    rest: &[&str],
    region: Option<&str>,
    account: Option<&str>,
) -> Result<(), NameError> {
    let found = rest.last().copied().unwrap_or_default().to_owned();
    if region.is_none() {
        return Err(NameError::ArnPart {
            part: "region",
            found,
            expected: "a region such as eu-west-1",
        });
    }
    if account.is_none() {
        return Err(NameError::ArnPart {
            part: "account",
            found,
            expected: "12 digits",
        });
    }
    Ok(())
}

fn other_resource(kind: &str) -> NameError {
    match kind {
        "layer" => NameError::OtherArn("a layer".to_owned()),
        "event-source-mapping" => NameError::OtherArn("an event source mapping".to_owned()),
        "code-signing-config" => NameError::OtherArn("a code signing configuration".to_owned()),
        "capacity-provider" => NameError::OtherArn("a capacity provider".to_owned()),
        other => NameError::ArnPart {
            part: "resource type",
            found: other.to_owned(),
            expected: "function:NAME",
        },
    }
}

/// `(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}`
pub(crate) fn is_region(text: &str) -> bool {
    let text = text.strip_prefix("eusc-").unwrap_or(text);
    let mut parts = text.split('-');
    let lower = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase());
    let country = parts.next().is_some_and(|p| p.len() == 2 && lower(p));
    let mut rest: Vec<&str> = parts.collect();
    if rest.len() == 3
        && (rest[0] == "gov"
            || rest[0]
                .strip_prefix("iso")
                .is_some_and(|l| l.is_empty() || (l.len() == 1 && lower(l))))
    {
        rest.remove(0);
    }
    country
        && rest.len() == 2
        && lower(rest[0])
        && rest[1].len() == 1
        && rest[1].bytes().all(|b| b.is_ascii_digit())
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

fn check_name(name: &str, bare: bool) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if let Some(c) = name
        .chars()
        .find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')))
    {
        return Err(NameError::Character(c));
    }
    // A Lambda@Edge replica is named for its master's region, and the limit is that of the name after it.
    let own = match name.split_once('.') {
        Some((region, own)) if is_region(region) => own,
        _ => name,
    };
    if bare && own.len() > MAX_BARE_NAME {
        return Err(NameError::BareNameTooLong(own.len()));
    }
    Ok(())
}

impl FromStr for Qualifier {
    type Err = QualifierError;

    fn from_str(text: &str) -> Result<Self, QualifierError> {
        let length = text.chars().count();
        if length == 0 {
            return Err(QualifierError::Empty);
        }
        if length > MAX_QUALIFIER {
            return Err(QualifierError::TooLong(length));
        }
        if text != "$LATEST.PUBLISHED"
            && let Some(c) = text
                .chars()
                .find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '$')))
        {
            return Err(QualifierError::Character(c));
        }
        Ok(Self(text.to_owned()))
    }
}

impl Qualifier {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FunctionRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match &self.qualifier {
            Some(qualifier) => write!(f, ":{}", qualifier.0),
            None => Ok(()),
        }
    }
}

impl From<NameError> for Error {
    fn from(error: NameError) -> Self {
        let hint = match &error {
            NameError::TwoQualifiers { .. } => None,
            NameError::Qualifier(_) => {
                Some("examples: --qualifier 7, --qualifier live, --qualifier '$LATEST'")
            }
            _ => Some(
                "a function is NAME, NAME:QUALIFIER, ACCOUNT:function:NAME, or arn:aws:lambda:REGION:ACCOUNT:function:NAME",
            ),
        };
        let error = Self::new(ErrorKind::Usage, error.to_string());
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The pattern of `FunctionName` in the public service model.
    const PATTERN: &str = r"^(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?([a-zA-Z0-9-_\.]+)(:(\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9-_]+))?$";

    fn parts(
        text: &str,
    ) -> (
        Option<String>,
        Option<String>,
        Option<String>,
        String,
        Option<String>,
    ) {
        let f: FunctionRef = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
        (
            f.partition,
            f.region,
            f.account,
            f.name,
            f.qualifier.map(|q| q.0),
        )
    }

    fn want(
        p: &str,
        r: &str,
        a: &str,
        n: &str,
        q: &str,
    ) -> (
        Option<String>,
        Option<String>,
        Option<String>,
        String,
        Option<String>,
    ) {
        let some = |s: &str| (!s.is_empty()).then(|| s.to_owned());
        (some(p), some(r), some(a), n.to_owned(), some(q))
    }

    #[test]
    fn every_form_is_read() {
        for (text, parts_wanted) in [
            ("my-function", want("", "", "", "my-function", "")),
            ("my-function:v1", want("", "", "", "my-function", "v1")),
            (
                "my-function:$LATEST",
                want("", "", "", "my-function", "$LATEST"),
            ),
            (
                "f:$LATEST.PUBLISHED",
                want("", "", "", "f", "$LATEST.PUBLISHED"),
            ),
            (
                "123456789012:function:f",
                want("", "", "123456789012", "f", ""),
            ),
            (
                "123456789012:function:f:7",
                want("", "", "123456789012", "f", "7"),
            ),
            (
                "arn:aws:lambda:us-west-2:123456789012:function:f",
                want("aws", "us-west-2", "123456789012", "f", ""),
            ),
            (
                "arn:aws:lambda:us-west-2:123456789012:function:f:live",
                want("aws", "us-west-2", "123456789012", "f", "live"),
            ),
            (
                "arn:aws-cn:lambda:cn-north-1:123456789012:function:f",
                want("aws-cn", "cn-north-1", "123456789012", "f", ""),
            ),
            (
                "arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:f",
                want("aws-us-gov", "us-gov-west-1", "123456789012", "f", ""),
            ),
            (
                "arn:aws-iso:lambda:us-iso-east-1:123456789012:function:f",
                want("aws-iso", "us-iso-east-1", "123456789012", "f", ""),
            ),
            (
                "arn:aws-iso-b:lambda:us-isob-east-1:123456789012:function:f",
                want("aws-iso-b", "us-isob-east-1", "123456789012", "f", ""),
            ),
            (
                "arn:aws-eusc:lambda:eusc-de-east-1:123456789012:function:f",
                want("aws-eusc", "eusc-de-east-1", "123456789012", "f", ""),
            ),
            (
                "us-east-1.edge-fn",
                want("", "", "", "us-east-1.edge-fn", ""),
            ),
        ] {
            assert_eq!(parts(text), parts_wanted, "{text}");
        }
    }

    #[test]
    fn what_aws_would_refuse_by_form_is_refused() {
        for text in [
            "",
            ":",
            "f:",
            ":live",
            "a b",
            "a/b",
            "../x",
            "f\n",
            "f\0",
            "fé",
            "f:1:2",
            "f:a b",
            "f:$LATEST.OTHER",
            "f:$OLDEST",
            "f:a$b",
            "arn:aws:lambda:us-west-2:123456789012:layer:l:1",
            "arn:aws:s3:::bucket",
            "arn:aws:lambda:us-west-2:12345:function:f",
            "arn:aws:lambda::123456789012:function:f",
            "arn:gcp:lambda:us-west-2:123456789012:function:f",
            "arn:aws:lambda:us-west-2:123456789012:function:",
            "arn:aws:lambda:us-west-2:123456789012:f",
            "arn:aws",
            "arn:",
            &"x".repeat(65),
            &format!("123456789012:function:{}", "x".repeat(250)),
            &format!("f:{}", "q".repeat(129)),
        ] {
            assert!(text.parse::<FunctionRef>().is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn the_longest_names_are_taken() {
        assert!("x".repeat(64).parse::<FunctionRef>().is_ok());
        let replica = format!("us-east-1.{}", "x".repeat(64));
        assert!(replica.parse::<FunctionRef>().is_ok());
        let qualified = format!("f:{}", "q".repeat(128));
        assert!(qualified.parse::<FunctionRef>().is_ok());
    }

    #[test]
    fn two_qualifiers_must_agree() {
        assert!(FunctionRef::new("f:live", Some("live")).is_ok());
        let e = FunctionRef::new("f:live", Some("7"))
            .unwrap_err()
            .to_string();
        assert!(e.contains("live") && e.contains('7'), "{e}");
        let f = FunctionRef::new("f", Some("7")).unwrap();
        assert_eq!(
            (f.qualifier(), f.directory_name().as_str()),
            (Some("7"), "f-7")
        );
    }

    #[test]
    fn the_qualifier_is_split_off_wherever_it_stands() {
        let arn = "arn:aws:lambda:us-west-2:123456789012:function:prod";
        for (text, given, unqualified, qualifier) in [
            ("f", None, "f", None),
            ("f:prod", None, "f", Some("prod")),
            ("prod", Some("prod"), "prod", Some("prod")),
            (arn, Some("prod"), arn, Some("prod")),
            (&format!("{arn}:prod"), Some("prod"), arn, Some("prod")),
            (&format!("{arn}:7"), None, arn, Some("7")),
            (
                "123456789012:function:f:$LATEST",
                None,
                "123456789012:function:f",
                Some("$LATEST"),
            ),
        ] {
            let function = FunctionRef::new(text, given).unwrap();
            assert_eq!(function.unqualified(), unqualified, "{text} {given:?}");
            assert_eq!(function.qualifier(), qualifier, "{text} {given:?}");
        }
    }

    #[test]
    fn a_name_of_dots_is_no_directory_of_dots() {
        for text in [".", "..", "..."] {
            let name = text.parse::<FunctionRef>().unwrap().directory_name();
            assert_eq!(name, format!("_{text}"));
        }
    }

    proptest! {
        #[test]
        fn whatever_is_taken_matches_the_model_and_names_one_directory(text in r"[a-z0-9:$._/ -]{0,40}|arn:aws(-cn)?:lambda:[a-z]{2}-(iso-)?east-[0-9]{1,2}:[0-9]{11,13}:(function|layer):[a-zA-Z$.]{1,9}(:[a-zA-Z0-9$]{1,9}){0,2}") {
            let pattern = regex_lite::Regex::new(PATTERN).unwrap();
            if let Ok(function) = text.parse::<FunctionRef>() {
                prop_assert!(pattern.is_match(&text), "{}", text);
                let directory = function.directory_name();
                let mut components = std::path::Path::new(&directory).components();
                prop_assert!(matches!(components.next(), Some(std::path::Component::Normal(_))));
                prop_assert!(components.next().is_none());
                prop_assert_eq!(function.as_typed(), text);
            }
        }

        #[test]
        fn parts_put_together_come_apart_again(
            region in r"(eusc-)?[a-z]{2}(-gov|-iso[a-z]?)?-[a-z]{1,9}-[0-9]",
            account in r"[0-9]{12}",
            name in r"[a-zA-Z0-9_-]{1,64}",
            qualifier in r"\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9_-]{1,64}",
        ) {
            let whole = format!("arn:aws:lambda:{region}:{account}:function:{name}:{qualifier}");
            let function: FunctionRef = whole.parse().unwrap();
            prop_assert_eq!(function.region(), Some(region.as_str()));
            prop_assert_eq!(function.account(), Some(account.as_str()));
            prop_assert_eq!(function.name(), name);
            prop_assert_eq!(function.qualifier(), Some(qualifier.as_str()));
        }

        #[test]
        fn no_text_panics(text in any::<String>()) {
            let _ = text.parse::<FunctionRef>();
        }
    }
}
