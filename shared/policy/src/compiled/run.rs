//! Walks a prepared pack over an input.

use std::cell::OnceCell;
use std::time::Instant;

use regorus::unstable::{ArithOp, BinOp, numbers, sets};

use crate::primitives::{attribute, holds};
use crate::values::{Arena, Field, Val};

use super::terms::{compare, failed, get, owned, said};
use super::{Arithmetic, Definition, Node, Outcome, Program, Sets, Step};

/// How many steps pass between two looks at the clock.
const CHECK_INTERVAL: u32 = 256;

/// What most functions take at most.
const ARGUMENTS: usize = 4;

/// A term, if it is defined.
pub(super) type Got<'p> = Result<Option<Val<'p>>, Stop>;

/// Why it ended early. What then follows is a deny.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The time is over.
    Late,
    /// What the pack asks for cannot be done.
    Failed(String),
}

/// One thing that a pack says of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Told<'p> {
    /// Which of the packages says it.
    pub(crate) package: usize,
    pub(crate) rule: Val<'p>,
    pub(crate) address: Val<'p>,
    /// What is wrong, if it is.
    pub(crate) message: Val<'p>,
    /// Whether it is certain; otherwise it is known only after apply.
    pub(crate) certain: bool,
}

impl Program {
    /// The name of a package.
    pub(crate) fn package(&self, number: usize) -> &str {
        self.packages.get(number).map_or("", String::as_str)
    }

    /// Judges an input, until a moment at the latest, in so many bytes more than the arena has.
    pub(crate) fn judge<'p>(
        &'p self,
        input: Val<'p>,
        deadline: Instant,
        memory: usize,
        arena: &'p Arena,
    ) -> Result<Vec<Told<'p>>, Stop> {
        let mut machine = Machine {
            program: self,
            input,
            deadline,
            arena,
            most: arena.bytes().saturating_add(memory),
            values: vec![OnceCell::new(); self.rules.len()],
            places: Vec::with_capacity(64),
            base: 0,
            steps: 0,
        };
        let mut told = Vec::new();
        for (package, result) in &self.results {
            machine.result(*package, result, &mut told)?;
        }
        Ok(told)
    }
}

/// What walks.
struct Machine<'p> {
    program: &'p Program,
    input: Val<'p>,
    deadline: Instant,
    arena: &'p Arena,
    /// How large the arena may become.
    most: usize,
    /// The values of rules, as far as they have been worked out.
    values: Vec<OnceCell<Option<Val<'p>>>>,
    /// The variables of everything that is being called; those of the innermost begin at `base`.
    places: Vec<Option<Val<'p>>>,
    base: usize,
    steps: u32,
}

/// What is done where all statements of a body hold. It says whether to look for more.
type Then<'a, 'p> = &'a mut dyn FnMut(&mut Machine<'p>) -> Result<bool, Stop>;

impl<'p> Machine<'p> {
    fn tick(&mut self) -> Result<(), Stop> {
        self.steps += 1;
        if self.steps.is_multiple_of(CHECK_INTERVAL) {
            if Instant::now() >= self.deadline {
                return Err(Stop::Late);
            }
            if self.arena.bytes() > self.most {
                return failed("it takes too much memory");
            }
        }
        Ok(())
    }

    /// Adds what a `result` says.
    fn result(
        &mut self,
        package: usize,
        result: &'p Outcome,
        told: &mut Vec<Told<'p>>,
    ) -> Result<(), Stop> {
        self.tick()?;
        self.places.clear();
        self.places.resize(result.places, None);
        self.base = 0;
        let [rule, resource, state, message] = &result.said;
        let done = self.steps(&result.steps, &mut |machine| {
            let certain = match machine.term(state)? {
                Some(Val::Text("fail")) => true,
                Some(Val::Text("unknown")) => false,
                _ => return Ok(true),
            };
            let address = machine.term(resource)?.and_then(|resource| resource.field("address"));
            let (Some(rule), Some(address), Some(message)) =
                (machine.term(rule)?, address, machine.term(message)?)
            else {
                return Ok(true);
            };
            if certain || matches!(message, Val::Text(_)) {
                told.push(Told { package, rule, address, message, certain });
            }
            Ok(true)
        });
        done.map(drop)
    }

    /// Goes through statements, and does `then` wherever all hold. False when it has been told to
    /// look no further.
    fn steps(&mut self, steps: &'p [Step], then: Then<'_, 'p>) -> Result<bool, Stop> {
        for (at, step) in steps.iter().enumerate() {
            match step {
                Step::Let(place, node) => {
                    let Some(value) = self.term(node)? else { return Ok(true) };
                    self.put(*place, value);
                }
                Step::Is(node) => {
                    if let None | Some(Val::Bool(false)) = self.term(node)? {
                        return Ok(true);
                    }
                }
                Step::Not(node) => {
                    if !matches!(self.term(node)?, None | Some(Val::Bool(false))) {
                        return Ok(true);
                    }
                }
                Step::Each { key, value, of } => {
                    let Some(of) = self.term(of)? else { return Ok(true) };
                    let rest = steps.get(at + 1..).unwrap_or_default();
                    return self.each(of, *key, *value, rest, then);
                }
            }
        }
        then(self)
    }

    fn each(
        &mut self,
        of: Val<'p>,
        key: Option<usize>,
        value: usize,
        rest: &'p [Step],
        then: Then<'_, 'p>,
    ) -> Result<bool, Stop> {
        let mut one = |machine: &mut Self, name: Val<'p>, item: Val<'p>| {
            machine.tick()?;
            if let Some(key) = key {
                machine.put(key, name);
            }
            machine.put(value, item);
            machine.steps(rest, then)
        };
        match of {
            Val::List(items) => {
                for (at, item) in items.iter().enumerate() {
                    if !one(self, Val::number(at), *item)? {
                        return Ok(false);
                    }
                }
            }
            Val::Set(items) => {
                for item in items {
                    if !one(self, *item, *item)? {
                        return Ok(false);
                    }
                }
            }
            Val::Object(fields) => {
                for (name, item) in fields {
                    if !one(self, *name, *item)? {
                        return Ok(false);
                    }
                }
            }
            // As the interpreter does.
            _ => return failed("`some … in` is given neither a list, nor a set, nor an object"),
        }
        Ok(true)
    }

    fn put(&mut self, place: usize, value: Val<'p>) {
        if let Some(at) = self.places.get_mut(self.base + place) {
            *at = Some(value);
        }
    }

    fn term(&mut self, node: &'p Node) -> Got<'p> {
        Ok(Some(match node {
            Node::Const(value) => *value,
            Node::Local(place) => {
                return Ok(self.places.get(self.base + place).copied().flatten());
            }
            Node::Input => self.input,
            Node::Rule(number) => return self.value(*number),
            Node::Key(of, key) => return Ok(self.term(of)?.and_then(|of| of.get(*key))),
            Node::Index(pair) => {
                let Some(key) = self.term(&pair.1)? else { return Ok(None) };
                return Ok(self.term(&pair.0)?.and_then(|of| of.get(key)));
            }
            Node::Array(items) => match self.terms(items)? {
                Some(all) => self.arena.list(&all),
                None => return Ok(None),
            },
            Node::Set(items) => match self.terms(items)? {
                Some(all) => self.arena.set(all),
                None => return Ok(None),
            },
            Node::Object(fields) => {
                let mut all = Vec::with_capacity(fields.len());
                for (key, value) in fields {
                    let Some(key) = self.term(key)? else { return Ok(None) };
                    let Some(value) = self.term(value)? else { return Ok(None) };
                    all.push((key, value));
                }
                self.arena.object(all)
            }
            Node::Shaped(fields) => {
                let mut all = Vec::with_capacity(fields.len());
                for (key, value) in fields {
                    let Some(value) = self.term(value)? else { return Ok(None) };
                    all.push((*key, value));
                }
                self.arena.fields(&all)
            }
            Node::ArrayOf(term, steps) => {
                let all = self.every(term, steps)?;
                self.arena.list(&all)
            }
            Node::SetOf(term, steps) => {
                let all = self.every(term, steps)?;
                self.arena.set(all)
            }
            Node::ObjectOf(pair, steps) => self.object(pair, steps)?,
            Node::Native(primitive, nodes) => {
                let mut given = [Val::Null; ARGUMENTS];
                for (given, node) in given.iter_mut().zip(nodes) {
                    let Some(value) = self.term(node)? else { return Ok(None) };
                    *given = value;
                }
                let given = given.get(..nodes.len()).unwrap_or_default();
                return match primitive(given, self.arena) {
                    Ok(said) => Ok(said),
                    Err(_) => failed("an argument is of another type than it has to be"),
                };
            }
            Node::Attribute(it) => {
                let (resource, name, fallback) = &**it;
                let Some(resource) = self.term(resource)? else { return Ok(None) };
                match attribute(resource, *name) {
                    Some(found) => found,
                    None => return self.term(fallback),
                }
            }
            Node::Kind(is, of) => {
                let Some(of) = self.term(of)? else { return Ok(None) };
                Val::Bool(is(of))
            }
            Node::Count(of) => match self.term(of)? {
                Some(Val::List(of) | Val::Set(of)) => Val::number(of.len()),
                Some(Val::Object(of)) => Val::number(of.len()),
                // As the interpreter counts.
                Some(Val::Text(of)) => Val::number(of.encode_utf16().count()),
                _ => return Ok(None),
            },
            Node::Joined(pair) => {
                let Some(a) = self.term(&pair.0)? else { return Ok(None) };
                let Some(b) = self.term(&pair.1)? else { return Ok(None) };
                match (a, b) {
                    (Val::List(_), Val::List([])) => a,
                    (Val::List([]), Val::List(_)) => b,
                    (Val::List(first), Val::List(second)) => {
                        self.arena.list(&[first, second].concat())
                    }
                    _ => return Ok(None),
                }
            }
            Node::Get(nodes) => {
                let [object, key, fallback] = &**nodes;
                let Some(object) = self.term(object)? else { return Ok(None) };
                let Some(key) = self.term(key)? else { return Ok(None) };
                let Some(fallback) = self.term(fallback)? else { return Ok(None) };
                return Ok(get(object, key, fallback));
            }
            Node::Builtin(builtin) => {
                let Some(given) = self.terms(&builtin.arguments)? else { return Ok(None) };
                return said(builtin, &given, self.arena);
            }
            Node::Unless(nothing_to_do, builtin) => {
                let Some(node) = builtin.arguments.first() else { return Ok(None) };
                let Some(value) = self.term(node)? else { return Ok(None) };
                if nothing_to_do(value) {
                    return Ok(Some(value));
                }
                return said(builtin, &[value], self.arena);
            }
            Node::Call(number, nodes) => return self.call(*number, nodes),
            Node::Compare(op, pair) => {
                let Some(a) = self.term(&pair.0)? else { return Ok(None) };
                let Some(b) = self.term(&pair.1)? else { return Ok(None) };
                Val::Bool(compare(op, a, b))
            }
            Node::In(pair) => {
                let value = self.term(&pair.0)?;
                let collection = self.term(&pair.1)?;
                let both = value.zip(collection);
                Val::Bool(both.is_some_and(|(value, collection)| holds(collection, value)))
            }
            Node::Sets(it) => return self.sets(it),
            Node::Arithmetic(it) => return self.arithmetic(it),
        }))
    }

    /// All of these, if all are defined.
    fn terms(&mut self, nodes: &'p [Node]) -> Result<Option<Vec<Val<'p>>>, Stop> {
        let mut all = Vec::with_capacity(nodes.len());
        for node in nodes {
            let Some(value) = self.term(node)? else { return Ok(None) };
            all.push(value);
        }
        Ok(Some(all))
    }

    /// What a term is wherever statements hold.
    fn every(&mut self, term: &'p Node, steps: &'p [Step]) -> Result<Vec<Val<'p>>, Stop> {
        let mut all = Vec::new();
        self.steps(steps, &mut |machine| {
            all.extend(machine.term(term)?);
            Ok(true)
        })?;
        Ok(all)
    }

    fn object(&mut self, pair: &'p (Node, Node), steps: &'p [Step]) -> Result<Val<'p>, Stop> {
        let mut all: Vec<Field<'p>> = Vec::new();
        self.steps(steps, &mut |machine| {
            let Some(key) = machine.term(&pair.0)? else { return Ok(true) };
            let Some(value) = machine.term(&pair.1)? else { return Ok(true) };
            all.push((key, value));
            Ok(true)
        })?;
        all.sort_by_key(|(key, _)| *key);
        if all.windows(2).any(|two| matches!(two, [a, b] if a.0 == b.0 && a.1 != b.1)) {
            return failed("an object has two values for a key");
        }
        all.dedup();
        Ok(self.arena.fields(&all))
    }

    fn sets(&mut self, it: &'p Sets) -> Got<'p> {
        let Some(a) = self.term(&it.operands.0)? else { return Ok(None) };
        let Some(b) = self.term(&it.operands.1)? else { return Ok(None) };
        // What adds nothing needs no copy.
        match (&it.op, a, b) {
            (BinOp::Union, Val::Set(_), Val::Set([])) => return Ok(Some(a)),
            (BinOp::Union, Val::Set([]), Val::Set(_)) => return Ok(Some(b)),
            _ => {}
        }
        let work = match it.op {
            BinOp::Union => sets::union,
            BinOp::Intersection => sets::intersection,
        };
        let said = work(&it.terms.0, &it.terms.1, a.to_value(), b.to_value());
        owned(said.map_err(|e| (true, e.to_string())), self.arena)
    }

    fn arithmetic(&mut self, it: &'p Arithmetic) -> Got<'p> {
        let Some(a) = self.term(&it.operands.0)? else { return Ok(None) };
        let Some(b) = self.term(&it.operands.1)? else { return Ok(None) };
        let of_sets = matches!(a, Val::Set(_)) || matches!(b, Val::Set(_));
        let (a, b, terms) = (a.to_value(), b.to_value(), &it.terms);
        let said = if it.op == ArithOp::Sub && of_sets {
            sets::difference(&terms.0, &terms.1, a, b)
        } else {
            numbers::arithmetic_operation(&it.span, &it.op, &terms.0, &terms.1, a, b, false)
        };
        owned(said.map_err(|e| (true, e.to_string())), self.arena)
    }

    /// The value of a rule, which is worked out where it is asked for first.
    fn value(&mut self, number: usize) -> Got<'p> {
        if let Some(known) = self.values.get(number).and_then(OnceCell::get) {
            return Ok(*known);
        }
        let value = self.call(number, &[])?;
        if let Some(at) = self.values.get(number) {
            let _ = at.set(value);
        }
        Ok(value)
    }

    fn call(&mut self, number: usize, nodes: &'p [Node]) -> Got<'p> {
        let Some(rule) = self.program.rules.get(number) else { return Ok(None) };
        self.tick()?;
        // The arguments are put where the function will look for them.
        let begin = self.places.len();
        for node in nodes {
            match self.term(node) {
                Ok(value @ Some(_)) => self.places.push(value),
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
            self.places.resize(begin + definition.places, None);
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
        found: &mut Option<Val<'p>>,
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
