//! The units of a backup: one account in one region each, with a session of its own.
//!
//! An account whose role is refused is one line and ends nothing else; where it is the only one, its refusal is the run's.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use futures_util::StreamExt as _;

use super::accounts::Account;
use super::ledger::{Kind, Line, Tally, copy, reason, status_of};
use super::{BackupOptions, Regions};
use crate::aws::{Session, SessionOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, Reporter};
use crate::function::FunctionRef;
use crate::lambda::Lambda;
use crate::record::Status;

/// How many roles are assumed at once.
const ACCOUNTS_AT_ONCE: usize = 8;

/// One account in one region.
pub(super) struct Unit {
    pub(super) account: Arc<OneAccount>,
    pub(super) session: Session,
}

/// An account, once its number is known.
#[derive(Debug)]
pub(super) struct OneAccount {
    /// Twelve digits.
    pub(super) number: String,
    /// Why nothing more can be asked there: its credentials ended.
    stopped: OnceLock<Error>,
}

impl OneAccount {
    pub(super) fn stop(&self, error: Error) {
        // Only the first reason counts.
        let _ = self.stopped.set(error);
    }

    pub(super) fn stopped(&self) -> Option<&Error> {
        self.stopped.get()
    }
}

/// What there is to work on.
pub(super) struct Units {
    pub(super) units: Vec<Unit>,
    /// This run's id.
    pub(super) run_id: String,
}

/// All units that are meant, in the order in which they were named.
///
/// # Errors
/// No account can be had: the first one's reason. What was named is in none of them.
pub(super) async fn units(
    common: &SessionOptions,
    options: &BackupOptions,
    tally: &Arc<Tally>,
    each: &(dyn Fn(&Line) + Sync),
) -> Result<Units> {
    let own = [Account::default()];
    let (accounts, common) = if options.accounts.is_empty() {
        (&own[..], common.clone())
    } else {
        let without_role = SessionOptions {
            role_arn: None,
            external_id: None,
            ..common.clone()
        };
        (&options.accounts[..], without_role)
    };
    let (base, has_region) = Box::pin(first_session(&common, accounts, options)).await?;
    let several = accounts.len() > 1;
    let found = futures_util::stream::iter(accounts).map(|account| {
        let base = &base;
        async move {
            (
                account,
                Box::pin(of_account(base, has_region, account, options, tally)).await,
            )
        }
    });
    let mut found = found.buffered(ACCOUNTS_AT_ONCE);
    let (mut units, mut seen, mut first) = (Vec::new(), BTreeSet::new(), None);
    while let Some((account, result)) = found.next().await {
        let (number, sessions) = match result {
            Ok(found) => found,
            Err(e) if several && !is_of_the_caller(e.kind()) => {
                refused(account, copy(&e), tally, each);
                first.get_or_insert(e);
                continue;
            }
            Err(e) => return Err(e),
        };
        let state = Arc::new(OneAccount {
            number: number.clone(),
            stopped: OnceLock::new(),
        });
        for session in sessions {
            if seen.insert((number.clone(), session.region().to_owned())) {
                units.push(Unit {
                    account: Arc::clone(&state),
                    session,
                });
            }
        }
    }
    drop(found);
    if let (true, Some(error)) = (units.is_empty(), first) {
        return Err(error);
    }
    if several {
        everything_named_is_somewhere(options, &units)?;
    }
    let named = &options.functions;
    units.retain(|unit| {
        let region = unit.session.region();
        let asked = |f| options.is_asked(f, &unit.account, region);
        named.is_empty() || named.iter().any(asked)
    });
    if let Some(shard) = options.shard {
        units.retain(|unit| shard.owns(&unit.account.number, unit.session.region()));
    }
    Ok(Units {
        units,
        run_id: base.run_id().to_owned(),
    })
}

/// A session before any role, and whether its region is one that the user set for all. Where none is set, the first that an
/// account or an ARN names serves, for STS alone.
async fn first_session(
    common: &SessionOptions,
    accounts: &[Account],
    options: &BackupOptions,
) -> Result<(Session, bool)> {
    let mut set = common.clone();
    if let Regions::Named(names) = &options.regions {
        set.region = names.first().cloned().or(set.region);
    }
    let of_accounts = accounts.iter().find_map(|a| a.regions.first());
    let of_arns = options.functions.iter().find_map(FunctionRef::region);
    let other = of_accounts.map(String::as_str).or(of_arns);
    match (Session::connect(&set, None).await, other) {
        (Err(e), Some(region)) if e.kind() == ErrorKind::Usage => {
            set.region = Some(region.to_owned());
            Ok((Session::connect(&set, None).await?, false))
        }
        (session, _) => Ok((session?, true)),
    }
}

/// Whether every function was named with its region.
fn only_arns(options: &BackupOptions) -> bool {
    !options.functions.is_empty() && options.functions.iter().all(|f| f.region().is_some())
}

/// The number of an account and a session for each of its regions.
async fn of_account(
    base: &Session,
    has_region: bool,
    account: &Account,
    options: &BackupOptions,
    tally: &Arc<Tally>,
) -> Result<(String, Vec<Session>)> {
    let session = match &account.role_arn {
        Some(role) => base.in_role(role, account.external_id.as_deref()).await,
        None => base.clone(),
    };
    let number = number(&session, account, tally).await?;
    let mut regions: Vec<String> = match &options.regions {
        _ if !account.regions.is_empty() => account.regions.clone(),
        Regions::Named(names) => names.clone(),
        // The regions of the ARNs are added below.
        Regions::Own if only_arns(options) => Vec::new(),
        Regions::Own if has_region => vec![session.region().to_owned()],
        Regions::Own => {
            return Err(Error::new(ErrorKind::Usage, "no region is set")
                .about(account.name())
                .hint("name one with --region, AWS_REGION or the profile, or with regions= in the file"));
        }
        Regions::All => session.enabled_regions().await?,
    };
    let several = options.accounts.len() > 1;
    // A function's ARN names its region, whatever else is asked.
    for function in &options.functions {
        let here = !several || function.account().is_none_or(|a| a == number);
        regions.extend(function.region().filter(|_| here).map(str::to_owned));
    }
    let mut seen = BTreeSet::new();
    regions.retain(|region| seen.insert(region.clone()));
    let sessions = regions.iter().map(|region| session.in_region(region));
    Ok((number, sessions.collect::<Result<_>>()?))
}

/// The account's number: STS says it; where STS cannot be reached, the role's ARN, or that of the first function.
async fn number(session: &Session, account: &Account, tally: &Arc<Tally>) -> Result<String> {
    let refused = match session.caller().await {
        Ok(caller) => return Ok(caller.account),
        Err(e) => e,
    };
    if matches!(
        refused.kind(),
        ErrorKind::NoCredentials | ErrorKind::CredentialsRefused | ErrorKind::Usage
    ) {
        return Err(refused);
    }
    if let Some(number) = account.number() {
        return Ok(number.to_owned());
    }
    let lambda = Lambda::new(session, Arc::clone(tally) as Arc<dyn Reporter>);
    let page = lambda
        .functions(crate::lambda::Scope::Latest)
        .next()
        .await?;
    let first = page.as_ref().and_then(|page| page.first());
    match first.map(|listed| listed.account().to_owned()) {
        Some(number) if !number.is_empty() => Ok(number),
        _ => Err(refused),
    }
}

/// Whether a failure is the caller's own: then it is that of all accounts.
fn is_of_the_caller(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::NoCredentials | ErrorKind::Usage | ErrorKind::Interrupted | ErrorKind::Bug
    )
}

/// The line of an account that cannot be worked on.
fn refused(account: &Account, error: Error, tally: &Tally, each: &(dyn Fn(&Line) + Sync)) {
    let status = match error.kind() {
        ErrorKind::CredentialsRefused => Status::Denied,
        kind => status_of(kind),
    };
    let line = Line {
        kind: Kind::Account,
        arn: account.name().to_owned(),
        version: String::new(),
        status: status.name(),
        bytes: None,
        reason: Some(reason(&error)),
    };
    tally.report(&Event::Warning {
        subject: account.name(),
        message: &format!("the account could not be backed up: {error}"),
        hint: error.hint_text(),
    });
    tally.count(&line, Some(error));
    each(&line);
}

/// An ARN of an account that is not among several is a mistake; with one account it may be a function of another that the
/// caller may read.
fn everything_named_is_somewhere(options: &BackupOptions, units: &[Unit]) -> Result<()> {
    for function in &options.functions {
        let of = function.account();
        if !units
            .iter()
            .any(|unit| of.is_none_or(|a| a == unit.account.number))
        {
            return Err(Error::new(
                ErrorKind::Usage,
                "is of an account that is not backed up by this run",
            )
            .about(function.to_string())
            .hint(
                "name a role of that account with --role-arn, or in the file of --accounts-file",
            ));
        }
    }
    Ok(())
}
