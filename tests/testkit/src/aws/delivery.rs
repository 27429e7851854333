//! From an answer and its faults to bytes on the wire: `plan` is a pure decision, `send` does it.

use super::answer::{Answer, S3Subject, reason};
use super::clock::Clock;
use super::fault::{Cut, Fault};
use bytes::{Bytes, BytesMut};
use std::fmt::Write as _;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// The largest piece handed to the kernel at once.
const PIECE: usize = 256 * 1024;

/// Something done when so many bytes of the body are out.
pub(crate) type Action = Box<dyn FnOnce() + Send>;

/// What goes out, and how.
pub(crate) struct Delivery {
    pub status: u16,
    pub delay: Duration,
    pub head: Bytes,
    pub head_rate: Option<u64>,
    /// The body in pieces that share the object's memory.
    pub body: Vec<Bytes>,
    pub chunked: bool,
    /// Bytes a second.
    pub rate: Option<u64>,
    pub cut: Option<(u64, Cut)>,
    pub stalls: Vec<(u64, Option<Duration>)>,
    /// At which count of body bytes, what.
    pub actions: Vec<(u64, Action)>,
    pub keep_alive: bool,
    /// An end of the connection that the head did not announce.
    pub close_after: Option<Cut>,
}

/// The request's side of what `plan` needs.
pub(crate) struct Asked<'a> {
    pub head_only: bool,
    pub keep_alive: bool,
    pub target: String,
    pub subject: &'a S3Subject,
}

/// Applies the faults to an answer.
pub(crate) fn plan(mut answer: Answer, faults: &[Fault], asked: &Asked, clock: &Clock) -> Delivery {
    for fault in faults {
        replace(&mut answer, fault, asked, clock);
    }
    let mut keep_alive = asked.keep_alive;
    let mut body = vec![answer.body.clone()];
    let mut stated = answer.body.len() as u64;
    let mut framing = Framing::Length;
    let mut delivery = Delivery {
        status: answer.status,
        delay: Duration::ZERO,
        head: Bytes::new(),
        head_rate: None,
        body: Vec::new(),
        chunked: false,
        rate: None,
        cut: None,
        stalls: Vec::new(),
        actions: Vec::new(),
        keep_alive: true,
        close_after: None,
    };
    for fault in faults {
        match fault {
            Fault::Drop { after, how } => delivery.cut = Some((*after, *how)),
            Fault::Stall { after, time } => delivery.stalls.push((*after, *time)),
            Fault::Rate(rate) => delivery.rate = Some((*rate).max(1)),
            Fault::Delay(time) => delivery.delay += *time,
            Fault::SlowHead(rate) => delivery.head_rate = Some((*rate).max(1)),
            Fault::FlipBit { offset, bit } => flip(&mut body, answer.start, *offset, *bit),
            Fault::Shorter { by, honest } => {
                let length = total(&body).saturating_sub(*by);
                if *honest {
                    truncate(&mut body, length);
                    stated = length;
                } else {
                    delivery.cut = Some((length, Cut::Fin));
                }
            }
            Fault::Longer { by, honest } => {
                let extra = usize::try_from(*by).unwrap_or(usize::MAX);
                body.push(Bytes::from(vec![b'+'; extra]));
                if *honest {
                    stated += by;
                }
            }
            Fault::CloseAfter(how) => delivery.close_after = Some(*how),
            Fault::Chunked => framing = Framing::Chunked,
            Fault::UntilClose => framing = Framing::Close,
            Fault::CutBody(length) => {
                truncate(&mut body, *length);
                stated = total(&body);
            }
            _ => {}
        }
    }
    if framing == Framing::Close {
        keep_alive = false;
    }
    let mut headers = answer.headers;
    match framing {
        Framing::Length => headers.push(("Content-Length".into(), stated.to_string())),
        Framing::Chunked => headers.push(("Transfer-Encoding".into(), "chunked".into())),
        Framing::Close => {}
    }
    for fault in faults {
        match fault {
            Fault::Header(name, value) => {
                headers.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
                headers.push((name.clone(), value.clone()));
            }
            Fault::NoHeader(name) => headers.retain(|(key, _)| !key.eq_ignore_ascii_case(name)),
            _ => {}
        }
    }
    delivery.head = write_head(answer.status, &headers, keep_alive, clock);
    delivery.chunked = framing == Framing::Chunked;
    delivery.body = if asked.head_only { Vec::new() } else { body };
    delivery.keep_alive = keep_alive;
    delivery
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length,
    Chunked,
    Close,
}

/// The faults that put another answer in the place of the right one.
fn replace(answer: &mut Answer, fault: &Fault, asked: &Asked, clock: &Clock) {
    match fault {
        Fault::Page {
            status,
            content_type,
            body,
        } => *answer = Answer::new(*status, content_type, body.clone()),
        Fault::S3(error) => *answer = error.answer(asked.subject, clock),
        Fault::Lambda(error) => *answer = error.answer(),
        Fault::Redirect { status, to } => *answer = redirect(*status, to),
        Fault::MovedTo { status, base } => {
            *answer = redirect(*status, &format!("{base}{}", asked.target));
        }
        Fault::RedirectLoop => *answer = redirect(302, &asked.target),
        Fault::Json(patch) => {
            if let Ok(mut value) = serde_json::from_slice(&answer.body) {
                patch.0(&mut value);
                answer.body = Bytes::from(value.to_string());
            }
        }
        _ => {}
    }
}

fn redirect(status: u16, to: &str) -> Answer {
    Answer::new(status, "text/html", Bytes::new()).header("Location", to)
}

pub(crate) fn total(body: &[Bytes]) -> u64 {
    body.iter().map(|piece| piece.len() as u64).sum()
}

fn truncate(body: &mut [Bytes], length: u64) {
    let mut left = usize::try_from(length).unwrap_or(usize::MAX);
    for piece in body {
        piece.truncate(left);
        left -= piece.len();
    }
}

/// Flips one bit; the large rest of the body is shared, not copied.
fn flip(body: &mut Vec<Bytes>, start: u64, offset: u64, bit: u8) {
    let Some(mut at) = offset
        .checked_sub(start)
        .and_then(|at| usize::try_from(at).ok())
    else {
        return;
    };
    for index in 0..body.len() {
        let piece = body[index].clone();
        if at < piece.len() {
            let changed = Bytes::from(vec![piece[at] ^ (1 << (bit & 7))]);
            body.splice(
                index..=index,
                [piece.slice(..at), changed, piece.slice(at + 1..)],
            );
            return;
        }
        at -= piece.len();
    }
}

fn write_head(status: u16, headers: &[(String, String)], keep_alive: bool, clock: &Clock) -> Bytes {
    let mut head = format!(
        "HTTP/1.1 {status} {}\r\nDate: {}\r\n",
        reason(status),
        clock.http_date()
    );
    for (name, value) in headers {
        // A header of a test may hold anything but a line break, which would be another header.
        let value = value.replace(['\r', '\n'], " ");
        // Writing to a string does not fail.
        let _ = write!(head, "{name}: {value}\r\n");
    }
    if !keep_alive {
        head.push_str("Connection: close\r\n");
    }
    head.push_str("\r\n");
    Bytes::from(head)
}

/// How sending went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// All of it is out.
    Whole,
    /// A fault ended the connection.
    Cut,
}

/// Writes a delivery. `progress` hears the count of body bytes after each piece.
pub(crate) async fn send(
    stream: &mut TcpStream,
    mut delivery: Delivery,
    mut progress: impl FnMut(u64),
) -> io::Result<Sent> {
    if !delivery.delay.is_zero() {
        sleep(delivery.delay).await;
    }
    delivery.actions.sort_by_key(|(at, _)| *at);
    delivery.stalls.sort_by_key(|(at, _)| *at);
    let mut actions = delivery.actions.into_iter().peekable();
    let mut stalls = delivery.stalls.into_iter().peekable();
    if let Some(rate) = delivery.head_rate {
        for byte in delivery.head.chunks(1) {
            stream.write_all(byte).await?;
            sleep(Duration::from_secs(1) / u32::try_from(rate).unwrap_or(u32::MAX)).await;
        }
    } else if total(&delivery.body) <= 16 * 1024
        && !delivery.chunked
        && delivery.rate.is_none()
        && delivery.cut.is_none()
        && actions.peek().is_none()
        && stalls.peek().is_none()
    {
        // The ordinary small answer: one write, one packet.
        let mut all = BytesMut::from(&delivery.head[..]);
        for piece in &delivery.body {
            all.extend_from_slice(piece);
        }
        stream.write_all(&all).await?;
        progress(total(&delivery.body));
        return Ok(Sent::Whole);
    } else {
        stream.write_all(&delivery.head).await?;
    }

    let begun = Instant::now();
    let mut sent = 0_u64;
    let mut pieces = delivery.body.into_iter();
    let mut piece = Bytes::new();
    loop {
        while let Some((_, action)) = actions.next_if(|(at, _)| *at <= sent) {
            action();
        }
        while let Some((_, time)) = stalls.next_if(|(at, _)| *at <= sent) {
            let Some(time) = time else {
                until_closed(stream).await;
                return Ok(Sent::Cut);
            };
            sleep(time).await;
        }
        if let Some((_, how)) = delivery.cut.filter(|(at, _)| *at <= sent) {
            end(stream, how).await;
            return Ok(Sent::Cut);
        }
        while piece.is_empty() {
            let Some(next) = pieces.next() else {
                if delivery.chunked {
                    stream.write_all(b"0\r\n\r\n").await?;
                }
                return Ok(Sent::Whole);
            };
            piece = next;
        }
        let next_mark = [
            actions.peek().map(|(at, _)| *at),
            stalls.peek().map(|(at, _)| *at),
            delivery.cut.map(|(at, _)| at),
        ]
        .into_iter()
        .flatten()
        .map(|at| at - sent)
        .min()
        .unwrap_or(u64::MAX);
        // A limited connection gets a hundredth of a second's worth at a time, so that the rate is even.
        let share = delivery.rate.map_or(u64::MAX, |rate| (rate / 100).max(1));
        let size = usize::try_from(next_mark.min(share))
            .unwrap_or(usize::MAX)
            .min(PIECE)
            .min(piece.len());
        let now = piece.split_to(size);
        if delivery.chunked {
            stream
                .write_all(format!("{:x}\r\n", now.len()).as_bytes())
                .await?;
            stream.write_all(&now).await?;
            stream.write_all(b"\r\n").await?;
        } else {
            stream.write_all(&now).await?;
        }
        sent += now.len() as u64;
        progress(sent);
        if let Some(rate) = delivery.rate {
            let due = u128::from(sent) * 1_000_000 / u128::from(rate);
            let due = Duration::from_micros(u64::try_from(due).unwrap_or(u64::MAX));
            sleep_until(begun + due).await;
        }
    }
}

/// Ends a connection in the given way.
pub(crate) async fn end(stream: &mut TcpStream, how: Cut) {
    match how {
        Cut::Fin => {
            let _ = stream.shutdown().await;
            // Closing while the client still sends would turn the orderly end into a reset.
            let mut rest = [0_u8; 4096];
            let _ = timeout(Duration::from_secs(2), async {
                while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
            })
            .await;
        }
        Cut::Rst => {
            // What is still in the send queue would be thrown away: give it a moment to leave.
            sleep(Duration::from_millis(30)).await;
            let _ = stream.set_zero_linger();
        }
    }
}

/// Waits until the client closes the connection.
pub(crate) async fn until_closed(stream: &mut TcpStream) {
    let mut rest = [0_u8; 4096];
    while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
}
