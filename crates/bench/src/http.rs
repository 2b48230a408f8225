//! As much of HTTP/1.1 as load takes: requests made once, and sent over connections that stay open.
//!
//! No client library: a library's own work would count as the server's.

use crate::portero::APEX;
use anyhow::{Context, Result, bail};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// What no answer takes.
const DEADLINE: Duration = Duration::from_secs(30);

/// A request as it goes over the wire.
pub(crate) struct Request(Vec<u8>);

impl Request {
    /// `GET /api/v1/ping` at a company's host: one `SELECT 1` in its database.
    pub(crate) fn ping(subdomain: &str) -> Self {
        Self::get(&format!("{subdomain}.{APEX}"), "/api/v1/ping")
    }

    pub(crate) fn get(host: &str, path: &str) -> Self {
        Self(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes())
    }

    pub(crate) fn get_with_token(host: &str, path: &str, token: &str) -> Self {
        Self(
            format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n")
                .into_bytes(),
        )
    }

    pub(crate) fn post_json(host: &str, path: &str, body: &str) -> Self {
        let length = body.len();
        Self(
            format!(
                "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
                 Content-Length: {length}\r\n\r\n{body}"
            )
            .into_bytes(),
        )
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
    /// When to come again, if the answer says.
    pub(crate) retry_after: Option<Duration>,
}

/// A connection that is opened when it is needed, and kept.
pub(crate) struct Connection {
    address: SocketAddr,
    stream: Option<TcpStream>,
    received: Vec<u8>,
}

impl Connection {
    pub(crate) fn to(address: SocketAddr) -> Self {
        Self { address, stream: None, received: Vec::new() }
    }

    /// Opens it ahead of the first request.
    pub(crate) async fn open(&mut self) -> Result<()> {
        if self.stream.is_none() {
            let stream = timeout(DEADLINE, TcpStream::connect(self.address)).await??;
            stream.set_nodelay(true)?;
            self.stream = Some(stream);
        }
        Ok(())
    }

    /// Sends a request and reads the answer. After an error the next one has a connection of its own.
    pub(crate) async fn ask(&mut self, request: &Request) -> Result<Answer> {
        self.open().await?;
        let mut stream = self.stream.take().context("it was opened")?;
        let exchange = timeout(DEADLINE, exchange(&mut stream, request, &mut self.received));
        let (answer, keep) = exchange.await.context("no answer within 30 s")??;
        self.stream = keep.then_some(stream);
        Ok(answer)
    }
}

async fn exchange(
    stream: &mut TcpStream,
    request: &Request,
    received: &mut Vec<u8>,
) -> Result<(Answer, bool)> {
    stream.write_all(&request.0).await?;
    received.clear();
    loop {
        if stream.read_buf(received).await? == 0 {
            bail!("the connection was closed before the answer was whole");
        }
        if let Some(answer) = parse(received)? {
            return Ok(answer);
        }
    }
}

/// An answer and whether the connection stays open; nothing while it isn't whole.
fn parse(received: &[u8]) -> Result<Option<(Answer, bool)>> {
    let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = str::from_utf8(&received[..end])?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let (mut length, mut retry_after, mut keep) = (0, None, true);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse().context("a length that is no number")?;
        } else if name.eq_ignore_ascii_case("retry-after") {
            retry_after = value.parse().ok().map(Duration::from_secs);
        } else if name.eq_ignore_ascii_case("connection") {
            keep = !value.eq_ignore_ascii_case("close");
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            bail!("the answer comes in chunks, which nothing that a bench asks for does");
        }
    }
    let Some(body) = received.get(end + 4..end + 4 + length) else { return Ok(None) };
    let status = status.context("the answer has no status")?;
    let body = String::from_utf8_lossy(body).into_owned();
    Ok(Some((Answer { status, body, retry_after }, keep)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_when_it_is_whole() {
        let whole = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\nretry-after: 3\r\n\r\n{}";
        for length in 0..whole.len() {
            assert!(parse(&whole.as_bytes()[..length]).unwrap().is_none(), "{length}");
        }
        let (answer, keep) = parse(whole.as_bytes()).unwrap().unwrap();
        assert_eq!((answer.status, answer.body.as_str(), keep), (503, "{}", true));
        assert_eq!(answer.retry_after, Some(Duration::from_secs(3)));
    }

    #[test]
    fn a_server_may_say_goodbye() {
        let (answer, keep) = parse(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").unwrap().unwrap();
        assert_eq!((answer.status, keep, answer.retry_after), (204, false, None));
        assert!(parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n").is_err());
        assert!(parse(b"hello\r\n\r\n").is_err());
    }
}
