//! What is said of values without the tool is what the tool says of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Value, json};
use slipway_domain::deployment::Variables;
use slipway_domain::port::driver::Inspect as _;
use slipway_driver_terraform::Inspector;

use crate::job::{Rig, tree};

/// A variable with one condition, and a value for it.
struct Case {
    kind: &'static str,
    /// With `var.x` for the variable.
    condition: String,
    value: Value,
}

/// What the inspector and what Terraform says of each case: whether its condition is broken.
async fn judged(cases: &[Case]) -> Vec<(bool, bool)> {
    let name = |number: usize| format!("v{number:04}");
    let mut source = String::new();
    let mut values = Variables::new();
    for (number, case) in cases.iter().enumerate() {
        let name = name(number);
        let condition = case.condition.replace("var.x", &format!("var.{name}"));
        let kind = case.kind;
        write!(
            source,
            "variable \"{name}\" {{\n  type = {kind}\n  validation {{\n    condition = {condition}\n    \
             error_message = \"broken {name}\"\n  }}\n}}\n"
        )
        .unwrap();
        values.insert(name, case.value.clone());
    }
    let tree = tree(&[("main.tf", &source)]);
    let inspection = Inspector.inspect(&tree, None).unwrap();
    let ours: BTreeMap<_, _> =
        Inspector.check(&inspection, &values).into_iter().map(|e| (e.pointer, e.detail)).collect();
    for (pointer, detail) in &ours {
        let name = pointer.trim_start_matches("/variables/");
        assert_eq!(*detail, format!("broken {name}"), "no other fault was meant");
    }
    let theirs = failed(&source, &values).await;
    let both = (0..cases.len()).map(|number| {
        let name = name(number);
        (ours.contains_key(&format!("/variables/{name}")), theirs.contains(&name))
    });
    both.collect()
}

/// The variables that Terraform complains of.
async fn failed(source: &str, values: &Variables) -> BTreeSet<String> {
    let rig = Rig::new().await;
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("main.tf"), source).unwrap();
    let given = serde_json::to_string(values).unwrap();
    std::fs::write(dir.path().join("terraform.tfvars.json"), given).unwrap();
    #[expect(clippy::disallowed_methods, reason = "the tool itself is asked, without the driver")]
    let mut command = std::process::Command::new(rig.driver.program());
    command.args(["plan", "-input=false", "-json"]).current_dir(dir.path());
    let out = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let errors: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &Value| line["@level"] == "error")
        .collect();
    assert_eq!(out.status.success(), errors.is_empty(), "{text}");
    let mut failed = BTreeSet::new();
    for mut error in errors {
        // The line of the file of values has all of them.
        if error["diagnostic"]["range"]["filename"] == "terraform.tfvars.json" {
            error["diagnostic"]["snippet"]["code"] = Value::Null;
        }
        let error = error.to_string();
        let named: Vec<_> = values.keys().filter(|name| error.contains(*name)).cloned().collect();
        assert!(!named.is_empty(), "{error}");
        failed.extend(named);
    }
    failed
}

#[tokio::test]
async fn what_is_refused_would_be_refused_by_the_tool() {
    // `y` and `n`: it is told here, and so. `?`: it is left to the tool.
    let table: Vec<(char, &'static str, &str, Value)> = vec![
        ('y', "string", r#"can(regex("^[a-z][a-z0-9-]{1,5}$", var.x))"#, json!("ab-1")),
        ('n', "string", r#"can(regex("^[a-z][a-z0-9-]{1,5}$", var.x))"#, json!("Ab-1")),
        ('n', "string", r#"can(regex("^[a-z]+$", var.x))"#, json!("ab\n")),
        ('n', "string", r#"can(regex("^\\d+$", var.x))"#, json!("a1")),
        ('y', "string", r#"can(regex("^\\d+$", var.x))"#, json!(12)),
        ('n', "string", r#"can(regex("^.{1,3}$", var.x))"#, json!("버킷이름")),
        ('?', "string", r#"can(regex("^.{1,3}$", var.x))"#, json!("e\u{301}e\u{301}e\u{301}")),
        ('n', "string", r#"can(regex("^\\w+$", var.x))"#, json!("버킷")),
        ('?', "string", r#"can(regex("^[a&&b]$", var.x))"#, json!("&")),
        ('n', "string", r#"length(regexall("[A-Z]", var.x)) == 0"#, json!("aBc")),
        ('y', "string", r#"length(regexall("[A-Z]", var.x)) == 0"#, json!("abc")),
        ('y', "string", "length(var.x) > 0 && length(var.x) <= 3", json!("abc")),
        ('n', "string", "length(var.x) > 0 && length(var.x) <= 3", json!("abcd")),
        ('n', "string", "length(var.x) > 0 && length(var.x) <= 3", json!("")),
        ('y', "string", "length(var.x) == 2", json!("버킷")),
        ('?', "string", "length(var.x) == 1", json!("e\u{301}")),
        ('?', "string", "length(var.x) == 1", json!("👩‍🚀")),
        ('n', "number", "var.x >= 1 && var.x <= 10 && floor(var.x) == var.x", json!(11)),
        ('n', "number", "var.x >= 1 && var.x <= 10 && floor(var.x) == var.x", json!(1.5)),
        ('y', "number", "var.x >= 1 && var.x <= 10 && floor(var.x) == var.x", json!("10")),
        ('n', "number", "1 <= var.x", json!("0")),
        ('n', "number", "var.x % 1 == 0", json!(0.5)),
        ('y', "number", "var.x != 5", json!(4)),
        ('n', "number", "var.x != 5", json!("5")),
        ('n', "number", "var.x > 0.1", json!(0.1)),
        ('y', "number", "var.x >= 0.1", json!(0.1)),
        ('?', "number", "var.x < 9007199254740993", json!(9_007_199_254_740_993_i64)),
        ('n', "string", r#"contains(["a", "b"], var.x)"#, json!("c")),
        ('y', "string", r#"contains(["a", "b"], var.x)"#, json!("b")),
        ('?', "string", "contains([1, 2], var.x)", json!("1")),
        ('n', "string", r#"!contains(["a", "b"], var.x)"#, json!("a")),
        ('n', "string", r#"var.x == "a" || var.x == "b""#, json!("c")),
        ('y', "string", r#"var.x == null || can(regex("^a", var.x))"#, json!("ab")),
        ('n', "string", r#"var.x == null || can(regex("^a", var.x))"#, json!("b")),
        ('?', "string", r#"var.x == null || can(regex("^a", var.x))"#, json!(null)),
        ('n', "string", r#"var.x == null ? true : can(regex("^a", var.x))"#, json!("b")),
        ('y', "string", r#"var.x != null ? can(regex("^a", var.x)) : true"#, json!(null)),
        ('n', "string", "var.x != null", json!(null)),
        ('n', "bool", "var.x", json!(false)),
        ('y', "bool", "var.x", json!("1")),
        ('n', "bool", "!var.x", json!("true")),
        ('n', "string", r#"startswith(var.x, "arn:") && endswith(var.x, "/x")"#, json!("arn:/y")),
        ('y', "string", r#"startswith(var.x, "arn:") && endswith(var.x, "/x")"#, json!("arn:/x")),
        ('n', "list(string)", "length(var.x) >= 2", json!(["a"])),
        ('y', "set(string)", "length(var.x) == 1", json!(["a", "a"])),
        ('n', "set(string)", "length(var.x) == 2", json!([1, "1"])),
        ('n', "map(string)", "length(var.x) > 1", json!({"a": 1})),
        (
            '?',
            "object({ a = optional(string), b = optional(string) })",
            "length(var.x) == 2",
            json!({"a": "x"}),
        ),
        (
            'n',
            "set(string)",
            r#"alltrue([for s in var.x : can(regex("^[a-z]+$", s))])"#,
            json!(["a", "B"]),
        ),
        ('y', "list(number)", "alltrue([for n in var.x : n >= 1 && n <= 3])", json!([1, "3"])),
        ('n', "list(number)", "alltrue([for n in var.x : n >= 1 && n <= 3])", json!([1, "4"])),
        ('?', "list(any)", "alltrue([for n in var.x : n >= 1])", json!([0, "a"])),
        (
            '?',
            "list(object({ a = number }))",
            "alltrue([for o in var.x : o.a > 1])",
            json!([{"a": 1}]),
        ),
        ('y', "list(object({ a = number }))", "length(var.x) == 1", json!([{"a": 1}])),
        (
            'y',
            "list(object({ a = number }))",
            "alltrue([for o in var.x : o != null])",
            json!([{"a": 1}]),
        ),
        // What is not known does not keep what is known from being told.
        (
            'n',
            "string",
            r#"can(cidrhost(var.x, 0)) && endswith(var.x, "/16")"#,
            json!("10.0.0.0/8"),
        ),
        ('?', "string", r#"can(cidrhost(var.x, 0)) && endswith(var.x, "/16")"#, json!("x/16")),
        ('?', "string", r#"can(cidrhost(var.x, 0)) || endswith(var.x, "/16")"#, json!("x")),
        (
            '?',
            "string",
            r#"!(can(cidrhost(var.x, 0)) && endswith(var.x, "/16"))"#,
            json!("1.0.0.0/16"),
        ),
        ('?', "string", r"lower(var.x) == var.x", json!("A")),
        ('n', "string", "(((var.x == \"a\")))", json!("b")),
        ('n', "string", "!(!(var.x == \"a\"))", json!("b")),
    ];
    let cases: Vec<_> = table
        .iter()
        .map(|(_, kind, condition, value)| Case {
            kind,
            condition: (*condition).to_owned(),
            value: value.clone(),
        })
        .collect();
    let judged = judged(&cases).await;
    for ((expected, _, condition, value), (ours, theirs)) in table.iter().zip(judged) {
        let case = format!("{condition} of {value}");
        match expected {
            'y' => assert_eq!((ours, theirs), (false, false), "{case}"),
            'n' => assert_eq!((ours, theirs), (true, true), "{case}"),
            _ => assert!(!ours, "{case}"),
        }
    }
}

/// Numbers that look random and are the same in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % n
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

#[tokio::test]
async fn of_plain_values_the_same_is_said() {
    let mut chance = Chance(7);
    let text = [
        "length(var.x) >= 2",
        "length(var.x) != 3",
        "length(var.x) < 4",
        r#"can(regex("^[a-c]+$", var.x))"#,
        r#"can(regex("(?i)b.?$", var.x))"#,
        r#"can(regex("^\\w{2,3}$", var.x))"#,
        r#"can(regex("\\ba", var.x))"#,
        r#"can(regex("[^\\s\\d]", var.x))"#,
        r#"can(regex("^(a|b-)*$", var.x))"#,
        r#"contains(["a", "ab", "-"], var.x)"#,
        r#"startswith(var.x, "a")"#,
        r#"endswith(var.x, "-")"#,
        r#"var.x == "ab""#,
        r#"var.x != """#,
    ];
    let number = [
        "var.x > 2",
        "var.x >= -1",
        "3 > var.x",
        "var.x <= 1.5",
        "var.x == 2",
        "var.x != 0.5",
        "floor(var.x) == var.x",
        "contains([1, 2.5, -1], var.x)",
        "var.x % 1 == 0",
    ];
    let mut cases = Vec::new();
    for round in 0..400 {
        let (kind, atoms): (_, &[&str]) =
            if round % 2 == 0 { ("string", &text) } else { ("number", &number) };
        let mut condition = (*chance.of(atoms)).to_owned();
        for _ in 0..chance.below(4) {
            let other = chance.of(atoms);
            condition = match chance.below(5) {
                0 => format!("{condition} && {other}"),
                1 => format!("{condition} || {other}"),
                2 => format!("!({condition}) || {other}"),
                3 => format!("({condition} || {other}) && {}", chance.of(atoms)),
                _ => format!("({condition}) ? {other} : {}", chance.of(atoms)),
            };
        }
        let value = if kind == "string" {
            let signs = ["a", "b", "c", "A", "B", "-", "1", " ", "_", "\n", "\t", "\u{b}", "가"];
            let length = chance.below(5);
            json!((0..length).map(|_| *chance.of(&signs)).collect::<String>())
        } else {
            chance
                .of(&[json!(0), json!(-1), json!(1), json!(2), json!(2.5), json!("3"), json!(0.5)])
                .clone()
        };
        cases.push(Case { kind, condition, value });
    }
    let mut told = [0, 0];
    for (chunk, cases) in cases.chunks(100).enumerate() {
        for (case, (ours, theirs)) in cases.iter().zip(judged(cases).await) {
            let shown = format!("{chunk}: {} of {}", case.condition, case.value);
            assert_eq!(ours, theirs, "{shown}");
            told[usize::from(ours)] += 1;
        }
    }
    assert!(told.iter().all(|n| *n > 50), "both answers come up: {told:?}");
}
