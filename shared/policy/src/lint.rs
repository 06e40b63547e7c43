//! What is wrong with a pack before anybody uses it.
//!
//! Refused are: texts that do not parse; packages outside the pack's own root; imports of packages
//! that are not there; functions that this interpreter does not have or that a gate must not call
//! (network, clock, chance, memory without bounds); references inside `not`, where this interpreter
//! and OPA part ways without a word; members of sets that are worked out in the head, which this
//! interpreter can lose; rules that need themselves. What loops without that is stopped
//! by the limits when it runs.

use std::collections::{BTreeMap, BTreeSet};

use regorus::unstable::{Expr, Literal, Module, Query, Ref, Rule, RuleHead, Span};

use crate::engine::load;
use crate::error::{PackError, Problem};
use crate::functions::{FORBIDDEN, FUNCTIONS};
use crate::limits::Limits;
use crate::pack::Pack;
use crate::syntax::{calls, file, is_name, is_set, path_of, prefix_of, rule_name};

/// What a pack defines: package → names of its rules.
#[derive(Debug, Default)]
pub(crate) struct Outline {
    pub(crate) packages: BTreeMap<String, BTreeSet<String>>,
    /// Rules that are sets and nothing else, each with its package.
    pub(crate) sets: BTreeSet<String>,
}

/// Everything that is wrong with a pack; empty when it may be kept.
pub fn lint(pack: &Pack, limits: &Limits) -> Vec<Problem> {
    outline(pack, limits).err().map(|e| e.problems).unwrap_or_default()
}

/// Lints, and says what the pack defines.
pub(crate) fn outline(pack: &Pack, limits: &Limits) -> Result<Outline, PackError> {
    sizes(pack, limits)?;
    let mut engine = load(pack, limits)?;
    let own: BTreeSet<&str> = pack.modules().iter().map(|m| m.path.as_str()).collect();
    let modules: Vec<Ref<Module>> = engine.get_modules().clone();

    let mut linter = Linter::default();
    for module in &modules {
        linter.declare(module);
    }
    for module in &modules {
        linter.module(module, own.contains(file(&module.package.span)).then_some(pack.root()));
    }
    linter.cycles();
    if !linter.problems.is_empty() {
        return Err(PackError { problems: linter.problems });
    }
    let mut outline = Outline::default();
    for module in &modules {
        if own.contains(file(&module.package.span)) {
            let package = path_of(&module.package.refr).unwrap_or_default();
            let names = linter.rules.get(&package).cloned().unwrap_or_default();
            outline.packages.insert(package, names);
        }
    }
    outline.sets = linter.sets;
    for other in linter.others {
        outline.sets.remove(&other);
    }
    Ok(outline)
}

fn sizes(pack: &Pack, limits: &Limits) -> Result<(), PackError> {
    let modules = pack.modules();
    let total: usize = modules.iter().map(|m| m.text.len()).sum();
    if modules.is_empty() {
        return Err(Problem::whole("The pack has no files.").into());
    }
    if modules.len() > limits.files || total > limits.pack_bytes {
        return Err(Problem::whole(format!(
            "The pack has {} files of {total} bytes together; at most {} files of {} bytes are taken.",
            modules.len(),
            limits.files,
            limits.pack_bytes
        ))
        .into());
    }
    let mut paths = BTreeSet::from(Pack::library().map(|module| module.path));
    for module in modules {
        if module.text.len() > limits.file_bytes {
            let message = format!("The file is larger than {} bytes.", limits.file_bytes);
            return Err(Problem::file(&module.path, message).into());
        }
        if !paths.insert(module.path.clone()) {
            return Err(Problem::file(&module.path, "There are two files of this name.").into());
        }
    }
    Ok(())
}

#[derive(Default)]
struct Linter {
    rules: BTreeMap<String, BTreeSet<String>>,
    problems: Vec<Problem>,
    /// Rule → the rules that it needs, each with its package.
    needs: BTreeMap<String, BTreeSet<String>>,
    places: BTreeMap<String, Span>,
    /// Rules that add members to sets, and all others.
    sets: BTreeSet<String>,
    others: BTreeSet<String>,
}

/// Where the walk is.
struct At<'a> {
    package: &'a str,
    imports: &'a BTreeMap<String, String>,
    rule: String,
}

impl Linter {
    fn report(&mut self, span: &Span, message: impl Into<String>) {
        self.problems.push(Problem {
            file: file(span).to_owned(),
            line: span.line,
            column: span.col,
            message: message.into(),
        });
    }

    fn declare(&mut self, module: &Module) {
        let package = path_of(&module.package.refr).unwrap_or_default();
        for rule in &module.policy {
            if let Some(name) = rule_name(rule) {
                let path = format!("{package}.{name}");
                let kind = if is_set(rule) { &mut self.sets } else { &mut self.others };
                kind.insert(path.clone());
                self.places.entry(path).or_insert(rule.span().clone());
                self.rules.entry(package.clone()).or_default().insert(name);
            }
        }
        self.rules.entry(package).or_default();
    }

    fn module(&mut self, module: &Module, root: Option<&str>) {
        let package = path_of(&module.package.refr).unwrap_or_default();
        if let Some(root) = root {
            let confined = package.split('.').next() == Some(root)
                && package.contains('.')
                && package.split('.').all(is_name)
                && package != "slipway.lib";
            if !confined {
                self.report(
                    &module.package.span,
                    format!(
                        "The package must be `{root}.NAME`, with plain names; it is `{package}`."
                    ),
                );
            }
        }
        let mut imports = BTreeMap::new();
        for import in &module.imports {
            let path = path_of(&import.refr).unwrap_or_default();
            let name = import.r#as.as_ref().map_or_else(
                || path.rsplit('.').next().unwrap_or_default().to_owned(),
                |alias| alias.text().to_owned(),
            );
            let known = path == "rego.v1"
                || path.starts_with("future.keywords")
                || path == "input"
                || path.starts_with("input.")
                || path.strip_prefix("data.").is_some_and(|target| self.known(target));
            if !known {
                self.report(
                    &import.span,
                    format!("There is no `{path}` to import: packages of this pack and `data.slipway.lib` can be."),
                );
            }
            if path.starts_with("data.") || path.starts_with("input") {
                imports.insert(name, path);
            }
        }
        for rule in &module.policy {
            let name = rule_name(rule).unwrap_or_default();
            let at = At { package: &package, imports: &imports, rule: format!("{package}.{name}") };
            match rule.as_ref() {
                Rule::Spec { head, bodies, .. } => {
                    match head {
                        RuleHead::Compr { refr, assign, .. } => {
                            self.head(refr, &at);
                            if let Some(assign) = assign {
                                self.expr(&assign.value, &at);
                            }
                        }
                        RuleHead::Set { refr, key, .. } => {
                            self.head(refr, &at);
                            if let Some(key) = key {
                                self.contained(key, &at);
                                self.expr(key, &at);
                            }
                        }
                        RuleHead::Func { args, assign, .. } => {
                            for arg in args {
                                self.expr(arg, &at);
                            }
                            if let Some(assign) = assign {
                                self.expr(&assign.value, &at);
                            }
                        }
                    }
                    for body in bodies {
                        if let Some(assign) = &body.assign {
                            self.expr(&assign.value, &at);
                        }
                        self.query(&body.query, &at);
                    }
                }
                Rule::Default { value, .. } => self.expr(value, &at),
            }
        }
    }

    /// The variables in brackets of a rule's name; the name itself is not a use of it.
    fn head(&mut self, refr: &Ref<Expr>, at: &At<'_>) {
        match refr.as_ref() {
            Expr::RefBrack { refr, index, .. } => {
                self.head(refr, at);
                self.expr(index, at);
            }
            Expr::RefDot { refr, .. } => self.head(refr, at),
            _ => {}
        }
    }

    /// Whether `path` is a package, or a rule of one.
    fn known(&self, path: &str) -> bool {
        self.rules.contains_key(path)
            || path.rsplit_once('.').is_some_and(|(package, name)| {
                self.rules.get(package).is_some_and(|names| names.contains(name))
            })
    }

    fn query(&mut self, query: &Query, at: &At<'_>) {
        for statement in &query.stmts {
            match &statement.literal {
                Literal::SomeVars { .. } => {}
                Literal::SomeIn { key, value, collection, .. } => {
                    for expr in key.iter().chain([value, collection]) {
                        self.expr(expr, at);
                    }
                }
                Literal::Expr { expr, .. } => self.expr(expr, at),
                Literal::NotExpr { expr, .. } => {
                    self.negated(expr, at);
                    self.expr(expr, at);
                }
                Literal::Every { domain, query, .. } => {
                    self.expr(domain, at);
                    self.query(query, at);
                }
            }
            for with in &statement.with_mods {
                let target = path_of(&with.refr).unwrap_or_default();
                if target != "input" && !target.starts_with("input.") {
                    self.report(&with.span, "`with` may only stand in for `input`.");
                }
                self.expr(&with.r#as, at);
            }
        }
    }

    /// Refuses references that are looked up inside `not`: when one is undefined, OPA calls the
    /// whole body undefined and this interpreter calls the `not` true.
    fn negated(&mut self, expr: &Ref<Expr>, at: &At<'_>) {
        let operands: Vec<&Ref<Expr>> = match expr.as_ref() {
            Expr::Call { params, .. } => params.iter().collect(),
            Expr::Membership { key, value, collection, .. } => {
                key.iter().chain([value, collection]).collect()
            }
            Expr::BoolExpr { lhs, rhs, .. }
            | Expr::BinExpr { lhs, rhs, .. }
            | Expr::ArithExpr { lhs, rhs, .. }
            | Expr::AssignExpr { lhs, rhs, .. } => vec![lhs, rhs],
            _ => return,
        };
        for operand in operands {
            if self.looks_up(operand, at) {
                self.report(
                    operand.span(),
                    format!(
                        "`{}` is looked up inside `not`. Bind it to a variable before it: an undefined reference there means different things to different interpreters.",
                        operand.span().text()
                    ),
                );
            }
        }
    }

    /// Refuses what may be undefined as the member of a set: this interpreter then forgets members
    /// that it has already found.
    fn contained(&mut self, key: &Ref<Expr>, at: &At<'_>) {
        if calls(key) || self.looks_up(key, at) {
            self.report(
                key.span(),
                format!(
                    "`{}` is worked out in the head of the rule. Bind it to a variable in the body: when it is undefined there, other findings are lost.",
                    key.span().text()
                ),
            );
        }
    }

    fn looks_up(&self, expr: &Ref<Expr>, at: &At<'_>) -> bool {
        match expr.as_ref() {
            Expr::RefDot { .. } | Expr::RefBrack { .. } => {
                // Rules of packages are always defined here or not: only data is looked up.
                self.target(expr, at).is_none()
            }
            Expr::Call { params, .. } => params.iter().any(|p| self.looks_up(p, at)),
            Expr::Array { items, .. } | Expr::Set { items, .. } => {
                items.iter().any(|i| self.looks_up(i, at))
            }
            Expr::Object { fields, .. } => {
                fields.iter().any(|(_, k, v)| self.looks_up(k, at) || self.looks_up(v, at))
            }
            Expr::UnaryExpr { expr, .. } => self.looks_up(expr, at),
            Expr::BoolExpr { lhs, rhs, .. }
            | Expr::BinExpr { lhs, rhs, .. }
            | Expr::ArithExpr { lhs, rhs, .. }
            | Expr::AssignExpr { lhs, rhs, .. } => self.looks_up(lhs, at) || self.looks_up(rhs, at),
            _ => false,
        }
    }

    /// The rule of this pack that a reference means, as `package.name`.
    fn target(&self, expr: &Ref<Expr>, at: &At<'_>) -> Option<String> {
        let mut path = prefix_of(expr)?;
        let first = path.split('.').next().unwrap_or_default().to_owned();
        if let Some(import) = at.imports.get(&first) {
            path = format!("{import}{}", &path[first.len()..]);
        }
        let absolute = path.strip_prefix("data.").map(str::to_owned);
        let candidates = match absolute {
            Some(absolute) => absolute,
            None => format!("{}.{path}", at.package),
        };
        // The longest package that it begins with, and the name after it.
        let mut ends: Vec<usize> = candidates.match_indices('.').map(|(at, _)| at).collect();
        ends.reverse();
        ends.into_iter().find_map(|end| {
            let names = self.rules.get(&candidates[..end])?;
            let name = candidates[end + 1..].split('.').next()?;
            names.contains(name).then(|| format!("{}.{name}", &candidates[..end]))
        })
    }

    fn used(&mut self, expr: &Ref<Expr>, at: &At<'_>) {
        if let Some(target) = self.target(expr, at) {
            self.needs.entry(at.rule.clone()).or_default().insert(target);
            return;
        }
        let Some(path) = prefix_of(expr) else { return };
        if path == "data" || path.starts_with("data.") {
            self.report(
                expr.span(),
                format!("`{path}` is no rule of this pack: `data` must be followed by a package and a rule, in plain names."),
            );
        }
    }

    fn call(&mut self, function: &Ref<Expr>, at: &At<'_>) {
        if let Some(target) = self.target(function, at) {
            self.needs.entry(at.rule.clone()).or_default().insert(target);
            return;
        }
        let name = path_of(function).unwrap_or_default();
        if FUNCTIONS.contains(&name.as_str()) {
            return;
        }
        let why = FORBIDDEN.iter().find(|(prefix, _)| name.starts_with(prefix));
        self.report(
            function.span(),
            match why {
                Some((_, why)) => format!("`{name}` is not allowed: {why}."),
                None => format!("There is no function `{name}`."),
            },
        );
    }

    fn expr(&mut self, expr: &Ref<Expr>, at: &At<'_>) {
        match expr.as_ref() {
            Expr::Array { items, .. } | Expr::Set { items, .. } => {
                for item in items {
                    self.expr(item, at);
                }
            }
            Expr::Object { fields, .. } => {
                for (_, key, value) in fields {
                    self.expr(key, at);
                    self.expr(value, at);
                }
            }
            Expr::ArrayCompr { term, query, .. } | Expr::SetCompr { term, query, .. } => {
                self.expr(term, at);
                self.query(query, at);
            }
            Expr::ObjectCompr { key, value, query, .. } => {
                self.expr(key, at);
                self.expr(value, at);
                self.query(query, at);
            }
            Expr::Call { fcn, params, .. } => {
                self.call(fcn, at);
                for param in params {
                    self.expr(param, at);
                }
            }
            Expr::UnaryExpr { expr, .. } => self.expr(expr, at),
            Expr::Var { .. } => self.used(expr, at),
            Expr::RefDot { .. } | Expr::RefBrack { .. } => {
                self.used(expr, at);
                self.indices(expr, at);
            }
            Expr::BinExpr { lhs, rhs, .. }
            | Expr::BoolExpr { lhs, rhs, .. }
            | Expr::ArithExpr { lhs, rhs, .. }
            | Expr::AssignExpr { lhs, rhs, .. } => {
                self.expr(lhs, at);
                self.expr(rhs, at);
            }
            Expr::Membership { key, value, collection, .. } => {
                for part in key.iter().chain([value, collection]) {
                    self.expr(part, at);
                }
            }
            _ => {}
        }
    }

    /// What stands in the brackets of a reference, and what it begins with.
    fn indices(&mut self, expr: &Ref<Expr>, at: &At<'_>) {
        match expr.as_ref() {
            Expr::RefBrack { refr, index, .. } => {
                self.expr(index, at);
                self.indices(refr, at);
            }
            Expr::RefDot { refr, .. } => self.indices(refr, at),
            Expr::Var { .. } => {}
            _ => self.expr(expr, at),
        }
    }

    /// Reports every rule that needs itself. Without a stack: packs are bounded, depth is not.
    fn cycles(&mut self) {
        let mut looping = Vec::new();
        for start in self.needs.keys() {
            let mut seen = BTreeSet::new();
            let mut rest: Vec<&String> = self.needs[start].iter().collect();
            while let Some(next) = rest.pop() {
                if next == start {
                    looping.push(start.clone());
                    break;
                }
                if seen.insert(next) {
                    rest.extend(self.needs.get(next).into_iter().flatten());
                }
            }
        }
        for rule in looping {
            if let Some(span) = self.places.get(&rule).cloned() {
                self.report(&span, format!("The rule `{rule}` needs itself. Rules cannot loop."));
            }
        }
    }
}
