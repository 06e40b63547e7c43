//! Docs say what the code does: generated parts are up to date, every code has its section, what
//! the pages tell to run runs, and what `compose/` sets can be set.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use slipway_app::client::exit;
use slipway_domain::fault::Code;
use slipway_domain::state::{DeploymentState, Move};
use slipway_telemetry::metrics::NAMES;

use crate::harness::{Server, command, repository};

fn page(name: &str) -> String {
    let path = repository().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

/// Compares a whole page with what the code says, or writes it.
#[track_caller]
fn is_generated(name: &str, text: &str) {
    let path = repository().join(name);
    if std::env::var_os("SLIPWAY_TEST_UPDATE_SNAPSHOTS").is_some() {
        // In one go: other tests read the pages at the same time.
        let mut whole = tempfile::NamedTempFile::new_in(path.parent().unwrap()).unwrap();
        std::io::Write::write_all(&mut whole, text.as_bytes()).unwrap();
        std::fs::set_permissions(whole.path(), std::fs::Permissions::from_mode(0o644)).unwrap();
        whole.persist(path).unwrap();
    }
    assert_eq!(page(name), text, "refresh {name}: SLIPWAY_TEST_UPDATE_SNAPSHOTS=1 ./test docs");
}

/// The same for the part of a page between its two marks.
#[track_caller]
fn part_is_generated(name: &str, part: &str, text: &str) {
    let whole = page(name);
    let (begin, end) = (format!("<!-- generated: {part} -->\n"), format!("<!-- end of {part} -->"));
    let (head, rest) = whole.split_once(&begin).unwrap_or_else(|| panic!("{name} lacks {begin}"));
    let (_, tail) = rest.split_once(&end).unwrap_or_else(|| panic!("{name} lacks {end}"));
    is_generated(name, &format!("{head}{begin}\n{text}\n{end}{tail}"));
}

/// A cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

/// The page of states, drawn from the table.
fn states_page() -> String {
    let mut page = "# States of a deployment\n\nDrawn from `DeploymentState::next` \
                    (`shared/domain/src/state.rs`) by a test; do not edit. Refresh it with \
                    `SLIPWAY_TEST_UPDATE_SNAPSHOTS=1 ./test docs`.\n\n"
        .to_owned();
    page.push_str("| state | move | next state |\n| --- | --- | --- |\n");
    for state in DeploymentState::ALL {
        let exits: Vec<_> =
            Move::ALL.iter().filter_map(|by| state.next(*by).ok().map(|to| (by, to))).collect();
        if exits.is_empty() {
            let _ = writeln!(page, "| **{state}** | | (the end) |");
        }
        for (i, (by, to)) in exits.iter().enumerate() {
            let name = if i == 0 { format!("**{state}**") } else { String::new() };
            let _ = writeln!(page, "| {name} | {by} | {to} |");
        }
    }
    page
}

#[test]
fn the_page_of_states_is_up_to_date() {
    is_generated("docs/STATES.md", &states_page());
}

#[test]
fn every_error_code_has_its_section_and_no_section_is_left_over() {
    let page = page("docs/ERRORS.md");
    let sections: Vec<_> = page.lines().filter_map(|l| l.strip_prefix("## ")).collect();
    let codes: Vec<_> = Code::ALL.iter().map(|c| c.as_str()).collect();
    assert_eq!(sections, codes, "docs/ERRORS.md has one section a code, in the code's order");
    for code in Code::ALL {
        let status = slipway_api::problem::status(*code).as_u16();
        let head = format!("## {code}\n\n**{status}");
        assert!(page.contains(&head), "the section {code} does not begin with its status {status}");
    }
}

/// What a value of this part of the JSON schema looks like.
fn kind_of(schema: &Value) -> String {
    let words = |list: &Value, of: fn(&Value) -> &Value| -> Vec<String> {
        let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter().filter_map(|one| of(one).as_str()).map(|w| format!("`{w}`")).collect()
    };
    let choices =
        [words(&schema["enum"], |w| w), words(&schema["oneOf"], |w| &w["const"])].concat();
    if !choices.is_empty() {
        return choices.join(", ");
    }
    match schema["x-kind"].as_str() {
        Some("secret") => return "text, secret".to_owned(),
        Some("address") => return "IP address and port".to_owned(),
        Some("slots") => return "queues with numbers".to_owned(),
        _ => {}
    }
    let of = match &schema["type"] {
        Value::Array(types) => types.iter().find(|t| *t != "null").cloned().unwrap_or_default(),
        one => one.clone(),
    };
    let range = || format!("{} to {}", schema["minimum"], schema["maximum"]);
    match of.as_str() {
        Some("boolean") => "`true`, `false`".to_owned(),
        Some("integer") => format!("whole number, {}", range()),
        Some("number") => format!("number, {}", range()),
        Some("array") => "list of texts".to_owned(),
        Some("string") => "text".to_owned(),
        other => panic!("the schema has the type {other:?}, which this page cannot show: {schema}"),
    }
}

fn default_of(default: &Value) -> String {
    match default {
        Value::Null => "not set".to_owned(),
        Value::String(text) if text.is_empty() => "empty".to_owned(),
        Value::String(text) => format!("`\"{text}\"`"),
        Value::Object(table) => {
            let items: Vec<_> = table.iter().map(|(name, n)| format!("{name} = {n}")).collect();
            format!("`{{ {} }}`", items.join(", "))
        }
        other => format!("`{other}`"),
    }
}

#[test]
fn the_page_of_configuration_has_every_key() {
    let schema = slipway_config::json_schema();
    let mut text = String::new();
    let mut keys = slipway_config::keys();
    // Those of no section first, like in a file.
    keys.sort_by_key(|key| (key.path.contains('.'), key.path.clone()));
    let mut open = None;
    for key in keys {
        let section = key.path.rsplit_once('.').map(|(section, _)| section.to_owned());
        let at = |path: &str| {
            path.split('.').fold(&schema, |schema, part| &schema["properties"][part]).clone()
        };
        if text.is_empty() || section != open {
            if let Some(section) = &section {
                let about = at(section)["description"].as_str().unwrap_or_default().to_owned();
                let _ = write!(text, "\n### `[{section}]`\n\n{}\n\n", about.replace('\n', " "));
            }
            text.push_str("| key and variable | default | value | meaning |\n");
            text.push_str("| --- | --- | --- | --- |\n");
            open = section;
        }
        let file = key.env_file().map(|file| format!("<br>`{file}`")).unwrap_or_default();
        let _ = writeln!(
            text,
            "| `{}`<br>`{}`{file} | {} | {} | {} |",
            key.path,
            key.env,
            cell(&default_of(&key.default)),
            cell(&kind_of(&at(&key.path))),
            cell(&key.description)
        );
    }
    part_is_generated("docs/CONFIGURATION.md", "keys", &text);
}

/// The file that the page shows is taken, every line of it.
#[test]
fn the_configuration_that_is_shown_works() {
    let dir = tempfile::tempdir().unwrap();
    let page = page("docs/CONFIGURATION.md");
    let examples = blocks(&page, "toml");
    assert!(!examples.is_empty());
    for (line, example) in examples {
        let file = dir.path().join("slipway.toml");
        std::fs::write(&file, &example).unwrap();
        let shown = command().arg("config").arg("--config").arg(&file).output().unwrap();
        let said = String::from_utf8_lossy(&shown.stderr);
        assert!(shown.status.success(), "docs/CONFIGURATION.md:{line}: {said}");
        // Every line of the example is where a value came from.
        let shown = String::from_utf8_lossy(&shown.stdout);
        let values = example.lines().filter(|line| line.contains(" = ")).count();
        assert_eq!(shown.matches("slipway.toml:").count(), values, "{shown}");
    }
}

#[test]
fn the_page_of_the_command_line_has_every_command_and_exit_code() {
    let mut text = "| code | meaning |\n| --- | --- |\n".to_owned();
    for (exit, meaning) in exit::TABLE {
        let _ = writeln!(text, "| {} | {} |", exit.code(), cell(meaning));
    }
    part_is_generated("docs/CLI.md", "exit codes", &text);
    let page = page("docs/CLI.md");
    let help = command().arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let commands = commands.lines().take_while(|line| !line.is_empty());
    let commands: Vec<_> =
        commands.filter_map(|l| l.strip_prefix("  ")).filter(|l| !l.starts_with(' ')).collect();
    assert!(commands.len() > 15, "{help}");
    for line in commands {
        let name = line.split_whitespace().next().unwrap();
        let row = format!("\n| `slipway {name}` |");
        assert!(page.contains(&row), "docs/CLI.md has no row for `slipway {name}`");
    }
}

#[test]
fn the_page_of_the_api_has_every_route() {
    let document = serde_json::to_value(slipway_api::openapi()).unwrap();
    let mut text = "| route | what it does |\n| --- | --- |\n".to_owned();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            // A path item holds more than methods.
            let Some(summary) = operation["summary"].as_str() else { continue };
            let method = method.to_uppercase();
            let _ = writeln!(text, "| `{method} {path}` | {} |", cell(summary));
        }
    }
    part_is_generated("docs/API.md", "routes", &text);
}

#[test]
fn the_page_of_operations_has_every_metric() {
    let mut text = "| name | kind | labels | meaning |\n| --- | --- | --- | --- |\n".to_owned();
    for metric in NAMES {
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} |",
            metric.name,
            metric.kind.as_str(),
            labels.join(", "),
            cell(metric.help)
        );
    }
    part_is_generated("docs/OPERATIONS.md", "metrics", &text);
}

/// Fenced blocks of one language: the line of the fence, and the text.
fn blocks(page: &str, language: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, bool, String)> = None;
    for (i, line) in page.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(kind)) => open = Some((i + 1, kind == language, String::new())),
            (Some(_), Some(_)) => {
                if let Some((at, true, text)) = open.take() {
                    blocks.push((at, text));
                }
            }
            (Some((.., text)), None) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, None) => {}
        }
    }
    blocks
}

/// Runs the walk of `docs/API.md`, block by block in one shell, against a server.
#[tokio::test(flavor = "multi_thread")]
async fn the_walk_through_the_api_works() {
    let server = Server::start().await;
    let steps = blocks(&page("docs/API.md"), "sh");
    assert!(steps.len() >= 15, "only {} blocks were found", steps.len());
    let mut script = String::new();
    for (line, block) in &steps {
        let _ = write!(script, "echo '=== docs/API.md:{line}'\n{block}");
    }
    // It is the last thing that runs, so a walk that ends early does not pass.
    script.push_str("echo '=== the end'\n");
    let dir = server.path("walk");
    std::fs::create_dir(&dir).unwrap();
    let output = tokio::time::timeout(
        crate::harness::PATIENCE,
        tokio::process::Command::new("bash")
            .args(["-euo", "pipefail", "-c", &script])
            .current_dir(&dir)
            .env("SLIPWAY_URL", &server.url)
            .stdin(std::process::Stdio::null())
            .kill_on_drop(true)
            .output(),
    )
    .await
    .expect("the walk does not end")
    .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.ends_with("=== the end\n"),
        "it ended in the block that is named last:\n{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The backend block and the shell lines of `docs/STATE.md`, with Terraform's own command line.
#[tokio::test(flavor = "multi_thread")]
async fn the_state_backend_is_used_as_it_is_shown() {
    let server = Server::start().await;
    let text = page("docs/STATE.md");
    let [(_, backend)] = blocks(&text, "hcl").try_into().unwrap();
    let (line, script) = blocks(&text, "sh").swap_remove(0);
    let of = crate::harness::request(
        "docs",
        crate::harness::template("hello"),
        crate::harness::hello("docs"),
    );
    let of = crate::harness::planned(&server.client, &of).await.stack_id;
    let dir = server.path("docs");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("backend.tf"), backend).unwrap();
    std::fs::write(dir.join("main.tf"), "resource \"terraform_data\" \"x\" {}\n").unwrap();
    let run = tokio::process::Command::new("bash")
        .args(["-euo", "pipefail", "-c", &script])
        .current_dir(&dir)
        .env_remove("TF_CLI_CONFIG_FILE")
        .env("SLIPWAY_URL", &server.url)
        .env("STACK_ID", of.to_string())
        .env("CHECKPOINT_DISABLE", "1")
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(crate::harness::PATIENCE, run).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "docs/STATE.md:{line}: {said}\n{complained}");
    assert!(said.ends_with("terraform_data.x\n"), "{said}");
    let versions = server.client.state_versions(of, 10).await.unwrap().items;
    assert_eq!(versions[0].resource_count, 1);
    let kept = std::fs::read_to_string(dir.join(".terraform/terraform.tfstate")).unwrap();
    assert!(!kept.contains("any-token"), "the password is kept in .terraform");
}

/// Every page that people read.
fn pages() -> Vec<PathBuf> {
    let mut pages = ["README.md", "ARCHITECTURE.md", "compose/README.md", "k8s/README.md"]
        .map(|name| repository().join(name))
        .to_vec();
    for item in std::fs::read_dir(repository().join("docs")).unwrap() {
        let path = item.unwrap().path();
        if path.extension().is_some_and(|e| e == "md") {
            pages.push(path);
        }
    }
    pages
}

/// Every `slipway …` command in the README and the docs is one that the executable knows.
#[test]
fn commands_in_the_docs_exist() {
    let mut checked = 0;
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        let mut fenced = false;
        for line in text.lines() {
            if line.starts_with("```") {
                fenced = !fenced;
                continue;
            }
            let line = line.trim_start_matches("$ ").trim();
            let Some(rest) = line.strip_prefix("slipway ").filter(|_| fenced) else { continue };
            let words = rest.split_whitespace();
            let words: Vec<_> =
                words.take_while(|w| !["#", "|", "||", "&&", ">"].contains(w)).collect();
            if words.is_empty() {
                continue;
            }
            // Everything before the first flag, because a command may have commands of its own.
            let verbs: Vec<_> = words.iter().take_while(|w| !w.starts_with('-')).collect();
            let known = command().args(&verbs).arg("--help").output().unwrap();
            assert!(known.status.success(), "{}: `{line}` is unknown", page.display());
            let help = String::from_utf8_lossy(&known.stdout).into_owned();
            for flag in words.iter().filter(|w| w.starts_with("--")) {
                let flag = flag.split('=').next().unwrap();
                assert!(help.contains(flag), "{}: `{line}` has no {flag}", page.display());
            }
            checked += 1;
        }
    }
    assert!(checked >= 5, "only {checked} commands were found in the docs");
}

/// The name that GitHub gives to a heading's anchor.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
}

/// Links between the pages lead to files and headings that are there.
#[test]
fn links_between_the_pages_hold() {
    let mut checked = 0;
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") || link.contains(char::is_whitespace) {
                continue;
            }
            let (file, fragment) = link.split_once('#').unwrap_or((link, ""));
            let target =
                if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            assert!(target.exists(), "{}: {link} leads nowhere", page.display());
            if !fragment.is_empty() {
                let text = std::fs::read_to_string(&target).unwrap();
                let mut headings = text.lines().filter(|line| line.starts_with('#'));
                let found = headings
                    .any(|line| anchor(line.trim_start_matches('#').trim_start()) == fragment);
                assert!(found, "{}: {link}: there is no such heading", page.display());
            }
            checked += 1;
        }
    }
    assert!(checked >= 10, "only {checked} links were found");
}

/// The names of variables of ours in a text.
fn variables_in(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let words = text.split(|c: char| !is_part(c));
    words.filter(|word| word.starts_with("SLIPWAY_")).map(str::to_owned).collect()
}

#[test]
fn every_variable_that_is_named_exists() {
    let mut known: BTreeSet<_> =
        slipway_config::keys().iter().flat_map(|k| [Some(k.env.clone()), k.env_file()]).collect();
    known.extend(
        [
            slipway_config::CONFIG_VARIABLE,
            slipway_config::URL_VARIABLE,
            slipway_config::TOKEN_VARIABLE,
        ]
        .map(|n| Some(n.to_owned())),
    );
    let mut files = pages();
    files
        .extend(["compose.yaml", "Dockerfile"].map(|name| repository().join("compose").join(name)));
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for name in variables_in(&text) {
            // A page may speak of all of them, of the tests' own, and show a mistake on purpose.
            let spoken = ["SLIPWAY_", "SLIPWAY_API_LISEN"].contains(&name.as_str())
                || name.starts_with("SLIPWAY_TEST_")
                || name.starts_with("SLIPWAY_BENCH_");
            assert!(
                spoken || known.contains(&Some(name.clone())),
                "{} names {name}, which is no key of the configuration",
                file.display()
            );
        }
    }
}

/// The lines below a key of a YAML file as we write it, two blanks a level.
fn below<'t>(text: &'t str, key: &str) -> Vec<&'t str> {
    let depth = key.len() - key.trim_start().len();
    let begin = format!("{key}:");
    let lines = text.lines().skip_while(|line| !line.starts_with(&begin)).skip(1);
    let inside =
        |line: &&str| line.trim().is_empty() || line.len() - line.trim_start().len() > depth;
    lines.take_while(inside).collect()
}

/// No container is reachable from other machines, what it starts is a command of ours, and what it
/// is given fits together.
#[test]
fn compose_starts_what_exists_and_opens_nothing() {
    let text = page("compose/compose.yaml");
    assert!(!text.contains('\t'), "YAML has no tabs");
    let services: Vec<_> = below(&text, "services")
        .into_iter()
        .filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':'))
        .filter(|name| !name.starts_with([' ', '#']))
        .collect();
    assert_eq!(services, ["postgres", "api", "worker"]);
    for service in services {
        let of = below(&text, &format!("  {service}"));
        let value = |key: &str| {
            let line = of.iter().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix(':'));
            line.map(str::trim)
        };
        for port in of.iter().filter_map(|line| line.trim().strip_prefix("- \"")) {
            assert!(port.starts_with("127.0.0.1:"), "{service} opens {port}");
        }
        if let Some(address) = value("SLIPWAY_API_LISTEN") {
            let address: std::net::SocketAddr = address.trim_matches('"').parse().unwrap();
            assert!(address.ip().is_loopback(), "{service} listens on {address}");
        }
        let Some(verb) = value("command") else { continue };
        let verb: Vec<String> = serde_json::from_str(verb).unwrap();
        let help = command().args(&verb).arg("--help").output().unwrap();
        assert!(help.status.success(), "{service} starts {verb:?}");
        // Its own settings are taken together, and its time to stop is longer than the drain.
        let own = of.iter().filter_map(|line| line.trim().split_once(": "));
        let own: Vec<_> = own.filter(|(name, _)| name.starts_with("SLIPWAY_")).collect();
        assert!(!own.is_empty(), "{service} has no settings");
        let shown = command()
            .arg("config")
            .current_dir(std::env::temp_dir())
            .envs(own.iter().map(|(name, value)| (*name, value.trim_matches('"'))))
            .output()
            .unwrap();
        assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
        let seconds = |text: &str| text.trim_matches(['"', 's']).parse::<u64>().unwrap();
        let stop = seconds(value("stop_grace_period").unwrap());
        // The API lets requests finish for ten seconds.
        let drain = value("SLIPWAY_WORKER_DRAIN_GRACE_S").map_or(10, seconds);
        assert!(stop > drain, "{service} is killed after {stop} s and drains for {drain} s");
    }
    // Every secret that is used is declared, comes from a file, and is not in the repository.
    let declared: BTreeSet<_> = below(&text, "secrets")
        .into_iter()
        .filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':'))
        .collect();
    let used = text.lines().filter_map(|line| line.trim().strip_prefix("secrets: ["));
    let used: BTreeSet<_> = used.flat_map(|list| list.trim_end_matches(']').split(", ")).collect();
    assert_eq!(used, declared);
    for name in declared {
        assert!(text.contains(&format!("file: ./secrets/{name}\n")), "{name}");
    }
    assert!(page("compose/.gitignore").contains("/secrets/"));
}

/// What the image is built from is there, and what must not get into it is left out.
#[test]
fn the_image_is_built_from_what_is_there() {
    let ignored = page("compose/Dockerfile.dockerignore");
    let rules: Vec<_> = ignored.lines().filter(|l| !l.starts_with('#') && !l.is_empty()).collect();
    assert_eq!(rules.first(), Some(&"*"), "everything is left out that is not let in");
    let let_in: BTreeSet<_> = rules.iter().filter_map(|rule| rule.strip_prefix('!')).collect();
    for name in &let_in {
        assert!(repository().join(name).exists(), "{name} is not there");
    }
    let members = page("Cargo.toml");
    let (_, members) = members.split_once("members = [").unwrap();
    let members = members.split(']').next().unwrap();
    for member in members.split('"').skip(1).step_by(2) {
        let top = Path::new(member).iter().next().unwrap().to_str().unwrap();
        assert!(let_in.contains(top), "the workspace needs {member}, which is left out");
    }
    for needed in [".cargo", "Cargo.toml", "Cargo.lock", "examples", "migrations", "release"] {
        assert!(let_in.contains(needed), "the build needs {needed}");
    }
    let dockerfile = page("compose/Dockerfile");
    let last = dockerfile.lines().rfind(|line| line.starts_with("USER "));
    assert_eq!(last, Some("USER slipway"), "it runs as root");
}

/// What a program of the repository writes to its standard output and its standard error.
fn said_by(program: &str, arguments: &[&std::ffi::OsStr]) -> (String, String) {
    let output = std::process::Command::new(program)
        .args(arguments)
        .current_dir(repository())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{program}: {said}");
    (String::from_utf8(output.stdout).unwrap(), said)
}

/// The order that `./release` links in fits any build: most of the functions are found by their
/// paths in this one, which has other names for them, and none is named twice or is not there.
#[test]
fn the_order_of_functions_fits_another_build() {
    let executable = command();
    let executable = executable.get_program();
    let (order, said) = said_by("app/link/fit", &[executable]);
    let (defined, _) =
        said_by("nm", &["--defined-only".as_ref(), "--format=posix".as_ref(), executable]);
    let defined: BTreeSet<&str> =
        defined.lines().filter_map(|line| line.split(' ').next()).collect();
    let named: BTreeSet<&str> = order.lines().collect();
    assert_eq!(named.len(), order.lines().count(), "none is named twice");
    assert!(named.is_subset(&defined), "{:?}", named.difference(&defined).next());
    let listed: usize = said.split(' ').nth(2).unwrap().parse().unwrap();
    assert!(listed > 5_000 && named.len() > listed / 2, "run app/link/train: {said}");
}

/// What the units of a crate share is named after a unit, and the names of units change with every
/// edit: such a function is found by its hash, whatever else has its path and its size.
#[test]
fn the_order_of_functions_does_not_hang_on_the_names_of_units() {
    let executable = command();
    let executable = executable.get_program();
    let (defined, _) =
        said_by("nm", &["--defined-only".as_ref(), "--format=posix".as_ref(), executable]);
    let names: BTreeSet<&str> = defined
        .lines()
        .filter_map(|line| match line.split(' ').collect::<Vec<_>>()[..] {
            [name, "t" | "T", _, _] if name.contains("slipway_api") && name.ends_with('E') => {
                Some(name)
            }
            _ => None,
        })
        .take(500)
        .collect();
    assert_eq!(names.len(), 500);
    let list: String = names.iter().map(|name| format!("1 {name}.llvm.4711\n")).collect();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("list");
    std::fs::write(&path, list).unwrap();
    let (order, said) = said_by("app/link/fit", &[executable, path.as_os_str()]);
    assert_eq!(order.lines().collect::<Vec<_>>(), names.into_iter().collect::<Vec<_>>(), "{said}");
}

/// Nothing that depends on ring or OpenSSL: one TLS stack.
#[test]
fn there_is_one_tls_stack() {
    let lock = page("Cargo.lock");
    for name in ["openssl", "openssl-sys", "native-tls", "serde_yaml"] {
        assert!(!lock.contains(&format!("name = \"{name}\"\n")), "{name} is in Cargo.lock");
    }
}
