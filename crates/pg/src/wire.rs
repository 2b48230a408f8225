//! A socket whose end is known: what it guards is let go only when the server's side of it is gone.
//!
//! PostgreSQL leaves a session's socket open until its process has ended (`socket_close` in `pqcomm.c`): whoever shuts
//! down their side and reads on until the end knows that the session no longer counts. Closing without waiting would let
//! the next login overtake the end of this one, and a server would for a moment bear one more than was granted.

use socket2::{SockRef, TcpKeepalive};
use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
};
use tokio_postgres::{Config, config::Host};

/// After how long unacknowledged data is given up on, and how idle connections are kept watched: as [`crate::hardened`].
pub(crate) const USER_TIMEOUT: Duration = Duration::from_secs(15);
pub(crate) const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
pub(crate) const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
pub(crate) const KEEPALIVE_RETRIES: u32 = 3;

/// One place a server can be reached at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(At);

#[derive(Debug, Clone, PartialEq, Eq)]
enum At {
    Tcp {
        at: SocketAddr,
        name: Arc<str>,
    },
    #[cfg(unix)]
    Unix(PathBuf),
}

impl Endpoint {
    /// Every place that a configuration names, in its order; a name that resolves to several addresses is several.
    pub(crate) async fn all(config: &Config) -> io::Result<Vec<Self>> {
        let ports = config.get_ports();
        let port = |n: usize| ports.get(n).or(ports.first()).copied().unwrap_or(5432);
        let mut all = Vec::new();
        let mut failed = None;
        for (n, address) in config.get_hostaddrs().iter().enumerate() {
            // Reached by its address, and its certificate is for the name, if there is one.
            let name = match config.get_hosts().get(n) {
                Some(Host::Tcp(name)) => name.as_str().into(),
                _ => address.to_string().into(),
            };
            all.push(Self(At::Tcp { at: (*address, port(n)).into(), name }));
        }
        for (n, host) in config.get_hosts().iter().enumerate().skip(all.len()) {
            match host {
                Host::Tcp(name) => {
                    let name: Arc<str> = name.as_str().into();
                    match tokio::net::lookup_host((&*name, port(n))).await {
                        Ok(found) => {
                            all.extend(found.map(|at| Self(At::Tcp { at, name: Arc::clone(&name) })));
                        }
                        Err(error) => failed = Some(error),
                    }
                }
                #[cfg(unix)]
                Host::Unix(directory) => {
                    all.push(Self(At::Unix(directory.join(format!(".s.PGSQL.{}", port(n))))));
                }
            }
        }
        if all.is_empty() {
            let nowhere = || io::Error::new(io::ErrorKind::NotFound, "the server's URL names no host");
            return Err(failed.unwrap_or_else(nowhere));
        }
        Ok(all)
    }

    /// The name that the server's certificate must be for.
    pub(crate) fn name(&self) -> &str {
        match &self.0 {
            At::Tcp { name, .. } => name,
            #[cfg(unix)]
            At::Unix(_) => "",
        }
    }

    pub(crate) async fn dial(&self) -> io::Result<Stream> {
        match &self.0 {
            At::Tcp { at, .. } => {
                let stream = TcpStream::connect(at).await?;
                stream.set_nodelay(true)?;
                let socket = SockRef::from(&stream);
                socket.set_tcp_keepalive(
                    &TcpKeepalive::new()
                        .with_time(KEEPALIVE_IDLE)
                        .with_interval(KEEPALIVE_INTERVAL)
                        .with_retries(KEEPALIVE_RETRIES),
                )?;
                #[cfg(target_os = "linux")]
                socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
                Ok(Stream::Tcp(stream))
            }
            #[cfg(unix)]
            At::Unix(path) => Ok(Stream::Unix(tokio::net::UnixStream::connect(path).await?)),
        }
    }
}

/// A stream to a server.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(tokio::net::UnixStream),
}

macro_rules! on_either {
    ($stream:expr, $inner:ident => $what:expr) => {
        match $stream {
            Stream::Tcp($inner) => $what,
            #[cfg(unix)]
            Stream::Unix($inner) => $what,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        on_either!(self.get_mut(), inner => Pin::new(inner).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        on_either!(self.get_mut(), inner => Pin::new(inner).poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_either!(self.get_mut(), inner => Pin::new(inner).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_either!(self.get_mut(), inner => Pin::new(inner).poll_shutdown(cx))
    }
}

/// A stream and what it guards. Dropped, it says goodbye, and drops the guard when the server's end is gone too.
pub(crate) struct Guarded<G: Send + 'static>(Option<(Stream, G)>);

impl<G: Send + 'static> Guarded<G> {
    pub(crate) fn new(stream: Stream, guard: G) -> Self {
        Self(Some((stream, guard)))
    }

    fn stream(self: Pin<&mut Self>) -> Pin<&mut Stream>
    where
        G: Unpin,
    {
        Pin::new(&mut self.get_mut().0.as_mut().expect("taken only on drop").0)
    }
}

impl<G: Send + Unpin + 'static> AsyncRead for Guarded<G> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_read(cx, buf)
    }
}

impl<G: Send + Unpin + 'static> AsyncWrite for Guarded<G> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.stream().poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }
}

impl<G: Send + 'static> Drop for Guarded<G> {
    fn drop(&mut self) {
        // Without a runtime the process is ending, and with it everything that was guarded.
        if let Some((stream, guard)) = self.0.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move {
                until_the_other_end_is_gone(stream).await;
                drop(guard);
            });
        }
    }
}

/// A server that vanished never says so: the kernel does, by `tcp_user_timeout` and keepalive.
async fn until_the_other_end_is_gone(mut stream: Stream) {
    let mut ignored = [0; 4096];
    if stream.shutdown().await.is_ok() {
        while matches!(stream.read(&mut ignored).await, Ok(read) if read > 0) {}
    }
}
