//! Room for the interpreter, which calls itself for every rule that a rule needs: a long chain of
//! rules would take the whole process down on a usual stack.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::channel;
use std::sync::{Mutex, OnceLock, PoisonError};
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

/// Makes something ready and works on it, on so many threads, of which one works out what is `aside`
/// while it is made ready. What cannot be made ready is not worked on.
pub(crate) fn beside<A: Default + Send + Sync, T: Send>(
    threads: usize,
    aside: impl FnOnce() -> A + Send,
    ready: impl FnOnce() -> Result<(), String>,
    work: impl Fn() -> T + Sync,
) -> (A, Result<Vec<T>, String>) {
    let (aside, made) = (Mutex::new(Some(aside)), OnceLock::new());
    let do_aside = || {
        let todo = aside.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(todo) = todo {
            let _ = made.set(todo());
        }
    };
    let done = scope(|scope| {
        let (mut others, mut tell) = (Vec::new(), Vec::new());
        for _ in 1..threads {
            let (ready, wait) = channel::<()>();
            let (do_aside, work) = (&do_aside, &work);
            let other = Builder::new().name("policy".to_owned()).spawn_scoped(scope, move || {
                do_aside();
                wait.recv().ok().map(|()| work())
            });
            // One that cannot be had is made up for by the others.
            let Ok(other) = other else { break };
            others.push(other);
            tell.push(ready);
        }
        let is_ready = ready();
        if is_ready.is_ok() {
            for other in &tell {
                // One that is not there any more broke down, which is seen below.
                let _ = other.send(());
            }
        }
        drop(tell);
        let mut done = Vec::new();
        if is_ready.is_ok() {
            done.push(work());
        }
        do_aside();
        for other in others {
            done.extend(other.join().map_err(|_| BROKE_DOWN.to_owned())?);
        }
        is_ready.map(|()| done)
    });
    (made.into_inner().unwrap_or_default(), done)
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
