//! Keys of etcd, version 3: read once, watched from there on. One connection is for all of them.

mod session;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use crate::backoff::Backoff;
use crate::health::{Health, SourceKind};
use crate::settings::Etcd as Settings;
use crate::shared::{Following, Shared, Task};
use crate::source::{Said, Source};

use session::{Keys, Session};

/// Pauses after a connection was lost.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(2);

pub(crate) struct Etcd {
    keys: Shared<Said>,
    orders: mpsc::UnboundedSender<Order>,
    health: Arc<Health>,
    /// `None`: nobody says where etcd is.
    connection: Option<Task>,
}

/// What the connection is asked for.
enum Order {
    Follow(Arc<str>, watch::Sender<Said>),
    Leave(Arc<str>),
}

/// Gives the order to leave when nobody follows any more.
struct Followed {
    key: Arc<str>,
    orders: mpsc::UnboundedSender<Order>,
}

// === impl Etcd ===

impl Etcd {
    pub(crate) fn new(settings: Option<&Settings>, runtime: &Handle) -> Etcd {
        let (orders, taken) = mpsc::unbounded_channel();
        let health = Arc::new(Health::new(SourceKind::Etcd));
        let connection =
            settings.map(|settings| Task::spawn(runtime, connect(settings.clone(), taken, health.clone())));
        Etcd { keys: Shared::new(runtime), orders, health, connection }
    }
}

impl Source for Etcd {
    fn follow(&self, key: &str) -> Following<Said> {
        let configured = self.connection.is_some();
        if !configured {
            self.health.unconfigured(key);
        }
        let first = if configured { Said::Pending } else { Said::Silent };
        self.keys.follow(key, first, |key, told| {
            let followed = Followed { key: key.clone(), orders: self.orders.clone() };
            // Without a connection nobody takes it, and the one who tells is kept by whoever follows.
            let refused = self.orders.send(Order::Follow(key, told)).err();
            async move {
                let (_followed, _refused) = (followed, refused);
                std::future::pending::<()>().await;
            }
        })
    }

    fn health(&self) -> &Health {
        &self.health
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        let _ = self.orders.send(Order::Leave(self.key.clone()));
    }
}

/// One session after the other, each with the next member of the cluster, for as long as keys are followed.
async fn connect(settings: Settings, mut orders: mpsc::UnboundedReceiver<Order>, health: Arc<Health>) {
    let mut keys = Keys::default();
    let mut backoff = Backoff::new(FIRST_RETRY, LONGEST_RETRY);
    let mut member = 0;
    loop {
        // Nobody is connected to without a reason.
        while keys.is_empty() {
            match orders.recv().await {
                Some(order) => drop(keys.take(order)),
                None => return,
            }
        }
        let Some(url) = settings.urls.get(member % settings.urls.len().max(1)) else { return };
        let session = Session { settings: &settings, url, keys: &mut keys, orders: &mut orders, health: &health };
        let ended = session.run(&mut backoff).await;
        let Err(error) = ended else { continue };
        health.failed(url, &error);
        keys.nothing_new();
        member = member.wrapping_add(1);
        let pause = tokio::time::sleep(backoff.pause());
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => break,
                order = orders.recv() => match order {
                    // Whoever comes now learns that nobody answers.
                    Some(order) => {
                        keys.take(order);
                        keys.nothing_new();
                    }
                    None => return,
                },
            }
        }
    }
}
