# What every pack may import as `data.slipway.lib`: attributes, three-valued tests, IAM documents.
#
# A state is "pass", "unknown" or "fail". Never use `not` on something that may be unknown.
package slipway.lib

import rego.v1

# What stands for a value that is known only after apply.
unknown := "__slipway_unknown__"

# All resources of a type that are there after the apply.
of(kind) := object.get(input.by_type, kind, [])

# The same, of several types.
of_any(kinds) := [r | some kind in kinds; some r in of(kind)]

# A number that must be at least `least`.
at_least(value, least) := "unknown" if {
	value == unknown
} else := "pass" if {
	to_number(value) >= least
} else := "fail"

# Resources of a type whose attribute refers to `r`.
linked(kind, attribute, r) := [other |
	some n in object.get(input.linked, [r.address, concat(".", [kind, attribute])], [])
	other := input.resources[n]
]

# Whether a resource of the type might refer to `r` for all that is known: its reference could not
# be followed and it refers to nothing else.
maybe_linked(kind, attribute, r) if {
	some n in object.get(input.open_ends, concat(".", [kind, attribute]), [])
	other := input.resources[n]
	same_module(other, r)
}

same_module(a, b) if a.module == b.module

# The text of a value.
text(value) := value if {
	is_string(value)
} else := sprintf("%v", [value])

# Whether a protocol, by name or number, includes TCP.
tcp(protocol) if lower(text(protocol)) in {"tcp", "6", "-1", "all", "*", "any", ""}

# Whether a protocol means all of them, so that ports do not count.
every_protocol(protocol) if lower(text(protocol)) in {"-1", "all", "*", "any", ""}

# The TCP ports that a rule lets through, as [lowest, highest]; unknown, or [] for none.
reach(protocol, from, to) := unknown if {
	protocol == unknown
} else := [0, 65535] if {
	every_protocol(protocol)
} else := [] if {
	not tcp(protocol)
} else := unknown if {
	unknown in {from, to}
} else := [0, 65535] if {
	every_port(from, to)
} else := [to_number(from), to_number(to)]

# Whether ports are all of them. Nothing listens on port 0: whoever writes 0 to 0, or -1, as it is
# right for protocols without ports, means all.
every_port(from, to) if {
	to_number(from) <= 1
	to_number(to) >= 65535
}

every_port(from, to) if {
	to_number(from) in {0, -1}
	to_number(to) in {0, -1}
}

# The state of "these ports of this protocol include `port` over TCP": fail when they do.
covers(protocol, from, to, port) := reaches(reach(protocol, from, to), port)

reaches(range, port) := "unknown" if {
	range == unknown
} else := "fail" if {
	range[0] <= port
	range[1] >= port
} else := "pass"

# The state of "these ports include every TCP port".
covers_all(protocol, from, to) := "unknown" if {
	protocol == unknown
} else := "fail" if {
	every_protocol(protocol)
} else := "pass" if {
	# UDP as a whole is as good as open.
	not lower(text(protocol)) in {"tcp", "6", "udp", "17"}
} else := "unknown" if {
	unknown in {from, to}
} else := "fail" if {
	every_port(from, to)
} else := "pass"

# "22", "20-25", "*", "20:25", a number: from and to. What cannot be read is no port.
port_range(ports) := [unknown, unknown] if {
	ports == unknown
} else := [0, 65535] if {
	text(ports) in {"*", "any", "all", ""}
} else := [lowest, highest] if {
	parts := split(replace(replace(text(ports), " ", ""), ":", "-"), "-")
	count(parts) == 2
	lowest := to_number(parts[0])
	highest := to_number(parts[1])
} else := [one, one] if {
	one := to_number(trim_space(text(ports)))
} else := [-2, -2]

# The statements of an IAM policy given as a text; unknown where it is not known, or not readable.
statements(document) := [unknown] if {
	document == unknown
} else := [] if {
	# Most have none.
	document == ""
} else := listed(object.get(parsed, "Statement", [])) if {
	is_string(document)
	parsed := read(document)
	is_object(parsed)
} else := [unknown] if {
	is_string(document)
	trim_space(document) != ""
} else := []

# JSON, also with commas too many.
read(document) := json.unmarshal(document) if {
	json.is_valid(document)
} else := json.unmarshal(mended) if {
	mended := regex.replace(document, `,(\s*[\]}])`, "$1")
	json.is_valid(mended)
}

allows(statement) if {
	is_object(statement)
	lower(text(object.get(statement, "Effect", "Allow"))) == "allow"
}

# A part of a statement as a list, e.g. Action, also when it is written in lower case.
part(statement, name) := listed(object.get(statement, name, object.get(statement, lower(name), [])))

# Whoever a statement speaks to, without the kind. Everybody but a few is everybody.
principals(statement) := ["*"] if {
	object.get(statement, "NotPrincipal", null) != null
} else := whole if {
	principal := object.get(statement, "Principal", null)
	is_object(principal)
	whole := [one | some kind, given in principal; kind != "Service"; some one in listed(given)]
} else := listed(object.get(statement, "Principal", null))

# Keys of conditions that tie "everybody" down to somebody.
tying := {
	"aws:sourcearn", "aws:sourceaccount", "aws:principalorgid", "aws:principalorgpaths", "aws:principalaccount",
	"aws:principalarn", "aws:sourcevpce", "aws:sourcevpc", "aws:sourceip", "aws:sourceorgid", "aws:sourceorgpaths", "aws:vpcsourceip", "aws:userid", "aws:sourceowner",
	"aws:vpceaccount", "aws:vpceorgid", "aws:vpceorgpaths", "aws:sourcevpcarn", "aws:ec2instancesourcevpc", "aws:principalisawsservice", "aws:principalservicename",
	"ec2:sourceinstancearn", "lambda:sourcefunctionarn", "ssm:sourceinstancearn",
	"kms:calleraccount", "kms:viaservice", "s3:dataaccesspointaccount", "s3:dataaccesspointarn", "aws:resourceorgid",
}

# Operators that leave out a few, ask whether the key is there, or hold where it is not, tie nobody
# down.
tied(statement) if {
	condition := object.get(statement, "Condition", {})
	is_object(condition)
	some operator, keys in condition
	is_object(keys)
	operator_ := lower(operator)
	not contains(operator_, "not")
	not endswith(operator_, "ifexists")
	not startswith(operator_, "forallvalues")
	operator_ != "null"
	some key, values in keys
	lower(key) in tying
	given := [v | some v in listed(values); anybody(v)]
	count(given) == 0
}

# A principal, or a value of a condition, that is anybody; "false" says who it is not.
anybody(who) if who in {"*", "0.0.0.0/0", "::/0", "o-*", "vpce-*", "vpc-*", "false", false}

anybody(who) if regex.match(`^arn:(\*|[^:]*:(\*|(iam|sts)::\*))`, who)

# Ranges so wide that AWS calls a policy public all the same: before /8, of IPv6 before /32.
anybody(who) if regex.match(`^([0-9.]+/[0-7]|[0-9A-Fa-f:]*:[0-9A-Fa-f:]*/([0-9]|[12][0-9]|3[01]))$`, who)

# The bindings of a policy of Google Cloud given as a text: roles and members; unknown where it is
# not known, or not readable.
bindings(document) := [anything] if {
	document == unknown
} else := given if {
	is_string(document)
	parsed := read(document)
	is_object(parsed)
	given := [{"role": attr(b, "role", ""), "members": listed(attr(b, "members", []))} |
		some b in listed(object.get(parsed, "bindings", []))
		is_object(b)
	]
} else := [anything] if {
	is_string(document)
	trim_space(document) != ""
} else := []

anything := {"role": unknown, "members": [unknown]}

# The state of "the statement is not for everybody with nothing that ties it down".
statement_state(statement) := "unknown" if {
	statement == unknown
} else := everybody_state(principals(statement)) if {
	allows(statement)
	tie := [1 | tied(statement)]
	count(tie) == 0
} else := "pass"

everybody_state(who) := "fail" if {
	some one in who
	anybody(one)
} else := "unknown" if {
	unknown in who
} else := "pass"

# The state of "no statement of the document is for everybody".
public_state(document) := all_of({state |
	some statement in statements(document)
	state := statement_state(statement)
})
