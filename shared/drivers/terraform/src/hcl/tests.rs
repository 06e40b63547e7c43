//! Tests of reading configurations as a whole: what Terraform takes is taken, what is wrong says
//! where, and nothing hostile costs more than its size.

use std::fmt::Write as _;

use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::json;
use slipway_domain::deployment::Variables;
use slipway_domain::fault::FieldError;
use slipway_domain::port::driver::{Inspect as _, Inspection};
use slipway_domain::tree::Tree;

use super::*;

fn tree(files: &[(&str, &str)]) -> Tree {
    let mut tree = Tree::new();
    for (path, content) in files {
        tree.add_file(path, content.as_bytes().to_vec(), false).unwrap();
    }
    tree
}

fn inspect(files: &[(&str, &str)]) -> Result<Inspection, Vec<FieldError>> {
    Inspector.inspect(&tree(files), None)
}

fn place(problem: &FieldError) -> (&str, Option<u32>, Option<u32>) {
    (problem.file.as_deref().unwrap_or_default(), problem.line, problem.column)
}

fn values(pairs: &[(&str, serde_json::Value)]) -> Variables {
    pairs.iter().map(|(n, v)| ((*n).to_owned(), v.clone())).collect()
}

/// Syntax that Terraform 1.11.4 takes (each was tried with `terraform fmt`).
const VALID: &[(&str, &str)] = &[
    ("empty", ""),
    ("only a comment, no line end", "# nothing"),
    ("comments of all kinds", "// a\n/* b\n c */\n# d\nlocals { /* e */ }\n"),
    ("byte order mark and CRLF", "\u{feff}variable \"a\" {\r\n  type = string\r\n}\r\n"),
    ("one line blocks", "variable \"a\" {}\nvariable \"b\" { default = 1 }\n"),
    ("labels without quotes", "variable a {}\n"),
    (
        "heredoc",
        "locals {\n  a = <<EOT\nline ${var.x}\n%{ if true }y%{ else }z%{ endif }\nEOT\n}\n",
    ),
    ("indented heredoc", "locals {\n  a = <<-EOT\n    x\n      y\n  EOT\n}\n"),
    ("heredoc in a call", "locals {\n  a = jsonencode(<<EOT\n{}\nEOT\n  )\n}\n"),
    ("heredoc with its mark inside", "locals {\n  a = <<E\nE1\nxE\nE\n}\n"),
    ("empty heredoc", "locals {\n  a = <<E\nE\n}\n"),
    ("heredoc with backslashes", "locals {\n  a = <<E\nC:\\dir\\n ${\"q\"}\nE\n}\n"),
    ("for directive", "locals { a = \"%{ for x in [1] ~}${x}%{ endfor ~}\" }\n"),
    ("escapes", "locals { a = \"\\n\\t\\\"\\\\ $${x} %%{y} \\u00e9 \\U0001F600\" }\n"),
    ("lone signs", "locals { a = \"100% $5 $$ %% $\" }\n"),
    ("nested quotes", "locals { a = \"${lookup(local.m, \"k\", \"${\"d\"}\")}\" }\n"),
    ("splats", "locals {\n  a = x.y[*].z\n  b = x.y.*.z\n  c = x.y[*].z[0]\n  d = x.0.y\n}\n"),
    (
        "for expressions",
        "locals {\n  a = [for k, v in var.m : \"${k}=${v}\" if v != null]\n  b = { for k, v in var.m : k => v... }\n}\n",
    ),
    (
        "multi-line for",
        "locals {\n  a = {\n    for s in [\n      1,\n    ] :\n    s => upper(s)\n    if s != \"\"\n  }\n}\n",
    ),
    ("conditional over lines", "locals {\n  a = (\n    true\n    ? 1\n    : 2\n  )\n}\n"),
    ("nested conditionals", "locals { a = true ? 1 : false ? 2 : 3 }\n"),
    ("operators", "locals { a = !true && (1 + 2 * -3 % 4 / 5 >= 6 || 7 != 8) }\n"),
    (
        "object keys",
        "locals {\n  a = { b = 1, \"c d\" = 2, (var.e) = 3, \"f${1}\" = 4, 5 = 6, g : 7 }\n}\n",
    ),
    ("trailing commas", "locals {\n  a = [1, 2,]\n  b = max(1, 2,)\n  c = { d = 1, }\n}\n"),
    ("spread", "locals { a = max([1, 2]...) }\n"),
    ("provider function", "locals { a = provider::aws::arn_parse(\"x\") }\n"),
    ("dashes in names", "locals { a-b = c-d }\n"),
    ("unicode", "locals { größe = \"日本語 ${upper(\"ß\")}\" }\n"),
    ("numbers", "locals { a = [0, -1, 1.5, 1e10, 2.5E-3, 12345678901234567890] }\n"),
    ("index by expression", "locals { a = x[\"k\"][y.z][0].w }\n"),
    (
        "comment at the end of an item",
        "locals {\n  a = [\n    1, # one\n    2 // two\n  ]\n  b = {\n    c = 1 # see\n    # d\n  }\n}\n",
    ),
    (
        "nested blocks",
        "resource \"a_b\" \"c\" {\n  x {\n    y {}\n  }\n  dynamic \"z\" {\n    for_each = []\n    content {}\n  }\n}\n",
    ),
    ("tabs and blanks", "locals\t{\n\t\ta\t=\t1\t\n\n\n}\n"),
    (
        "optional attributes",
        "variable \"a\" {\n  type = object({\n    b = optional(string, \"x\")\n    c = optional(object({ d = bool }), { d = true })\n  })\n}\n",
    ),
    (
        "moved and checks",
        "moved {\n  from = a.b\n  to = a.c[0]\n}\ncheck \"x\" {\n  assert {\n    condition = true\n    error_message = \"no\"\n  }\n}\n",
    ),
    ("null and any", "variable \"a\" {\n  type = any\n  default = null\n}\n"),
    ("strip marks", "locals { a = \"${~ 1 ~}\" }\n"),
    ("parentheses over lines", "locals {\n  a = (1\n    + 2)\n}\n"),
    (
        "call over lines",
        "locals {\n  a = merge(\n    { b = 1 },\n    # why\n    { c = 2 },\n  )\n}\n",
    ),
];

#[test]
fn what_terraform_takes_is_taken() {
    for (name, text) in VALID {
        if let Err(problems) = inspect(&[("main.tf", text)]) {
            panic!("{name}: {problems:?}\n{text}");
        }
    }
}

#[test]
fn what_a_tree_gives_to_sensitive_variables_is_a_secret() {
    let files = tree(&[
        (
            "main.tf",
            "variable \"pw\" {\n  sensitive = true\n  default = \"secret-default\"\n}\n\
             variable \"o\" {\n  sensitive = true\n  default = { user = \"secret-user\", n = [\"secret-item\"] }\n}\n\
             variable \"open\" {\n  default = \"readable\"\n}\n",
        ),
        ("terraform.tfvars", "pw = \"secret-given\"\nopen = \"readable too\"\n"),
    ]);
    let configuration = super::load(&files, None, super::Dialect::Terraform).unwrap();
    let mut secrets = configuration.secrets();
    secrets.sort();
    assert_eq!(secrets, ["secret-default", "secret-given", "secret-item", "secret-user"]);
}

#[test]
fn inputs_are_told_with_types_defaults_and_marks() {
    let inspection = inspect(&[(
        "variables.tf",
        "variable \"region\" {\n  type = string\n  description = \"Where\"\n}\n\
         variable \"n\" {\n  type = number\n  default = 3\n}\n\
         variable \"pw\" {\n  sensitive = true\n  default = \"hunter2\"\n  nullable = false\n}\n\
         variable \"calc\" { default = 60 * 60 }\n\
         variable \"o\" {\n  type = object({\n    a = string\n    b = optional(list(number), [1])\n  })\n}\n",
    )])
    .unwrap();
    let shown: Vec<_> = inspection
        .inputs
        .iter()
        .map(|i| (i.name.as_str(), i.kind.as_str(), i.required, i.default.clone(), i.sensitive))
        .collect();
    assert_eq!(
        shown,
        [
            ("region", "string", true, None, false),
            ("n", "number", false, Some(json!(3)), false),
            ("pw", "any", false, None, true),
            ("calc", "any", false, None, false),
            ("o", "object({ a = string, b = optional(list(number), [1]) })", true, None, false),
        ]
    );
    assert_eq!(inspection.inputs[0].description.as_deref(), Some("Where"));
    assert!(!inspection.inputs[2].nullable);
}

#[test]
fn what_is_wrong_says_where() {
    for (text, line, column, hint) in [
        ("variable \"a\" {\n  type = \n}\n", 2, 10, "not valid HCL"),
        ("resource \"x\" \"y\" {\n  a = 1\n", 2, 8, "not valid HCL"),
        ("variable \"ä\" {\n  default = \"é\" x\n}\n", 2, 17, "not valid HCL"),
        ("variable \"a\" {\n  type = strng\n}\n", 2, 10, "did you mean \"string\""),
        ("variable \"a\" {\n  type = list(object({ b = foo }))\n}\n", 2, 28, "is not a type"),
        (
            "variable \"a\" {}\nvariable \"a\" {}\n",
            2,
            1,
            "declared twice; the first is at main.tf:1",
        ),
        (
            "variable \"a\" {\n  type = number\n  default = \"x\"\n}\n",
            3,
            13,
            "does not fit its type number",
        ),
        ("a = 1\n", 1, 1, "holds blocks"),
        ("varible \"a\" {}\n", 1, 1, "did you mean \"variable\""),
        ("module \"m\" {\n  source = \"./nowhere\"\n}\n", 1, 1, "no .tf file in \"nowhere\""),
        ("module \"m\" {\n  source = \"../../x\"\n}\n", 1, 1, "leaves the source tree"),
        ("module \"m\" {}\n", 1, 1, "has no source"),
        ("resource \"x\" {}\n", 1, 1, "two labels"),
    ] {
        let problems = inspect(&[("main.tf", text)]).unwrap_err();
        assert_eq!(problems.len(), 1, "{text}: {problems:?}");
        assert!(problems[0].detail.contains(hint), "{text}: {}", problems[0].detail);
        assert_eq!(
            place(&problems[0]),
            ("main.tf", Some(line), Some(column)),
            "{text}: {problems:?}"
        );
        assert_eq!(problems[0].pointer, "/source");
    }
}

#[test]
fn child_modules_are_read_and_a_fault_is_told_in_their_file() {
    let root = "module \"net\" {\n  source = \"./modules/net\"\n}\n";
    let problems = inspect(&[("main.tf", root), ("modules/net/main.tf", "locals {\n  a = [\n}\n")])
        .unwrap_err();
    assert_eq!(place(&problems[0]).0, "modules/net/main.tf");
    let own = inspect(&[("main.tf", "module \"a\" {\n  source = \"./\"\n}\n")]).unwrap_err();
    assert!(own[0].detail.contains("calls itself"), "{own:?}");
}

#[test]
fn an_empty_root_says_where_there_is_more() {
    let nothing = inspect(&[("README.md", "x")]).unwrap_err();
    assert!(nothing[0].detail.contains("no .tf file"), "{nothing:?}");
    let below = inspect(&[("infra/prod/main.tf", "")]).unwrap_err();
    assert!(below[0].detail.contains("\"infra/prod\""), "{below:?}");
    assert!(Inspector.inspect(&tree(&[("infra/main.tf", "")]), Some("infra")).is_ok());
    assert!(Inspector.inspect(&tree(&[("infra/main.tf", "")]), Some("../infra")).is_err());
    let binary = {
        let mut tree = Tree::new();
        tree.add_file("main.tf", vec![0xff, 0xfe, 0x00], false).unwrap();
        Inspector.inspect(&tree, None).unwrap_err()
    };
    assert!(binary[0].detail.contains("not UTF-8"), "{binary:?}");
}

#[test]
fn json_configurations_are_read_too() {
    let text = r#"{"//": "x", "variable": {"a": {"type": "list(string)", "default": ["x"]}, "b": [{"sensitive": true}]},
        "resource": {"terraform_data": {"x": {"input": 1}}}, "terraform": [{"backend": {"s3": {}}}]}"#;
    let inspection = inspect(&[("main.tf.json", text)]).unwrap();
    let names: Vec<_> = inspection.inputs.iter().map(|i| (i.name.as_str(), i.required)).collect();
    assert_eq!(names, [("a", false), ("b", true)]);
    assert_eq!(inspection.sensitive(), ["b".to_owned()].into());
    let broken = inspect(&[("x.tf.json", "{\n  \"a\": }\n")]).unwrap_err();
    assert_eq!(place(&broken[0]), ("x.tf.json", Some(2), Some(8)), "{broken:?}");
    let configuration = load(&tree(&[("main.tf.json", text)]), None, Dialect::Terraform).unwrap();
    assert_eq!(configuration.backend, Backend::Own { kind: "s3".into() });
}

#[test]
fn files_of_values_make_variables_optional_and_overrides_change_them() {
    let inspection = inspect(&[
        ("main.tf", "variable \"a\" { type = string }\nvariable \"b\" { type = string }\nvariable \"c\" {}\n"),
        ("terraform.tfvars", "a = \"x\"\n"),
        ("z.auto.tfvars.json", "{\"b\": \"${not a template}\"}"),
        ("main_override.tf", "variable \"c\" { default = 1 }\n"),
        ("ignored.tfvars", "c = broken ("),
        (".hidden.tf", "broken ("),
    ])
    .unwrap();
    let shown: Vec<_> = inspection.inputs.iter().map(|i| (i.required, i.default.clone())).collect();
    assert_eq!(
        shown,
        [
            (false, Some(json!("x"))),
            (false, Some(json!("${not a template}"))),
            (false, Some(json!(1)))
        ]
    );
}

#[test]
fn opentofu_files_take_the_place_of_terraforms() {
    let files = [("main.tf", "variable \"a\" {}"), ("main.tofu", "variable \"b\" {}")];
    let names = |dialect| {
        let inputs = load(&tree(&files), None, dialect).unwrap().inspection().inputs;
        inputs.into_iter().map(|i| i.name).collect::<Vec<_>>()
    };
    assert_eq!(names(Dialect::Terraform), ["a"]);
    assert_eq!(names(Dialect::OpenTofu), ["b"]);
}

#[test]
fn what_must_be_installed_is_known() {
    let configuration =
        |files: &[(&str, &str)]| load(&tree(files), None, Dialect::Terraform).unwrap();
    let builtin = configuration(&[
        (
            "main.tf",
            "resource \"terraform_data\" \"x\" {}\ndata \"terraform_remote_state\" \"y\" {}\nmodule \"m\" {\n  source = \"./m\"\n}\n",
        ),
        (
            "m/main.tf",
            "resource \"terraform_data\" \"x\" {}\nmodule \"n\" {\n  source = \"../n\"\n}\n",
        ),
        ("n/main.tf", ""),
    ]);
    assert!(!builtin.needs_providers && !builtin.remote_modules() && builtin.understood);
    let modules: Vec<_> = builtin
        .modules
        .iter()
        .map(|m| (m.key.as_str(), m.source.as_str(), m.dir.as_deref().unwrap_or_default()))
        .collect();
    assert_eq!(modules, [("m", "./m", "m"), ("m.n", "../n", "n")]);
    for text in [
        "resource \"random_id\" \"x\" {}\n",
        "data \"aws_ami\" \"x\" {}\n",
        "provider \"aws\" {}\n",
        "resource \"terraform_data\" \"x\" {\n  provider = other.alias\n}\n",
        "terraform {\n  required_providers {\n    x = { source = \"acme/x\", version = \"~> 1\" }\n  }\n}\n",
        "terraform {\n  required_providers {\n    terraform = { source = \"acme/terraform\" }\n  }\n}\n",
        "check \"c\" {\n  data \"http\" \"x\" {}\n}\n",
        "ephemeral \"vault_secret\" \"x\" {}\n",
    ] {
        assert!(configuration(&[("main.tf", text)]).needs_providers, "{text}");
    }
    assert!(!configuration(&[("main.tf", "component \"x\" {}\n")]).understood);
    let remote = configuration(&[(
        "main.tf",
        "module \"m\" {\n  source = \"a/b/c\"\n  version = \"1.0.0\"\n}\n",
    )]);
    assert!(remote.remote_modules());
}

#[test]
fn backends_are_told_apart() {
    let backend =
        |text: &str| load(&tree(&[("main.tf", text)]), None, Dialect::Terraform).unwrap().backend;
    assert_eq!(backend(""), Backend::Unset);
    assert_eq!(
        backend("terraform {\n  backend \"local\" {\n    path = \"x/y.tfstate\"\n  }\n}\n"),
        Backend::Local { path: Some("x/y.tfstate".into()) }
    );
    assert_eq!(
        backend("terraform {\n  backend \"s3\" {}\n}\n"),
        Backend::Own { kind: "s3".into() }
    );
    assert_eq!(backend("terraform {\n  cloud {}\n}\n"), Backend::Own { kind: "cloud".into() });
}

#[test]
fn values_are_checked_against_inputs() {
    let inspection = inspect(&[(
        "main.tf",
        "variable \"region\" {\n  type = string\n  description = \"Where it runs\"\n}\n\
         variable \"size\" {\n  type = number\n  default = 1\n  nullable = false\n}\n\
         variable \"must\" {\n  type = string\n  nullable = false\n}\n",
    )])
    .unwrap();
    let problems = |pairs: &[(&str, serde_json::Value)]| {
        let found = Inspector.check(&inspection, &values(pairs));
        found.into_iter().map(|p| (p.pointer, p.detail)).collect::<Vec<_>>()
    };
    assert_eq!(problems(&[("region", json!("x")), ("must", json!(3)), ("size", json!(null))]), []);
    let wrong = problems(&[
        ("regoin", json!(1)),
        ("size", json!("big")),
        ("must", json!(null)),
        ("a/b~", json!(1)),
    ]);
    let pointers: Vec<_> = wrong.iter().map(|(p, _)| p.as_str()).collect();
    assert_eq!(
        pointers,
        [
            "/variables/a~1b~0",
            "/variables/must",
            "/variables/regoin",
            "/variables/size",
            "/variables/region"
        ]
    );
    assert!(wrong[2].1.contains("did you mean \"region\""), "{wrong:?}");
    assert!(wrong[4].1.contains("Where it runs") && wrong[4].1.contains("required"), "{wrong:?}");
}

/// Runs on a stack as small as any that the API will give it.
fn on_a_small_stack(work: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(2 << 20).spawn(work).unwrap().join().unwrap();
}

#[test]
fn deep_nesting_is_refused_and_not_a_crash() {
    on_a_small_stack(|| {
        for (open, close) in [
            ("[", "]"),
            ("{a=", "}"),
            ("(", ")"),
            ("\"${", "}\""),
            ("f(", ")"),
            ("-", ""),
            ("!", ""),
            ("x[", "]"),
            ("true ? 1 : ", ""),
            ("1 + ", ""),
            ("[for x in ", " : x]"),
            ("<<E\n${", "}\nE\n"),
        ] {
            for depth in [30, 63, 64, 65, 1000, 20_000] {
                let text = format!(
                    "locals {{\n  a = {}1{}\n}}\n",
                    open.repeat(depth),
                    close.repeat(depth)
                );
                let start = Instant::now();
                let _ = inspect(&[("main.tf", &text)]);
                assert!(
                    start.elapsed() < Duration::from_secs(10),
                    "{open} × {depth}: {:?}",
                    start.elapsed()
                );
            }
        }
        let blocks = format!("{}{}", "a {\n".repeat(5000), "}\n".repeat(5000));
        assert!(inspect(&[("main.tf", &blocks)]).is_err());
        let types = format!(
            "variable \"a\" {{\n  type = {}any{}\n}}\n",
            "list(".repeat(60),
            ")".repeat(60)
        );
        let _ = inspect(&[("main.tf", &types)]);
        let json = "[".repeat(100_000);
        assert!(inspect(&[("main.tf.json", &json)]).is_err());
    });
}

#[test]
fn modules_that_multiply_are_refused() {
    // Ten levels, each calling the next four times: a million calls.
    let mut files = Vec::new();
    for level in 0..10 {
        let calls: String = (0..4)
            .map(|i| format!("module \"m{i}\" {{\n  source = \"../l{}\"\n}}\n", level + 1))
            .collect();
        files.push((format!("l{level}/main.tf"), calls));
    }
    files.push(("l10/main.tf".to_owned(), String::new()));
    let files: Vec<_> = files.iter().map(|(p, t)| (p.as_str(), t.as_str())).collect();
    let problems = Inspector.inspect(&tree(&files), Some("l0")).unwrap_err();
    assert!(problems[0].detail.contains("too many modules"), "{problems:?}");
}

#[test]
fn big_files_cost_no_more_than_they_should() {
    let attributes = |n: usize| (0..n).map(|i| format!("a{i} = {i}\n")).collect::<String>();
    let object = format!("locals {{\n  o = {{\n{}  }}\n}}\n", attributes(3000));
    assert!(inspect(&[("main.tf", &object)]).is_ok());
    // The parser's time grows with the square of a body's keys.
    let start = Instant::now();
    let problems = inspect(&[("main.tf", &attributes(40_000))]).unwrap_err();
    assert!(problems[0].detail.contains("too many assignments"), "{problems:?}");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    let huge = format!("# {}\n", "x".repeat(2 << 20));
    let problems = inspect(&[("main.tf", &huge)]).unwrap_err();
    assert!(problems[0].detail.contains("too much configuration"), "{problems:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_text_gives_an_answer(text in "\\PC{0,200}") {
        let _ = inspect(&[("main.tf", &text), ("terraform.tfvars", &text), ("x.tf.json", &text)]);
    }

    #[test]
    fn pieces_of_hcl_in_any_order_give_an_answer(
        pieces in prop::collection::vec(
            prop::sample::select(vec![
                "variable", "\"a\"", " ", "{", "}", "\n", "type", "=", "object(", "optional(", ")", "[", "]",
                "<<E\n", "E\n", "${", "%{ if ", "%{ endif }", "\"", "for", "in", ":", "=>", "...", ",", "1", "null",
                "list(", "string", "\\u", "\\", "#", "/*", "*/", "é", "\r\n", "default", "-", "!", "?", ".", "*",
            ]),
            0..60,
        )
    ) {
        let text: String = pieces.concat();
        let _ = inspect(&[("main.tf", &text)]);
        let _ = inspect(&[("main.tf", &format!("variable \"a\" {{\n  type = {text}\n}}\n"))]);
        let _ = inspect(&[("main.tf", &format!("variable \"a\" {{\n  default = {text}\n}}\n"))]);
    }
}

/// The constraints of an input, as clients see them.
fn constraints(files: &[(&str, &str)]) -> serde_json::Value {
    let inspection = inspect(files).unwrap();
    serde_json::to_value(&inspection.inputs[0].constraints).unwrap()
}

#[test]
fn validation_blocks_become_rules() {
    let source = r#"
variable "x" {
  type = string
  validation {
    condition     = length(var.x) > 2 && (can(regex("^a", var.x)) || var.x == "b")
    error_message = "Wrong."
  }
  validation {
    condition     = lower(var.x) == var.x && !startswith(var.x, "-")
    error_message = "Wrong: ${var.x}"
  }
}
"#;
    assert_eq!(
        constraints(&[("main.tf", source)]),
        json!([
            {"rules": [{"min_length": 3}, {"any_of": [{"pattern": "^a"}, {"one_of": ["b"]}]}],
             "complete": true, "message": "Wrong.",
             "expression": "length(var.x) > 2 && (can(regex(\"^a\", var.x)) || var.x == \"b\")"},
            {"rules": [{"not": {"starts_with": "-"}}], "complete": false,
             "expression": "lower(var.x) == var.x && !startswith(var.x, \"-\")"},
        ])
    );
    let json = r#"{"variable": {"x": {"type": "number", "validation": [
        {"condition": "${var.x >= 1}", "error_message": "At least 1."},
        {"condition": "${var.x >= 1} ", "error_message": "${var.x}"},
        {"condition": "no expression", "error_message": "?"}, {"condition": true}]}}}"#;
    assert_eq!(
        constraints(&[("main.tf.json", json)]),
        json!([
            {"rules": [{"minimum": 1}], "complete": true, "expression": "var.x >= 1",
             "message": "At least 1."},
            {"rules": [{"minimum": 1}], "complete": true, "expression": "var.x >= 1"},
            {"rules": [], "complete": false, "expression": "no expression", "message": "?"},
            {"rules": [], "complete": false, "expression": "true"},
        ])
    );
}

#[test]
fn what_an_override_file_does_to_constraints_is_left_to_the_tool() {
    let block = |bound: u8| {
        format!(
            "variable \"x\" {{\n  validation {{\n    condition = var.x > {bound}\n    \
             error_message = \"m\"\n  }}\n}}\n"
        )
    };
    let found = constraints(&[("main.tf", &block(1)), ("override.tf", &block(2))]);
    assert_eq!(found.as_array().unwrap().len(), 2);
    assert!(found.as_array().unwrap().iter().all(|c| c["complete"] == json!(false)), "{found}");
    let kept = constraints(&[("main.tf", &block(1)), ("override.tf", "variable \"x\" {}\n")]);
    assert_eq!(kept[0]["rules"], json!([{"exclusive_minimum": 1}]));
}

#[test]
fn a_value_that_breaks_a_constraint_is_told_with_the_words_of_the_template() {
    let source = r#"
variable "x" {
  type = list(string)
  validation {
    condition     = alltrue([for one in var.x : one != ""])
    error_message = "No empty ones."
  }
}
variable "y" {
  default = 3
  validation {
    condition     = var.y < 5
    error_message = "y ${var.y}"
  }
}
"#;
    let inspection = inspect(&[("main.tf", source)]).unwrap();
    let told = |x: serde_json::Value, y: serde_json::Value| -> Vec<_> {
        let problems = Inspector.check(&inspection, &values(&[("x", x), ("y", y)]));
        problems.into_iter().map(|p| (p.pointer, p.detail)).collect()
    };
    assert_eq!(told(json!(["a"]), json!(4)), []);
    let x = ("/variables/x".to_owned(), "No empty ones.".to_owned());
    let y = ("/variables/y".to_owned(), "y must meet the condition var.y < 5".to_owned());
    assert_eq!(told(json!(["a", ""]), json!(5)), [x, y]);
    // A wrong type is told once.
    assert_eq!(told(json!("a"), json!(null)).len(), 1);
}

#[test]
fn the_shipped_templates_can_be_filled_in_from_their_facts() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../examples/templates");
    let mut open = Vec::new();
    let mut complete = 0;
    for item in std::fs::read_dir(root).unwrap() {
        let item = item.unwrap();
        let name = item.file_name().into_string().unwrap();
        let limits = slipway_domain::tree::Limits::default();
        let tree = Tree::from_directory(&item.path(), limits).unwrap();
        let inspection = Inspector.inspect(&tree, None).unwrap_or_else(|e| panic!("{name}: {e:?}"));
        for input in &inspection.inputs {
            assert!(input.description.is_some() && input.kind != "any", "{name}/{}", input.name);
            for constraint in &input.constraints {
                assert!(constraint.message.is_some(), "{name}/{}", input.name);
                if constraint.complete {
                    complete += 1;
                } else {
                    open.push(format!("{name}/{}", input.name));
                }
            }
        }
    }
    open.sort();
    // Networks and distinctness are Terraform's business.
    assert_eq!(
        open,
        [
            "aws-rds-postgres/allowed_cidrs",
            "aws-vpc/cidr",
            "aws-vpc/zones",
            "ncp-nks/node_storage_gb",
            "ncp-server/ssh_from",
            "ncp-server/vpc_cidr"
        ]
    );
    assert!(complete > 40, "{complete}");
}

#[test]
fn hostile_conditions_cost_little() {
    let start = Instant::now();
    // Choices whose conditions are choices.
    let mut condition = "var.x".to_owned();
    for _ in 0..30 {
        condition = format!("(({condition}) ? var.x : !var.x)");
    }
    let block = |condition: &str| {
        format!("  validation {{\n    condition = {condition}\n    error_message = \"m\"\n  }}\n")
    };
    let mut source = format!("variable \"x\" {{\n  type = bool\n{}}}\n", block(&condition));
    // As many expressions as fit, each as large as it gets.
    for n in 0..240 {
        let body: String = (0..20)
            .map(|m| {
                let pattern = format!("^(?:(?:.{{10}}){{9}}x{{{}}}){{9}}v{n}$", m + 1);
                block(&format!("can(regex(\"{pattern}\", var.v{n}))"))
            })
            .collect();
        let _ = writeln!(source, "variable \"v{n}\" {{\n  type = string\n{body}}}");
    }
    let inspection = inspect(&[("main.tf", &source)]).unwrap();
    let text = json!("x".repeat(8000));
    let variables: Variables = (0..240)
        .map(|n| (format!("v{n}"), text.clone()))
        .chain([("x".to_owned(), json!(true))])
        .collect();
    Inspector.check(&inspection, &variables);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}
