//! Exit codes of the client: the one table that scripts rely on.

use std::fmt::Write as _;
use std::process::ExitCode;

use slipway_domain::state::DeploymentState;

/// How a client command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Exit {
    /// Done; with `--wait`: the deployment succeeded, or there was nothing to change.
    Success = 0,
    /// Wrong usage, or something that has no code of its own.
    Other = 1,
    /// The server refused the input (400, 413, 415, 422), or the source cannot be packed.
    Invalid = 2,
    /// The deployment failed, or its tests did.
    Failed = 3,
    /// There is no such thing.
    NotFound = 4,
    /// The deployment waits for a person.
    Waiting = 5,
    /// The deployment was cancelled, rejected or superseded, or expired.
    Stopped = 6,
    /// The state of things does not allow it (409, 423), or the plan is another one (412).
    Conflict = 7,
    /// The server cannot be reached, is too busy, or has failed (429, 5xx).
    Unreachable = 8,
    /// A person must look at what a lost apply left behind.
    Attention = 9,
    /// Ctrl-C while waiting: the deployment goes on.
    Detached = 130,
}

/// Every exit code with its meaning, as `--help` prints it.
pub const TABLE: &[(Exit, &str)] = &[
    (Exit::Success, "done; with --wait: succeeded, or no changes"),
    (Exit::Other, "wrong usage, or any other error"),
    (Exit::Invalid, "invalid input: the request or the source was refused"),
    (Exit::Failed, "the deployment failed, or its tests did; the audit log does not hold"),
    (Exit::NotFound, "no such thing"),
    (Exit::Waiting, "the deployment waits for a person: approval, `slipway apply`, or a gate"),
    (Exit::Stopped, "the deployment was cancelled, rejected or superseded, or expired"),
    (Exit::Conflict, "not possible in its present state, or the plan is another one"),
    (Exit::Unreachable, "the server cannot be reached, is too busy or has failed"),
    (Exit::Attention, "the deployment needs attention: an apply was lost on the way"),
    (Exit::Detached, "detached by Ctrl-C; the deployment goes on"),
];

/// The table as a section of `--help`.
pub fn help() -> String {
    let mut text = "Exit codes:\n".to_owned();
    for (exit, meaning) in TABLE {
        let _ = writeln!(text, "  {:>3}  {meaning}", exit.code());
    }
    text
}

impl Exit {
    /// The number.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// For a deployment that ended, or that stands still in `state`.
    pub const fn of_state(state: DeploymentState) -> Self {
        use DeploymentState as S;
        match state {
            S::Succeeded | S::NoChanges => Self::Success,
            S::Failed | S::RolledBack => Self::Failed,
            S::Cancelled | S::Superseded | S::Expired => Self::Stopped,
            S::NeedsAttention => Self::Attention,
            S::Blocked | S::AwaitingApproval | S::Approved => Self::Waiting,
            S::Submitted
            | S::Planning
            | S::Planned
            | S::Applying
            | S::Verifying
            | S::Interrupted
            | S::Recovering => Self::Other,
        }
    }

    /// For an answer with this HTTP status.
    pub const fn of_status(status: u16) -> Self {
        match status {
            200..=299 => Self::Success,
            400 | 413 | 415 | 422 => Self::Invalid,
            404 | 410 => Self::NotFound,
            409 | 412 | 423 => Self::Conflict,
            429 | 500..=599 => Self::Unreachable,
            _ => Self::Other,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Prints what clap has to say and gives the exit code for it: 0 for help and version, else
/// [`Exit::Other`] (clap's own code for wrong usage is 2, which means something else here).
pub fn usage(error: &clap::Error) -> ExitCode {
    // Nothing can be said about a terminal that is gone.
    let _ = error.print();
    if error.use_stderr() { Exit::Other.into() } else { Exit::Success.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_every_code_once_and_in_order() {
        let codes: Vec<_> = TABLE.iter().map(|(exit, _)| exit.code()).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 130]);
        assert!(help().contains("\n    5  the deployment waits"), "{}", help());
    }

    #[test]
    fn every_state_that_ends_has_a_code_that_says_how() {
        for state in DeploymentState::ALL {
            let stands = state.is_terminal() || state.waits_for_person();
            let silent = Exit::of_state(*state) == Exit::Other;
            assert!(!(stands && silent), "{state}");
        }
        assert_eq!(Exit::of_state(DeploymentState::NoChanges), Exit::Success);
        assert_eq!(Exit::of_state(DeploymentState::Superseded), Exit::Stopped);
        assert_eq!(Exit::of_state(DeploymentState::NeedsAttention), Exit::Attention);
    }

    #[test]
    fn statuses_map_to_the_table() {
        for (status, exit) in [
            (400, Exit::Invalid),
            (422, Exit::Invalid),
            (403, Exit::Other),
            (404, Exit::NotFound),
            (409, Exit::Conflict),
            (412, Exit::Conflict),
            (423, Exit::Conflict),
            (429, Exit::Unreachable),
            (503, Exit::Unreachable),
        ] {
            assert_eq!(Exit::of_status(status), exit, "{status}");
        }
    }
}
