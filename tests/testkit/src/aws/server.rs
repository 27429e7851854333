//! The connection loop: read a request, name its operation, let the handler answer, apply the faults, send, log.

use super::answer::{Answer, S3Subject};
use super::call::{Call, Signer};
use super::clock::lock;
use super::delivery::{self, Asked, Sent};
use super::fault::Fault;
use super::wire::{Incoming, Message, decode_path, read_request};
use super::world::SharedRef;
use bytes::BytesMut;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};

/// Accepts connections until the runtime ends.
pub(crate) async fn serve(listener: TcpListener, base: Arc<str>, shared: SharedRef) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, say: the next moment may be better.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let (base, shared) = (Arc::clone(&base), Arc::clone(&shared));
        let connection = shared.log.connect();
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            // A connection that breaks is the client's business or a fault's.
            let _ = converse(stream, &base, &shared, connection).await;
            shared.log.disconnect();
        });
    }
}

async fn converse(
    mut stream: TcpStream,
    base: &str,
    shared: &SharedRef,
    connection: usize,
) -> io::Result<()> {
    let mut buffer = BytesMut::with_capacity(8 * 1024);
    loop {
        let message = match read_request(&mut stream, &mut buffer).await? {
            Incoming::Message(message) => message,
            Incoming::Closed => return Ok(()),
            Incoming::Bad(status) => {
                let answer = Answer::new(status, "text/plain", "this is no request I understand\n");
                let asked = Asked {
                    head_only: false,
                    keep_alive: false,
                    target: String::new(),
                    subject: &S3Subject::default(),
                };
                let delivery = delivery::plan(answer, &[], &asked, &shared.clock);
                delivery::send(&mut stream, delivery, |_| {}).await?;
                delivery::end(&mut stream, super::fault::Cut::Fin).await;
                return Ok(());
            }
        };
        let (operation, arguments) = name(&message);
        let path = decode_path(&message.path);
        let faults: Vec<Fault> = lock(&shared.rules)
            .iter_mut()
            .filter_map(|rule| rule.take(operation, &path))
            .collect();
        let id = shared.log.begin(connection, operation, &message);
        let keep = exchange(
            &mut stream,
            base,
            shared,
            id,
            &message,
            operation,
            arguments,
            &faults,
        )
        .await;
        shared
            .log
            .update(id, |request| request.finished = Some(Instant::now()));
        if !keep? {
            return Ok(());
        }
    }
}

/// One request and its answer; whether the connection may be used again.
#[expect(
    clippy::too_many_arguments,
    reason = "the pieces of one exchange, used here only"
)]
async fn exchange(
    stream: &mut TcpStream,
    base: &str,
    shared: &SharedRef,
    id: usize,
    message: &Message,
    operation: &'static str,
    arguments: Vec<String>,
    faults: &[Fault],
) -> io::Result<bool> {
    for fault in faults {
        match fault {
            Fault::NoAnswer => {
                delivery::until_closed(stream).await;
                return Ok(false);
            }
            Fault::Hangup(how) => {
                delivery::end(stream, *how).await;
                return Ok(false);
            }
            _ => {}
        }
    }
    let call = Call {
        message,
        operation,
        arguments,
        base,
        faults,
        signer: Signer::read(message),
    };
    let subject = super::s3::subject(&call, &shared.clock);
    let object = matches!(operation, "GetObject" | "HeadObject");
    let (answer, actions) = if super::s3_write::owns(operation) {
        (super::s3_write::answer(shared, &call, &subject), Vec::new())
    } else if object {
        let object = super::s3::answer(shared, &call);
        (object.answer, object.actions)
    } else if matches!(operation, "GetManifest" | "GetBlob" | "GetToken") {
        (super::registry::answer(shared, &call), Vec::new())
    } else if super::lambda::owns(&message.path) {
        (super::lambda::answer(shared, &call), Vec::new())
    } else if message.method == "POST" && message.path == "/" {
        (super::services::answer(shared, &call), Vec::new())
    } else {
        (
            super::answer::S3Error::MethodNotAllowed.answer(&subject, &shared.clock),
            Vec::new(),
        )
    };
    let query = if message.query.is_empty() { "" } else { "?" };
    let asked = Asked {
        head_only: message.method == "HEAD",
        keep_alive: message.keep_alive,
        target: format!("{}{query}{}", message.path, message.query),
        subject: &subject,
    };
    let mut delivery = delivery::plan(answer, faults, &asked, &shared.clock);
    delivery.actions = actions;
    {
        let world = shared.world();
        delivery.delay += world.latency;
        if (object || operation == "GetBlob") && delivery.rate.is_none() {
            delivery.rate = world.connection_rate;
        }
    }
    let (status, keep_alive) = (delivery.status, delivery.keep_alive);
    let close_after = delivery.close_after;
    shared
        .log
        .update(id, |request| request.status = Some(status));
    let planned = delivery::total(&delivery.body);
    let sent = delivery::send(stream, delivery, |bytes| {
        shared.log.update(id, |request| {
            request.bytes_sent = bytes;
            request.complete = bytes == planned;
        });
    })
    .await?;
    shared
        .log
        .update(id, |request| request.complete = sent == Sent::Whole);
    if sent == Sent::Cut {
        return Ok(false);
    }
    let close = close_after.or((!keep_alive).then_some(super::fault::Cut::Fin));
    if let Some(how) = close {
        delivery::end(stream, how).await;
    }
    Ok(close.is_none())
}

/// The operation of a request and the arguments in its path.
fn name(message: &Message) -> (&'static str, Vec<String>) {
    if super::lambda::owns(&message.path) {
        super::lambda::find(message).unwrap_or(("Unknown", Vec::new()))
    } else if let Some(found) = super::registry::find(message) {
        found
    } else {
        let operation = match message.method.as_str() {
            "GET" => "GetObject",
            "HEAD" => "HeadObject",
            "POST" if message.path == "/" => super::services::operation(message),
            _ => super::s3_write::operation(message).unwrap_or("Unknown"),
        };
        (operation, Vec::new())
    }
}
