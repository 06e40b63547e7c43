# Instances and functions, and secrets in plain text.
package slipway.compute

import data.slipway.lib
import rego.v1

vault := "Keep it in a secret manager and read it at run time; change the one that was written down."

rules := {
	"aws_imds_v1": {
		"title": "Instance metadata can be read without a token", "severity": "high",
		"rationale": "One forged request inside the instance gives its credentials away.",
		"remedy": "Set metadata_options { http_tokens = \"required\" }.",
		"aliases": ["CKV_AWS_79", "AVD-AWS-0028", "AWS-0028", "AVD-AWS-0130", "AWS-0130"], "source": "AWS Security Hub EC2.8",
	},
	"aws_user_data_secret": {
		"title": "Secret in user data", "severity": "critical",
		"rationale": "Whoever may describe the instance, or is on it, reads the secret.", "remedy": vault,
		"aliases": ["CKV_AWS_46", "AVD-AWS-0029", "AWS-0029"], "source": "AWS EC2 documentation, user data",
	},
	"provider_keys": {
		"title": "Credentials are written into the configuration of a provider", "severity": "critical",
		"rationale": "They are in the source, its history and every copy of it.",
		"remedy": "Use roles or credentials of the environment; change the ones that were written down.",
		"aliases": ["CKV_AWS_41", "CKV_OPENSTACK_1", "CKV_LIN_1"], "source": "Terraform provider documentation",
	},
	"aws_env_secret": {
		"title": "Secret in an environment variable", "severity": "critical",
		"rationale": "Whoever may describe the function or task reads the secret.", "remedy": vault,
		"aliases": ["CKV_AWS_45"], "source": "AWS Lambda documentation, environment variables",
	},
	"password_literal": {
		"title": "Password is written into the configuration", "severity": "critical",
		"rationale": "It is in the source, its history and every copy of it.",
		"remedy": "Use a sensitive variable, a generated password or manage_master_user_password; change the one that was written down.",
		"aliases": ["CKV_SECRET_6"], "source": "OWASP, use of hard-coded password",
	},
}

# Metadata. A template stands in where the instance itself says nothing.
metadata_state(r) := "unknown" if {
	lib.open_block(r.values, "metadata_options")
} else := lib.any_of({
	tokens_state(lib.at(r.values, ["metadata_options", 0, "http_tokens"], "")),
	lib.want(lib.at(r.values, ["metadata_options", 0, "http_endpoint"], "enabled"), {"disabled"}),
})

# Where nothing is said it is as the account has it.
tokens_state(tokens) := lib.any_of({state |
	some r in input.by_type.aws_ec2_instance_metadata_defaults
	state := lib.want(lib.get(r, "http_tokens", "no-preference"), {"required"})
}) if {
	tokens == ""
} else := lib.want(tokens, {"required"})

result contains found if {
	some type_ in ["aws_instance", "aws_spot_instance_request", "aws_launch_template", "aws_launch_configuration"]
	some r in input.by_type[type_]
	from_template := [1 |
		options := object.get(r.values, "metadata_options", null)
		options in {null, []}
		some template in lib.blocks(r.values, "launch_template")
		template != null
	]
	count(from_template) == 0
	state := metadata_state(r)
	found := lib.said("aws_imds_v1", r, state, "http_tokens is not required.")
}

# Texts that are credentials whatever they stand in.
credential := `(?:AKIA|ASIA)[0-9A-Z]{16}|-----BEGIN [A-Z ]*PRIVATE KEY-----|ghp_[A-Za-z0-9]{36}|xox[baprs]-[0-9A-Za-z-]{10,}|AIza[0-9A-Za-z_-]{35}|sk_live_[0-9a-zA-Z]{20,}`

# Something called a secret that is given a value of its own, which is no reference to another place.
assignment := `(?i)(?:password|passwd|pwd|secret|secret_access_key|secret_key|api_?key|auth_?token|access_?token)["']?\s*[=:]\s*["']?[^\s"'$<{(*]{6,}`

leaks(text) if regex.match(credential, text)

leaks(text) if regex.match(assignment, text)

secret_state(text) := "unknown" if {
	text == lib.unknown
} else := "fail" if {
	leaks(text)
} else := "pass"

decoded(text) := base64.decode(text) if {
	base64.is_valid(text)
} else := text

# What the plan holds, and what the configuration holds where the provider keeps only a hash.
user_data(r) := [text | some name in ["user_data", "custom_data"]; text := lib.get(r, name, null); is_string(text)]

user_data_configured(r) := [text |
	some name in ["user_data", "custom_data", "metadata_startup_script"]
	text := object.get(r.configured, name, null)
	is_string(text)
]

user_data_encoded(r) := [decoded(text) | some name in ["user_data_base64", "user_data", "custom_data"]; text := lib.get(r, name, null); is_string(text)]

result contains found if {
	some type_ in ["aws_instance", "aws_spot_instance_request", "aws_launch_template", "aws_launch_configuration"]
	some r in input.by_type[type_]
	texts := array.concat(array.concat(user_data(r), user_data_encoded(r)), user_data_configured(r))
	state := lib.all_of({secret_state(text) | some text in texts})
	found := lib.said("aws_user_data_secret", r, state, "The user data hold something that looks like a credential.")
}

keys := {
	"access_key", "secret_key", "token", "password", "client_secret", "credentials", "api_key", "api_token", "private_key",
	"sas_token", "client_certificate_password", "application_credential_secret", "secret_access_key", "auth_token",
}

result contains found if {
	some p in input.providers
	some name, value in p.values
	name in keys
	is_string(value)
	count(trim_space(value)) > 0
	fake := [1 | lower(value) in {"mock", "mock_access_key", "mock_secret_key", "test", "fake", "anaccesskey", "asecretkey", "localstack", "dummy"}]
	count(fake) == 0
	path := [1 | name == "credentials"; not startswith(trim_space(value), "{")]
	count(path) == 0
	found := lib.said("provider_keys", {"address": concat(".", ["provider", p.key])}, "fail", sprintf("The argument `%s` is a text in the source.", [name]))
}

naming := `(?i)(?:^|_)(?:password|passwd|pwd|secret|secret_key|secret_access_key|api_?key|auth_?token|access_?token|private_?key)$`

env_state(name, value) := "unknown" if {
	value == lib.unknown
	regex.match(naming, name)
} else := "pass" if {
	value == lib.unknown
} else := "fail" if {
	regex.match(credential, lib.text(value))
} else := "fail" if {
	regex.match(naming, name)
	value_ := lib.text(value)
	count(value_) > 5
	not startswith(value_, "arn:")
	not startswith(value_, "/")
	not startswith(value_, "{{resolve:")
	not startswith(value_, "ssm:")
	not startswith(value_, "https://")
} else := "pass"

result contains found if {
	some r in input.by_type.aws_lambda_function
	some block in lib.blocks(r.values, "environment")
	is_object(block)
	variables := lib.attr(block, "variables", {})
	is_object(variables)
	some name, value in variables
	state := env_state(name, value)
	found := lib.said("aws_env_secret", r, state, sprintf("The variable `%s` holds a secret.", [name]))
}

result contains found if {
	some r in input.by_type.aws_lambda_function
	lib.at(r.values, ["environment", 0, "variables"], {}) == lib.unknown
	found := lib.said("aws_env_secret", r, "unknown", "The variables may hold a secret.")
}

result contains found if {
	some r in input.by_type.aws_ecs_task_definition
	definitions := lib.get(r, "container_definitions", "[]")
	json.is_valid(definitions)
	containers := json.unmarshal(definitions)
	is_array(containers)
	some container in containers
	is_object(container)
	some one in lib.listed(object.get(container, "environment", []))
	name := lib.text(object.get(one, "name", ""))
	state := env_state(name, object.get(one, "value", ""))
	found := lib.said("aws_env_secret", r, state, sprintf("The variable `%s` of a container holds a secret.", [name]))
}

result contains found if {
	some r in input.by_type.aws_ecs_task_definition
	r.values.container_definitions == lib.unknown
	found := lib.said("aws_env_secret", r, "unknown", "The variables may hold a secret.")
}

# Literals in the source only: a value that comes from a variable or a generator is not one.
passwords := {
	"aws_db_instance": "password", "aws_rds_cluster": "master_password", "aws_redshift_cluster": "master_password",
	"aws_docdb_cluster": "master_password", "aws_elasticache_replication_group": "auth_token",
	"aws_iam_user_login_profile": "password", "aws_secretsmanager_secret_version": "secret_string",
	"google_sql_user": "password", "azurerm_mssql_server": "administrator_login_password",
	"azurerm_postgresql_server": "administrator_login_password", "azurerm_postgresql_flexible_server": "administrator_password",
	"azurerm_linux_virtual_machine": "admin_password", "azurerm_windows_virtual_machine": "admin_password",
	"azurerm_mysql_flexible_server": "administrator_password", "ncloud_mysql": "user_password", "ncloud_postgresql": "user_password",
	"aws_dms_endpoint": "password", "aws_directory_service_directory": "password", "aws_docdbelastic_cluster": "admin_user_password",
	"aws_redshiftserverless_namespace": "admin_user_password",
	"google_sql_database_instance": "root_password", "google_secret_manager_secret_version": "secret_data",
	"azurerm_sql_server": "administrator_login_password", "azurerm_mysql_server": "administrator_login_password",
	"azurerm_mariadb_server": "administrator_login_password", "azurerm_mssql_managed_instance": "administrator_login_password",
	"azurerm_synapse_workspace": "sql_administrator_login_password", "azurerm_key_vault_secret": "value",
	"azurerm_linux_virtual_machine_scale_set": "admin_password", "azurerm_windows_virtual_machine_scale_set": "admin_password",
	"ncloud_mssql": "user_password", "ncloud_mongodb": "user_password",
}

result contains found if {
	some kind, name in passwords
	some r in input.by_type[kind]
	value := object.get(r.configured, name, "")
	is_string(value)
	count(value) > 0
	found := lib.said("password_literal", r, "fail", sprintf("`%s` is a text in the source.", [name]))
}
