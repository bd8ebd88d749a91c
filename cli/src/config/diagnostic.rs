//! What there is to say about the settings.

use std::fmt;
use std::path::{Path, PathBuf};

use microgw_compiler::diagnostic;

/// One problem, or one remark. Never shows the value of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigDiagnostic {
    pub code: Code,
    pub severity: Severity,
    pub origin: Origin,
    pub message: String,
    pub help: Option<String>,
}

/// Worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Error,
    Warning,
}

/// The codes of settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    Unreadable,
    Syntax,
    UnknownKey,
    BadValue,
    NotEnforced,
    NoEffect,
    Conflict,
    Insecure,
}

/// Where a setting comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The settings as a whole.
    Settings,
    /// Line and column from 1, the column in characters.
    File {
        file: PathBuf,
        line: usize,
        column: usize,
    },
    /// The variable.
    Environment(String),
    CommandLine,
}

// === impl ConfigDiagnostic ===

impl ConfigDiagnostic {
    pub fn error(code: Code, origin: &Origin, message: impl Into<String>) -> ConfigDiagnostic {
        ConfigDiagnostic {
            code,
            severity: Severity::Error,
            origin: origin.clone(),
            message: message.into(),
            help: None,
        }
    }

    pub fn warning(code: Code, origin: &Origin, message: impl Into<String>) -> ConfigDiagnostic {
        ConfigDiagnostic { severity: Severity::Warning, ..ConfigDiagnostic::error(code, origin, message) }
    }

    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> ConfigDiagnostic {
        self.help = Some(help.into()).filter(|help| !help.is_empty());
        self
    }

    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for ConfigDiagnostic {
    /// `error[MGW-0904]: message`, then where, then what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{severity}[{}]: {}", self.code.id(), self.message)?;
        match &self.origin {
            Origin::Settings => {}
            origin => write!(f, "\n  --> {origin}")?,
        }
        if let Some(help) = &self.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

impl From<&ConfigDiagnostic> for diagnostic::Diagnostic {
    /// For the reports of projects. A file is absolute: it is no part of one.
    fn from(problem: &ConfigDiagnostic) -> diagnostic::Diagnostic {
        let absolute = |file: &PathBuf| std::path::absolute(file).unwrap_or_else(|_| file.clone());
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let (place, message) = match &problem.origin {
            Origin::File { file, line, column } => {
                let at = diagnostic::LineColumn { line: number(*line), column: number(*column) };
                (Some(diagnostic::Place::point(absolute(file).to_string_lossy(), at)), problem.message.clone())
            }
            Origin::Settings => (None, problem.message.clone()),
            origin => (None, format!("{} ({origin})", problem.message)),
        };
        diagnostic::Diagnostic {
            severity: match problem.severity {
                Severity::Error => diagnostic::Severity::Error,
                Severity::Warning => diagnostic::Severity::Warning,
            },
            help: problem.help.clone(),
            ..diagnostic::Diagnostic::new(problem.code.in_table(), place, message)
        }
    }
}

// === impl Code ===

impl Code {
    pub fn id(self) -> &'static str {
        self.in_table().id()
    }

    /// The entry of the table of all codes, which has the record.
    pub fn in_table(self) -> diagnostic::Code {
        match self {
            Code::Unreadable => diagnostic::Code::SettingsUnreadable,
            Code::Syntax => diagnostic::Code::SettingsSyntax,
            Code::UnknownKey => diagnostic::Code::UnknownSetting,
            Code::BadValue => diagnostic::Code::BadSetting,
            Code::NotEnforced => diagnostic::Code::SettingNotEnforced,
            Code::NoEffect => diagnostic::Code::SettingWithoutEffect,
            Code::Conflict => diagnostic::Code::ConflictingSettings,
            Code::Insecure => diagnostic::Code::InsecureSetting,
        }
    }
}

// === impl Origin ===

impl Origin {
    /// A path that is written there: relative to the file that it stands in.
    pub fn resolve(&self, path: &str) -> PathBuf {
        let folder = match self {
            Origin::File { file, .. } => file.parent(),
            Origin::Settings | Origin::Environment(_) | Origin::CommandLine => None,
        };
        folder.unwrap_or(Path::new("")).join(path)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Settings => f.write_str("the settings"),
            Origin::File { file, line, column } => write!(f, "{}:{line}:{column}", file.display()),
            Origin::Environment(variable) => write!(f, "environment variable `{variable}`"),
            Origin::CommandLine => f.write_str("the command line"),
        }
    }
}

#[cfg(test)]
#[path = "diagnostic_tests.rs"]
mod tests;
