//! STS: `GetCallerIdentity` and `AssumeRole`, form in, XML out (AWS query protocol, version 2011-06-15); the other
//! services of that protocol are reached from here.

use super::answer::{Answer, escape, request_uuid};
use super::call::{Call, account_of, caller_arn, refusal};
use super::clock::{iso, random_hex};
use super::wire::Message;
use super::world::{Key, Shared};
use jiff::SignedDuration;

/// The operation that a form names.
pub(crate) fn operation(message: &Message) -> &'static str {
    match field(message, "Action").as_str() {
        "GetCallerIdentity" => "GetCallerIdentity",
        "AssumeRole" => "AssumeRole",
        "ListStackResources" => "ListStackResources",
        _ => "Unknown",
    }
}

/// One field of a form body.
pub(crate) fn field(message: &Message, name: &str) -> String {
    url::form_urlencoded::parse(&message.body)
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

/// Answers a call to STS.
pub(crate) fn answer(shared: &Shared, call: &Call) -> Answer {
    let mut world = shared.world();
    if let Some(error) = refusal(&world, call) {
        // STS has its own names for two of these.
        let code = match error.code.as_str() {
            "UnrecognizedClientException" => "InvalidClientTokenId",
            "ExpiredTokenException" => "ExpiredToken",
            "AccessDeniedException" => "AccessDenied",
            "InvalidSignatureException" => "SignatureDoesNotMatch",
            "MissingAuthenticationTokenException" => "MissingAuthenticationToken",
            other => other,
        };
        return failure(error.status, code, &error.message);
    }
    match call.operation {
        "GetCallerIdentity" => {
            let account = account_of(&world, call.access_key());
            let arn = caller_arn(&world, call.access_key());
            success(
                "GetCallerIdentity",
                &format!(
                    "<Arn>{arn}</Arn><UserId>AIDALARDERTESTKIT000</UserId><Account>{account}</Account>"
                ),
            )
        }
        "ListStackResources" => super::stack::list(&world, call),
        "AssumeRole" => {
            let role = field(call.message, "RoleArn");
            let given = field(call.message, "ExternalId");
            let wanted = world.external_ids.get(&role);
            if !role.starts_with("arn:") || wanted.is_some_and(|wanted| *wanted != given) {
                let message = format!(
                    "User: {} is not authorized to perform: sts:AssumeRole on resource: {role}",
                    caller_arn(&world, call.access_key())
                );
                return failure(403, "AccessDenied", &message);
            }
            let session = field(call.message, "RoleSessionName");
            let account = role.split(':').nth(4).unwrap_or_default().to_owned();
            let name = role.rsplit('/').next().unwrap_or_default().to_owned();
            let key = format!("ASIA{}", random_hex(8).to_uppercase());
            world.assumed.insert(key.clone(), role);
            world.keys.insert(key.clone(), Key::Valid);
            let end = shared
                .clock
                .now()
                .checked_add(SignedDuration::from_hours(1))
                .unwrap_or(jiff::Timestamp::MAX);
            success(
                "AssumeRole",
                &format!(
                    "<AssumedRoleUser><AssumedRoleId>AROALARDERTESTKIT000:{session}</AssumedRoleId><Arn>arn:aws:sts::{account}:assumed-role/{name}/{session}</Arn></AssumedRoleUser>\
                     <Credentials><AccessKeyId>{key}</AccessKeyId><SecretAccessKey>{marker}{secret}</SecretAccessKey><SessionToken>{marker}{token}</SessionToken><Expiration>{}</Expiration></Credentials>",
                    iso(end),
                    marker = super::SECRET_MARKER,
                    secret = random_hex(10),
                    token = random_hex(40),
                    session = escape(&session),
                ),
            )
        }
        _ => failure(400, "InvalidAction", "Could not find operation"),
    }
}

fn success(action: &str, result: &str) -> Answer {
    Answer::new(
        200,
        "text/xml",
        format!(
            "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result>{result}</{action}Result>\
             <ResponseMetadata><RequestId>{}</RequestId></ResponseMetadata></{action}Response>",
            request_uuid()
        ),
    )
}

pub(crate) fn failure(status: u16, code: &str, message: &str) -> Answer {
    Answer::new(
        status,
        "text/xml",
        format!(
            "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type><Code>{code}</Code><Message>{}</Message></Error>\
             <RequestId>{}</RequestId></ErrorResponse>",
            escape(message),
            request_uuid()
        ),
    )
}
