//! Looks for drift: source → workspace → init if it must → `plan -refresh-only -json -out` → `show
//! -json`. The plan is read and forgotten: nothing applies it, and no lock is taken, neither ours nor
//! that of a backend of the configuration's own.

use slipway_domain::deployment::Operation;
use slipway_domain::drift::DriftFound;
use slipway_domain::port::driver::{DriftInput, DriverError, Run};

use crate::context::Keeping;
use crate::failure;
use crate::init;
use crate::plan::{self, Goal, Inputs, Made, lay};
use crate::show::{self, DriftShown};
use crate::toolbox::Toolbox;
use crate::workspace::{Workspace, blocking};

pub(crate) async fn drift(
    tools: &Toolbox,
    run: &dyn Run,
    input: DriftInput,
) -> Result<DriftFound, DriverError> {
    failure::asked_before(run)?;
    run.hide(tools.default().env.secrets());
    let (host, laid) = {
        let (tools, top) = (tools.clone(), run.workspace().to_path_buf());
        blocking(move || {
            let DriftInput { source, root, variables, tool, state, .. } = input;
            let host = tools.choose(tool.as_ref(), &source, root.as_deref())?.clone();
            let workspace = Workspace::new(&top, root.as_deref())?;
            workspace.write_source(&source)?;
            let laid = lay(&host, workspace, &source, Inputs { root, variables, state })?;
            Ok((host, laid))
        })
        .await?
    };
    let host = &host;
    tracing::Span::current().record("tool", tracing::field::display(&host.tool));
    run.hide(laid.secrets.clone());
    let caveats = match &laid.keeping {
        Keeping::Slipway(_) => Vec::new(),
        Keeping::Backend(kind) => vec![format!(
            "The configuration keeps its state in a backend of its own ({kind}), which was read \
             without its lock: Slipway cannot tell whether that state moved while it was looked at, \
             or whether somebody was changing the stack."
        )],
    };
    let ready = init::prepare(host, run, &laid.workspace, &laid.need, false).await?;
    let goal = Goal { operation: Operation::Deploy, replace: &[], refresh_only: true };
    let Made { warnings, .. } = plan::run_plan(host, run, &laid, &goal, ready).await?;
    let json = plan::show(host, run, &laid.workspace, &laid.workspace.plan_file()).await?;
    let redactor = run.redactor();
    let shown =
        blocking(move || show::drift(&json, &redactor).map_err(|error| plan::unreadable(&error)))
            .await?;
    let DriftShown { resources, outputs, marked } = shown;
    run.hide(marked);
    Ok(DriftFound {
        tool: host.tool.clone(),
        resources,
        outputs,
        warnings,
        state: laid.made_from(),
        caveats,
    })
}
