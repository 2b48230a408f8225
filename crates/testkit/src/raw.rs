//! Bytes on a socket: for requests that no client library would send.

use crate::chaos::random;
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// How long a server may take to answer, or to hang up.
const PATIENCE: Duration = Duration::from_secs(20);

/// What came back until the server hung up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawAnswer {
    /// The status of the first answer; nothing where the server hung up without one.
    pub status: Option<u16>,
    /// The status line and the headers of the first answer.
    pub head: String,
    /// Everything after.
    pub body: String,
}

impl RawAnswer {
    /// A header of the answer.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

/// Sends these bytes and reads until the server hangs up: the request should say `Connection: close`.
///
/// # Panics
/// If nobody listens, or nothing happens for long.
pub async fn exchange(address: SocketAddr, request: &[u8]) -> RawAnswer {
    let work = async {
        let mut stream = TcpStream::connect(address).await.expect("the server listens");
        // A server that refuses early may hang up before all is written, and reset what it didn't read.
        let _ = stream.write_all(request).await;
        let mut answer = Vec::new();
        let mut chunk = [0; 8192];
        while let Ok(count @ 1..) = stream.read(&mut chunk).await {
            answer.extend_from_slice(&chunk[..count]);
        }
        answer
    };
    let answer = timeout(PATIENCE, work)
        .await
        .unwrap_or_else(|_| panic!("no answer to {:?}", String::from_utf8_lossy(request)));
    let text = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok());
    RawAnswer { status, head: head.to_owned(), body: body.to_owned() }
}

/// Sends these bytes, waits for anything between nothing and `most`, and hangs up without a word, whether an answer is
/// there or not.
///
/// # Panics
/// If nobody listens.
pub async fn hang_up(address: SocketAddr, request: &[u8], most: Duration) {
    let mut stream = TcpStream::connect(address).await.expect("the server listens");
    // It may be of another mind than we, and have hung up first.
    let _ = stream.write_all(request).await;
    tokio::time::sleep(random(most)).await;
}
