//! REST under `/api/v1`: one file a feature, one handler a verb. Every route is made with
//! `routes!`, so that what is served and what is documented are one list.

pub(crate) mod approval;
pub(crate) mod artifact;
pub(crate) mod audit;
pub(crate) mod auth;
mod conditional;
pub(crate) mod deployment;
pub(crate) mod documented;
pub(crate) mod drift;
pub(crate) mod exemption;
pub(crate) mod follow;
pub(crate) mod gate;
pub(crate) mod job;
pub(crate) mod member;
mod page;
pub(crate) mod policy;
pub(crate) mod price;
pub(crate) mod project;
pub(crate) mod queue;
pub(crate) mod recovery;
pub(crate) mod report;
pub(crate) mod setting;
pub(crate) mod stack;
pub(crate) mod state;
pub(crate) mod state_version;
mod tagged;
pub(crate) mod template;
pub(crate) mod test;
mod upload;
pub(crate) mod worker;

use std::time::Duration;

use axum::extract::DefaultBodyLimit;

use crate::state::{ApiOptions, UPLOAD_FACTOR};
use crate::{docs, health, middleware, openapi};

use documented::routes;
pub(crate) use documented::{Documented, Wanted};

/// A long poll waits at most this long.
pub(crate) const MAX_WAIT: Duration = Duration::from_mins(1);

/// Every documented route.
pub(crate) fn routes(options: &ApiOptions, wanted: Wanted) -> Documented {
    let quick = Documented::new(wanted)
        .routes(routes!(deployment::list_deployments))
        .routes(routes!(deployment::get_deployment_plan))
        .routes(routes!(approval::approve_deployment))
        .routes(routes!(approval::reject_deployment))
        .routes(routes!(approval::list_deployment_approvals))
        .routes(routes!(approval::revoke_deployment_approval))
        .routes(routes!(deployment::apply_deployment))
        .routes(routes!(deployment::cancel_deployment))
        .routes(routes!(deployment::get_deployment_outputs))
        .routes(routes!(
            gate::list_gate_settings,
            gate::set_gate_settings,
            gate::delete_gate_settings
        ))
        .routes(routes!(gate::resolve_gate_settings))
        .routes(routes!(report::get_deployment_report))
        .routes(routes!(report::get_deployment_report_page))
        .routes(routes!(report::get_deployment_report_sarif))
        .routes(routes!(report::reconsider_deployment))
        .routes(routes!(recovery::get_deployment_recovery, recovery::resolve_deployment_recovery))
        .routes(routes!(test::get_deployment_tests, test::test_deployment))
        .routes(routes!(follow::get_deployment_logs))
        .routes(routes!(follow::get_deployment_events))
        .routes(routes!(artifact::get_artifact))
        .routes(routes!(audit::list_audit))
        .routes(routes!(audit::export_audit))
        .routes(routes!(audit::verify_audit))
        .routes(routes!(audit::get_audit_checkpoint))
        .routes(routes!(stack::list_stacks))
        .routes(routes!(stack::get_stack))
        .routes(routes!(stack::list_stack_deployments))
        .routes(routes!(drift::list_drift))
        .routes(routes!(drift::get_stack_drift))
        .routes(routes!(drift::check_stack_drift))
        .routes(routes!(drift::reconcile_stack_drift))
        .routes(routes!(drift::get_stack_drift_settings, drift::set_stack_drift_settings))
        .routes(routes!(template::list_templates))
        .routes(routes!(template::get_template))
        .routes(routes!(template::list_template_versions))
        .routes(routes!(template::get_template_version, template::delete_template_version))
        .routes(routes!(template::download_template))
        .routes(routes!(template::render_template))
        .routes(routes!(template::deprecate_template))
        .routes(routes!(template::restore_template))
        .routes(routes!(policy::list_policies))
        .routes(routes!(policy::get_policy))
        .routes(routes!(policy::get_policy_version, policy::remove_policy_version))
        .routes(routes!(policy::get_policy_source))
        .routes(routes!(price::get_prices, price::remove_prices))
        .routes(routes!(exemption::list_exemptions, exemption::create_exemption))
        .routes(routes!(exemption::get_exemption))
        .routes(routes!(exemption::revoke_exemption))
        .routes(routes!(setting::list_settings, setting::create_setting))
        .routes(routes!(setting::resolve_settings))
        .routes(routes!(setting::get_setting, setting::update_setting, setting::delete_setting))
        .routes(routes!(setting::list_setting_versions))
        .routes(routes!(setting::diff_setting))
        .routes(routes!(setting::rollback_setting))
        .routes(routes!(setting::list_setting_audit))
        .routes(routes!(setting::reveal_setting))
        .routes(routes!(setting::rotate_setting))
        .routes(routes!(project::list_projects, project::create_project))
        .routes(routes!(project::get_project, project::change_project, project::remove_project))
        .routes(routes!(member::list_project_members))
        .routes(routes!(
            member::get_project_member,
            member::set_project_member,
            member::remove_project_member
        ))
        .routes(routes!(member::list_members))
        .routes(routes!(member::get_member, member::set_member, member::remove_member))
        .routes(routes!(queue::list_queues))
        .routes(routes!(queue::get_queue_stats))
        .routes(routes!(queue::set_queue))
        .routes(routes!(queue::pause_queue))
        .routes(routes!(queue::resume_queue))
        .routes(routes!(worker::list_workers))
        .routes(routes!(job::list_jobs))
        .routes(routes!(job::get_job))
        .routes(routes!(job::requeue_job))
        .routes(routes!(job::requeue_jobs))
        .routes(routes!(job::purge_jobs))
        .routes(routes!(health::livez))
        .routes(routes!(health::readyz))
        .routes(routes!(health::get_health))
        .routes(routes!(health::get_metrics))
        .routes(routes!(openapi::get_openapi))
        .routes(routes!(docs::get_problem_page))
        .merge(auth::routes(wanted));
    let waiting = Documented::new(wanted).routes(routes!(deployment::get_deployment));
    let upload = Documented::new(wanted)
        .routes(routes!(deployment::submit_deployment))
        .routes(routes!(artifact::upload_artifact))
        .routes(routes!(template::publish_template))
        // Tests of a pack, and a pack on many plans, may take their time.
        .routes(routes!(policy::list_policy_versions, policy::upload_policy))
        .routes(routes!(policy::dry_run_policy))
        .routes(routes!(price::list_prices, price::import_prices));
    // Both parts of a multipart body, and what is between them.
    let body = DefaultBodyLimit::max(
        options.max_archive_bytes.saturating_add(options.max_body_bytes).saturating_add(65536),
    );
    let mut state = routes!(state::get_state, state::write_state, state::delete_state);
    // Terraform's own methods, which OpenAPI has no words for, come with the rest.
    state.methods = state.methods.fallback(state::other_method);
    let states = Documented::new(wanted)
        .routes(state)
        .routes(routes!(state::get_state_lock, state::take_state_lock, state::release_state))
        .routes(routes!(state::unlock_state))
        .routes(routes!(state_version::import_state))
        .routes(routes!(state_version::diff_state))
        .routes(routes!(state_version::list_state_versions))
        .routes(routes!(state_version::get_state_version))
        .routes(routes!(state_version::download_state_version))
        .routes(routes!(state_version::restore_state_version))
        .routes(routes!(state_version::list_orphan_states))
        .routes(routes!(state_version::discard_orphan_state))
        .routes(routes!(state_version::download_orphan_state))
        .routes(routes!(state_version::adopt_orphan_state));
    let within = |limit: Duration| axum::middleware::from_fn_with_state(limit, middleware::in_time);
    let long = within(options.request_timeout * UPLOAD_FACTOR);
    quick
        .wrapped(|routes| routes.layer(within(options.request_timeout)))
        .merge(waiting.wrapped(|routes| routes.layer(within(options.request_timeout + MAX_WAIT))))
        .merge(states.wrapped(|routes| routes.layer(long.clone())))
        .merge(upload.wrapped(|routes| routes.layer(body).layer(long)))
}
