//! Decides what kind of failure a command's end is: passing, lasting, asked for, or a plan that no
//! longer fits. Pure; reads only what the tool said.

use slipway_domain::plan::Diagnostic;
use slipway_domain::port::driver::{DriverError, Stop};
use slipway_process::{Ended, Failed};

use crate::stream::Ears;

/// What a registry, a proxy, a cloud or a git server says when trying again may help. Lower case.
const PASSING: &[&str] = &[
    "no such host",
    "temporary failure in name resolution",
    "could not resolve host",
    "server misbehaving",
    "connection refused",
    "connection reset",
    "connection timed out",
    "connection closed",
    "network is unreachable",
    "no route to host",
    "couldn't connect to server",
    "i/o timeout",
    "tls handshake timeout",
    "client.timeout exceeded",
    "context deadline exceeded",
    "request canceled while waiting for connection",
    "operation timed out",
    "unexpected eof",
    "early eof",
    "rpc failed",
    "the remote end hung up unexpectedly",
    "internal server error",
    "bad gateway",
    "service unavailable",
    "gateway timeout",
    "gateway time-out",
    "too many requests",
    "status code 429",
    "status code: 429",
    "status code: 502",
    "status code: 503",
    "status code: 504",
    "returned error: 429",
    "returned error: 5",
    "rate limit",
    "throttl",
    "error acquiring the state lock",
];

/// Whether trying again may help.
pub(crate) fn is_passing(text: &str) -> bool {
    let text = text.to_lowercase();
    PASSING.iter().any(|sign| text.contains(sign))
}

/// Errors that say that what `init` installed does not fit the configuration.
const NOT_INSTALLED: &[&str] = &[
    "module not installed",
    "module source has changed",
    "module version requirements have changed",
    "inconsistent dependency lock file",
    "required plugins are not installed",
    "missing required provider",
    "provider dependency changes detected",
    "backend initialization required",
    "initialization required",
    "could not load plugin",
    "failed to load plugin schemas",
    "unreadable module directory",
];

/// Whether a failure is one that running `init` again may mend.
pub(crate) fn wants_init(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().any(|d| {
        let summary = d.summary.to_lowercase();
        NOT_INSTALLED.iter().any(|sign| summary.starts_with(sign))
    })
}

/// Whether a plan was refused because the state moved on.
pub(crate) fn is_stale(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().any(|d| {
        let summary = d.summary.to_lowercase();
        summary.starts_with("saved plan is stale")
            || summary.starts_with("saved plan does not match the given state")
    })
}

/// A command that reads only (`init`, `plan`, `show`) went wrong: it may be tried again.
pub(crate) fn of_reading(what: &str, ended: &Ended, ears: &Ears<'_>) -> DriverError {
    if ended.asked.is_some() {
        return DriverError::Stopped;
    }
    let mut errors = ears.errors();
    if errors.is_empty() {
        errors = from_text(&ears.tail);
    }
    if let Some(signal) = ended.signal {
        // Most likely the machine ran out of memory; another attempt may have more luck.
        return DriverError::transient(format!("the {what} was killed by signal {signal}"));
    }
    if let Some(error) = errors.iter().find(|d| is_passing(&d.summary) || is_passing(&d.detail)) {
        return DriverError::transient(sentence(what, Some(error), ended.code));
    }
    let summary = sentence(what, errors.first(), ended.code);
    DriverError::Permanent { summary, diagnostics: errors }
}

/// One sentence about a failure.
pub(crate) fn sentence(what: &str, first: Option<&Diagnostic>, code: Option<i32>) -> String {
    match first {
        Some(first) if first.detail.is_empty() => format!("the {what} failed: {}", first.summary),
        Some(first) => {
            let detail = first.detail.trim().split("\n\n").next().unwrap_or_default();
            let detail = detail.split_whitespace().collect::<Vec<_>>().join(" ");
            let mut detail: String = detail.chars().take(400).collect();
            if !detail.ends_with(['.', ':', '!', '?']) && detail.chars().count() == 400 {
                detail.push('…');
            }
            format!("the {what} failed: {}: {detail}", first.summary)
        }
        None => match code {
            Some(code) => format!("the {what} failed with exit code {code}"),
            None => format!("the {what} failed"),
        },
    }
}

/// Diagnostics out of plain text: what a tool prints when it cannot even print JSON.
pub(crate) fn from_text(lines: &[String]) -> Vec<Diagnostic> {
    // Terraform draws a frame around its errors.
    let clean = |line: &str| line.trim_start_matches(['│', '╷', '╵', ' ']).trim_end().to_owned();
    let lines: Vec<String> = lines.iter().map(|l| clean(l)).collect();
    let mut found: Vec<Diagnostic> = Vec::new();
    for line in &lines {
        if let Some(summary) = line.strip_prefix("Error: ") {
            found.push(Diagnostic::error(summary, ""));
        } else if let Some(last) = found.last_mut()
            && !line.is_empty()
        {
            if !last.detail.is_empty() {
                last.detail.push('\n');
            }
            last.detail.push_str(line);
        }
    }
    let text: Vec<_> = lines.into_iter().filter(|line| !line.is_empty()).collect();
    if found.is_empty()
        && let Some((first, rest)) = text.split_first()
    {
        found.push(Diagnostic::error(first, rest.join("\n")));
    }
    found
}

/// The process could not be run or followed.
pub(crate) fn of_process(what: &str, failed: &Failed) -> DriverError {
    match failed {
        Failed::TooMuch(_) => DriverError::permanent(format!("the {what} is too big: {failed}")),
        Failed::Start { .. } | Failed::Wait(_) => {
            DriverError::transient(format!("the {what} did not run: {failed}"))
        }
    }
}

/// Whether the job was told to end before this command could begin.
pub(crate) fn asked_before(run: &dyn slipway_domain::port::driver::Run) -> Result<(), DriverError> {
    match run.stop() {
        Some(Stop::Gently | Stop::Now) => Err(DriverError::Stopped),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_told_from_what_will_not() {
        for passing in [
            "Get \"https://registry.example/.well-known/terraform.json\": dial tcp: lookup x: no such host",
            "read: connection reset by peer",
            "error: RPC failed; curl 56",
            "fatal: unable to access 'https://h/': Failed to connect to h port 443 after 0 ms: Couldn't connect to server",
            "fatal: unable to access 'https://h/': The requested URL returned error: 503",
            "Error acquiring the state lock",
            "unexpected status 502 Bad Gateway",
        ] {
            assert!(is_passing(passing), "{passing}");
        }
        for lasting in [
            "provider registry.terraform.io/hashicorp/awz was not found in any of the search locations",
            "Unsupported argument",
            "fatal: Authentication failed for 'https://h/'",
            "AccessDenied: not authorized to perform ec2:CreateVpc",
            "returned error: 404",
        ] {
            assert!(!is_passing(lasting), "{lasting}");
        }
    }

    #[test]
    fn a_framed_error_becomes_a_diagnostic() {
        let lines =
            ["╷", "│ Error: Unsupported version", "│ ", "│   on main.tf line 2:", "│ no", "╵"];
        let lines: Vec<String> = lines.iter().map(|&l| l.to_owned()).collect();
        let found = from_text(&lines);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].summary, "Unsupported version");
        assert_eq!(found[0].detail, "on main.tf line 2:\nno");
        let plain = from_text(&["panic: x".to_owned(), "goroutine 1".to_owned()]);
        assert_eq!(plain[0].summary, "panic: x");
        assert_eq!(from_text(&[]), []);
    }

    #[test]
    fn stale_and_uninstalled_are_known_by_their_summaries() {
        let with = |summary: &str| vec![Diagnostic::error(summary, "")];
        assert!(is_stale(&with("Saved plan is stale")));
        assert!(!is_stale(&with("Stale bread")));
        assert!(wants_init(&with("Inconsistent dependency lock file")));
        assert!(wants_init(&with("Module not installed")));
        assert!(!wants_init(&with("Unsupported argument")));
    }
}
