# Who may do what.
package slipway.iam

import data.slipway.lib
import rego.v1

least := "Name the actions and the resources that are needed."

aws := "AWS IAM best practices, least privilege"

rules := {
	"aws_iam_admin": {
		"title": "IAM policy allows everything on everything", "severity": "critical",
		"rationale": "`*:*` is the whole account in the hands of whoever holds it.", "remedy": least,
		"aliases": ["CKV_AWS_62", "CKV_AWS_1", "CKV_AWS_274", "AVD-AWS-0057", "AWS-0057"], "source": "CIS AWS Foundations 1.16",
	},
	"aws_iam_action_any": {
		"title": "IAM policy allows every action", "severity": "critical",
		"rationale": "The action `*` includes changing policies and deleting data.", "remedy": least,
		"aliases": ["CKV_AWS_63", "AVD-AWS-0057", "AWS-0057"], "source": aws,
	},
	"aws_iam_write_any": {
		"title": "IAM policy allows changes on every resource", "severity": "medium",
		"rationale": "A mistake or a leak reaches everything of this kind in the account.", "remedy": least,
		"aliases": ["CKV_AWS_290", "AVD-AWS-0057", "AWS-0057"], "source": aws,
	},
	"aws_iam_resource_any": {
		"title": "IAM policy names no resources where it could", "severity": "low",
		"rationale": "What may be read or changed is everything of this kind in the account.", "remedy": least,
		"aliases": ["CKV_AWS_355", "AVD-AWS-0057", "AWS-0057"], "source": aws,
	},
	"aws_iam_service_any": {
		"title": "IAM policy allows every action of a service", "severity": "low",
		"rationale": "It holds rights to delete, to make public and to change policies that nobody thought of.", "remedy": least,
		"aliases": ["AVD-AWS-0057", "AWS-0057"], "source": aws,
	},
	"aws_iam_escalation": {
		"title": "IAM policy lets its holder raise their own rights", "severity": "high",
		"rationale": "With these actions on every resource one becomes administrator.",
		"remedy": "Restrict the resources, or use a permissions boundary.",
		"aliases": ["CKV_AWS_286", "AVD-AWS-0342", "AWS-0342"], "source": "Rhino Security Labs, AWS IAM privilege escalation methods",
	},
	"aws_iam_assume_any": {
		"title": "Everybody may assume the role", "severity": "critical",
		"rationale": "Any account in the world gets the rights of the role.",
		"remedy": "Name the accounts, roles or services, or tie it by aws:PrincipalOrgID.",
		"aliases": ["CKV_AWS_60"], "source": aws,
	},
	"aws_iam_assume_account": {
		"title": "Everybody in an account may assume the role", "severity": "low",
		"rationale": "Whoever may grant rights in that account decides who gets the role.",
		"remedy": "Name roles or users of the account, or add a condition.",
		"aliases": ["CKV_AWS_61"], "source": aws,
	},
	"aws_iam_user_policy": {
		"title": "IAM policy hangs on a user", "severity": "low",
		"rationale": "Rights of single users are forgotten when people leave or change.",
		"remedy": "Attach it to a group or a role.",
		"aliases": ["CKV_AWS_40", "AVD-AWS-0143", "AWS-0143"], "source": "CIS AWS Foundations 1.15",
	},
	"gcp_iam_basic_role": {
		"title": "A basic role of GCP is given away", "severity": "high",
		"rationale": "`owner` and `editor` hold thousands of permissions in every service.",
		"remedy": "Use predefined or custom roles.",
		"aliases": ["CKV_GCP_117", "AVD-GCP-0007", "GCP-0007"], "source": "CIS GCP Foundations 1.5",
	},
	"gcp_iam_service_admin": {
		"title": "A service account administers a service", "severity": "medium",
		"rationale": "Whoever gets a key or a token of the account can change what the service guards.",
		"remedy": "Use a role that holds only what the program needs.",
		"aliases": ["CKV_GCP_42", "AVD-GCP-0007", "GCP-0007"], "source": "CIS GCP Foundations 1.5",
	},
	"gcp_iam_viewer": {
		"title": "The basic role `viewer` of GCP is given away", "severity": "low",
		"rationale": "It reads nearly everything in every service.",
		"remedy": "Use predefined or custom roles.",
		"aliases": ["CKV_GCP_117"], "source": "Google Cloud IAM, basic roles",
	},
	"gcp_iam_impersonation": {
		"title": "A role lets its holder act as any service account", "severity": "high",
		"rationale": "Whoever may use, make keys for or run code as every service account has all their rights.",
		"remedy": "Give the role on single service accounts instead of the project, folder or organization.",
		"aliases": ["CKV_GCP_44", "CKV_GCP_45", "CKV_GCP_49"], "source": "CIS GCP Foundations 1.6",
	},
	"gcp_iam_public": {
		"title": "Everybody has a role in the project or on the service", "severity": "critical",
		"rationale": "`allUsers` is anybody, `allAuthenticatedUsers` anybody with a Google account.",
		"remedy": "Give the role to a service account or a group.",
		"aliases": ["CKV_GCP_102", "CKV_GCP_15", "AVD-GCP-0046", "GCP-0046"], "source": "CIS GCP Foundations 1",
	},
	"azure_role_any": {
		"title": "Azure role allows every action", "severity": "critical",
		"rationale": "A custom role with `*` is an owner under another name.", "remedy": least,
		"aliases": ["CKV_AZURE_39", "AVD-AZU-0030", "AZU-0030"], "source": "CIS Azure Foundations 1.21",
	},
}

named_policies := ["aws_iam_policy", "aws_iam_role_policy", "aws_iam_user_policy", "aws_iam_group_policy", "aws_ssoadmin_permission_set_inline_policy"]

# Every document of rights: attribute `policy` (or `inline_policy` of permission sets), and the
# inline blocks of roles.
documents := array.concat(
	[{"r": r, "policy": lib.get(r, "policy", lib.get(r, "inline_policy", ""))} | some r in lib.of_any(named_policies)],
	[{"r": r, "policy": policy} |
		some r in input.by_type.aws_iam_role
		some block in inline_blocks(r)
		policy := inline(block)
	],
)

inline_blocks(r) := [lib.unknown] if {
	object.get(r.values, "inline_policy", null) == lib.unknown
} else := lib.blocks(r.values, "inline_policy")

inline(block) := lib.unknown if {
	block == lib.unknown
} else := lib.attr(block, "policy", "")

# Every statement that allows something, or may.
statements := [{"r": d.r, "s": s} |
	some d in documents
	some s in lib.statements(d.policy)
	counts(s)
]

counts(s) if s == lib.unknown

counts(s) if lib.allows(s)

# A part of a statement as a list; what is not known may be anything.
part(s, name) := [lib.unknown] if {
	s == lib.unknown
} else := lib.part(s, name)

# The state of "the part holds nothing of these".
part_state(s, name, bad) := "fail" if {
	some one in part(s, name)
	one in bad
} else := "unknown" if {
	lib.unknown in part(s, name)
} else := "pass"

everything := {"*", "*:*"}

# What is allowed except for a few things is nearly everything.
actions_state(s) := "fail" if {
	is_object(s)
	count(lib.part(s, "NotAction")) > 0
} else := part_state(s, "Action", everything)

resources_state(s) := "fail" if {
	is_object(s)
	count(lib.part(s, "NotResource")) > 0
} else := part_state(s, "Resource", {"*", "arn:aws:*", "arn:*"})

result contains found if {
	some p in statements
	state := lib.both(part_state(p.s, "Action", everything), resources_state(p.s))
	found := lib.said("aws_iam_admin", p.r, state, "A statement allows every action on every resource.")
}

result contains found if {
	some type_ in ["aws_iam_role_policy_attachment", "aws_iam_user_policy_attachment", "aws_iam_group_policy_attachment", "aws_iam_policy_attachment", "aws_ssoadmin_managed_policy_attachment"]
	some r in input.by_type[type_]
	some name in ["policy_arn", "managed_policy_arn"]
	state := admin_arn(r, name, lib.get(r, name, ""))
	found := lib.said("aws_iam_admin", r, state, "The managed policy AdministratorAccess is attached.")
}

result contains found if {
	some r in input.by_type.aws_iam_role
	some arn in lib.listed(lib.get(r, "managed_policy_arns", []))
	state := admin_arn(r, "managed_policy_arns", arn)
	found := lib.said("aws_iam_admin", r, state, "The managed policy AdministratorAccess is attached.")
}

# A policy of the plan is looked at by itself, so its ARN need not be known.
admin_arn(r, name, arn) := "fail" if {
	endswith(arn, ":policy/AdministratorAccess")
} else := "unknown" if {
	arn == lib.unknown
	count(object.get(r.links, name, [])) == 0
} else := "pass"

result contains found if {
	some p in statements
	found := lib.said("aws_iam_action_any", p.r, actions_state(p.s), "A statement allows every action.")
}

reading := ["get", "list", "describe", "head", "batchget", "lookup", "search", "view", "check", "query", "scan", "select", "read", "simulate", "validate", "estimate", "preview", "count", "discover", "filter", "test"]

# Services and actions that know no resources.
resourceless_services := {"inspector", "ce", "cur", "pricing", "support", "tag", "freetier"}

resourceless := {
	"cloudwatch:putmetricdata", "xray:puttracesegments", "xray:puttelemetryrecords", "ecr:getauthorizationtoken",
	"ec2:createnetworkinterface", "ec2:deletenetworkinterface", "ec2:assignprivateipaddresses", "ec2:unassignprivateipaddresses",
	"logs:createloggroup", "logs:createlogdelivery", "logs:deletelogdelivery", "logs:updatelogdelivery", "logs:putresourcepolicy",
	"sts:getcalleridentity", "sts:getsessiontoken", "cloudwatch:getmetricdata", "cloudwatch:getmetricstatistics", "tag:getresources",
	"iam:getaccountsummary", "iam:getaccountpasswordpolicy", "iam:generatecredentialreport", "iam:getcredentialreport", "pricing:getproducts", "ec2:getconsoleoutput",
	"xray:getsamplingrules", "xray:getsamplingtargets", "s3:getaccountpublicaccessblock", "ssmmessages:createcontrolchannel", "ssmmessages:createdatachannel",
	"ssmmessages:opencontrolchannel", "ssmmessages:opendatachannel", "ec2messages:acknowledgemessage", "ec2messages:deletemessage",
	"ec2messages:failmessage", "ec2messages:sendreply", "ssm:updateinstanceinformation", "s3:listallmybuckets", "ec2:createtags",
}

changing(action) if {
	plain := lower(action)
	parts := split(plain, ":")
	count(parts) == 2
	verbs := [verb | some verb in reading; startswith(parts[1], verb)]
	count(verbs) == 0
	service := parts[0]
	not plain in resourceless
	not service in resourceless_services
}

changing(action) if action == "*"

# Actions that read, and know resources all the same.
bounded_reads := {
	"s3:listbucket", "s3:listbucketversions", "s3:listbucketmultipartuploads", "s3:listmultipartuploadparts", "dynamodb:describetable",
	"dynamodb:listtagsofresource", "kinesis:describestream", "kinesis:listshards", "logs:describelogstreams", "ecr:listimages", "ecr:describeimages",
	"secretsmanager:describesecret", "ecs:describetasks", "ecs:describeservices", "lambda:listversionsbyfunction", "sqs:listqueuetags", "kms:describekey",
}

# Whether the resources of an action could be named. A pattern nearly always takes in one such; what
# lists or describes by its full name mostly knows none.
bounded(action) if contains(action, "*")

bounded(action) if lower(action) in bounded_reads

bounded(action) if {
	plain := lower(action)
	not contains(plain, "*")
	not contains(plain, ":describe")
	not contains(plain, ":list")
	not plain in resourceless
	service := split(plain, ":")[0]
	not service in resourceless_services
}

conditional(s) if {
	is_object(s)
	count(object.get(s, "Condition", {})) > 0
}

# Statements without conditions.
free := [p |
	some p in statements
	tie := [1 | conditional(p.s)]
	count(tie) == 0
]

# Those that name no resources, or may.
wide := [{"r": p.r, "s": p.s, "state": state} |
	some p in free
	state := width(p.s)
	state != "pass"
]

# All of a service are as good as all.
width(s) := "fail" if {
	some one in part(s, "Resource")
	regex.match(`^(\*|arn:[^:]*:[^:]*:[^:]*:[^:]*:\*)$`, one)
} else := part_state(s, "Resource", set())

service_state(s) := "fail" if {
	some action in part(s, "Action")
	regex.match(`^[A-Za-z0-9-]+:\*$`, action)
} else := part_state(s, "Action", set())

result contains found if {
	some p in statements
	found := lib.said("aws_iam_service_any", p.r, service_state(p.s), "A statement allows every action of a service.")
}

kinds_state(s, bad) := "fail" if {
	is_object(s)
	count(lib.part(s, "NotAction")) > 0
} else := "fail" if {
	bad
} else := "unknown" if {
	lib.unknown in part(s, "Action")
} else := "pass"

some_changing(s) if {
	some action in part(s, "Action")
	changing(action)
}

some_bounded(s) if {
	some action in part(s, "Action")
	action != lib.unknown
	bounded(action)
}

result contains found if {
	some w in wide
	bad := count([1 | some_changing(w.s)]) > 0
	state := lib.both(w.state, kinds_state(w.s, bad))
	found := lib.said("aws_iam_write_any", w.r, state, "A statement allows changes on every resource.")
}

result contains found if {
	some w in wide
	bad := count([1 | some_bounded(w.s)]) > 0
	state := lib.both(w.state, kinds_state(w.s, bad))
	found := lib.said("aws_iam_resource_any", w.r, state, "A statement allows something on every resource that could name the resources.")
}

escalating := {
	"iam:createpolicyversion", "iam:setdefaultpolicyversion", "iam:passrole", "iam:createaccesskey", "iam:createloginprofile",
	"iam:updateloginprofile", "iam:attachuserpolicy", "iam:attachgrouppolicy", "iam:attachrolepolicy", "iam:putuserpolicy",
	"iam:putgrouppolicy", "iam:putrolepolicy", "iam:addusertogroup", "iam:updateassumerolepolicy", "sts:assumerole",
	"lambda:updatefunctioncode", "glue:updatedevendpoint", "cloudformation:setstackpolicy", "codestar:associateteammember",
}

# Whether a pattern of an action, which may hold stars, includes one of them.
escalates(action) if {
	pattern := lower(action)
	pattern != lib.unknown
	some one in escalating
	glob.match(pattern, [], one)
}

some_escalating(s) if {
	some action in part(s, "Action")
	escalates(action)
}

result contains found if {
	some p in free
	bad := count([1 | some_escalating(p.s)]) > 0
	state := lib.both(resources_state(p.s), kinds_state(p.s, bad))
	found := lib.said("aws_iam_escalation", p.r, state, "A statement allows actions on every resource that raise the holder's rights.")
}

result contains found if {
	some r in input.by_type.aws_iam_role
	some s in lib.statements(lib.get(r, "assume_role_policy", ""))
	found := lib.said("aws_iam_assume_account", r, account_state(s), "The trust policy names a whole account.")
}

account_state(s) := "unknown" if {
	s == lib.unknown
} else := "pass" if {
	conditional(s)
} else := "fail" if {
	lib.allows(s)
	some principal in lib.principals(s)
	regex.match(`^([0-9]{12}|arn:aws[a-z-]*:iam::[0-9]{12}:root)$`, lib.text(principal))
} else := "unknown" if {
	lib.allows(s)
	lib.unknown in lib.principals(s)
} else := "pass"

result contains found if {
	some r in input.by_type.aws_iam_role
	state := lib.public_state(lib.get(r, "assume_role_policy", ""))
	found := lib.said("aws_iam_assume_any", r, state, "The trust policy names the principal `*`.")
}

result contains found if {
	some type_ in ["aws_iam_user_policy", "aws_iam_user_policy_attachment"]
	some r in input.by_type[type_]
	found := lib.said("aws_iam_user_policy", r, "fail", "The policy is attached to a user.")
}

result contains found if {
	some r in input.by_type.aws_iam_policy_attachment
	state := absent(lib.get(r, "users", []))
	found := lib.said("aws_iam_user_policy", r, state, "The policy is attached to users.")
}

absent(value) := "unknown" if {
	value == lib.unknown
} else := "pass" if {
	named := [one | some one in lib.listed(value); one != ""]
	count(named) == 0
} else := "fail"

# Who has which role: one member, all members of a role, or the whole policy at once.
gcp_given(r) := [{"r": r, "role": lib.get(r, "role", ""), "members": members(r)}]

members(r) := array.concat(lib.listed(lib.get(r, "member", null)), lib.listed(lib.get(r, "members", null)))

gcp_policy(r) := [{"r": r, "role": b.role, "members": b.members} | some b in lib.bindings(lib.get(r, "policy_data", ""))]

# Rights in a project, a folder or the whole organization.
gcp_bindings := array.concat(
	[g |
		some r in lib.of_any([
			"google_project_iam_member", "google_project_iam_binding", "google_folder_iam_member", "google_folder_iam_binding",
			"google_organization_iam_member", "google_organization_iam_binding",
		])
		some g in gcp_given(r)
	],
	[g |
		some r in lib.of_any(["google_project_iam_policy", "google_folder_iam_policy", "google_organization_iam_policy"])
		some g in gcp_policy(r)
	],
)

# Rights on anything. Buckets have a rule of their own.
gcp_anything := [g |
	some kind, list in input.by_type
	startswith(kind, "google_")
	not startswith(kind, "google_storage_bucket_")
	regex.match(`_iam_(member|binding|policy)$`, kind)
	some r in list
	some g in array.concat(gcp_given(r), gcp_policy(r))
]

result contains found if {
	some g in gcp_bindings
	state := lib.ban(g.role, {"roles/owner", "roles/editor"})
	found := lib.said("gcp_iam_basic_role", g.r, state, "The role is owner or editor.")
}

result contains found if {
	some g in gcp_bindings
	state := lib.ban(g.role, {"roles/viewer"})
	found := lib.said("gcp_iam_viewer", g.r, state, "The role is viewer.")
}

result contains found if {
	some g in gcp_bindings
	accounts := lib.all_of({robot_state(member) | some member in g.members})
	state := lib.both(accounts, admin_state(g.role))
	found := lib.said("gcp_iam_service_admin", g.r, state, "A service account has a role of an administrator.")
}

robot_state(member) := "unknown" if {
	member == lib.unknown
} else := "fail" if {
	regex.match(`^serviceAccount:|\.gserviceaccount\.com$`, member)
} else := "pass"

admin_state(role) := "unknown" if {
	role == lib.unknown
} else := "fail" if {
	regex.match(`(?i)(admin|/owner|/editor)$`, role)
} else := "pass"

# Roles that hold actAs, token or key permissions, or run code as service accounts.
impersonating := {
	"roles/owner", "roles/editor", "roles/iam.serviceAccountAdmin", "roles/iam.serviceAccountKeyAdmin", "roles/iam.serviceAccountUser",
	"roles/iam.serviceAccountTokenCreator", "roles/iam.serviceAccountOpenIdTokenCreator", "roles/iam.workloadIdentityUser", "roles/iam.securityAdmin",
	"roles/cloudbuild.builds.builder", "roles/cloudbuild.builds.editor", "roles/composer.worker", "roles/dataflow.admin", "roles/dataflow.developer",
	"roles/deploymentmanager.editor", "roles/run.sourceDeveloper", "roles/backupdr.computeEngineOperator", "roles/assuredoss.admin", "roles/securitycenter.admin",
}

# Google's own agents act as others, and people may not hold their roles.
role_state(role) := "unknown" if {
	role == lib.unknown
} else := "fail" if {
	role in impersonating
} else := "fail" if {
	regex.match(`^roles/[A-Za-z.]+\.(serviceAgent|[A-Za-z]+ServiceAgent)$`, role)
} else := "pass"

result contains found if {
	some g in gcp_bindings
	found := lib.said("gcp_iam_impersonation", g.r, role_state(g.role), "The role lets its holder act as any service account.")
}

gcp_everybody := {"allUsers", "allAuthenticatedUsers"}

result contains found if {
	some g in gcp_anything
	state := lib.all_of({lib.ban(member, gcp_everybody) | some member in g.members})
	found := lib.said("gcp_iam_public", g.r, state, "Everybody is a member.")
}

# A dataset keeps its own list, inline or in resources of one entry each.
gcp_access := array.concat(
	[{"r": r, "entry": entry} |
		some r in input.by_type.google_bigquery_dataset
		some entry in lib.blocks(r.values, "access")
	],
	[{"r": r, "entry": r.values} | some r in input.by_type.google_bigquery_dataset_access],
)

result contains found if {
	some a in gcp_access
	found := lib.said("gcp_iam_public", a.r, access_state(a.entry), "Everybody has access.")
}

access_state(entry) := "unknown" if {
	entry == lib.unknown
} else := lib.all_of({lib.ban(lib.attr(entry, name, ""), gcp_everybody) | some name in ["special_group", "iam_member"]})

result contains found if {
	some r in input.by_type.google_bigquery_dataset
	object.get(r.values, "access", null) == lib.unknown
	found := lib.said("gcp_iam_public", r, "unknown", "Everybody has access.")
}

result contains found if {
	some r in input.by_type.azurerm_role_definition
	some block in lib.blocks(r.values, "permissions")
	is_object(block)
	state := lib.all_of({lib.ban(action, {"*"}) | some action in lib.listed(lib.attr(block, "actions", []))})
	found := lib.said("azure_role_any", r, state, "The permissions hold the action `*`.")
}

result contains found if {
	some r in input.by_type.azurerm_role_definition
	lib.open_block(r.values, "permissions")
	found := lib.said("azure_role_any", r, "unknown", "The permissions hold the action `*`.")
}
