//! From the syntax tree to what is walked.

use std::collections::BTreeMap;

use regorus::Value;
use regorus::unstable::{
    AssignOp, BUILTINS, Expr, Literal, Module, Query, Ref, Rule as Written, RuleAssign, RuleBody,
    RuleHead,
};

use super::simple::{folded_array, folded_object, folded_set, is_defined, nothing_to_do, simple};
use super::{Arithmetic, Body, Builtin, Definition, Node, Outcome, Program, Rule, Sets, Step};
use crate::functions::FUNCTIONS;
use crate::primitives;
use crate::syntax::{path_of, rule_name};
use crate::values::{Arena, Val};

/// The package of the functions that are in Rust too.
const LIBRARY: &str = "slipway.lib";

/// Why a pack is left to the interpreter: what it holds that is not known here.
pub(super) type Unknown = String;

impl Program {
    /// Prepares a pack with its helpers, all of it or nothing. What is constant is kept in `arena`.
    pub(crate) fn compile(modules: &[Ref<Module>], arena: &'static Arena) -> Result<Self, Unknown> {
        let mut builder = Builder {
            numbers: BTreeMap::new(),
            literals: BTreeMap::new(),
            rules: Vec::new(),
            results: Vec::new(),
            packages: Vec::new(),
            arena,
        };
        for module in modules {
            let package = package_of(module)?;
            for rule in &module.policy {
                let name = rule_name(rule).ok_or("a rule without a name")?;
                let path = format!("{package}.{name}");
                if name == "rules" || name == "result" {
                    continue;
                }
                let next = builder.numbers.len();
                builder.numbers.entry(path.clone()).or_insert(next);
                if let Some(value) = literal(rule).and_then(|value| arena.take(value)) {
                    builder.literals.insert(path, value);
                }
            }
        }
        builder.rules.resize_with(builder.numbers.len(), || Rule {
            arguments: 0,
            definitions: Vec::new(),
            default: None,
        });
        for module in modules {
            builder.module(module)?;
        }
        Ok(Self { rules: builder.rules, results: builder.results, packages: builder.packages })
    }
}

fn package_of(module: &Module) -> Result<String, Unknown> {
    path_of(&module.package.refr).ok_or_else(|| "a package of another form".to_owned())
}

/// The value of a rule that is a text and nothing else.
fn literal(rule: &Written) -> Option<&Value> {
    let Written::Spec { head: RuleHead::Compr { assign: Some(assign), .. }, bodies, .. } = rule
    else {
        return None;
    };
    match assign.value.as_ref() {
        Expr::String { value, .. } | Expr::RawString { value, .. } if bodies.is_empty() => {
            Some(value)
        }
        _ => None,
    }
}

struct Builder {
    numbers: BTreeMap<String, usize>,
    literals: BTreeMap<String, Val<'static>>,
    rules: Vec<Rule>,
    results: Vec<(usize, Outcome)>,
    packages: Vec<String>,
    arena: &'static Arena,
}

/// The rule that is being read: where its names lead.
struct Scope<'a> {
    builder: &'a Builder,
    package: &'a str,
    imports: &'a BTreeMap<String, String>,
    /// Variables that can be seen, the innermost last.
    names: Vec<(String, usize)>,
    places: usize,
}

impl Builder {
    fn module(&mut self, module: &Module) -> Result<(), Unknown> {
        let package = package_of(module)?;
        let mut imports = BTreeMap::new();
        for import in &module.imports {
            let path = path_of(&import.refr).unwrap_or_default();
            if path == "rego.v1" {
                continue;
            }
            let target = path.strip_prefix("data.").ok_or("an import of another form")?;
            if import.r#as.is_some() {
                return Err("an import under another name".to_owned());
            }
            let name = target.rsplit('.').next().unwrap_or_default().to_owned();
            imports.insert(name, target.to_owned());
        }
        for rule in &module.policy {
            let name = rule_name(rule).unwrap_or_default();
            if name == "rules" || (package == LIBRARY && primitives::named(&name).is_some()) {
                continue;
            }
            let mut scope = Scope {
                builder: self,
                package: &package,
                imports: &imports,
                names: Vec::new(),
                places: 0,
            };
            if name == "result" {
                let result = scope.result(rule)?;
                let at = self.packages.iter().position(|known| *known == package);
                let at = at.unwrap_or_else(|| {
                    self.packages.push(package.clone());
                    self.packages.len() - 1
                });
                self.results.push((at, result));
                continue;
            }
            let (number, read) =
                (self.numbers.get(&format!("{package}.{name}")), scope.rule(rule)?);
            let number = *number.ok_or("a rule that is not there")?;
            let rule = self.rules.get_mut(number).ok_or("a rule that is not there")?;
            match read {
                Read::Default(value) => rule.default = Some(value),
                Read::Definition { arguments, definition } => {
                    if !rule.definitions.is_empty() && rule.arguments != arguments {
                        return Err(format!("`{name}` is of two kinds"));
                    }
                    rule.arguments = arguments;
                    rule.definitions.push(definition);
                }
            }
        }
        Ok(())
    }
}

enum Read {
    Default(Node),
    Definition { arguments: usize, definition: Definition },
}

fn unknown<T>(expr: &Expr) -> Result<T, Unknown> {
    let span = expr.span();
    Err(format!("{}:{}: `{}`", span.source.get_path(), span.line, span.text()))
}

impl Scope<'_> {
    /// A finding is always put together by `lib.said`, in the last statement.
    fn result(&mut self, rule: &Written) -> Result<Outcome, Unknown> {
        let Written::Spec { head: RuleHead::Set { key: Some(key), .. }, bodies, .. } = rule else {
            return Err("a `result` of another form".to_owned());
        };
        let [body] = bodies.as_slice() else { return unknown(key) };
        let Some((last, before)) = body.query.stmts.split_last() else { return unknown(key) };
        let mut steps = Vec::new();
        for statement in before {
            steps.push(self.statement(&statement.literal, statement.with_mods.is_empty())?);
        }
        let Literal::Expr { expr, .. } = &last.literal else { return unknown(key) };
        let Expr::AssignExpr { op: AssignOp::ColEq, lhs, rhs, .. } = expr.as_ref() else {
            return unknown(expr);
        };
        let Expr::Call { fcn, params, .. } = rhs.as_ref() else { return unknown(rhs) };
        let named = path_of(lhs).is_some_and(|name| path_of(key) == Some(name));
        let says = self.target(&path_of(fcn).unwrap_or_default());
        if !named || says != format!("{LIBRARY}.said") || !last.with_mods.is_empty() {
            return unknown(rhs);
        }
        let said: Vec<Node> = self.terms(params)?;
        let said = said.try_into().map_err(|_| "`said` takes four".to_owned())?;
        Ok(Outcome { places: self.places, steps, said })
    }

    fn rule(&mut self, rule: &Written) -> Result<Read, Unknown> {
        let (head, bodies) = match rule {
            Written::Spec { head, bodies, .. } => (head, bodies),
            Written::Default { args, value, .. } if args.is_empty() => {
                return Ok(Read::Default(self.term(value)?));
            }
            Written::Default { value, .. } => return unknown(value),
        };
        match head {
            RuleHead::Compr { refr, assign, .. } => {
                path_of(refr).filter(|name| !name.contains('.')).ok_or("a rule of another form")?;
                let definition = self.definition(assign.as_ref(), bodies)?;
                Ok(Read::Definition { arguments: 0, definition })
            }
            RuleHead::Func { args, assign, .. } => {
                for arg in args {
                    let Expr::Var { .. } = arg.as_ref() else { return unknown(arg) };
                    self.bind(arg.span().text())?;
                }
                let definition = self.definition(assign.as_ref(), bodies)?;
                Ok(Read::Definition { arguments: args.len(), definition })
            }
            RuleHead::Set { refr, .. } => unknown(refr),
        }
    }

    fn definition(
        &mut self,
        assign: Option<&RuleAssign>,
        bodies: &[RuleBody],
    ) -> Result<Definition, Unknown> {
        let mut read = Vec::new();
        let value = |scope: &mut Self, assign: Option<&RuleAssign>| match assign {
            Some(assign) => scope.term(&assign.value),
            None => Ok(Node::Const(Val::Bool(true))),
        };
        if bodies.is_empty() {
            read.push(Body { steps: Vec::new(), value: value(self, assign)? });
        }
        for (n, body) in bodies.iter().enumerate() {
            if n > 0 && !body.is_else {
                return Err("several bodies under one head".to_owned());
            }
            let seen = self.names.len();
            let steps = self.query(&body.query)?;
            let assign = if n == 0 { assign } else { body.assign.as_ref() };
            read.push(Body { steps, value: value(self, assign)? });
            self.names.truncate(seen);
        }
        Ok(Definition { places: self.places, bodies: read })
    }

    fn query(&mut self, query: &Query) -> Result<Vec<Step>, Unknown> {
        let statements = query.stmts.iter();
        statements.map(|s| self.statement(&s.literal, s.with_mods.is_empty())).collect()
    }

    fn statement(&mut self, literal: &Literal, plain: bool) -> Result<Step, Unknown> {
        if !plain {
            return Err("`with`".to_owned());
        }
        match literal {
            Literal::SomeIn { key, value, collection, .. } => {
                let of = self.term(collection)?;
                let mut place = |expr: &Ref<Expr>| match expr.as_ref() {
                    Expr::Var { span, .. } => self.bind(span.text()),
                    other => unknown(other),
                };
                let key = key.as_ref().map(&mut place).transpose()?;
                Ok(Step::Each { key, value: place(value)?, of })
            }
            Literal::Expr { expr, .. } => match expr.as_ref() {
                Expr::AssignExpr { op: AssignOp::ColEq, lhs, rhs, .. } => {
                    let Expr::Var { span, .. } = lhs.as_ref() else { return unknown(lhs) };
                    let value = self.term(rhs)?;
                    Ok(Step::Let(self.bind(span.text())?, value))
                }
                _ => Ok(Step::Is(self.term(expr)?)),
            },
            Literal::NotExpr { expr, .. } => Ok(Step::Not(self.term(expr)?)),
            Literal::SomeVars { .. } | Literal::Every { .. } => {
                Err("`some` without `in`, or `every`".to_owned())
            }
        }
    }

    /// A new variable. One that stands for another, or for anything, is not known here.
    fn bind(&mut self, name: &str) -> Result<usize, Unknown> {
        if name == "_" || self.local(name).is_some() {
            return Err(format!("the variable `{name}`"));
        }
        self.names.push((name.to_owned(), self.places));
        self.places += 1;
        Ok(self.places - 1)
    }

    fn local(&self, name: &str) -> Option<usize> {
        self.names.iter().rev().find(|(known, _)| known == name).map(|(_, place)| *place)
    }

    /// What a name outside of variables means: a rule of this package, or of one that is imported.
    fn target(&self, path: &str) -> String {
        match path.split_once('.') {
            Some((first, rest)) if self.imports.contains_key(first) => {
                format!("{}.{rest}", self.imports[first])
            }
            Some(_) => path.to_owned(),
            None => format!("{}.{path}", self.package),
        }
    }

    fn named(&self, path: &str) -> Option<Node> {
        let target = self.target(path);
        if let Some(value) = self.builder.literals.get(&target) {
            return Some(Node::Const(*value));
        }
        self.builder.numbers.get(&target).map(|number| Node::Rule(*number))
    }

    fn terms(&mut self, exprs: &[Ref<Expr>]) -> Result<Vec<Node>, Unknown> {
        exprs.iter().map(|expr| self.term(expr)).collect()
    }

    fn pair(&mut self, a: &Ref<Expr>, b: &Ref<Expr>) -> Result<(Node, Node), Unknown> {
        Ok((self.term(a)?, self.term(b)?))
    }

    /// What a comprehension gives, whose variables are its own.
    fn inside<T>(
        &mut self,
        query: &Query,
        given: impl FnOnce(&mut Self) -> Result<T, Unknown>,
    ) -> Result<(T, Vec<Step>), Unknown> {
        let seen = self.names.len();
        let steps = self.query(query)?;
        let given = given(self)?;
        self.names.truncate(seen);
        Ok((given, steps))
    }

    fn constant(&self, value: &Value) -> Result<Node, Unknown> {
        let value = self.builder.arena.take(value);
        value.map(Node::Const).ok_or_else(|| "a constant of nothing".to_owned())
    }

    fn term(&mut self, expr: &Ref<Expr>) -> Result<Node, Unknown> {
        let node = match expr.as_ref() {
            Expr::String { value, .. }
            | Expr::RawString { value, .. }
            | Expr::Number { value, .. }
            | Expr::Bool { value, .. }
            | Expr::Null { value, .. } => self.constant(value)?,
            Expr::UnaryExpr { expr: inner, .. } => match inner.as_ref() {
                Expr::Number { span, .. } => {
                    let value = Value::from_json_str(&format!("-{}", span.text()));
                    self.constant(&value.map_err(|e| e.to_string())?)?
                }
                _ => return unknown(expr),
            },
            Expr::Var { span, .. } => match (self.local(span.text()), span.text()) {
                (Some(place), _) => Node::Local(place),
                (None, "input") => Node::Input,
                (None, name) => match self.named(name) {
                    Some(node) => node,
                    None => return unknown(expr),
                },
            },
            Expr::RefDot { refr, field, .. } => {
                if let Some(node) = self.imported(expr) {
                    return node;
                }
                let key = self.builder.arena.take(&field.1).ok_or("a name of nothing")?;
                Node::Key(Box::new(self.term(refr)?), key)
            }
            Expr::RefBrack { refr, index, .. } => match self.term(index)? {
                Node::Const(key) => Node::Key(Box::new(self.term(refr)?), key),
                key => Node::Index(Box::new((self.term(refr)?, key))),
            },
            Expr::Array { items, .. } => folded_array(self.terms(items)?, self.builder.arena),
            Expr::Set { items, .. } => folded_set(self.terms(items)?, self.builder.arena),
            Expr::Object { fields, .. } => {
                let fields: Result<Vec<_>, _> =
                    fields.iter().map(|(_, key, value)| self.pair(key, value)).collect();
                folded_object(fields?, self.builder.arena)
            }
            Expr::ArrayCompr { term, query, .. } => {
                let (term, steps) = self.inside(query, |scope| scope.term(term))?;
                Node::ArrayOf(Box::new(term), steps)
            }
            Expr::SetCompr { term, query, .. } => {
                let (term, steps) = self.inside(query, |scope| scope.term(term))?;
                Node::SetOf(Box::new(term), steps)
            }
            Expr::ObjectCompr { key, value, query, .. } => {
                let (pair, steps) = self.inside(query, |scope| scope.pair(key, value))?;
                Node::ObjectOf(Box::new(pair), steps)
            }
            Expr::Call { .. } => self.call(expr)?,
            Expr::BoolExpr { op, lhs, rhs, .. } => {
                Node::Compare(op.clone(), Box::new(self.pair(lhs, rhs)?))
            }
            Expr::Membership { key: None, value, collection, .. } => {
                Node::In(Box::new(self.pair(value, collection)?))
            }
            Expr::BinExpr { op, lhs, rhs, .. } => Node::Sets(Box::new(Sets {
                op: op.clone(),
                terms: (lhs.clone(), rhs.clone()),
                operands: self.pair(lhs, rhs)?,
            })),
            Expr::ArithExpr { span, op, lhs, rhs, .. } => Node::Arithmetic(Box::new(Arithmetic {
                op: op.clone(),
                span: span.clone(),
                terms: (lhs.clone(), rhs.clone()),
                operands: self.pair(lhs, rhs)?,
            })),
            _ => return unknown(expr),
        };
        Ok(node)
    }

    /// A rule of a package that is imported.
    fn imported(&self, expr: &Ref<Expr>) -> Option<Result<Node, Unknown>> {
        let path = path_of(expr)?;
        let (first, rest) = path.split_once('.')?;
        let ours = self.local(first).is_none() && self.imports.contains_key(first);
        (ours && !rest.contains('.')).then(|| self.named(&path).map_or_else(|| unknown(expr), Ok))
    }

    fn call(&mut self, expr: &Ref<Expr>) -> Result<Node, Unknown> {
        let Expr::Call { span, fcn, params, .. } = expr.as_ref() else { return unknown(expr) };
        let Some(path) = path_of(fcn) else { return unknown(fcn) };
        let target = self.target(&path);
        let arguments = self.terms(params)?;
        if let Some((count, primitive)) =
            target.strip_prefix("slipway.lib.").and_then(primitives::named)
        {
            if usize::from(count) != arguments.len() {
                return unknown(expr);
            }
            return Ok(match <[Node; 3]>::try_from(arguments) {
                Ok([resource, Node::Const(name @ Val::Text(_)), fallback])
                    if target == "slipway.lib.get" && is_defined(&fallback, &resource) =>
                {
                    Node::Attribute(Box::new((resource, name, fallback)))
                }
                Ok(arguments) => Node::Native(primitive, arguments.into()),
                Err(arguments) => Node::Native(primitive, arguments),
            });
        }
        if let Some(number) = self.builder.numbers.get(&target) {
            return Ok(Node::Call(*number, arguments));
        }
        // The same that a pack may call, and nothing that works in another way than by its arguments.
        let special = ["print", "walk"].contains(&path.as_str());
        match BUILTINS.get(path.as_str()) {
            Some(_) if special || !FUNCTIONS.contains(&path.as_str()) => unknown(expr),
            Some(_) if path == "object.get" => match <[Node; 3]>::try_from(arguments) {
                Ok(arguments) => Ok(Node::Get(Box::new(arguments))),
                Err(_) => unknown(expr),
            },
            Some(function) if usize::from(function.1) == arguments.len() => {
                let arguments = match simple(&path, arguments) {
                    Ok(node) => return Ok(node),
                    Err(arguments) => arguments,
                };
                let parameters = params.clone();
                let function = *function;
                let span = span.clone();
                let builtin = Box::new(Builtin { function, span, parameters, arguments });
                Ok(match nothing_to_do(&path) {
                    Some(nothing) => Node::Unless(nothing, builtin),
                    None => Node::Builtin(builtin),
                })
            }
            _ => unknown(expr),
        }
    }
}
