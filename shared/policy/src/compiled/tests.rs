//! The shipped pack can be prepared, and stops where it has to.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{Program, Stop};
use crate::engine::load;
use crate::reading::Reader;
use crate::values::Arena;
use crate::{Limits, Pack};

fn shipped() -> Program {
    let mut engine = load(&Pack::shipped(), &Limits::default()).expect("it loads");
    let arena = Box::leak(Box::default());
    Program::compile(engine.get_modules(), arena).expect("all of it is known")
}

#[test]
fn the_shipped_pack_is_prepared_and_not_interpreted() {
    let program = shipped();
    assert!(program.results.len() > 100, "{program:?}");
}

#[test]
fn it_stops_when_time_or_memory_are_over() {
    let program = shipped();
    let group = |n: usize| {
        json!({"address": format!("aws_security_group.g{n}"), "type": "aws_security_group", "links": {},
            "values": {"ingress": [{"from_port": n, "to_port": n, "protocol": "tcp", "cidr_blocks": ["0.0.0.0/0"]}]}})
    };
    let groups: Vec<_> = (0..400).map(group).collect();
    let input = json!({"resources": groups, "by_type": {"aws_security_group": groups}});
    let judged = |time: Duration, memory: usize| {
        let arena = Arena::default();
        let input = Reader::new(&arena).read(input.clone()).expect("a value");
        program.judge(input, Instant::now() + time, memory, &arena).map(|told| told.len())
    };
    let (minute, gigabyte) = (Duration::from_mins(1), 1 << 30);
    assert!(judged(minute, gigabyte).expect("it judges") > 0);
    assert_eq!(judged(Duration::ZERO, gigabyte), Err(Stop::Late));
    assert_eq!(judged(minute, 4 << 10), Err(Stop::Failed("it takes too much memory".to_owned())));
}
