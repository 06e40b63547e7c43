//! An HTTP client that goes only where its guard lets it: the URL is looked at, its name is resolved
//! by the guard, the connection goes to those addresses, and each redirect begins anew.

use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Method, RequestBuilder, Url, redirect};

use crate::{Guard, Refused};

/// Bounds of a client.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// A connection must be there by then.
    pub connect: Duration,
    /// A whole exchange must be over by then.
    pub deadline: Duration,
    /// Redirects that are followed; each is looked at like the first URL.
    pub redirects: usize,
    /// What the client calls itself.
    pub user_agent: String,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            deadline: Duration::from_secs(15),
            redirects: 0,
            user_agent: concat!("slipway/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// The client. Cheap to clone. It does not bound the size of answers: who reads one does.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    guard: Guard,
}

/// Resolves names for the HTTP client.
struct Guarded(Guard);

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.0.clone();
        Box::pin(async move {
            // The port is the URL's; the client puts it in.
            let found = guard.resolve(name.as_str(), 0).await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

impl Client {
    /// A client behind `guard`.
    pub fn new(guard: Guard, options: &ClientOptions) -> Result<Self, reqwest::Error> {
        let (checks, most) = (guard.clone(), options.redirects);
        let follow = move |attempt: redirect::Attempt<'_>| {
            if attempt.previous().len() > most {
                return match most {
                    // The answer with the redirect is the answer.
                    0 => attempt.stop(),
                    _ => attempt.error(Refused::Redirects(most)),
                };
            }
            match checks.check_url(attempt.url()) {
                Ok(()) => attempt.follow(),
                Err(refused) => attempt.error(refused),
            }
        };
        let http = reqwest::Client::builder()
            .dns_resolver(Guarded(guard.clone()))
            .redirect(redirect::Policy::custom(follow))
            .referer(false)
            // A proxy would resolve the name once more, and by itself.
            .no_proxy()
            .connect_timeout(options.connect)
            .timeout(options.deadline)
            .user_agent(&options.user_agent)
            .build()?;
        Ok(Self { http, guard })
    }

    /// A request, if it may go there.
    pub fn request(&self, method: Method, url: Url) -> Result<RequestBuilder, Refused> {
        self.guard.check_url(&url)?;
        Ok(self.http.request(method, url))
    }

    /// The refusal of the guard behind an error of the client: a name that leads elsewhere, or a
    /// redirect.
    pub fn refusal(error: &reqwest::Error) -> Option<Refused> {
        let mut next = std::error::Error::source(error);
        while let Some(cause) = next {
            if let Some(refused) = cause.downcast_ref::<Refused>() {
                return Some(refused.clone());
            }
            next = cause.source();
        }
        None
    }
}
