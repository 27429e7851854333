//! A server with TLS whose work is nobody's: nginx, with a certificate made for it.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running nginx, which ends with this.
pub(crate) struct Server {
    child: Child,
    /// The base of its URLs, `https://localhost:PORT`.
    pub(crate) https: String,
    /// The same without TLS.
    pub(crate) http: String,
}

/// What makes the certificates: an authority and a server's.
const CERTIFICATES: &str = "\
openssl ecparam -name prime256v1 -genkey -noout -out ca.key
openssl req -x509 -new -key ca.key -subj '/CN=bench' -days 2 -out ca.pem
openssl ecparam -name prime256v1 -genkey -noout -out key.pem
openssl req -new -key key.pem -subj '/CN=localhost' -out leaf.csr
printf 'subjectAltName=DNS:localhost\\nbasicConstraints=CA:FALSE\\n' > ext
openssl x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out cert.pem
";

impl Server {
    /// Serves the files of `dir`, where its own files lie too.
    pub(crate) fn start(dir: &Path) -> io::Result<Self> {
        let made = Command::new("sh")
            .args(["-ec", CERTIFICATES])
            .current_dir(dir)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        if !made.success() {
            return Err(io::Error::other("openssl made no certificate"));
        }
        let (with, without) = (free_port()?, free_port()?);
        let conf = format!(
            "daemon off; master_process off; pid {dir}/pid; error_log {dir}/error.log;
            events {{ worker_connections 64; }}
            http {{ access_log off; sendfile on; root {dir};
              client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3;
              uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5;
              server {{ listen 127.0.0.1:{without}; }}
              server {{ listen 127.0.0.1:{with} ssl; ssl_certificate {dir}/cert.pem; ssl_certificate_key {dir}/key.pem; }} }}",
            dir = dir.display(),
        );
        std::fs::write(dir.join("nginx.conf"), conf)?;
        let child = Command::new("nginx")
            .arg("-c")
            .arg(dir.join("nginx.conf"))
            .arg("-e")
            .arg(dir.join("error.log"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let server = Self {
            child,
            https: format!("https://localhost:{with}"),
            http: format!("http://localhost:{without}"),
        };
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", with)).is_err() {
            if began.elapsed() > Duration::from_secs(5) {
                let log = std::fs::read_to_string(dir.join("error.log")).unwrap_or_default();
                return Err(io::Error::other(format!("nginx does not listen: {log}")));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
