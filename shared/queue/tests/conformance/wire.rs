//! The network between a transport and its broker, in the hands of a test.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The way to a broker, to be cut or frozen.
pub(crate) struct Wire {
    /// The broker's URL, by this way.
    pub(crate) url: String,
    /// The broker's own URL.
    pub(crate) to: String,
    cut: watch::Sender<u64>,
    frozen: watch::Sender<bool>,
    connections: Arc<AtomicUsize>,
}

impl Wire {
    /// Opens one to the broker at `url`.
    pub(crate) async fn to(url: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let own = listener.local_addr().unwrap().to_string();
        let (before, rest) = url.split_once('@').unwrap();
        let (place, after) = rest.split_once('/').unwrap();
        let wire = Self {
            url: format!("{before}@{own}/{after}"),
            to: url.to_owned(),
            cut: watch::Sender::new(0),
            frozen: watch::Sender::new(false),
            connections: Arc::default(),
        };
        let (cut, frozen) = (wire.cut.clone(), wire.frozen.clone());
        let (connections, place) = (wire.connections.clone(), place.to_owned());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::Relaxed);
                let broker = TcpStream::connect(&place).await.unwrap();
                // So that a cut is a reset, not an orderly end.
                client.set_zero_linger().unwrap();
                let (mut cut, frozen) = (cut.subscribe(), frozen.clone());
                tokio::spawn(async move {
                    let (from_client, to_client) = client.into_split();
                    let (from_broker, to_broker) = broker.into_split();
                    tokio::select! {
                        () = pass(from_client, to_broker, frozen.subscribe()) => {}
                        () = pass(from_broker, to_client, frozen.subscribe()) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        wire
    }

    /// Resets every connection.
    pub(crate) fn cut(&self) {
        self.cut.send_modify(|cuts| *cuts += 1);
    }

    /// Keeps back whatever is said from now on, or lets it pass again.
    pub(crate) fn freeze(&self, frozen: bool) {
        self.frozen.send_replace(frozen);
    }

    /// How many there have been.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut frozen: watch::Receiver<bool>) {
    let mut buffer = vec![0; 65_536];
    loop {
        let Ok(read @ 1..) = from.read(&mut buffer).await else { return };
        if frozen.wait_for(|frozen| !frozen).await.is_err() {
            return;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
