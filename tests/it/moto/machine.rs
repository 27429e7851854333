//! What a machine hands out credentials with, where moto does not: a container's endpoint, an instance's metadata
//! service, the portal of a single sign-on. Fixed answers to fixed paths.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// A server on loopback that lives as long as this value.
pub struct Machine {
    address: SocketAddr,
    ends: Arc<AtomicBool>,
    asked: Arc<Mutex<Vec<String>>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Machine {
    /// Answers `METHOD PATH` with a body; anything else with 404.
    pub fn start(answers: Vec<(String, String)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let address = listener.local_addr().expect("an address");
        let (ends, asked) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(Mutex::new(Vec::new())),
        );
        let (flag, log) = (Arc::clone(&ends), Arc::clone(&asked));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if flag.load(Ordering::SeqCst) {
                    return;
                }
                // A client that goes away is no failure of the test.
                let _ = stream.and_then(|stream| serve(&stream, &answers, &log));
            }
        });
        Self {
            address,
            ends,
            asked,
            thread: Some(thread),
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Request line and headers of each request, in order.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("the log").clone()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(
    mut stream: &TcpStream,
    answers: &[(String, String)],
    log: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while reader.read_line(&mut head)? > 2 {}
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().ok())?
    });
    reader
        .take(length.unwrap_or(0))
        .read_to_end(&mut Vec::new())?;
    let answer = answers
        .iter()
        .find(|(path, _)| head.starts_with(&format!("{path} ")));
    let (status, body) = match answer {
        Some((_, body)) => ("200 OK", body.as_str()),
        None => ("404 Not Found", ""),
    };
    log.lock().expect("the log").push(head);
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         x-aws-ec2-metadata-token-ttl-seconds: 21600\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}
