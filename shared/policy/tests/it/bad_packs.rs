//! Packs that are wrong or mean harm: refused with a place, or stopped, and never a pass.

use std::time::Duration;

use slipway_policy::{
    Context, Document, Engine, Evaluation, Finding, Limits, Module, Pack, Problem, State,
    TestOutcome, Verdict, lint, run_tests,
};

fn pack(text: &str) -> Pack {
    Pack::user(vec![Module { path: "mine.rego".to_owned(), text: text.to_owned() }])
}

/// A pack of one package with a body.
fn body(text: &str) -> Pack {
    pack(&format!("package user.mine\n\nimport rego.v1\n\n{text}\n"))
}

fn problems(pack: &Pack) -> Vec<Problem> {
    lint(pack, &Limits::default())
}

#[track_caller]
fn refused(pack: &Pack, line: u32, word: &str) {
    let found = problems(pack);
    assert!(
        found.iter().any(|p| p.message.contains(word) && p.line == line && p.file == "mine.rego"),
        "no problem in line {line} about {word}: {found:?}"
    );
    assert!(Engine::compile(pack, Limits::default()).is_err(), "what is refused compiles");
}

fn judge(pack: &Pack, limits: Limits) -> Evaluation {
    let engine = Engine::compile(pack, limits).unwrap_or_else(|e| panic!("{e}"));
    let context = Context::default();
    engine.evaluate(&Document {
        changes: &[],
        terraform: Some(br#"{"format_version": "1.2"}"#),
        context: &context,
    })
}

#[track_caller]
fn denied_by_error(evaluation: &Evaluation, word: &str) {
    assert_eq!(evaluation.verdict, Verdict::Deny);
    let [only] = evaluation.findings.as_slice() else { panic!("{evaluation:?}") };
    assert_eq!(only.rule, Finding::POLICY_ERROR);
    assert!(only.message.contains(word), "{}", only.message);
}

#[test]
fn what_does_not_parse_is_refused_with_its_place() {
    let found = problems(&pack("package user.mine\n\ndeny contains \"x\" if {\n\tinput.a ==\n}\n"));
    let [only] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((only.file.as_str(), only.line), ("mine.rego", 5), "{only}");
    assert!(only.column > 0 && !only.message.contains("-->"), "{only}");
}

#[test]
fn functions_that_a_gate_must_not_call_are_refused() {
    for (call, word) in [
        ("http.send({\"method\": \"get\", \"url\": \"http://169.254.169.254\"})", "network"),
        ("opa.runtime()", "where it is made"),
        ("net.lookup_ip_addr(\"example.org\")", "network"),
        ("time.now_ns()", "any time"),
        ("rand.intn(\"x\", 3)", "every time"),
        ("numbers.range(1, 1000000000)", "memory"),
        ("no.such(1)", "no function"),
    ] {
        refused(&body(&format!("deny contains x if {{\n\tx := {call}\n}}")), 6, word);
    }
}

#[test]
fn references_inside_not_are_refused_and_bound_ones_are_not() {
    refused(
        &body("deny contains \"x\" if {\n\tnot startswith(input.a[0].b, \"x\")\n}"),
        6,
        "inside `not`",
    );
    refused(&body("deny contains \"x\" if {\n\tnot input.a == 1\n}"), 6, "inside `not`");
    refused(&body("deny contains \"x\" if {\n\tnot \"x\" in input.list\n}"), 6, "inside `not`");
    let good = body(
        "deny contains \"x\" if {\n\ta := input.a\n\tnot startswith(a, \"x\")\n\tnot input.b\n\tnot known\n}\n\nknown if input.c",
    );
    assert_eq!(problems(&good), []);
}

#[test]
fn members_that_may_be_undefined_are_bound_first() {
    refused(&body("deny contains sprintf(\"%v\", [x]) if some x in input.a"), 5, "in the head");
    refused(&body("deny contains {\"message\": x.y} if some x in input.a"), 5, "in the head");
    // Comprehensions leave out what is undefined, as they should.
    let text = "f(x) := x if x != 2\n\ndeny contains m if {\n\tl := [f(x) | some x in [2, 1, 2, 3, 2]]\n\ts := {f(x) | some x in [2, 1, 2, 3, 2]}\n\tm := sprintf(\"%v %v\", [l, count(s)])\n}";
    let evaluation = judge(&body(text), Limits::default());
    assert_eq!(evaluation.findings[0].message, "[1, 3] 2");
}

#[test]
fn rules_that_need_themselves_are_refused() {
    refused(&body("a(x) := b(x)\n\nb(x) := a(x)"), 5, "needs itself");
    refused(&body("deny contains x if {\n\tsome x in deny\n}"), 5, "needs itself");
}

#[test]
fn packages_and_imports_are_confined() {
    refused(
        &pack("package slipway.lib\n\nimport rego.v1\n\nunknown := 1\n"),
        1,
        "must be `user.NAME`",
    );
    refused(&pack("package user\n\nimport rego.v1\n\na := 1\n"), 1, "must be `user.NAME`");
    refused(&pack("package user.mine\n\nimport data.other.thing\n\na := 1\n"), 3, "to import");
    refused(&body("deny contains x if {\n\tx := data.secrets.all\n}"), 6, "no rule of this pack");
    refused(
        &body("deny contains x if {\n\tsome p\n\tx := data[p].a\n}"),
        7,
        "no rule of this pack",
    );
    let with_lib = body("import data.slipway.lib\n\ndeny contains \"x\" if lib.world(\"::/0\")");
    assert_eq!(problems(&with_lib), []);
}

#[test]
fn sizes_are_bounded() {
    let limits = Limits::default();
    let large = body(&format!("# {}", "x\n# ".repeat(limits.file_bytes / 3)));
    assert!(problems(&large)[0].message.contains("larger"), "{:?}", problems(&large)[0]);
    assert!(problems(&Pack::user(Vec::new()))[0].message.contains("no files"));
    let many = Pack::user(
        (0..100)
            .map(|n| Module { path: format!("{n}.rego"), text: format!("package user.p{n}\n") })
            .collect(),
    );
    assert!(problems(&many)[0].message.contains("100 files"));
}

#[test]
fn a_policy_that_loops_is_stopped_and_denies() {
    let list = (0..100).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    let looping = body(&format!(
        "n := [{list}]\n\ndeny contains \"never\" if {{\n\tsome a in n\n\tsome b in n\n\tsome c in n\n\tsome d in n\n\ta + b + c + d < 0\n}}"
    ));
    let limits = Limits { time: Duration::from_millis(200), ..Limits::default() };
    let begin = std::time::Instant::now();
    denied_by_error(&judge(&looping, limits), "longer than 0.2 s");
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
}

#[test]
fn a_huge_answer_denies_and_many_findings_are_cut_strictest_first() {
    let list = (0..300).map(|n| n.to_string()).collect::<Vec<_>>().join(",\n");
    let many = body(&format!(
        "n := [{list}]\n\nwarn contains {{\"rule\": \"w\", \"address\": a, \"message\": \"m\"}} if {{\n\tsome i in n\n\ta := sprintf(\"a.%d\", [i])\n}}\n\ndeny contains \"no\""
    ));
    let small = Limits { output_bytes: 1_000, ..Limits::default() };
    denied_by_error(&judge(&many, small), "larger than 1000 bytes");
    let few = judge(&many, Limits { findings: 10, ..Limits::default() });
    assert_eq!((few.findings.len(), few.left_off, few.verdict), (10, 291, Verdict::Deny));
    assert_eq!(few.findings[0].verdict, Verdict::Deny);
}

#[test]
fn findings_of_users_mean_what_they_say() {
    let all = body(
        "deny contains {\"message\": \"no\", \"address\": \"a.b\", \"rule\": \"r\", \"severity\": \"low\"}\n\nwarn contains \"hm\"\n\nunknown contains {\"rule\": \"u\", \"message\": \"later\"}\n\nrequire_role contains {\"rule\": \"q\", \"message\": \"ask\", \"role\": \"dba\"}",
    );
    let evaluation = judge(&all, Limits::default());
    let verdicts: Vec<Verdict> = evaluation.findings.iter().map(|f| f.verdict).collect();
    assert_eq!(verdicts, [Verdict::Deny, Verdict::RequireRole, Verdict::Unknown, Verdict::Warn]);
    assert_eq!(evaluation.findings[1].role.as_deref(), Some("dba"));
    assert_eq!(evaluation.findings[2].state, State::Unknown);
    for (wrong, word) in [
        ("deny contains 7", "neither a text nor an object"),
        ("deny contains {\"rule\": \"x\"}", "no `message`"),
        ("deny contains {\"message\": \"m\", \"severity\": \"bad\"}", "severity"),
        ("require_role contains \"ask\"", "without naming one"),
        (
            "result contains {\"rule\": \"x\", \"state\": \"fail\", \"message\": \"m\"}",
            "without an entry",
        ),
    ] {
        denied_by_error(&judge(&body(wrong), Limits::default()), word);
    }
    assert_eq!(
        judge(&body("warn contains \"x\" if false"), Limits::default()).verdict,
        Verdict::Pass
    );
}

#[test]
fn a_builtin_that_fails_is_undefined_and_not_an_error() {
    let text = "deny contains \"number\" if to_number(\"x\") > 1\n\nwarn contains \"went on\"";
    let evaluation = judge(&body(text), Limits::default());
    assert_eq!(evaluation.verdict, Verdict::Warn, "{evaluation:?}");
}

#[test]
fn plans_that_cannot_be_read_deny() {
    let engine = Engine::compile(
        &Pack::shipped(),
        Limits { input_bytes: 1_000, resources: 1, ..Limits::default() },
    )
    .expect("the pack compiles");
    let context = Context::default();
    let large = vec![b' '; 2_000];
    let two = br#"{"resource_changes": [
        {"address": "a.b", "type": "a", "change": {"actions": ["create"]}},
        {"address": "a.c", "type": "a", "change": {"actions": ["create"]}}]}"#;
    for (bytes, word) in [
        (large.as_slice(), "2000 bytes"),
        (b"{", "not JSON"),
        (b"{}", "not a document"),
        (b"[1]", "not a document"),
        (two, "2 resources"),
    ] {
        let document = Document { changes: &[], terraform: Some(bytes), context: &context };
        denied_by_error(&engine.evaluate(&document), word);
    }
}

#[test]
fn tests_of_a_pack_are_run() {
    let tested = body(
        "deny contains \"x\" if input.a == 1\n\ntest_denies if {\n\tfound := deny with input as {\"a\": 1}\n\tcount(found) == 1\n}\n\ntest_wrong if {\n\tfound := deny with input as {\"a\": 2}\n\tcount(found) == 1\n}",
    );
    let report = run_tests(&tested, Limits::default()).expect("the pack is good");
    let said: Vec<(&str, &TestOutcome)> =
        report.iter().map(|t| (t.name.as_str(), &t.outcome)).collect();
    assert_eq!(
        said,
        [
            ("user.mine.test_denies", &TestOutcome::Passed),
            ("user.mine.test_wrong", &TestOutcome::Failed),
        ]
    );
}

#[test]
fn a_version_is_its_text() {
    let one = body("a := 1").digest();
    assert_eq!(one, body("a := 1").digest());
    assert_ne!(one, body("a := 2").digest());
    assert_eq!(problems(&Pack::shipped()), [], "the shipped pack keeps its own rules");
}

/// A text in which each rule needs the next one, in an expression of some depth.
fn chain(rules: usize, depth: usize, function: bool) -> Pack {
    use std::fmt::Write as _;
    let (open, close) = ("[".repeat(depth), "]".repeat(depth));
    let mut text = String::new();
    for n in 0..rules {
        let _ = if function {
            writeln!(text, "f{n}(x) := {open}f{}(x){close}", n + 1)
        } else {
            writeln!(text, "r{n} := {open}r{}{close}", n + 1)
        };
    }
    let _ = if function {
        writeln!(text, "f{rules}(x) := x\n\ndeny contains y if {{\n\tx := \"a\"\n\ty := f0(x)\n}}")
    } else {
        writeln!(text, "r{rules} := \"a\"\n\ndeny contains r0\n\ntest_all if r0 == \"a\"")
    };
    body(&text)
}

#[test]
fn a_long_chain_of_rules_does_not_take_the_process_down() {
    let most = Limits::default().rules - 10;
    for function in [false, true] {
        for (rules, depth) in [(most, 0), (most, 8)] {
            let pack = chain(rules, depth, function);
            let engine = Engine::compile(&pack, Limits::default()).expect("within the limits");
            let context = Context::default();
            let said = engine.evaluate(&Document {
                changes: &[],
                terraform: Some(br#"{"format_version": "1.2"}"#),
                context: &context,
            });
            assert_eq!(said.verdict, Verdict::Deny);
            run_tests(&pack, Limits::default()).expect("within the limits");
        }
    }
}

#[test]
fn every_file_that_does_not_parse_is_named() {
    let broken = |path: &str| Module {
        path: path.to_owned(),
        text: "package user.mine\n\nimport rego.v1\n\na := {\n".to_owned(),
    };
    let found = problems(&Pack::user(vec![broken("a.rego"), broken("b.rego")]));
    let files: Vec<&str> = found.iter().map(|p| p.file.as_str()).collect();
    assert_eq!(files, ["a.rego", "b.rego"]);
}

#[test]
fn a_pack_of_very_many_rules_is_refused_soon() {
    let begin = std::time::Instant::now();
    let found = problems(&chain(10_000, 0, false));
    assert!(found[0].message.contains("1000 are the most"), "{found:?}");
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
}

#[test]
fn tests_that_loop_take_their_time_together_and_say_where_they_are() {
    let list = (0..100).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    let looping = body(&format!(
        "n := [{list}]\n\nlong if {{\n\tsome a in n\n\tsome b in n\n\tsome c in n\n\tsome d in n\n\ta + b + c + d < 0\n}}\n\ntest_a if long\n\ntest_b if long\n\ntest_c if long"
    ));
    let limits = Limits {
        time: Duration::from_millis(300),
        tests_time: Duration::from_millis(400),
        ..Limits::default()
    };
    let begin = std::time::Instant::now();
    let report = run_tests(&looping, limits).expect("the pack is good");
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    let said: Vec<String> = report
        .iter()
        .filter_map(slipway_policy::TestReport::problem)
        .map(|p| p.to_string())
        .collect();
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(said[0].starts_with("mine.rego:15:1: ") && said[0].contains("was stopped"), "{said:?}");
    assert!(said[2].starts_with("mine.rego:19:1: ") && said[2].contains("not run"), "{said:?}");
}

#[test]
fn brackets_that_the_parser_would_not_get_through_are_refused_at_once() {
    let begin = std::time::Instant::now();
    for (open, close) in [("[", "]"), ("{", "}"), ("{\"a\": ", "}")] {
        let deep = body(&format!("a := {}1{}", open.repeat(30), close.repeat(30)));
        refused(&deep, 5, "too deep");
    }
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
}
