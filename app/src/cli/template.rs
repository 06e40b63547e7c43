//! The library: `slipway templates`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::VarArgs;

/// `slipway templates`.
#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct TemplatesArgs {
    /// What to do; the templates are listed when it is left out
    #[command(subcommand)]
    pub verb: Option<TemplateVerb>,
    /// Show this one with its inputs
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
}

/// What can be done with templates.
#[derive(Debug, Clone, Subcommand)]
pub enum TemplateVerb {
    /// List the templates
    List,
    /// Show one with its inputs and versions
    Show {
        /// The template
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Publish a directory as a template, or as its next version
    Push(PushArgs),
    /// Show a template as it would be deployed with some values
    Render {
        /// The template
        #[arg(value_name = "NAME")]
        name: String,
        /// The version; the newest active one when absent
        #[arg(long, value_name = "N")]
        template_version: Option<i32>,
        /// Values of the inputs.
        #[command(flatten)]
        vars: VarArgs,
    },
    /// Take a template out of offer: who names the version still gets it
    Deprecate {
        /// The template
        #[arg(value_name = "NAME")]
        name: String,
        /// Only this version
        #[arg(long, value_name = "N")]
        template_version: Option<i32>,
        /// Why, and what to use instead
        #[arg(long, value_name = "TEXT", conflicts_with = "undo")]
        reason: Option<String>,
        /// Offer it again
        #[arg(long)]
        undo: bool,
    },
    /// Delete a version that no deployment names
    Delete {
        /// The template
        #[arg(value_name = "NAME")]
        name: String,
        /// The version
        #[arg(value_name = "N")]
        number: i32,
    },
}

/// `slipway templates push`.
#[derive(Debug, Clone, Args)]
pub struct PushArgs {
    /// The directory, with the Terraform root module at its top
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Name of the template; made from the directory's name when absent
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// One line about it; what template.toml says when absent
    #[arg(long, value_name = "TEXT")]
    pub title: Option<String>,
    /// What it makes and when to use it; what template.toml says when absent
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// What it is about, e.g. storage
    #[arg(long, value_name = "WORD")]
    pub category: Option<String>,
    /// A label; all of them together take the place of the old ones
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    pub labels: Vec<(String, String)>,
    /// Publish only if this is the newest version, 0 for none
    #[arg(long, value_name = "N")]
    pub expected_version: Option<i32>,
    /// The same key and request twice make one version; minted for each run when absent
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
}

fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("a label is NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}
