//! Compares a plan that was just made with one that was approved and turned stale: whether it does
//! exactly the same, so that the approval of the old one is an approval of the new one.
//!
//! Only where it is asked for: it costs one more `show`. Whatever cannot be compared is different.

use slipway_domain::deployment::Operation;
use slipway_domain::port::driver::{ApprovedPlan, DriverError, Equality, Run};

use crate::context::Context;
use crate::host::Host;
use crate::plan::{self, Fresh, Laid};
use crate::stream;
use crate::subset::{self, Document, RunKey, equal};
use crate::workspace::{blocking, write_private};

const STEP: &str = "compare";

/// What a new plan is compared with.
pub(crate) struct Asked {
    pub(crate) approved: ApprovedPlan,
    /// What the new plan is for.
    pub(crate) operation: Operation,
}

/// Compares, in the workspace in which the new plan was made: what is installed there is what the
/// lock file of both names.
pub(crate) async fn compare(
    host: &Host,
    run: &dyn Run,
    laid: &Laid,
    asked: Asked,
    fresh: &Fresh,
) -> Result<Equality, DriverError> {
    let Asked { approved, operation } = asked;
    let planned = &fresh.planned;
    stream::step(run, STEP, None);
    if let Some(why) = beforehand(laid, &approved, fresh) {
        return Ok(Equality::Different(vec![why]));
    }
    let binding = subset::bound(planned, &approved.variables_digest, operation.as_str());
    let ApprovedPlan { binding: old_binding, plan_file, context, key, .. } = approved;
    let file = laid.workspace.approved_plan_file();
    let context = {
        let file = file.clone();
        blocking(move || {
            write_private(&file, &plan_file)?;
            Ok(Context::open(&context).ok().map(|(context, _)| context))
        })
        .await?
    };
    let Some(context) = context else {
        return Ok(different("what was packed with the approved plan cannot be read any more"));
    };
    // What the old plan hides, the lines below must not show.
    run.hide(context.secrets);
    let old = match plan::show(host, run, &laid.workspace, &file).await {
        Ok(json) => json,
        Err(DriverError::Permanent { summary, .. }) => {
            return Ok(different(&format!(
                "the approved plan cannot be shown any more: {summary}"
            )));
        }
        Err(error) => return Err(error),
    };
    let (new, redactor) = (fresh.json.clone(), run.redactor());
    blocking(move || {
        let documents = (Document::read(&old), Document::read(&new));
        let (old, new) = match documents {
            (Ok(old), Ok(new)) => (old, new),
            (Err(why), _) => return Ok(different(&format!("the approved plan: {why}"))),
            (_, Err(why)) => return Ok(different(&format!("the new plan: {why}"))),
        };
        let answer = equal(
            subset::Planned { binding: &old_binding, document: &old },
            subset::Planned { binding: &binding, document: &new },
            &RunKey::new(key),
            &redactor,
        );
        Ok(match answer {
            Ok(()) => Equality::Equal,
            Err(refused) => Equality::Different(refused.lines()),
        })
    })
    .await
}

fn different(why: &str) -> Equality {
    Equality::Different(vec![why.to_owned()])
}

/// Why the approved plan need not even be looked at.
fn beforehand(laid: &Laid, approved: &ApprovedPlan, fresh: &Fresh) -> Option<String> {
    let (old, new) = (&approved.binding, &fresh.planned);
    if old.tool != new.tool {
        return Some(format!("the tool is another one: approved {}, now {}", old.tool, new.tool));
    }
    if old.lock_file != new.lock_file_digest {
        return Some("the dependency lock file is another one".to_owned());
    }
    if slipway_domain::artifact::digest(&approved.plan_file) != old.plan_file {
        return Some("the file of the approved plan has another digest".to_owned());
    }
    laid.keeping.is_own().then(|| {
        "the configuration names a backend of its own: Slipway cannot tell what wrote there since \
         the approval"
            .to_owned()
    })
}
