# What no scanner looks at: what the plan removes, how much it touches, what it runs here, and where
# its code comes from.
package slipway.change

import data.slipway.lib
import rego.v1

rules := {
	"stateful_delete": {
		"title": "Something that holds data is deleted or replaced", "severity": "high",
		"rationale": "What it holds is gone; a replacement begins empty.",
		"remedy": "Make sure that there is a backup, or keep it with `moved`, `removed` or lifecycle { prevent_destroy = true }.",
		"aliases": [], "source": "Slipway", "verdict": "require_role", "role": "approver",
	},
	"blast_radius": {
		"title": "The plan touches more than usual", "severity": "high",
		"rationale": "A plan that removes much is more often a mistake than an intent.",
		"remedy": "Split it, or let somebody say that it is meant (settings max_deletes and max_changes).",
		"aliases": [], "source": "Slipway", "verdict": "require_role", "role": "approver",
	},
	"local_program": {
		"title": "The configuration runs programs on the worker", "severity": "high",
		"rationale": "They run with the credentials of the deployment, and no plan shows what they do.",
		"remedy": "Use a resource of a provider, or do it in a pipeline step of its own.",
		"aliases": ["AVD-GEN-0003", "GEN-0003"], "source": "Terraform documentation: provisioners are a last resort",
	},
	"module_source": {
		"title": "A module comes from a place that is not allowed", "severity": "high",
		"rationale": "Whoever controls the source controls what is applied.",
		"remedy": "Use an allowed source (setting allowed_module_sources), never plain http.",
		"aliases": ["CKV_TF_1"], "source": "Slipway",
	},
	"provider_source": {
		"title": "A provider comes from a place that is not allowed", "severity": "high",
		"rationale": "A provider is a program that runs with the credentials of the deployment.",
		"remedy": "Use an allowed provider (setting allowed_providers).",
		"aliases": [], "source": "Slipway",
	},
	"required_tags": {
		"title": "A tag that is required is missing", "severity": "medium",
		"rationale": "Nobody knows whose it is, who pays and whether it may go.",
		"remedy": "Add the tags, or default_tags in the provider (setting required_tags).",
		"aliases": [], "source": "Slipway",
	},
	"region_allowed": {
		"title": "A region that is not allowed", "severity": "high",
		"rationale": "Data may have to stay in a country; forgotten regions are nobody's.",
		"remedy": "Use an allowed region (setting allowed_regions).",
		"aliases": [], "source": "Slipway",
	},
	"instance_type_allowed": {
		"title": "An instance type that is not allowed", "severity": "medium",
		"rationale": "Large and special types cost more than was agreed.",
		"remedy": "Use an allowed type (setting allowed_instance_types).",
		"aliases": [], "source": "Slipway",
	},
}

settings := given if {
	given := object.get(input.context, "settings", null)
	is_object(given)
} else := {}

# Databases, buckets, disks, file systems, clusters, queues, keys and secrets.
stateful := {
	"aws_db_instance", "aws_rds_cluster", "aws_rds_cluster_instance", "aws_rds_global_cluster", "aws_docdb_cluster",
	"aws_neptune_cluster", "aws_dynamodb_table", "aws_dynamodb_global_table", "aws_elasticache_cluster",
	"aws_elasticache_replication_group", "aws_elasticache_serverless_cache", "aws_memorydb_cluster", "aws_redshift_cluster",
	"aws_opensearch_domain", "aws_elasticsearch_domain", "aws_s3_bucket", "aws_s3_directory_bucket", "aws_ebs_volume", "aws_ebs_snapshot", "aws_db_snapshot",
	"aws_efs_file_system", "aws_fsx_lustre_file_system", "aws_fsx_windows_file_system", "aws_fsx_ontap_file_system", "aws_fsx_openzfs_file_system",
	"aws_eks_cluster", "aws_msk_cluster", "aws_kinesis_stream", "aws_sqs_queue", "aws_kms_key", "aws_secretsmanager_secret",
	"aws_ecr_repository", "aws_backup_vault", "aws_glacier_vault", "aws_timestreamwrite_table", "aws_keyspaces_table",
	"aws_cognito_user_pool", "aws_route53_zone", "aws_mq_broker", "aws_cloudwatch_log_group", "aws_lightsail_database",
	"google_sql_database_instance", "google_sql_database", "google_storage_bucket", "google_compute_disk",
	"google_compute_region_disk", "google_bigquery_dataset", "google_bigquery_table", "google_bigtable_instance", "google_bigtable_table",
	"google_spanner_instance", "google_spanner_database", "google_redis_instance", "google_filestore_instance", "google_firestore_database",
	"google_container_cluster", "google_kms_crypto_key", "google_secret_manager_secret", "google_pubsub_topic", "google_pubsub_subscription",
	"google_alloydb_cluster", "google_artifact_registry_repository", "google_dns_managed_zone",
	"azurerm_mssql_server", "azurerm_mssql_database", "azurerm_sql_server", "azurerm_sql_database", "azurerm_postgresql_server",
	"azurerm_postgresql_database", "azurerm_postgresql_flexible_server", "azurerm_postgresql_flexible_server_database", "azurerm_mysql_server",
	"azurerm_mysql_flexible_server", "azurerm_mariadb_server", "azurerm_cosmosdb_account", "azurerm_cosmosdb_sql_database", "azurerm_redis_cache",
	"azurerm_storage_account", "azurerm_storage_container", "azurerm_storage_share", "azurerm_managed_disk", "azurerm_kubernetes_cluster",
	"azurerm_key_vault", "azurerm_key_vault_key", "azurerm_key_vault_secret", "azurerm_container_registry", "azurerm_eventhub",
	"azurerm_servicebus_queue", "azurerm_resource_group", "azurerm_netapp_volume", "azurerm_recovery_services_vault", "azurerm_dns_zone",
	"ncloud_block_storage", "ncloud_block_storage_snapshot", "ncloud_nas_volume", "ncloud_objectstorage_bucket", "ncloud_nks_cluster",
	"ncloud_mysql", "ncloud_mssql", "ncloud_mongodb", "ncloud_redis", "ncloud_postgresql", "ncloud_hadoop",
	"kubernetes_persistent_volume", "kubernetes_persistent_volume_claim", "kubernetes_persistent_volume_claim_v1", "kubernetes_persistent_volume_v1",
	"kubernetes_namespace", "kubernetes_namespace_v1",
}

what(d) := "Its replacement begins empty." if {
	d.replaced
} else := "It is deleted."

result contains found if {
	some d in input.deleted
	d.type in stateful
	found := lib.said("stateful_delete", d, "fail", what(d))
}

touched := [r | some r in input.resources; r.action != "no-op"]

counted(name, fallback) := limit if {
	limit := object.get(settings, name, null)
	is_number(limit)
} else := fallback

result contains found if {
	most := counted("max_deletes", 10)
	number := count(input.deleted)
	number > most
	found := lib.said("blast_radius", {"address": ""}, "fail", sprintf("It deletes or replaces %d resources; %d are the most without a second look.", [number, most]))
}

result contains found if {
	most := counted("max_changes", 200)
	removed := [d | some d in input.deleted; d.replaced == false]
	number := count(touched) + count(removed)
	number > most
	deleting := [1 | count(input.deleted) > counted("max_deletes", 10)]
	count(deleting) == 0
	found := lib.said("blast_radius", {"address": ""}, "fail", sprintf("It changes %d resources; %d are the most without a second look.", [number, most]))
}

result contains found if {
	some r in input.resources
	some kind in r.provisioners
	kind in {"local-exec", "remote-exec"}
	# What is there already has run it before.
	r.action != "no-op"
	found := lib.said("local_program", r, "fail", sprintf("The provisioner `%s` runs a program.", [kind]))
}

result contains found if {
	some d in input.data
	d.type in {"external", "http"}
	found := lib.said("local_program", d, "fail", sprintf("The data source `%s` asks a program or another host.", [d.type]))
}

allowed(patterns, text) if {
	some pattern in patterns
	glob.match(pattern, [], text)
}

# A path inside the source itself.
within(source) if startswith(source, "./")

within(source) if startswith(source, "../")

insecure(source) if startswith(source, "http://")

insecure(source) if startswith(source, "git::http://")

insecure(source) if startswith(source, "git://")

insecure(source) if startswith(source, "git::git://")

result contains found if {
	some m in input.modules
	insecure(m.source)
	found := lib.said("module_source", m, "fail", "The source is not encrypted on the way.")
}

result contains found if {
	patterns := object.get(settings, "allowed_module_sources", null)
	is_array(patterns)
	some m in input.modules
	path := m.source
	not within(path)
	not allowed(patterns, path)
	found := lib.said("module_source", m, "fail", sprintf("`%s` is not among the allowed sources.", [m.source]))
}

# `registry.terraform.io/hashicorp/aws`, and short for it `hashicorp/aws`.
providers := {source |
	some r in input.resources
	source := r.provider
	source != ""
} | {source |
	some p in input.providers
	source := p.source
	is_string(source)
}

result contains found if {
	patterns := object.get(settings, "allowed_providers", null)
	is_array(patterns)
	some source in providers
	short := trim_prefix(source, "registry.terraform.io/")
	own := trim_prefix(source, "registry.opentofu.org/")
	source != "terraform.io/builtin/terraform"
	not allowed(patterns, source)
	not allowed(patterns, short)
	not allowed(patterns, own)
	found := lib.said("provider_source", {"address": source}, "fail", "The provider is not among the allowed ones.")
}

# The tags of a resource, with those of the provider where it says so. Types without tags have none
# of these attributes.
tags(r) := given if {
	some name in ["tags_all", "effective_labels", "labels", "tags", "tag_list"]
	given := preferred(r, name)
}

preferred(r, name) := object.get(r.values, name, null) if {
	first := [n | some n in ["tags_all", "effective_labels", "labels", "tags", "tag_list"]; n in object.keys(r.values)]
	first[0] == name
}

# Of tags that are not known as a whole, those that the configuration gives are.
tag_state(r, tag) := "pass" if {
	some name in ["tags", "labels", "tags_all"]
	value := lib.at(r.values, [name, tag], "")
	value != ""
	value != lib.unknown
} else := "unknown" if {
	given := tags(r)
	given == lib.unknown
} else := "unknown" if {
	lib.attr(r.values, "tags", {}) == lib.unknown
} else := "pass" if {
	# There is such a tag; its value is not known yet.
	some name in ["tags", "labels", "tags_all"]
	given := object.get(r.values, name, {})
	is_object(given)
	tag in object.keys(given)
	lib.at(r.values, [name, tag], "") == lib.unknown
} else := "fail"

taggable(r) if {
	some name in ["tags", "labels", "tags_all"]
	name in object.keys(r.values)
}

result contains found if {
	some tag in lib.listed(object.get(settings, "required_tags", []))
	some r in input.resources
	taggable(r)
	state := tag_state(r, tag)
	found := lib.said("required_tags", r, state, sprintf("The tag `%s` is missing.", [tag]))
}

region_of(zone) := regex.replace(zone, "^([a-z]{2}(?:-[a-z]+)+-?[0-9]+)-?[a-z]$", "$1")

regions(r) := {region |
	some name in ["region", "location", "availability_zone", "zone"]
	region := region_of_value(lib.get(r, name, null))
}

region_of_value(value) := lib.unknown if {
	value == lib.unknown
} else := region_of(value) if {
	is_string(value)
	value != ""
}

result contains found if {
	wanted := object.get(settings, "allowed_regions", null)
	is_array(wanted)
	good := {lower(region) | some region in wanted}
	some r in input.resources
	some region in regions(r)
	state := lib.want(known_lower(region), good)
	found := lib.said("region_allowed", r, state, "The region is not among the allowed ones.")
}

result contains found if {
	wanted := object.get(settings, "allowed_regions", null)
	is_array(wanted)
	good := {lower(region) | some region in wanted}
	some p in input.providers
	region := object.get(p.values, "region", null)
	is_string(region)
	given := lower(region)
	not given in good
	found := lib.said("region_allowed", {"address": concat(".", ["provider", p.key])}, "fail", "The region is not among the allowed ones.")
}

known_lower(value) := value if {
	value == lib.unknown
} else := lower(value)

sizes := {
	"aws_instance": "instance_type", "aws_launch_template": "instance_type", "aws_launch_configuration": "instance_type",
	"aws_db_instance": "instance_class", "aws_rds_cluster_instance": "instance_class", "aws_elasticache_cluster": "node_type",
	"aws_elasticache_replication_group": "node_type", "google_compute_instance": "machine_type",
	"google_compute_instance_template": "machine_type", "azurerm_linux_virtual_machine": "size",
	"azurerm_windows_virtual_machine": "size", "azurerm_virtual_machine": "vm_size", "ncloud_server": "server_product_code",
}

size_state(patterns, size) := "unknown" if {
	size == lib.unknown
} else := "pass" if {
	allowed(patterns, size)
} else := "fail"

result contains found if {
	patterns := object.get(settings, "allowed_instance_types", null)
	is_array(patterns)
	some kind, name in sizes
	some r in input.by_type[kind]
	size := lib.get(r, name, "")
	size != ""
	state := size_state(patterns, size)
	found := lib.said("instance_type_allowed", r, state, "The type is not among the allowed ones.")
}
