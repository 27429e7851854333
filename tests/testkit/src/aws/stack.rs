//! CloudFormation: `ListStackResources` (AWS query protocol, version 2010-05-15), in pages of three.

use super::answer::{Answer, escape, request_uuid};
use super::call::Call;
use super::sts::{failure, field};
use super::world::World;
use std::fmt::Write as _;

/// CloudFormation's own pages have a hundred; small ones make clients show that they turn them.
const PAGE: usize = 3;

pub(crate) fn list(world: &World, call: &Call) -> Answer {
    let stack = field(call.message, "StackName");
    let key = (call.region().to_owned(), stack.clone());
    let Some(resources) = world.stacks.get(&key) else {
        let message = format!("Stack with id {stack} does not exist");
        return failure(400, "ValidationError", &message);
    };
    let from: usize = field(call.message, "NextToken").parse().unwrap_or(0);
    let mut members = String::new();
    for [id, kind, physical] in resources.iter().skip(from).take(PAGE) {
        let (status, physical) = if physical.is_empty() {
            ("CREATE_IN_PROGRESS", String::new())
        } else {
            let physical = escape(physical);
            (
                "CREATE_COMPLETE",
                format!("<PhysicalResourceId>{physical}</PhysicalResourceId>"),
            )
        };
        let _ = write!(
            members,
            "<member><LastUpdatedTimestamp>2026-05-04T10:11:12.000Z</LastUpdatedTimestamp><LogicalResourceId>{}</LogicalResourceId>{physical}\
             <ResourceStatus>{status}</ResourceStatus><ResourceType>{}</ResourceType></member>",
            escape(id),
            escape(kind),
        );
    }
    let next = from + PAGE;
    let next = if next < resources.len() {
        format!("<NextToken>{next}</NextToken>")
    } else {
        String::new()
    };
    Answer::new(
        200,
        "text/xml",
        format!(
            "<ListStackResourcesResponse xmlns=\"http://cloudformation.amazonaws.com/doc/2010-05-15/\"><ListStackResourcesResult>\
             <StackResourceSummaries>{members}</StackResourceSummaries>{next}</ListStackResourcesResult>\
             <ResponseMetadata><RequestId>{}</RequestId></ResponseMetadata></ListStackResourcesResponse>",
            request_uuid()
        ),
    )
}
