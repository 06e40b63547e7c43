# Databases, disks, file systems and caches.
package slipway.database

import data.slipway.lib
import rego.v1

rest := "Encryption at rest costs nothing and protects disks, snapshots and backups."

rules := {
	"aws_rds_unencrypted": {
		"title": "Database is not encrypted", "severity": "high", "rationale": rest,
		"remedy": "Set storage_encrypted to true; an existing database has to be restored from an encrypted copy of its snapshot.",
		"aliases": ["CKV_AWS_16", "CKV_AWS_96", "AVD-AWS-0080", "AWS-0080", "AVD-AWS-0079", "AWS-0079"], "source": "CIS AWS Foundations 2.3.1",
	},
	"aws_rds_public": {
		"title": "Database has a public address", "severity": "critical",
		"rationale": "Databases are found by scanning, and their passwords by trying.",
		"remedy": "Set publicly_accessible to false.",
		"aliases": ["CKV_AWS_17", "CKV_AWS_87", "AVD-AWS-0180", "AWS-0180", "AVD-AWS-0082", "AWS-0082"], "source": "CIS AWS Foundations 2.3.3",
	},
	"aws_rds_deletion_protection": {
		"title": "Database can be deleted by one call", "severity": "medium",
		"rationale": "One wrong apply and the data are gone.",
		"remedy": "Set deletion_protection to true.",
		"aliases": ["CKV_AWS_293", "CKV_AWS_139", "AVD-AWS-0177", "AWS-0177"], "source": "AWS Security Hub RDS.8",
	},
	"aws_rds_backup": {
		"title": "Database has no automatic backups", "severity": "medium",
		"rationale": "Without them nothing can be brought back.",
		"remedy": "Set backup_retention_period to 7 or more.",
		"aliases": ["CKV_AWS_133", "AVD-AWS-0077", "AWS-0077"], "source": "AWS Security Hub RDS.11",
	},
	"aws_rds_backup_short": {
		"title": "Backups of the database are kept for one day", "severity": "low",
		"rationale": "What was broken on Friday cannot be brought back on Monday.",
		"remedy": "Set backup_retention_period to 7 or more.",
		"aliases": ["AVD-AWS-0077", "AWS-0077"], "source": "AWS Security Hub RDS.11",
	},
	"aws_rds_key": {
		"title": "Database cluster is not encrypted with a key of the account", "severity": "low",
		"rationale": "Access to AWS's own key can neither be restricted nor audited.",
		"remedy": "Set kms_key_id.",
		"aliases": ["CKV_AWS_327", "AVD-AWS-0079", "AWS-0079"], "source": "AWS RDS documentation, encryption",
	},
	"aws_search_unencrypted": {
		"title": "Search domain is not encrypted", "severity": "high", "rationale": rest,
		"remedy": "Add encrypt_at_rest { enabled = true }.",
		"aliases": ["CKV_AWS_5", "AVD-AWS-0048", "AWS-0048"], "source": "AWS Security Hub Opensearch.1",
	},
	"aws_ebs_unencrypted": {
		"title": "Volume is not encrypted", "severity": "high", "rationale": rest,
		"remedy": "Set encrypted to true, or switch on aws_ebs_encryption_by_default.",
		"aliases": ["CKV_AWS_3", "AVD-AWS-0026", "AWS-0026"], "source": "CIS AWS Foundations 2.2.1",
	},
	"aws_root_unencrypted": {
		"title": "Disks of an instance are not encrypted", "severity": "medium", "rationale": rest,
		"remedy": "Set encrypted to true in root_block_device and ebs_block_device.",
		"aliases": ["CKV_AWS_8", "AVD-AWS-0131", "AWS-0131", "AVD-AWS-0008", "AWS-0008"], "source": "CIS AWS Foundations 2.2.1",
	},
	"aws_efs_unencrypted": {
		"title": "File system is not encrypted", "severity": "high", "rationale": rest,
		"remedy": "Set encrypted to true; it cannot be changed afterwards.",
		"aliases": ["CKV_AWS_42", "AVD-AWS-0037", "AWS-0037"], "source": "CIS AWS Foundations 2.4.1",
	},
	"aws_dynamodb_pitr": {
		"title": "Table cannot be brought back to a point in time", "severity": "medium",
		"rationale": "A wrong write or delete is final.",
		"remedy": "Add point_in_time_recovery { enabled = true }.",
		"aliases": ["CKV_AWS_28", "AVD-AWS-0024", "AWS-0024"], "source": "AWS Security Hub DynamoDB.2",
	},
	"aws_dynamodb_key": {
		"title": "Table is not encrypted with a key of the account", "severity": "low",
		"rationale": "The key of AWS cannot be disabled or audited.",
		"remedy": "Add server_side_encryption { enabled = true } with kms_key_arn.",
		"aliases": ["CKV_AWS_119", "AVD-AWS-0025", "AWS-0025"], "source": "AWS DynamoDB documentation",
	},
	"aws_redis_rest": {
		"title": "Redis is not encrypted at rest", "severity": "medium", "rationale": rest,
		"remedy": "Set at_rest_encryption_enabled to true.",
		"aliases": ["CKV_AWS_29", "AVD-AWS-0045", "AWS-0045"], "source": "AWS Security Hub ElastiCache.4",
	},
	"aws_redis_transit": {
		"title": "Redis is not encrypted on the way", "severity": "high",
		"rationale": "Data and the password go over the network in the clear.",
		"remedy": "Set transit_encryption_enabled to true.",
		"aliases": ["CKV_AWS_30", "AVD-AWS-0051", "AWS-0051"], "source": "AWS Security Hub ElastiCache.5",
	},
	"aws_redis_token": {
		"title": "Redis asks for no password", "severity": "medium",
		"rationale": "Whoever reaches it reads everything.",
		"remedy": "Set auth_token or user_group_ids, with transit encryption.",
		"aliases": ["CKV_AWS_31"], "source": "AWS Security Hub ElastiCache.6",
	},
	"gcp_sql_ssl": {
		"title": "Cloud SQL takes connections without TLS", "severity": "high",
		"rationale": "Data and passwords go over the network in the clear.",
		"remedy": "Set ssl_mode to ENCRYPTED_ONLY or stricter (before 5.0: require_ssl).",
		"aliases": ["CKV_GCP_6", "AVD-GCP-0015", "GCP-0015"], "source": "CIS GCP Foundations 6.4",
	},
	"gcp_sql_public": {
		"title": "Cloud SQL lets the whole world connect", "severity": "critical",
		"rationale": "Databases are found by scanning, and their passwords by trying.",
		"remedy": "Remove 0.0.0.0/0 from authorized_networks, or use a private address.",
		"aliases": ["CKV_GCP_11", "AVD-GCP-0017", "GCP-0017"], "source": "CIS GCP Foundations 6.5",
	},
	"gcp_sql_public_ip": {
		"title": "Cloud SQL has a public address", "severity": "medium",
		"rationale": "It can be reached from everywhere that authorized_networks forgets.",
		"remedy": "Set ipv4_enabled to false and use a private network.",
		"aliases": ["CKV_GCP_60", "AVD-GCP-0017", "GCP-0017"], "source": "CIS GCP Foundations 6.6",
	},
	"azure_sql_public": {
		"title": "Azure database lets the whole world connect", "severity": "critical",
		"rationale": "Databases are found by scanning, and their passwords by trying.",
		"remedy": "Name the addresses in the firewall rule.",
		"aliases": ["CKV_AZURE_11", "AVD-AZU-0029", "AZU-0029"], "source": "CIS Azure Foundations 6.3",
	},
	"ncp_storage_unencrypted": {
		"title": "NCP disk is not encrypted", "severity": "medium", "rationale": rest,
		"remedy": "Set is_encrypted_base_block_storage_volume of the server, or is_encrypted of the volume, to true.",
		"aliases": ["CKV_NCP_6", "CKV_NCP_7", "CKV_NCP_14"], "source": "NAVER Cloud Platform, Block Storage",
	},
}

databases := lib.of_any(["aws_db_instance", "aws_rds_cluster", "aws_rds_global_cluster", "aws_docdb_cluster", "aws_neptune_cluster"])

# A replica has what its source has; so has a member of an Aurora cluster.
copy(r) if {
	source := lib.get(r, "replicate_source_db", lib.get(r, "replication_source_identifier", lib.get(r, "source_db_cluster_identifier", "")))
	source != ""
}

own(r) if {
	copies := [1 | copy(r)]
	count(copies) == 0
}

result contains found if {
	some r in databases
	own(r)
	lib.get(r, "engine_mode", "") != "serverless"
	state := lib.must(lib.get(r, "storage_encrypted", false))
	found := lib.said("aws_rds_unencrypted", r, state, "storage_encrypted is not true.")
}

# Before 6.0 the provider asked for a public Redshift where nothing was said; it writes what it asks for
# into the plan, so nothing there says that it is new.
public_unsaid(kind) := kind == "aws_redshift_cluster"

result contains found if {
	some type_ in ["aws_db_instance", "aws_rds_cluster_instance", "aws_dms_replication_instance", "aws_redshift_cluster", "aws_redshiftserverless_workgroup", "aws_neptune_cluster_instance"]
	some r in input.by_type[type_]
	state := lib.must_not(lib.get(r, "publicly_accessible", public_unsaid(r.type)))
	found := lib.said("aws_rds_public", r, state, "publicly_accessible is true.")
}

result contains found if {
	some type_ in ["aws_db_instance", "aws_rds_cluster", "aws_rds_global_cluster", "aws_docdb_cluster", "aws_neptune_cluster"]
	some r in input.by_type[type_]
	own(r)
	state := lib.must(lib.get(r, "deletion_protection", false))
	found := lib.said("aws_rds_deletion_protection", r, state, "deletion_protection is not true.")
}

result contains found if {
	some r in input.by_type.aws_db_instance
	own(r)
	state := lib.at_least(lib.get(r, "backup_retention_period", 0), 1)
	found := lib.said("aws_rds_backup", r, state, "backup_retention_period is 0.")
}

result contains found if {
	some type_, unsaid in default_days
	some r in input.by_type[type_]
	own(r)
	days := lib.get(r, "backup_retention_period", unsaid)
	state := lib.ban(days, {1, "1"})
	found := lib.said("aws_rds_backup_short", r, state, "backup_retention_period is 1.")
}

# What AWS takes where nothing is said.
default_days := {"aws_db_instance": 0, "aws_rds_cluster": 1, "aws_docdb_cluster": 1, "aws_neptune_cluster": 1}

result contains found if {
	some r in input.by_type.aws_rds_cluster
	own(r)
	state := lib.supplied(r, "kms_key_id", lib.get(r, "kms_key_id", ""))
	found := lib.said("aws_rds_key", r, state, "kms_key_id is not set.")
}

result contains found if {
	some type_ in ["aws_elasticsearch_domain", "aws_opensearch_domain"]
	some r in input.by_type[type_]
	state := lib.must(lib.at(r.values, ["encrypt_at_rest", 0, "enabled"], false))
	found := lib.said("aws_search_unencrypted", r, state, "encrypt_at_rest is not switched on.")
}

result contains found if {
	some type_ in ["aws_rds_cluster", "aws_docdb_cluster", "aws_neptune_cluster"]
	some r in input.by_type[type_]
	state := lib.at_least(lib.get(r, "backup_retention_period", 1), 1)
	found := lib.said("aws_rds_backup", r, state, "backup_retention_period is 0.")
}

# Whether the account encrypts every new volume.
by_default if {
	some r in input.by_type.aws_ebs_encryption_by_default
	lib.get(r, "enabled", true) == true
}

default by_default := false

result contains found if {
	by_default == false
	some r in input.by_type.aws_ebs_volume
	state := lib.must(lib.get(r, "encrypted", false))
	found := lib.said("aws_ebs_unencrypted", r, state, "encrypted is not true.")
}

disks := ["root_block_device", "ebs_block_device"]

result contains found if {
	by_default == false
	some type_ in ["aws_instance", "aws_spot_instance_request", "aws_launch_configuration"]
	some r in input.by_type[type_]
	some name in disks
	some block in lib.blocks(r.values, name)
	state := disk_state(block)
	found := lib.said("aws_root_unencrypted", r, state, "A disk of the instance is not encrypted.")
}

disk_state(block) := "unknown" if {
	block == lib.unknown
} else := "unknown" if {
	# It is what the snapshot is, which the plan does not say.
	lib.attr(block, "snapshot_id", "") != ""
	lib.attr(block, "encrypted", "") == ""
} else := lib.must(lib.attr(block, "encrypted", false))

result contains found if {
	by_default == false
	some type_ in ["aws_instance", "aws_spot_instance_request", "aws_launch_configuration"]
	some r in input.by_type[type_]
	object.get(r.values, "root_block_device", null) in {null, []}
	templates := lib.blocks(r.values, "launch_template")
	count(templates) == 0
	found := lib.said("aws_root_unencrypted", r, "fail", "There is no root_block_device that asks for encryption.")
}

result contains found if {
	by_default == false
	some type_ in ["aws_instance", "aws_spot_instance_request", "aws_launch_configuration"]
	some r in input.by_type[type_]
	some name in disks
	object.get(r.values, name, null) == lib.unknown
	found := lib.said("aws_root_unencrypted", r, "unknown", "A disk of the instance is not encrypted.")
}

result contains found if {
	by_default == false
	some r in input.by_type.aws_launch_template
	some mapping in lib.blocks(r.values, "block_device_mappings")
	is_object(mapping)
	some ebs in lib.blocks(mapping, "ebs")
	state := disk_state(ebs)
	found := lib.said("aws_root_unencrypted", r, state, "A disk of the template is not encrypted.")
}

result contains found if {
	by_default == false
	some r in input.by_type.aws_launch_template
	some block in array.concat([r.values], lib.blocks(r.values, "block_device_mappings"))
	is_object(block)
	some name in ["block_device_mappings", "ebs"]
	lib.open_block(block, name)
	found := lib.said("aws_root_unencrypted", r, "unknown", "A disk of the template is not encrypted.")
}

result contains found if {
	some r in input.by_type.aws_efs_file_system
	state := lib.must(lib.get(r, "encrypted", false))
	found := lib.said("aws_efs_unencrypted", r, state, "encrypted is not true.")
}

result contains found if {
	some r in input.by_type.aws_dynamodb_table
	state := lib.must(lib.at(r.values, ["point_in_time_recovery", 0, "enabled"], false))
	found := lib.said("aws_dynamodb_pitr", r, state, "Point-in-time recovery is off.")
}

result contains found if {
	some r in input.by_type.aws_dynamodb_table
	key := lib.at(r.values, ["server_side_encryption", 0, "kms_key_arn"], "")
	state := lib.all_of({lib.must(lib.at(r.values, ["server_side_encryption", 0, "enabled"], false)), own_key(r, key)})
	found := lib.said("aws_dynamodb_key", r, state, "server_side_encryption is off or names no kms_key_arn, so AWS's own key is used.")
}

own_key(r, key) := "fail" if {
	endswith(key, "alias/aws/dynamodb")
} else := lib.supplied(r, "server_side_encryption", key)

redis := [r |
	some r in input.by_type.aws_elasticache_replication_group
	global := lib.get(r, "global_replication_group_id", "")
	global == ""
]

result contains found if {
	some r in redis
	state := lib.must(lib.get(r, "at_rest_encryption_enabled", false))
	found := lib.said("aws_redis_rest", r, state, "at_rest_encryption_enabled is not true.")
}

result contains found if {
	some r in redis
	state := lib.must(lib.get(r, "transit_encryption_enabled", false))
	found := lib.said("aws_redis_transit", r, state, "transit_encryption_enabled is not true.")
}

result contains found if {
	some r in redis
	token := lib.any_of({lib.supplied(r, name, lib.get(r, name, "")) | some name in ["auth_token", "user_group_ids"]})
	state := lib.all_of({token, lib.must(lib.get(r, "transit_encryption_enabled", false))})
	found := lib.said("aws_redis_token", r, state, "Neither auth_token nor user_group_ids is set, or they would go over the network in the clear.")
}

result contains found if {
	some r in input.by_type.google_sql_database_instance
	replica := lib.get(r, "master_instance_name", "")
	replica == ""
	mode := lib.at(r.values, ["settings", 0, "ip_configuration", 0, "ssl_mode"], "")
	old := lib.at(r.values, ["settings", 0, "ip_configuration", 0, "require_ssl"], false)
	state := lib.any_of({lib.want(mode, {"ENCRYPTED_ONLY", "TRUSTED_CLIENT_CERTIFICATE_REQUIRED"}), lib.must(old)})
	found := lib.said("gcp_sql_ssl", r, state, "Neither ssl_mode nor require_ssl asks for TLS.")
}

result contains found if {
	some r in input.by_type.google_sql_database_instance
	some settings in lib.blocks(r.values, "settings")
	is_object(settings)
	some configuration in lib.blocks(settings, "ip_configuration")
	is_object(configuration)
	networks := [network_range(n) | some n in lib.blocks(configuration, "authorized_networks")]
	open := [lib.unknown | lib.open_block(configuration, "authorized_networks")]
	state := lib.ranges_state(array.concat(networks, open))
	found := lib.said("gcp_sql_public", r, state, "authorized_networks holds the whole Internet.")
}

result contains found if {
	some r in input.by_type.google_sql_database_instance
	# Without a word Google gives it one.
	state := lib.must_not(lib.at(r.values, ["settings", 0, "ip_configuration", 0, "ipv4_enabled"], true))
	found := lib.said("gcp_sql_public_ip", r, state, "ipv4_enabled is not false.")
}

result contains found if {
	some r in input.by_type.google_sql_database_instance
	some path in [["settings"], ["settings", 0, "ip_configuration"]]
	lib.at(r.values, path, "") == lib.unknown
	found := lib.said("gcp_sql_public", r, "unknown", "authorized_networks holds the whole Internet.")
}

network_range(n) := lib.unknown if {
	n == lib.unknown
} else := lib.attr(n, "value", "")

result contains found if {
	some type_ in [
		"azurerm_mssql_firewall_rule", "azurerm_sql_firewall_rule", "azurerm_postgresql_firewall_rule",
		"azurerm_mysql_firewall_rule", "azurerm_mariadb_firewall_rule", "azurerm_postgresql_flexible_server_firewall_rule",
		"azurerm_mysql_flexible_server_firewall_rule", "azurerm_cosmosdb_postgresql_firewall_rule", "azurerm_synapse_firewall_rule",
	]
	some r in input.by_type[type_]
	state := span_state(lib.get(r, "start_ip_address", ""), lib.get(r, "end_ip_address", ""))
	found := lib.said("azure_sql_public", r, state, "The rule spans a large part of all addresses.")
}

# From 0.0.0.0 to 0.0.0.0 means "services of Azure", which is not the world. Nobody owns eight
# networks of sixteen million addresses in a row.
span_state(first, last) := "unknown" if {
	lib.unknown in {first, last}
} else := "fail" if {
	first == "0.0.0.0"
	last != first
} else := "fail" if {
	octet(last) - octet(first) >= 8
} else := "pass"

octet(address) := to_number(split(address, ".")[0])

result contains found if {
	some kind, name in {
		"ncloud_server": "is_encrypted_base_block_storage_volume",
		"ncloud_launch_configuration": "is_encrypted_volume",
		"ncloud_nas_volume": "is_encrypted_volume",
	}
	some r in input.by_type[kind]
	state := lib.must(lib.get(r, name, false))
	found := lib.said("ncp_storage_unencrypted", r, state, "The disk is not encrypted.")
}
