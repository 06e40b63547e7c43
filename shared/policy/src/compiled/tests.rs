//! The shipped pack can be prepared.

use super::Program;
use crate::engine::load;
use crate::{Limits, Pack};

#[test]
fn the_shipped_pack_is_prepared_and_not_interpreted() {
    let mut engine = load(&Pack::shipped(), &Limits::default()).expect("it loads");
    let program = Program::compile(engine.get_modules()).expect("all of it is known");
    assert!(program.results.len() > 100, "{program:?}");
}
