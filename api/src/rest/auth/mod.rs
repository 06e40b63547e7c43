//! `/api/v1/auth` and `/api/v1/accounts`: who there is, and how they sign in.

pub(crate) mod account;
pub(crate) mod api_key;
pub(crate) mod exchange;
pub(crate) mod provider;
pub(crate) mod session;
pub(crate) mod sign_in;
pub(crate) mod well_known;

use crate::rest::documented::routes;
use crate::rest::{Documented, Wanted};

/// Every route of these files.
pub(crate) fn routes(wanted: Wanted) -> Documented {
    Documented::new(wanted)
        .routes(routes!(sign_in::register))
        .routes(routes!(sign_in::login))
        .routes(routes!(sign_in::refresh))
        .routes(routes!(sign_in::logout))
        .routes(routes!(sign_in::me))
        .routes(routes!(sign_in::change_password))
        .routes(routes!(session::list_sessions, session::revoke_sessions))
        .routes(routes!(session::revoke_session))
        .routes(routes!(api_key::list_api_keys, api_key::create_api_key))
        .routes(routes!(api_key::revoke_api_key))
        .routes(routes!(provider::list_providers))
        .routes(routes!(provider::start_sign_in))
        .routes(routes!(provider::finish_sign_in))
        .routes(routes!(provider::list_identities))
        .routes(routes!(provider::link_identity, provider::unlink_identity))
        .routes(routes!(exchange::exchange_token))
        .routes(routes!(exchange::list_trust_rules, exchange::create_trust_rule))
        .routes(routes!(exchange::delete_trust_rule))
        .routes(routes!(account::list_accounts, account::create_account))
        .routes(routes!(account::get_account))
        .routes(routes!(account::disable_account))
        .routes(routes!(account::enable_account))
        .routes(routes!(account::list_account_keys))
        .routes(routes!(account::list_account_sessions, account::revoke_account_sessions))
        .routes(routes!(well_known::get_jwks))
        .routes(routes!(well_known::get_resource_metadata))
        .routes(routes!(well_known::get_mcp_resource_metadata))
}
