//! The log of a deployment.

use std::fmt::Write as _;

use futures::FutureExt as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use slipway_domain::access::Scope;
use slipway_domain::fault::Fault;
use slipway_domain::id::DeploymentId;
use slipway_domain::log::LogStream;
use slipway_services::log::{self as verb, Part};

use super::{Call, Entry, entry, reads};
use crate::mcp::answer::{Outcome, answer, fenced, line};

/// Lines when nobody says how many.
const LINES: u32 = 50;
/// Lines at most in one answer.
const MAX_LINES: u32 = 200;
/// Characters of a line.
const MAX_LINE: usize = 800;
/// Characters of all lines together.
const MAX_TEXT: usize = 12_000;

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ReadArguments {
    /// The deployment's id.
    deployment_id: DeploymentId,
    /// The last so many lines, 1 to 200. This is the default, with 50.
    #[serde(default)]
    #[schemars(range(min = 1, max = 200))]
    tail: Option<u32>,
    /// Instead of tail: lines after this number (0 for the beginning, `next_after` for what follows).
    #[serde(default)]
    #[schemars(range(min = 0))]
    after: Option<i64>,
    /// With after: how many lines, 1 to 200; 50 when absent.
    #[serde(default)]
    #[schemars(range(min = 1, max = 200))]
    limit: Option<u32>,
}

#[derive(Serialize, JsonSchema)]
struct Log {
    untrusted: bool,
    lines: Vec<Line>,
    next_after: i64,
    /// Whether nothing follows any more.
    complete: bool,
    /// Lines of the tail that did not fit and were left out at its beginning.
    left_out: usize,
}

#[derive(Serialize, JsonSchema)]
struct Line {
    seq: i64,
    step: String,
    stream: LogStream,
    text: String,
}

pub(super) fn read() -> Entry {
    entry::<ReadArguments, Log>(
        "read_logs",
        "Read logs",
        "Reads the log of a deployment, its end or what follows a line number; call it to see why \
         something failed or what is being done.",
        reads(),
        Scope::DeploymentsRead,
        |call| read_logs(call).boxed(),
    )
}

fn within(name: &str, value: Option<u32>) -> Result<u32, Fault> {
    match value {
        None => Ok(LINES),
        Some(value) if (1..=MAX_LINES).contains(&value) => Ok(value),
        Some(_) => {
            Err(Fault::field(format!("/{name}"), format!("{name} must be from 1 to {MAX_LINES}")))
        }
    }
}

async fn read_logs(call: Call<'_>) -> Outcome {
    let given: ReadArguments = call.arguments()?;
    let (part, limit) = match (given.tail, given.after) {
        (Some(_), Some(_)) => {
            return Err(Fault::field("/after", "give either tail or after, not both").into());
        }
        (None, Some(after)) => (Part::After(after), within("limit", given.limit)?),
        (tail, None) => {
            let tail = within("tail", tail)?;
            (Part::Tail(tail), tail)
        }
    };
    let page = verb::page(call.cx, call.who, given.deployment_id, part, limit).await?;
    let mut lines: Vec<_> = page
        .items
        .into_iter()
        .map(|item| Line {
            seq: item.seq,
            step: line(&item.step, 40),
            stream: item.stream,
            text: line(&item.text, MAX_LINE),
        })
        .collect();
    let mut log = Log {
        untrusted: true,
        next_after: page.next_after,
        complete: page.complete,
        left_out: 0,
        lines: Vec::new(),
    };
    // What does not fit is the far end: the oldest of a tail, the newest of what follows.
    let is_tail = matches!(part, Part::Tail(_));
    let size = |line: &Line| line.text.chars().count() + 40;
    let mut room = MAX_TEXT;
    let mut fits = |line: &Line| {
        let fits = room >= size(line);
        room = room.saturating_sub(size(line));
        fits
    };
    if is_tail {
        let kept = lines.iter().rev().take_while(|line| fits(line)).count();
        log.left_out = lines.len() - kept;
        lines.drain(..log.left_out);
    } else {
        let kept = lines.iter().take_while(|line| fits(line)).count();
        if kept < lines.len() {
            lines.truncate(kept);
            log.complete = false;
            log.next_after = lines.last().map_or(page.next_after, |line| line.seq);
        }
    }
    log.lines = lines;
    let text = text(&call, &log);
    answer(&log, text)
}

fn text(call: &Call<'_>, log: &Log) -> String {
    let mut text = match log.lines.len() {
        0 => "No lines.".to_owned(),
        n => format!("{n} lines."),
    };
    if log.left_out > 0 {
        let _ =
            write!(text, " {} earlier lines did not fit; ask for them with after.", log.left_out);
    }
    if log.complete {
        text.push_str(" The log is complete.");
    } else {
        let _ = write!(text, " More may follow: call again with after={}.", log.next_after);
    }
    if !log.lines.is_empty() {
        let mut said = String::new();
        for line in &log.lines {
            let _ = writeln!(said, "{} [{}] {}", line.seq, line.step, line.text);
        }
        text.push('\n');
        text.push_str(&fenced(call.cx, "the log", &said));
    }
    text
}
