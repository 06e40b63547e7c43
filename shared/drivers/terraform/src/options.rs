//! What an operator can choose about the driver. Plain values; reading configuration is not done
//! here.

use std::path::PathBuf;

use slipway_domain::tree::Limits;
use slipway_outbound::Guard as Outbound;
use slipway_process::Guard;

/// Passed through unless an operator says otherwise: what a command line tool needs to run at all,
/// proxies and certificates, and the credentials of the common clouds.
const DEFAULT_ALLOW: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "TMPDIR",
    "TZ",
    "LANG",
    "LC_*",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "AWS_*",
    "ARM_*",
    "AZURE_*",
    "GOOGLE_*",
    "CLOUDSDK_*",
    "GCE_*",
    "NCLOUD_*",
    "KUBE_*",
    "KUBECONFIG",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_SSH_VARIANT",
    "SSH_AUTH_SOCK",
];

/// How the driver runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// The `terraform` or `tofu` executable. Without one, `terraform` and then `tofu` is looked for
    /// on `PATH`.
    pub binary: Option<PathBuf>,
    /// Other executables that a stack may choose, and directories of such (`terraform-1.11.4`,
    /// `tofu-1.12.6`).
    pub tools: Vec<PathBuf>,
    /// Through what the tools are started.
    pub guard: Guard,
    /// Directory for what `init` installed, kept between jobs and shared by every worker of the
    /// machine. Made when it is missing.
    pub cache_dir: PathBuf,
    /// A filesystem mirror of providers, unpacked or packed. With one, nothing is downloaded from provider
    /// registries unless [`Options::direct`] is set too.
    pub provider_mirror: Option<PathBuf>,
    /// Whether providers may also be downloaded from their registries when there is a mirror.
    pub direct: bool,
    /// Source addresses of the providers that configurations may use, such as
    /// `registry.terraform.io/hashicorp/*`; all of them when there is none.
    pub allowed_providers: Vec<String>,
    /// The operator's own Terraform CLI configuration, used as it is instead of a generated one.
    pub cli_config_file: Option<PathBuf>,
    /// Names (`AWS_PROFILE`) and prefixes (`AWS_*`) of environment variables that the tools get.
    /// Slipway's own and those that would change how the tools are called never pass.
    pub env_allow: Vec<String>,
    /// How git sources are fetched.
    pub git: GitOptions,
    /// How big a source tree may be.
    pub limits: Limits,
    /// How many operations Terraform runs at once; its own default (10) when absent.
    pub parallelism: Option<u16>,
    /// How much garbage, in percent of what is in use, the tool and its providers may gather before
    /// they look for it (`GOGC`); Go's own default (100) when absent. Their runs are short and
    /// mostly start-up: at 200 a plan of 1 resource measured 5 to 8 % faster, one of 50 2 to 5 %,
    /// for at most half as much memory again.
    pub gc_percent: Option<u16>,
}

impl Options {
    /// The defaults, with a cache in `cache_dir`.
    pub fn new(cache_dir: impl Into<PathBuf>) -> Self {
        Self {
            binary: None,
            tools: Vec::new(),
            guard: Guard::None,
            cache_dir: cache_dir.into(),
            provider_mirror: None,
            direct: false,
            allowed_providers: Vec::new(),
            cli_config_file: None,
            env_allow: Self::default_env_allow(),
            git: GitOptions::default(),
            limits: Limits::default(),
            parallelism: None,
            gc_percent: None,
        }
    }

    /// What is passed through by default: `PATH` and its like, proxies and certificates, and the
    /// credentials of the common clouds. Meant for extending.
    pub fn default_env_allow() -> Vec<String> {
        DEFAULT_ALLOW.iter().map(|&name| name.to_owned()).collect()
    }
}

/// How git sources are fetched.
#[derive(Debug, Clone)]
pub struct GitOptions {
    /// Whether `file://` repositories on the worker's machine are allowed.
    pub allow_file: bool,
    /// Whether `http://` without TLS is allowed.
    pub allow_http: bool,
    /// How long a fetch may take, in seconds.
    pub timeout_s: u64,
    /// Where repositories may be.
    pub outbound: Outbound,
}

impl Default for GitOptions {
    fn default() -> Self {
        Self { allow_file: false, allow_http: false, timeout_s: 120, outbound: Outbound::default() }
    }
}
