//! Room for the interpreter, which calls itself for every rule that a rule needs: a long chain of
//! rules would take the whole process down on a usual stack.

use std::thread;

/// Bytes of the stack; only what is used is taken. A pack of as many rules as there may be, each
/// as deep as the parser lets it be, stays well within it; a test sees to that.
const STACK: usize = 1 << 30;

/// Does some work on a stack that is large enough, and waits for it. An error says that it could
/// not be done, or broke down.
pub(crate) fn with_room<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, &'static str> {
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("policy".to_owned())
            .stack_size(STACK)
            .spawn_scoped(scope, work)
            .map_err(|_| "There is no memory to evaluate policies in.")?;
        thread.join().map_err(|_| "The interpreter of the policy broke down.")
    })
}
