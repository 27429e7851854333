//! Whose functions are backed up: the caller's own, or those of the accounts whose roles it assumes.
//!
//! ```text
//! # one account a line: a role, or `caller` for the caller's own account without one
//! arn:aws:iam::111122223333:role/backup
//! arn:aws:iam::444455556666:role/backup  external-id=s3cr3t  regions=eu-west-1,us-east-1
//! caller
//! ```

use crate::aws::account_of_role;
use crate::error::{Error, ErrorKind, Result};

/// An account to back up, as the user named it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// The role to assume there; None is the caller's own account.
    pub role_arn: Option<String>,
    /// The external id that the role asks for.
    pub external_id: Option<String>,
    /// Its regions; empty is those of the whole run.
    pub regions: Vec<String>,
}

/// The word that stands for the caller's own account.
const CALLER: &str = "caller";
const HINT: &str = "a line is: ROLE-ARN [external-id=ID] [regions=REGION,REGION], or caller in the place of the role";

impl Account {
    /// What messages and the ledger call it until its number is known.
    pub fn name(&self) -> &str {
        self.role_arn.as_deref().unwrap_or(CALLER)
    }

    /// The account's number, as far as the role tells it.
    pub fn number(&self) -> Option<&str> {
        self.role_arn.as_deref().and_then(account_of_role)
    }

    /// Reads a file of accounts; `path` is how messages call it.
    ///
    /// # Errors
    /// A line is not of the form above, an account is named twice, or there is none.
    pub fn parse_file(path: &str, text: &str) -> Result<Vec<Self>> {
        let mut accounts: Vec<Self> = Vec::new();
        for (number, line) in (1_u32..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |message: String| {
                Error::new(ErrorKind::Usage, message)
                    .about(format!("{path}:{number}"))
                    .hint(HINT)
            };
            let account = Self::parse_line(line).map_err(wrong)?;
            if accounts.iter().any(|a| a.role_arn == account.role_arn) {
                return Err(wrong(format!("{} is named twice", account.name())));
            }
            accounts.push(account);
        }
        if accounts.is_empty() {
            return Err(Error::new(ErrorKind::Usage, "names no account")
                .about(path)
                .hint(HINT));
        }
        Ok(accounts)
    }

    fn parse_line(line: &str) -> Result<Self, String> {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default();
        let mut account = Self::default();
        if first != CALLER {
            if !is_role(first) {
                return Err(format!("{first:?} is no role"));
            }
            account.role_arn = Some(first.to_owned());
        }
        for word in words {
            match word.split_once('=') {
                Some(("external-id", id)) if !id.is_empty() && account.role_arn.is_some() => {
                    account.external_id = Some(id.to_owned());
                }
                Some(("regions", regions)) => {
                    for region in regions.split(',') {
                        if !is_region(region) {
                            return Err(format!("{region:?} is no region"));
                        }
                        account.regions.push(region.to_owned());
                    }
                }
                _ => return Err(format!("{word:?} means nothing here")),
            }
        }
        Ok(account)
    }
}

/// `arn:PARTITION:iam::ACCOUNT:role/NAME`.
fn is_role(text: &str) -> bool {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let ["arn", _, "iam", "", account, resource] = parts.as_slice() else {
        return false;
    };
    account.len() == 12
        && account.bytes().all(|b| b.is_ascii_digit())
        && resource
            .strip_prefix("role/")
            .is_some_and(|r| !r.is_empty())
}

/// It becomes a part of host names.
fn is_region(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 63
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLE: &str = "arn:aws:iam::111122223333:role/path/backup";

    #[test]
    fn a_line_names_a_role_its_external_id_and_its_regions() {
        let text = format!(
            "# comment\n\n{ROLE}\n  arn:aws-cn:iam::444455556666:role/b external-id=x=y regions=cn-north-1,cn-northwest-1\ncaller\n"
        );
        let accounts = Account::parse_file("f", &text).unwrap();
        assert_eq!(accounts.len(), 3);
        assert_eq!(
            (accounts[0].name(), accounts[0].number()),
            (ROLE, Some("111122223333"))
        );
        assert_eq!(accounts[1].external_id.as_deref(), Some("x=y"));
        assert_eq!(accounts[1].regions, ["cn-north-1", "cn-northwest-1"]);
        assert_eq!((accounts[2].name(), accounts[2].number()), ("caller", None));
    }

    #[test]
    fn a_line_of_another_form_is_refused_with_its_number() {
        for line in [
            "backup".to_owned(),
            "arn:aws:iam::1:role/x".to_owned(),
            "arn:aws:iam::111122223333:user/x".to_owned(),
            "arn:aws:iam::111122223333:role/".to_owned(),
            format!("{ROLE} x"),
            format!("{ROLE} external-id="),
            format!("{ROLE} regions="),
            format!("{ROLE} regions=eu-west-1,"),
            format!("{ROLE} regions=x.evil.example"),
            "caller external-id=x".to_owned(),
            format!("{ROLE}\n{ROLE}"),
        ] {
            let error = Account::parse_file("f", &format!("\n{line}")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage, "{line}");
            assert!(
                error.subject().is_some_and(|s| s.starts_with("f:")),
                "{line}"
            );
        }
        assert!(Account::parse_file("f", "# nothing\n").is_err());
    }
}
