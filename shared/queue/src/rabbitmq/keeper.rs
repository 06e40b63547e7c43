//! Keeps one connection up, for ever.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::House;
use super::address::Address;
use super::backoff::Backoff;
use super::link::Link;
use super::topology;

/// A connection that lived this long was a good one: the next failure is the first again.
const SETTLED: Duration = Duration::from_secs(5);

/// What the broker may take to answer a question about its health.
const CHECK: Duration = Duration::from_millis(1500);

/// The state of a connection.
#[derive(Clone)]
pub(super) enum Line {
    /// There is none, and why.
    Down(String),
    /// There is one.
    Up(Arc<Link>),
    /// There will be none any more.
    Closed,
}

/// A connection that is kept up until this is dropped.
pub(super) struct Keeper {
    line: watch::Sender<Line>,
    end: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Keeper {
    /// Begins. `role` is what the connection is for, in names and in the log.
    pub(super) fn start(address: Address, role: &'static str, house: Arc<House>) -> Self {
        let line = watch::Sender::new(Line::Down("not connected yet".into()));
        let end = watch::Sender::new(false);
        let task = tokio::spawn(keep(address, role, house, line.clone(), end.subscribe()));
        Self { line, end, task }
    }

    /// The state, now and later.
    pub(super) fn line(&self) -> watch::Receiver<Line> {
        self.line.subscribe()
    }

    /// Whether the connection works right now: asks the broker.
    pub(super) async fn check(&self) -> Result<(), String> {
        let line = self.line.borrow().clone();
        match line {
            Line::Down(why) => Err(why),
            Line::Closed => Err("it was closed".into()),
            Line::Up(link) => match timeout(CHECK, link.probe()).await {
                Ok(probed) => probed.map_err(|lost| lost.to_string()),
                Err(_) => Err("the broker does not answer".into()),
            },
        }
    }

    /// Says goodbye to the broker.
    pub(super) async fn close(&self) {
        self.end.send_replace(true);
        let mut line = self.line.subscribe();
        // Without a sender it is over, too.
        let _ = line.wait_for(|line| matches!(line, Line::Closed)).await;
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
        // Lets go of the connection: whoever still listens has the state, too.
        self.line.send_replace(Line::Closed);
    }
}

/// The connection that `line` has, as soon as it has one; `None` when there will be none any more.
pub(super) async fn up(line: &mut watch::Receiver<Line>) -> Option<Arc<Link>> {
    let found = line.wait_for(|line| !matches!(line, Line::Down(_))).await.ok()?;
    match &*found {
        Line::Up(link) => Some(link.clone()),
        Line::Down(_) | Line::Closed => None,
    }
}

/// Returns when `line` is no longer up with `link`.
pub(super) async fn over(line: &mut watch::Receiver<Line>, link: &Arc<Link>) {
    let other = |line: &Line| !matches!(line, Line::Up(now) if Arc::ptr_eq(now, link));
    // The sender gone is an end too.
    let _ = line.wait_for(other).await;
}

/// Returns when `end` says so, or when nobody is left to say it.
async fn told(end: &mut watch::Receiver<bool>) {
    let _ = end.wait_for(|end| *end).await;
}

/// After a failure on `link`: waits for the next connection if this one is lost (whoever keeps it
/// has a back-off), and for a while if it is not.
pub(super) async fn pause(
    line: &mut watch::Receiver<Line>,
    link: &Arc<Link>,
    backoff: &mut Backoff,
) {
    if link.alive() {
        tokio::time::sleep(backoff.next()).await;
    } else {
        over(line, link).await;
    }
}

async fn keep(
    address: Address,
    role: &'static str,
    house: Arc<House>,
    tell: watch::Sender<Line>,
    mut end: watch::Receiver<bool>,
) {
    let part = format!("the connection that {role}");
    let mut backoff = Backoff::default();
    loop {
        let opened = tokio::select! {
            () = told(&mut end) => break,
            opened = Link::open(&address, role) => opened,
        };
        let lost = match opened {
            Ok(link) => {
                house.ward.well(&part);
                tracing::info!(%address, role, "connected to RabbitMQ");
                let (link, since) = (Arc::new(link), Instant::now());
                tell.send_replace(Line::Up(link.clone()));
                let lost = tokio::select! {
                    () = told(&mut end) => {
                        link.close().await;
                        break;
                    }
                    lost = link.lost() => lost,
                    never = topology::heal(&link, &house) => match never {},
                };
                link.cut();
                if since.elapsed() >= SETTLED {
                    backoff.reset();
                }
                lost
            }
            Err(lost) => lost,
        };
        house.ward.ill(&part, lost.to_string());
        tell.send_replace(Line::Down(lost.to_string()));
        tokio::select! {
            () = told(&mut end) => break,
            () = tokio::time::sleep(backoff.next()) => {}
        }
    }
    tell.send_replace(Line::Closed);
}
