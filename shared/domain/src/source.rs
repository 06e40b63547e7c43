//! Where the configuration of a deployment comes from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::fault::FieldError;
use crate::id::ArtifactId;

/// What a submitter names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Source {
    /// A template of the library, by name.
    Template {
        /// Its name in the library.
        #[schema(pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")]
        name: String,
        /// The newest active one when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(minimum = 1)]
        version: Option<i32>,
    },
    /// An archive that was uploaded with `POST /api/v1/artifacts`.
    Archive {
        /// The artifact's id.
        artifact_id: ArtifactId,
        /// The root module's directory inside the archive; the top when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path: Option<String>,
    },
    /// A git repository, fetched by the worker.
    Git {
        /// `https://…`, `ssh://…`, `git@host:…`, or `file://…` where that is allowed.
        #[schema(max_length = 2048, pattern = "^(https?://|ssh://|git@|file://)")]
        url: String,
        /// Branch, tag or commit; the remote's default branch when absent.
        #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
        /// The root module's directory inside the repository; the top when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path: Option<String>,
    },
    /// A directory on the server: only in `slipway dev`, only under an allowed root.
    Directory {
        /// Absolute path, or relative to the allowed root.
        path: String,
    },
}

impl Source {
    /// The word for its kind.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Template { .. } => "template",
            Self::Archive { .. } => "archive",
            Self::Git { .. } => "git",
            Self::Directory { .. } => "directory",
        }
    }

    /// What is wrong with it on its face; empty when all is well.
    pub fn problems(&self) -> Vec<FieldError> {
        let mut problems = Vec::new();
        match self {
            Self::Template { name, version } => {
                if !crate::stack::is_name(name) {
                    problems.push(FieldError::at("/source/name", "name is not a template name"));
                }
                if version.is_some_and(|version| version < 1) {
                    problems.push(FieldError::at("/source/version", "versions count from 1"));
                }
            }
            Self::Archive { path, .. } => check_inner_path(path.as_deref(), &mut problems),
            Self::Git { url, reference, path } => {
                if let Err(why) = check_git_url(url) {
                    problems.push(FieldError::at("/source/url", why));
                }
                if let Some(reference) = reference
                    && !is_git_ref(reference)
                {
                    problems.push(FieldError::at(
                        "/source/ref",
                        "ref must be a branch, a tag or a commit, and may not start with '-'",
                    ));
                }
                check_inner_path(path.as_deref(), &mut problems);
            }
            Self::Directory { path } => {
                if path.is_empty() || path.contains('\0') || path.len() > 4096 {
                    problems.push(FieldError::at("/source/path", "path is not a directory's path"));
                }
            }
        }
        problems
    }
}

/// Whether `path` stays inside the tree it is relative to.
pub fn is_inner_path(path: &str) -> bool {
    !path.is_empty()
        && path.len() <= 1024
        && !path.contains(['\0', '\\'])
        && !path.starts_with('/')
        && path.split('/').all(|part| !part.is_empty() && part != "..")
}

fn check_inner_path(path: Option<&str>, problems: &mut Vec<FieldError>) {
    if let Some(path) = path
        && !is_inner_path(path)
    {
        problems.push(FieldError::at(
            "/source/path",
            "path must be relative and stay inside the source tree",
        ));
    }
}

/// Refuses what git could take for an option or for a helper program (`ext::…`).
fn check_git_url(url: &str) -> Result<(), &'static str> {
    if url.len() > 2048 || url.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return Err("url is too long or contains white space or control characters");
    }
    let known = ["https://", "http://", "ssh://", "git@", "file://"];
    if !known.iter().any(|scheme| url.starts_with(scheme)) {
        return Err("url must start with https://, ssh://, git@ or (where allowed) file://");
    }
    if let Some(rest) = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")) {
        let authority = rest.split('/').next().unwrap_or_default();
        if authority.contains('@') {
            return Err("url must not carry credentials; they would be stored in clear");
        }
    }
    Ok(())
}

fn is_git_ref(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 255
        && !text.starts_with('-')
        && !text.contains("..")
        && text.chars().all(|c| !c.is_control() && !" ~^:?*[\\".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_leaves_the_tree_is_refused() {
        for good in ["a", "a/b", "a.b/c-d", "./a"] {
            assert!(is_inner_path(good), "{good}");
        }
        for bad in ["", "/a", "../a", "a/../b", "a//b", "a\\b", "a/"] {
            assert!(!is_inner_path(bad), "{bad}");
        }
    }

    #[test]
    fn what_git_could_take_for_a_command_is_refused() {
        for bad in ["ext::sh -c id", "--upload-pack=id", "https://u:p@h/r", "ftp://h/r", ""] {
            assert!(check_git_url(bad).is_err(), "{bad}");
        }
        for good in ["https://h/r.git", "git@h:o/r.git", "ssh://git@h/o/r", "file:///srv/r"] {
            assert!(check_git_url(good).is_ok(), "{good}");
        }
        assert!(!is_git_ref("--foo") && !is_git_ref("a..b") && is_git_ref("release/1.2"));
    }
}
