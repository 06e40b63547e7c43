//! What may be done again although nobody knows whether it was done.

use slipway_domain::plan::Action;

use super::address::Address;
use crate::subset::Document;

/// Types whose objects exist in the state alone, by the documentation and the source of their
/// providers: to make one computes, or waits, and to remove one forgets. Nothing outside is touched,
/// so what was made of them and not recorded never was.
///
/// | provider | source of it |
/// | --- | --- |
/// | `terraform.io/builtin/terraform` | `internal/builtin/providers/terraform/resource_data.go` of Terraform: stores its input |
/// | `hashicorp/null` | `resource.go`: gives itself a random id |
/// | `hashicorp/random` | "the random provider … generates values within the configuration"; `Delete` only forgets |
/// | `hashicorp/time` | keeps timestamps; `time_sleep` waits |
/// | `hashicorp/tls` | generates keys and certificates "in the state" |
const IN_THE_STATE_ALONE: [(&str, &[&str]); 5] = [
    ("terraform.io/builtin/terraform", &["terraform_data"]),
    ("/hashicorp/null", &["null_resource"]),
    (
        "/hashicorp/random",
        &[
            "random_bytes",
            "random_id",
            "random_integer",
            "random_password",
            "random_pet",
            "random_shuffle",
            "random_string",
            "random_uuid",
        ],
    ),
    ("/hashicorp/time", &["time_offset", "time_rotating", "time_sleep", "time_static"]),
    (
        "/hashicorp/tls",
        &["tls_cert_request", "tls_locally_signed_cert", "tls_private_key", "tls_self_signed_cert"],
    ),
];

/// Whether what the plan does at an address touches nothing but the state: its type is one of
/// those above, from the provider of that name, and no provisioner goes with it, which may do
/// anything.
pub(super) fn is_harmless(approved: &Document, text: &str) -> bool {
    let Some(address) = Address::parse(text) else { return false };
    let Some(provider) = approved.provider(text) else { return false };
    let known = IN_THE_STATE_ALONE.iter().any(|(of, kinds)| {
        let same = provider == *of || (of.starts_with('/') && provider.ends_with(of));
        same && kinds.contains(&address.kind.as_str())
    });
    let provisioned = match approved.provisioners(&address) {
        Some(provisioned) => provisioned,
        // What is not in the configuration any more has none that would run.
        None => approved.action(text) != Some(Action::Delete),
    };
    known && !provisioned
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plan(address: &str, provider: &str, actions: &[&str]) -> Document {
        let plan = json!({
            "format_version": "1.2",
            "resource_changes": [{
                "address": address, "mode": "managed", "type": "t", "name": "n",
                "provider_name": provider,
                "change": {"actions": actions, "before": null, "after": {}},
            }],
            "configuration": {"root_module": {
                "resources": [
                    {"mode": "managed", "type": "null_resource", "name": "bare"},
                    {"mode": "managed", "type": "null_resource", "name": "run",
                     "provisioners": [{"type": "local-exec"}]},
                    {"mode": "data", "type": "null_resource", "name": "data"},
                ],
                "module_calls": {"m": {"module": {"module_calls": {"n": {"module": {"resources": [
                    {"mode": "managed", "type": "terraform_data", "name": "bare"},
                    {"mode": "managed", "type": "terraform_data", "name": "run",
                     "provisioners": [{"type": "remote-exec"}]},
                ]}}}}}},
            }},
        });
        Document::read(plan.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn only_what_lives_in_the_state_and_runs_nothing_is_harmless() {
        let null = "registry.terraform.io/hashicorp/null";
        let builtin = "terraform.io/builtin/terraform";
        let nested = "module.m[\"k\"].module.n.terraform_data";
        for (address, provider, actions, harmless) in [
            ("null_resource.bare", null, "create", true),
            ("null_resource.bare[3]", null, "update", true),
            ("null_resource.bare", "registry.opentofu.org/hashicorp/null", "create", true),
            ("null_resource.bare", "registry.terraform.io/acme/null", "create", false),
            ("null_resource.bare", builtin, "create", false),
            ("null_resource.run", null, "create", false),
            ("null_resource.run", null, "delete", false),
            ("null_resource.data", null, "create", false),
            ("null_resource.gone", null, "create", false),
            ("null_resource.gone", null, "delete", true),
            ("aws_vpc.bare", "registry.terraform.io/hashicorp/aws", "create", false),
            (&format!("{nested}.bare"), builtin, "create", true),
            (&format!("{nested}.run[0]"), builtin, "create", false),
            ("module.x.terraform_data.bare", builtin, "create", false),
            ("terraform_data", builtin, "create", false),
        ] {
            let found = is_harmless(&plan(address, provider, &[actions]), address);
            assert_eq!(found, harmless, "{address} of {provider}: {actions}");
        }
    }
}
