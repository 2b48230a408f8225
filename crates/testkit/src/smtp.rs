//! A mail server that keeps what it gets, and refuses, delays or drops it on demand.

use crate::{DEADLINE, wait_for};
use base64::{Engine, prelude::BASE64_STANDARD};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// How it takes mails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manners {
    /// It takes them.
    Take,
    /// 451: not now.
    RefuseForNow,
    /// 550: never.
    Refuse,
    /// It takes a mail whole and closes without an answer.
    Drop,
    /// It answers after this long.
    Delay(Duration),
}

/// A mail that arrived.
#[derive(Debug, Clone)]
pub struct Received {
    /// Its recipient.
    pub to: String,
    /// What came after DATA, as it came.
    pub raw: String,
    /// Its parts, decoded and put together.
    pub text: String,
}

impl Received {
    /// The link in it that begins so.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn link(&self, beginning: &str) -> String {
        let at = self.text.find(beginning).unwrap_or_else(|| panic!("no {beginning} in {}", self.text));
        self.text[at..]
            .split(|c: char| c.is_whitespace() || c == '"' || c == '<')
            .next()
            .unwrap_or_default()
            .to_owned()
    }

    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let prefix = format!("{name}: ");
        self.raw.lines().find_map(|line| line.strip_prefix(&prefix))
    }
}

#[derive(Default)]
struct State {
    manners: Option<Manners>,
    received: Vec<Received>,
    refused: usize,
}

/// The server. Dropped, it is gone.
pub struct SmtpServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    accepting: JoinHandle<()>,
}

impl SmtpServer {
    /// Starts one that takes everything.
    ///
    /// # Panics
    /// Without a port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                tokio::spawn(async move { drop(talk(socket, &state).await) });
            }
        });
        Self { address, state, accepting }
    }

    /// For `PORTERO_SMTP_URL`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    /// From now on it behaves so.
    pub fn behave(&self, manners: Manners) {
        self.state().manners = Some(manners);
    }

    /// The mails that arrived whole, also those that it dropped.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.state().received.clone()
    }

    /// How many mails it refused.
    #[must_use]
    pub fn refused(&self) -> usize {
        self.state().refused
    }

    /// Waits for a mail to this address: the last.
    ///
    /// # Panics
    /// If none comes.
    pub async fn mail_to(&self, to: &str) -> Received {
        wait_for(&format!("a mail to {to}"), DEADLINE, async || {
            self.received().into_iter().rev().find(|mail| mail.to == to)
        })
        .await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics with it")
    }
}

impl Drop for SmtpServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn talk(socket: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let (reader, mut writer) = socket.into_split();
    let mut lines = BufReader::new(reader).lines();
    writer.write_all(b"220 mail.test ESMTP\r\n").await?;
    let mut to = String::new();
    while let Some(line) = lines.next_line().await? {
        let command = line.to_ascii_uppercase();
        let manners = state.lock().expect("nobody panics with it").manners.unwrap_or(Manners::Take);
        let answer = if command.starts_with("RCPT TO:<") {
            to = line["RCPT TO:<".len()..].split('>').next().unwrap_or_default().to_owned();
            let refusal = match manners {
                Manners::RefuseForNow => Some("451 not now, dear ana"),
                Manners::Refuse => Some("550 nobody of that name"),
                _ => None,
            };
            if refusal.is_some() {
                state.lock().expect("nobody panics with it").refused += 1;
            }
            refusal.unwrap_or("250 ok")
        } else if command == "DATA" {
            writer.write_all(b"354 go on\r\n").await?;
            let mut raw = String::new();
            while let Some(line) = lines.next_line().await? {
                if line == "." {
                    break;
                }
                raw.push_str(line.strip_prefix('.').unwrap_or(&line));
                raw.push_str("\r\n");
            }
            let text = decoded(&raw);
            let received = Received { to: to.clone(), raw, text };
            state.lock().expect("nobody panics with it").received.push(received);
            match manners {
                Manners::Drop => return Ok(()),
                Manners::Delay(time) => tokio::time::sleep(time).await,
                _ => {}
            }
            "250 taken"
        } else if command == "QUIT" {
            "221 bye"
        } else {
            "250 ok"
        };
        writer.write_all(format!("{answer}\r\n").as_bytes()).await?;
    }
    Ok(())
}

/// The parts of a message by their transfer encodings: enough for the mails of tests.
fn decoded(raw: &str) -> String {
    let mut text = String::new();
    for part in raw.split("\r\n--") {
        let Some((head, body)) = part.split_once("\r\n\r\n") else { continue };
        let head = head.to_ascii_lowercase();
        if head.contains("base64") {
            let packed: String = body.split_whitespace().take_while(|line| !line.starts_with("--")).collect();
            let bytes = BASE64_STANDARD.decode(packed).unwrap_or_default();
            text.push_str(&String::from_utf8_lossy(&bytes));
        } else if head.contains("quoted-printable") {
            text.push_str(&unquoted(body));
        } else {
            text.push_str(body);
        }
        text.push('\n');
    }
    text
}

fn unquoted(body: &str) -> String {
    let joined = body.replace("=\r\n", "");
    let mut bytes = Vec::new();
    let mut rest = joined.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let hex = tail.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| byte == b'=') {
            Some(decoded) => {
                bytes.push(decoded);
                rest = &tail[2..];
            }
            None => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
