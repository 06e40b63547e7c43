//! Which resource refers to which: read from the configuration, or from equal names.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use crate::configuration::{Configuration, Resource};
use crate::facts::UNKNOWN;
use crate::values::{Arena, Val};

/// A resource whose links are looked for.
#[derive(Clone, Copy)]
pub(crate) struct Linking<'c, 'a> {
    pub(crate) address: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) values: Val<'a>,
    pub(crate) configured: Option<&'c Resource<'a>>,
}

/// What a resource refers to.
#[derive(Debug, Default)]
pub(crate) struct Links<'a> {
    /// Attribute → addresses.
    pub(crate) links: BTreeMap<&'a str, BTreeSet<&'a str>>,
    /// Attributes whose references could not be followed.
    pub(crate) open: BTreeSet<&'a str>,
}

impl<'a> Links<'a> {
    /// `links` and `open` of the input.
    pub(crate) fn values(&self, arena: &'a Arena) -> (Val<'a>, Val<'a>) {
        let texts = |all: &BTreeSet<&'a str>| {
            arena.list(&all.iter().map(|text| Val::Text(text)).collect::<Vec<_>>())
        };
        let links = self.links.iter().map(|(attribute, to)| (Val::Text(attribute), texts(to)));
        (arena.fields(&links.collect::<Vec<_>>()), texts(&self.open))
    }
}

/// Resources by what others call them.
struct Index<'a> {
    /// By address without indices.
    instances: HashMap<Cow<'a, str>, Vec<&'a str>>,
    /// By the type that a name means something for, and the name.
    names: HashMap<(&'a str, &'a str), Vec<&'a str>>,
}

/// A name that more resources have says nothing of which one is meant.
const NAMESAKES: usize = 100;

/// Names by which others refer to a resource. A bare name means something only together with the
/// attribute that holds it.
const NAMES: [(&str, bool); 7] = [
    ("id", false),
    ("arn", false),
    ("bucket", true),
    ("name", true),
    ("key_id", false),
    ("identifier", false),
    ("self_link", false),
];

/// Finds the links of every resource, within some time.
pub(crate) fn resolve<'a>(
    resources: &[Linking<'_, 'a>],
    configuration: &Configuration<'a>,
    time: Duration,
) -> Result<Vec<Links<'a>>, String> {
    let begin = Instant::now();
    let mut index = Index {
        instances: HashMap::with_capacity(resources.len()),
        names: HashMap::with_capacity(resources.len()),
    };
    for resource in resources {
        index.instances.entry(plain(resource.address)).or_default().push(resource.address);
        for (key, bare) in NAMES {
            if let Some(Val::Text(name)) = resource.values.field(key)
                && !name.is_empty()
                && name != UNKNOWN
            {
                let family = if bare { resource.kind } else { "" };
                index.names.entry((family, name)).or_default().push(resource.address);
            }
        }
    }
    let mut all = Vec::with_capacity(resources.len());
    for resource in resources {
        if begin.elapsed() > time {
            return Err(format!(
                "Who refers to whom in the plan could not be worked out within {} s. Split the stack.",
                time.as_secs_f32()
            ));
        }
        all.push(links_of(resource, configuration, &index));
    }
    Ok(all)
}

/// Positions of resources, by type and attribute.
type Ends = BTreeMap<String, Vec<usize>>;

/// Who refers to an address, and whose reference could not be followed to anything.
pub(crate) fn reversed<'a>(
    resources: &[Linking<'_, 'a>],
    all: &[Links<'a>],
    arena: &'a Arena,
) -> (Val<'a>, Val<'a>) {
    let mut linked: BTreeMap<&str, Ends> = BTreeMap::new();
    let mut open_ends = Ends::new();
    for (at, (resource, links)) in resources.iter().zip(all).enumerate() {
        let key = |attribute: &str| format!("{}.{attribute}", resource.kind);
        for (attribute, targets) in &links.links {
            for target in targets {
                linked.entry(target).or_default().entry(key(attribute)).or_default().push(at);
            }
        }
        for attribute in &links.open {
            if !links.links.contains_key(attribute) {
                open_ends.entry(key(attribute)).or_default().push(at);
            }
        }
    }
    let ends = |ends: Ends| {
        let ends = ends.into_iter().map(|(key, at)| {
            let positions: Vec<_> = at.into_iter().map(Val::number).collect();
            (Val::Text(arena.text(&key)), arena.list(&positions))
        });
        arena.fields(&ends.collect::<Vec<_>>())
    };
    let linked = linked.into_iter().map(|(address, to)| (Val::Text(address), ends(to)));
    (arena.fields(&linked.collect::<Vec<_>>()), ends(open_ends))
}

fn links_of<'a>(
    resource: &Linking<'_, 'a>,
    configuration: &Configuration<'a>,
    index: &Index<'a>,
) -> Links<'a> {
    let mut all = Links::default();
    if let Some(configured) = resource.configured {
        for (attribute, given) in &configured.attributes {
            if given.is_empty() {
                continue;
            }
            let mut references = Cow::Borrowed(*given);
            if given.iter().any(|r| r.starts_with("each.")) {
                references.to_mut().extend(configured.each.iter().copied());
            }
            let mut found = BTreeSet::new();
            if !configuration.follow(configured, &references, &mut found) {
                all.open.insert(attribute);
            }
            let targets: BTreeSet<&str> = found
                .iter()
                .filter_map(|target| Some((target, index.instances.get(&*plain(target))?)))
                .flat_map(|(target, instances)| nearest(resource.address, target, instances))
                .collect();
            if !targets.is_empty() {
                all.links.insert(attribute, targets);
            }
        }
    }
    for (attribute, value) in resource.values.named() {
        let Val::Text(name) = value else { continue };
        if all.links.contains_key(attribute) {
            continue;
        }
        let families: &[&str] = match attribute {
            "bucket" => &["", "aws_s3_bucket", "google_storage_bucket"],
            "function_name" => &["", "aws_lambda_function"],
            "instance" => &["", "google_sql_database_instance"],
            "network_security_group_name" => &["", "azurerm_network_security_group"],
            _ => &[""],
        };
        let named = || families.iter().filter_map(|family| index.names.get(&(*family, name)));
        if named().any(|named| named.len() > NAMESAKES) {
            all.open.insert(attribute);
            continue;
        }
        let targets: BTreeSet<&str> =
            named().flatten().copied().filter(|address| *address != resource.address).collect();
        if !targets.is_empty() {
            all.links.insert(attribute, targets);
        } else if name == UNKNOWN && resource.configured.is_none() {
            all.open.insert(attribute);
        }
    }
    all
}

/// Of the instances of `target` those that `from` means: those in the same instances of modules and
/// with the same index, if there are such.
pub(crate) fn nearest<'a>(from: &str, target: &str, all: &[&'a str]) -> Vec<&'a str> {
    let of = |keep: &dyn Fn(&str) -> bool, all: &[&'a str]| -> Vec<&'a str> {
        all.iter().filter(|address| keep(address)).copied().collect()
    };
    if plain(target) != target {
        // Inside modules with indices of their own only the end can be compared.
        let (_, own) = split_module(target);
        let exact = of(&|address| split_module(address).1 == own, all);
        if !exact.is_empty() {
            return exact;
        }
    }
    let (module, own) = split_module(from);
    let same_module = of(&|address| split_module(address).0 == module, all);
    let pool = if same_module.is_empty() { all.to_vec() } else { same_module };
    let index = own.find('[').map(|at| &own[at..]);
    let same_index = of(&|address| index.is_some_and(|index| address.ends_with(index)), &pool);
    if same_index.is_empty() { pool } else { same_index }
}

/// An address without indices; dots inside quoted indices are gone with them.
pub(crate) fn plain(address: &str) -> Cow<'_, str> {
    if !address.contains(['[', ']']) {
        return Cow::Borrowed(address);
    }
    let mut text = String::with_capacity(address.len());
    let (mut depth, mut quoted, mut escaped) = (0_u32, false, false);
    for c in address.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' if depth > 0 => quoted = !quoted,
            '[' if !quoted => depth += 1,
            ']' if !quoted => depth = depth.saturating_sub(1),
            _ if depth == 0 => text.push(c),
            _ => {}
        }
    }
    Cow::Owned(text)
}

/// Module and rest of an address, with indices as they are.
pub(crate) fn split_module(address: &str) -> (&str, &str) {
    let mut end = 0;
    while let Some(rest) = address[end..].trim_start_matches('.').strip_prefix("module.") {
        let start = address.len() - rest.len();
        let (mut depth, mut quoted) = (0_u32, false);
        let length = rest.char_indices().find(|(_, c)| {
            match c {
                '"' if depth > 0 => quoted = !quoted,
                '[' if !quoted => depth += 1,
                ']' if !quoted => depth = depth.saturating_sub(1),
                _ => {}
            }
            *c == '.' && depth == 0
        });
        let Some((length, _)) = length else { return (address, "") };
        end = start + length;
    }
    (&address[..end], address[end..].trim_start_matches('.'))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::reading::Reader;

    #[test]
    fn addresses_are_taken_apart() {
        assert_eq!(plain(r#"module.a["x.y"].aws_b.c["]."][0]"#), "module.a.aws_b.c");
        assert_eq!(
            split_module(r#"module.a["x.y"].module.b.aws_b.c[0]"#),
            (r#"module.a["x.y"].module.b"#, "aws_b.c[0]")
        );
        assert_eq!(split_module("aws_b.c"), ("", "aws_b.c"));
    }

    /// Links and open attributes of resources, each an address, a type and values.
    fn linked(
        configuration: &Json,
        resources: &[(&'static str, &'static str, Json)],
    ) -> Vec<(Json, Json)> {
        let arena = Arena::default();
        let reader = Reader::new(&arena);
        let configuration = reader.read(configuration.clone()).expect("a value");
        let configuration = Configuration::read(configuration, &arena);
        let linking: Vec<Linking<'_, '_>> = resources
            .iter()
            .map(|(address, kind, values)| Linking {
                address,
                kind,
                values: reader.read(values.clone()).expect("a value"),
                configured: configuration.resource(address),
            })
            .collect();
        let links = resolve(&linking, &configuration, Duration::MAX).expect("in time");
        let values = links.iter().map(|links| links.values(&arena));
        values.map(|(links, open)| (links.to_json(), open.to_json())).collect()
    }

    #[test]
    fn references_pass_variables_and_outputs() {
        let configuration = json!({"root_module": {
        "resources": [{"address": "aws_x.acl", "expressions": {"bucket": {"references": ["module.m.id", "module.m"]}}}],
        "module_calls": {
            "m": {"source": "./m", "module": {
                "resources": [{"address": "aws_s3_bucket.b", "expressions": {}}],
                "outputs": {"id": {"expression": {"references": ["aws_s3_bucket.b.id", "aws_s3_bucket.b"]}}}}},
            "n": {"source": "./n", "expressions": {"name": {"references": ["module.m.id", "module.m"]}},
                "module": {"resources": [{"address": "aws_x.y", "expressions": {"bucket": {"references": ["var.name"]}}}]}},
        }}});
        let found = linked(
            &configuration,
            &[
                ("module.m.aws_s3_bucket.b", "aws_s3_bucket", json!({})),
                ("aws_x.acl", "aws_x", json!({})),
                ("module.n.aws_x.y", "aws_x", json!({})),
            ],
        );
        for at in [1, 2] {
            assert_eq!(found[at].0["bucket"], json!(["module.m.aws_s3_bucket.b"]));
            assert_eq!(found[at].1, json!([]));
        }
    }

    #[test]
    fn instances_meet_by_index_and_names_by_value() {
        let configuration = json!({"root_module": {"resources": [
            {"address": "aws_s3_bucket.b", "expressions": {}},
            {"address": "aws_x.y", "expressions": {"bucket": {"references": ["aws_s3_bucket.b", "each.key"]}}},
            {"address": "aws_x.z", "expressions": {"bucket": {"references": ["local.bucket"]}}}]}});
        let found = linked(
            &configuration,
            &[
                (r#"aws_s3_bucket.b["one"]"#, "aws_s3_bucket", json!({"bucket": "first"})),
                (r#"aws_s3_bucket.b["two"]"#, "aws_s3_bucket", json!({})),
                (r#"aws_x.y["two"]"#, "aws_x", json!({})),
                ("aws_x.z", "aws_x", json!({"bucket": "first"})),
            ],
        );
        assert_eq!(found[2].0["bucket"], json!([r#"aws_s3_bucket.b["two"]"#]));
        assert_eq!(found[3].0["bucket"], json!([r#"aws_s3_bucket.b["one"]"#]));
        assert_eq!(found[3].1, json!(["bucket"]));
    }
}
