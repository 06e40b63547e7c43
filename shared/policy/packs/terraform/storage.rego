# Buckets and other storage: who may read and write, and what lies there unencrypted.
package slipway.storage

import data.slipway.lib
import rego.v1

cis := "CIS AWS Foundations 2.1; AWS S3 documentation"

rules := {
	"aws_s3_public_acl": {
		"title": "S3 bucket can be read by everybody through its ACL", "severity": "critical",
		"rationale": "Anybody on the Internet can list and read the objects.",
		"remedy": "Set the ACL to `private` and serve public files through CloudFront.",
		"aliases": ["CKV_AWS_20", "AVD-AWS-0092", "AWS-0092"], "source": cis,
	},
	"aws_s3_public_write": {
		"title": "S3 bucket can be written by everybody through its ACL", "severity": "critical",
		"rationale": "Anybody on the Internet can put and replace objects.",
		"remedy": "Set the ACL to `private` and grant access by IAM policies.",
		"aliases": ["CKV_AWS_57", "AVD-AWS-0092", "AWS-0092"], "source": cis,
	},
	"aws_s3_public_policy": {
		"title": "S3 bucket policy gives access to everybody", "severity": "critical",
		"rationale": "The principal `*` without a condition is anybody on the Internet.",
		"remedy": "Name accounts, roles or services as principals, or tie the statement to an organisation, VPC endpoint or distribution.",
		"aliases": ["CKV_AWS_70"], "source": cis,
	},
	"aws_s3_block_public_acls": {
		"title": "S3 public access block lets public ACLs be set", "severity": "high",
		"rationale": "An ACL that makes objects public is accepted.", "remedy": "Set block_public_acls to true.",
		"aliases": ["CKV_AWS_53", "AVD-AWS-0086", "AWS-0086"], "source": cis,
	},
	"aws_s3_block_public_policy": {
		"title": "S3 public access block lets public policies be set", "severity": "high",
		"rationale": "A policy that makes the bucket public is accepted.", "remedy": "Set block_public_policy to true.",
		"aliases": ["CKV_AWS_54", "AVD-AWS-0087", "AWS-0087"], "source": cis,
	},
	"aws_s3_ignore_public_acls": {
		"title": "S3 public access block heeds public ACLs", "severity": "high",
		"rationale": "ACLs that are there already keep objects public.", "remedy": "Set ignore_public_acls to true.",
		"aliases": ["CKV_AWS_55", "AVD-AWS-0091", "AWS-0091"], "source": cis,
	},
	"aws_s3_restrict_public_buckets": {
		"title": "S3 public access block lets a public policy work", "severity": "high",
		"rationale": "A policy that is there already keeps the bucket public.", "remedy": "Set restrict_public_buckets to true.",
		"aliases": ["CKV_AWS_56", "AVD-AWS-0093", "AWS-0093"], "source": cis,
	},
	"aws_s3_block_missing": {
		"title": "S3 bucket has no public access block", "severity": "medium",
		"rationale": "Without it one ACL or policy is enough to make the bucket public.",
		"remedy": "Add an aws_s3_bucket_public_access_block with all four settings true.",
		"aliases": ["CKV2_AWS_6", "AVD-AWS-0094", "AWS-0094"], "source": cis,
	},
	"aws_s3_encryption_off": {
		"title": "S3 bucket asks for an encryption that is none", "severity": "medium",
		"rationale": "S3 encrypts with its own key unless told otherwise; a rule without an algorithm undoes what was meant.",
		"remedy": "Set sse_algorithm to `aws:kms` (with a key) or `AES256`.",
		"aliases": ["CKV_AWS_19", "AVD-AWS-0088", "AWS-0088"], "source": "AWS S3 default encryption, January 2023",
	},
	"aws_s3_encryption_unsaid": {
		"title": "S3 bucket does not say how it is encrypted", "severity": "low",
		"rationale": "S3 encrypts with its own key since 2023; what is not said can be changed unnoticed.",
		"remedy": "Add an aws_s3_bucket_server_side_encryption_configuration.",
		"aliases": ["AVD-AWS-0088", "AWS-0088"], "source": "AWS S3 default encryption, January 2023",
	},
	"aws_s3_key": {
		"title": "S3 bucket is not encrypted with a key of KMS", "severity": "low",
		"rationale": "Access to the key of S3 itself can neither be restricted nor audited.",
		"remedy": "Set sse_algorithm to `aws:kms`, with a key of your own.",
		"aliases": ["CKV_AWS_145", "AVD-AWS-0132", "AWS-0132"], "source": "AWS S3 documentation, SSE-KMS",
	},
	"gcp_bucket_public": {
		"title": "Cloud Storage bucket is open to everybody", "severity": "critical",
		"rationale": "`allUsers` is anybody, `allAuthenticatedUsers` anybody with a Google account.",
		"remedy": "Give the role to a service account or a group.",
		"aliases": ["CKV_GCP_28", "AVD-GCP-0001", "GCP-0001"], "source": "CIS GCP Foundations 5.1",
	},
	"gcp_bucket_uniform": {
		"title": "Cloud Storage bucket allows ACLs for single objects", "severity": "medium",
		"rationale": "Objects can be made public one by one, past the policy of the bucket.",
		"remedy": "Set uniform_bucket_level_access to true.",
		"aliases": ["CKV_GCP_29", "AVD-GCP-0002", "GCP-0002"], "source": "CIS GCP Foundations 5.2",
	},
	"azure_container_public": {
		"title": "Azure storage container can be read by everybody", "severity": "critical",
		"rationale": "`blob` and `container` let anybody read without credentials.",
		"remedy": "Set container_access_type to `private`, and allow_nested_items_to_be_public of the account to false.",
		"aliases": ["CKV_AZURE_34", "AVD-AZU-0007", "AZU-0007"], "source": "CIS Azure Foundations 3.7",
	},
	"azure_storage_http": {
		"title": "Azure storage account answers without TLS", "severity": "high",
		"rationale": "Data and keys go over the network in the clear.",
		"remedy": "Set https_traffic_only_enabled (before 4.0: enable_https_traffic_only) to true.",
		"aliases": ["CKV_AZURE_3", "AVD-AZU-0008", "AZU-0008"], "source": "CIS Azure Foundations 3.1",
	},
	"ncp_bucket_public": {
		"title": "NCP Object Storage is open to everybody", "severity": "critical",
		"rationale": "Anybody on the Internet can read, and with `public-read-write` write, the objects.",
		"remedy": "Set the rule of the ACL to `private`.",
		"aliases": [], "source": "NAVER Cloud Platform, Object Storage ACL",
	},
}

reading := {"public-read", "public-read-write", "website", "authenticated-read"}

writing := {"public-read-write"}

everybody := {
	"http://acs.amazonaws.com/groups/global/AllUsers",
	"http://acs.amazonaws.com/groups/global/AuthenticatedUsers",
}

# Every ACL: of buckets (provider v3) and of their own resources (v4 and later).
acls := lib.of_any(["aws_s3_bucket", "aws_s3_bucket_acl", "aws_s3_object", "aws_s3_bucket_object"])

# Most have no ACL at all, so it is looked at here and not in a function.
result contains found if {
	some r in acls
	r.values.acl in reading
	found := lib.said("aws_s3_public_acl", r, "fail", "The ACL lets everybody read.")
}

result contains found if {
	some r in acls
	r.values.acl in writing
	found := lib.said("aws_s3_public_write", r, "fail", "The ACL lets everybody write.")
}

result contains found if {
	some r in acls
	r.values.acl == lib.unknown
	some rule in ["aws_s3_public_acl", "aws_s3_public_write"]
	found := lib.said(rule, r, "unknown", "The ACL lets everybody in.")
}

result contains found if {
	some r in acls
	some name in ["grant", "access_control_policy"]
	r.values[name] != null
	lib.open_block(r.values, name)
	some rule in ["aws_s3_public_acl", "aws_s3_public_write"]
	found := lib.said(rule, r, "unknown", "The ACL lets everybody in.")
}

result contains found if {
	some r in acls
	r.values.access_control_policy != null
	some policy in lib.blocks(r.values, "access_control_policy")
	lib.open_block(policy, "grant")
	some rule in ["aws_s3_public_acl", "aws_s3_public_write"]
	found := lib.said(rule, r, "unknown", "The ACL lets everybody in.")
}

# Grants: inline `grant` of v3 with `uri` and `permissions`, and those of access_control_policy.
grants := array.concat(
	[{"r": r, "uri": lib.attr(g, "uri", ""), "permissions": lib.listed(lib.attr(g, "permissions", []))} |
		some r in acls
		r.values.grant != null
		some g in lib.blocks(r.values, "grant")
		is_object(g)
	],
	[{"r": r, "uri": lib.at(g, ["grantee", 0, "uri"], ""), "permissions": [lib.attr(g, "permission", "")]} |
		some r in acls
		r.values.access_control_policy != null
		some policy in lib.blocks(r.values, "access_control_policy")
		is_object(policy)
		some g in lib.blocks(policy, "grant")
		is_object(g)
	],
)

grant_state(g, permissions) := lib.both(
	lib.ban(g.uri, everybody),
	lib.all_of({lib.ban(permission, permissions) | some permission in g.permissions}),
)

result contains found if {
	some g in grants
	found := lib.said("aws_s3_public_acl", g.r, grant_state(g, {"READ", "READ_ACP", "FULL_CONTROL"}), "The ACL lets everybody read.")
}

result contains found if {
	some g in grants
	found := lib.said("aws_s3_public_write", g.r, grant_state(g, {"WRITE", "WRITE_ACP", "FULL_CONTROL"}), "The ACL lets everybody write.")
}

result contains found if {
	some type_ in ["aws_s3_bucket", "aws_s3_bucket_policy", "aws_s3_access_point"]
	some r in input.by_type[type_]
	state := lib.public_state(lib.get(r, "policy", ""))
	found := lib.said("aws_s3_public_policy", r, state, "A statement of the policy allows the principal `*` without a condition.")
}

switches := {
	"block_public_acls": "aws_s3_block_public_acls", "block_public_policy": "aws_s3_block_public_policy",
	"ignore_public_acls": "aws_s3_ignore_public_acls", "restrict_public_buckets": "aws_s3_restrict_public_buckets",
}

result contains found if {
	some type_ in ["aws_s3_bucket_public_access_block", "aws_s3_account_public_access_block"]
	some r in input.by_type[type_]
	some name, rule in switches
	state := lib.must(lib.get(r, name, false))
	found := lib.said(rule, r, state, sprintf("%s is not true.", [name]))
}

# Whether a block keeps new ACLs and policies from making anything public.
blocking(r) := lib.all_of({lib.must(lib.get(r, name, false)) | some name in ["block_public_acls", "block_public_policy"]})

account := {state | some r in input.by_type.aws_s3_account_public_access_block; state := blocking(r)}

result contains found if {
	some bucket in input.by_type.aws_s3_bucket
	linked := {state | some r in lib.linked("aws_s3_bucket_public_access_block", "bucket", bucket); state := blocking(r)}
	maybe := {"unknown" | lib.maybe_linked("aws_s3_bucket_public_access_block", "bucket", bucket)}
	state := lib.any_of((linked | maybe) | account)
	found := lib.said("aws_s3_block_missing", bucket, state, "No aws_s3_bucket_public_access_block keeps the bucket from being made public.")
}

# Since 2023 a bucket without any of this is encrypted by S3; what is written has to be an
# encryption. v3 inline, and the resource of v4.
split_algorithms(r) := {algorithm |
	some rule in lib.blocks(r.values, "rule")
	algorithm := algorithm_of(rule)
} | {lib.unknown | lib.open_block(r.values, "rule")}

inline_algorithms(r) := {algorithm |
	some configuration in lib.blocks(r.values, "server_side_encryption_configuration")
	is_object(configuration)
	some rule in lib.blocks(configuration, "rule")
	algorithm := algorithm_of(rule)
} | {lib.unknown |
	some block in array.concat([r.values], lib.blocks(r.values, "server_side_encryption_configuration"))
	is_object(block)
	some name in ["server_side_encryption_configuration", "rule"]
	lib.open_block(block, name)
}

algorithms := array.concat(
	[{"r": r, "algorithm": algorithm} |
		some r in input.by_type.aws_s3_bucket_server_side_encryption_configuration
		some algorithm in split_algorithms(r)
	],
	[{"r": r, "algorithm": algorithm} |
		some r in input.by_type.aws_s3_bucket
		some algorithm in inline_algorithms(r)
	],
)

# All that encrypts a bucket: its own block, the resource that refers to it, and what may be one.
encrypted := [{"bucket": bucket, "given": given} |
	some bucket in input.by_type.aws_s3_bucket
	linked := {algorithm |
		some r in lib.linked("aws_s3_bucket_server_side_encryption_configuration", "bucket", bucket)
		some algorithm in split_algorithms(r)
	}
	maybe := {lib.unknown | lib.maybe_linked("aws_s3_bucket_server_side_encryption_configuration", "bucket", bucket)}
	given := (inline_algorithms(bucket) | linked) | maybe
]

algorithm_of(rule) := lib.unknown if {
	rule == lib.unknown
} else := lib.at(rule, ["apply_server_side_encryption_by_default", 0, "sse_algorithm"], null)

result contains found if {
	some e in algorithms
	state := lib.want(e.algorithm, {"AES256", "aws:kms", "aws:kms:dsse"})
	found := lib.said("aws_s3_encryption_off", e.r, state, "The encryption rule names no algorithm.")
}

result contains found if {
	some e in encrypted
	state := unsaid_state(e.given)
	found := lib.said("aws_s3_encryption_unsaid", e.bucket, state, "Neither the bucket nor another resource says how it is encrypted.")
}

unsaid_state(given) := "fail" if {
	count(given) == 0
} else := "unknown" if {
	given == {lib.unknown}
} else := "pass"

# S3 cannot write access logs to a bucket that is encrypted by KMS. These take such logs.
takes_logs := ({r.address | some r in acls; r.values.acl == "log-delivery-write"} | {g.r.address |
	some g in grants
	g.uri == "http://acs.amazonaws.com/groups/s3/LogDelivery"
}) | {r.address |
	some r in input.by_type.aws_s3_bucket_policy
	contains(lib.text(lib.get(r, "policy", "")), "\"logging.s3.amazonaws.com\"")
}

for_logs(bucket) if bucket.address in takes_logs

for_logs(bucket) if {
	count(takes_logs) > 0
	some kind in ["aws_s3_bucket_acl", "aws_s3_bucket_policy"]
	some r in lib.linked(kind, "bucket", bucket)
	r.address in takes_logs
}

result contains found if {
	some e in encrypted
	logs := [1 | for_logs(e.bucket)]
	count(logs) == 0
	state := lib.any_of({lib.want(algorithm, {"aws:kms", "aws:kms:dsse"}) | some algorithm in e.given})
	found := lib.said("aws_s3_key", e.bucket, state, "It is not encrypted by `aws:kms`.")
}

members(r) := array.concat(lib.listed(lib.get(r, "member", null)), lib.listed(lib.get(r, "members", null)))

anybody := {"allUsers", "allAuthenticatedUsers"}

result contains found if {
	some type_ in ["google_storage_bucket_iam_member", "google_storage_bucket_iam_binding"]
	some r in input.by_type[type_]
	state := lib.all_of({lib.ban(member, anybody) | some member in members(r)})
	found := lib.said("gcp_bucket_public", r, state, "Everybody is a member.")
}

result contains found if {
	some r in input.by_type.google_storage_bucket_iam_policy
	state := lib.all_of({lib.ban(member, anybody) |
		some binding in lib.bindings(lib.get(r, "policy_data", ""))
		some member in binding.members
	})
	found := lib.said("gcp_bucket_public", r, state, "Everybody is a member.")
}

result contains found if {
	some type_ in ["google_storage_bucket_access_control", "google_storage_default_object_access_control", "google_storage_object_access_control"]
	some r in input.by_type[type_]
	state := lib.ban(lib.get(r, "entity", ""), anybody)
	found := lib.said("gcp_bucket_public", r, state, "Everybody is an entity of the ACL.")
}

result contains found if {
	some type_ in ["google_storage_bucket_acl", "google_storage_object_acl", "google_storage_default_object_acl"]
	some r in input.by_type[type_]
	named := {gcp_entity(entity) | some entity in lib.listed(lib.get(r, "role_entity", []))}
	predefined := lib.ban(lib.get(r, "predefined_acl", ""), {"publicRead", "publicReadWrite", "authenticatedRead"})
	state := lib.all_of(named | {predefined})
	found := lib.said("gcp_bucket_public", r, state, "The ACL lets everybody in.")
}

gcp_entity(entity) := "unknown" if {
	entity == lib.unknown
} else := "fail" if {
	some who in anybody
	endswith(entity, concat("", [":", who]))
} else := "pass"

result contains found if {
	some r in input.by_type.google_storage_bucket
	state := lib.must(lib.get(r, "uniform_bucket_level_access", lib.get(r, "bucket_policy_only", false)))
	found := lib.said("gcp_bucket_uniform", r, state, "uniform_bucket_level_access is not true.")
}

result contains found if {
	some r in input.by_type.azurerm_storage_container
	state := lib.ban(lower(lib.text(lib.get(r, "container_access_type", "private"))), {"blob", "container"})
	found := lib.said("azure_container_public", r, state, "container_access_type is not private.")
}

result contains found if {
	some r in input.by_type.azurerm_storage_account
	state := lib.all_of({lib.must(lib.get(r, name, true)) | some name in ["https_traffic_only_enabled", "enable_https_traffic_only"]})
	found := lib.said("azure_storage_http", r, state, "The account takes requests without TLS.")
}

result contains found if {
	some type_ in ["ncloud_objectstorage_bucket_acl", "ncloud_objectstorage_object_acl"]
	some r in input.by_type[type_]
	state := lib.ban(lib.get(r, "rule", "private"), {"public-read", "public-read-write", "authenticated-read"})
	found := lib.said("ncp_bucket_public", r, state, "The ACL is public.")
}
