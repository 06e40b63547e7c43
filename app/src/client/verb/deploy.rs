//! `deploy` and `destroy`: submitting deployments.

use std::path::Path;

use bytes::Bytes;
use slipway_domain::Code;
use slipway_domain::deployment::{Operation, Options};
use slipway_domain::source::Source;
use slipway_domain::stack::StackKey;
use slipway_services::deployment::Submit;

use super::{Desk, approval};
use crate::cli::{DeployArgs, DestroyArgs, FromArgs, OptionArgs, VarArgs, WaitArgs};
use crate::client::error::{ClientError, Problem};
use crate::client::exit::Exit;
use crate::client::http::mint_idempotency_key;
use crate::client::input::{self, last_part, make_name};
use crate::client::reference::StackRef;
use crate::client::view;
use crate::client::wait::Terms;

/// A larger archive is not read; servers take less unless they are told otherwise.
const MAX_ARCHIVE_BYTES: u64 = 1 << 30;

/// `slipway deploy`.
pub(super) async fn deploy(desk: &Desk<'_>, args: DeployArgs) -> Result<Exit, ClientError> {
    // Everything that can be wrong here is found before anything is uploaded.
    let variables = input::variables(&args.vars.var_files, &args.vars.vars)?;
    let name = match &args.name {
        Some(name) => name.clone(),
        None => default_name(&args.from, args.path.as_deref())?,
    };
    let stack = StackKey { project: args.project, name, environment: args.env };
    check(&stack)?;
    let key = key(&args.options);
    let version = args.template_version;
    let source = source(desk, args.from, version, args.reference, args.path, &key).await?;
    let submit = Submit {
        stack,
        source: Some(source),
        variables,
        operation: Operation::Deploy,
        options: options(&args.options),
    };
    send(desk, &submit, &key, args.wait).await
}

/// `slipway destroy`.
pub(super) async fn destroy(desk: &Desk<'_>, args: DestroyArgs) -> Result<Exit, ClientError> {
    let VarArgs { vars, var_files } = &args.vars;
    let variables = input::variables(var_files, vars)?;
    let stack = match args.stack {
        StackRef::Key(key) => key,
        StackRef::Id(id) => desk.client.stack(id).await?.key,
    };
    let submit = Submit {
        stack,
        source: None,
        variables,
        operation: Operation::Destroy,
        options: options(&args.options),
    };
    send(desk, &submit, &key(&args.options), args.wait).await
}

/// The person's key, or one for this run, with which a request can be repeated.
fn key(options: &OptionArgs) -> String {
    options.idempotency_key.clone().unwrap_or_else(mint_idempotency_key)
}

async fn send(
    desk: &Desk<'_>,
    submit: &Submit,
    key: &str,
    wait: WaitArgs,
) -> Result<Exit, ClientError> {
    let deployment = desk.client.submit(submit, Some(key)).await?;
    if wait.wait || wait.auto_approve {
        desk.screen.tell(&format!("deployment {}\n", deployment.id))?;
        return desk.stay(deployment.id, Terms::from_the_start(approval(wait.auto_approve))).await;
    }
    desk.screen.result(&deployment, |_| view::accepted(&deployment))?;
    Ok(Exit::Success)
}

fn options(args: &OptionArgs) -> Options {
    Options {
        auto_apply: !args.no_auto_apply,
        supersede: args.supersede,
        plan_only: args.plan_only,
        priority: args.priority,
        tool: args.tool.clone(),
        ..Options::default()
    }
}

/// The server checks it too; here it costs no upload.
fn check(stack: &StackKey) -> Result<(), ClientError> {
    let errors = stack.problems();
    if errors.is_empty() {
        return Ok(());
    }
    Err(ClientError::Refused(Box::new(Problem {
        status: 422,
        code: Code::InvalidInput.as_str().to_owned(),
        title: Code::InvalidInput.title().to_owned(),
        errors,
        ..Problem::default()
    })))
}

fn default_name(from: &FromArgs, path: Option<&str>) -> Result<String, ClientError> {
    let location = if let Some(dir) = &from.dir {
        // `.` and `..` are called something, too.
        let whole = dir.canonicalize().map_err(|why| {
            ClientError::Input(format!("{} cannot be used: {why}", dir.display()))
        })?;
        whole.to_string_lossy().into_owned()
    } else if let Some(template) = &from.template {
        template.clone()
    } else if let Some(archive) = &from.archive {
        archive.to_string_lossy().into_owned()
    } else {
        from.git.clone().unwrap_or_default()
    };
    // The part of a repository that is deployed says more than the repository.
    let inner = path.map(last_part).and_then(make_name);
    inner.or_else(|| make_name(last_part(&location))).ok_or_else(|| {
        ClientError::Input(format!("no stack name can be made of {location:?}; give --name"))
    })
}

async fn source(
    desk: &Desk<'_>,
    from: FromArgs,
    version: Option<i32>,
    reference: Option<String>,
    path: Option<String>,
    key: &str,
) -> Result<Source, ClientError> {
    if let Some(name) = from.template {
        return Ok(Source::Template { name, version });
    }
    if let Some(url) = from.git {
        return Ok(Source::Git { url, reference, path });
    }
    let artifact = if let Some(dir) = from.dir {
        desk.client.upload_directory(&dir, Some(key)).await?
    } else {
        let file = from.archive.unwrap_or_default();
        desk.client.upload_archive(read_archive(&file)?, Some(key)).await?
    };
    Ok(Source::Archive { artifact_id: artifact.id, path })
}

fn read_archive(file: &Path) -> Result<Bytes, ClientError> {
    input::read_bounded(file, MAX_ARCHIVE_BYTES)
        .map(Bytes::from)
        .map_err(|why| ClientError::Input(format!("--archive {}: {why}", file.display())))
}
