//! The server seen from outside, through a client that trusts nothing: a socket and a few lines.

mod api;
mod faults;
mod objects;

use super::*;
use serde_json::Value;
use std::fmt::Write as _;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;

/// What came back.
#[derive(Debug, Default)]
struct Reply {
    status: u16,
    head: String,
    body: Vec<u8>,
    /// How the reading ended, when not at the end that the framing named.
    broken: Option<ErrorKind>,
}

impl Reply {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

fn split(url: &str) -> (String, String) {
    let rest = url.strip_prefix("http://").unwrap();
    let slash = rest.find('/').unwrap();
    (rest[..slash].to_owned(), rest[slash..].to_owned())
}

/// One request on a fresh connection that is closed behind it.
fn ask(method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let (host, target) = split(url);
    let mut stream = TcpStream::connect(&host).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(400)))
        .unwrap();
    let mut request =
        format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for (name, value) in headers {
        write!(request, "{name}: {value}\r\n").unwrap();
    }
    write!(request, "Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    read(&mut stream, method == "HEAD")
}

fn read(stream: &mut TcpStream, head_only: bool) -> Reply {
    let mut reply = Reply::default();
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
            Err(error) => {
                reply.broken = Some(error.kind());
                break;
            }
        }
    }
    let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
        return reply;
    };
    reply.head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    reply.status = reply.head[9..12].parse().unwrap();
    reply.body = bytes[end + 4..].to_vec();
    let stated = reply
        .header("content-length")
        .map(|length| length.parse::<usize>().unwrap());
    if reply.broken.is_none()
        && !head_only
        && stated.is_some_and(|length| length > reply.body.len())
    {
        reply.broken = Some(ErrorKind::UnexpectedEof);
    }
    reply
}

fn authorization(key: &str, region: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential={key}/20260101/{region}/lambda/aws4_request, SignedHeaders=host;x-amz-date, Signature={}",
        "a".repeat(64)
    )
}

fn lambda(aws: &FakeAws, path: &str) -> Reply {
    lambda_as(aws, path, access_key(Key::Valid), REGION)
}

fn lambda_as(aws: &FakeAws, path: &str, key: &str, region: &str) -> Reply {
    let url = format!("{}{path}", aws.endpoint());
    ask(
        "GET",
        &url,
        &[("Authorization", &authorization(key, region))],
        "",
    )
}

fn location(aws: &FakeAws, name: &str) -> String {
    let reply = lambda(aws, &format!("/2015-03-31/functions/{name}"));
    reply.json()["Code"]["Location"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn get(url: &str, headers: &[(&str, &str)]) -> Reply {
    ask("GET", url, headers, "")
}
