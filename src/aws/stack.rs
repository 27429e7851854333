//! What a `CloudFormation` stack consists of: `ListStackResources`.

use std::collections::HashMap;

use super::{Body, Element, Service, ServiceCall, Session};
use crate::error::{Error, ErrorKind, Result};

/// A stack has at most 500 resources, and a page 100 of them.
const MAX_PAGES: usize = 100;

/// A resource of a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackResource {
    /// `ResourceType`: `AWS::Lambda::Function`.
    pub kind: String,
    /// `PhysicalResourceId`: a function's name, a layer version's ARN, a nested stack's id. None before it is made.
    pub physical_id: Option<String>,
}

impl Session {
    /// The resources of `stack`, a name or id, in this session's region, by logical id (`CloudFormation` API reference,
    /// `ListStackResources`). Deleted resources are left out.
    ///
    /// # Errors
    /// There is no such stack, or a call failed after its retries.
    pub async fn stack_resources(&self, stack: &str) -> Result<HashMap<String, StackResource>> {
        let mut found = HashMap::new();
        let mut token: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let mut parameters = vec![("StackName".to_owned(), stack.to_owned())];
            parameters.extend(token.clone().map(|token| ("NextToken".to_owned(), token)));
            let call = ServiceCall {
                service: Service::CLOUDFORMATION,
                operation: "ListStackResources",
                region: self.region(),
                subject: stack,
                body: Body::Query {
                    version: "2010-05-15",
                    parameters,
                },
            };
            let answer = self
                .service(&call)
                .await
                .map_err(|e| no_stack(e, self.region()))?;
            let root = answer.xml()?;
            let Some(list) = root.find("StackResourceSummaries") else {
                return Err(answer.unreadable("it has no list of resources"));
            };
            for member in list.children("member") {
                let text = |name: &str| {
                    let text = member.find(name).map(Element::text).unwrap_or_default();
                    (!text.is_empty()).then(|| text.to_owned())
                };
                if text("ResourceStatus").as_deref() == Some("DELETE_COMPLETE") {
                    continue;
                }
                if let Some(id) = text("LogicalResourceId") {
                    let resource = StackResource {
                        kind: text("ResourceType").unwrap_or_default(),
                        physical_id: text("PhysicalResourceId"),
                    };
                    found.insert(id, resource);
                }
            }
            let next = root.find("NextToken").map(|next| next.text().to_owned());
            match next.filter(|next| !next.is_empty()) {
                None => return Ok(found),
                next if next == token => {
                    return Err(answer.unreadable("its next page is the same one"));
                }
                next => token = next,
            }
        }
        Err(Error::new(
            ErrorKind::Service,
            format!("the list of its resources does not end after {MAX_PAGES} pages"),
        )
        .about(stack))
    }
}

/// `CloudFormation` answers 400 `ValidationError` for a stack that is not there.
fn no_stack(error: Error, region: &str) -> Error {
    let gone =
        |cause: &String| cause.contains("ValidationError") && cause.contains("does not exist");
    if !error.causes().iter().any(gone) {
        return error;
    }
    let subject = error.subject().unwrap_or_default().to_owned();
    Error::new(
        ErrorKind::NotFound,
        format!("there is no such stack in {region}"),
    )
    .about(subject)
    .hint("check the stack's name, the region and the account")
    .because(error.causes().remove(0))
}
