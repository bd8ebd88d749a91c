//! `keys` and `user`: those who may call.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};

use super::{Format, SETTINGS, Settings};

#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct Keys {
    #[command(subcommand)]
    pub command: KeysCommand,
}

#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make a key, and show it this once.
    Create(Box<CreateKey>),
    /// List keys, without the keys themselves.
    List(ListKeys),
    /// Make a key with the same terms as another, which ends after a while: until then both are accepted.
    Rotate(RotateKey),
    /// Have a key end at a time of your choice, sooner than it would.
    Expire(ExpireKey),
    /// End a key now, on every gateway.
    Revoke(NamedKey),
}

#[derive(Debug, Args)]
#[command(after_help = SETTINGS)]
pub struct CreateKey {
    /// Whose key it is: backends and logs see it as the caller.
    #[arg(long, value_name = "NAME")]
    pub owner: String,
    /// Name of the application that it is for.
    #[arg(long, value_name = "NAME")]
    pub application: Option<String>,
    /// Id of that application.
    #[arg(long, value_name = "ID", requires = "application")]
    pub application_id: Option<String>,
    /// UUID of that application.
    #[arg(long, value_name = "UUID", requires = "application")]
    pub application_uuid: Option<String>,
    /// Tier of that application.
    #[arg(long, value_name = "TIER", requires = "application")]
    pub application_tier: Option<String>,
    /// Owner of that application [default: the key's].
    #[arg(long, value_name = "NAME", requires = "application")]
    pub application_owner: Option<String>,
    /// Tier of the key itself.
    #[arg(long, value_name = "TIER")]
    pub tier: Option<String>,
    /// A key for sandbox endpoints instead of production ones.
    #[arg(long)]
    pub sandbox: bool,
    /// An API that it opens, in one version or in all (NAME:*); several times for several [default: every API].
    #[arg(long = "api", value_name = "NAME:VERSION")]
    pub apis: Vec<String>,
    /// Something to keep with it; several times for several.
    #[arg(long, value_name = "NAME=VALUE")]
    pub metadata: Vec<String>,
    #[command(flatten)]
    pub end: End,
    #[command(flatten)]
    pub settings: Settings,
    /// How it is shown: the key alone, or with its id and its end.
    #[arg(long, value_enum, default_value_t = Format::Human, value_name = "FORMAT")]
    pub output: Format,
}

/// When a key ends.
#[derive(Clone, Debug, Args)]
#[group(multiple = false)]
pub struct End {
    /// It lives this long, as in 90d or 12h.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub expires_in: Option<Duration>,
    /// It lives until then, as in 2030-01-31T00:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub expires_at: Option<SystemTime>,
}

#[derive(Debug, Args)]
#[command(after_help = SETTINGS)]
pub struct ListKeys {
    /// Those of this owner only.
    #[arg(long, value_name = "NAME")]
    pub owner: Option<String>,
    #[command(flatten)]
    pub settings: Settings,
    /// How they are shown.
    #[arg(long, value_enum, default_value_t = Format::Human, value_name = "FORMAT")]
    pub output: Format,
}

#[derive(Debug, Args)]
#[command(after_help = SETTINGS)]
pub struct RotateKey {
    /// The key's id, as `keys list` shows it.
    pub id: String,
    /// How long both are accepted.
    #[arg(long, value_name = "DURATION", default_value = "1d", value_parser = duration)]
    pub overlap: Duration,
    /// When the new one ends.
    #[command(flatten)]
    pub end: End,
    #[command(flatten)]
    pub settings: Settings,
    /// How the new key is shown: the key alone, or with its id and its end.
    #[arg(long, value_enum, default_value_t = Format::Human, value_name = "FORMAT")]
    pub output: Format,
}

#[derive(Debug, Args)]
#[command(after_help = SETTINGS)]
pub struct ExpireKey {
    /// The key's id, as `keys list` shows it.
    pub id: String,
    #[command(flatten)]
    pub end: When,
    #[command(flatten)]
    pub settings: Settings,
}

/// When, and it must be said.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
pub struct When {
    /// After this time, as in 1h.
    #[arg(long = "in", value_name = "DURATION", value_parser = duration)]
    pub after: Option<Duration>,
    /// Then, as in 2030-01-31T00:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub at: Option<SystemTime>,
}

#[derive(Debug, Args)]
#[command(after_help = SETTINGS)]
pub struct NamedKey {
    /// The key's id, as `keys list` shows it.
    pub id: String,
    #[command(flatten)]
    pub settings: Settings,
}

#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct User {
    #[command(subcommand)]
    pub command: UserCommand,
}

#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Add a user, whose password is asked for or read from standard input.
    Add(AddUser),
    /// List the users of a file of settings.
    List(UserFile),
    /// Take a user out of a file of settings.
    Remove(RemoveUser),
}

#[derive(Debug, Args)]
pub struct AddUser {
    /// The name to log in with.
    pub name: String,
    /// What the user may do.
    #[arg(long, value_delimiter = ',', value_name = "SCOPE,...")]
    pub scopes: Vec<String>,
    /// micro-gw.conf to add the user to; without it the section is printed.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct UserFile {
    /// micro-gw.conf to look into.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

#[derive(Debug, Args)]
pub struct RemoveUser {
    /// The name.
    pub name: String,
    /// micro-gw.conf to take the user out of.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; write 90d, 12h or 30m"))
}

fn time(text: &str) -> Result<SystemTime, String> {
    humantime::parse_rfc3339_weak(text).map_err(|error| format!("{error}; write 2030-01-31T00:00:00Z"))
}
