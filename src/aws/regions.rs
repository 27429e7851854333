//! The regions that an account can use: EC2 DescribeRegions.

use super::{Body, Element, Service, ServiceCall, Session};
use crate::error::Result;

impl Session {
    /// The regions that are enabled for the account, sorted by name (EC2 API reference, DescribeRegions: without
    /// `AllRegions` only those are listed).
    ///
    /// # Errors
    /// The call failed, after its retries, or lists none.
    pub async fn enabled_regions(&self) -> Result<Vec<String>> {
        let call = ServiceCall {
            service: Service::EC2,
            operation: "DescribeRegions",
            region: self.region(),
            subject: "the account's regions",
            body: Body::Query {
                version: "2016-11-15",
                parameters: Vec::new(),
            },
        };
        let answer = self.service(&call).await?;
        let root = answer.xml()?;
        let mut names: Vec<String> = root
            .find("regionInfo")
            .into_iter()
            .flat_map(|list| list.children("item"))
            .filter_map(|item| item.find("regionName"))
            .map(|name| Element::text(name).to_owned())
            .collect();
        if names.is_empty() {
            return Err(answer.unreadable("it lists no region"));
        }
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }
}
