# Networks: what the world can reach.
package slipway.network

import data.slipway.inbound
import data.slipway.lib
import rego.v1

narrow := "Allow only the networks that need it, or reach it through a bastion, VPN or session manager."

rules := {
	"aws_open_ssh": {
		"title": "SSH is open to the world", "severity": "critical",
		"rationale": "Port 22 is tried by bots within minutes.", "remedy": narrow,
		"aliases": ["CKV_AWS_24", "AVD-AWS-0107", "AWS-0107"], "source": "CIS AWS Foundations 5.2",
	},
	"aws_open_rdp": {
		"title": "RDP is open to the world", "severity": "critical",
		"rationale": "Port 3389 is a usual way in for ransomware.", "remedy": narrow,
		"aliases": ["CKV_AWS_25", "AVD-AWS-0107", "AWS-0107"], "source": "CIS AWS Foundations 5.2",
	},
	"aws_open_http": {
		"title": "Port 80 is open to the world", "severity": "low",
		"rationale": "Plain HTTP can be read and changed on the way.",
		"remedy": "Let a load balancer redirect port 80 to HTTPS, or close it.",
		"aliases": ["CKV_AWS_260"], "source": "AWS Security Hub EC2.19",
	},
	"aws_open_all": {
		"title": "All ports are open to the world", "severity": "critical",
		"rationale": "Whatever listens is reachable by everybody.", "remedy": narrow,
		"aliases": ["CKV_AWS_277", "AVD-AWS-0107", "AWS-0107"], "source": "CIS AWS Foundations 5.2",
	},
	"aws_open_database": {
		"title": "A database or cache port is open to the world", "severity": "critical",
		"rationale": "Databases are found by scanning, and their passwords by trying.", "remedy": narrow,
		"aliases": ["AVD-AWS-0107", "AWS-0107"], "source": "AWS Security Hub EC2.19",
	},
	"aws_open_egress": {
		"title": "Everything may go out to the world", "severity": "low",
		"rationale": "Whoever gets in can carry anything out.",
		"remedy": "Name the ports and networks that are needed.",
		"aliases": ["CKV_AWS_382", "AVD-AWS-0104", "AWS-0104"], "source": "AWS VPC documentation",
	},
	"aws_public_ip": {
		"title": "Instance has a public address", "severity": "medium",
		"rationale": "It can be reached from everywhere that its security group forgets.",
		"remedy": "Set associate_public_ip_address to false and put a load balancer before it.",
		"aliases": ["CKV_AWS_88", "AVD-AWS-0009", "AWS-0009"], "source": "AWS Security Hub EC2.9",
	},
	"gcp_open_ssh": {
		"title": "SSH is open to the world", "severity": "critical",
		"rationale": "Port 22 is tried by bots within minutes.", "remedy": "Use Identity-Aware Proxy (35.235.240.0/20) or name the networks.",
		"aliases": ["CKV_GCP_2", "AVD-GCP-0027", "GCP-0027"], "source": "CIS GCP Foundations 3.6",
	},
	"gcp_open_rdp": {
		"title": "RDP is open to the world", "severity": "critical",
		"rationale": "Port 3389 is a usual way in for ransomware.", "remedy": "Use Identity-Aware Proxy (35.235.240.0/20) or name the networks.",
		"aliases": ["CKV_GCP_3", "AVD-GCP-0027", "GCP-0027"], "source": "CIS GCP Foundations 3.7",
	},
	"gcp_open_all": {
		"title": "All ports are open to the world", "severity": "critical",
		"rationale": "Whatever listens is reachable by everybody.", "remedy": narrow,
		"aliases": ["AVD-GCP-0027", "GCP-0027"], "source": "CIS GCP Foundations 3.6",
	},
	"azure_open_ssh": {
		"title": "SSH is open to the world", "severity": "critical",
		"rationale": "Port 22 is tried by bots within minutes.", "remedy": "Use Azure Bastion or name the networks.",
		"aliases": ["CKV_AZURE_10", "AVD-AZU-0050", "AZU-0050"], "source": "CIS Azure Foundations 6.2",
	},
	"azure_open_rdp": {
		"title": "RDP is open to the world", "severity": "critical",
		"rationale": "Port 3389 is a usual way in for ransomware.", "remedy": "Use Azure Bastion or name the networks.",
		"aliases": ["CKV_AZURE_9", "AVD-AZU-0048", "AZU-0048"], "source": "CIS Azure Foundations 6.1",
	},
	"azure_open_all": {
		"title": "All ports are open to the world", "severity": "critical",
		"rationale": "Whatever listens is reachable by everybody.", "remedy": narrow,
		"aliases": ["AVD-AZU-0047", "AZU-0047"], "source": "CIS Azure Foundations 6.1",
	},
	"ncp_open_ssh": {
		"title": "SSH is open to the world", "severity": "critical",
		"rationale": "Port 22 is tried by bots within minutes.", "remedy": "Use the SSL VPN or name the networks.",
		"aliases": ["CKV_NCP_4", "CKV_NCP_10"], "source": "NAVER Cloud Platform, ACG",
	},
	"ncp_open_rdp": {
		"title": "RDP is open to the world", "severity": "critical",
		"rationale": "Port 3389 is a usual way in for ransomware.", "remedy": "Use the SSL VPN or name the networks.",
		"aliases": ["CKV_NCP_5", "CKV_NCP_11"], "source": "NAVER Cloud Platform, ACG",
	},
	"ncp_open_http": {
		"title": "Port 80 is open to the world", "severity": "low",
		"rationale": "Plain HTTP can be read and changed on the way.",
		"remedy": "Let a load balancer redirect port 80 to HTTPS, or close it.",
		"aliases": ["CKV_NCP_25"], "source": "NAVER Cloud Platform, ACG",
	},
	"ncp_open_ftp": {
		"title": "FTP is open to the world", "severity": "high",
		"rationale": "FTP sends passwords and files in the clear.", "remedy": "Use SFTP, and name the networks.",
		"aliases": ["CKV_NCP_8", "CKV_NCP_9"], "source": "NAVER Cloud Platform, Network ACL",
	},
	"ncp_open_all": {
		"title": "All ports are open to the world", "severity": "critical",
		"rationale": "Whatever listens is reachable by everybody.", "remedy": narrow,
		"aliases": [], "source": "NAVER Cloud Platform, ACG",
	},
	"ncp_open_egress": {
		"title": "Traffic may go out to the whole world", "severity": "low",
		"rationale": "Whoever gets in can carry anything out.",
		"remedy": "Name the ports and networks that are needed.",
		"aliases": ["CKV_NCP_3"], "source": "NAVER Cloud Platform, ACG",
	},
	"ncp_rule_undescribed": {
		"title": "A rule of an access control group has no description", "severity": "low",
		"rationale": "Nobody dares to remove a rule that nobody can explain.",
		"remedy": "Say in `description` who needs it and why.",
		"aliases": ["CKV_NCP_2"], "source": "NAVER Cloud Platform, ACG",
	},
}

ports := {"ssh": [22], "rdp": [3389], "http": [80], "ftp": [20, 21], "database": [1433, 1521, 3306, 5432, 5439, 6379, 9200, 11211, 27017]}

# Which of them is looked for in which cloud.
asked := {
	"aws": ["ssh", "rdp", "http", "database"], "gcp": ["ssh", "rdp"],
	"azure": ["ssh", "rdp"], "ncp": ["ssh", "rdp", "http", "ftp"],
}

# Known ports are compared here and not in a function: there are many of them.
result contains found if {
	some e in inbound.open
	is_array(e.reach)
	lowest := e.reach[0]
	highest := e.reach[1]
	some service in asked[e.cloud]
	some port in ports[service]
	lowest <= port
	highest >= port
	closed := [1 |
		some shut in object.get(inbound.gcp_closed, e.r.address, [])
		shut[0] <= port
		shut[1] >= port
	]
	count(closed) == 0
	found := lib.said(sprintf("%s_open_%s", [e.cloud, service]), e.r, e.state, sprintf("Port %d is open to the whole Internet.", [port]))
}

result contains found if {
	some e in inbound.open
	e.reach == lib.unknown
	some service in asked[e.cloud]
	some port in ports[service]
	found := lib.said(sprintf("%s_open_%s", [e.cloud, service]), e.r, "unknown", sprintf("Port %d is open to the whole Internet.", [port]))
}

result contains found if {
	some e in inbound.open
	rule := sprintf("%s_open_all", [e.cloud])
	state := lib.both(e.state, lib.covers_all(e.protocol, e.from, e.to))
	found := lib.said(rule, e.r, state, "Every port is open to the whole Internet.")
}

egress := array.concat(
	[{"r": r, "rule": rule, "sources": inbound.rule_ranges(rule, ["cidr_blocks", "ipv6_cidr_blocks"]), "protocol": lib.attr(rule, "protocol", "-1")} |
		some type_ in ["aws_security_group", "aws_default_security_group"]
		some r in input.by_type[type_]
		some rule in lib.blocks(r.values, "egress")
		is_object(rule)
	],
	array.concat(
		[{"r": r, "rule": r.values, "sources": inbound.rule_ranges(r.values, ["cidr_blocks", "ipv6_cidr_blocks"]), "protocol": lib.get(r, "protocol", "-1")} |
			some r in input.by_type.aws_security_group_rule
			lib.get(r, "type", "") in {"egress", lib.unknown}
		],
		[{"r": r, "rule": r.values, "sources": inbound.rule_ranges(r.values, ["cidr_ipv4", "cidr_ipv6"]), "protocol": lib.get(r, "ip_protocol", "-1")} |
			some r in input.by_type.aws_vpc_security_group_egress_rule
		],
	),
)

result contains found if {
	some e in egress
	from := lib.attr(e.rule, "from_port", 0)
	to := lib.attr(e.rule, "to_port", from)
	sort_ := direction_state(e.r)
	state := lib.both(sort_, lib.both(lib.ranges_state(e.sources), lib.covers_all(e.protocol, from, to)))
	found := lib.said("aws_open_egress", e.r, state, "Every port of every address may be reached from inside.")
}

direction_state(r) := "unknown" if {
	r.type == "aws_security_group_rule"
	lib.get(r, "type", "") == lib.unknown
} else := "fail"

result contains found if {
	some type_ in ["aws_security_group", "aws_default_security_group"]
	some r in input.by_type[type_]
	lib.open_block(r.values, "egress")
	found := lib.said("aws_open_egress", r, "unknown", "Every port of every address may be reached from inside.")
}

result contains found if {
	some r in input.by_type.aws_launch_template
	lib.open_block(r.values, "network_interfaces")
	found := lib.said("aws_public_ip", r, "unknown", "associate_public_ip_address is true.")
}

result contains found if {
	some r in input.by_type.ncloud_access_control_group_rule
	some direction in ["inbound", "outbound"]
	lib.open_block(r.values, direction)
	found := lib.said("ncp_rule_undescribed", r, "unknown", "An inbound or outbound rule has no description.")
}

result contains found if {
	some type_ in ["aws_instance", "aws_spot_instance_request", "aws_launch_configuration"]
	some r in input.by_type[type_]
	state := lib.must_not(lib.get(r, "associate_public_ip_address", false))
	found := lib.said("aws_public_ip", r, state, "associate_public_ip_address is true.")
}

result contains found if {
	some r in input.by_type.aws_launch_template
	some interface in lib.blocks(r.values, "network_interfaces")
	is_object(interface)
	state := lib.must_not(lib.attr(interface, "associate_public_ip_address", false))
	found := lib.said("aws_public_ip", r, state, "associate_public_ip_address is true.")
}

result contains found if {
	some r in input.by_type.ncloud_access_control_group_rule
	some rule in lib.blocks(r.values, "outbound")
	is_object(rule)
	state := lib.ranges_state(inbound.rule_ranges(rule, ["ip_block"]))
	found := lib.said("ncp_open_egress", r, state, "An outbound rule names the whole Internet.")
}

result contains found if {
	some r in input.by_type.ncloud_access_control_group_rule
	lib.open_block(r.values, "outbound")
	found := lib.said("ncp_open_egress", r, "unknown", "An outbound rule names the whole Internet.")
}

result contains found if {
	some r in input.by_type.ncloud_access_control_group_rule
	some direction in ["inbound", "outbound"]
	some rule in lib.blocks(r.values, direction)
	is_object(rule)
	state := lib.present(lib.attr(rule, "description", ""))
	found := lib.said("ncp_rule_undescribed", r, state, "An inbound or outbound rule has no description.")
}

result contains found if {
	some r in input.by_type.ncloud_access_control_group
	state := lib.present(lib.get(r, "description", ""))
	found := lib.said("ncp_rule_undescribed", r, state, "The access control group has no description.")
}
