//! What can be typed.

mod credentials;
mod policies;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use microgw_compiler::settings::OverrideSubject;

pub use credentials::{
    AddUser, CreateKey, End, ExpireKey, Keys, KeysCommand, ListKeys, NamedKey, RemoveUser, RotateKey, User,
    UserCommand, UserFile,
};
pub use policies::{
    AddPolicy, ListPolicies, PackPolicy, Policy, PolicyCommand, ProjectOnly, PushPolicy, Registry, RemovePolicy,
    TestPolicies, UpdatePolicies,
};

/// What is said of commands that read settings.
const SETTINGS: &str =
    "Every setting of micro-gw.conf can be given as --section.key=value, e.g. --listenerConfig.httpsPort=9443.";

/// An immutable, isolated API microgateway on stock Envoy.
#[derive(Debug, Parser)]
#[command(name = "micro-gw", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "Exit codes: 0 done, 1 not done (stderr says why), 2 wrong usage.")]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

/// Serve an artifact (or a project, built first) with an Envoy of its own: `micro-gw run` by the old product's name.
#[derive(Debug, Parser)]
#[command(name = "gateway", version, arg_required_else_help = true, after_help = SETTINGS)]
pub struct Gateway {
    #[command(flatten)]
    pub run: Run,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create a project.
    Init(Init),
    /// Compile a project into one artifact.
    Build(Build),
    /// Report problems and security coverage; write nothing.
    Check(Check),
    /// Serve an artifact (or a project, built first) with an Envoy of its own.
    Run(Run),
    /// Serve an artifact (or a project, built first) to Envoys that are started elsewhere.
    Serve(Serve),
    /// Print the Envoy bootstrap that goes with `serve`.
    Bootstrap(Bootstrap),
    /// Ask a gateway whether it is ready: exit code 0 or 1.
    Health(Health),
    /// Have an Envoy that `serve` serves end its requests, before it is stopped.
    Drain(Drain),
    /// Hash a password, read from standard input, for `[b7a.users]`.
    HashPassword,
    /// Revoke tokens, keys and users on every gateway that listens.
    Revoke(Revoke),
    /// Users with passwords, in a file of settings.
    User(User),
    /// Opaque API keys: make, list, rotate, expire and revoke them.
    Keys(Keys),
    /// Policies that others made: take them in, keep them as they were, test them, pass them on.
    Policy(Policy),
    /// Print the interface of interceptors that are components, in WIT.
    Wit,
    /// Show what an artifact contains, or the snapshot it becomes.
    Inspect(Inspect),
    /// Say what becomes of a request, and why, without a gateway.
    Explain(Explain),
    /// Say what a diagnostic code means, with an example and the fix.
    ExplainCode(ExplainCode),
    /// Serve a petstore to try things with.
    DemoBackend(DemoBackend),
    /// Print the completions of a shell.
    Completions(Completions),
    /// Print a manual page, or write them all.
    Man(Man),
    /// Print the version.
    Version,
    /// Print a generated page of the documentation.
    #[command(hide = true)]
    Reference { page: Page },
    /// Become Envoy, bound to the life of the parent.
    #[command(name = microgw_envoy::EXEC_SUBCOMMAND, hide = true)]
    EnvoyExec(EnvoyExec),
}

#[derive(Debug, Args)]
pub struct Init {
    /// Directory to create.
    #[arg(value_hint = ValueHint::DirPath)]
    pub project: PathBuf,
    /// OpenAPI definition to start from: a file or an http(s) URL.
    #[arg(short = 'a', long, value_name = "FILE|URL")]
    pub api_definition: Option<String>,
    /// Names of request headers to send when downloading the definition.
    #[arg(long, value_delimiter = ',', requires = "values", value_name = "NAME,...")]
    pub headers: Vec<String>,
    /// Values for --headers, in the same order.
    #[arg(long, value_delimiter = ',', requires = "headers", value_name = "VALUE,...")]
    pub values: Vec<String>,
    /// Do not verify the server's certificate when downloading the definition.
    #[arg(short = 'k', long)]
    pub insecure: bool,
    /// File to use as conf/deployment-config.toml.
    #[arg(short = 'd', long, value_name = "FILE")]
    pub deployment_config: Option<PathBuf>,
    /// Replace an existing project.
    #[arg(short = 'f', long)]
    pub force: bool,
}

/// How a project is compiled.
#[derive(Clone, Debug, Default, Args)]
pub struct Compile {
    /// Use this file instead of the project's conf/deployment-config.toml.
    #[arg(short = 'd', long, value_name = "FILE")]
    pub deployment_config: Option<PathBuf>,
    /// Build although something declared is not enforced; it is listed in the coverage table and in /status.
    #[arg(long)]
    pub allow_unenforced: bool,
    /// Treat warnings as errors.
    #[arg(long)]
    pub deny_warnings: bool,
}

#[derive(Debug, Args)]
#[command(after_help = SETTINGS)]
pub struct Build {
    /// Project directory.
    #[arg(value_hint = ValueHint::DirPath)]
    pub project: PathBuf,
    #[command(flatten)]
    pub compile: Compile,
    /// Where the artifact goes [default: <PROJECT>/target/<name>.mgw].
    #[arg(short = 'o', long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Assemble the snapshot too, with the settings, and have a real Envoy take it.
    #[arg(long)]
    pub preflight: bool,
    #[command(flatten)]
    pub settings: Settings,
    /// The Envoy to use [default: $MICROGW_ENVOY, PATH, the pinned install].
    #[arg(long, value_name = "FILE")]
    pub envoy: Option<PathBuf>,
    /// How problems are reported: to people, as JSON, as SARIF for code scanning, or as GitHub's workflow commands.
    #[arg(long, value_enum, default_value_t = ReportFormat::Human)]
    pub format: ReportFormat,
}

#[derive(Debug, Args)]
pub struct Check {
    /// Project directory.
    #[arg(value_hint = ValueHint::DirPath)]
    pub project: PathBuf,
    #[command(flatten)]
    pub compile: Compile,
    /// How problems are reported: to people, as JSON, as SARIF for code scanning, or as GitHub's workflow commands.
    #[arg(long, value_enum, default_value_t = ReportFormat::Human)]
    pub format: ReportFormat,
}

/// Where the gateway's settings come from.
#[derive(Clone, Debug, Default, Args)]
pub struct Settings {
    /// micro-gw.conf to use.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Any setting, as --section.key=value.
    #[arg(long = "set", hide = true, value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
}

/// What `run` and `serve` have in common.
#[derive(Debug, Args)]
pub struct Serving {
    /// Artifact (.mgw) or project directory.
    pub target: PathBuf,
    #[command(flatten)]
    pub compile: Compile,
    #[command(flatten)]
    pub settings: Settings,
    /// Rebuild and publish when the project or the artifact changes.
    #[arg(long)]
    pub watch: bool,
    /// How the line that says the gateway is live is printed.
    #[arg(long, value_enum, default_value_t = Format::Human, value_name = "FORMAT")]
    pub output: Format,
}

#[derive(Debug, Args)]
#[command(after_help = SETTINGS)]
pub struct Run {
    #[command(flatten)]
    pub serving: Serving,
    /// The Envoy to use [default: $MICROGW_ENVOY, PATH, the pinned install].
    #[arg(long, value_name = "FILE")]
    pub envoy: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = SETTINGS)]
pub struct Serve {
    #[command(flatten)]
    pub serving: Serving,
    /// Directory for the sockets that Envoy connects to.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub sockets: Option<PathBuf>,
    /// Serve Envoys on other hosts (remoteConfig) without TLS: whoever can connect gets everything, keys included.
    #[arg(long)]
    pub insecure: bool,
}

#[derive(Debug, Args)]
#[command(after_help = SETTINGS)]
pub struct Bootstrap {
    /// Artifact or project that the Envoy asks for.
    pub target: PathBuf,
    #[command(flatten)]
    pub settings: Settings,
    /// Directory of the sockets, as given to `serve`.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub sockets: Option<PathBuf>,
    /// Name of this Envoy.
    #[arg(long, default_value = "micro-gw", value_name = "NAME")]
    pub node_id: String,
    /// File to write, for our own user alone [default: standard output].
    #[arg(short = 'o', long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// How Envoy is told about changes: what changed, or the state of the world each time.
    #[arg(long, value_enum, value_name = "DIALECT", default_value_t = Dialect::Delta)]
    pub xds: Dialect,
    #[command(flatten)]
    pub remote: Remote,
}

/// A gateway on another host than its Envoy.
#[derive(Debug, Args)]
#[command(next_help_heading = "For an Envoy on another host")]
pub struct Remote {
    /// The gateway's host: its ports are the settings remoteConfig.*Port. --sockets is then for Envoy's admin socket
    /// alone, and without it there is none.
    #[arg(long = "remote", value_name = "HOST")]
    pub host: Option<String>,
    /// Envoy's certificate chain (PEM), on its host.
    #[arg(long, value_name = "FILE", requires = "host")]
    pub client_cert: Option<PathBuf>,
    /// Envoy's private key (PEM), on its host.
    #[arg(long, value_name = "FILE", requires = "host")]
    pub client_key: Option<PathBuf>,
    /// The authorities of the gateway's certificate (PEM), on Envoy's host.
    #[arg(long, value_name = "FILE", requires = "host")]
    pub ca: Option<PathBuf>,
    /// Name that must be in the gateway's certificate: DNS name, IP address or URI [default: HOST].
    #[arg(long, value_name = "NAME", requires = "host")]
    pub server_name: Option<String>,
    /// Connect without TLS, as to `serve --insecure`.
    #[arg(long, requires = "host", conflicts_with_all = ["client_cert", "client_key", "ca", "server_name"])]
    pub insecure: bool,
}

/// Of the xDS protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Dialect {
    Delta,
    Sotw,
}

#[derive(Debug, Args)]
#[command(after_help = SETTINGS)]
pub struct Health {
    /// Artifact or project that the gateway serves: the project's conf/ may say where its admin interface is.
    pub target: Option<PathBuf>,
    #[command(flatten)]
    pub settings: Settings,
    /// Ask only whether the process runs.
    #[arg(long)]
    pub live: bool,
    /// Ask for this URL instead: any answer of 2xx will do.
    #[arg(long, value_name = "URL", conflicts_with = "live")]
    pub url: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = SETTINGS)]
pub struct Drain {
    /// Artifact or project that the gateway serves: the project's conf/ may say where the sockets are.
    pub target: Option<PathBuf>,
    #[command(flatten)]
    pub settings: Settings,
    /// Directory of the sockets, as given to `serve`.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub sockets: Option<PathBuf>,
    /// Do nothing until told to stop: what is stopped first drains Envoy for all.
    #[arg(long)]
    pub on_stop: bool,
}

#[derive(Debug, Args)]
#[command(after_help = SETTINGS)]
#[command(group = clap::ArgGroup::new("revoked").required(true).multiple(true))]
pub struct Revoke {
    /// Artifact or project: the project's conf/ may say where revocations are written.
    pub target: Option<PathBuf>,
    #[command(flatten)]
    pub settings: Settings,
    /// Access token, or self-contained API key, with this `jti`. May be given several times, as all of these.
    #[arg(long, value_name = "ID", group = "revoked")]
    pub jti: Vec<String>,
    /// API key with this id.
    #[arg(long, value_name = "ID", group = "revoked")]
    pub key_id: Vec<String>,
    /// `-`: tokens or API keys themselves, read from standard input, one in each line. Only their hashes are written.
    #[arg(long, value_name = "-", group = "revoked", allow_hyphen_values = true)]
    pub token: Option<String>,
    /// User who logs in with a password.
    #[arg(long, value_name = "NAME", group = "revoked")]
    pub user: Vec<String>,
    /// Client certificate with this SHA-256 fingerprint.
    #[arg(long, value_name = "SHA256", group = "revoked")]
    pub certificate: Vec<String>,
    /// When what is revoked would have ended: seconds since 1970, or from now as in 15m, 12h, 30d
    /// [default: `exp` of a JWT, else revocation.retentionTime from now].
    #[arg(long, value_name = "WHEN")]
    pub expires: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = SETTINGS)]
pub struct Inspect {
    /// Artifact (.mgw).
    pub artifact: PathBuf,
    /// Show the snapshot that the artifact becomes with this micro-gw.conf.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Show which operation a request for this path (or URL) reaches, or why none.
    #[arg(long, num_args = 2, value_names = ["METHOD", "PATH"], conflicts_with_all = ["config", "envoy"])]
    pub path: Option<Vec<String>>,
    /// Print the Envoy resources as JSON, as a real Envoy shows them.
    #[arg(long)]
    pub envoy: bool,
    /// The Envoy that shows them [default: $MICROGW_ENVOY, PATH, the pinned install].
    #[arg(long, value_name = "FILE")]
    pub binary: Option<PathBuf>,
    #[arg(long = "set", hide = true, value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// How the artifact is shown.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

#[derive(Debug, Args)]
#[command(after_help = SETTINGS)]
pub struct Explain {
    /// Artifact (.mgw).
    pub artifact: PathBuf,
    /// URL of the request.
    pub url: String,
    /// The settings that count [default: a gateway's without any].
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Method [default: GET, or POST with a body].
    #[arg(short = 'X', long, value_name = "METHOD")]
    pub request: Option<String>,
    /// Header of the request, `Name: value`.
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    pub headers: Vec<String>,
    /// Body of the request: text, or `@` and a file.
    #[arg(short = 'd', long, value_name = "TEXT|@FILE")]
    pub data: Option<String>,
    /// Status of the backend's response, to say what becomes of that, too.
    #[arg(long, value_name = "STATUS", value_parser = clap::value_parser!(u16).range(200..600))]
    pub response: Option<u16>,
    /// Header of the response, `Name: value`.
    #[arg(long = "response-header", value_name = "HEADER", requires = "response")]
    pub response_headers: Vec<String>,
    /// Body of the response: text, or `@` and a file.
    #[arg(long, value_name = "TEXT|@FILE", requires = "response")]
    pub response_data: Option<String>,
    /// What others would answer: key sets, introspection, users (JSON).
    #[arg(long, value_name = "FILE")]
    pub facts: Option<PathBuf>,
    /// Print it as JSON.
    #[arg(long)]
    pub json: bool,
    #[arg(long = "set", hide = true, value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
}

#[derive(Debug, Args)]
pub struct ExplainCode {
    /// The code: MGW-0104, 0104, 104 or duplicate-key.
    pub code: String,
    /// How it is printed.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

#[derive(Debug, Args)]
pub struct DemoBackend {
    /// Address to listen on; port 0 for any.
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    pub listen: SocketAddr,
}

#[derive(Debug, Args)]
#[command(after_help = "bash: micro-gw completions bash > ~/.local/share/bash-completion/completions/micro-gw\n\
                        zsh:  micro-gw completions zsh > \"${fpath[1]}/_micro-gw\"\n\
                        fish: micro-gw completions fish > ~/.config/fish/completions/micro-gw.fish")]
pub struct Completions {
    /// Shell that they are for.
    pub shell: clap_complete::Shell,
    /// Command to complete; `gateway` where the program is installed by that name, too.
    #[arg(long, value_enum, default_value_t = Program::MicroGw, value_name = "COMMAND")]
    pub command: Program,
}

#[derive(Debug, Args)]
pub struct Man {
    /// Command that the page is about, e.g. build or gateway [default: micro-gw].
    pub command: Option<String>,
    /// Write all pages into this directory instead.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with = "command")]
    pub out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct EnvoyExec {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    pub command: Vec<std::ffi::OsString>,
}

/// What the program can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Program {
    MicroGw,
    Gateway,
}

/// Generated pages of docs/.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Page {
    Configuration,
    Diagnostics,
    Metrics,
    Errors,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    #[default]
    Human,
    Json,
}

/// How `build` and `check` report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    #[default]
    Human,
    Json,
    Sarif,
    Github,
}

/// `--section.key=value` and `--section.key value` become `--set section.key=value`: settings have too many names to
/// be declared one by one. Only where the command has settings: another one shall say that it does not know the argument.
pub fn with_settings(arguments: impl IntoIterator<Item = OsString>, command: &clap::Command) -> Vec<OsString> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    // Neither the program nor a command with commands of its own has options with values: what does not look like one is
    // the command.
    let mut called = command;
    for name in arguments.iter().skip(1).filter(|argument| !argument.as_encoded_bytes().starts_with(b"-")) {
        let Some(command) = called.find_subcommand(name) else { break };
        called = command;
    }
    if !has_settings(called) {
        return arguments;
    }
    let mut out = Vec::new();
    let mut arguments = arguments.into_iter().peekable();
    while let Some(argument) = arguments.next() {
        if argument == "--" {
            out.push(argument);
            out.extend(arguments.by_ref());
            break;
        }
        let setting = argument
            .to_str()
            .and_then(|argument| argument.strip_prefix("--"))
            .filter(|rest| is_setting(rest.split('=').next().unwrap_or_default()));
        match setting {
            Some(setting) if setting.contains('=') => out.extend(["--set".into(), setting.into()]),
            Some(setting) => {
                let is_value = |next: &OsString| !next.as_encoded_bytes().starts_with(b"--");
                let mut setting = OsString::from(format!("{setting}="));
                setting.push(arguments.next_if(is_value).unwrap_or_default());
                out.extend(["--set".into(), setting]);
            }
            None => out.push(argument),
        }
    }
    out
}

/// Settings of sections, and those that are called by endpoints: `shop_prod_endpoint_0`.
fn is_setting(name: &str) -> bool {
    name.contains('.') || OverrideSubject::of(name).is_some()
}

pub fn has_settings(command: &clap::Command) -> bool {
    command.get_arguments().any(|argument| argument.get_long() == Some("set"))
}
