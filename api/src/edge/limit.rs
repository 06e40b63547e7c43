//! How many requests a caller may send: a quota for each kind of route, counted for its token and for
//! its address. Counted in Redis for all processes where there is one, and by this process where there
//! is none or it is away: never without bound.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use sha2::{Digest as _, Sha256};
use slipway_domain::access::Principal;
use slipway_domain::fault::{Code, Fault};
use slipway_domain::limit::{FullAt, Quota, Taken};
use slipway_domain::port::buckets::Buckets;

use super::peer::Address;
use crate::credentials;
use crate::problem::Refused;
use crate::state::ApiState;

/// Callers that a process counts one by one; further ones are counted together.
const CALLERS: usize = 65_536;
/// That Redis is away is said again after this long, in microseconds.
const SAY_AGAIN_US: i64 = 60_000_000;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// A kind of route, with a quota of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Whatever shows a password or a token to get another one.
    Login,
    /// Webhooks.
    Webhook,
    /// The MCP endpoint.
    Mcp,
    /// What reads.
    Read,
    /// What changes something.
    Write,
    /// Uploads of archives, templates and policies.
    Upload,
    /// The Terraform state backend.
    State,
}

impl Class {
    /// The name of its policy.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Webhook => "webhook",
            Self::Mcp => "mcp",
            Self::Read => "read",
            Self::Write => "write",
            Self::Upload => "upload",
            Self::State => "state",
        }
    }

    /// The kind of a route; `None` for what is never limited: how the process is.
    pub(crate) fn of(method: &Method, route: &str) -> Option<Self> {
        if matches!(route, "/livez" | "/readyz" | "/health" | "/metrics") {
            return None;
        }
        if route == "/mcp" || route.starts_with("/mcp/") {
            return Some(Self::Mcp);
        }
        if route.starts_with("/api/v1/hooks") || route.starts_with("/webhooks") {
            return Some(Self::Webhook);
        }
        let logins = ["login", "refresh", "register", "token", "exchange", "start", "callback"];
        if let Some(rest) = route.strip_prefix("/api/v1/auth/")
            && rest.split('/').any(|part| logins.contains(&part))
        {
            return Some(Self::Login);
        }
        if route.starts_with("/api/v1/stacks/{id}/state") {
            return Some(Self::State);
        }
        if method.is_safe() {
            return Some(Self::Read);
        }
        let uploads =
            ["/api/v1/artifacts", "/api/v1/templates", "/api/v1/policies/{name}/versions"];
        Some(if uploads.contains(&route) { Self::Upload } else { Self::Write })
    }
}

/// What the operator chose: requests a minute of one token, by kind; 0 for any number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Whether callers on this machine are limited, too.
    pub loopback: bool,
    /// How many times as much all callers of one address may send together.
    pub per_address: u32,
    /// Logins; of these an address may send as many as a token.
    pub login: u32,
    /// Webhooks.
    pub webhook: u32,
    /// MCP.
    pub mcp: u32,
    /// Reading.
    pub read: u32,
    /// Writing.
    pub write: u32,
    /// Uploads.
    pub upload: u32,
    /// States.
    pub state: u32,
}

impl Default for Limits {
    /// None.
    fn default() -> Self {
        Self {
            loopback: false,
            per_address: 1,
            login: 0,
            webhook: 0,
            mcp: 0,
            read: 0,
            write: 0,
            upload: 0,
            state: 0,
        }
    }
}

impl Limits {
    /// The quota of a kind; `None` for any number.
    pub fn quota(&self, class: Class) -> Option<Quota> {
        let requests = match class {
            Class::Login => self.login,
            Class::Webhook => self.webhook,
            Class::Mcp => self.mcp,
            Class::Read => self.read,
            Class::Write => self.write,
            Class::Upload => self.upload,
            Class::State => self.state,
        };
        (requests > 0).then_some(Quota { requests, window_s: 60 })
    }

    /// The quota of all callers of one address.
    fn of_address(&self, class: Class) -> Option<Quota> {
        let Quota { requests, window_s } = self.quota(class)?;
        let times = if class == Class::Login { 1 } else { self.per_address.max(1) };
        Some(Quota { requests: requests.saturating_mul(times), window_s })
    }
}

/// Counts requests. Cheap to clone; clones count together.
#[derive(Clone)]
pub struct Limiter(Arc<Inner>);

struct Inner {
    limits: Limits,
    shared: Option<Arc<dyn Buckets>>,
    own: Mutex<HashMap<u64, FullAt>>,
    hasher: RandomState,
    said_at_us: AtomicI64,
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter").field("limits", &self.0.limits).finish_non_exhaustive()
    }
}

impl Limiter {
    /// Counts by `limits`, in `shared` where it answers.
    pub fn new(limits: Limits, shared: Option<Arc<dyn Buckets>>) -> Self {
        Self(Arc::new(Inner {
            limits,
            shared,
            own: Mutex::default(),
            hasher: RandomState::new(),
            said_at_us: AtomicI64::new(i64::MIN),
        }))
    }

    /// What the operator chose.
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Takes one request of `quota` from `key`; for doors that count something of their own, such as
    /// logins of one account.
    pub async fn take(&self, key: &str, quota: Quota, now_us: i64) -> Taken {
        if let Some(shared) = &self.0.shared {
            match shared.take(key, quota).await {
                Ok(taken) => return taken,
                Err(why) => self.say_away(&why, now_us),
            }
        }
        self.take_here(key, quota, now_us)
    }

    fn say_away(&self, why: &str, now_us: i64) {
        let said = self.0.said_at_us.load(Ordering::Relaxed);
        if now_us.saturating_sub(said) >= SAY_AGAIN_US
            && self
                .0
                .said_at_us
                .compare_exchange(said, now_us, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            tracing::warn!(why, "requests are not counted in Redis; this process counts its own");
        }
    }

    fn take_here(&self, key: &str, quota: Quota, now_us: i64) -> Taken {
        let mut own = self.0.own.lock().unwrap_or_else(PoisonError::into_inner);
        // What is kept of a caller is a number: names as long as they like cost nothing.
        let mut id = self.0.hasher.hash_one(key);
        if own.len() >= CALLERS && !own.contains_key(&id) {
            own.retain(|_, full_at| *full_at > now_us);
            if own.len() >= CALLERS {
                // Nobody gets in for free because there are too many.
                id = 0;
            }
        }
        let (next, taken) = quota.take(own.get(&id).copied().unwrap_or_default(), now_us);
        own.insert(id, next);
        taken
    }
}

/// Who counts as one: a token, or without one an address.
fn token_of(request: &Request) -> Option<String> {
    if let Some(who) = request.extensions().get::<Principal>() {
        let token = who.token.as_deref().unwrap_or_default();
        return Some(format!("{}\n{token}", who.actor.id));
    }
    let token = credentials::presented(request.headers()).ok()??;
    Some(hex(&Sha256::digest(token.reveal().as_bytes())[..16]))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// An IPv6 network of one subscriber is one address.
fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Lets a request through if its token and its address have something left, and says what.
pub(crate) async fn limited(
    State(state): State<ApiState>,
    request: Request,
    next: Next,
) -> Response {
    let limiter = &state.limiter;
    let limits = limiter.limits();
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let address = request.extensions().get::<Address>().map(|Address(address)| *address);
    let here = address.is_none_or(|address| address.to_canonical().is_loopback());
    let class = Class::of(request.method(), route).filter(|_| !here || limits.loopback);
    let Some((class, quota, together)) =
        class.and_then(|class| Some((class, limits.quota(class)?, limits.of_address(class)?)))
    else {
        return next.run(request).await;
    };
    let now_us = state.cx.now().timestamp_micros();
    let name = class.as_str();
    let mut said = Vec::with_capacity(2);
    if let Some(address) = address {
        let key = format!("{name}:a:{}", counted_as(address));
        said.push((
            format!("{name}-address"),
            together,
            limiter.take(&key, together, now_us).await,
        ));
    }
    if said.iter().all(|(_, _, taken)| taken.allowed)
        && let Some(token) = token_of(&request)
    {
        let key = format!("{name}:t:{token}");
        said.push((name.to_owned(), quota, limiter.take(&key, quota, now_us).await));
    }
    // What is nearest to its end counts.
    said.sort_by_key(|(_, quota, taken)| {
        let left = u64::from(taken.remaining) * 1_000_000 / u64::from(quota.requests.max(1));
        (taken.allowed, left)
    });
    let Some((policy, quota, taken)) = said.into_iter().next() else {
        return next.run(request).await;
    };
    let mut response = if taken.allowed {
        next.run(request).await
    } else {
        let whose = if policy == name { "This token" } else { "This address" };
        let detail = format!(
            "{whose} may send {} requests of the kind `{name}` in {} s. Come back in {} s.",
            quota.requests, quota.window_s, taken.retry_after_s
        );
        let retry_after_s = Some(u64::from(taken.retry_after_s));
        Refused(Fault { retry_after_s, ..Fault::new(Code::RateLimited, detail) }).into_response()
    };
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, text: String| {
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(name, value);
        }
    };
    set(POLICY, format!("\"{policy}\";q={};w={}", quota.requests, quota.window_s));
    set(LIMIT, format!("\"{policy}\";r={};t={}", taken.remaining, taken.reset_s));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000;

    #[test]
    fn every_route_has_a_kind() {
        for (method, route, class) in [
            ("GET", "/livez", None),
            ("GET", "/metrics", None),
            ("POST", "/mcp", Some(Class::Mcp)),
            ("POST", "/api/v1/auth/login", Some(Class::Login)),
            ("GET", "/api/v1/auth/providers/{name}/callback", Some(Class::Login)),
            ("GET", "/api/v1/auth/providers/{name}/start", Some(Class::Login)),
            ("GET", "/api/v1/auth/providers", Some(Class::Read)),
            ("GET", "/api/v1/auth/me", Some(Class::Read)),
            ("GET", "/api/v1/stacks/{id}", Some(Class::Read)),
            ("GET", "/api/v1/stacks/{id}/state", Some(Class::State)),
            ("POST", "/api/v1/stacks/{id}/state/lock", Some(Class::State)),
            ("POST", "/api/v1/artifacts", Some(Class::Upload)),
            ("POST", "/api/v1/deployments", Some(Class::Write)),
            ("DELETE", "/api/v1/gates/settings", Some(Class::Write)),
            ("GET", "", Some(Class::Read)),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(Class::of(&method, route), class, "{method} {route}");
        }
    }

    #[test]
    fn too_many_callers_share_what_is_left() {
        let limiter = Limiter::new(Limits::default(), None);
        let quota = Quota { requests: 2, window_s: 60 };
        for caller in 0..CALLERS {
            assert!(limiter.take_here(&caller.to_string(), quota, S).allowed);
        }
        let more = (0..100).filter(|n| limiter.take_here(&format!("x{n}"), quota, S).allowed);
        assert_eq!(more.count(), 2, "together they have one quota");
        assert!(limiter.0.own.lock().unwrap().len() <= CALLERS + 1);
        assert!(limiter.take_here("later", quota, 1000 * S).allowed);
        assert!(limiter.0.own.lock().unwrap().len() < 10, "who has been quiet is forgotten");
    }

    #[derive(Debug)]
    struct Away;

    #[async_trait::async_trait]
    impl Buckets for Away {
        async fn take(&self, _: &str, _: Quota) -> Result<Taken, String> {
            Err("it is away".to_owned())
        }
    }

    #[tokio::test]
    async fn without_redis_a_process_counts_for_itself() {
        let limiter = Limiter::new(Limits::default(), Some(Arc::new(Away)));
        let quota = Quota { requests: 3, window_s: 60 };
        let mut allowed = 0;
        for _ in 0..10 {
            allowed += u32::from(limiter.take("a", quota, S).await.allowed);
        }
        assert_eq!(allowed, 3);
        assert!(limiter.take("b", quota, S).await.allowed);
    }
}
