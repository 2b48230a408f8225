//! A network that misbehaves on demand: a proxy on loopback between Portero and a PostgreSQL. It knows nothing of what it
//! carries.
//!
//! A [`Mode`] holds for the connections there are and for those to come, until another is set. What a mode holds back is
//! not lost: like on a network that loses packets, it arrives when the mode changes, in order, if both sides are still
//! there. For the server itself going away see [`crate::TestCluster`].

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::sleep,
};

/// The most that is carried at a time.
const CHUNK: usize = 16 * 1024;

/// How the network behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As it should.
    Pass,
    /// Nobody listens: who connects is refused, and the connections there are end.
    Refuse,
    /// Every connection is reset, new ones as soon as they are made.
    Reset,
    /// Everybody gets in, and nothing goes through: as if every packet were lost.
    BlackHole,
    /// Each part of an answer takes this much longer, and up to `jitter` more: what a round trip takes longer.
    Slow {
        /// The least.
        latency: Duration,
        /// The most on top.
        jitter: Duration,
    },
    /// So many bytes a second go through, each way, on each connection.
    Throttle {
        /// At least 20.
        bytes_per_sec: u32,
    },
    /// A connection ends after so many bytes more, counted from when the mode was set.
    Cut {
        /// Which of its ways is counted.
        way: Way,
        /// How many still go through.
        after: usize,
    },
    /// The server's side of every connection is closed: clients read an end, and what they send still arrives.
    HalfClose,
}

/// A direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// What holds at the moment. Connections older than `stranded` are in a black hole for good.
#[derive(Debug, Clone, Copy)]
struct Rules {
    mode: Mode,
    stranded: u64,
}

#[derive(Debug, Default)]
struct Counts {
    accepted: AtomicU64,
    open: AtomicU64,
}

/// A proxy on a port of its own. Dropped, it ends with all its connections.
#[derive(Debug)]
pub struct ChaosProxy {
    address: SocketAddr,
    rules: watch::Sender<Rules>,
    counts: Arc<Counts>,
    task: JoinHandle<()>,
    /// Bound and never listening: keeps the port ours while nobody listens.
    _port: TcpSocket,
}

impl ChaosProxy {
    /// Puts one before `upstream`, to begin with as a network should be.
    ///
    /// # Panics
    /// Without a free port.
    #[must_use]
    pub fn before(upstream: SocketAddr) -> Self {
        let port = bind(SocketAddr::from(([127, 0, 0, 1], 0)));
        let address = port.local_addr().expect("a bound socket has an address");
        let (rules, watched) = watch::channel(Rules { mode: Mode::Pass, stranded: 0 });
        let counts = Arc::new(Counts::default());
        let listener = listen(address);
        let task = tokio::spawn(accept(listener, upstream, watched, Arc::clone(&counts)));
        Self { address, rules, counts, task, _port: port }
    }

    /// Where to connect to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on it behaves like this.
    pub fn set(&self, mode: Mode) {
        self.rules.send_modify(|rules| rules.mode = mode);
    }

    /// Puts the connections there are into a black hole for good, whatever the mode: neither side is told. New ones go
    /// by the mode.
    pub fn strand(&self) {
        self.rules.send_modify(|rules| rules.stranded = self.accepted());
    }

    /// How many connections were made so far.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.counts.accepted.load(Ordering::Acquire)
    }

    /// How many are open.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.counts.open.load(Ordering::Acquire)
    }
}

impl Drop for ChaosProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Several sockets may be bound to the port, and the one that listens gets the connections.
fn bind(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseport(true).expect("a socket shares its port");
    socket.bind(address).expect("a free port");
    socket
}

fn listen(address: SocketAddr) -> TcpListener {
    bind(address).listen(1024).expect("a bound socket listens")
}

/// Takes connections while somebody listens.
async fn accept(
    listener: TcpListener,
    upstream: SocketAddr,
    mut rules: watch::Receiver<Rules>,
    counts: Arc<Counts>,
) {
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    let address = listener.as_ref().and_then(|listener| listener.local_addr().ok()).expect("it listens");
    loop {
        match (rules.borrow_and_update().mode, &listener) {
            (Mode::Refuse, _) => listener = None,
            (_, None) => listener = Some(listen(address)),
            _ => {}
        }
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = rules.changed() => if changed.is_err() { return },
            accepted = accepted => if let Ok((client, _)) = accepted {
                let number = counts.accepted.fetch_add(1, Ordering::AcqRel);
                let line = Line { number, rules: rules.clone() };
                connections.spawn(carry(client, upstream, line, Open::count(&counts)));
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Counts a connection as long as it lives.
struct Open(Arc<Counts>);

impl Open {
    fn count(counts: &Arc<Counts>) -> Self {
        counts.open.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(counts))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// One connection's view of the rules.
#[derive(Clone)]
struct Line {
    number: u64,
    rules: watch::Receiver<Rules>,
}

impl Line {
    fn mode(&mut self) -> Mode {
        let rules = *self.rules.borrow_and_update();
        if self.number < rules.stranded { Mode::BlackHole } else { rules.mode }
    }

    /// The mode, as soon as it is none that lets nothing through.
    async fn passable(&mut self) -> Mode {
        loop {
            match self.mode() {
                Mode::BlackHole => self.changed().await,
                mode => return mode,
            }
        }
    }

    /// Waits until the mode is one that ends connections.
    async fn doomed(&mut self) -> Mode {
        loop {
            match self.mode() {
                mode @ (Mode::Refuse | Mode::Reset) => return mode,
                _ => self.changed().await,
            }
        }
    }

    async fn changed(&mut self) {
        if self.rules.changed().await.is_err() {
            // The proxy is gone, and this task with it.
            std::future::pending::<()>().await;
        }
    }
}

async fn carry(mut client: TcpStream, upstream: SocketAddr, mut line: Line, _open: Open) {
    let reset = |socket: &TcpStream| {
        // Where it can't be set, the socket is gone already.
        let _ = socket.set_zero_linger();
    };
    let mut meanwhile = line.clone();
    let mut server = tokio::select! {
        mode = meanwhile.doomed() => {
            if mode == Mode::Reset { reset(&client) }
            return;
        }
        server = async { line.passable().await; TcpStream::connect(upstream).await } => match server {
            Ok(server) => server,
            // Nobody is behind it: the client is not let in either.
            Err(_) => return,
        }
    };
    for socket in [&client, &server] {
        let _ = socket.set_nodelay(true);
    }
    let end = {
        let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
        let up = pump(Way::Up, from_client, to_server, line.clone());
        let down = pump(Way::Down, from_server, to_client, line.clone());
        tokio::select! {
            mode = line.doomed() => Some(mode),
            // An error of either way is the end of both.
            _ = async { tokio::try_join!(up, down) } => None,
        }
    };
    if end == Some(Mode::Reset) {
        reset(&client);
        reset(&server);
    }
}

/// Carries one way, until its source ends.
async fn pump(
    way: Way,
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut line: Line,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    let mut since = (line.mode(), 0);
    loop {
        let mode = line.passable().await;
        if mode != since.0 {
            since = (mode, 0);
        }
        if mode == Mode::HalfClose && way == Way::Down {
            return to.shutdown().await;
        }
        let most = allowance(mode, way, since.1);
        if most == 0 {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let count = tokio::select! {
            count = from.read(&mut buffer[..most]) => count?,
            () = line.changed() => continue,
        };
        if count == 0 {
            return to.shutdown().await;
        }
        delay(mode, way, count).await;
        line.passable().await;
        to.write_all(&buffer[..count]).await?;
        since.1 += count;
    }
}

/// How much may go through at once.
fn allowance(mode: Mode, way: Way, passed: usize) -> usize {
    match mode {
        // Twenty times a second.
        Mode::Throttle { bytes_per_sec } => (bytes_per_sec as usize / 20).clamp(1, CHUNK),
        Mode::Cut { way: counted, after } if counted == way => after.saturating_sub(passed).min(CHUNK),
        _ => CHUNK,
    }
}

async fn delay(mode: Mode, way: Way, count: usize) {
    match mode {
        Mode::Slow { latency, jitter } if way == Way::Down => sleep(latency + random(jitter)).await,
        Mode::Throttle { bytes_per_sec } => {
            let secs = f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / f64::from(bytes_per_sec.max(20));
            sleep(Duration::from_secs_f64(secs)).await;
        }
        _ => {}
    }
}

/// Anything from nothing to `most`.
pub(crate) fn random(most: Duration) -> Duration {
    use std::hash::{BuildHasher, RandomState};
    let part = RandomState::new().hash_one(0) % 1_000;
    most * u32::try_from(part).unwrap_or(0) / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DEADLINE, wait_until};
    use std::time::Instant;
    use tokio::time::timeout;

    /// Long enough to believe that nothing comes.
    const NOTHING: Duration = Duration::from_millis(150);

    /// Answers every byte with itself.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = socket.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        address
    }

    async fn said(socket: &mut TcpStream, text: &[u8]) -> io::Result<Vec<u8>> {
        socket.write_all(text).await?;
        let mut heard = vec![0; text.len()];
        socket.read_exact(&mut heard).await?;
        Ok(heard)
    }

    #[tokio::test]
    async fn it_carries_both_ways_and_counts() {
        let proxy = ChaosProxy::before(echo().await);
        let mut one = TcpStream::connect(proxy.address()).await.unwrap();
        let mut two = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(said(&mut one, b"one").await.unwrap(), b"one");
        assert_eq!(said(&mut two, b"two").await.unwrap(), b"two");
        assert_eq!((proxy.accepted(), proxy.open()), (2, 2));
        drop(one);
        wait_until("the connection to be over", DEADLINE, async || proxy.open() == 1).await;
        assert_eq!(proxy.accepted(), 2);
    }

    #[tokio::test]
    async fn who_is_refused_is_told_and_the_port_stays_ours() {
        let proxy = ChaosProxy::before(echo().await);
        let mut socket = TcpStream::connect(proxy.address()).await.unwrap();
        said(&mut socket, b"hello").await.unwrap();
        proxy.set(Mode::Refuse);
        assert_eq!(socket.read(&mut [0; 1]).await.unwrap(), 0, "the one there was has ended");
        wait_until("refusals", DEADLINE, async || {
            let refused = TcpStream::connect(proxy.address()).await;
            refused.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
        })
        .await;
        assert_eq!(proxy.open(), 0);
        proxy.set(Mode::Pass);
        wait_until("a connection", DEADLINE, async || match TcpStream::connect(proxy.address()).await {
            Ok(mut socket) => said(&mut socket, b"again").await.is_ok(),
            Err(_) => false,
        })
        .await;
    }

    #[tokio::test]
    async fn a_reset_is_no_orderly_end() {
        let proxy = ChaosProxy::before(echo().await);
        let mut socket = TcpStream::connect(proxy.address()).await.unwrap();
        said(&mut socket, b"hello").await.unwrap();
        proxy.set(Mode::Reset);
        let error = socket.read(&mut [0; 1]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        let mut late = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(late.read(&mut [0; 1]).await.is_err());
    }

    #[tokio::test]
    async fn a_black_hole_takes_everything_and_gives_it_back_when_it_closes() {
        let proxy = ChaosProxy::before(echo().await);
        let mut old = TcpStream::connect(proxy.address()).await.unwrap();
        said(&mut old, b"hello").await.unwrap();
        proxy.set(Mode::BlackHole);
        let mut new = TcpStream::connect(proxy.address()).await.unwrap();
        for socket in [&mut old, &mut new] {
            socket.write_all(b"anybody?").await.unwrap();
            assert!(timeout(NOTHING, socket.read(&mut [0; 8])).await.is_err());
        }
        proxy.set(Mode::Pass);
        for socket in [&mut old, &mut new] {
            let mut heard = [0; 8];
            socket.read_exact(&mut heard).await.unwrap();
            assert_eq!(&heard, b"anybody?");
        }
    }

    #[tokio::test]
    async fn stranded_connections_stay_so_while_new_ones_pass() {
        let proxy = ChaosProxy::before(echo().await);
        let mut old = TcpStream::connect(proxy.address()).await.unwrap();
        said(&mut old, b"hello").await.unwrap();
        proxy.strand();
        old.write_all(b"anybody?").await.unwrap();
        let mut new = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(said(&mut new, b"new").await.unwrap(), b"new");
        assert!(timeout(NOTHING, old.read(&mut [0; 8])).await.is_err());
        proxy.set(Mode::Reset);
        assert!(timeout(NOTHING, old.read(&mut [0; 8])).await.is_err(), "not even that reaches it");
    }

    #[tokio::test]
    async fn answers_come_late_and_not_together() {
        let proxy = ChaosProxy::before(echo().await);
        let mut socket = TcpStream::connect(proxy.address()).await.unwrap();
        let latency = Duration::from_millis(120);
        proxy.set(Mode::Slow { latency, jitter: Duration::from_millis(20) });
        let began = Instant::now();
        assert_eq!(said(&mut socket, b"slow").await.unwrap(), b"slow");
        assert!(began.elapsed() >= latency, "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn a_throttle_lets_so_much_through_and_no_more() {
        let proxy = ChaosProxy::before(echo().await);
        let mut socket = TcpStream::connect(proxy.address()).await.unwrap();
        proxy.set(Mode::Throttle { bytes_per_sec: 20_000 });
        let began = Instant::now();
        let text = vec![7; 5_000];
        assert_eq!(said(&mut socket, &text).await.unwrap(), text);
        assert!(began.elapsed() >= Duration::from_millis(250), "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn a_cut_comes_after_exactly_so_many_bytes() {
        let proxy = ChaosProxy::before(echo().await);
        for (way, expected) in [(Way::Up, 3), (Way::Down, 3)] {
            proxy.set(Mode::Pass);
            let mut socket = TcpStream::connect(proxy.address()).await.unwrap();
            said(&mut socket, b"before it is set, nothing counts").await.unwrap();
            proxy.set(Mode::Cut { way, after: expected });
            socket.write_all(b"abcdef").await.unwrap();
            let mut heard = Vec::new();
            // A cut may look like a reset to whoever has sent more.
            let _ = socket.read_to_end(&mut heard).await;
            match way {
                Way::Down => assert_eq!(heard, b"abc"),
                Way::Up => assert!(b"abc".starts_with(&heard), "{heard:?}"),
            }
        }
    }

    #[tokio::test]
    async fn half_closed_the_way_up_is_open() {
        let (heard, mut hearing) = tokio::sync::mpsc::unbounded_channel();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = ChaosProxy::before(listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut bytes = [0; 5];
            socket.read_exact(&mut bytes).await.unwrap();
            heard.send(bytes).unwrap();
        });
        let mut socket = TcpStream::connect(proxy.address()).await.unwrap();
        proxy.set(Mode::HalfClose);
        assert_eq!(socket.read(&mut [0; 1]).await.unwrap(), 0);
        socket.write_all(b"still").await.unwrap();
        assert_eq!(hearing.recv().await.as_ref(), Some(b"still"));
    }
}
