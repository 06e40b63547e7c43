//! Routes that the OpenAPI document knows.

use axum::Router;
use axum::handler::Handler;
use axum::routing::MethodRouter;
use utoipa::openapi::OpenApi;
use utoipa_axum::PathItemExt as _;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

use crate::state::ApiState;

/// What is wanted of the routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// To serve them.
    Router,
    /// To describe them.
    Document,
}

/// The handlers of one path; `routes!` makes it.
pub(crate) struct Route {
    /// The path, as axum has it.
    pub(crate) path: String,
    /// The handlers.
    pub(crate) methods: MethodRouter<ApiState>,
    /// The same, and what is said of them.
    pub(crate) describe: fn() -> UtoipaMethodRouter<ApiState>,
}

/// A [`Route`] of handlers with `#[utoipa::path]`, all of one path. It is utoipa's macro of this name,
/// but describes nothing before it is asked.
macro_rules! routes {
    ($module:ident::$handler:ident $(, $modules:ident::$handlers:ident)* $(,)?) => {
        utoipa_axum::paste! {
            $crate::rest::documented::Route {
                path: <$module::[<__path_ $handler>] as utoipa::Path>::path(),
                methods: {
                    let methods = axum::routing::MethodRouter::new();
                    let methods = $crate::rest::documented::with::<
                        $module::[<__path_ $handler>], _, _,
                    >(methods, $module::$handler);
                    $(let methods = $crate::rest::documented::with::<
                        $modules::[<__path_ $handlers>], _, _,
                    >(methods, $modules::$handlers);)*
                    methods
                },
                describe: || {
                    utoipa_axum::routes!($module::$handler $(, $modules::$handlers)*)
                },
            }
        }
    };
}

pub(crate) use routes;

/// Adds a handler for the methods that it says it is for.
pub(crate) fn with<P: utoipa::Path, H: Handler<T, ApiState>, T: 'static>(
    methods: MethodRouter<ApiState>,
    handler: H,
) -> MethodRouter<ApiState> {
    P::methods()
        .iter()
        .fold(methods, |methods, method| methods.on(method.to_method_filter(), handler.clone()))
}

/// Routes, or their descriptions. Those are several megabytes while a document is made of them, and the
/// functions that say it are as many; who is only to serve would keep both for good.
pub(crate) struct Documented {
    wanted: Wanted,
    router: Router<ApiState>,
    document: OpenApi,
}

impl Documented {
    /// None yet.
    pub(crate) fn new(wanted: Wanted) -> Self {
        Self { wanted, router: Router::new(), document: OpenApi::default() }
    }

    /// Adds handlers of one path.
    pub(crate) fn routes(self, route: Route) -> Self {
        match self.wanted {
            Wanted::Router => {
                Self { router: self.router.route(&route.path, route.methods), ..self }
            }
            Wanted::Document => {
                let described = OpenApiRouter::<ApiState>::with_openapi(self.document);
                let document = described.routes((route.describe)()).into_openapi();
                debug_assert!(document.paths.paths.contains_key(&route.path), "{}", route.path);
                Self { document, ..self }
            }
        }
    }

    /// Adds other routes, of which the same is wanted.
    pub(crate) fn merge(mut self, other: Self) -> Self {
        self.document.merge(other.document);
        Self { router: self.router.merge(other.router), ..self }
    }

    /// Wraps the routes that are there.
    pub(crate) fn wrapped(self, layer: impl FnOnce(Router<ApiState>) -> Router<ApiState>) -> Self {
        Self { router: layer(self.router), ..self }
    }

    /// The routes alone.
    pub(crate) fn into_router(self) -> Router<ApiState> {
        self.router
    }

    /// What is said of them, on top of `base`.
    pub(crate) fn describe(self, mut base: OpenApi) -> OpenApi {
        base.merge(self.document);
        base
    }
}
