//! Which variables of a deployment are secrets, and how they are shown.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::deployment::Variables;
use crate::secret::MASK;
use crate::setting::reference::uses_secret;

/// Variables as they may be shown: every one in `hidden`, and every one that uses a secret of the
/// central configuration, is masked whole.
pub fn masked(variables: &Variables, hidden: &Hidden) -> Variables {
    variables
        .iter()
        .map(|(name, value)| {
            let hide = hidden.covers(name) || uses_secret(value);
            let shown = if hide { Value::from(MASK) } else { value.clone() };
            (name.clone(), shown)
        })
        .collect()
}

/// Which variables are hidden.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hidden {
    /// Nobody has read the configuration yet, so nobody knows: all of them.
    All,
    /// These.
    Names(BTreeSet<String>),
}

impl Hidden {
    /// Whether `name` is hidden.
    pub fn covers(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Names(names) => names.contains(name),
        }
    }
}

/// Every string and number inside the hidden variables: what a redactor must look for.
pub fn secrets_in(variables: &Variables, hidden: &Hidden) -> Vec<String> {
    fn walk(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::String(text) => found.push(text.clone()),
            Value::Number(number) => found.push(number.to_string()),
            Value::Array(items) => items.iter().for_each(|item| walk(item, found)),
            Value::Object(fields) => fields.values().for_each(|item| walk(item, found)),
            Value::Null | Value::Bool(_) => {}
        }
    }
    let mut found = Vec::new();
    for (name, value) in variables {
        if hidden.covers(name) {
            walk(value, &mut found);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn hidden_variables_are_masked_whole_and_found_leaf_by_leaf() {
        let variables: Variables = [
            ("region".to_owned(), json!("eu-1")),
            ("db".to_owned(), json!({"password": "s3cret", "ports": [5432, true, null]})),
        ]
        .into();
        let hidden = Hidden::Names(["db".to_owned()].into());
        let shown = masked(&variables, &hidden);
        assert_eq!(shown["region"], json!("eu-1"));
        assert_eq!(shown["db"], json!("***"));
        assert_eq!(secrets_in(&variables, &hidden), ["s3cret", "5432"]);
        assert_eq!(masked(&variables, &Hidden::All)["region"], json!("***"));
        let uses: Variables =
            [("a".to_owned(), json!(["${secret.pw}"])), ("b".to_owned(), json!("${config.n}"))]
                .into();
        let shown = masked(&uses, &Hidden::Names(BTreeSet::new()));
        assert_eq!((&shown["a"], &shown["b"]), (&json!("***"), &json!("${config.n}")));
    }
}
