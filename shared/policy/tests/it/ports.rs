//! The helpers for protocols and ports against the same thing written in Rust.

use proptest::prelude::*;
use slipway_policy::{Context, Document, Engine, Limits, Module, Pack};

fn helper() -> Engine {
    let text = r#"package user.ports

import data.slipway.lib
import rego.v1

deny contains {"rule": "one", "message": state} if {
	s := input.context.settings
	state := lib.covers(s.protocol, s.from, s.to, s.port)
}

warn contains {"rule": "all", "message": state} if {
	s := input.context.settings
	state := lib.covers_all(s.protocol, s.from, s.to)
}


"#;
    let pack = Pack::user(vec![Module { path: "p.rego".to_owned(), text: text.to_owned() }]);
    Engine::compile(&pack, Limits::default()).expect("the pack compiles")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn ranges_and_protocols_overlap_as_they_should(
        protocol in prop::sample::select(vec!["tcp", "TCP", "6", "-1", "all", "udp", "17", "icmp", "1"]),
        from in 0_i64..=65535, to in 0_i64..=65535, port in 1_i64..=65535,
        known in prop::option::of(prop::sample::select(vec![(0, 65535), (1, 65535), (0, 0), (-1, -1)])),
    ) {
        let (from, to) = known.unwrap_or((from, to));
        let context = Context {
            settings: serde_json::json!({"protocol": protocol, "from": from, "to": to, "port": port}),
            ..Context::default()
        };
        let found = helper()
            .evaluate(&Document { changes: &[], terraform: None, context: &context })
            .findings;
        let every = matches!(protocol, "-1" | "all");
        let tcp = matches!(protocol.to_lowercase().as_str(), "tcp" | "6");
        let either = tcp || matches!(protocol, "udp" | "17");
        let whole = (from <= 1 && to >= 65535) || matches!((from, to), (0 | -1, 0 | -1));
        let state = |bad: bool| if bad { "fail" } else { "pass" };
        let expected = [
            state(every || (tcp && (whole || (from <= port && port <= to)))),
            state(every || (either && whole)),
        ];
        let messages: Vec<&str> = found.iter().map(|f| f.message.as_str()).collect();
        prop_assert_eq!(messages, expected);
    }
}
