//! What deployments make of the central configuration: `${config.KEY}` and `${secret.KEY}` in their
//! variables.
//!
//! Variables are kept as they were given. When they are submitted it is looked whether everything
//! that they name is there; they are filled in the worker, for a plan with what holds then, and for
//! what follows from that plan with just the same versions. The plan's binding holds the versions, not
//! the values.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use slipway_domain::deployment::{Deployment, Variables};
use slipway_domain::fault::{Code, Fault, FieldError};
use slipway_domain::redact::Redactor;
use slipway_domain::secret::Secret;
use slipway_domain::setting::effective::{EffectiveSetting, EffectiveSettings};
use slipway_domain::setting::reference::{Reference, are_plain, fill, references_in, uses_secret};
use slipway_domain::setting::{SettingKind, SettingScope, SettingUse};
use slipway_domain::stack::StackKey;
use slipway_domain::variable::secrets_in;
use slipway_store::Tx;

use super::cache;
use crate::Ctx;
use crate::execution::hidden;

/// Variables as they can be checked before a worker fills them.
pub(crate) struct Checkable {
    /// With what is no secret filled in.
    values: Variables,
    /// Those that use a secret: what they come to is not known here.
    open: BTreeSet<String>,
}

impl Checkable {
    /// Variables in which nothing is to be filled.
    pub(crate) fn plain(variables: &Variables) -> Self {
        Self { values: variables.clone(), open: BTreeSet::new() }
    }

    /// The values, for the checks that there are.
    pub(crate) fn values(&self) -> &Variables {
        &self.values
    }

    /// The variable that a pointer is about, if it uses a secret.
    pub(crate) fn open_at(&self, pointer: &str) -> Option<&str> {
        let about = |name: &&String| {
            let at = format!("/variables/{}", name.replace('~', "~0").replace('/', "~1"));
            pointer.strip_prefix(&at).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.open.iter().find(about).map(String::as_str)
    }
}

/// Looks whether everything that variables name is there for a stack. Secrets are not opened.
pub(crate) async fn check(
    cx: &Ctx,
    stack: &StackKey,
    variables: &Variables,
) -> Result<Checkable, Fault> {
    if are_plain(variables) {
        return Ok(Checkable::plain(variables));
    }
    let problems = stack.problems();
    if !problems.is_empty() {
        return Err(Fault::fields(Code::InvalidInput, problems));
    }
    let place = SettingScope::of_stack(stack);
    let remembered = cache::effective(cx, place.clone()).await?;
    let filled = match filled_in(variables, &remembered.settings) {
        Ok(filled) => filled,
        // It may have been made a moment ago, elsewhere.
        Err(_) => filled_in(variables, &cache::read_anew(cx, place).await?)
            .map_err(|problems| Fault::fields(Code::InvalidInput, problems))?,
    };
    let open = variables
        .iter()
        .filter(|(_, value)| uses_secret(value))
        .map(|(name, _)| name.clone())
        .collect();
    Ok(Checkable { values: filled, open })
}

fn filled_in(
    variables: &Variables,
    there: &EffectiveSettings,
) -> Result<Variables, Vec<FieldError>> {
    fill(variables, |reference| {
        let item = found(there, reference)?;
        Ok(if reference.secret { Value::String(String::new()) } else { item.value.clone() })
    })
}

/// The item that a reference means.
fn found<'a>(
    there: &'a EffectiveSettings,
    reference: &Reference,
) -> Result<&'a EffectiveSetting, String> {
    let key = &reference.key;
    let item = there.get(key).ok_or_else(|| {
        let looked: Vec<_> = there.place.looked_at().iter().map(ToString::to_string).collect();
        format!("there is no setting {key:?}; looked in: {}", looked.join(", "))
    })?;
    match (reference.secret, item.kind == SettingKind::Secret) {
        (false, true) => {
            Err(format!("{key:?} is a secret (of {}): write ${{secret.{key}}}", item.scope))
        }
        (true, false) => {
            Err(format!("{key:?} is no secret (of {}): write ${{config.{key}}}", item.scope))
        }
        _ => Ok(item),
    }
}

/// Variables of a deployment, filled for a run.
pub(crate) struct Filled {
    /// As they were given.
    pub(crate) given: Variables,
    /// With everything filled in, in clear.
    pub(crate) variables: Variables,
    /// What was filled in.
    pub(crate) uses: Vec<SettingUse>,
    secrets: Vec<Secret<String>>,
}

impl Filled {
    /// Variables that name nothing.
    fn plain(given: Variables) -> Self {
        Self { variables: given.clone(), given, uses: Vec::new(), secrets: Vec::new() }
    }

    /// Everything that a redactor must look for.
    pub(crate) fn secrets(&self, of: &Deployment) -> Vec<String> {
        let mut all = secrets_in(&self.variables, &hidden(of));
        all.extend(self.secrets.iter().map(|secret| secret.reveal().clone()));
        all
    }

    /// What takes all of them out.
    pub(crate) fn redactor(&self, of: &Deployment) -> Redactor {
        Redactor::new(self.secrets(of))
    }
}

/// Fills variables with what holds for a stack now.
pub(crate) async fn fill_newest(
    tx: &mut Tx,
    stack: &StackKey,
    given: Variables,
) -> Result<Filled, Fault> {
    if are_plain(&given) {
        return Ok(Filled::plain(given));
    }
    let place = SettingScope::of_stack(stack);
    let items = tx.settings_for(&place).await?;
    let there = EffectiveSettings::of(place, items);
    let mut uses: BTreeMap<Reference, SettingUse> = BTreeMap::new();
    let mut problems = Vec::new();
    for (name, value) in &given {
        for reference in references_in(value) {
            match found(&there, &reference) {
                Ok(item) => {
                    let used = uses.entry(reference.clone()).or_insert_with(|| SettingUse {
                        key: reference.key,
                        secret: reference.secret,
                        setting_id: item.setting_id,
                        scope: item.scope.clone(),
                        version: item.version,
                        variables: Vec::new(),
                    });
                    used.variables.push(name.clone());
                }
                Err(why) => problems.push(FieldError::at(format!("/variables/{name}"), why)),
            }
        }
    }
    if !problems.is_empty() {
        return Err(not_filled(problems));
    }
    fill_with(tx, given, uses.into_values().collect()).await
}

/// The same, with a connection of its own where one is needed at all.
pub(crate) async fn filled_newest(
    cx: &Ctx,
    stack: &StackKey,
    given: Variables,
) -> Result<Filled, Fault> {
    if are_plain(&given) {
        return Ok(Filled::plain(given));
    }
    fill_newest(&mut cx.store.read().await?, stack, given).await
}

/// Fills variables with the very versions that a plan was made with.
pub(crate) async fn fill_planned(
    tx: &mut Tx,
    uses: &[SettingUse],
    given: Variables,
) -> Result<Filled, Fault> {
    if are_plain(&given) {
        return Ok(Filled::plain(given));
    }
    fill_with(tx, given, uses.to_vec()).await
}

/// Fills the variables of a deployment as its newest plan had them; where it has none, with what holds
/// now.
pub(crate) async fn fill_current(tx: &mut Tx, of: &Deployment) -> Result<Filled, Fault> {
    let given = tx.variables(of.id).await?;
    if are_plain(&given) {
        return Ok(Filled::plain(given));
    }
    match tx.latest_plan(of.id).await? {
        Some(plan) => fill_planned(tx, &plan.plan.settings, given).await,
        None => fill_newest(tx, &of.stack, given).await,
    }
}

/// The secrets in the variables of a deployment, to be taken out of something that is shown. Where a
/// setting that it used is not there any more, those that were given with it.
pub(crate) async fn known_secrets(tx: &mut Tx, of: &Deployment) -> Result<Vec<String>, Fault> {
    match fill_current(tx, of).await {
        Ok(filled) => Ok(filled.secrets(of)),
        Err(fault) if fault.code == Code::InvalidInput => {
            Ok(Filled::plain(tx.variables(of.id).await?).secrets(of))
        }
        Err(fault) => Err(fault),
    }
}

async fn fill_with(tx: &mut Tx, given: Variables, uses: Vec<SettingUse>) -> Result<Filled, Fault> {
    let mut secrets = Vec::new();
    let mut values: BTreeMap<Reference, Value> = BTreeMap::new();
    let mut gone = Vec::new();
    for used in &uses {
        let value = if used.secret {
            let secret = tx.setting_secret(used.setting_id, used.version).await?;
            secret.map(|secret| {
                let value = Value::from(secret.reveal().as_str());
                secrets.push(secret);
                value
            })
        } else {
            let version = tx.setting_version(used.setting_id, used.version).await?;
            version.and_then(|row| row.version.value)
        };
        match value {
            Some(value) => {
                values.insert(Reference { secret: used.secret, key: used.key.clone() }, value);
            }
            None => gone.extend(used.variables.iter().map(|name| {
                let why = format!(
                    "version {} of the setting {:?} ({}), with which the plan was made, is gone; \
                     make a new plan",
                    used.version, used.key, used.setting_id
                );
                FieldError::at(format!("/variables/{name}"), why)
            })),
        }
    }
    if !gone.is_empty() {
        return Err(not_filled(gone));
    }
    let variables = fill(&given, |reference| {
        values
            .get(reference)
            .cloned()
            .ok_or_else(|| format!("the plan was made without {reference}; make a new plan"))
    })
    .map_err(not_filled)?;
    Ok(Filled { given, variables, uses, secrets })
}

fn not_filled(problems: Vec<FieldError>) -> Fault {
    let why: Vec<_> =
        problems.iter().map(|one| format!("{}: {}", one.pointer, one.detail)).collect();
    Fault { detail: why.join("; "), ..Fault::fields(Code::InvalidInput, problems) }
}

/// What variables and the versions that they were filled with come to, for a plan's binding.
pub(crate) fn bound(given: &Variables, uses: &[SettingUse]) -> Result<Vec<u8>, Fault> {
    let mut json = serde_json::to_value(given).map_err(Fault::internal)?;
    if !uses.is_empty() {
        let versions: Vec<_> = uses
            .iter()
            .map(|used| serde_json::json!([used.key, used.secret, used.setting_id, used.version]))
            .collect();
        // A list, which variables alone never are.
        json = serde_json::json!([json, versions]);
    }
    Ok(json.to_string().into_bytes())
}
