//! What a driver sees of the house while it runs one job: [`Run`], with buffered log and events.

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use slipway_domain::event::EventBody;
use slipway_domain::fault::{Code, Kind};
use slipway_domain::job::{Job, Lease};
use slipway_domain::log::{LogStream, NewLogLine, bounded};
use slipway_domain::port::driver::{DriverError, Run, StateBlob, Stop};
use slipway_domain::redact::Redactor;
use slipway_services::{Ctx, execution};
use tokio::sync::Notify;

use crate::held::{Brake, Reason};
use crate::workspace::Workspace;

/// Lines and events wait at most this long before they are written.
const FLUSH_AFTER: Duration = Duration::from_millis(100);
/// Lines kept for one run; more are counted and dropped.
const MAX_LINES: usize = 200_000;
/// Lines that may wait to be written; more are counted and dropped.
const MAX_BUFFERED: usize = 20_000;

#[derive(Default)]
struct Buffer {
    lines: Vec<NewLogLine>,
    events: Vec<EventBody>,
    kept: usize,
    dropped: usize,
}

/// One job's side of the house.
pub(crate) struct JobRun {
    cx: Ctx,
    job: Job,
    lease: Lease,
    workspace: Workspace,
    redactor: Redactor,
    brake: Brake,
    buffer: Mutex<Buffer>,
    more: Notify,
}

impl JobRun {
    pub(crate) fn new(
        cx: Ctx,
        job: Job,
        lease: Lease,
        workspace: Workspace,
        redactor: Redactor,
        brake: Brake,
    ) -> Self {
        Self {
            cx,
            job,
            lease,
            workspace,
            redactor,
            brake,
            buffer: Mutex::default(),
            more: Notify::new(),
        }
    }

    fn buffer(&self) -> std::sync::MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Waits for `work`, and writes what the driver says in it a little later than it says it. All
    /// of it is written when this returns, unless the lease is lost; a database that is away is
    /// waited for.
    pub(crate) async fn flushing_beside<T>(&self, work: impl Future<Output = T>) -> T {
        let done = beside(work, &self.more, || self.flush()).await;
        loop {
            self.flush().await;
            let waits = {
                let buffer = self.buffer();
                !buffer.lines.is_empty() || !buffer.events.is_empty()
            };
            // Without the lease nothing may be written any more.
            if !waits || self.brake.reason() == Some(Reason::LeaseLost) {
                return done;
            }
            tokio::time::sleep(FLUSH_AFTER * 5).await;
        }
    }

    /// Writes what waits. What cannot be written because the database is down waits on. Must not
    /// be dropped half-way: what it took is in nobody's hands but its own.
    async fn flush(&self) {
        let (mut lines, events, dropped) = {
            let mut buffer = self.buffer();
            let dropped = std::mem::take(&mut buffer.dropped);
            (std::mem::take(&mut buffer.lines), std::mem::take(&mut buffer.events), dropped)
        };
        if dropped > 0 {
            lines.push(NewLogLine {
                at: self.cx.now(),
                stream: LogStream::System,
                step: "log".to_owned(),
                text: format!("{dropped} lines were dropped: the log is longer than it may be"),
            });
        }
        if lines.is_empty() && events.is_empty() {
            return;
        }
        let written =
            execution::append(&self.cx, &self.lease, self.job.deployment_id, &lines, &events).await;
        match written {
            Ok(()) => {}
            Err(fault) if fault.code == Code::LeaseLost => self.brake.pull(Reason::LeaseLost),
            Err(fault) if fault.kind() == Kind::Unavailable => {
                let mut buffer = self.buffer();
                lines.append(&mut buffer.lines);
                buffer.lines = lines;
                let mut all = events;
                all.append(&mut buffer.events);
                buffer.events = all;
                self.more.notify_one();
            }
            Err(fault) => {
                tracing::error!(job_id = %self.job.id, %fault, cause = fault.causes(),
                    "log lines and events could not be kept");
            }
        }
    }
}

#[async_trait]
impl Run for JobRun {
    fn workspace(&self) -> &std::path::Path {
        self.workspace.path()
    }

    fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    fn log(&self, line: NewLogLine) {
        let line = NewLogLine { text: bounded(self.redactor.text(&line.text)), ..line };
        {
            let mut buffer = self.buffer();
            if buffer.kept >= MAX_LINES || buffer.lines.len() >= MAX_BUFFERED {
                buffer.dropped += 1;
            } else {
                buffer.kept += 1;
                buffer.lines.push(line);
            }
        }
        self.more.notify_one();
    }

    fn event(&self, event: EventBody) {
        let event = if self.redactor.is_empty() { event } else { redacted(&self.redactor, event) };
        self.buffer().events.push(event);
        self.more.notify_one();
    }

    async fn save_state(&self, state: StateBlob) -> Result<(), DriverError> {
        // The state is the most precious thing here: while the lease holds, keep trying.
        let mut wait = Duration::from_millis(100);
        loop {
            let saved = execution::save_state(&self.cx, &self.job, &self.lease, state.clone());
            match saved.await {
                Ok(()) => return Ok(()),
                Err(fault) if fault.code == Code::LeaseLost => {
                    self.brake.pull(Reason::LeaseLost);
                    return Err(DriverError::Fenced);
                }
                Err(fault) if fault.kind() == Kind::Unavailable => {
                    if self.brake.reason() == Some(Reason::LeaseLost) {
                        return Err(DriverError::Fenced);
                    }
                    tracing::warn!(job_id = %self.job.id, %fault, "the state is not saved yet");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(Duration::from_secs(5));
                }
                Err(fault) => {
                    tracing::error!(job_id = %self.job.id, %fault, cause = fault.causes(),
                        "the state could not be saved");
                    return Err(DriverError::Lost {
                        summary: format!("the new state could not be saved: {}", fault.detail),
                    });
                }
            }
        }
    }

    fn stop(&self) -> Option<Stop> {
        self.brake.reason().map(Reason::stop)
    }

    async fn stopped(&self, at_least: Stop) -> Stop {
        self.brake.pulled(at_least).await.stop()
    }
}

/// Waits for `work`; whenever `more` rings meanwhile, it soon calls `write`. A write that has begun
/// is finished before this returns, even when the work ends in the middle of it.
async fn beside<T, F: Future<Output = ()>>(
    work: impl Future<Output = T>,
    more: &Notify,
    write: impl Fn() -> F,
) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = async {
                more.notified().await;
                tokio::time::sleep(FLUSH_AFTER).await;
            } => {}
        }
        let mut writing = std::pin::pin!(write());
        tokio::select! {
            done = &mut work => {
                writing.await;
                return done;
            }
            () = &mut writing => {}
        }
    }
}

/// The event without known secrets, whatever its shape.
fn redacted(redactor: &Redactor, event: EventBody) -> EventBody {
    use slipway_domain::plan::Diagnostic;
    match event {
        EventBody::Step { step, detail } => {
            EventBody::Step { step, detail: detail.map(|d| redactor.text(&d)) }
        }
        EventBody::Resource { address, action, status, elapsed_s, resource_id } => {
            EventBody::Resource {
                address: redactor.text(&address),
                action,
                status,
                elapsed_s,
                resource_id: resource_id.map(|id| redactor.text(&id)),
            }
        }
        EventBody::Diagnostic { diagnostic } => EventBody::Diagnostic {
            diagnostic: Diagnostic {
                summary: redactor.text(&diagnostic.summary),
                detail: redactor.text(&diagnostic.detail),
                address: diagnostic.address.map(|a| redactor.text(&a)),
                ..diagnostic
            },
        },
        // The rest is made by the house out of what is masked already.
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_write_that_has_begun_is_finished_when_the_work_ends() {
        const WRITE: Duration = Duration::from_millis(50);
        for end_in_write in [Duration::ZERO, Duration::from_millis(20), WRITE] {
            let (begun, ended, more) = (Cell::new(0), Cell::new(0), Notify::new());
            more.notify_one();
            let work = tokio::time::sleep(FLUSH_AFTER + end_in_write);
            beside(work, &more, || async {
                begun.set(begun.get() + 1);
                tokio::time::sleep(WRITE).await;
                ended.set(ended.get() + 1);
            })
            .await;
            assert_eq!(begun.get(), ended.get(), "{end_in_write:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_said_while_a_write_runs_is_written_next() {
        let (writes, more) = (Cell::new(0), Notify::new());
        more.notify_one();
        let work = tokio::time::sleep(FLUSH_AFTER * 10);
        beside(work, &more, || async {
            writes.set(writes.get() + 1);
            if writes.get() == 1 {
                more.notify_one();
            }
            tokio::time::sleep(FLUSH_AFTER).await;
        })
        .await;
        assert_eq!(writes.get(), 2);
    }
}
