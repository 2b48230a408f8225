//! Sends what is in the outbox: a few at a time, each at least once, with pauses that grow where the server refuses; and
//! clears away what sign-ups left and nobody used.
//!
//! Several processes may do this at once: whoever takes a mail has it for a while. Without a server nothing is sent, and
//! the mailbox of `portero dev` shows what is there.

use anyhow::{Result, anyhow};
use futures_util::future::join_all;
use lettre::{
    AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{Mailbox, MultiPart},
    transport::smtp::{self, extension::ClientId},
};
use portero_control::MailRow;
use portero_kernel::{ExposeSecret, HostName, SecretString, with_causes};
use portero_registry::{Registry, RegistryError};
use std::{fmt, time::Duration};
use tokio::sync::watch;

/// How often the outbox is looked into.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often what is over is cleared away: once in so many looks.
const PRUNE_EVERY: u32 = 60;
/// Mails under way at once.
const AT_ONCE: i64 = 8;
/// How long one server may take for one mail, the login included.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a mail is tried that a server said it will never take: it may have been said by mistake.
const NEVER_TIMES: i32 = 3;

/// The server that mails are given to, and whom they are from.
#[derive(Clone)]
pub(crate) struct Smtp {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl Smtp {
    /// From the settings.
    ///
    /// # Errors
    /// A sentence that names the setting, without the password.
    pub(crate) fn new(url: &SecretString, from: &str) -> Result<Self> {
        let from: Mailbox = from
            .parse()
            .map_err(|_| anyhow!("mail_from can't be {from:?}: Portero <no-reply@ejemplo.com>"))?;
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(url.expose_secret())
            .map_err(|_| {
                anyhow!("smtp_url is not one: smtps://user:password@host, or smtp://host:port?tls=required")
            })?
            .hello_name(ClientId::Domain(from.email.domain().to_owned()))
            .timeout(Some(PATIENCE))
            .build();
        Ok(Self { transport, from })
    }
}

impl fmt::Debug for Smtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Smtp").field("from", &self.from.to_string()).finish_non_exhaustive()
    }
}

/// What the mailer works with.
pub(crate) struct Mailer {
    pub(crate) registry: Registry,
    pub(crate) smtp: Option<Smtp>,
    /// `0` is no limit.
    pub(crate) per_hour: u32,
    /// Of the apex: ids of messages are of this name.
    pub(crate) apex: HostName,
}

impl Mailer {
    /// Works until it is told to stop.
    pub(crate) async fn run(self, mut stopping: watch::Receiver<bool>) {
        let mut looks = 0_u32;
        while !*stopping.borrow() {
            if let Some(smtp) = &self.smtp {
                self.send_some(smtp).await;
            }
            if looks.is_multiple_of(PRUNE_EVERY) {
                self.prune().await;
            }
            looks = looks.wrapping_add(1);
            tokio::select! {
                _ = stopping.changed() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    async fn prune(&self) {
        let pruned = async {
            self.registry.signups_prune().await?;
            self.registry.outbox_prune().await
        };
        match pruned.await {
            Ok(()) | Err(RegistryError::Unavailable(_)) => {}
            Err(error) => {
                tracing::error!(error = with_causes(&error), "what sign-ups left could not be cleared away");
            }
        }
    }

    async fn send_some(&self, smtp: &Smtp) {
        match self.registry.mails_take(AT_ONCE, i64::from(self.per_hour)).await {
            Ok(mails) => drop(join_all(mails.iter().map(|mail| self.send(smtp, mail))).await),
            // A registry that is away is told of elsewhere.
            Err(RegistryError::Unavailable(_)) => {}
            Err(error) => tracing::error!(error = with_causes(&error), "the outbox could not be read"),
        }
    }

    async fn send(&self, smtp: &Smtp, row: &MailRow) {
        let outcome = match self.message(smtp, row) {
            None => self.registry.mail_give_up(row.id, "not a message").await,
            Some(message) => match smtp.transport.send(message).await {
                Ok(_) => self.registry.mail_sent(row.id).await,
                Err(error) => self.not_sent(row, &error).await,
            },
        };
        if let Err(error) = outcome {
            tracing::warn!(mail = %row.id, error = with_causes(&error), "a mail may be sent once more");
        }
    }

    /// What a server says may hold the address: the log and the registry have the kind alone.
    async fn not_sent(&self, row: &MailRow, error: &smtp::Error) -> std::result::Result<(), RegistryError> {
        let kind = match error.status() {
            Some(code) => format!("the server answered {code}"),
            None if error.is_timeout() => "the server took too long".to_owned(),
            None => "the server could not be reached".to_owned(),
        };
        let attempts = row.attempts;
        if error.is_permanent() && attempts >= NEVER_TIMES {
            tracing::warn!(mail = %row.id, attempts, kind, "a mail was given up");
            return self.registry.mail_give_up(row.id, &kind).await;
        }
        tracing::warn!(mail = %row.id, attempts, kind, "a mail could not be sent and will be tried again");
        self.registry.mail_try_later(row.id, &kind).await
    }

    /// The same each time it is tried, its id too: a mail that arrives twice is known as one.
    fn message(&self, smtp: &Smtp, row: &MailRow) -> Option<Message> {
        let mail = row.mail.as_ref()?;
        let letter = &mail.letter;
        Message::builder()
            .from(smtp.from.clone())
            .to(Mailbox::new(None, mail.to.parse().ok()?))
            .message_id(Some(format!("<{}@{}>", row.id, self.apex)))
            .subject(letter.subject.as_str())
            .multipart(MultiPart::alternative_plain_html(letter.text.clone(), letter.html.clone()))
            .ok()
    }
}
