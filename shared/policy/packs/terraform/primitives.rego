# What almost every rule asks for. The shipped pack calls the same functions in Rust
# (`src/primitives.rs`), because the interpreter takes long for calls of functions; a test holds the
# two against each other. Whatever is changed here is changed there.
package slipway.lib

import rego.v1

# The value at a path, or the fallback where there is none or null. Unknown on the way is unknown.
at(object_, path, fallback) := unknown if {
	some n in [1, 2, 3, 4, 5, 6]
	n <= count(path)
	object.get(object_, array.slice(path, 0, n), null) == unknown
} else := value if {
	value := object.get(object_, path, null)
	value != null
} else := fallback

# The value of a key, or the fallback where there is none or null.
attr(object_, name, fallback) := value if {
	value := object.get(object_, name, null)
	value != null
} else := fallback

# The attribute of a resource.
get(r, name, fallback) := value if {
	value := object.get(r.values, name, null)
	value != null
} else := fallback

# A list of nested blocks; a single object counts as one.
blocks(object_, name) := list if {
	list := object.get(object_, name, null)
	is_array(list)
} else := [one] if {
	one := object.get(object_, name, null)
	is_object(one)
} else := []

# Whether a nested block is unknown as a whole.
open_block(object_, name) if object.get(object_, name, null) == unknown

open_block(object_, name) if {
	some block in blocks(object_, name)
	block == unknown
}

# Known values that must be one of `good`.
want(value, good) := "unknown" if {
	value == unknown
} else := "pass" if {
	value in good
} else := "fail"

# Known values that must be none of `bad`.
ban(value, bad) := "unknown" if {
	value == unknown
} else := "fail" if {
	value in bad
} else := "pass"

on := {true, "true", "True", "TRUE", "on", "ON", "1", "enabled", "Enabled", "ENABLED"}

# Must be switched on.
must(value) := want(value, on)

# Must be switched off.
must_not(value) := ban(value, on)

# Must be there and not empty.
present(value) := "unknown" if {
	value == unknown
} else := "fail" if {
	value in {null, "", false, []}
} else := "pass"

# An attribute that must be given: a key, say, or a token. One that comes from a resource of the plan
# is given, though its value is not known yet.
supplied(r, name, value) := "fail" if {
	value in {null, "", false, []}
} else := "pass" if {
	value != unknown
} else := "pass" if {
	count(object.get(r.links, name, [])) > 0
} else := "unknown"

# All must hold.
all_of(states) := "fail" if {
	"fail" in states
} else := "unknown" if {
	"unknown" in states
} else := "pass"

# One is enough.
any_of(states) := "pass" if {
	"pass" in states
} else := "unknown" if {
	"unknown" in states
} else := "fail"

# One entry of `result`. The message of an unknown one says that it is unknown.
said(rule, r, state, message) := {"rule": rule, "address": r.address, "state": "fail", "message": message} if {
	state == "fail"
} else := {
	"rule": rule, "address": r.address, "state": "unknown",
	"message": concat("", ["Known only after apply, so it cannot be judged yet. If it turns out badly: ", message]),
} if {
	state == "unknown"
}

# A list, also of what is given as one value or not at all.
listed(value) := value if {
	is_array(value)
} else := [] if {
	value == null
} else := [value]

# The address ranges that are the whole world, or half of it. Names may be in any case.
world(range) if {
	text_ := lower(trim_space(text(range)))
	text_ in {"*", "any", "internet", "0.0.0.0", "::", "0::0"}
}

world(range) if {
	is_string(range)
	parts := split(trim_space(range), "/")
	count(parts) == 2
	to_number(parts[1]) <= 1
}

# All addresses of IPv6 that are given out lie in 2000::/3.
world(range) if {
	is_string(range)
	contains(range, ":")
	parts := split(trim_space(range), "/")
	count(parts) == 2
	to_number(parts[1]) <= 3
}

# The state of a list of ranges: fail when the world is in it.
ranges_state(ranges) := "fail" if {
	some range in ranges
	world(range)
} else := "unknown" if {
	unknown in ranges
} else := "pass"

# Both must be bad for it to be bad.
both(a, b) := "pass" if {
	"pass" in {a, b}
} else := "unknown" if {
	"unknown" in {a, b}
} else := "fail"
