//! A compiled pack, and how it judges.

use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroU32;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use regorus::Value;
use regorus::utils::limits::ExecutionTimerConfig;
use sha2::{Digest as _, Sha256};
use slipway_domain::plan::ResourceChange;
use slipway_domain::scan::RuleBook;

use crate::answer::{Ask, Said, ask_all, asks, text};
use crate::compiled::{Program, Stop};
use crate::error::{PackError, Problem};
use crate::facts::{self, Context, Wants};
use crate::finding::{Evaluation, Finding, RuleInfo, Severity, State, Verdict};
use crate::limits::Limits;
use crate::lint;
use crate::nesting;
use crate::pack::{Module, Pack};
use crate::room::{beside, contained, with_room};
use crate::values::{Arena, Val};
use crate::verdicts::{self, Verdicts, cut};

/// How many steps of the interpreter pass between two looks at the clock.
const CHECK_INTERVAL: NonZeroU32 = NonZeroU32::new(64).unwrap();

/// The digest of a document with more bytes is worked out on a thread of its own: of others it takes
/// longer to begin one.
const LARGE: usize = 64 << 10;

/// Bytes that the shipped pack may take besides the plan, since nothing is given back before it is
/// done. 20,000 resources take a tenth.
const MEMORY: usize = 1 << 30;

/// What is judged.
#[derive(Debug, Clone, Copy)]
pub struct Document<'a> {
    /// The normalised plan; the only source when there is no document of Terraform.
    pub changes: &'a [ResourceChange],
    /// What `terraform show -json` printed.
    pub terraform: Option<&'a [u8]>,
    /// For whom, where, at what cost.
    pub context: &'a Context,
}

/// A pack, compiled. Cheap to share; every evaluation works on a copy of its own.
#[derive(Debug, Clone)]
pub struct Engine {
    base: regorus::Engine,
    asks: Vec<Ask>,
    /// The shipped pack, prepared.
    program: Option<&'static Program>,
    rules: BTreeMap<String, RuleInfo>,
    wants: Wants,
    limits: Limits,
    digest: String,
}

impl Engine {
    /// Lints and compiles a pack.
    pub fn compile(pack: &Pack, limits: Limits) -> Result<Self, PackError> {
        with_room(|| Self::compile_here(pack, limits, pack.is_shipped()))
            .unwrap_or_else(|why| Err(Problem::whole(why).into()))
    }

    /// The same, interpreted also where it is the shipped pack: what it says must not depend on it,
    /// and a test looks.
    #[doc(hidden)]
    pub fn compile_as_text(pack: &Pack, limits: Limits) -> Result<Self, PackError> {
        with_room(|| Self::compile_here(pack, limits, false))
            .unwrap_or_else(|why| Err(Problem::whole(why).into()))
    }

    fn compile_here(pack: &Pack, limits: Limits, prepare: bool) -> Result<Self, PackError> {
        let outline = lint::outline(pack, &limits)?;
        let (asks, text) = asks(&outline);
        let mut base = load(pack, &limits)?;
        // What cannot be prepared is interpreted: slower, and the same.
        let program = if prepare { prepared(&mut base) } else { None };
        let path = "answer.rego".to_owned();
        add(&mut base, Module { path, text })?;
        // The first evaluation prepares the interpreter; copies of it are prepared then. What the
        // packages say of their rules is read with it.
        base.set_input(Value::new_object());
        let said = base
            .eval_rule("data.slipway_answer.rules".to_owned())
            .map_err(|e| Problem::from_engine("", &e.to_string()))?;
        let rules = read_rules(&said, limits.output_bytes)?;
        Ok(Self {
            base,
            asks,
            program,
            rules,
            wants: Wants::of(pack),
            limits,
            digest: pack.digest(),
        })
    }

    /// The version of the pack.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// What the pack says of its rules, by id.
    pub const fn rules(&self) -> &BTreeMap<String, RuleInfo> {
        &self.rules
    }

    /// The rules of the pack by their ids in other tools: what a scanner finds is rated by it.
    pub fn rule_book(&self) -> RuleBook {
        let mut book = RuleBook::new();
        for (id, rule) in &self.rules {
            book.add(id, rule.severity, &rule.remedy, &rule.aliases);
        }
        book
    }

    /// The input that policies see, as JSON: for dry runs, and for other interpreters of Rego.
    pub fn input(&self, document: &Document<'_>) -> Result<serde_json::Value, String> {
        serde_json::to_value(self.gather(document)?).map_err(|e| e.to_string())
    }

    /// Judges a document. Takes as long as the limits allow, so it belongs on a blocking thread.
    /// It does not fail: a policy that cannot be evaluated denies.
    pub fn evaluate(&self, document: &Document<'_>) -> Evaluation {
        self.evaluate_within(document, self.limits.time)
    }

    /// The same, in less time than the limits allow: what is left of the time of several.
    pub fn evaluate_within(&self, document: &Document<'_>, time: Duration) -> Evaluation {
        let time = time.min(self.limits.time);
        // The interpreter promises not to panic. A gate does not rest on promises.
        let judged = match self.program {
            Some(program) => contained(|| {
                let large = document.terraform.is_some_and(|bytes| bytes.len() > LARGE);
                beside(large, || digest_of(document), || self.judged(program, document, time))
            })
            .map(|(digest, said)| {
                let said = said.map(|said| said.with(self.digest.clone(), digest.clone()));
                (digest, said)
            }),
            None => with_room(|| {
                let digest = digest_of(document);
                let digests = (self.digest.clone(), digest.clone());
                let said = self.findings(document, time).map(|findings| {
                    Evaluation::of(findings, self.limits.findings, digests.0, digests.1)
                });
                (digest, said)
            }),
        };
        let (digest, why) = match judged {
            Ok((_, Ok(evaluation))) => return evaluation,
            Ok((digest, Err(why))) => (digest, cut(&why, self.limits.text_bytes).into_owned()),
            Err(why) => (digest_of(document), why.to_owned()),
        };
        let findings = vec![Finding::policy_error(why)];
        Evaluation::of(findings, self.limits.findings, self.digest.clone(), digest)
    }

    /// What the shipped pack says, prepared.
    fn judged(
        &self,
        program: &Program,
        document: &Document<'_>,
        time: Duration,
    ) -> Result<Verdicts, String> {
        let arena = Arena::default();
        let input = facts::gather(document, self.wants, &self.limits, &arena)?;
        // What is left of an age counts as one.
        let now = Instant::now();
        let deadline = now.checked_add(time).unwrap_or_else(|| now + Duration::from_hours(1));
        let mut said =
            program.judge(input, deadline, MEMORY, &arena).map_err(|stop| match stop {
                Stop::Late => late(time),
                Stop::Failed(why) => explain(&why, time),
            })?;
        verdicts::bounded(&mut said, self.limits.output_bytes)?;
        verdicts::evaluation(program, &self.rules, &said, &self.limits)
    }

    /// The input as the interpreter holds it.
    fn gather(&self, document: &Document<'_>) -> Result<Value, String> {
        let arena = Arena::default();
        facts::gather(document, self.wants, &self.limits, &arena).map(Val::to_shared)
    }

    fn findings(&self, document: &Document<'_>, time: Duration) -> Result<Vec<Finding>, String> {
        let input = self.gather(document)?;
        let said = ask_all(&self.base, &self.asks, &input, time, self.limits.output_bytes)?;
        said.iter().map(|said| self.finding(said)).collect()
    }

    fn finding(&self, Said { package, kind, it }: &Said) -> Result<Finding, String> {
        let wrong = |what: &str| format!("`{kind}` of the package `{package}` {what}.");
        let text = |key: &str| text(&it[key]).map(str::to_owned);
        let (message, rule) = match it {
            Value::String(message) => (Some(message.to_string()), None),
            Value::Object(_) => (text("message").or_else(|| text("msg")), text("rule")),
            _ => return Err(wrong("holds something that is neither a text nor an object")),
        };
        let rule = rule.unwrap_or_else(|| package.clone());
        let info = self.rules.get(&rule);
        let severity = match &it["severity"] {
            Value::Null | Value::Undefined => info.map_or(Severity::High, |info| info.severity),
            given => severity(given).ok_or_else(|| {
                wrong("gives a severity that is none of low, medium, high, critical")
            })?,
        };
        let (state, verdict) = match kind.as_str() {
            "deny" => (State::Fail, Verdict::Deny),
            "warn" => (State::Fail, Verdict::Warn),
            "require_role" => (State::Fail, Verdict::RequireRole),
            "unknown" => (State::Unknown, Verdict::Unknown),
            _ => match (text("state").as_deref(), info) {
                (_, None) => {
                    return Err(wrong(&format!(
                        "names a rule `{rule}` without an entry in `rules`"
                    )));
                }
                (Some("fail"), Some(info)) => (State::Fail, info.verdict()),
                (Some("unknown"), Some(_)) => (State::Unknown, Verdict::Unknown),
                _ => return Err(wrong("gives a state that is neither `fail` nor `unknown`")),
            },
        };
        let role = text("role").or_else(|| info.and_then(|info| info.role.clone()));
        if verdict == Verdict::RequireRole && role.is_none() {
            return Err(wrong("asks for a role without naming one"));
        }
        let cut = |text: &str| cut(text, self.limits.text_bytes).into_owned();
        Ok(Finding {
            tool: Finding::POLICY.to_owned(),
            title: cut(info.map_or(rule.as_str(), |info| info.title.as_str())),
            message: cut(&message.ok_or_else(|| wrong("has no `message`"))?),
            remedy: cut(&text("remedy")
                .or_else(|| info.map(|i| i.remedy.clone()))
                .unwrap_or_default()),
            address: cut(&text("address").unwrap_or_default()),
            rule: cut(&rule),
            aliases: info.map(|i| i.aliases.clone()).unwrap_or_default(),
            also_found_by: Vec::new(),
            suppressed: None,
            severity,
            state,
            verdict,
            role: role.map(|role| cut(&role)),
            file: None,
            line: None,
            exemption: None,
        })
    }
}

/// The shipped pack, prepared; the same for as long as the process runs. None where it cannot be.
fn prepared(shipped: &mut regorus::Engine) -> Option<&'static Program> {
    static PREPARED: OnceLock<Option<Program>> = OnceLock::new();
    let compile = || Program::compile(shipped.get_modules(), Box::leak(Box::default())).ok();
    PREPARED.get_or_init(compile).as_ref()
}

/// The interpreter with a pack and the helpers in it. Every file that does not parse is named.
pub(crate) fn load(pack: &Pack, limits: &Limits) -> Result<regorus::Engine, PackError> {
    let mut engine = regorus::Engine::new();
    // As OPA does: a builtin that fails is undefined. Limits are errors in any case.
    engine.set_strict_builtin_errors(false);
    engine.set_execution_timer_config(timer(limits.time));
    let mut problems = Vec::new();
    for module in pack.modules() {
        if let Some(problem) = nesting::problem(&module.path, &module.text) {
            problems.push(problem);
        } else if let Err(e) = engine.add_policy(module.path.clone(), module.text.clone()) {
            problems.push(Problem::from_engine(&module.path, &e.to_string()));
        }
    }
    if !problems.is_empty() {
        return Err(PackError { problems });
    }
    // What looks at rules takes time by the square of their number, and nobody stops it.
    let rules: usize = engine.get_modules().iter().map(|module| module.policy.len()).sum();
    if rules > limits.rules {
        return Err(Problem::whole(format!(
            "The pack has {rules} rules; {} are the most. Split it into several packs.",
            limits.rules
        ))
        .into());
    }
    for module in Pack::library() {
        add(&mut engine, module)?;
    }
    Ok(engine)
}

fn add(engine: &mut regorus::Engine, Module { path, text }: Module) -> Result<(), Problem> {
    let added = engine.add_policy(path.clone(), text);
    added.map(drop).map_err(|e| Problem::from_engine(&path, &e.to_string()))
}

pub(crate) const fn timer(limit: Duration) -> ExecutionTimerConfig {
    ExecutionTimerConfig { limit, check_interval: CHECK_INTERVAL }
}

fn severity(given: &Value) -> Option<Severity> {
    serde_json::from_value(text(given)?.into()).ok()
}

fn read_rules(said: &Value, most: usize) -> Result<BTreeMap<String, RuleInfo>, PackError> {
    let said = bounded(said, most).map_err(Problem::whole)?;
    let mut rules = BTreeMap::new();
    for object in said.as_array().into_iter().flatten() {
        let object = object
            .as_object()
            .ok_or_else(|| Problem::whole("`rules` must be an object of rule id to metadata."))?;
        for (id, info) in object {
            let info = serde_json::from_value(info.clone())
                .map_err(|e| Problem::whole(format!("The metadata of the rule `{id}`: {e}.")))?;
            if rules.insert(id.clone(), info).is_some() {
                return Err(Problem::whole(format!("Two rules have the id `{id}`.")).into());
            }
        }
    }
    Ok(rules)
}

/// Counts what is written and stops when it is too much, so that a large answer is never a large
/// text too.
struct Bounded {
    bytes: Vec<u8>,
    most: usize,
}

impl io::Write for Bounded {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + buf.len() > self.most {
            return Err(io::Error::other("too large"));
        }
        self.bytes.extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) fn bounded(value: &Value, most: usize) -> Result<serde_json::Value, String> {
    if *value == Value::Undefined {
        return Err("The policy did not answer.".to_owned());
    }
    let mut to = Bounded { bytes: Vec::new(), most };
    serde_json::to_writer(&mut to, value)
        .map_err(|_| format!("The answer of the policy is larger than {most} bytes."))?;
    serde_json::from_slice(&to.bytes).map_err(|e| format!("The answer of the policy: {e}."))
}

pub(crate) fn explain(error: &impl std::string::ToString, time: Duration) -> String {
    let text = error.to_string();
    if text.contains("time limit") {
        return late(time);
    }
    format!("The policy failed: {}", Problem::from_engine("", &text))
}

fn late(time: Duration) -> String {
    format!("The policy took longer than {} s and was stopped.", time.as_secs_f32())
}

/// On how many threads a document is worth being judged: for a small one it takes longer to begin
/// one.
fn digest_of(document: &Document<'_>) -> String {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    part(document.terraform.unwrap_or_default());
    part(&serde_json::to_vec(document.changes).unwrap_or_default());
    part(&serde_json::to_vec(document.context).unwrap_or_default());
    format!("sha256:{}", hex::encode(hash.finalize()))
}
