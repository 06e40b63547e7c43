//! The tools of this worker, and which of them a job is done with.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use slipway_domain::clock::Clock;
use slipway_domain::plan::{Tool, ToolChoice};
use slipway_domain::port::driver::DriverError;
use slipway_domain::tree::Tree;
use slipway_process::is_executable;

use crate::hcl;
use crate::host::{Host, ToolMissing};
use crate::options::Options;
use crate::version;

/// Most tools.
const MAX_TOOLS: usize = 32;

/// Every tool, ready to run. Cheap to clone; never empty.
#[derive(Clone)]
pub(crate) struct Toolbox {
    default: Host,
    others: Arc<[Host]>,
}

impl Toolbox {
    /// Finds them: the one of `options.binary` or `PATH`, and those of `options.tools`.
    pub(crate) async fn detect(
        options: Options,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ToolMissing> {
        let found = scan(&options.tools)?;
        let mut hosts: Vec<Host> = Vec::new();
        let mut first = Host::detect(options.clone(), clock.clone()).await;
        // Nothing is installed in the ordinary places: the first of the others is the default.
        if first.is_ok() || options.binary.is_some() || found.is_empty() {
            hosts.push(first?);
            first = Err(ToolMissing { why: String::new() });
        }
        for Candidate { program, named } in found {
            let options = Options { binary: Some(program.clone()), ..options.clone() };
            match Host::detect(options, clock.clone()).await {
                Ok(host) => match hosts.iter().find(|h| h.tool == host.tool) {
                    Some(same) if same.program != host.program => {
                        tracing::warn!(
                            tool = %host.tool, used = %same.program.display(),
                            ignored = %host.program.display(), "a tool is there twice"
                        );
                    }
                    Some(_) => {}
                    None => hosts.push(host),
                },
                Err(missing) if named => return Err(missing),
                Err(missing) => tracing::warn!(
                    program = %program.display(), why = missing.why, "a file is not a usable tool"
                ),
            }
        }
        let mut hosts = hosts.into_iter();
        let Some(default) = hosts.next() else {
            return Err(first.err().unwrap_or(ToolMissing { why: "there is no tool".to_owned() }));
        };
        Ok(Self { default, others: hosts.collect() })
    }

    /// The one that is used where nothing else is asked for.
    pub(crate) fn default(&self) -> &Host {
        &self.default
    }

    /// All of them, the default first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Host> {
        std::iter::once(&self.default).chain(self.others.iter())
    }

    /// The one that made a plan; the default, which will say that it did not, where it is missing.
    pub(crate) fn exactly(&self, tool: &Tool) -> &Host {
        self.all().find(|host| host.tool == *tool).unwrap_or(&self.default)
    }

    /// The one for a plan: what the request asks for, or what the configuration allows.
    pub(crate) fn choose(
        &self,
        choice: Option<&ToolChoice>,
        tree: &Tree,
        root: Option<&str>,
    ) -> Result<&Host, DriverError> {
        if let Some(choice) = choice {
            // The default first, then in the order of the setting.
            return self.all().find(|host| choice.fits(&host.tool)).ok_or_else(|| {
                DriverError::permanent(format!(
                    "the deployment asks for {choice} and this worker has {}: ask for one of them, or \
                     have the operator add it to the setting terraform.tools",
                    self.list()
                ))
            });
        }
        if self.others.is_empty() {
            return Ok(&self.default);
        }
        let Ok(configuration) = hcl::load(tree, root, self.default.dialect()) else {
            return Ok(&self.default);
        };
        let wanted = &configuration.required_versions;
        let fits = |host: &&Host| wanted.iter().all(|w| version::fits(&host.tool.version, w));
        if fits(&&self.default) {
            return Ok(&self.default);
        }
        // Another version, never another program: that is for a person to say.
        let same = self.others.iter().filter(|host| host.tool.name == self.default.tool.name);
        let fitting: Vec<&Host> = same.filter(fits).collect();
        match fitting.as_slice() {
            [one] => Ok(one),
            [] => Err(DriverError::permanent(format!(
                "the configuration has required_version {:?}, which none of this worker's tools meets \
                 ({}): change it, or have the operator add such a version to the setting terraform.tools",
                wanted.join(", "),
                self.list()
            ))),
            several => Err(DriverError::permanent(format!(
                "the configuration has required_version {:?}, which {} does not meet and several \
                 others do ({}): say with the deployment's option `tool` which of them is to be used",
                wanted.join(", "),
                self.default.tool,
                several.iter().map(|h| h.tool.to_string()).collect::<Vec<_>>().join(", ")
            ))),
        }
    }

    /// What there is, in words.
    pub(crate) fn list(&self) -> String {
        self.all().map(|host| host.tool.to_string()).collect::<Vec<_>>().join(", ")
    }
}

struct Candidate {
    program: PathBuf,
    /// Whether the operator named the very file.
    named: bool,
}

/// The files that the setting names, and what looks like a tool in the directories.
fn scan(tools: &[PathBuf]) -> Result<Vec<Candidate>, ToolMissing> {
    let mut found = Vec::new();
    for path in tools {
        if !path.is_dir() {
            found.push(Candidate { program: path.clone(), named: true });
            continue;
        }
        let items = std::fs::read_dir(path)
            .map_err(|e| ToolMissing { why: format!("{} cannot be read: {e}", path.display()) })?;
        let mut inside: Vec<PathBuf> = items.flatten().map(|item| item.path()).collect();
        inside.retain(|file| is_executable(file) && looks_like_one(file));
        inside.sort();
        found.extend(inside.into_iter().map(|program| Candidate { program, named: false }));
    }
    if found.len() > MAX_TOOLS {
        let why =
            format!("terraform.tools has {} tools; at most {MAX_TOOLS} are used", found.len());
        return Err(ToolMissing { why });
    }
    Ok(found)
}

/// `terraform-1.11.4`, `tofu_1.12.6`, `terraform`.
fn looks_like_one(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    ["terraform", "tofu"].iter().any(|tool| {
        name.strip_prefix(tool)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_', '.']))
    })
}
