//! The subset proof: whether a fresh plan does only what an approved plan would have done.
//!
//! This is a boundary of security. After a crash, what is left of an approved plan is planned
//! anew, and the new plan file is applied under the old approval only if [`prove`] says so. The
//! question behind every rule is whether anything could be applied that the approver did not see;
//! where the answer is not certainly no, the plan is refused, which costs a new approval and
//! nothing else. Parts, formats and actions that are not known here are refused.
//!
//! Why values that were unknown may be filled in: both plans are of the same source tree, lock
//! file, variables and tool, so an unknown value can only come from (a) objects that the approved
//! plan makes or changes, which rule 8 compares and which the journal says this run did, (b)
//! objects that it leaves alone and data that it has read, which must be as they were, and (c)
//! data sources that were to be read by the apply. The approved plan would have filled it from
//! the same.
//!
//! Pure: no clock, no files, no tool. What it returns can be shown: secrets are compared by a
//! keyed digest and never quoted.

mod around;
mod document;
mod equality;
mod header;
mod json;
mod outline;
mod rules;
mod verdict;
mod walk;

pub use document::{Document, Unreadable};
pub(crate) use outline::Predecessor;
pub use verdict::{Filled, Inside, Left, Refusal, Refused, Rule, Shown};
pub use walk::RunKey;

use slipway_domain::plan::Binding;
use slipway_domain::redact::Redactor;

use crate::journal::Journal;
use document::Veil;
use header::Side;
use rules::Proof;

/// A plan and what it is bound to.
///
/// Whoever makes one answers for it: the document is `show -json` of the very plan file that the
/// binding names, and the variables' digests of both sides are made under the same key.
#[derive(Debug, Clone, Copy)]
pub struct Planned<'a> {
    /// What it was made from.
    pub binding: &'a Binding,
    /// What it says.
    pub document: &'a Document,
}

/// What a plan that has just been made is bound to.
pub(crate) fn bound(
    planned: &slipway_domain::port::driver::Planned,
    variables_digest: &str,
    operation: &str,
) -> Binding {
    Binding {
        plan_file: slipway_domain::artifact::digest(&planned.plan_file),
        source: planned.source_digest.clone(),
        lock_file: planned.lock_file_digest.clone(),
        variables: variables_digest.to_owned(),
        tool: planned.tool.clone(),
        state: planned.state.clone(),
        operation: operation.to_owned(),
    }
}

/// How often an approved plan has been carried on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carry {
    /// Which continuation this would be, from 1.
    pub number: u32,
    /// How many there may be.
    pub max: u32,
    /// Whether what stopped the last apply may not stop the next (a dead worker, a passing fault).
    pub retryable: bool,
}

/// Whether `fresh` does only what is left of `approved` after what `journal` says was done.
///
/// The journal is that of the whole run, across all continuations, and `approved` is always the
/// plan that a person approved, never one that was itself carried on. When the answer is
/// [`Inside`], ask [`Inside::may_continue`] too.
///
/// An import in the new plan is accepted only where the journal says that this run made the very
/// thing at that address (its state was lost). The `import` blocks that bring it there are not
/// part of the tree that the new plan is bound to: they are [`crate::recovery`]'s own.
pub fn prove(
    approved: Planned<'_>,
    fresh: Planned<'_>,
    journal: &Journal,
    carry: Carry,
    key: &RunKey,
    known: &Redactor,
) -> Result<Inside, Refused> {
    let veil = Veil::over(known, [approved.document, fresh.document]);
    let mut proof = Proof::new(key, &veil, Some(journal));
    let (a, b) = (approved.document, fresh.document);
    proof.header(
        Side { binding: approved.binding, plan: a },
        Side { binding: fresh.binding, plan: b },
    );
    proof.rest(a, b);
    proof.newer(approved.binding, fresh.binding);
    proof.progress(a, b, carry);
    if proof.refusals.is_empty() { Ok(proof.inside) } else { Err(Refused::of(proof.refusals)) }
}

/// Whether `fresh` does exactly what `approved` does, to exactly the same objects, so that a
/// person who approved one has approved the other. Nothing may have been applied in between; the
/// state may have a newer serial, with the same in it.
///
/// The source trees must be the same too. Plans show neither the commands of provisioners nor
/// what locals and provider settings are made of, so of another tree an equal plan proves
/// nothing.
pub fn equal(
    approved: Planned<'_>,
    fresh: Planned<'_>,
    key: &RunKey,
    known: &Redactor,
) -> Result<(), Refused> {
    let veil = Veil::over(known, [approved.document, fresh.document]);
    let mut proof = Proof::new(key, &veil, None);
    let (a, b) = (approved.document, fresh.document);
    proof.header(
        Side { binding: approved.binding, plan: a },
        Side { binding: fresh.binding, plan: b },
    );
    proof.equality(a, b);
    if proof.refusals.is_empty() { Ok(()) } else { Err(Refused::of(proof.refusals)) }
}

#[cfg(test)]
mod tests;
