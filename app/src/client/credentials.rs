//! What the client shows of itself: `SLIPWAY_TOKEN`, or what `slipway login` left in a file that its
//! owner alone can read, by server.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};
use slipway_domain::Secret;

use super::error::ClientError;

/// A token that ends within this time is changed first.
const SOON: Duration = Duration::seconds(30);

/// What is kept for one server.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Kept {
    /// An API key.
    Key {
        /// The key.
        token: String,
    },
    /// A session.
    Session {
        /// What is shown.
        access_token: String,
        /// Until when it is good.
        expires_at: DateTime<Utc>,
        /// What is changed for the next one.
        refresh_token: String,
    },
}

impl Kept {
    /// What can be shown at `now`; `None` when it must be changed first.
    pub(super) fn to_show(&self, now: DateTime<Utc>) -> Option<Secret<String>> {
        match self {
            Self::Key { token } => Some(Secret::new(token.clone())),
            Self::Session { access_token, expires_at, .. } if now + SOON < *expires_at => {
                Some(Secret::new(access_token.clone()))
            }
            Self::Session { .. } => None,
        }
    }
}

/// The file.
#[derive(Debug, Clone)]
pub struct CredentialsFile(PathBuf);

#[derive(Default, Serialize, Deserialize)]
struct Content {
    servers: BTreeMap<String, Kept>,
}

fn wrong(path: &Path, why: impl std::fmt::Display) -> ClientError {
    ClientError::Input(format!("{}: {why}", path.display()))
}

impl CredentialsFile {
    /// The one in this directory.
    pub fn in_dir(dir: &Path) -> Self {
        Self(dir.join("credentials.json"))
    }

    /// The one of whoever runs this; `None` where nobody has a home.
    pub fn of_user() -> Option<Self> {
        slipway_config::user_dir().map(|dir| Self::in_dir(&dir))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    fn read(&self) -> Result<Content, ClientError> {
        use std::os::unix::fs::PermissionsExt as _;
        const OTHERS: u32 = 0o077;
        let text = match std::fs::read(&self.0) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Content::default());
            }
            Err(error) => return Err(wrong(&self.0, error)),
        };
        let mode = std::fs::metadata(&self.0).map_err(|why| wrong(&self.0, why))?.permissions();
        if mode.mode() & OTHERS != 0 {
            let why = "others can read it; `chmod 600` it, and sign in again";
            return Err(wrong(&self.0, why));
        }
        serde_json::from_slice(&text)
            .map_err(|_| wrong(&self.0, "it cannot be read; remove it, and sign in again"))
    }

    /// What is kept for a server.
    pub fn get(&self, server: &str) -> Result<Option<Kept>, ClientError> {
        Ok(self.read()?.servers.remove(server))
    }

    /// Keeps this for a server, or nothing any more.
    pub fn set(&self, server: &str, kept: Option<Kept>) -> Result<(), ClientError> {
        let mut content = self.read()?;
        match kept {
            Some(kept) => content.servers.insert(server.to_owned(), kept),
            None => content.servers.remove(server),
        };
        self.write(&content).map_err(|why| wrong(&self.0, why))
    }

    /// Whole or not at all: another process may read it meanwhile.
    fn write(&self, content: &Content) -> std::io::Result<()> {
        use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
        let dir = self.0.parent().unwrap_or(Path::new("."));
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let mut part = tempfile::Builder::new()
            .permissions(std::fs::Permissions::from_mode(0o600))
            .tempfile_in(dir)?;
        part.write_all(&serde_json::to_vec_pretty(content)?)?;
        part.persist(&self.0).map_err(|error| error.error)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_kept_by_server_and_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let file = CredentialsFile::in_dir(&dir.path().join("a/slipway"));
        assert!(file.get("http://a").unwrap().is_none());
        let key = |text: &str| Kept::Key { token: text.to_owned() };
        file.set("http://a", Some(key("slp_a"))).unwrap();
        file.set("http://b", Some(key("slp_b"))).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(file.path()), 0o600);
        assert_eq!(mode(file.path().parent().unwrap()), 0o700);
        let now = DateTime::from_timestamp(1_767_225_600, 0).unwrap();
        let shown = file.get("http://b").unwrap().unwrap().to_show(now).unwrap();
        assert_eq!(shown.reveal(), "slp_b");
        file.set("http://b", None).unwrap();
        assert!(file.get("http://b").unwrap().is_none());
        assert!(file.get("http://a").unwrap().is_some());
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o644)).unwrap();
        let refused = file.get("http://a").err().unwrap().to_string();
        assert!(refused.contains("chmod 600") && !refused.contains("slp_a"), "{refused}");
    }

    #[test]
    fn a_session_that_ends_soon_is_not_shown() {
        let end = DateTime::from_timestamp(1_767_225_600, 0).unwrap();
        let session = Kept::Session {
            access_token: "a".to_owned(),
            expires_at: end,
            refresh_token: "r".to_owned(),
        };
        assert!(session.to_show(end - Duration::seconds(31)).is_some());
        assert!(session.to_show(end - Duration::seconds(29)).is_none());
    }
}
