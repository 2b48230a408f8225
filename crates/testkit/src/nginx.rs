//! A real nginx with the configuration that this project ships, on free ports, with a certificate of its own; and a TLS
//! client that sends bytes as they are.

use crate::{DEADLINE, scratch_dir, wait_for};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName},
};
use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

/// The configuration as it is shipped.
const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../nginx");

/// A running nginx. Dropped, it is stopped.
pub struct Nginx {
    /// Where it speaks TLS.
    pub https: SocketAddr,
    /// Where it leads to https.
    pub http: SocketAddr,
    dir: PathBuf,
    child: Child,
    authority: CertificateDer<'static>,
}

impl Nginx {
    /// Puts the shipped configuration before `upstream`, for `apex` and everything below it.
    ///
    /// # Panics
    /// If nginx isn't there (`cargo xtask test` installs it, or says how), or refuses its configuration.
    pub async fn before(upstream: SocketAddr, apex: &str, https: SocketAddr) -> Self {
        let dir = scratch_dir("nginx");
        let http = free_address();
        let certified = rcgen::generate_simple_self_signed([apex.to_owned(), format!("*.{apex}")])
            .expect("two names make a certificate");
        fs::write(dir.join("tls.crt"), certified.cert.pem()).expect("scratch can be written");
        fs::write(dir.join("tls.key"), certified.signing_key.serialize_pem())
            .expect("scratch can be written");

        let shipped = fs::read_to_string(Path::new(SHIPPED).join("portero.conf")).expect("it is shipped");
        let replaced = [
            ("/etc/nginx/tls/ejemplo.com.crt", "tls.crt".to_owned()),
            ("/etc/nginx/tls/ejemplo.com.key", "tls.key".to_owned()),
            ("/var/log/nginx/", String::new()),
            ("listen [::]:", "# listen [::]:".to_owned()),
            ("listen 443", format!("listen {https}")),
            ("listen 80", format!("listen {http}")),
            ("server 127.0.0.1:8080", format!("server {upstream}")),
            ("https://$host$request_uri", format!("https://$host:{}$request_uri", https.port())),
            ("ejemplo.com", apex.to_owned()),
        ];
        let conf = replaced.iter().fold(shipped, |conf, (from, to)| {
            assert!(conf.contains(from), "{from} is no longer in portero.conf");
            conf.replace(from, to)
        });
        fs::write(dir.join("portero.conf"), conf).expect("scratch can be written");
        fs::create_dir_all(dir.join("snippets")).expect("scratch can be written");
        for name in ["portero-server.conf", "portero-proxy.conf"] {
            fs::copy(Path::new(SHIPPED).join("snippets").join(name), dir.join("snippets").join(name))
                .expect("it is shipped");
        }
        fs::write(dir.join("nginx.conf"), WRAPPER).expect("scratch can be written");

        let mut child = Command::new("nginx")
            .arg("-p")
            .arg(&dir)
            .arg("-c")
            .arg(dir.join("nginx.conf"))
            .arg("-e")
            .arg(dir.join("error.log"))
            .args(["-g", "daemon off;"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("nginx is installed: `cargo xtask test` sees to it");
        wait_for("nginx to listen", DEADLINE, async || {
            if let Some(status) = child.try_wait().expect("a child can be asked") {
                let mut told = String::new();
                let _ = child.stderr.take().expect("it is piped").read_to_string(&mut told);
                panic!("nginx ended with {status}: {told}");
            }
            TcpStream::connect(https).ok()
        })
        .await;
        let authority = certified.cert.der().clone();
        Self { https, http, dir, child, authority }
    }

    /// Sends bytes over TLS with this server name and reads until the other side closes; an empty text where it closed
    /// without an answer, or refused the handshake. `alpn` is offered, and what was agreed on comes back.
    #[must_use]
    pub fn exchange(&self, sni: &str, alpn: &[&[u8]], request: &[u8]) -> (Option<Vec<u8>>, String) {
        let mut stream = self.connect(sni, alpn);
        let mut answer = Vec::new();
        if stream.write_all(request).and_then(|()| stream.flush()).is_ok() && !request.is_empty() {
            // A close without TLS's goodbye is an error here; what came before it counts.
            let _ = stream.read_to_end(&mut answer);
        }
        let agreed = stream.conn.alpn_protocol().map(<[u8]>::to_vec);
        (agreed, String::from_utf8_lossy(&answer).into_owned())
    }

    /// Like [`Nginx::exchange`], and reads no further than the line in which `until` came.
    #[must_use]
    pub fn first_part(&self, sni: &str, request: &[u8], until: &str) -> String {
        let mut stream = self.connect(sni, &[]);
        let mut answer = Vec::new();
        if stream.write_all(request).and_then(|()| stream.flush()).is_err() {
            return String::new();
        }
        let mut chunk = [0; 4096];
        loop {
            let text = String::from_utf8_lossy(&answer);
            if text.split_once(until).is_some_and(|(_, rest)| rest.contains("\n\n")) {
                return text.into_owned();
            }
            match stream.read(&mut chunk) {
                Ok(count) if count > 0 => answer.extend_from_slice(&chunk[..count]),
                _ => return text.into_owned(),
            }
        }
    }

    fn connect(&self, sni: &str, alpn: &[&[u8]]) -> StreamOwned<ClientConnection, TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.clone()).expect("our own certificate is one");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has them all")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let name = ServerName::try_from(sni.to_owned()).expect("a server's name");
        let connection = ClientConnection::new(Arc::new(config), name).expect("a client of ours");
        let socket = TcpStream::connect(self.https).expect("nginx listens");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket takes a timeout");
        let mut stream = StreamOwned::new(connection, socket);
        // The handshake alone; one that is refused shows in what comes next.
        let _ = stream.conn.complete_io(&mut stream.sock);
        stream
    }

    /// What it logged.
    #[must_use]
    pub fn log(&self) -> String {
        ["error.log", "portero-access.log"]
            .map(|name| fs::read_to_string(self.dir.join(name)).unwrap_or_default())
            .concat()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

/// An address that nobody listened on a moment ago: for servers that can't be asked which they took.
///
/// # Panics
/// If there is none left.
#[must_use]
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a listener has an address")
}

const WRAPPER: &str = "\
worker_processes 1;
pid nginx.pid;
error_log error.log;
events { worker_connections 1024; }
http {
    client_body_temp_path tmp-body;
    proxy_temp_path tmp-proxy;
    fastcgi_temp_path tmp-fastcgi;
    uwsgi_temp_path tmp-uwsgi;
    scgi_temp_path tmp-scgi;
    access_log off;
    include portero.conf;
}
";
