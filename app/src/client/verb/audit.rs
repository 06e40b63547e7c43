//! `slipway audit`: the audit log, from a server or from an export.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;

use slipway_domain::audit::{
    Anchor, AuditEntry, Checkpoint, ExportLine, Finding, FindingKind, Mark, SignedCheckpoint,
    Verdict, Verifier, Walked,
};
use slipway_domain::page::Page;
use slipway_store::crypto::is_signed;

use super::Desk;
use crate::cli::{AuditArgs, AuditExportArgs, AuditListArgs, AuditVerb, AuditVerifyArgs};
use crate::client::error::ClientError;
use crate::client::exit::Exit;
use crate::client::view;

/// Longest line of an export.
const MAX_LINE: u64 = 4 << 20;

/// `slipway audit`.
pub(super) async fn audit(desk: &Desk<'_>, args: AuditArgs) -> Result<Exit, ClientError> {
    match args.verb {
        AuditVerb::List(args) => list(desk, args).await,
        AuditVerb::Export(args) => export(desk, args).await,
        AuditVerb::Verify(args) => verify(desk, args).await,
        AuditVerb::Checkpoint => {
            let signed = desk.client.audit_checkpoint().await?;
            let line = serde_json::to_string(&signed).map_err(|e| input(&e))?;
            // One line in either form, so that it can be appended to a file.
            desk.screen.document(&format!("{line}\n"))?;
            Ok(Exit::Success)
        }
    }
}

fn input(error: &dyn std::fmt::Display) -> ClientError {
    ClientError::Input(error.to_string())
}

async fn list(desk: &Desk<'_>, args: AuditListArgs) -> Result<Exit, ClientError> {
    let page: Page<AuditEntry> = desk.client.audit(&args).await?;
    desk.screen.result(&page, |_| view::audit(&page.items))?;
    Ok(Exit::Success)
}

async fn export(desk: &Desk<'_>, args: AuditExportArgs) -> Result<Exit, ClientError> {
    let mut answer = desk.client.export_audit(args.from, args.to).await?;
    let mut out: Box<dyn std::io::Write + Send> = match &args.output {
        None => Box::new(std::io::stdout()),
        Some(path) => {
            let made = std::fs::File::create_new(path);
            Box::new(made.map_err(|e| ClientError::Input(format!("{}: {e}", path.display())))?)
        }
    };
    let mut end = Vec::new();
    while let Some(part) = answer.chunk().await? {
        out.write_all(&part).map_err(|e| input(&e))?;
        // The last line tells whether it is the whole.
        end.extend_from_slice(&part);
        let keep =
            end.iter().rev().skip(1).position(|b| *b == b'\n').map_or(0, |at| end.len() - at - 1);
        end.drain(..keep);
    }
    out.flush().map_err(|e| input(&e))?;
    match serde_json::from_slice::<ExportLine>(&end) {
        Ok(ExportLine::Checkpoint(_)) => Ok(Exit::Success),
        _ => Err(ClientError::Input(
            "the export broke off; what was written is not the whole".to_owned(),
        )),
    }
}

async fn verify(desk: &Desk<'_>, args: AuditVerifyArgs) -> Result<Exit, ClientError> {
    let kept = match &args.checkpoints {
        None => Vec::new(),
        Some(path) => read_checkpoints(path)?,
    };
    let verdict = match &args.file {
        Some(file) => verify_file(file, &kept, args.key.as_deref())?,
        None => verify_server(desk, &kept).await?,
    };
    show(desk, &verdict)
}

/// Shows a verdict; the exit code says whether anything was found.
fn show(desk: &Desk<'_>, verdict: &Verdict) -> Result<Exit, ClientError> {
    desk.screen.result(verdict, |_| view::verdict(verdict))?;
    Ok(if verdict.intact { Exit::Success } else { Exit::Failed })
}

/// Checkpoints, one a line; lines of a log that hold one count, too.
pub fn read_checkpoints(path: &Path) -> Result<Vec<SignedCheckpoint>, ClientError> {
    let wrong = |why: String| ClientError::Input(format!("{}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .enumerate()
        .map(|(at, line)| {
            let read = serde_json::from_str(line);
            read.map_err(|_| wrong(format!("line {} is no checkpoint", at + 1)))
        })
        .collect()
}

async fn verify_server(desk: &Desk<'_>, kept: &[SignedCheckpoint]) -> Result<Verdict, ClientError> {
    let mut from = None;
    let mut whole: Option<Verdict> = None;
    loop {
        let part = desk.client.verify_audit(from).await?;
        let chain = part.checkpoint.checkpoint;
        let verdict = match whole.take() {
            None => part.verdict,
            Some(mut so_far) => {
                so_far.records += part.verdict.records;
                so_far.to = part.verdict.to;
                so_far.more_findings += part.verdict.more_findings;
                so_far.findings.extend(part.verdict.findings);
                so_far
            }
        };
        if let Some(next) = part.next_seq {
            from = Some(next);
            whole = Some(verdict);
        } else {
            let mut verdict = verdict;
            for signed in kept {
                let at = signed.checkpoint.head;
                if signed.key != part.checkpoint.key || !is_signed(signed) {
                    verdict.findings.push(bad_signature(at.seq));
                } else if at.seq > chain.head.seq {
                    verdict.findings.push(cut_off(chain.head.seq, &signed.checkpoint));
                } else if at.seq > chain.pruned.seq
                    && let Some(here) = desk.client.audit_anchor(at.seq).await?
                    && here != at
                {
                    verdict.findings.push(other_chain(&signed.checkpoint));
                }
            }
            verdict.intact = verdict.findings.is_empty();
            return Ok(verdict);
        }
    }
}

fn bad_signature(seq: i64) -> Finding {
    let detail = "The signature of the checkpoint is not that of this installation.";
    Finding::at(FindingKind::BadSignature, seq, detail)
}

fn other_chain(checkpoint: &Checkpoint) -> Finding {
    let Checkpoint { head, at, .. } = checkpoint;
    let detail = format!("Record {} is not the one that the checkpoint of {at} knows.", head.seq);
    Finding::at(FindingKind::OtherChain, head.seq, detail)
}

fn cut_off(last: i64, checkpoint: &Checkpoint) -> Finding {
    let Checkpoint { head, at, .. } = checkpoint;
    let detail = format!(
        "The chain ends with record {last}; the checkpoint of {at} knows record {}. What follows was \
         cut off.",
        head.seq
    );
    Finding { to_seq: Some(head.seq), ..Finding::at(FindingKind::Truncated, last + 1, detail) }
}

/// Verifies an export. Without `key` the checkpoint's own is taken: then it is for the reader to
/// compare it with the one they know.
fn verify_file(
    file: &Path,
    kept: &[SignedCheckpoint],
    key: Option<&str>,
) -> Result<Verdict, ClientError> {
    let wrong = |why: String| ClientError::Input(format!("{}: {why}", file.display()));
    let opened = std::fs::File::open(file).map_err(|e| wrong(e.to_string()))?;
    let mut lines = BufReader::new(opened);
    let (mut verifier, mut end, mut number) = (None::<Verifier>, None, 0u64);
    let mut seen = Vec::new();
    loop {
        let mut text = Vec::new();
        let read = lines.by_ref().take(MAX_LINE).read_until(b'\n', &mut text);
        if read.map_err(|e| wrong(e.to_string()))? == 0 {
            break;
        }
        number += 1;
        let line = match serde_json::from_slice::<ExportLine>(&text) {
            Ok(line) => line,
            Err(why) => match &mut verifier {
                Some(verifier) => {
                    let next = verifier.at().seq + 1;
                    let detail = format!("Line {number} cannot be read: {why}.");
                    verifier.note(Finding::at(FindingKind::Unreadable, next, detail));
                    continue;
                }
                None => return Err(wrong("it is no export of an audit log".to_owned())),
            },
        };
        match (line, &mut verifier) {
            (ExportLine::Anchor(anchor), None) => verifier = Some(Verifier::new(anchor, 0)),
            (ExportLine::Record(row), Some(verifier)) => {
                let id = Some(row.record.id);
                let walked =
                    Walked { seal: row.seal, id, record: Some(row.record), mark: Mark::Unknown };
                verifier.walk(&walked);
                if kept.iter().any(|signed| signed.checkpoint.head.seq == walked.seal.seq) {
                    seen.push(walked.seal.anchor());
                }
            }
            (ExportLine::Checkpoint(signed), Some(_)) => end = Some(signed),
            (_, None) => return Err(wrong("it does not begin with an anchor".to_owned())),
            (ExportLine::Anchor(_), Some(verifier)) => {
                let next = verifier.at().seq + 1;
                let detail = format!("Line {number} begins a second export.");
                verifier.note(Finding::at(FindingKind::Reordered, next, detail));
            }
        }
    }
    let Some(mut verifier) = verifier else { return Err(wrong("it is empty".to_owned())) };
    let Some(end) = end else {
        let next = verifier.at().seq + 1;
        let detail = "The export has no checkpoint at its end: it was cut off.";
        verifier.note(Finding::at(FindingKind::Truncated, next, detail));
        return Ok(verifier.verdict());
    };
    let key = key.unwrap_or(&end.key);
    for signed in std::iter::once(&end).chain(kept) {
        if signed.key != key || !is_signed(signed) {
            verifier.note(bad_signature(signed.checkpoint.head.seq));
        }
    }
    verifier.reached(&end.checkpoint);
    for signed in kept {
        let at: Anchor = signed.checkpoint.head;
        if at.seq > end.checkpoint.head.seq {
            verifier.note(cut_off(end.checkpoint.head.seq, &signed.checkpoint));
        } else if seen.iter().any(|here| here.seq == at.seq && *here != at) {
            verifier.note(other_chain(&signed.checkpoint));
        }
    }
    Ok(verifier.verdict())
}
