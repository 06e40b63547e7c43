//! How a person names a stack or a deployment on the command line.

use std::fmt;
use std::str::FromStr;

use slipway_domain::id::{DeploymentId, StackId};
use slipway_domain::stack::StackKey;

/// A stack: by id, or by what names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StackRef {
    /// `stk_…`
    Id(StackId),
    /// `project/name/environment`
    Key(StackKey),
}

/// A deployment: by id, or the latest one of a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeploymentRef {
    /// `dep_…`
    Id(DeploymentId),
    /// The latest one of this stack.
    LatestOf(StackRef),
}

impl FromStr for StackRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("stk_") && !text.contains('/') {
            return text.parse().map(Self::Id).map_err(|bad| format!("{bad}"));
        }
        let mut parts = text.split('/');
        let (Some(project), Some(name), Some(environment), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err("a stack is named PROJECT/NAME/ENV or by its id (stk_…)".to_owned());
        };
        let key = StackKey {
            project: project.to_owned(),
            name: name.to_owned(),
            environment: environment.to_owned(),
        };
        match key.problems().into_iter().next() {
            None => Ok(Self::Key(key)),
            Some(problem) => Err(problem.detail),
        }
    }
}

impl FromStr for DeploymentRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("dep_") && !text.contains('/') {
            return text.parse().map(Self::Id).map_err(|bad| format!("{bad}"));
        }
        if text.contains('/') || text.starts_with("stk_") {
            return text.parse().map(Self::LatestOf);
        }
        Err("a deployment is named by its id (dep_…), or by PROJECT/NAME/ENV for the latest one \
             of that stack"
            .to_owned())
    }
}

impl fmt::Display for StackRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Key(key) => key.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_keys_are_told_apart() {
        let id = "dep_0192f1c0111170008000000000000000";
        assert_eq!(id.parse(), Ok(DeploymentRef::Id(id.parse().unwrap())));
        let key =
            StackKey { project: "shop".into(), name: "net".into(), environment: "dev".into() };
        assert_eq!("shop/net/dev".parse(), Ok(DeploymentRef::LatestOf(StackRef::Key(key.clone()))));
        assert_eq!("shop/net/dev".parse(), Ok(StackRef::Key(key)));
    }

    #[test]
    fn what_is_neither_is_refused_with_what_would_be_right() {
        for (text, word) in [
            ("", "dep_"),
            ("net", "PROJECT/NAME/ENV"),
            ("shop/net", "PROJECT/NAME/ENV"),
            ("shop/net/dev/x", "PROJECT/NAME/ENV"),
            ("shop/Net/dev", "lower-case"),
            ("dep_12", "hexadecimal"),
            ("stk_12", "hexadecimal"),
        ] {
            let error = text.parse::<DeploymentRef>().unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
