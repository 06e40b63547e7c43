# Every way in, of every cloud, in one form: where it stands, protocol, ports and sources.
package slipway.inbound

import data.slipway.lib
import rego.v1

# AWS: blocks inside security groups.
aws_inline := [entry("aws", r, rule, rule_ranges(rule, ["cidr_blocks", "ipv6_cidr_blocks"]), "protocol") |
	some type_ in ["aws_security_group", "aws_default_security_group"]
	some r in input.by_type[type_]
	some rule in lib.blocks(r.values, "ingress")
	is_object(rule)
]

aws_rules := [entry("aws", r, r.values, rule_ranges(r.values, ["cidr_blocks", "ipv6_cidr_blocks"]), "protocol") |
	some r in input.by_type.aws_security_group_rule
	lib.get(r, "type", "ingress") in {"ingress", lib.unknown}
]

aws_split := [entry("aws", r, r.values, split_ranges(r), "ip_protocol") |
	some r in input.by_type.aws_vpc_security_group_ingress_rule
]

# A rule without any source is no narrow one.
split_ranges(r) := ["0.0.0.0/0"] if {
	given := [1 |
		some name in ["cidr_ipv4", "cidr_ipv6", "prefix_list_id", "referenced_security_group_id"]
		source := lib.get(r, name, "")
		source != ""
	]
	count(given) == 0
} else := rule_ranges(r.values, ["cidr_ipv4", "cidr_ipv6"])

# Blocks that are not known at all.
aws_open := [{"cloud": "aws", "r": r, "protocol": lib.unknown, "from": lib.unknown, "to": lib.unknown, "sources": [lib.unknown]} |
	some type_ in ["aws_security_group", "aws_default_security_group"]
	some r in input.by_type[type_]
	lib.open_block(r.values, "ingress")
]

entry(cloud, r, rule, sources, protocol) := {
	"cloud": cloud, "r": r, "sources": sources,
	"protocol": lib.attr(rule, protocol, "-1"),
	"from": lib.attr(rule, "from_port", 0),
	"to": lib.attr(rule, "to_port", lib.attr(rule, "from_port", 65535)),
}

rule_ranges(rule, names) := [range | some name in names; some range in lib.listed(lib.attr(rule, name, null))]

# GCP: `allow` blocks of firewalls that let in. Without sources of any kind it is everybody.
gcp := [{"cloud": "gcp", "r": r, "protocol": lib.attr(allow, "protocol", "all"), "from": range[0], "to": range[1], "sources": gcp_sources(r)} |
	some r in input.by_type.google_compute_firewall
	upper(lib.text(lib.get(r, "direction", "INGRESS"))) != "EGRESS"
	lib.get(r, "disabled", false) != true
	some allow in lib.blocks(r.values, "allow")
	is_object(allow)
	some ports in gcp_ports(allow)
	range := lib.port_range(ports)
]

gcp_open := [{"cloud": "gcp", "r": r, "protocol": lib.unknown, "from": lib.unknown, "to": lib.unknown, "sources": gcp_sources(r)} |
	some r in input.by_type.google_compute_firewall
	lib.get(r, "disabled", false) != true
	lib.open_block(r.values, "allow")
]

# The same in policies of networks, folders and organizations, whose rules are resources of their own.
gcp_policy_rules := [r |
	some type_ in ["google_compute_firewall_policy_rule", "google_compute_network_firewall_policy_rule", "google_compute_region_network_firewall_policy_rule"]
	some r in input.by_type[type_]
	lower(lib.text(lib.get(r, "action", "allow"))) in {"allow", lib.unknown}
	upper(lib.text(lib.get(r, "direction", "INGRESS"))) != "EGRESS"
	lib.get(r, "disabled", false) != true
]

gcp_policies := [{"cloud": "gcp", "r": r, "protocol": lib.attr(layer, "ip_protocol", "all"), "from": range[0], "to": range[1], "sources": gcp_policy_sources(match)} |
	some r in gcp_policy_rules
	some match in lib.blocks(r.values, "match")
	is_object(match)
	some name in ["layer4_configs", "layer4_config"]
	some layer in lib.blocks(match, name)
	is_object(layer)
	some ports in gcp_ports(layer)
	range := lib.port_range(ports)
]

gcp_policies_open := [{"cloud": "gcp", "r": r, "protocol": lib.unknown, "from": lib.unknown, "to": lib.unknown, "sources": [lib.unknown]} |
	some r in gcp_policy_rules
	some block in array.concat([r.values], lib.blocks(r.values, "match"))
	is_object(block)
	some name in ["match", "layer4_configs", "layer4_config"]
	lib.open_block(block, name)
]

# Without anything that narrows it, everybody.
gcp_policy_sources(match) := ["0.0.0.0/0"] if {
	given := [1 |
		some name in ["src_ip_ranges", "src_secure_tags", "src_fqdns", "src_region_codes", "src_address_groups", "src_threat_intelligences", "src_networks"]
		some one in lib.listed(lib.attr(match, name, []))
		one != null
	]
	count(given) == 0
} else := lib.listed(lib.attr(match, "src_ip_ranges", []))

gcp_ports(allow) := ports if {
	ports := lib.listed(lib.attr(allow, "ports", []))
	count(ports) > 0
} else := ["*"]

gcp_sources(r) := ["0.0.0.0/0"] if {
	given := [1 | some name in ["source_ranges", "source_tags", "source_service_accounts"]; some one in lib.listed(lib.get(r, name, [])); one != null]
	count(given) == 0
} else := lib.listed(lib.get(r, "source_ranges", []))

# Firewalls that keep everybody out of ports of a network. Google takes the lowest priority first, and
# of equal ones the one that denies.
gcp_shut := [{"network": network, "priority": lib.get(r, "priority", 1000), "reach": lib.reach(lib.attr(deny, "protocol", "all"), range[0], range[1])} |
	some r in input.by_type.google_compute_firewall
	upper(lib.text(lib.get(r, "direction", "INGRESS"))) == "INGRESS"
	lib.get(r, "disabled", false) == false
	targets := [1 | some name in ["target_tags", "target_service_accounts", "source_tags", "source_service_accounts"]; some one in lib.listed(lib.get(r, name, [])); one != null]
	count(targets) == 0
	lib.ranges_state(gcp_sources(r)) == "fail"
	network := gcp_network(r)
	some deny in lib.blocks(r.values, "deny")
	is_object(deny)
	some ports in gcp_ports(deny)
	range := lib.port_range(ports)
]

# What is known of the network: the resource that is referred to, or its name.
gcp_network(r) := object.get(r.links, "network", [lib.get(r, "network", lib.unknown)])

# By address of a firewall that lets in: the ports that another one keeps shut.
gcp_closed := {r.address: shut |
	count(gcp_shut) > 0
	some r in input.by_type.google_compute_firewall
	network := gcp_network(r)
	network != [lib.unknown]
	shut := [s.reach |
		some s in gcp_shut
		s.network == network
		is_array(s.reach)
		s.priority <= lib.get(r, "priority", 1000)
	]
}

# Azure: rules inside network security groups and on their own.
azure_rules := array.concat(
	[{"r": r, "rule": r.values} | some r in input.by_type.azurerm_network_security_rule],
	[{"r": r, "rule": rule} |
		some r in input.by_type.azurerm_network_security_group
		some rule in lib.blocks(r.values, "security_rule")
		is_object(rule)
	],
)

azure := [{"cloud": "azure", "r": a.r, "protocol": azure_protocol(lib.attr(a.rule, "protocol", "*")), "from": range[0], "to": range[1], "sources": sources} |
	some a in azure_rules
	lower(lib.text(lib.attr(a.rule, "direction", "Inbound"))) in {"inbound", lib.unknown}
	lower(lib.text(lib.attr(a.rule, "access", "Allow"))) in {"allow", lib.unknown}
	sources := rule_ranges(a.rule, ["source_address_prefix", "source_address_prefixes"])
	some ports in azure_ports(a.rule)
	range := lib.port_range(ports)
]

# Elsewhere every protocol means every port; here `*` still means the ports that are named.
azure_protocol(protocol) := "tcp" if {
	lib.every_protocol(protocol)
} else := protocol

# Inside groups the one that is not given is an empty text. Several may stand in one text.
azure_ports(rule) := given if {
	given := [ports |
		some text in rule_ranges(rule, ["destination_port_range", "destination_port_ranges"])
		text != ""
		some ports in split(lib.text(text), ",")
	]
	count(given) > 0
} else := ["*"]

azure_open := [{"cloud": "azure", "r": r, "protocol": lib.unknown, "from": lib.unknown, "to": lib.unknown, "sources": [lib.unknown]} |
	some r in input.by_type.azurerm_network_security_group
	lib.open_block(r.values, "security_rule")
]

# NCP: access control groups; the network ACL has its own words.
ncp := [{"cloud": "ncp", "r": r, "protocol": lib.attr(rule, "protocol", "TCP"), "from": range[0], "to": range[1], "sources": rule_ranges(rule, ["ip_block"])} |
	some type_ in ["ncloud_access_control_group_rule", "ncloud_network_acl_rule"]
	some r in input.by_type[type_]
	some rule in lib.blocks(r.values, "inbound")
	is_object(rule)
	upper(lib.text(lib.attr(rule, "rule_action", "ALLOW"))) != "DROP"
	range := lib.port_range(lib.attr(rule, "port_range", "*"))
]

ncp_open := [{"cloud": "ncp", "r": r, "protocol": lib.unknown, "from": lib.unknown, "to": lib.unknown, "sources": [lib.unknown]} |
	some type_ in ["ncloud_access_control_group_rule", "ncloud_network_acl_rule"]
	some r in input.by_type[type_]
	lib.open_block(r.values, "inbound")
]

entries := array.concat(
	array.concat(array.concat(aws_inline, aws_rules), array.concat(aws_split, aws_open)),
	array.concat(array.concat(array.concat(gcp, gcp_open), array.concat(azure, azure_open)), array.concat(array.concat(ncp, ncp_open), array.concat(gcp_policies, gcp_policies_open))),
)

# Only what is, or may be, open to the world is looked at further.
open := [e |
	some entry_ in entries
	state := lib.ranges_state(entry_.sources)
	state != "pass"
	reach := lib.reach(entry_.protocol, entry_.from, entry_.to)
	e := {
		"cloud": entry_.cloud, "r": entry_.r, "state": state, "reach": reach,
		"protocol": entry_.protocol, "from": entry_.from, "to": entry_.to,
	}
]
