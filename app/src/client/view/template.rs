//! Templates.

use std::fmt::Write as _;

use slipway_domain::template::{Constraint, Rendered, Template, TemplateSource, TemplateState};

use super::{plain, plain_lines, table};

/// Templates, one a line.
pub fn templates(items: &[Template]) -> String {
    if items.is_empty() {
        return "The server has no templates.\n".to_owned();
    }
    let rows = items.iter().map(|it| {
        let required: Vec<_> =
            it.inputs.iter().filter(|i| i.required).map(|i| i.name.as_str()).collect();
        let required = if required.is_empty() { "-".to_owned() } else { required.join(", ") };
        vec![
            plain(&it.name).into_owned(),
            version(it),
            plain(&it.title).into_owned(),
            plain(&required).into_owned(),
        ]
    });
    table(&["TEMPLATE", "VERSION", "TITLE", "REQUIRED INPUTS"], rows)
}

fn version(it: &Template) -> String {
    match (it.source, it.state) {
        (TemplateSource::BuiltIn, _) => "built in".to_owned(),
        (TemplateSource::OperatorDirectory, _) => "directory".to_owned(),
        (TemplateSource::Uploaded, TemplateState::Active) => it.version.to_string(),
        (TemplateSource::Uploaded, TemplateState::Deprecated) => {
            format!("{} (deprecated)", it.version)
        }
    }
}

/// One template with its inputs.
pub fn template(it: &Template) -> String {
    let mut text = format!("{}: {}\n", plain(&it.name), plain(&it.title));
    if !it.description.trim().is_empty() {
        let _ = writeln!(text, "{}", plain_lines(it.description.trim()));
    }
    let mut facts = match it.source {
        TemplateSource::BuiltIn => "built in".to_owned(),
        TemplateSource::OperatorDirectory => "from the operator's directory".to_owned(),
        TemplateSource::Uploaded => {
            let newest = it.latest_version;
            let offered = it.version;
            let state = if it.state == TemplateState::Deprecated { ", deprecated" } else { "" };
            if newest == offered {
                format!("version {offered}{state}")
            } else {
                format!("version {offered}{state}; the newest is {newest}")
            }
        }
    };
    if let Some(category) = &it.category {
        let _ = write!(facts, "; {}", plain(category));
    }
    for (name, value) in &it.labels {
        let _ = write!(facts, "; {}={}", plain(name), plain(value));
    }
    let _ = write!(text, "({facts})\n\n");
    if it.inputs.is_empty() {
        return text + "It takes no inputs.\n";
    }
    let rows = it.inputs.iter().map(|input| {
        let default = match &input.default {
            _ if input.required => "(required)".to_owned(),
            Some(value) => value.to_string(),
            None => "(computed)".to_owned(),
        };
        let about = input.description.as_deref().unwrap_or_default();
        let secret = if input.sensitive { "(sensitive) " } else { "" };
        vec![
            plain(&input.name).into_owned(),
            plain(&input.kind).into_owned(),
            plain(&default).into_owned(),
            format!("{secret}{}", plain(about)),
        ]
    });
    text.push_str(&table(&["INPUT", "TYPE", "DEFAULT", "ABOUT"], rows));
    let constraints = it.inputs.iter().flat_map(|input| {
        let rows = input.constraints.iter().map(|constraint| {
            vec![plain(&input.name).into_owned(), plain(words(constraint)).into_owned()]
        });
        rows.collect::<Vec<_>>()
    });
    let constraints: Vec<_> = constraints.collect();
    if !constraints.is_empty() {
        text.push('\n');
        text.push_str(&table(&["INPUT", "MUST HOLD"], constraints));
    }
    text
}

/// What the template says of a constraint, or the constraint itself.
fn words(constraint: &Constraint) -> &str {
    constraint.message.as_deref().unwrap_or(&constraint.expression)
}

/// What came of publishing.
pub fn published(it: &Template, created: bool) -> String {
    let (name, version) = (plain(&it.name), it.latest_version);
    if created {
        format!("published version {version} of {name}\n")
    } else {
        format!("nothing is new: version {version} of {name} has this content\n")
    }
}

/// Which version is offered now.
pub fn template_state(it: &Template) -> String {
    let name = plain(&it.name);
    match it.state {
        TemplateState::Active => format!("{name}: version {} is offered\n", it.version),
        TemplateState::Deprecated => {
            format!("{name}: deprecated; nobody gets it without naming a version\n")
        }
    }
}

/// A template as it would be deployed.
pub fn rendered(it: &Rendered) -> String {
    let mut text = format!("# {} version {}, {}\n", plain(&it.name), it.version, it.digest);
    for file in &it.files {
        let _ = write!(text, "\n# --- {} ---\n", plain(&file.path));
        match &file.content {
            Some(content) => {
                text.push_str(&plain_lines(content));
                if !content.ends_with('\n') {
                    text.push('\n');
                }
            }
            None => {
                let _ = writeln!(text, "# {} bytes, not shown", file.size_bytes);
            }
        }
    }
    let _ = write!(text, "\n# --- values ---\n{}", plain_lines(&it.tfvars));
    if !it.masked.is_empty() {
        let _ = writeln!(text, "# masked here: {}", plain(&it.masked.join(", ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_template_shows_its_inputs_and_what_must_hold() {
        let mut it: Template = serde_json::from_value(json!({
            "name": "net", "title": "A network", "description": "Makes it.\n", "digest": "sha256:0",
            "source": "uploaded", "version": 2, "latest_version": 3, "category": "network",
            "inputs": [
                {"name": "size", "type": "number", "required": true, "sensitive": false,
                 "nullable": false, "description": "How large", "constraints": [
                    {"rules": [{"minimum": 1}], "complete": true, "expression": "var.size >= 1",
                     "message": "At least one."},
                    {"rules": [], "complete": false, "expression": "f(var.size)"}]},
                {"name": "key", "type": "string", "required": false, "sensitive": true,
                 "nullable": true, "default": ""},
            ],
        }))
        .unwrap();
        assert_eq!(
            template(&it),
            "net: A network\nMakes it.\n(version 2; the newest is 3; network)\n\n\
             INPUT  TYPE    DEFAULT     ABOUT\n\
             size   number  (required)  How large\n\
             key    string  \"\"          (sensitive)\n\
             \n\
             INPUT  MUST HOLD\n\
             size   At least one.\n\
             size   f(var.size)\n"
        );
        let list = templates(std::slice::from_ref(&it));
        assert!(list.contains("net       2        A network  size"), "{list}");
        it.state = TemplateState::Deprecated;
        assert!(templates(&[it]).contains("2 (deprecated)"));
        assert!(templates(&[]).contains("no templates"));
    }

    #[test]
    fn an_old_servers_template_is_built_in() {
        let it: Template = serde_json::from_value(json!({
            "name": "net", "title": "A network", "description": "", "digest": "sha256:0",
            "inputs": [],
        }))
        .unwrap();
        assert_eq!(template(&it), "net: A network\n(built in)\n\nIt takes no inputs.\n");
    }

    #[test]
    fn a_rendering_cannot_draw_on_the_terminal() {
        let it: Rendered = serde_json::from_value(json!({
            "name": "net", "version": 1, "digest": "sha256:0",
            "files": [{"path": "main.tf", "content": "# \u{1b}[2J", "size_bytes": 6},
                      {"path": "x.bin", "size_bytes": 9}],
            "tfvars": "token = \"***\"\n", "tfvars_json": {"token": "***"}, "masked": ["token"],
        }))
        .unwrap();
        let text = rendered(&it);
        assert!(!text.contains('\u{1b}'), "{text:?}");
        assert!(text.contains("# 9 bytes, not shown") && text.ends_with("# masked here: token\n"));
    }
}
