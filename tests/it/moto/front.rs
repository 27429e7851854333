//! Something that stands before moto's S3: it answers what a rule says in its place, and remembers what was asked.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What stands in error bodies and must never be shown.
pub const SECRET: &str = "AKIASECRETINTHEBODY";

/// An answer in moto's place: for requests whose first line holds `part` (`GET /b/k`, `DELETE `, `uploads`).
#[derive(Debug, Clone)]
pub struct Rule {
    pub part: &'static str,
    pub status: u16,
    pub code: &'static str,
}

/// The server; its thread ends with the process.
pub struct Front {
    pub url: String,
    rules: Arc<Mutex<Vec<Rule>>>,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Front {
    /// Before the server at `http://HOST:PORT`.
    pub fn before(url: &str) -> Self {
        let upstream = url.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let front = Self {
            url: format!("http://{}", listener.local_addr().expect("an address")),
            rules: Arc::default(),
            heads: Arc::default(),
        };
        let (rules, heads) = (Arc::clone(&front.rules), Arc::clone(&front.heads));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (rules, heads) = (Arc::clone(&rules), Arc::clone(&heads));
                let upstream = upstream.clone();
                std::thread::spawn(move || {
                    // A client that goes away is no failure of the test.
                    let _ = serve(stream, &upstream, &rules, &heads);
                });
            }
        });
        front
    }

    /// From now on these rules hold.
    pub fn rules(&self, rules: &[Rule]) {
        *self.rules.lock().expect("the rules") = rules.to_vec();
    }

    /// The heads of the requests since this was last asked, in lower case but for the first line.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.heads.lock().expect("the heads"))
    }
}

fn serve(
    client: TcpStream,
    upstream: &str,
    rules: &Mutex<Vec<Rule>>,
    heads: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut to_client = client.try_clone()?;
    let mut from_client = BufReader::new(client);
    loop {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if from_client.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let line = line.trim_end().to_owned();
            if line.is_empty() {
                break;
            }
            lines.push(line);
        }
        let length = lines.iter().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse::<usize>().ok())?
        });
        let mut body = vec![0; length.unwrap_or(0)];
        from_client.read_exact(&mut body)?;
        let first = lines[0].clone();
        let rest: Vec<String> = lines[1..].iter().map(|l| l.to_ascii_lowercase()).collect();
        let head = format!("{first}\n{}", rest.join("\n"));
        heads.lock().expect("the heads").push(head);
        let rule = rules
            .lock()
            .expect("the rules")
            .iter()
            .find(|r| first.contains(r.part))
            .cloned();
        if let Some(Rule { status, code, .. }) = rule {
            let body = format!(
                "<Error><Code>{code}</Code><Message>no</Message><AWSAccessKeyId>{SECRET}</AWSAccessKeyId>\
                 <StringToSign>{SECRET}</StringToSign></Error>"
            );
            let body = if first.starts_with("HEAD") { "" } else { &body };
            write!(
                to_client,
                "HTTP/1.1 {status} No\r\ncontent-type: application/xml\r\nx-amz-bucket-region: eu-west-1\r\n\
                 content-length: {}\r\n\r\n{body}",
                body.len()
            )?;
            continue;
        }
        let mut server = TcpStream::connect(upstream)?;
        for line in lines
            .iter()
            .filter(|l| !l.to_ascii_lowercase().starts_with("connection:"))
        {
            write!(server, "{line}\r\n")?;
        }
        write!(server, "connection: close\r\n\r\n")?;
        server.write_all(&body)?;
        std::io::copy(&mut server, &mut to_client)?;
        return Ok(());
    }
}
