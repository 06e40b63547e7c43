//! What may follow from what became of a run: what has to be asked, what is taken into the state,
//! and what may be done again. Takes in what a person said. Pure.

use std::collections::{BTreeMap, BTreeSet};

use slipway_domain::plan::Action;
use slipway_domain::recovery::{
    InDoubt, LostResource, RecoveryReport, Resolution, ResolutionOutcome,
};

use super::harmless::is_harmless;
use super::state::{self, Recorded, UnreadableState};
use super::{Address, Doubt, Lost, Obstacle, Recovery, is_successor};
use crate::journal::{Journal, Phase};
use crate::subset::Document;

/// What is known.
#[derive(Clone, Copy)]
pub(crate) struct Facts<'a> {
    /// Everything that was done under the approval.
    pub(crate) journal: &'a Journal,
    /// What was kept of its state.
    pub(crate) state: Option<&'a [u8]>,
    /// What was approved.
    pub(crate) approved: &'a Document,
    /// Whether the journal is whole.
    pub(crate) collected: bool,
    /// What a person said.
    pub(crate) resolutions: &'a [Resolution],
    /// Whether the tool takes things in by `import` blocks.
    pub(crate) knows_imports: bool,
    /// Whether the configuration may have an `import` block of its own for an address.
    pub(crate) declared: &'a dyn Fn(&Address) -> bool,
}

/// What follows.
#[derive(Debug)]
pub(crate) struct Judgement {
    /// The lists, with the imports. Somebody must be asked when anything is in doubt.
    pub(crate) report: RecoveryReport,
    /// Addresses where it does not matter, or where a person has said, that something may have been
    /// made already.
    pub(crate) settled: BTreeSet<String>,
    /// Addresses of what is to be made anew although the state has it.
    pub(crate) replace: Vec<String>,
    /// Addresses of what the state has as tainted, and a person as whole.
    pub(crate) untaint: Vec<String>,
    /// Addresses of what would be taken into the state without a word of a person about it.
    pub(crate) unasked: BTreeSet<String>,
    /// What a person said that was of no use; a sentence each.
    pub(crate) unused: Vec<String>,
}

impl Judgement {
    fn new(collected: bool) -> Self {
        let report = RecoveryReport {
            collected,
            done: Vec::new(),
            lost: Vec::new(),
            in_doubt: Vec::new(),
            tainted: Vec::new(),
            failed: Vec::new(),
            untouched: Vec::new(),
            imports: BTreeMap::new(),
            refusals: Vec::new(),
        };
        Self {
            report,
            settled: BTreeSet::new(),
            replace: Vec::new(),
            untaint: Vec::new(),
            unasked: BTreeSet::new(),
            unused: Vec::new(),
        }
    }
}

/// What sort of question it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Question {
    /// Something may have been made that nobody knows the id of.
    Made,
    /// What the state has may be changed or gone. The next refresh will see, as far as it can.
    Changed,
    /// It is there, and its provisioners may not have come to their end.
    Provisioned,
    /// The same, and the tool, which was stopped too, has it for half made.
    Tainted,
}

struct Candidate {
    question: Question,
    doubt: InDoubt,
}

/// Judges what became of a run.
pub(crate) fn judge(facts: Facts<'_>) -> Result<Judgement, UnreadableState> {
    let recovery = Recovery::of(facts.journal, facts.state, facts.approved)?;
    let recorded = state::read(facts.state)?;
    let resolutions = facts.resolutions.iter().map(|r| (r.address.as_str(), r)).collect();
    let mut judge = Judge {
        facts,
        recorded,
        resolutions,
        used: BTreeSet::new(),
        candidates: BTreeMap::new(),
        judgement: Judgement::new(facts.collected),
    };
    judge.collect(&recovery);
    judge.lists(recovery);
    judge.answer();
    Ok(judge.finish())
}

struct Judge<'a> {
    facts: Facts<'a>,
    recorded: BTreeMap<Address, Recorded>,
    resolutions: BTreeMap<&'a str, &'a Resolution>,
    used: BTreeSet<&'a str>,
    /// By address, in the order of what happened there.
    candidates: BTreeMap<String, Vec<Candidate>>,
    judgement: Judgement,
}

impl<'a> Judge<'a> {
    fn recorded(&self, address: &str) -> Option<&Recorded> {
        self.recorded.get(&Address::parse(address)?)
    }

    /// Whether the state has at the address what this run made.
    fn has_successor(&self, address: &str) -> bool {
        let predecessor = self.facts.approved.predecessor(address);
        let current = self.recorded(address).and_then(|recorded| recorded.current.as_ref());
        current.is_some_and(|current| is_successor(current, predecessor.as_ref()))
    }

    fn provisioned(&self, address: &str) -> bool {
        let parsed = Address::parse(address);
        parsed.and_then(|parsed| self.facts.approved.provisioners(&parsed)) != Some(false)
    }

    /// Everything that could be asked.
    fn collect(&mut self, recovery: &Recovery) {
        for doubt in &recovery.in_doubt {
            let Doubt { address, action, id } = doubt;
            self.doubtful(address, *action, id.clone(), doubt.words().to_owned());
        }
        // The state learns of a thing before its provisioners have run.
        for address in &recovery.done {
            let history = self.facts.journal.history(address, Action::Create);
            if history.started > 0 && history.ended.is_none() {
                self.half_made(address);
            }
        }
        // A provisioner that is cut off in its last moment has done everything and failed.
        for address in &recovery.tainted {
            self.tainted(address);
        }
        if self.facts.collected {
            return;
        }
        let approved = self.facts.approved;
        let all: BTreeSet<&str> = approved.changing().collect();
        for address in all {
            let Some(action) = rest(self.facts.journal, approved, address) else { continue };
            if self.candidates.contains_key(address) {
                continue;
            }
            let makes = !matches!(action, Action::Update | Action::Delete);
            if makes && self.has_successor(address) {
                self.half_made(address);
            } else if makes || self.recorded(address).is_some() {
                let detail =
                    format!("{}: it is not known what was begun in the last moment", words(action));
                self.doubtful(address, action, None, detail);
            }
        }
    }

    fn half_made(&mut self, address: &str) {
        let detail = "exists, and its provisioners may not have come to their end: say \"exists\" \
                      when all is well with it, or \"absent\" to have it made anew";
        self.of_provisioners(Question::Provisioned, address, detail);
    }

    fn tainted(&mut self, address: &str) {
        let detail = "exists, and is marked as tainted: its provisioners were cut off or failed, and \
                      may have done anything up to all of their work: say \"exists\" when all is \
                      well with it, which takes the mark away, or \"absent\" to have it removed \
                      and made anew";
        self.of_provisioners(Question::Tainted, address, detail);
    }

    fn of_provisioners(&mut self, question: Question, address: &str, detail: &str) {
        if !self.provisioned(address) || self.candidates.contains_key(address) {
            return;
        }
        let recorded = self.recorded(address).and_then(|recorded| recorded.current.as_ref());
        let id = recorded.and_then(|current| current.text("id"));
        self.ask(question, address, Action::Create, id, detail.to_owned());
    }

    fn doubtful(&mut self, address: &str, action: Action, id: Option<String>, detail: String) {
        if is_harmless(self.facts.approved, address) {
            self.judgement.settled.insert(address.to_owned());
            return;
        }
        let question = match action {
            Action::Update | Action::Delete => Question::Changed,
            _ => Question::Made,
        };
        self.ask(question, address, action, id, detail);
    }

    fn ask(
        &mut self,
        question: Question,
        address: &str,
        action: Action,
        resource_id: Option<String>,
        detail: String,
    ) {
        let doubt = InDoubt { address: address.to_owned(), action, resource_id, detail };
        let candidate = Candidate { question, doubt };
        self.candidates.entry(address.to_owned()).or_default().push(candidate);
    }

    /// What a person said of an address.
    fn said(&mut self, address: &str) -> Option<&'a Resolution> {
        let (address, resolution) = self.resolutions.get_key_value(address)?;
        self.used.insert(address);
        Some(resolution)
    }

    /// The lists, and what is lost.
    fn lists(&mut self, recovery: Recovery) {
        let (journal, approved) = (self.facts.journal, self.facts.approved);
        let report = &mut self.judgement.report;
        report.tainted = recovery.tainted;
        report.failed = recovery.failed;
        report.untouched = recovery.untouched;
        for address in recovery.done {
            // Of a replacement, one half may be done and the other not begun.
            match rest(journal, approved, &address) {
                Some(_) if journal.history(&address, Action::Create).started == 0 => {
                    report.untouched.push(address);
                }
                _ => report.done.push(address),
            }
        }
        for lost in recovery.lost {
            self.lost(lost);
        }
        self.carry_imports();
        let candidates = &self.candidates;
        let report = &mut self.judgement.report;
        report.done.retain(|address| !candidates.contains_key(address));
        report.tainted.retain(|address| !candidates.contains_key(address));
        report.untouched.retain(|address| !candidates.contains_key(address));
        let lists = [&report.done, &report.tainted, &report.failed, &report.untouched];
        let listed: BTreeSet<&String> = lists.into_iter().flatten().collect();
        // What is simply done again is as good as not begun.
        let again: Vec<String> = self
            .judgement
            .settled
            .iter()
            .filter(|address| !listed.contains(address) && !candidates.contains_key(*address))
            .cloned()
            .collect();
        report.untouched.extend(again);
        report.untouched.sort();
    }

    fn lost(&mut self, lost: Lost) {
        let said = self.said(&lost.address);
        let Lost { address, id, obstacle } = lost;
        let id = id.map(|(_, id)| id);
        self.judgement.report.lost.push(LostResource {
            address: address.clone(),
            resource_id: id.clone(),
            obstacle: obstacle.map(|obstacle| obstacle.words().to_owned()),
        });
        let told = said.and_then(|said| said.id.clone());
        let unasked = said.is_none();
        let problem = match (said.map(|said| said.outcome), obstacle) {
            (Some(ResolutionOutcome::Absent), _) => {
                self.judgement.settled.insert(address);
                return;
            }
            (_, Some(obstacle @ (Obstacle::PlaceTaken | Obstacle::BadAddress))) => {
                Some(format!("{}; say \"absent\" to have it planned anew", obstacle.words()))
            }
            (Some(ResolutionOutcome::Exists), _) if told.is_some() => None,
            (_, None) => None,
            (_, Some(obstacle)) => Some(format!(
                "{}; say \"exists\" with the id that its provider imports it by, or \"absent\" to \
                 have it made anew",
                obstacle.words()
            )),
        };
        let problem = match (problem, told.or_else(|| id.clone())) {
            (None, Some(id)) => {
                if unasked {
                    self.judgement.unasked.insert(address.clone());
                }
                self.import(&address, &id).err()
            }
            (None, None) => Some("its id is needed".to_owned()),
            (problem, _) => problem,
        };
        if let Some(problem) = problem {
            self.judgement.report.in_doubt.push(InDoubt {
                address,
                action: Action::Create,
                resource_id: id,
                detail: format!("exists, and the state does not know it: {problem}"),
            });
        }
    }

    /// What the approved plan takes into the state, by blocks that an earlier recovery wrote, and
    /// what was not recorded: it is to be taken in still, or it would be made a second time.
    fn carry_imports(&mut self) {
        let approved = self.facts.approved;
        for (text, id) in approved.imports() {
            let Some(address) = Address::parse(text) else { continue };
            let known = self.recorded.get(&address).is_some_and(|known| known.current.is_some());
            if !known && !(self.facts.declared)(&address) {
                let imports = &mut self.judgement.report.imports;
                imports.entry(address.to_string()).or_insert_with(|| id.to_owned());
            }
        }
    }

    /// Has something taken into the state.
    fn import(&mut self, address: &str, id: &str) -> Result<(), String> {
        if !self.facts.knows_imports {
            return Err("this version of the tool takes nothing into a state by itself; say \
                        \"absent\" to have it planned anew, or use a newer version"
                .to_owned());
        }
        let parsed = Address::parse(address).filter(|address| !address.data);
        // Written anew, so that what is in the file is what was understood.
        let address = parsed.ok_or_else(|| Obstacle::BadAddress.words().to_owned())?.to_string();
        self.judgement.report.imports.insert(address, id.to_owned());
        Ok(())
    }

    /// Puts what a person said against what could be asked.
    fn answer(&mut self) {
        for (address, candidates) in std::mem::take(&mut self.candidates) {
            let said = self.said(&address);
            for Candidate { question, mut doubt } in candidates {
                let open = match said {
                    None => true,
                    Some(said) => match self.settle(question, said) {
                        Ok(()) => false,
                        Err(detail) => {
                            doubt.detail = format!("{}: {detail}", words(doubt.action));
                            true
                        }
                    },
                };
                if open {
                    self.judgement.report.in_doubt.push(doubt);
                } else {
                    self.judgement.settled.insert(address.clone());
                }
            }
        }
    }

    /// Follows what a person said; says what is missing in it.
    fn settle(&mut self, question: Question, said: &Resolution) -> Result<(), String> {
        let address = &said.address;
        match (question, said.outcome, &said.id) {
            (Question::Made, ResolutionOutcome::Absent, _) | (Question::Changed, _, _) => Ok(()),
            (Question::Provisioned, ResolutionOutcome::Exists, _) => {
                self.judgement.report.done.push(address.clone());
                Ok(())
            }
            (Question::Provisioned, ResolutionOutcome::Absent, _) => {
                self.judgement.replace.push(address.clone());
                Ok(())
            }
            (Question::Tainted, ResolutionOutcome::Exists, _) => {
                self.judgement.untaint.push(address.clone());
                self.judgement.report.done.push(address.clone());
                Ok(())
            }
            // As the mark has it.
            (Question::Tainted, ResolutionOutcome::Absent, _) => {
                self.judgement.report.tainted.push(address.clone());
                Ok(())
            }
            (Question::Made, ResolutionOutcome::Exists, id) => {
                let taken = self.recorded(address).is_some_and(|known| known.current.is_some());
                match id {
                    _ if taken => Err(format!(
                        "{}; say \"absent\" to have it planned anew",
                        Obstacle::PlaceTaken.words()
                    )),
                    None => Err("to take it into the state, its id is needed".to_owned()),
                    Some(id) => self.import(address, id),
                }
            }
        }
    }

    fn finish(mut self) -> Judgement {
        for address in self.resolutions.keys().filter(|address| !self.used.contains(*address)) {
            self.judgement.unused.push(format!(
                "{address}: nothing is in doubt there, so what was said of it was not used"
            ));
        }
        self.judgement.report.done.sort();
        self.judgement.report.tainted.sort();
        self.judgement.report.in_doubt.sort_by(|a, b| a.address.cmp(&b.address));
        self.judgement
    }
}

/// What is left of what was planned at an address, by the journal alone.
fn rest(journal: &Journal, approved: &Document, address: &str) -> Option<Action> {
    let done = |action| journal.history(address, action).ended == Some(Phase::Completed);
    let planned = approved.action(address)?;
    let left = match planned {
        Action::DeleteThenCreate if done(Action::Create) => None,
        Action::DeleteThenCreate if done(Action::Delete) => Some(Action::Create),
        Action::CreateThenDelete if done(Action::Create) => Some(Action::Delete),
        planned => Some(planned),
    };
    left.filter(|action| !done(*action))
}

const fn words(action: Action) -> &'static str {
    match action {
        Action::Update => "may be changed, in part or whole",
        Action::Delete => "may be gone",
        Action::DeleteThenCreate | Action::CreateThenDelete => {
            "may be gone, and what replaces it may exist"
        }
        _ => "may exist",
    }
}

#[cfg(test)]
mod tests;
