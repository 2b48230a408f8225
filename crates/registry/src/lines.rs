//! The connections of the registry's pool: driven so that all of them can be given up at once.
//!
//! A connection may be silently dead for as long as the kernel believes in it: whoever asks over it waits. One who has
//! waited too long gives up all there are, and everybody asks over new ones.

use deadpool_postgres::Connect;
use futures_util::FutureExt;
use std::{future::Future, pin::Pin};
use tokio::{sync::watch, task::JoinHandle};
use tokio_postgres::{Client, Config, Error};

/// Opens connections, and gives them up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lines(watch::Sender<()>);

impl Lines {
    /// Ends every connection that was opened so far, with whatever is asked over it.
    pub(crate) fn give_up(&self) {
        self.0.send_replace(());
    }

    /// Completes when the connections that are open now are given up.
    pub(crate) fn given_up(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut told = self.0.subscribe();
        // The sender outlives whoever waits for it, or nobody gives up anything any more.
        async move { drop(told.changed().await) }
    }
}

type Opened = Result<(Client, JoinHandle<()>), Error>;

impl Connect for Lines {
    fn connect(&self, config: &Config) -> Pin<Box<dyn Future<Output = Opened> + Send + '_>> {
        let config = config.clone();
        async move {
            let given_up = self.given_up();
            let (client, connection) = config.connect(portero_pg::connector()).await?;
            let driver = tokio::spawn(async move {
                tokio::select! {
                    outcome = connection => if let Err(error) = outcome {
                        tracing::debug!(%error, "a connection to the registry ended");
                    },
                    () = given_up => {}
                }
            });
            Ok((client, driver))
        }
        .boxed()
    }
}
