//! The recovery of a lost apply, for a person.

use std::fmt::Write as _;

use slipway_domain::id::DeploymentId;
use slipway_services::recovery::{Recoveries, RecoveryChoice};

use super::{Ink, Paint, plain};

/// Resources of one kind that are shown; the rest is counted (`--json` has them all).
const SHOWN: usize = 50;

/// What became of a lost apply, the newest account, and what can be done.
pub fn recovery(of: DeploymentId, all: &Recoveries, paint: Paint) -> String {
    let Some(last) = all.recoveries.first() else {
        return format!("No apply of {of} was lost.\n");
    };
    let mut out = String::new();
    let title = format!("Recovery {}", last.number);
    let verdict = match last.verdict {
        Some(verdict) => verdict.as_str().replace('_', " "),
        None => "being found out".to_owned(),
    };
    let _ = writeln!(out, "{}: {verdict}", paint.ink(Ink::Bold, &title));
    if !last.summary.is_empty() {
        let _ = writeln!(out, "  {}", plain(&last.summary));
    }
    if let Some(report) = &last.report {
        if !report.collected {
            let text = "what the lost worker left on its machine was not found: anything may have \
                        been begun in its last moment";
            let _ = writeln!(out, "  {}", paint.ink(Ink::Care, text));
        }
        let lost = report.lost.iter().map(|lost| {
            let id = lost.resource_id.as_deref().map(|id| format!(" ({id})")).unwrap_or_default();
            let why = lost.obstacle.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
            format!("{}{id}{why}", lost.address)
        });
        let doubts = report.in_doubt.iter().map(|doubt| {
            let sign = doubt.action.sign();
            format!("{sign} {}: {}", doubt.address, doubt.detail)
        });
        let imports = report.imports.iter().map(|(address, id)| format!("{address} = {id}"));
        list(&mut out, paint, "in doubt", doubts.collect());
        list(&mut out, paint, "made and not in the state", lost.collect());
        list(&mut out, paint, "taken into the state by the new plan", imports.collect());
        list(&mut out, paint, "not proved to be approved", report.refusals.clone());
        list(&mut out, paint, "half made, made anew", report.tainted.clone());
        list(&mut out, paint, "failed", report.failed.clone());
        let (done, untouched) = (report.done.len(), report.untouched.len());
        let _ = writeln!(out, "  done: {done}; not begun: {untouched}");
    }
    if all.choices.contains(&RecoveryChoice::Resolve) {
        let _ = write!(
            out,
            "\nSay what became of each with --absent ADDRESS or --exists ADDRESS=ID, have it looked \
             at again with --again, or give up:\n  slipway recovery {of} --absent ADDRESS\n  slipway \
             cancel {of}\n"
        );
    }
    out
}

fn list(out: &mut String, paint: Paint, title: &str, items: Vec<String>) {
    if items.is_empty() {
        return;
    }
    let _ = writeln!(out, "  {} ({}):", paint.ink(Ink::Bold, title), items.len());
    for item in items.iter().take(SHOWN) {
        let _ = writeln!(out, "    {}", plain(item));
    }
    if items.len() > SHOWN {
        let _ = writeln!(out, "    and {} more", items.len() - SHOWN);
    }
}
