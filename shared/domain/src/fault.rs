//! What can go wrong, in words that every door understands.
//!
//! A [`Fault`] has a stable [`Code`] (what a program acts on) and a detail (what a person reads).
//! The code knows its [`Kind`]; a door maps code and kind to its own form (HTTP status, MCP error,
//! exit code) in one table of its own. Every code has a section in `docs/ERRORS.md`.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The family of a fault. Doors fall back on it when a code needs nothing special.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request itself is wrong; sending it again unchanged cannot work.
    Invalid,
    /// Nobody knows who is asking.
    Unauthenticated,
    /// The caller may not do this.
    Forbidden,
    /// There is no such thing, or the caller may not know that there is.
    NotFound,
    /// The thing is in a state that does not allow this now.
    Conflict,
    /// A condition that the caller named (digest, ETag) does not hold.
    Precondition,
    /// The thing was here and is not any more.
    Gone,
    /// Too much at once; try later.
    Limited,
    /// Something that is needed is down; try later.
    Unavailable,
    /// It took too long.
    Timeout,
    /// Our mistake. The cause is in the log under the trace id, never in the answer.
    Internal,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $kind:ident, $title:literal;)*) => {
        /// Stable names of faults; programs may match on the text form.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// Every code, for docs and tests.
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];

            /// The stable text form.
            pub const fn as_str(self) -> &'static str {
                match self { $(Code::$name => $text,)* }
            }

            /// The family.
            pub const fn kind(self) -> Kind {
                match self { $(Code::$name => Kind::$kind,)* }
            }

            /// One line for people, the same for every occurrence (RFC 9457 `title`).
            pub const fn title(self) -> &'static str {
                match self { $(Code::$name => $title,)* }
            }
        }
    };
}

codes! {
    /// The bytes are not what they claim to be (JSON, multipart, a header).
    Malformed = "malformed_request", Invalid, "The request could not be read";
    /// Well-formed, but one or more fields are wrong; `errors` says which.
    InvalidInput = "invalid_input", Invalid, "One or more fields are not valid";
    /// The Terraform configuration does not parse or does not fit the variables.
    InvalidConfiguration = "invalid_configuration", Invalid, "The configuration is not valid";
    /// A policy pack that does not parse, calls what it must not, or whose own tests fail.
    InvalidPolicy = "invalid_policy", Invalid, "The policy pack is not valid";
    /// An archive with entries outside its tree, links, devices, or more than the limits allow.
    UnsafeArchive = "unsafe_archive", Invalid, "The archive cannot be unpacked safely";
    /// The body is larger than the route allows.
    TooLarge = "too_large", Invalid, "The request is too large";
    /// The content type is not one the route takes.
    UnsupportedMediaType = "unsupported_media_type", Invalid, "The content type is not supported";
    /// The route exists, with other methods.
    MethodNotAllowed = "method_not_allowed", Invalid, "The method is not allowed here";
    /// `Host` or `Origin` is not one that this listener serves.
    Misdirected = "misdirected_request", Invalid, "This server does not serve that host or origin";
    /// The same `Idempotency-Key` came with another body.
    IdempotencyKeyReused = "idempotency_key_reused", Invalid, "The idempotency key was used with another request";
    /// The first request with this `Idempotency-Key` is still being answered.
    IdempotencyInFlight = "idempotency_in_flight", Conflict, "A request with this idempotency key is still running";
    /// No or bad credentials.
    Unauthenticated = "unauthenticated", Unauthenticated, "Authentication is required";
    /// A scope is missing.
    Forbidden = "forbidden", Forbidden, "The caller may not do this";
    /// A directory source outside the allowed root, or where directories are not allowed at all.
    SourceNotAllowed = "source_not_allowed", Forbidden, "This source is not allowed here";
    /// No such thing.
    NotFound = "not_found", NotFound, "There is no such thing";
    /// A plan, log or output that is not there yet.
    NotReady = "not_ready", Conflict, "It is not there yet";
    /// The deployment's state does not allow this move.
    IllegalTransition = "illegal_transition", Conflict, "The deployment is not in a state that allows this";
    /// The caller has approved this plan already, with another comment.
    AlreadyDecided = "already_decided", Conflict, "The caller has decided on this plan already";
    /// Only dead jobs can be requeued.
    JobNotDead = "job_not_dead", Conflict, "The job is not dead";
    /// Somebody else changed the thing at the same time.
    Conflict = "conflict", Conflict, "Somebody else changed this at the same time";
    /// Somebody else holds the lock of the stack's state.
    StateLocked = "state_locked", Conflict, "Somebody else holds the lock of the state";
    /// A state that does not follow the one that is kept.
    StateRefused = "state_refused", Conflict, "The state was not taken";
    /// A template's name that the library itself has.
    TemplateReserved = "template_reserved", Conflict, "The template comes with the library";
    /// A version of a template that deployments name.
    TemplateInUse = "template_in_use", Conflict, "Deployments name this version of the template";
    /// A version of a policy pack that plans are judged by, or one that is built in.
    PolicyInUse = "policy_in_use", Conflict, "The policy pack is in use";
    /// A project of that name is there.
    ProjectExists = "project_exists", Conflict, "There is a project of that name";
    /// A project that stacks, settings or exemptions belong to.
    ProjectInUse = "project_in_use", Conflict, "Something belongs to the project";
    /// The house would be left without anybody who may let others in.
    LastAdmin = "last_admin", Conflict, "Nobody would be an admin of the house any more";
    /// The digest named is not that of the current plan.
    PlanDigestMismatch = "plan_digest_mismatch", Precondition, "The plan named is not the current plan";
    /// A change that must say which version it is made from does not.
    PreconditionRequired = "precondition_required", Precondition, "The change must say which version it is made from";
    /// Something was changed since the caller read it.
    PreconditionFailed = "precondition_failed", Precondition, "It was changed since it was read";
    /// The state moved on since the plan was made; a new plan is being made.
    PlanStale = "plan_stale", Precondition, "The state changed since this plan was made";
    /// A worker that lost its lease tried to write.
    LeaseLost = "lease_lost", Conflict, "The lease of this job is no longer held";
    /// Too many requests.
    RateLimited = "rate_limited", Limited, "Too many requests";
    /// Something needed is down.
    Unavailable = "unavailable", Unavailable, "A dependency is not available";
    /// It took too long.
    Timeout = "timeout", Timeout, "The request took too long";
    /// Our mistake.
    Internal = "internal", Internal, "Something went wrong on our side";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

/// One thing that is wrong with the input, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct FieldError {
    /// JSON pointer (RFC 6901) into the request body, e.g. `/variables/region`; empty for the whole.
    pub pointer: String,
    /// What is wrong and what would be right.
    pub detail: String,
    /// File inside the source tree, when the fault is in the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Column, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
}

impl FieldError {
    /// A fault of the field at `pointer`.
    pub fn at(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            detail: detail.into(),
            file: None,
            line: None,
            column: None,
        }
    }
}

/// A refusal or a failure, ready for any door.
#[derive(Debug, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Fault {
    /// What a program acts on.
    pub code: Code,
    /// What a person reads: what failed, why, what to do. Empty for [`Code::Internal`] at the door.
    pub detail: String,
    /// The fields at fault, if it is about fields.
    pub errors: Vec<FieldError>,
    /// When to come back, in seconds.
    pub retry_after_s: Option<u64>,
    /// It says that there is no such thing because whoever asks may not know of it. For the record of
    /// refusals; no answer tells it.
    pub hides: bool,
    /// The cause, for the log only.
    #[source]
    pub cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Fault {
    /// A fault with a code and what a person should know.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after_s: None,
            hides: false,
            cause: None,
        }
    }

    /// Several fields are wrong.
    pub fn fields(code: Code, errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [one] => one.detail.clone(),
            many => format!("{} fields are not valid; see `errors`.", many.len()),
        };
        Self { errors, ..Self::new(code, detail) }
    }

    /// One field is wrong.
    pub fn field(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::fields(Code::InvalidInput, vec![FieldError::at(pointer, detail)])
    }

    /// There is no `what` called `which`.
    pub fn not_found(what: &str, which: impl fmt::Display) -> Self {
        Self::new(Code::NotFound, format!("There is no {what} {which}."))
    }

    /// The same, of something that whoever asks may not know of.
    #[must_use]
    pub fn hiding(self) -> Self {
        Self { hides: true, ..self }
    }

    /// Whether it refuses who asks, rather than what is asked.
    pub fn is_denial(&self) -> bool {
        self.hides || matches!(self.kind(), Kind::Unauthenticated | Kind::Forbidden)
    }

    /// Our own mistake; `cause` goes to the log.
    pub fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        let cause = cause.into();
        Self { cause: Some(cause), ..Self::new(Code::Internal, "") }
    }

    /// Something we need is down.
    pub fn unavailable(
        what: impl Into<String>,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            cause: Some(cause.into()),
            retry_after_s: Some(2),
            ..Self::new(Code::Unavailable, what)
        }
    }

    /// The same refusal, for another one who asked for the same thing at the same time.
    #[must_use]
    pub fn echo(&self) -> Self {
        let cause = self.cause.is_some().then(|| self.causes().into());
        Self {
            code: self.code,
            detail: self.detail.clone(),
            errors: self.errors.clone(),
            retry_after_s: self.retry_after_s,
            hides: self.hides,
            cause,
        }
    }

    /// The family.
    pub fn kind(&self) -> Kind {
        self.code.kind()
    }

    /// The cause chain in one line, for the log.
    pub fn causes(&self) -> String {
        let mut text = String::new();
        let mut next = self.cause.as_deref().map(|c| c as &dyn std::error::Error);
        while let Some(cause) = next {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&cause.to_string());
            next = cause.source();
        }
        text
    }
}
