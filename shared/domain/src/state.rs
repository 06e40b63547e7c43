//! The life of a deployment, as one table.
//!
//! [`DeploymentState::next`] is the only way from one state to another. The store moves a
//! deployment only through it (compare and set, in one transaction with its event, its audit
//! record and the job that follows), and `docs/STATES.md` is drawn from it.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::fault::{Code, Fault};

macro_rules! named {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$meta])*
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// Every one, in the order of the table.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            /// The text form in the API and in the database.
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }

            /// Reads the text form.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some($name::$variant),)* _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

named! {
    /// Where a deployment is.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    DeploymentState {
        /// Accepted and kept; its plan job waits for a worker.
        Submitted = "submitted",
        /// A worker is making the plan.
        Planning = "planning",
        /// The plan is there; the gates look at it.
        Planned = "planned",
        /// A gate said no.
        Blocked = "blocked",
        /// The plan waits for a person.
        AwaitingApproval = "awaiting_approval",
        /// Approved; the apply job waits for a worker or, without `auto_apply`, for the word.
        Approved = "approved",
        /// A worker is changing the world.
        Applying = "applying",
        /// The change is made; its health is being looked at.
        Verifying = "verifying",
        /// Done.
        Succeeded = "succeeded",
        /// There was nothing to do.
        NoChanges = "no_changes",
        /// It went wrong; the diagnostic is kept.
        Failed = "failed",
        /// Somebody stopped it, or rejected its plan.
        Cancelled = "cancelled",
        /// A newer deployment of the same stack took its place.
        Superseded = "superseded",
        /// It waited too long.
        Expired = "expired",
        /// The worker that was applying it is gone.
        Interrupted = "interrupted",
        /// What the lost worker did is being found out.
        Recovering = "recovering",
        /// A person must look: resources may exist that no state knows.
        NeedsAttention = "needs_attention",
        /// It failed, and the last good release was put back.
        RolledBack = "rolled_back",
    }
}

named! {
    /// What can happen to a deployment.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    Move {
        /// A worker took the plan job.
        StartPlanning = "start_planning",
        /// The plan job goes back to the queue (drain, lost worker, passing fault).
        HandBack = "hand_back",
        /// The plan is there.
        FinishPlan = "finish_plan",
        /// The plan is empty.
        FindNoChanges = "find_no_changes",
        /// A gate denied.
        Block = "block",
        /// The gates are asked again.
        Reconsider = "reconsider",
        /// The gates want a person.
        AskApproval = "ask_approval",
        /// A person, or a rule, said yes to this plan.
        Approve = "approve",
        /// An approval was taken back, or is too old: the plan wants others.
        Revoke = "revoke",
        /// The plan no longer fits the state: make another.
        Replan = "replan",
        /// A worker took the apply job.
        StartApply = "start_apply",
        /// The driver says that everything is made.
        FinishApply = "finish_apply",
        /// The gates have judged a plan that is not to be applied.
        Conclude = "conclude",
        /// It is healthy.
        Succeed = "succeed",
        /// It went wrong.
        Fail = "fail",
        /// Somebody stopped or rejected it.
        Cancel = "cancel",
        /// A newer deployment takes its place.
        Supersede = "supersede",
        /// It waited too long.
        Expire = "expire",
        /// The worker that applied it is gone.
        Interrupt = "interrupt",
        /// Find out what the lost worker did.
        StartRecovery = "start_recovery",
        /// Proven: what is left is inside what was approved.
        Resume = "resume",
        /// What is left is another plan than the one approved: the gates look at it.
        Propose = "propose",
        /// It cannot be proven.
        AskAttention = "ask_attention",
        /// The last good release was put back.
        RollBack = "roll_back",
        /// An operator requeued its dead job.
        Requeue = "requeue",
    }
}

/// A move that the table does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a deployment that is {from} cannot {wanted}")]
pub struct Illegal {
    /// Where it is.
    pub from: DeploymentState,
    /// What was wanted.
    pub wanted: Move,
}

impl From<Illegal> for Fault {
    fn from(illegal: Illegal) -> Self {
        let hint =
            if illegal.from.is_terminal() { " It has ended; submit a new deployment." } else { "" };
        Fault::new(
            Code::IllegalTransition,
            format!(
                "The deployment is {}, so it cannot {}.{hint}",
                illegal.from,
                illegal.wanted.as_str().replace('_', " "),
            ),
        )
    }
}

impl DeploymentState {
    /// The table. Everything that is not in it is refused.
    #[expect(clippy::match_same_arms, reason = "one arm a move reads as a table")]
    pub fn next(self, by: Move) -> Result<Self, Illegal> {
        use DeploymentState as S;
        use Move as M;
        let to = match (self, by) {
            (S::Submitted, M::StartPlanning) => S::Planning,
            (S::Planning, M::HandBack) => S::Submitted,
            (S::Planning, M::FinishPlan) => S::Planned,
            (S::Planning, M::FindNoChanges) => S::NoChanges,
            (S::Planned, M::Block) => S::Blocked,
            (S::Planned, M::AskApproval) => S::AwaitingApproval,
            (S::Blocked, M::Reconsider) => S::Planned,
            (S::Planned | S::AwaitingApproval, M::Approve) => S::Approved,
            // The apply had not begun.
            (S::Approved, M::Revoke) => S::AwaitingApproval,
            (S::Planned | S::Blocked | S::AwaitingApproval | S::Approved, M::Replan) => {
                S::Submitted
            }
            (S::Approved, M::StartApply) => S::Applying,
            // An apply job that was handed back before it touched anything.
            (S::Applying, M::HandBack) => S::Approved,
            (S::Applying | S::Recovering, M::FinishApply) => S::Verifying,
            (S::Verifying, M::Succeed) => S::Succeeded,
            // Of `plan_only`: what was asked for is done.
            (S::Planned, M::Conclude) => S::Succeeded,
            (
                S::Submitted
                | S::Planning
                | S::Approved
                | S::Applying
                | S::Verifying
                | S::Recovering
                | S::NeedsAttention,
                M::Fail,
            ) => S::Failed,
            (
                S::Submitted
                | S::Planning
                | S::Planned
                | S::Blocked
                | S::AwaitingApproval
                | S::Approved
                | S::Applying
                | S::Recovering
                | S::NeedsAttention,
                M::Cancel,
            ) => S::Cancelled,
            (
                S::Submitted
                | S::Planning
                | S::Planned
                | S::Blocked
                | S::AwaitingApproval
                | S::Approved,
                M::Supersede,
            ) => S::Superseded,
            (S::Planned | S::Blocked | S::AwaitingApproval | S::Approved, M::Expire) => S::Expired,
            (S::Applying | S::Verifying | S::Recovering, M::Interrupt) => S::Interrupted,
            (S::Interrupted | S::NeedsAttention, M::StartRecovery) => S::Recovering,
            (S::Recovering, M::Resume) => S::Approved,
            (S::Recovering, M::Propose) => S::Planned,
            (S::Interrupted | S::Recovering, M::AskAttention) => S::NeedsAttention,
            (S::Failed, M::RollBack) => S::RolledBack,
            // From the start: what was planned before may not hold any more.
            (S::Failed, M::Requeue) => S::Submitted,
            _ => return Err(Illegal { from: self, wanted: by }),
        };
        Ok(to)
    }

    /// Whether nothing follows by itself. `failed` is terminal although a rollback, or an
    /// operator who requeues its dead job, may follow it.
    pub const fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Succeeded
                | Self::NoChanges
                | Self::Failed
                | Self::Cancelled
                | Self::Superseded
                | Self::Expired
                | Self::RolledBack
        )
    }

    /// Whether the deployment stands still until a person does something.
    pub const fn waits_for_person(self) -> bool {
        matches!(self, Self::Blocked | Self::AwaitingApproval | Self::NeedsAttention)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn exits(from: DeploymentState) -> Vec<(Move, DeploymentState)> {
        Move::ALL.iter().filter_map(|by| from.next(*by).ok().map(|to| (*by, to))).collect()
    }

    #[test]
    fn every_state_that_is_not_terminal_has_a_way_out_to_a_terminal_one() {
        for start in DeploymentState::ALL {
            if start.is_terminal() {
                continue;
            }
            let (mut seen, mut todo) = (vec![*start], vec![*start]);
            while let Some(at) = todo.pop() {
                for (_, to) in exits(at) {
                    if !seen.contains(&to) {
                        seen.push(to);
                        todo.push(to);
                    }
                }
            }
            assert!(seen.iter().any(|s| s.is_terminal()), "{start} is a dead end");
            assert!(exits(*start).len() >= 2, "{start} has only one way out");
        }
    }

    #[test]
    fn terminal_states_have_no_exit_but_those_of_a_failure() {
        for state in DeploymentState::ALL.iter().filter(|s| s.is_terminal()) {
            let exits = exits(*state);
            match state {
                DeploymentState::Failed => {
                    let known = [
                        (Move::RollBack, DeploymentState::RolledBack),
                        (Move::Requeue, DeploymentState::Submitted),
                    ];
                    assert_eq!(exits, known);
                }
                _ => assert!(exits.is_empty(), "{state}: {exits:?}"),
            }
        }
    }

    #[test]
    fn every_state_can_be_reached_and_every_move_is_used() {
        let reached: std::collections::BTreeSet<_> =
            DeploymentState::ALL.iter().flat_map(|s| exits(*s)).map(|(_, to)| to).collect();
        for state in DeploymentState::ALL {
            assert!(
                reached.contains(state) || *state == DeploymentState::Submitted,
                "{state} cannot be reached"
            );
        }
        for by in Move::ALL {
            assert!(DeploymentState::ALL.iter().any(|s| s.next(*by).is_ok()), "{by} is unused");
        }
    }

    #[test]
    fn text_forms_go_there_and_back() {
        for state in DeploymentState::ALL {
            assert_eq!(DeploymentState::parse(state.as_str()), Some(*state));
            let json = serde_json::to_value(state).unwrap();
            assert_eq!(json, state.as_str(), "serde and as_str must agree");
        }
    }

    proptest! {
        /// Nothing is ever applied that was not approved after its last plan.
        #[test]
        fn no_walk_reaches_applying_without_an_approval_since_the_last_plan(
            moves in prop::collection::vec(prop::sample::select(Move::ALL), 0..60)
        ) {
            let mut at = DeploymentState::Submitted;
            let mut approved = false;
            for by in moves {
                let Ok(to) = at.next(by) else { continue };
                match by {
                    Move::StartPlanning | Move::Replan | Move::Propose | Move::Revoke => {
                        approved = false;
                    }
                    Move::Approve => approved = true,
                    Move::StartApply | Move::Resume => prop_assert!(approved, "{at} --{by}--> {to}"),
                    _ => {}
                }
                at = to;
            }
        }
    }
}
