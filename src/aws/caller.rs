//! Who calls: STS GetCallerIdentity.

use super::{Body, Element, Service, ServiceCall, Session};
use crate::error::Result;

/// The identity behind the session's credentials (STS API reference, GetCallerIdentity).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The account, twelve digits.
    pub account: String,
    /// The user, or the role's session.
    pub arn: String,
    /// `UserId`.
    pub user_id: String,
    /// AWS's id of the call.
    pub request_id: Option<String>,
}

impl Session {
    /// Asks STS who the caller is. No IAM permission is needed for it.
    ///
    /// # Errors
    /// The call failed, after its retries, or the answer names nobody.
    pub async fn caller(&self) -> Result<Caller> {
        let call = ServiceCall {
            service: Service::STS,
            operation: "GetCallerIdentity",
            region: self.region(),
            subject: "the caller",
            body: Body::Query {
                version: "2011-06-15",
                parameters: Vec::new(),
            },
        };
        let answer = self.service(&call).await?;
        let root = answer.xml()?;
        let text = |name: &str| root.find(name).map(Element::text).unwrap_or_default();
        if text("Account").is_empty() || text("Arn").is_empty() {
            return Err(answer.unreadable("it names no account"));
        }
        let request_id = root.find("RequestId").map(|id| id.text().to_owned());
        Ok(Caller {
            account: text("Account").to_owned(),
            arn: text("Arn").to_owned(),
            user_id: text("UserId").to_owned(),
            request_id: answer.request_id.or(request_id),
        })
    }
}
