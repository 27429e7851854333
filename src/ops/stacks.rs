//! From logical ids to names: what the stacks say the functions of a template are called.

use std::collections::HashMap;
use std::sync::Arc;

use crate::aws::{Session, StackResource};
use crate::drift::{Expectation, Named};
use crate::error::{Error, ErrorKind, Result};
use crate::function::FunctionRef;

const NESTED: &str = "AWS::CloudFormation::Stack";

/// The stacks that were asked for, by region and name: their resources, or why they could not be had.
type Asked = HashMap<(String, String), Result<Arc<HashMap<String, StackResource>>, Arc<Error>>>;

/// Gives each function that is known by its logical id the name that its stack says, with as few calls as there are
/// stacks. What cannot be named becomes [`Named::Unknown`]. An expectation whose resource is left out of its stack by a
/// condition is dropped.
///
/// # Errors
/// There are no credentials, or AWS refuses them.
pub async fn resolve(session: &Session, expectations: &mut Vec<Expectation>) -> Result<()> {
    let mut asked = Asked::new();
    let mut kept = Vec::with_capacity(expectations.len());
    for mut expectation in std::mem::take(expectations) {
        if let Named::Resource {
            stack,
            logical_id,
            condition,
        } = &expectation.target.function
        {
            let region = expectation.target.region.as_deref();
            let session = match region {
                Some(region) if region != session.region() => session.in_region(region)?,
                _ => session.clone(),
            };
            let outcome = match stack {
                Some(stack) => find(&session, stack, logical_id, &mut asked).await?,
                None => Err(Missing::Untold(
                    "it has no FunctionName that the template alone tells; name the stack it was deployed as (--stack)"
                        .to_owned(),
                    None,
                )),
            };
            let unknown = |reason, cause| Named::Unknown {
                label: expectation
                    .source
                    .label
                    .clone()
                    .unwrap_or_else(|| logical_id.clone()),
                reason,
                cause,
            };
            let named = match outcome {
                Ok(function) => Named::Function(function),
                Err(Missing::Absent(_)) if condition.is_some() => continue,
                Err(Missing::Absent(reason)) => unknown(reason, Some(ErrorKind::NotFound)),
                Err(Missing::Untold(reason, cause)) => unknown(reason, cause),
            };
            expectation.target.region = Some(session.region().to_owned());
            expectation.target.function = named;
        }
        kept.push(expectation);
    }
    *expectations = kept;
    Ok(())
}

/// Why there is no name.
enum Missing {
    /// The stack is there and has no such resource.
    Absent(String),
    /// It cannot be told.
    Untold(String, Option<ErrorKind>),
}

/// Looks a resource up, through the nested stacks that stand before its id.
async fn find(
    session: &Session,
    stack: &str,
    logical_id: &str,
    asked: &mut Asked,
) -> Result<Result<FunctionRef, Missing>> {
    let (nest, id) = logical_id
        .rsplit_once('/')
        .map_or((None, logical_id), |(nest, id)| (Some(nest), id));
    let mut at = stack.to_owned();
    for inner in nest.into_iter().flat_map(|nest| nest.split('/')) {
        let resources = match resources(session, &at, asked).await? {
            Ok(resources) => resources,
            Err(missing) => return Ok(Err(missing)),
        };
        match resources.get(inner) {
            Some(StackResource {
                kind,
                physical_id: Some(physical),
            }) if kind == NESTED => at.clone_from(physical),
            _ => {
                return Ok(Err(Missing::Absent(format!(
                    "the stack {at} has no nested stack {inner}"
                ))));
            }
        }
    }
    let resources = match resources(session, &at, asked).await? {
        Ok(resources) => resources,
        Err(missing) => return Ok(Err(missing)),
    };
    let physical = match resources.get(id) {
        Some(resource) => resource.physical_id.as_deref(),
        None => {
            return Ok(Err(Missing::Absent(format!(
                "the stack {at} has no resource {id}; it may not have been deployed since that was added"
            ))));
        }
    };
    Ok(match physical.map(str::parse::<FunctionRef>) {
        Some(Ok(function)) => Ok(function),
        Some(Err(e)) => Err(Missing::Untold(
            format!("its name in the stack {at} is none: {e}"),
            None,
        )),
        None => Err(Missing::Untold(
            format!("the stack {at} has not made {id} yet"),
            Some(ErrorKind::NotFound),
        )),
    })
}

async fn resources(
    session: &Session,
    stack: &str,
    asked: &mut Asked,
) -> Result<Result<Arc<HashMap<String, StackResource>>, Missing>> {
    let key = (session.region().to_owned(), stack.to_owned());
    if !asked.contains_key(&key) {
        let answer = session.stack_resources(stack).await;
        if let Err(e) = &answer
            && matches!(
                e.kind(),
                ErrorKind::NoCredentials | ErrorKind::CredentialsRefused | ErrorKind::Interrupted
            )
        {
            return answer.map(|_| Err(Missing::Untold(String::new(), None)));
        }
        asked.insert(key.clone(), answer.map(Arc::new).map_err(Arc::new));
    }
    Ok(match &asked[&key] {
        Ok(resources) => Ok(Arc::clone(resources)),
        Err(e) => {
            let hint = e
                .hint_text()
                .map(|hint| format!(" ({hint})"))
                .unwrap_or_default();
            Err(Missing::Untold(format!("{e}{hint}"), Some(e.kind())))
        }
    })
}
