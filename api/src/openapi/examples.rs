//! Examples in the document. A test reads each back into its type.

use serde_json::{Value, json};

/// A template of the library.
pub(crate) fn submit_template() -> Value {
    json!({
        "stack": {"project": "shop", "name": "network", "environment": "dev"},
        "source": {"type": "template", "name": "hello"},
        "variables": {"name": "world"}
    })
}

/// A git repository.
pub(crate) fn submit_git() -> Value {
    json!({
        "stack": {"project": "shop", "name": "network", "environment": "prod"},
        "source": {
            "type": "git",
            "url": "https://git.example.com/shop/infrastructure.git",
            "ref": "main",
            "path": "stacks/network"
        },
        "options": {"auto_apply": false, "expires_in_s": 86400}
    })
}

/// A teardown.
pub(crate) fn submit_destroy() -> Value {
    json!({
        "stack": {"project": "shop", "name": "network", "environment": "dev"},
        "operation": "destroy"
    })
}

/// A deployment that waits for a worker.
pub(crate) fn deployment() -> Value {
    json!({
        "id": "dep_01920000000070008000000000000000",
        "stack_id": "stk_01920000000070008000000000000001",
        "stack": {"project": "shop", "name": "network", "environment": "dev"},
        "driver": "terraform",
        "operation": "deploy",
        "state": "submitted",
        "source": {"type": "template", "name": "hello"},
        "variables": {"name": "world"},
        "options": {"auto_apply": true, "supersede": false, "expires_in_s": 604_800, "priority": "normal"},
        "phases": [{"state": "submitted", "entered_at": "2026-01-01T00:00:00Z"}],
        "submitted_by": {"id": "local", "kind": "person", "via": "rest"},
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "created_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-01T00:00:00Z",
        "waiting": {
            "for": "worker",
            "queue": "plan",
            "position": 1,
            "job_id": "job_01920000000070008000000000000002"
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_domain::deployment::Deployment;
    use slipway_services::deployment::Submit;

    #[test]
    fn examples_are_what_they_are_examples_of() {
        for example in [submit_template(), submit_git(), submit_destroy()] {
            serde_json::from_value::<Submit>(example).unwrap();
        }
        let read: Deployment = serde_json::from_value(deployment()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), deployment());
    }
}
