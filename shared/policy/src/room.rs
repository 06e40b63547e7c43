//! Room for the interpreter, which calls itself for every rule that a rule needs: a long chain of
//! rules would take the whole process down on a usual stack.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{Builder, Scope, ScopedJoinHandle, scope};

/// Bytes of the stack; only what is used is taken. A pack of as many rules as there may be, each
/// as deep as the parser lets it be, stays well within it; a test sees to that.
const STACK: usize = 1 << 30;

/// Does some work on a stack that is large enough, and waits for it. An error says that it could
/// not be done, or broke down.
pub(crate) fn with_room<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, &'static str> {
    scope(|scope| start(scope, work)?.join().map_err(|_| BROKE_DOWN))
}

/// Does the same work on so many threads at once, each with such a stack, and waits for all.
pub(crate) fn with_rooms(threads: usize, work: &(impl Fn() + Sync)) -> Result<(), &'static str> {
    scope(|scope| {
        let mut others = Vec::new();
        for _ in 0..threads {
            // One that cannot be had is made up for by the others.
            match start(scope, work) {
                Ok(other) => others.push(other),
                Err(why) if others.is_empty() => return Err(why),
                Err(_) => break,
            }
        }
        others.into_iter().try_for_each(|other| other.join().map_err(|_| BROKE_DOWN))
    })
}

/// Does some work here, and stops a panic: for what needs no more room than there is anywhere.
pub(crate) fn contained<T>(work: impl FnOnce() -> T) -> Result<T, &'static str> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| BROKE_DOWN)
}

/// Does some work here, and something else beside it on another thread, where that is worth one.
pub(crate) fn beside<A: Send, T>(
    apart: bool,
    aside: impl Fn() -> A + Sync,
    work: impl FnOnce() -> T,
) -> (A, T) {
    scope(|scope| {
        let other = apart
            .then(|| Builder::new().name("policy".to_owned()).spawn_scoped(scope, &aside).ok());
        let done = work();
        // One that cannot be had, or that broke down, is made up for here.
        let made = other.flatten().and_then(|other| other.join().ok());
        (made.unwrap_or_else(&aside), done)
    })
}

const BROKE_DOWN: &str = "The interpreter of the policy broke down.";

fn start<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>, &'static str> {
    Builder::new()
        .name("policy".to_owned())
        .stack_size(STACK)
        .spawn_scoped(scope, work)
        .map_err(|_| "There is no memory to evaluate policies in.")
}
