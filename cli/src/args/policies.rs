//! `policy`: policies from elsewhere, and to elsewhere.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use super::Format;

#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct Policy {
    #[command(subcommand)]
    pub command: PolicyCommand,
}

#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Take a policy into a project: into policies/, and into policies.lock.
    Add(AddPolicy),
    /// List a project's policies, and whether they are what was taken in.
    List(ListPolicies),
    /// Take a policy out of a project.
    Remove(RemovePolicy),
    /// Fetch policies again from where they came from.
    Update(UpdatePolicies),
    /// Compare a project's policies with policies.lock: exit code 0 or 1.
    Verify(ProjectOnly),
    /// Run the tests that policies have, offline, through the very engine.
    Test(TestPolicies),
    /// Write a policy into one file, to be passed on.
    Pack(PackPolicy),
    /// Put a policy into an OCI registry.
    Push(PushPolicy),
}

/// Of which project.
#[derive(Debug, Args)]
pub struct ProjectOnly {
    /// Project directory.
    #[arg(short = 'p', long, default_value = ".", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub project: PathBuf,
}

/// How a registry is spoken to.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "For a registry")]
pub struct Registry {
    /// Speak HTTP without TLS. To this host alone that is the default; =false for TLS there, too.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub plain_http: Option<bool>,
    /// File with logins (`auths`, `credsStore`, `credHelpers`) [default: $DOCKER_CONFIG/config.json, or ~/.docker/config.json].
    #[arg(long, value_name = "FILE")]
    pub auth_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct AddPolicy {
    /// A directory, a file that `policy pack` has written, or what a registry has: host/repository:tag or @sha256:...
    pub source: String,
    /// The name that the project uses [default: the policy's own].
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    #[command(flatten)]
    pub project: ProjectOnly,
    #[command(flatten)]
    pub registry: Registry,
}

#[derive(Debug, Args)]
pub struct ListPolicies {
    #[command(flatten)]
    pub project: ProjectOnly,
    /// How they are shown.
    #[arg(long, value_enum, default_value_t = Format::Human, value_name = "FORMAT")]
    pub output: Format,
}

#[derive(Debug, Args)]
pub struct RemovePolicy {
    /// The name that the project uses.
    pub name: String,
    /// Leave its files: the policy is the project's own then.
    #[arg(long)]
    pub keep: bool,
    /// Even if it was changed since it was taken in.
    #[arg(long, conflicts_with = "keep")]
    pub force: bool,
    #[command(flatten)]
    pub project: ProjectOnly,
}

#[derive(Debug, Args)]
pub struct UpdatePolicies {
    /// The name that the project uses [default: all that were taken in].
    pub name: Option<String>,
    /// Even those that were changed since they were taken in.
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub project: ProjectOnly,
    #[command(flatten)]
    pub registry: Registry,
}

#[derive(Debug, Args)]
pub struct TestPolicies {
    /// The name that the project uses, or a directory with a policy [default: all of the project].
    pub policy: Option<String>,
    #[command(flatten)]
    pub project: ProjectOnly,
}

#[derive(Debug, Args)]
pub struct PackPolicy {
    /// Directory with the policy.
    #[arg(value_hint = ValueHint::DirPath)]
    pub directory: PathBuf,
    /// File to write [default: <NAME>-<VERSION>.tar].
    #[arg(short = 'o', long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct PushPolicy {
    /// Directory with the policy, or a file that `policy pack` has written.
    pub source: PathBuf,
    /// Where it goes: host/repository, and :tag if that is another than the policy's version.
    pub destination: String,
    #[command(flatten)]
    pub registry: Registry,
}
