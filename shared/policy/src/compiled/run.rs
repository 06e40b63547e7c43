//! Walks a prepared pack over an input.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use regorus::Value;
use regorus::unstable::{ArithOp, BinOp, numbers, sets};

use crate::primitives::{Primitive, attribute, holds};

use super::session::{Stop, Told, Worked};
use super::terms::{address_key, compare, failed, get, kept, owned, part, said, there, truth};
use super::{Definition, Node, Outcome, Program, Step};

/// How many steps pass between two looks at the clock.
const CHECK_INTERVAL: u32 = 256;

/// What most functions take at most.
const ARGUMENTS: usize = 4;

/// A term that is defined, borrowed from the input wherever it can be.
pub(super) type Term<'p> = Cow<'p, Value>;
pub(super) type Got<'p> = Result<Option<Term<'p>>, Stop>;

static NOTHING: Value = Value::Undefined;

/// What walks.
pub(super) struct Machine<'p> {
    program: &'p Program,
    input: &'p Value,
    deadline: Instant,
    values: &'p [Worked],
    /// The variables of everything that is being called; those of the innermost begin at `base`.
    places: Vec<Term<'p>>,
    base: usize,
    steps: u32,
}

/// What is done where all statements of a body hold. It says whether to look for more.
type Then<'a, 'p> = &'a mut dyn FnMut(&mut Machine<'p>) -> Result<bool, Stop>;

impl<'p> Machine<'p> {
    pub(super) fn new(
        program: &'p Program,
        input: &'p Value,
        values: &'p [Worked],
        deadline: Instant,
    ) -> Self {
        let places = Vec::with_capacity(64);
        Self { program, input, deadline, values, places, base: 0, steps: 0 }
    }

    fn tick(&mut self) -> Result<(), Stop> {
        self.steps += 1;
        if self.steps.is_multiple_of(CHECK_INTERVAL) && Instant::now() >= self.deadline {
            return Err(Stop::Late);
        }
        Ok(())
    }

    /// Adds what a `result` says.
    pub(super) fn result(
        &mut self,
        package: usize,
        result: &'p Outcome,
        told: &mut Vec<Told<'p>>,
    ) -> Result<(), Stop> {
        self.tick()?;
        self.places.clear();
        self.places.resize(result.places, Cow::Borrowed(&NOTHING));
        self.base = 0;
        let [rule, resource, state, message] = &result.said;
        let done = self.steps(&result.steps, &mut |machine| {
            let Some(state) = machine.term(state)? else { return Ok(true) };
            let certain = match &*state {
                Value::String(state) if &**state == "fail" => true,
                Value::String(state) if &**state == "unknown" => false,
                _ => return Ok(true),
            };
            let address = match machine.term(resource)? {
                Some(resource) => part(resource, address_key()),
                None => None,
            };
            let (Some(rule), Some(address), Some(message)) =
                (machine.term(rule)?, address, machine.term(message)?)
            else {
                return Ok(true);
            };
            if certain || matches!(&*message, Value::String(_)) {
                told.push(Told { package, rule, address, message, certain });
            }
            Ok(true)
        });
        done.map(drop)
    }

    /// Goes through statements, and does `then` wherever all hold. False when it has been told to
    /// look no further.
    fn steps(&mut self, steps: &'p [Step], then: Then<'_, 'p>) -> Result<bool, Stop> {
        let Some((first, rest)) = steps.split_first() else { return then(self) };
        match first {
            Step::Let(place, node) => {
                let Some(value) = self.term(node)? else { return Ok(true) };
                self.put(*place, value);
                self.steps(rest, then)
            }
            Step::Is(node) => match self.term(node)?.as_deref() {
                None | Some(Value::Bool(false)) => Ok(true),
                Some(_) => self.steps(rest, then),
            },
            Step::Not(node) => match self.term(node)?.as_deref() {
                None | Some(Value::Bool(false)) => self.steps(rest, then),
                Some(_) => Ok(true),
            },
            Step::Each { key, value, of } => {
                let Some(of) = self.term(of)? else { return Ok(true) };
                match of {
                    Cow::Borrowed(of) => self.each(of, *key, *value, Cow::Borrowed, rest, then),
                    Cow::Owned(of) => {
                        self.each(&of, *key, *value, |one| Cow::Owned(one.clone()), rest, then)
                    }
                }
            }
        }
    }

    fn each<'v>(
        &mut self,
        of: &'v Value,
        key: Option<usize>,
        value: usize,
        take: impl Fn(&'v Value) -> Term<'p>,
        rest: &'p [Step],
        then: Then<'_, 'p>,
    ) -> Result<bool, Stop> {
        let mut one = |machine: &mut Self, name: Option<Term<'p>>, item: &'v Value| {
            machine.tick()?;
            if let (Some(key), Some(name)) = (key, name) {
                machine.put(key, name);
            }
            machine.put(value, take(item));
            machine.steps(rest, then)
        };
        match of {
            Value::Array(items) => {
                for (at, item) in items.iter().enumerate() {
                    let at = key.is_some().then(|| Cow::Owned(Value::from(at)));
                    if !one(self, at, item)? {
                        return Ok(false);
                    }
                }
            }
            Value::Set(items) => {
                for item in items.iter() {
                    if !one(self, key.is_some().then(|| take(item)), item)? {
                        return Ok(false);
                    }
                }
            }
            Value::Object(fields) => {
                for (name, item) in fields.iter() {
                    if !one(self, key.is_some().then(|| take(name)), item)? {
                        return Ok(false);
                    }
                }
            }
            // As the interpreter does.
            _ => return failed("`some … in` is given neither a list, nor a set, nor an object"),
        }
        Ok(true)
    }

    fn put(&mut self, place: usize, value: Term<'p>) {
        if let Some(at) = self.places.get_mut(self.base + place) {
            *at = value;
        }
    }

    fn term(&mut self, node: &'p Node) -> Got<'p> {
        Ok(Some(match node {
            Node::Const(value) => Cow::Borrowed(value),
            Node::Local(place) => match self.places.get(self.base + place) {
                Some(Cow::Borrowed(Value::Undefined)) | None => return Ok(None),
                Some(value) => value.clone(),
            },
            Node::Input => Cow::Borrowed(self.input),
            Node::Rule(number) => return self.value(*number),
            Node::Key(of, key) => return self.key(of, key),
            Node::Index(pair) => {
                let Some(key) = self.term(&pair.1)? else { return Ok(None) };
                let Some(of) = self.term(&pair.0)? else { return Ok(None) };
                return Ok(part(of, &key));
            }
            Node::Array(items) => {
                let mut all = Vec::with_capacity(items.len());
                for item in items {
                    let Some(item) = self.term(item)? else { return Ok(None) };
                    all.push(item.into_owned());
                }
                Cow::Owned(all.into())
            }
            Node::Set(items) => {
                let mut all = BTreeSet::new();
                for item in items {
                    let Some(item) = self.term(item)? else { return Ok(None) };
                    all.insert(item.into_owned());
                }
                Cow::Owned(all.into())
            }
            Node::Object(fields) => {
                let mut all = BTreeMap::new();
                for (key, value) in fields {
                    let Some(key) = self.term(key)? else { return Ok(None) };
                    let Some(value) = self.term(value)? else { return Ok(None) };
                    all.insert(key.into_owned(), value.into_owned());
                }
                Cow::Owned(all.into())
            }
            Node::ArrayOf(term, steps) => {
                let mut all = Vec::new();
                self.steps(steps, &mut |machine| {
                    all.extend(machine.term(term)?.map(Cow::into_owned));
                    Ok(true)
                })?;
                Cow::Owned(all.into())
            }
            Node::SetOf(term, steps) => {
                let mut all = BTreeSet::new();
                self.steps(steps, &mut |machine| {
                    all.extend(machine.term(term)?.map(Cow::into_owned));
                    Ok(true)
                })?;
                Cow::Owned(all.into())
            }
            Node::ObjectOf(pair, steps) => Cow::Owned(self.object(pair, steps)?),
            Node::Native(primitive, nodes) => return self.native(*primitive, nodes),
            Node::Attribute(it) => {
                let (resource, name, fallback) = &**it;
                let found = match self.term(resource)? {
                    Some(Cow::Borrowed(resource)) => attribute(resource, name).map(Cow::Borrowed),
                    Some(Cow::Owned(resource)) => {
                        attribute(&resource, name).cloned().map(Cow::Owned)
                    }
                    None => return Ok(None),
                };
                return match found {
                    Some(found) => Ok(Some(found)),
                    None => self.term(fallback),
                };
            }
            Node::Kind(is, of) => {
                let Some(of) = self.term(of)? else { return Ok(None) };
                truth(is(&of))
            }
            Node::Count(of) => match self.term(of)?.as_deref() {
                Some(Value::Array(of)) => Cow::Owned(of.len().into()),
                Some(Value::Set(of)) => Cow::Owned(of.len().into()),
                Some(Value::Object(of)) => Cow::Owned(of.len().into()),
                // As the interpreter counts.
                Some(Value::String(of)) => Cow::Owned(of.encode_utf16().count().into()),
                _ => return Ok(None),
            },
            Node::Joined(pair) => {
                let Some(a) = self.term(&pair.0)? else { return Ok(None) };
                let Some(b) = self.term(&pair.1)? else { return Ok(None) };
                let (Value::Array(first), Value::Array(second)) = (&*a, &*b) else {
                    return Ok(None);
                };
                if second.is_empty() {
                    a
                } else if first.is_empty() {
                    b
                } else {
                    let both = first.iter().chain(second.iter());
                    Cow::Owned(both.cloned().collect::<Vec<_>>().into())
                }
            }
            Node::Shaped(shape, nodes) => {
                let mut values = Vec::with_capacity(nodes.len());
                for node in nodes {
                    let Some(value) = self.term(node)? else { return Ok(None) };
                    values.push(value.into_owned());
                }
                Cow::Owned(shape.filled(&mut values))
            }
            Node::Get(nodes) => {
                let [object, key, fallback] = &**nodes;
                let Some(object) = self.term(object)? else { return Ok(None) };
                let Some(key) = self.term(key)? else { return Ok(None) };
                let Some(fallback) = self.term(fallback)? else { return Ok(None) };
                return Ok(get(object, &key, fallback));
            }
            Node::Builtin(builtin) => {
                let mut given = Vec::with_capacity(builtin.arguments.len());
                for node in &builtin.arguments {
                    let Some(value) = self.term(node)? else { return Ok(None) };
                    given.push(value.into_owned());
                }
                return said(builtin, &given);
            }
            Node::Unless(nothing_to_do, builtin) => {
                let Some(node) = builtin.arguments.first() else { return Ok(None) };
                let Some(value) = self.term(node)? else { return Ok(None) };
                if nothing_to_do(&value) {
                    return Ok(Some(value));
                }
                return said(builtin, &[value.into_owned()]);
            }
            Node::Call(number, nodes) => return self.call(*number, nodes),
            Node::Compare(op, pair) => {
                let Some(a) = self.term(&pair.0)? else { return Ok(None) };
                let Some(b) = self.term(&pair.1)? else { return Ok(None) };
                truth(compare(op, &a, &b))
            }
            Node::In(pair) => {
                let value = self.term(&pair.0)?;
                let Some(collection) = self.term(&pair.1)? else { return Ok(Some(truth(false))) };
                truth(value.is_some_and(|value| holds(&collection, &value)))
            }
            Node::Sets(it) => {
                let Some(a) = self.term(&it.operands.0)? else { return Ok(None) };
                let Some(b) = self.term(&it.operands.1)? else { return Ok(None) };
                // What adds nothing needs no copy.
                if let (BinOp::Union, Value::Set(first), Value::Set(second)) = (&it.op, &*a, &*b) {
                    if second.is_empty() {
                        return Ok(Some(a));
                    }
                    if first.is_empty() {
                        return Ok(Some(b));
                    }
                }
                let work = match it.op {
                    BinOp::Union => sets::union,
                    BinOp::Intersection => sets::intersection,
                };
                let said = work(&it.terms.0, &it.terms.1, a.into_owned(), b.into_owned());
                return owned(said.map_err(|e| (true, e.to_string())));
            }
            Node::Arithmetic(it) => {
                let Some(a) = self.term(&it.operands.0)? else { return Ok(None) };
                let Some(b) = self.term(&it.operands.1)? else { return Ok(None) };
                let (a, b, terms) = (a.into_owned(), b.into_owned(), &it.terms);
                let minus = it.op == ArithOp::Sub;
                let said = if minus && (a.as_set().is_ok() || b.as_set().is_ok()) {
                    sets::difference(&terms.0, &terms.1, a, b)
                } else {
                    numbers::arithmetic_operation(&it.span, &it.op, &terms.0, &terms.1, a, b, false)
                };
                return owned(said.map_err(|e| (true, e.to_string())));
            }
        }))
    }

    /// Calls a function that is in Rust. It hands on what is lent, and copies what is not.
    fn native(&mut self, primitive: Primitive, nodes: &'p [Node]) -> Got<'p> {
        let mut lent: [&'p Value; ARGUMENTS] = [&NOTHING; ARGUMENTS];
        let mut own = [const { None }; ARGUMENTS];
        let mut all_lent = true;
        for ((lent, own), node) in lent.iter_mut().zip(&mut own).zip(nodes) {
            match self.term(node)? {
                Some(Cow::Borrowed(value)) => *lent = value,
                Some(Cow::Owned(value)) => {
                    *own = Some(value);
                    all_lent = false;
                }
                None => return Ok(None),
            }
        }
        let said = if all_lent {
            primitive(lent.get(..nodes.len()).unwrap_or_default())
        } else {
            let mut given = lent;
            for (given, own) in given.iter_mut().zip(&own) {
                if let Some(own) = own {
                    *given = own;
                }
            }
            let said = primitive(given.get(..nodes.len()).unwrap_or_default());
            said.map(|said| kept(said))
        };
        match said {
            None => failed("an argument is of another type than it has to be"),
            Some(said) => Ok((*said != Value::Undefined).then_some(said)),
        }
    }

    /// A part of a variable is looked up where the variable is.
    fn key(&mut self, of: &'p Node, key: &Value) -> Got<'p> {
        if let Node::Local(place) = of {
            return Ok(match self.places.get(self.base + place) {
                Some(Cow::Borrowed(of)) => there(&of[key]).map(Cow::Borrowed),
                Some(Cow::Owned(of)) => there(&of[key]).cloned().map(Cow::Owned),
                None => None,
            });
        }
        Ok(self.term(of)?.and_then(|of| part(of, key)))
    }

    fn object(&mut self, pair: &'p (Node, Node), steps: &'p [Step]) -> Result<Value, Stop> {
        let mut all = BTreeMap::new();
        self.steps(steps, &mut |machine| {
            let Some(key) = machine.term(&pair.0)? else { return Ok(true) };
            let Some(value) = machine.term(&pair.1)? else { return Ok(true) };
            match all.insert(key.into_owned(), value.clone().into_owned()) {
                Some(before) if before != *value => failed("an object has two values for a key"),
                _ => Ok(true),
            }
        })?;
        Ok(all.into())
    }

    /// The value of a rule, which is worked out where it is asked for first.
    fn value(&mut self, number: usize) -> Got<'p> {
        let Some(value) = self.values.get(number) else { return Ok(None) };
        let value = value.get_or_init(|| Ok(self.call(number, &[])?.map(Cow::into_owned)));
        match value {
            Ok(value) => Ok(value.as_ref().map(Cow::Borrowed)),
            Err(stop) => Err(stop.clone()),
        }
    }

    fn call(&mut self, number: usize, nodes: &'p [Node]) -> Got<'p> {
        let Some(rule) = self.program.rules.get(number) else { return Ok(None) };
        self.tick()?;
        // The arguments are put where the function will look for them.
        let begin = self.places.len();
        for node in nodes {
            match self.term(node) {
                Ok(Some(value)) => self.places.push(value),
                other => {
                    self.places.truncate(begin);
                    return other.map(|_| None);
                }
            }
        }
        let base = std::mem::replace(&mut self.base, begin);
        let mut found = None;
        let mut done = Ok(());
        for definition in &rule.definitions {
            self.places.resize(begin + definition.places, Cow::Borrowed(&NOTHING));
            done = self.definition(definition, &mut found);
            if done.is_err() {
                break;
            }
        }
        self.base = base;
        self.places.truncate(begin);
        done?;
        match (found, &rule.default) {
            (None, Some(default)) => self.term(default),
            (found, _) => Ok(found),
        }
    }

    fn definition(
        &mut self,
        definition: &'p Definition,
        found: &mut Option<Term<'p>>,
    ) -> Result<(), Stop> {
        for body in &definition.bodies {
            // Another way to the same value changes nothing.
            let settled = matches!(body.value, Node::Const(_));
            let mut holds = false;
            self.steps(&body.steps, &mut |machine| {
                let Some(value) = machine.term(&body.value)? else { return Ok(true) };
                holds = true;
                match found {
                    Some(before) if *before != value => {
                        failed("a rule, or a function, has two values")
                    }
                    Some(_) => Ok(!settled),
                    None => {
                        *found = Some(value);
                        Ok(!settled)
                    }
                }
            })?;
            if holds {
                break;
            }
        }
        Ok(())
    }
}
