use slipway_domain::test_report::{Check, CheckKind};

use super::*;

struct Scene {
    _dir: tempfile::TempDir,
    workspace: Workspace,
    selection: Result<Selection, DriverError>,
}

const MAIN: &str = "resource \"aws_vpc\" \"a\" {}\n";

fn scene(files: &[(&str, &str)], settings: &TestSettings) -> Scene {
    let mut tree = Tree::new();
    for (path, content) in files {
        tree.add_file(path, content.as_bytes().to_vec(), false).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let workspace = Workspace::new(dir.path(), None).unwrap();
    workspace.write_source(&tree).unwrap();
    let configuration = hcl::load(&tree, None, Dialect::Terraform).ok();
    let judge = Judge {
        tree: &tree,
        configuration: configuration.as_ref(),
        dialect: Dialect::Terraform,
        settings,
    };
    let selection = select(&workspace, &judge);
    Scene { _dir: dir, workspace, selection }
}

impl Scene {
    fn is_there(&self, name: &str) -> bool {
        self.workspace.module().join(name).exists()
    }

    fn selection(&self) -> &Selection {
        self.selection.as_ref().unwrap()
    }
}

/// Why the only test file of a configuration is left out; `None` when it is run.
fn left_out(main: &str, test: &str) -> Option<String> {
    let scene = scene(&[("main.tf", main), ("tests/a.tftest.hcl", test)], &TestSettings::default());
    let selection = scene.selection();
    assert_eq!(selection.files, usize::from(selection.cases.is_empty()));
    assert_eq!(scene.is_there("tests/a.tftest.hcl"), selection.cases.is_empty());
    assert!(!selection.applies, "nothing real without `allow_apply`");
    let case = selection.cases.first()?;
    assert_eq!(
        (case.status, case.file.as_deref()),
        (TestStatus::Skipped, Some("tests/a.tftest.hcl"))
    );
    case.message.clone()
}

const APPLIES: &str = "run \"a\" {}\n";
const MOCKED: &str = "mock_provider \"aws\" {}\nrun \"a\" {}\n";

#[test]
fn what_plans_is_run_and_what_applies_is_not() {
    assert_eq!(left_out(MAIN, "run \"a\" {\n  command = plan\n}\n"), None);
    let why = left_out(MAIN, APPLIES).unwrap();
    assert!(why.contains("applies") && why.contains("allow_apply"), "{why}");
    let mixed = "run \"a\" {\n  command = plan\n}\nrun \"b\" {\n  command = apply\n}\n";
    assert!(left_out(MAIN, mixed).unwrap().contains("\"b\" applies"));
}

#[test]
fn an_apply_is_run_where_everything_is_mocked() {
    assert_eq!(left_out(MAIN, MOCKED), None);
    let named = "terraform {\n  required_providers {\n    cloud = {\n      source = \
                 \"hashicorp/aws\"\n    }\n  }\n}\nresource \"x_y\" \"a\" {\n  provider = cloud\n}\n";
    assert_eq!(left_out(named, "mock_provider \"cloud\" {}\nrun \"a\" {}\n"), None);
    // The builtin one keeps things in the state alone.
    assert_eq!(left_out(&format!("{MAIN}resource \"terraform_data\" \"b\" {{}}\n"), MOCKED), None);
}

#[test]
fn a_mock_that_leaves_something_real_does_not_do() {
    let two = format!("{MAIN}resource \"null_resource\" \"b\" {{}}\n");
    assert!(left_out(&two, MOCKED).unwrap().contains("hashicorp/null is not mocked"));
    // Measured: a mocked resource runs its provisioners.
    let acts = "resource \"aws_vpc\" \"a\" {\n  provisioner \"local-exec\" {\n    command = \
                \"x\"\n  }\n}\n";
    assert!(left_out(acts, MOCKED).unwrap().contains("provisioners"));
    let aliased = format!("{MAIN}provider \"aws\" {{\n  alias = \"west\"\n}}\n");
    assert!(left_out(&aliased, MOCKED).unwrap().contains("aws.west is not mocked"));
    let remote = format!("{MAIN}module \"m\" {{\n  source = \"acme/vpc/aws\"\n}}\n");
    assert!(left_out(&remote, MOCKED).unwrap().contains("cannot be read"));
    let real = "mock_provider \"aws\" {}\nprovider \"null\" {}\nrun \"a\" {}\n";
    assert!(left_out(MAIN, real).unwrap().contains("real provider"));
    let chooses = "mock_provider \"aws\" {}\nrun \"a\" {\n  providers = {\n    aws = aws\n  }\n}\n";
    assert!(left_out(MAIN, chooses).unwrap().contains("chooses"));
    let module = "mock_provider \"aws\" {}\nrun \"a\" {\n  module {\n    source = \
                  \"acme/x/aws\"\n  }\n}\n";
    assert!(left_out(MAIN, module).unwrap().contains("cannot be read"));
}

#[test]
fn provisioners_of_modules_and_of_json_count_too() {
    let test = [("tests/a.tftest.hcl", MOCKED)];
    for files in [
        vec![
            ("main.tf", "module \"m\" {\n  source = \"./m\"\n}\n"),
            ("m/main.tf", "resource \"aws_vpc\" \"a\" {\n  provisioner \"local-exec\" {}\n}\n"),
        ],
        vec![
            ("main.tf", "module \"m\" {\n  source = \"./m\"\n}\n"),
            ("m/main.tf", "provider \"aws\" {}\nresource \"aws_vpc\" \"a\" {}\n"),
        ],
        vec![(
            "main.tf.json",
            r#"{"resource": {"aws_vpc": {"a": {"provisioner": {"local-exec": {}}}}}}"#,
        )],
    ] {
        let files: Vec<_> = files.into_iter().chain(test).collect();
        let scene = scene(&files, &TestSettings::default());
        let why = scene.selection().cases[0].message.clone().unwrap();
        assert!(why.contains("provisioners"), "{files:?}: {why}");
    }
}

#[test]
fn what_is_allowed_is_run_and_counts_as_real() {
    let settings = TestSettings { allow_apply: true, ..TestSettings::default() };
    let files = [("main.tf", MAIN), ("a.tftest.hcl", APPLIES)];
    let one = scene(&files, &settings);
    assert_eq!((one.selection().files, one.selection().applies), (1, true));
    let mocked = scene(&[("main.tf", MAIN), ("a.tftest.hcl", MOCKED)], &settings);
    assert!(!mocked.selection().applies, "a mock makes nothing real");
    // No state is kept, whatever is allowed.
    let kept = "run \"a\" {\n  command = plan\n  backend \"s3\" {}\n}\n";
    let kept = scene(&[("main.tf", MAIN), ("a.tftest.hcl", kept)], &settings);
    assert!(kept.selection().cases[0].message.as_deref().unwrap().contains("backend"));
}

#[test]
fn a_module_outside_of_the_tree_is_not_tested() {
    let outside = "run \"a\" {\n  command = plan\n  module {\n    source = \"../../etc\"\n  }\n}\n";
    assert!(left_out(MAIN, outside).unwrap().contains("cannot be read"));
}

#[test]
fn checks_are_put_beside_the_tests_and_named_by_their_name() {
    let check = |name: &str, content: &str| Check {
        name: name.into(),
        kind: CheckKind::TerraformTest,
        content: content.into(),
    };
    let checks = vec![
        check("plans", "run \"a\" {\n  command = plan\n}\n"),
        check("applies", APPLIES),
        check("broken", "run \"a\" {\n  command = [\n"),
    ];
    let settings = TestSettings { checks, terraform_test: false, ..TestSettings::default() };
    let one = scene(&[("main.tf", MAIN), ("tests/own.tftest.hcl", APPLIES)], &settings);
    let seen: Vec<_> = one.selection().cases.iter().map(|c| (c.name.as_str(), c.status)).collect();
    assert_eq!(seen, [("check applies", TestStatus::Skipped), ("check broken", TestStatus::Error)]);
    assert!(one.selection().cases.iter().all(|case| case.file.is_none()));
    assert_eq!(one.selection().files, 1);
    assert!(one.is_there("slipway_check_plans.tftest.hcl"));
    assert!(!one.is_there("tests/own.tftest.hcl"), "not asked for");
    assert!(!one.is_there("slipway_check_applies.tftest.hcl"));
    let taken = scene(
        &[("main.tf", MAIN), ("slipway_check_plans.tftest.hcl", "")],
        &TestSettings::default(),
    );
    assert!(taken.selection.unwrap_err().to_string().contains("are kept for checks"));
}

#[test]
fn a_link_does_not_hide_a_test() {
    let mut tree = Tree::new();
    tree.add_file("main.tf", MAIN, false).unwrap();
    tree.add_file("shared/a.tftest.hcl", APPLIES, false).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let workspace = Workspace::new(dir.path(), None).unwrap();
    workspace.write_source(&tree).unwrap();
    std::os::unix::fs::symlink("shared", workspace.module().join("tests")).unwrap();
    let configuration = hcl::load(&tree, None, Dialect::Terraform).unwrap();
    let settings = TestSettings::default();
    let judge = Judge {
        tree: &tree,
        configuration: Some(&configuration),
        dialect: Dialect::Terraform,
        settings: &settings,
    };
    let selection = select(&workspace, &judge).unwrap();
    assert_eq!((selection.files, selection.cases.len()), (0, 1));
    assert!(!workspace.module().join("tests/a.tftest.hcl").exists());
}

#[test]
fn providers_and_modules_of_tests_are_named_for_the_operators_list() {
    let files = [
        ("main.tf", MAIN),
        ("tests/setup/main.tf", "resource \"null_resource\" \"a\" {}\n"),
        (
            "tests/a.tftest.hcl",
            "mock_provider \"random\" {}\nrun \"a\" {\n  command = plan\n  module {\n    source = \
             \"./tests/setup\"\n  }\n}\n",
        ),
    ];
    let one = scene(&files, &TestSettings::default());
    assert!(one.selection().needs_more);
    let named: Vec<_> = one.selection().named.keys().map(String::as_str).collect();
    assert_eq!(
        named,
        ["registry.terraform.io/hashicorp/null", "registry.terraform.io/hashicorp/random"]
    );
    let plain = scene(&[("main.tf", MAIN), ("a.tftest.hcl", MOCKED)], &TestSettings::default());
    assert!(!plain.selection().needs_more);
}
