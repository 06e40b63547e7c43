//! Events of a deployment, to be read or followed.

use std::collections::VecDeque;
use std::time::Duration;

use slipway_domain::access::{Principal, Scope};
use slipway_domain::event::Event;
use slipway_domain::fault::Fault;
use slipway_domain::id::DeploymentId;
use slipway_domain::log::LogLine;
use slipway_queue::Signal;
use tokio::sync::broadcast;

use crate::Ctx;
use crate::access::read_deployment;
use crate::auth::authenticate;
use crate::log::{self, Part};

/// Events read in one go.
const BATCH: i64 = 200;
/// Without a signal, the rows are looked at this often: a signal may have been lost.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Events of a deployment with numbers above `after`, at most `limit`, in order.
pub async fn page(
    cx: &Ctx,
    who: &Principal,
    of: DeploymentId,
    after: i64,
    limit: u32,
) -> Result<Vec<Event>, Fault> {
    let mut tx = cx.store.read().await?;
    read_deployment(&mut tx, who, of, Scope::DeploymentsRead).await?;
    Ok(tx.events(of, after, i64::from(limit)).await?)
}

/// Waits for news of one deployment.
struct News {
    of: DeploymentId,
    signals: broadcast::Receiver<Signal>,
}

impl News {
    fn of(cx: &Ctx, of: DeploymentId) -> Self {
        Self { of, signals: cx.transport.signals() }
    }

    /// Returns when there may be something new; at the latest after [`LOOK_AGAIN`].
    async fn wait(&mut self) {
        let heard = async {
            loop {
                match self.signals.recv().await {
                    Ok(Signal::Changed(of)) if of == self.of => return,
                    Ok(Signal::Missed) => return,
                    Ok(_) => {}
                    // Too many to keep up with: look at the rows.
                    Err(broadcast::error::RecvError::Lagged(_)) => return,
                    Err(broadcast::error::RecvError::Closed) => {
                        tokio::time::sleep(LOOK_AGAIN).await;
                        return;
                    }
                }
            }
        };
        let _ = tokio::time::timeout(LOOK_AGAIN, heard).await;
    }
}

/// Follows the events of a deployment.
pub struct Follow {
    cx: Ctx,
    of: DeploymentId,
    after: i64,
    stays: bool,
    news: News,
    ready: VecDeque<Event>,
}

/// Starts following after event number `after` (0 for all of them), until the deployment has ended.
/// Who `stays` also hears what comes after the end: drift, and that a plan is out of date.
pub async fn follow(
    cx: &Ctx,
    who: &Principal,
    of: DeploymentId,
    after: i64,
    stays: bool,
) -> Result<Follow, Fault> {
    // Listening begins before the first read, so nothing falls in between.
    let news = News::of(cx, of);
    let ready = page(cx, who, of, after, u32::try_from(BATCH).unwrap_or(u32::MAX)).await?.into();
    Ok(Follow { cx: cx.clone(), of, after, stays, news, ready })
}

impl Follow {
    /// The next event; `None` when the deployment has ended and all its events were given.
    pub async fn next(&mut self) -> Result<Option<Event>, Fault> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.after = event.seq;
                return Ok(Some(event));
            }
            let mut tx = self.cx.store.read().await?;
            // The state first: what is committed with the end is then certainly read after it.
            let ended = tx
                .deployment(self.of)
                .await?
                .is_none_or(|record| record.deployment.state.is_terminal());
            self.ready = tx.events(self.of, self.after, BATCH).await?.into();
            drop(tx);
            if self.ready.is_empty() {
                if ended && !self.stays {
                    return Ok(None);
                }
                self.news.wait().await;
            }
        }
    }
}

/// Follows the log of a deployment until it has ended.
pub struct FollowLog {
    cx: Ctx,
    who: Principal,
    of: DeploymentId,
    after: i64,
    news: News,
    ready: VecDeque<LogLine>,
    complete: bool,
}

/// Starts following the log after line number `after` (0 for all of it).
pub async fn follow_log(
    cx: &Ctx,
    who: &Principal,
    of: DeploymentId,
    after: i64,
) -> Result<FollowLog, Fault> {
    let news = News::of(cx, of);
    let first = log::page(cx, who, of, Part::After(after), log::MAX_LINES).await?;
    Ok(FollowLog {
        cx: cx.clone(),
        who: who.clone(),
        of,
        after,
        news,
        complete: first.complete,
        ready: first.items.into(),
    })
}

impl FollowLog {
    /// The next line; `None` when the deployment has ended and all its lines were given.
    pub async fn next(&mut self) -> Result<Option<LogLine>, Fault> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                self.after = line.seq;
                return Ok(Some(line));
            }
            if self.complete {
                return Ok(None);
            }
            let page =
                log::page(&self.cx, &self.who, self.of, Part::After(self.after), log::MAX_LINES)
                    .await?;
            self.complete = page.complete;
            self.ready = page.items.into();
            if self.ready.is_empty() && !self.complete {
                self.news.wait().await;
            }
        }
    }
}

/// How often it is asked again whether whoever waits may see what they wait for.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// Waits until `done` says so of the deployment, or until `timeout`; returns it as it is then,
/// and whether `done` was reached.
pub async fn wait(
    cx: &Ctx,
    who: &Principal,
    of: DeploymentId,
    timeout: Duration,
    done: impl Fn(&slipway_domain::deployment::Deployment) -> bool,
) -> Result<(slipway_domain::deployment::Deployment, bool), Fault> {
    let (mut news, mut who) = (News::of(cx, of), who.clone());
    let began = tokio::time::Instant::now();
    let (end, mut look_at) = (began + timeout, began + ASK_AGAIN);
    loop {
        let now = tokio::time::Instant::now();
        if now >= look_at {
            who = authenticate::again(cx, &who).await?;
            look_at = now + ASK_AGAIN;
        }
        let deployment = crate::deployment::get(cx, &who, of).await?;
        let reached = done(&deployment);
        if reached || now >= end {
            return Ok((deployment, reached));
        }
        // A signal may be lost: what is told at the end is how it is then.
        let _ = tokio::time::timeout_at(end.min(look_at), news.wait()).await;
    }
}
