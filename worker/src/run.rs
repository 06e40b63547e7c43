//! What a driver sees of the house while it runs one job: [`Run`], with buffered log and events.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use slipway_domain::event::EventBody;
use slipway_domain::fault::{Code, Kind};
use slipway_domain::id::DeploymentId;
use slipway_domain::job::{Job, Lease};
use slipway_domain::log::{LogStream, NewLogLine, bounded};
use slipway_domain::port::driver::{DriverError, LeaseEnd, Run, StateBlob, Stop};
use slipway_domain::redact::Redactor;
use slipway_domain::run_history::Measure;
use slipway_services::{Ctx, execution};
use slipway_telemetry::carrier;
use tokio::sync::Notify;

use crate::held::{Brake, Fuse, Reason};
use crate::verdict;
use crate::workspace::Workspace;

/// Lines and events wait at most this long before they are written.
const FLUSH_AFTER: Duration = Duration::from_millis(100);
/// Lines kept for one run; more are counted and dropped.
const MAX_LINES: usize = 200_000;
/// Bytes of lines kept for one run; more are counted and dropped.
const MAX_BYTES: usize = 256 << 20;
/// Lines that may wait to be written; more are counted and dropped.
const MAX_BUFFERED: usize = 20_000;
/// Bytes of lines that may wait to be written; more are counted and dropped.
const MAX_BUFFERED_BYTES: usize = 16 << 20;
/// Events kept for one run; more are counted and dropped.
const MAX_EVENTS: usize = 100_000;
/// Events that may wait to be written; more are counted and dropped.
const MAX_BUFFERED_EVENTS: usize = 20_000;

/// What the driver said and nobody has written yet. Bounded in every direction: the driver does not
/// wait for the database, and the database may be away.
#[derive(Default)]
struct Buffer {
    lines: Vec<NewLogLine>,
    events: Vec<EventBody>,
    /// Bytes in `lines`.
    bytes: usize,
    kept_lines: usize,
    kept_bytes: usize,
    kept_events: usize,
    dropped_lines: usize,
    dropped_events: usize,
}

/// What was taken out of a [`Buffer`] to be written.
struct Batch {
    lines: Vec<NewLogLine>,
    events: Vec<EventBody>,
}

impl Buffer {
    fn line(&mut self, line: NewLogLine) {
        let bytes = line.text.len();
        if self.kept_lines >= MAX_LINES
            || self.kept_bytes.saturating_add(bytes) > MAX_BYTES
            || self.lines.len() >= MAX_BUFFERED
            || self.bytes.saturating_add(bytes) > MAX_BUFFERED_BYTES
        {
            self.dropped_lines += 1;
            return;
        }
        self.kept_lines += 1;
        self.kept_bytes += bytes;
        self.bytes += bytes;
        self.lines.push(line);
    }

    fn event(&mut self, event: EventBody) {
        if self.kept_events >= MAX_EVENTS || self.events.len() >= MAX_BUFFERED_EVENTS {
            self.dropped_events += 1;
            return;
        }
        self.kept_events += 1;
        self.events.push(event);
    }

    fn is_empty(&self) -> bool {
        self.lines.is_empty()
            && self.events.is_empty()
            && self.dropped_lines == 0
            && self.dropped_events == 0
    }

    /// Takes everything out; what was dropped is told in a line of its own.
    fn take(&mut self, at: chrono::DateTime<chrono::Utc>) -> Batch {
        self.bytes = 0;
        let mut lines = std::mem::take(&mut self.lines);
        let events = std::mem::take(&mut self.events);
        let dropped = [
            (std::mem::take(&mut self.dropped_lines), "lines"),
            (std::mem::take(&mut self.dropped_events), "events"),
        ];
        for (count, what) in dropped.into_iter().filter(|(count, _)| *count > 0) {
            let text = format!("{count} {what} were dropped: there are more than may be kept");
            lines.push(NewLogLine { at, stream: LogStream::System, step: "log".to_owned(), text });
        }
        Batch { lines, events }
    }

    /// Puts back, in front of what came meanwhile, what could not be written.
    fn put_back(&mut self, mut batch: Batch) {
        self.bytes += batch.lines.iter().map(|line| line.text.len()).sum::<usize>();
        batch.lines.append(&mut self.lines);
        self.lines = batch.lines;
        batch.events.append(&mut self.events);
        self.events = batch.events;
    }
}

/// One job's side of the house.
pub(crate) struct JobRun {
    cx: Ctx,
    job: Job,
    lease: Lease,
    workspace: Workspace,
    redactor: RwLock<Redactor>,
    brake: Brake,
    fuse: Fuse,
    buffer: Mutex<Buffer>,
    /// Of the span it was made in.
    traceparent: Option<String>,
    more: Notify,
    /// Something that must not wait: the journal of an apply.
    urgent: Notify,
    /// One writer at a time, so that what is said first is written first.
    writing: tokio::sync::Mutex<()>,
    /// What the tool took.
    measure: Mutex<Option<Measure>>,
    /// Where the source lies, and where in it the root module is, when the driver has said so.
    source: tokio::sync::watch::Sender<Option<(PathBuf, Option<String>)>>,
}

impl JobRun {
    pub(crate) fn new(
        cx: Ctx,
        job: Job,
        lease: Lease,
        workspace: Workspace,
        redactor: Redactor,
        brake: Brake,
        fuse: Fuse,
    ) -> Self {
        Self {
            cx,
            job,
            lease,
            workspace,
            redactor: RwLock::new(redactor),
            brake,
            fuse,
            buffer: Mutex::default(),
            traceparent: carrier::current_traceparent(),
            more: Notify::new(),
            urgent: Notify::new(),
            writing: tokio::sync::Mutex::default(),
            measure: Mutex::default(),
            source: tokio::sync::watch::Sender::new(None),
        }
    }

    /// Whose job it is.
    pub(crate) fn deployment_id(&self) -> DeploymentId {
        self.job.deployment_id
    }

    /// Whether the driver has said where the source lies.
    pub(crate) fn has_source(&self) -> bool {
        self.source.borrow().is_some()
    }

    /// Waits until the driver has said where the source lies, and where in it the root module is.
    pub(crate) async fn source(&self) -> (PathBuf, Option<String>) {
        let mut told = self.source.subscribe();
        let Ok(laid) = told.wait_for(Option::is_some).await.map(|laid| laid.clone()) else {
            return std::future::pending().await;
        };
        match laid {
            Some(laid) => laid,
            None => std::future::pending().await,
        }
    }

    /// Wipes the workspace when nothing is in it; says whether that was so.
    pub(crate) fn wiped_if_empty(&self) -> bool {
        self.workspace.wiped_if_empty()
    }

    /// The run was lost: what its tool left in the workspace is to be collected.
    pub(crate) fn leave(&self) {
        self.workspace.leave();
    }

    /// What the tool took, when the driver has said so.
    pub(crate) fn measure(&self) -> Option<Measure> {
        *self.measure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn buffer(&self) -> std::sync::MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for `work`, and writes what the driver says in it a little later than it says it. All
    /// of it is written when this returns, unless the lease is lost; a database that is away is
    /// waited for.
    pub(crate) async fn flushing_beside<T>(&self, work: impl Future<Output = T>) -> T {
        let done = beside(work, &self.more, &self.urgent, || self.flush()).await;
        loop {
            self.flush().await;
            let waits = !self.buffer().is_empty();
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
        let _alone = self.writing.lock().await;
        let batch = self.buffer().take(self.cx.now());
        if batch.lines.is_empty() && batch.events.is_empty() {
            return;
        }
        let of = self.job.deployment_id;
        let written =
            execution::append(&self.cx, &self.lease, of, &batch.lines, &batch.events).await;
        match written {
            Ok(()) => {}
            Err(fault) if fault.code == Code::LeaseLost => {
                self.brake.pull(Reason::LeaseLost);
            }
            Err(fault) if fault.kind() == Kind::Unavailable => {
                self.buffer().put_back(batch);
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
    fn workspace(&self) -> &Path {
        self.workspace.path()
    }

    fn redactor(&self) -> Redactor {
        self.redactor.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn hide(&self, secrets: Vec<String>) {
        let mut redactor = self.redactor.write().unwrap_or_else(PoisonError::into_inner);
        *redactor = redactor.and(secrets);
    }

    fn traceparent(&self) -> Option<String> {
        self.traceparent.clone()
    }

    fn measured(&self, measure: Measure) {
        *self.measure.lock().unwrap_or_else(PoisonError::into_inner) = Some(measure);
    }

    fn source_laid(&self, dir: &Path, root: &str) {
        let root = (!root.is_empty()).then(|| root.to_owned());
        self.source.send_replace(Some((dir.to_path_buf(), root)));
    }

    fn log(&self, line: NewLogLine) {
        let line = NewLogLine { text: bounded(self.redactor().text(&line.text)), ..line };
        self.buffer().line(line);
        self.more.notify_one();
    }

    fn event(&self, event: EventBody) {
        let event = redacted(&self.redactor(), event);
        let urgent = matches!(event, EventBody::Resource { .. });
        self.buffer().event(event);
        self.more.notify_one();
        if urgent {
            self.urgent.notify_one();
        }
    }

    async fn events_kept(&self) -> Result<(), DriverError> {
        loop {
            // What is being written right now is waited for.
            drop(self.writing.lock().await);
            if self.brake.reason() == Some(Reason::LeaseLost) {
                return Err(DriverError::Fenced);
            }
            if self.buffer().events.is_empty() {
                return Ok(());
            }
            self.more.notify_one();
            self.urgent.notify_one();
            tokio::time::sleep(FLUSH_AFTER / 20).await;
        }
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

    fn lease_end(&self) -> Option<LeaseEnd> {
        Some(self.fuse.end())
    }

    async fn lease_renewed(&self, known: LeaseEnd) -> LeaseEnd {
        self.fuse.renewed(known).await
    }
}

/// Waits for `work`; whenever `more` rings meanwhile, it soon calls `write`, and at once when `urgent`
/// rings, too. A write that has begun
/// is finished before this returns, even when the work ends in the middle of it.
async fn beside<T, F: Future<Output = ()>>(
    work: impl Future<Output = T>,
    more: &Notify,
    urgent: &Notify,
    write: impl Fn() -> F,
) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = async {
                more.notified().await;
                tokio::select! {
                    () = urgent.notified() => {}
                    () = tokio::time::sleep(FLUSH_AFTER) => {}
                }
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

/// The event without known secrets, whatever its shape; its texts bounded.
fn redacted(redactor: &Redactor, event: EventBody) -> EventBody {
    let tidy = |text: String| bounded(redactor.text(&text));
    match event {
        EventBody::Step { step, detail } => EventBody::Step { step, detail: detail.map(tidy) },
        EventBody::Resource { address, action, status, elapsed_s, resource_id, id_key } => {
            EventBody::Resource {
                address: tidy(address),
                action,
                status,
                elapsed_s,
                resource_id: resource_id.map(tidy),
                id_key: id_key.map(tidy),
            }
        }
        EventBody::Diagnostic { diagnostic } => {
            EventBody::Diagnostic { diagnostic: verdict::diagnostic(redactor, diagnostic) }
        }
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
            beside(work, &more, &Notify::new(), || async {
                begun.set(begun.get() + 1);
                tokio::time::sleep(WRITE).await;
                ended.set(ended.get() + 1);
            })
            .await;
            assert_eq!(begun.get(), ended.get(), "{end_in_write:?}");
        }
    }

    #[test]
    fn what_waits_is_bounded_and_what_is_dropped_is_told() {
        let line = |bytes: usize| NewLogLine {
            at: chrono::DateTime::UNIX_EPOCH,
            stream: LogStream::Stdout,
            step: "s".to_owned(),
            text: "x".repeat(bytes),
        };
        let event = || EventBody::Step { step: "s".to_owned(), detail: None };
        let mut buffer = Buffer::default();
        for _ in 0..3000 {
            buffer.line(line(16 << 10));
        }
        for _ in 0..=MAX_BUFFERED_EVENTS {
            buffer.event(event());
        }
        let held: usize = buffer.lines.iter().map(|l| l.text.len()).sum();
        assert!(held <= MAX_BUFFERED_BYTES && held > MAX_BUFFERED_BYTES / 2, "{held}");
        let batch = buffer.take(chrono::DateTime::UNIX_EPOCH);
        let told: Vec<_> = batch.lines.iter().rev().take(2).map(|l| l.text.clone()).collect();
        assert!(told[0].starts_with("1 events"), "{told:?}");
        assert!(told[1].ends_with("more than may be kept"), "{told:?}");
        assert!(buffer.is_empty());
        // What could not be written comes first again, and counts.
        buffer.line(line(1));
        buffer.put_back(batch);
        assert_eq!(buffer.lines.last().unwrap().text, "x");
        buffer.line(line(16 << 10));
        assert_eq!(buffer.dropped_lines, 1, "there is no room until it is written");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_said_while_a_write_runs_is_written_next() {
        let (writes, more) = (Cell::new(0), Notify::new());
        more.notify_one();
        let work = tokio::time::sleep(FLUSH_AFTER * 10);
        beside(work, &more, &Notify::new(), || async {
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
