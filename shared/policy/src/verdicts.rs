//! From what a prepared pack said to findings: only those that are kept are written out.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::compiled::{Program, Told};
use crate::finding::{Evaluation, Finding, RuleInfo, Severity, State, Verdict};
use crate::limits::Limits;
use crate::values::Val;

/// What an unknown finding begins with.
pub(crate) const NOT_YET: &str =
    "Known only after apply, so it cannot be judged yet. If it turns out badly: ";

/// One finding, before it is written out. It compares as [`Finding::order`] does: rules have the
/// numbers of their ids in order.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Light<'a> {
    verdict: Reverse<Verdict>,
    severity: Reverse<Severity>,
    rule: usize,
    address: Cow<'a, str>,
    /// Whether it is certain, turned around: certain ones come first.
    uncertain: bool,
    message: &'a str,
}

/// What a pack says of a document.
pub(crate) struct Verdicts {
    verdict: Verdict,
    findings: Vec<Finding>,
    left_off: usize,
}

impl Verdicts {
    /// The same, with the digests of the pack and of what it was asked about.
    pub(crate) fn with(self, pack_digest: String, input_digest: String) -> Evaluation {
        let Self { verdict, findings, left_off } = self;
        Evaluation { verdict, findings, left_off, pack_digest, input_digest }
    }
}

/// Everything that was said, in order, joined and bounded.
pub(crate) fn evaluation(
    program: &Program,
    rules: &BTreeMap<String, RuleInfo>,
    said: &[Told<'_>],
    limits: &Limits,
) -> Result<Verdicts, String> {
    let infos: Vec<(&String, &RuleInfo)> = rules.iter().collect();
    let numbers: BTreeMap<&str, usize> =
        infos.iter().enumerate().map(|(at, (id, _))| (id.as_str(), at)).collect();
    let mut found = Vec::with_capacity(said.len());
    for told in said {
        let wrong = |what: &str| {
            let package = program.package(told.package);
            format!("`result` of the package `{package}` {what}.")
        };
        let id = told.rule.text().unwrap_or_default();
        let Some(number) = numbers.get(id) else {
            return Err(wrong(&format!("names a rule `{id}` without an entry in `rules`")));
        };
        let info = infos[*number].1;
        let verdict = if told.certain { info.verdict() } else { Verdict::Unknown };
        if verdict == Verdict::RequireRole && info.role.is_none() {
            return Err(wrong("asks for a role without naming one"));
        }
        found.push(Light {
            verdict: Reverse(verdict),
            severity: Reverse(info.severity),
            rule: *number,
            address: cut(told.address.text().unwrap_or_default(), limits.text_bytes),
            uncertain: !told.certain,
            message: told.message.text().ok_or_else(|| wrong("has no `message`"))?,
        });
    }
    // What is certain outweighs what may be, also where the verdict on it is milder.
    let whose = |a: &Light<'_>, b: &Light<'_>| {
        (a.rule, &a.address, a.uncertain).cmp(&(b.rule, &b.address, b.uncertain))
    };
    found.sort_by(|a, b| whose(a, b).then_with(|| a.cmp(b)));
    found.dedup_by(|b, a| (a.rule, &a.address) == (b.rule, &b.address));
    found.sort();
    let verdict = found.first().map_or(Verdict::Pass, |light| light.verdict.0);
    let left_off = found.len().saturating_sub(limits.findings);
    found.truncate(limits.findings);
    let most = limits.text_bytes;
    let findings = found.into_iter().map(|light| {
        let (id, info) = infos[light.rule];
        let message = if light.uncertain {
            Cow::Owned(format!("{NOT_YET}{}", light.message))
        } else {
            Cow::Borrowed(light.message)
        };
        Finding {
            tool: Finding::POLICY.to_owned(),
            rule: cut(id, most).into_owned(),
            title: cut(&info.title, most).into_owned(),
            severity: info.severity,
            address: light.address.into_owned(),
            message: cut(&message, most).into_owned(),
            remedy: cut(&info.remedy, most).into_owned(),
            aliases: info.aliases.clone(),
            also_found_by: Vec::new(),
            suppressed: None,
            state: if light.uncertain { State::Unknown } else { State::Fail },
            verdict: light.verdict.0,
            role: info.role.as_deref().map(|role| cut(role, most).into_owned()),
            file: None,
            line: None,
            exemption: None,
        }
    });
    let findings = findings.collect();
    Ok(Verdicts { verdict, findings, left_off })
}

/// Bytes of a finding without its texts, and of what an unknown one begins with.
const AROUND: usize =
    r#"{"address":"","message":"","rule":"","state":"unknown"},"#.len() + NOT_YET.len();

/// Refuses an answer that has more bytes than there may be, as JSON; what is said twice counts once.
pub(crate) fn bounded(said: &mut Vec<Told<'_>>, most: usize) -> Result<(), String> {
    // A byte becomes six at most.
    let texts = |told: &Told<'_>| {
        let text = |part: Val<'_>| part.text().map(str::len);
        Some(text(told.address)? + text(told.message)? + text(told.rule)?)
    };
    let at_most = said.iter().try_fold(0, |sum, told| Some(sum + AROUND + 6 * texts(told)?));
    if at_most.is_some_and(|bytes| bytes <= most) {
        return Ok(());
    }
    if size(said) > most {
        let all: BTreeSet<Told<'_>> = std::mem::take(said).into_iter().collect();
        said.extend(all);
        if size(said) > most {
            return Err(format!("The answer of the policy is larger than {most} bytes."));
        }
    }
    Ok(())
}

/// Bytes of `{"address":…,"message":…,"rule":…,"state":…},` for each.
fn size(said: &[Told<'_>]) -> usize {
    let one = |told: &Told<'_>| {
        let parts = [told.address, told.message, told.rule];
        let not_yet = if told.certain { NOT_YET.len() } else { 0 };
        AROUND - not_yet + parts.into_iter().map(|part| json_size(part)).sum::<usize>()
    };
    said.iter().map(one).sum()
}

fn json_size(value: Val<'_>) -> usize {
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..=0x1f => 6,
        _ => 1,
    };
    match value {
        Val::Text(text) => text.bytes().map(escaped).sum::<usize>(),
        other => other.to_value().to_string().len(),
    }
}

/// The first bytes of a text, whole characters only.
pub(crate) fn cut(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most {
        return Cow::Borrowed(text);
    }
    let end = (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    Cow::Owned(format!("{}…", &text[..end]))
}
