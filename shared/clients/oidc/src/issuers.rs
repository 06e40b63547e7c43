//! Issuers whose tokens machines show.

use std::collections::BTreeSet;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use slipway_domain::Secret;
use slipway_domain::port::identity_provider::{Claims, IdentityError, TokenIssuers};

use crate::discovery::Issuer;
use crate::fetch::Fetch;
use crate::jwt;

/// The issuers that the operator trusts.
#[derive(Debug)]
pub struct Issuers(Vec<Issuer>);

impl Issuers {
    /// Those with these URLs.
    pub fn new(fetch: &Fetch, urls: &[String]) -> Self {
        Self(urls.iter().map(|url| Issuer::new(fetch.clone(), url)).collect())
    }

    fn find(&self, issuer: &str) -> Option<&Issuer> {
        self.0.iter().find(|one| one.url() == issuer)
    }
}

#[async_trait]
impl TokenIssuers for Issuers {
    fn trusts(&self, issuer: &str) -> bool {
        self.find(issuer).is_some()
    }

    async fn verify(
        &self,
        issuer: &str,
        audiences: &BTreeSet<String>,
        token: &Secret<String>,
        now: DateTime<Utc>,
    ) -> Result<Claims, IdentityError> {
        let found = self.find(issuer);
        let found = found.ok_or_else(|| {
            IdentityError::Refused("the issuer of the token is not trusted".to_owned())
        })?;
        jwt::verify(found, audiences, token, now).await
    }
}
