//! Tokens for Amazon ECR: one call with the caller's credentials, good for every registry of a region that the caller may
//! read, and for twelve hours.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::sync::Mutex;
use url::Url;

use super::reference::Ecr;
use crate::aws::Session;
use crate::aws::service::{Body, Service, ServiceCall};
use crate::error::Result;
use crate::events::Reporter;
use crate::http::Authorization;

/// A token that ends sooner is replaced before it is used.
const MARGIN: Duration = Duration::from_secs(300);

/// A token of ECR's.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) authorization: Authorization,
    until: Option<SystemTime>,
    /// Where the registry is, by the word of who gave the token.
    pub(super) proxy: Option<Url>,
    /// Which token of the region it is, from 1.
    pub(super) serial: u64,
}

impl Token {
    fn is_good(&self, now: SystemTime) -> bool {
        self.until.is_none_or(|until| until > now + MARGIN)
    }
}

/// The tokens of a run, by region.
#[derive(Debug, Default)]
pub(super) struct Tokens(Mutex<HashMap<String, Arc<Mutex<Option<Token>>>>>);

impl Tokens {
    /// The token of a registry's region. One that is good is used again, unless it is the one that was `refused`.
    pub(super) async fn get(
        &self,
        session: &Session,
        ecr: &Ecr,
        refused: Option<u64>,
        reporter: &dyn Reporter,
    ) -> Result<Token> {
        let place = Arc::clone(self.0.lock().await.entry(ecr.region.clone()).or_default());
        // Held over the call: whoever comes meanwhile takes what it brings.
        let mut kept = place.lock().await;
        if let Some(token) = &*kept
            && token.is_good(SystemTime::now())
            && Some(token.serial) != refused
        {
            return Ok(token.clone());
        }
        let serial = kept.as_ref().map_or(0, |token| token.serial) + 1;
        let subject = format!("ECR in {}", ecr.region);
        let call = ServiceCall {
            service: Service::ECR,
            operation: "GetAuthorizationToken",
            region: &ecr.region,
            subject: &subject,
            body: Body::Json {
                target: "AmazonEC2ContainerRegistry_V20150921",
                input: json!({}),
            },
        };
        let answer = session.service_told(&call, reporter).await?;
        let token = read(&answer.json()?, serial)
            .ok_or_else(|| answer.unreadable("it holds no authorizationToken"))?;
        Ok(kept.insert(token).clone())
    }
}

/// `authorizationData[0]` of GetAuthorizationToken's answer (Amazon ECR API Reference).
fn read(answer: &Value, serial: u64) -> Option<Token> {
    let data = answer.get("authorizationData")?.get(0)?;
    let until = data
        .get("expiresAt")
        .and_then(Value::as_f64)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since));
    Some(Token {
        authorization: Authorization::basic(data.get("authorizationToken")?.as_str()?)?,
        until,
        proxy: data
            .get("proxyEndpoint")
            .and_then(Value::as_str)
            .and_then(|text| Url::parse(text).ok()),
        serial,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_used_until_shortly_before_its_end() {
        let answer = json!({"authorizationData": [{
            "authorizationToken": "QVdTOnMzY3JldA==",
            "expiresAt": 1_800_000_000.25,
            "proxyEndpoint": "https://123456789012.dkr.ecr.us-east-1.amazonaws.com"
        }]});
        let token = read(&answer, 1).unwrap();
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert!(token.is_good(at(1_799_999_000)));
        assert!(!token.is_good(at(1_799_999_800)));
        assert!(!format!("{token:?}").contains("QVdT"));
        assert_eq!(token.proxy.unwrap().scheme(), "https");
    }

    #[test]
    fn an_answer_without_a_token_is_none() {
        for answer in [
            json!({}),
            json!({"authorizationData": []}),
            json!({"authorizationData": [{"expiresAt": 1}]}),
            json!({"authorizationData": [{"authorizationToken": "a\nb"}]}),
        ] {
            assert!(read(&answer, 1).is_none(), "{answer}");
        }
    }
}
