//! Reading HTTP/1.1 requests off a socket (RFC 9112), by hand.
//!
//! No HTTP library, because the answering side has to cut, stall and corrupt bytes at will, and one half by hand
//! and one half by a library would not agree on who owns the connection.

use bytes::{Buf, Bytes, BytesMut};
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The longest request head that is read, in bytes.
const HEAD_LIMIT: usize = 64 * 1024;
/// The longest request body that is read, in bytes: `UpdateFunctionCode` with 50 MB of zip in base64 fits.
const BODY_LIMIT: usize = 128 * 1024 * 1024;

/// One request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub method: String,
    /// The path as sent, still percent-encoded.
    pub path: String,
    /// The query as sent, without the question mark.
    pub query: String,
    /// Names in lower case, in the order of arrival.
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    pub keep_alive: bool,
}

/// What reading from a connection came to.
pub(crate) enum Incoming {
    Message(Message),
    /// The client closed, or went away in the middle of a request.
    Closed,
    /// Not a request that this server takes; the status to answer before closing.
    Bad(u16),
}

impl Message {
    /// The first header of this name (given in lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The query, percent-decoded, in the order sent.
    pub fn query_pairs(&self) -> Vec<(String, String)> {
        url::form_urlencoded::parse(self.query.as_bytes())
            .into_owned()
            .collect()
    }

    /// The first value of a query parameter, percent-decoded.
    pub fn query_value(&self, name: &str) -> Option<String> {
        url::form_urlencoded::parse(self.query.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    }
}

/// Reads the next request of a connection; `buffer` keeps what was read beyond it.
pub(crate) async fn read_request(
    stream: &mut TcpStream,
    buffer: &mut BytesMut,
) -> io::Result<Incoming> {
    let mut scanned = 0_usize;
    let end = loop {
        if let Some(at) = buffer[scanned..]
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
        {
            break scanned + at;
        }
        scanned = buffer.len().saturating_sub(3);
        if buffer.len() > HEAD_LIMIT {
            return Ok(Incoming::Bad(431));
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(Incoming::Closed);
        }
    };
    let head = buffer.split_to(end);
    buffer.advance(4);
    let Some(mut message) = parse_head(&head) else {
        return Ok(Incoming::Bad(400));
    };
    if message.header("transfer-encoding").is_some() {
        return Ok(Incoming::Bad(411));
    }
    let length = match message.header("content-length").map(str::parse::<usize>) {
        None => 0,
        Some(Ok(length)) if length <= BODY_LIMIT => length,
        Some(Ok(_)) => return Ok(Incoming::Bad(413)),
        Some(Err(_)) => return Ok(Incoming::Bad(400)),
    };
    if length > buffer.len()
        && message
            .header("expect")
            .is_some_and(|value| value.eq_ignore_ascii_case("100-continue"))
    {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    while buffer.len() < length {
        if stream.read_buf(buffer).await? == 0 {
            return Ok(Incoming::Closed);
        }
    }
    message.body = buffer.split_to(length).freeze();
    Ok(Incoming::Message(message))
}

fn parse_head(head: &[u8]) -> Option<Message> {
    let head = std::str::from_utf8(head).ok()?;
    let mut lines = head.split("\r\n").skip_while(|line| line.is_empty());
    let mut words = lines.next()?.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    if words.next().is_some() || !version.starts_with("HTTP/1.") {
        return None;
    }
    let mut headers = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':')?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    // The absolute form is what a client sends to a proxy: the path alone decides here.
    let target = match target.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |slash| &rest[slash..]),
        None => target,
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let connection = headers
        .iter()
        .find(|(name, _)| name == "connection")
        .map(|(_, value)| value.to_ascii_lowercase());
    let keep_alive = match connection.as_deref() {
        Some(value) if value.contains("close") => false,
        Some(value) if value.contains("keep-alive") => true,
        _ => version == "HTTP/1.1",
    };
    Some(Message {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers,
        body: Bytes::new(),
        keep_alive,
    })
}

/// Percent-decodes one path segment or a whole path; a plus sign stays a plus sign.
pub(crate) fn decode_path(path: &str) -> String {
    let bytes = path.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let value = (bytes[at] == b'%')
            .then(|| path.get(at + 1..at + 3))
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        if let Some(value) = value {
            decoded.push(value);
            at += 3;
        } else {
            decoded.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_parsed_and_nonsense_is_not() {
        let head = b"GET http://bucket.s3.amazonaws.com/a%20b?versionId=1 HTTP/1.1\r\nHost: x\r\nRange: bytes=1-";
        let message = parse_head(head).unwrap();
        assert_eq!(message.path, "/a%20b");
        assert_eq!(message.query_value("versionId").as_deref(), Some("1"));
        assert_eq!(message.header("range"), Some("bytes=1-"));
        assert!(message.keep_alive);
        for bad in [
            &b"GET /"[..],
            b"GET / HTTP/2",
            b"\xff",
            b"GET / HTTP/1.1\r\nx",
        ] {
            assert!(parse_head(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn paths_are_percent_decoded_once() {
        assert_eq!(decode_path("a%3Ab%2525+c%zz"), "a:b%25+c%zz");
    }
}
