//! A network that a test can cut: a TCP proxy on a port of its own.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::port::quiet_port;

/// What the network does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It carries everything.
    Pass,
    /// It carries nothing and says nothing. What is on its way is held, and carried when the
    /// network is whole again, as TCP would send it again.
    Drop,
    /// It breaks every connection, those that are there and those that are tried.
    Reset,
}

/// The proxy. It ends when it is dropped.
pub(crate) struct Proxy {
    port: u16,
    mode: Arc<watch::Sender<Mode>>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// One before `port` of this machine.
    pub(crate) async fn before(port: u16) -> Self {
        let own = quiet_port();
        let listener = TcpListener::bind(("127.0.0.1", own)).await.unwrap();
        let mode = Arc::new(watch::channel(Mode::Pass).0);
        let accepting = tokio::spawn(accept(listener, port, mode.clone()));
        Self { port: own, mode, accepting }
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Changes what the network does, at once.
    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, to: u16, mode: Arc<watch::Sender<Mode>>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((here, _)) = accepted else { return };
                connections.spawn(carry(here, to, mode.subscribe()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Carries one connection to its end.
async fn carry(mut here: TcpStream, to: u16, mode: watch::Receiver<Mode>) {
    let mut look = mode.clone();
    let broken = async {
        // The sender lives as long as the proxy.
        let _ = look.wait_for(|mode| *mode == Mode::Reset).await;
    };
    let carried = async {
        passes(&mut mode.clone()).await?;
        let there = TcpStream::connect(("127.0.0.1", to)).await.ok()?;
        let _ = (here.set_nodelay(true), there.set_nodelay(true));
        Some(there)
    };
    tokio::pin!(broken);
    let there = tokio::select! {
        () = &mut broken => None,
        there = carried => there,
    };
    let Some(mut there) = there else {
        let _ = here.set_zero_linger();
        return;
    };
    let cut = {
        let (from_here, to_here) = here.split();
        let (from_there, to_there) = there.split();
        let both = async {
            // A side that has ended may still be told something.
            let out = one_way(from_here, to_there, mode.clone());
            let back = one_way(from_there, to_here, mode.clone());
            tokio::join!(out, back)
        };
        tokio::select! {
            () = broken => true,
            _ = both => false,
        }
    };
    if cut {
        let _ = (here.set_zero_linger(), there.set_zero_linger());
    }
}

/// Waits until the network carries; `None` when it never will again.
async fn passes(mode: &mut watch::Receiver<Mode>) -> Option<()> {
    mode.wait_for(|mode| *mode == Mode::Pass).await.ok().map(|_| ())
}

async fn one_way(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, mut mode: watch::Receiver<Mode>) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let Ok(read) = from.read(&mut buffer).await else { return };
        if read == 0 {
            if passes(&mut mode).await.is_some() {
                let _ = to.shutdown().await;
            }
            return;
        }
        if passes(&mut mode).await.is_none() || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn it_passes_holds_and_resets() {
    use std::time::Duration;
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::before(server.local_addr().unwrap().port()).await;
    let mut client = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
    client.write_all(b"one").await.unwrap();
    let (mut there, _) = server.accept().await.unwrap();
    let mut buffer = [0; 3];
    there.read_exact(&mut buffer).await.unwrap();
    assert_eq!(&buffer, b"one");
    proxy.set(Mode::Drop);
    client.write_all(b"two").await.unwrap();
    let silent = tokio::time::timeout(Duration::from_millis(200), there.read(&mut buffer)).await;
    assert!(silent.is_err(), "nothing comes through a cut: {silent:?}");
    let mut late = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
    let nobody = tokio::time::timeout(Duration::from_millis(200), server.accept()).await;
    assert!(nobody.is_err(), "nobody arrives either");
    proxy.set(Mode::Pass);
    there.read_exact(&mut buffer).await.unwrap();
    assert_eq!(&buffer, b"two");
    let (mut second, _) = server.accept().await.unwrap();
    second.write_all(b"hey").await.unwrap();
    late.read_exact(&mut buffer).await.unwrap();
    proxy.set(Mode::Reset);
    for connection in [&mut client, &mut late, &mut there, &mut second] {
        assert!(matches!(connection.read(&mut buffer).await, Ok(0) | Err(_)));
    }
    let mut new = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
    assert!(matches!(new.read(&mut buffer).await, Ok(0) | Err(_)));
}
