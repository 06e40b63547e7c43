# Keys, logs, registries, load balancers, queues and clusters.
package slipway.platform

import data.slipway.lib
import rego.v1

rules := {
	"aws_kms_rotation": {
		"title": "Key is never rotated", "severity": "medium",
		"rationale": "The longer a key lives, the more it protects and the more its loss costs.",
		"remedy": "Set enable_key_rotation to true.",
		"aliases": ["CKV_AWS_7", "AVD-AWS-0065", "AWS-0065"], "source": "CIS AWS Foundations 3.6",
	},
	"aws_kms_public": {
		"title": "Everybody may use the key", "severity": "critical",
		"rationale": "What the key protects can be read by anybody who gets hold of it.",
		"remedy": "Name accounts and roles as principals of the key's policy.",
		"aliases": ["CKV_AWS_33"], "source": "AWS KMS documentation, key policies",
	},
	"aws_sns_encryption": {
		"title": "Topic is not encrypted", "severity": "low", "rationale": "Messages lie in the clear.",
		"remedy": "Set kms_master_key_id.",
		"aliases": ["CKV_AWS_26", "AVD-AWS-0095", "AWS-0095"], "source": "AWS Security Hub SNS.1",
	},
	"aws_sqs_encryption": {
		"title": "Queue is not encrypted", "severity": "low", "rationale": "Messages lie in the clear.",
		"remedy": "Set kms_master_key_id, or sqs_managed_sse_enabled to true.",
		"aliases": ["CKV_AWS_27", "AVD-AWS-0096", "AWS-0096"], "source": "AWS Security Hub SQS.1",
	},
	"aws_message_public": {
		"title": "Everybody may use the queue or topic", "severity": "critical",
		"rationale": "Anybody can read or send messages.",
		"remedy": "Name principals, or tie the statement by aws:SourceArn.",
		"aliases": ["CKV_AWS_168", "CKV_AWS_169"], "source": "AWS SQS documentation, access policies",
	},
	"aws_message_action_any": {
		"title": "Policy of a queue or topic allows every action", "severity": "medium",
		"rationale": "Whoever may send may also delete and change the policy.",
		"remedy": "Name the actions that are needed.",
		"aliases": ["CKV_AWS_72", "AVD-AWS-0097", "AWS-0097"], "source": "AWS SQS documentation, access policies",
	},
	"aws_cloudtrail_key": {
		"title": "Trail is not encrypted with a key of the account", "severity": "low",
		"rationale": "Who may read the bucket reads the audit log.", "remedy": "Set kms_key_id.",
		"aliases": ["CKV_AWS_35", "AVD-AWS-0015", "AWS-0015"], "source": "CIS AWS Foundations 3.5",
	},
	"aws_cloudtrail_validation": {
		"title": "Files of the trail can be changed unnoticed", "severity": "medium",
		"rationale": "Whoever broke in can take out their traces.", "remedy": "Set enable_log_file_validation to true.",
		"aliases": ["CKV_AWS_36", "AVD-AWS-0016", "AWS-0016"], "source": "CIS AWS Foundations 3.2",
	},
	"aws_cloudtrail_regions": {
		"title": "Trail sees one region only", "severity": "medium",
		"rationale": "What happens elsewhere leaves no trace.", "remedy": "Set is_multi_region_trail to true.",
		"aliases": ["CKV_AWS_67", "AVD-AWS-0014", "AWS-0014"], "source": "CIS AWS Foundations 3.1",
	},
	"aws_ecr_mutable": {
		"title": "Tags of images can be moved", "severity": "low",
		"rationale": "What was tested is not what runs.", "remedy": "Set image_tag_mutability to IMMUTABLE.",
		"aliases": ["CKV_AWS_51", "AVD-AWS-0031", "AWS-0031"], "source": "AWS Security Hub ECR.2",
	},
	"aws_ecr_scan": {
		"title": "Images are not scanned", "severity": "low",
		"rationale": "Known weaknesses go into production.", "remedy": "Set image_scanning_configuration { scan_on_push = true }.",
		"aliases": ["CKV_AWS_163", "AVD-AWS-0030", "AWS-0030"], "source": "AWS Security Hub ECR.1",
	},
	"aws_ecr_public": {
		"title": "Everybody may use the registry", "severity": "critical",
		"rationale": "Anybody can pull, and maybe push, images.", "remedy": "Name accounts as principals.",
		"aliases": ["CKV_AWS_32", "AVD-AWS-0032", "AWS-0032"], "source": "AWS ECR documentation",
	},
	"aws_lb_plain": {
		"title": "Load balancer serves without TLS", "severity": "high",
		"rationale": "Passwords and sessions go over the network in the clear.",
		"remedy": "Use HTTPS or TLS, and let port 80 redirect.",
		"aliases": ["CKV_AWS_2", "CKV_AWS_103", "AVD-AWS-0054", "AWS-0054"], "source": "AWS Security Hub ELB.1",
	},
	"aws_lb_old_tls": {
		"title": "Load balancer speaks old TLS", "severity": "medium",
		"rationale": "TLS 1.0 and 1.1 are broken.", "remedy": "Use ELBSecurityPolicy-TLS13-1-2-2021-06 or another one with TLS 1.2 at least.",
		"aliases": ["CKV_AWS_103", "CKV_AWS_213", "AVD-AWS-0047", "AWS-0047"], "source": "AWS ELB documentation, security policies",
	},
	"aws_eks_public": {
		"title": "API server of EKS has a public address", "severity": "medium",
		"rationale": "It can be tried from everywhere that public_access_cidrs allows.",
		"remedy": "Set endpoint_public_access to false.",
		"aliases": ["CKV_AWS_39", "AVD-AWS-0040", "AWS-0040"], "source": "CIS EKS 5.4.1",
	},
	"aws_eks_world": {
		"title": "API server of EKS is open to the whole Internet", "severity": "critical",
		"rationale": "One leaked token, or one hole, is the whole cluster.",
		"remedy": "Name networks in public_access_cidrs, or close the public endpoint.",
		"aliases": ["CKV_AWS_38", "AVD-AWS-0041", "AWS-0041"], "source": "CIS EKS 5.4.2",
	},
	"aws_eks_secrets": {
		"title": "Secrets of EKS are not encrypted by a key of the account", "severity": "medium",
		"rationale": "Who may read the backups of etcd reads every secret.",
		"remedy": "Add encryption_config with resources = [\"secrets\"].",
		"aliases": ["CKV_AWS_58", "AVD-AWS-0039", "AWS-0039"], "source": "CIS EKS 5.3.1",
	},
	"aws_eks_logs": {
		"title": "EKS does not write all its logs", "severity": "low",
		"rationale": "After an incident nobody can say what happened.",
		"remedy": "Set enabled_cluster_log_types to api, audit, authenticator, controllerManager and scheduler.",
		"aliases": ["CKV_AWS_37", "AVD-AWS-0038", "AWS-0038"], "source": "CIS EKS 2.1.1",
	},
	"ncp_nks_public": {
		"title": "API server of NKS has a public address", "severity": "medium",
		"rationale": "It can be tried from everywhere.", "remedy": "Set public_network to false.",
		"aliases": ["CKV_NCP_19"], "source": "NAVER Cloud Platform, Kubernetes Service",
	},
	"ncp_lb_plain": {
		"title": "NCP load balancer serves without TLS", "severity": "high",
		"rationale": "Passwords and sessions go over the network in the clear.", "remedy": "Use HTTPS or TLS with TLSV12 at least.",
		"aliases": ["CKV_NCP_13", "CKV_NCP_24"], "source": "NAVER Cloud Platform, Load Balancer",
	},
	"ncp_lb_old_tls": {
		"title": "NCP load balancer speaks old TLS", "severity": "medium",
		"rationale": "TLS 1.0 and 1.1 are broken.", "remedy": "Set tls_min_version_type to TLSV12.",
		"aliases": ["CKV_NCP_13"], "source": "NAVER Cloud Platform, Load Balancer",
	},
}

result contains found if {
	some r in input.by_type.aws_kms_key
	# Others cannot be rotated by AWS.
	lib.get(r, "customer_master_key_spec", "SYMMETRIC_DEFAULT") in {"SYMMETRIC_DEFAULT", lib.unknown}
	lib.get(r, "key_usage", "ENCRYPT_DECRYPT") in {"ENCRYPT_DECRYPT", lib.unknown}
	state := lib.must(lib.get(r, "enable_key_rotation", false))
	found := lib.said("aws_kms_rotation", r, state, "enable_key_rotation is not true.")
}

result contains found if {
	some type_ in ["aws_kms_key", "aws_kms_key_policy", "aws_kms_replica_key", "aws_kms_external_key"]
	some r in input.by_type[type_]
	state := lib.public_state(lib.get(r, "policy", ""))
	found := lib.said("aws_kms_public", r, state, "A statement allows the principal `*` without a condition.")
}

result contains found if {
	some r in input.by_type.aws_sns_topic
	state := lib.supplied(r, "kms_master_key_id", lib.get(r, "kms_master_key_id", ""))
	found := lib.said("aws_sns_encryption", r, state, "kms_master_key_id is not set.")
}

result contains found if {
	some r in input.by_type.aws_sqs_queue
	state := lib.any_of({lib.supplied(r, "kms_master_key_id", lib.get(r, "kms_master_key_id", "")), lib.must(lib.get(r, "sqs_managed_sse_enabled", false))})
	found := lib.said("aws_sqs_encryption", r, state, "Neither kms_master_key_id nor sqs_managed_sse_enabled is set.")
}

result contains found if {
	some type_ in ["aws_sqs_queue", "aws_sqs_queue_policy", "aws_sns_topic", "aws_sns_topic_policy"]
	some r in input.by_type[type_]
	state := lib.public_state(lib.get(r, "policy", ""))
	found := lib.said("aws_message_public", r, state, "A statement allows the principal `*` without a condition.")
}

action_state(s) := "unknown" if {
	s == lib.unknown
} else := "fail" if {
	# Every action but a few.
	lib.allows(s)
	count(lib.part(s, "NotAction")) > 0
} else := lib.all_of({lib.ban(lower(lib.text(action)), {"*", "*:*", "sqs:*", "sns:*"}) | some action in lib.part(s, "Action")}) if {
	lib.allows(s)
} else := "pass"

result contains found if {
	some type_ in ["aws_sqs_queue", "aws_sqs_queue_policy", "aws_sns_topic", "aws_sns_topic_policy"]
	some r in input.by_type[type_]
	some s in lib.statements(lib.get(r, "policy", ""))
	found := lib.said("aws_message_action_any", r, action_state(s), "A statement allows every action.")
}

result contains found if {
	some r in input.by_type.aws_cloudtrail
	state := lib.supplied(r, "kms_key_id", lib.get(r, "kms_key_id", ""))
	found := lib.said("aws_cloudtrail_key", r, state, "kms_key_id is not set.")
}

result contains found if {
	some r in input.by_type.aws_cloudtrail
	state := lib.must(lib.get(r, "enable_log_file_validation", false))
	found := lib.said("aws_cloudtrail_validation", r, state, "enable_log_file_validation is not true.")
}

result contains found if {
	some r in input.by_type.aws_cloudtrail
	state := lib.must(lib.get(r, "is_multi_region_trail", false))
	found := lib.said("aws_cloudtrail_regions", r, state, "is_multi_region_trail is not true.")
}

result contains found if {
	some r in input.by_type.aws_ecr_repository
	state := lib.want(lib.get(r, "image_tag_mutability", "MUTABLE"), {"IMMUTABLE", "IMMUTABLE_WITH_EXCLUSION"})
	found := lib.said("aws_ecr_mutable", r, state, "image_tag_mutability is not IMMUTABLE.")
}

result contains found if {
	some r in input.by_type.aws_ecr_repository
	state := lib.must(lib.at(r.values, ["image_scanning_configuration", 0, "scan_on_push"], false))
	found := lib.said("aws_ecr_scan", r, state, "scan_on_push is not true.")
}

result contains found if {
	some r in input.by_type.aws_ecr_repository_policy
	state := lib.public_state(lib.get(r, "policy", ""))
	found := lib.said("aws_ecr_public", r, state, "A statement allows the principal `*` without a condition.")
}

listeners := lib.of_any(["aws_lb_listener", "aws_alb_listener"])

# Whatever redirects to HTTPS may listen without.
redirects(r) := lib.any_of({state |
	some action in lib.blocks(r.values, "default_action")
	is_object(action)
	some redirect in lib.blocks(action, "redirect")
	state := redirect_state(redirect)
} | {"unknown" | lib.open_block(r.values, "default_action")})

redirect_state(redirect) := "unknown" if {
	redirect == lib.unknown
} else := lib.want(lib.attr(redirect, "protocol", "#{protocol}"), {"HTTPS"})

result contains found if {
	some r in listeners
	protocol := lib.ban(upper(lib.text(lib.get(r, "protocol", ""))), {"HTTP"})
	kept := lib.get(r, "protocol", "")
	known := protocol_state(kept, protocol)
	state := lib.any_of({known, redirects(r)})
	found := lib.said("aws_lb_plain", r, state, "The listener speaks HTTP and does not redirect.")
}

# An application load balancer speaks HTTP unless told otherwise; others have no such default.
result contains found if {
	some r in listeners
	lib.get(r, "protocol", "") == ""
	some kind in ["aws_lb", "aws_alb"]
	some address in object.get(r.links, "load_balancer_arn", [])
	some balancer in input.by_type[kind]
	balancer.address == address
	sort_ := lib.ban(lib.get(balancer, "load_balancer_type", "application"), {"application"})
	state := lib.any_of({sort_, redirects(r)})
	found := lib.said("aws_lb_plain", r, state, "The listener names no protocol, which is HTTP, and does not redirect.")
}

protocol_state(given, state) := "unknown" if {
	given == lib.unknown
} else := state

classic := [{"r": r, "block": block} |
	some r in input.by_type.aws_elb
	some block in lib.blocks(r.values, "listener")
	is_object(block)
]

result contains found if {
	some c in classic
	given := lib.attr(c.block, "lb_protocol", "")
	state := protocol_state(given, lib.ban(upper(lib.text(given)), {"HTTP"}))
	found := lib.said("aws_lb_plain", c.r, state, "A listener speaks HTTP.")
}

result contains found if {
	some r in input.by_type.aws_elb
	lib.open_block(r.values, "listener")
	found := lib.said("aws_lb_plain", r, "unknown", "A listener speaks HTTP.")
}

modern := `^ELBSecurityPolicy-(TLS13-1-[23]-|TLS-1-2-|FS-1-2-)`

policy_state(policy) := "unknown" if {
	policy == lib.unknown
} else := "pass" if {
	regex.match(modern, policy)
} else := "fail"

result contains found if {
	some r in listeners
	protocol := lib.get(r, "protocol", "")
	safe := protocol_state(protocol, lib.ban(upper(lib.text(protocol)), {"HTTPS", "TLS"}))
	state := lib.both(safe, policy_state(lib.get(r, "ssl_policy", "ELBSecurityPolicy-2016-08")))
	found := lib.said("aws_lb_old_tls", r, state, "ssl_policy allows TLS 1.0 or 1.1.")
}

# The policy of a classic load balancer: old protocols that are switched on, or one of AWS's by name.
result contains found if {
	some r in input.by_type.aws_load_balancer_policy
	sort_ := lib.ban(lib.get(r, "policy_type_name", ""), {"SSLNegotiationPolicyType"})
	attributes := {state | some a in lib.blocks(r.values, "policy_attribute"); state := attribute_state(a)}
	open := {"unknown" | lib.open_block(r.values, "policy_attribute")}
	state := lib.both(sort_, lib.all_of(attributes | open))
	found := lib.said("aws_lb_old_tls", r, state, "The policy allows TLS 1.0 or 1.1, or SSL.")
}

attribute_state(a) := "unknown" if {
	a == lib.unknown
} else := "unknown" if {
	lib.attr(a, "name", "") == lib.unknown
} else := lib.must_not(lib.attr(a, "value", "")) if {
	lib.attr(a, "name", "") in {"Protocol-SSLv2", "Protocol-SSLv3", "Protocol-TLSv1", "Protocol-TLSv1.1"}
} else := policy_state(lib.attr(a, "value", "")) if {
	lib.attr(a, "name", "") == "Reference-Security-Policy"
} else := "pass"

endpoint(r) := lib.must_not(lib.at(r.values, ["vpc_config", 0, "endpoint_public_access"], true))

result contains found if {
	some r in input.by_type.aws_eks_cluster
	state := endpoint(r)
	found := lib.said("aws_eks_public", r, state, "endpoint_public_access is true.")
}

result contains found if {
	some r in input.by_type.aws_eks_cluster
	# Without the list AWS takes everybody.
	ranges := lib.listed(lib.at(r.values, ["vpc_config", 0, "public_access_cidrs"], ["0.0.0.0/0"]))
	state := lib.both(endpoint(r), lib.ranges_state(world_if_empty(ranges)))
	found := lib.said("aws_eks_world", r, state, "public_access_cidrs holds the whole Internet.")
}

world_if_empty(ranges) := ["0.0.0.0/0"] if {
	count(ranges) == 0
} else := ranges

result contains found if {
	some r in input.by_type.aws_eks_cluster
	state := lib.any_of({covered |
		some block in lib.blocks(r.values, "encryption_config")
		is_object(block)
		covered := lib.all_of({secrets_state(lib.listed(lib.attr(block, "resources", []))), lib.supplied(r, "encryption_config", lib.at(block, ["provider", 0, "key_arn"], ""))})
	} | {"unknown" | lib.open_block(r.values, "encryption_config")})
	found := lib.said("aws_eks_secrets", r, state, "There is no encryption_config for secrets.")
}

secrets_state(resources) := "pass" if {
	"secrets" in resources
} else := "unknown" if {
	lib.unknown in resources
} else := "fail"

every_log := {"api", "audit", "authenticator", "controllerManager", "scheduler"}

result contains found if {
	some r in input.by_type.aws_eks_cluster
	given := {kind | some kind in lib.listed(lib.get(r, "enabled_cluster_log_types", []))}
	state := logs_state(given)
	found := lib.said("aws_eks_logs", r, state, "Not every kind of log is switched on.")
}

logs_state(given) := "pass" if {
	count(every_log - given) == 0
} else := "unknown" if {
	lib.unknown in given
} else := "fail"

result contains found if {
	some r in input.by_type.ncloud_nks_cluster
	# The provider sends it only when it is true.
	state := lib.must_not(lib.get(r, "public_network", false))
	found := lib.said("ncp_nks_public", r, state, "public_network is true.")
}

result contains found if {
	some r in input.by_type.ncloud_lb_listener
	state := lib.ban(lib.get(r, "protocol", ""), {"HTTP"})
	found := lib.said("ncp_lb_plain", r, state, "The listener speaks HTTP.")
}

result contains found if {
	some r in input.by_type.ncloud_lb_listener
	# Without it NCP takes TLS 1.0.
	state := lib.both(lib.ban(lib.get(r, "protocol", ""), {"HTTPS", "TLS"}), lib.want(lib.get(r, "tls_min_version_type", "TLSV10"), {"TLSV12", "TLSV13"}))
	found := lib.said("ncp_lb_old_tls", r, state, "tls_min_version_type is not TLSV12.")
}
