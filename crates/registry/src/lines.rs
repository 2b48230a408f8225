//! The connections of the registry's pool: driven so that all of them can be given up at once.
//!
//! A connection may be silently dead for as long as the kernel believes in it: whoever asks over it waits. One who has
//! waited too long gives up all there are, and everybody asks over new ones.

use deadpool_postgres::Connect;
use futures_util::FutureExt;
use std::{
    future::{Future, pending},
    panic::resume_unwind,
    pin::Pin,
    sync::{Arc, OnceLock},
};
use tokio::{runtime::Handle, sync::watch, task::JoinHandle};
use tokio_postgres::{Client, Config, Error};

/// Opens connections, and gives them up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lines {
    all: watch::Sender<()>,
    /// Where they live, whichever of a process's runtimes asks for one: that of the first who did. A worker's runtime may
    /// end while others still use its connections.
    home: Arc<OnceLock<Handle>>,
}

impl Lines {
    /// Ends every connection that was opened so far, with whatever is asked over it.
    pub(crate) fn give_up(&self) {
        self.all.send_replace(());
    }

    /// Completes when the connections that are open now are given up.
    pub(crate) fn given_up(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut told = self.all.subscribe();
        // The sender outlives whoever waits for it, or nobody gives up anything any more.
        async move { drop(told.changed().await) }
    }
}

type Opened = Result<(Client, JoinHandle<()>), Error>;

impl Connect for Lines {
    fn connect(&self, config: &Config) -> Pin<Box<dyn Future<Output = Opened> + Send + '_>> {
        let (config, given_up) = (config.clone(), self.given_up());
        let home = self.home.get_or_init(Handle::current).clone();
        let opening = home.spawn(async move {
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
        });
        async move {
            match opening.await {
                Ok(opened) => opened,
                Err(ended) => match ended.try_into_panic() {
                    Ok(panic) => resume_unwind(panic),
                    // The process is ending.
                    Err(_) => pending().await,
                },
            }
        }
        .boxed()
    }
}
