//! Which functions have a tag: GetResources of the Resource Groups Tagging API.
//!
//! The listing of functions has no tags, and ListTags would be one call a function.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Body, Service, ServiceCall, Session};
use crate::error::Result;

/// Far more pages, of 100 functions each, than an account can fill.
const MAX_PAGES: usize = 2000;

impl Session {
    /// The unqualified ARNs of the functions in this session's region that have each of `tags`, a key with its value.
    ///
    /// # Errors
    /// A call failed, after its retries, or an answer is no list.
    pub async fn functions_tagged(&self, tags: &[(String, String)]) -> Result<BTreeSet<String>> {
        let filters: Vec<Value> = tags
            .iter()
            .map(|(key, value)| json!({ "Key": key, "Values": [value] }))
            .collect();
        let mut found = BTreeSet::new();
        let mut token = String::new();
        for _ in 0..MAX_PAGES {
            let call = ServiceCall {
                service: Service::TAGGING,
                operation: "GetResources",
                region: self.region(),
                subject: "the functions with these tags",
                body: Body::Json {
                    target: "ResourceGroupsTaggingAPI_20170126",
                    input: json!({
                        "PaginationToken": token,
                        "ResourceTypeFilters": ["lambda:function"],
                        "TagFilters": filters,
                        "ResourcesPerPage": 100,
                    }),
                },
            };
            let answer = self.service(&call).await?;
            let page = answer.json()?;
            let list = page.get("ResourceTagMappingList").and_then(Value::as_array);
            let list = list.ok_or_else(|| answer.unreadable("it has no list of resources"))?;
            let arns = list.iter().filter_map(|item| item.get("ResourceARN"));
            found.extend(arns.filter_map(Value::as_str).map(ToOwned::to_owned));
            let next = page.get("PaginationToken").and_then(Value::as_str);
            match next {
                Some(next) if !next.is_empty() && next != token => next.clone_into(&mut token),
                Some(next) if !next.is_empty() => {
                    return Err(answer.unreadable("its next page is the same one"));
                }
                _ => return Ok(found),
            }
        }
        Err(crate::error::Error::new(
            crate::error::ErrorKind::Service,
            format!("the list of tagged functions does not end after {MAX_PAGES} pages"),
        ))
    }
}
