//! One thing that is read from files.

use std::path::PathBuf;

use super::expiry::{self, Expiry};

pub struct Part<T> {
    role: String,
    files: Vec<PathBuf>,
    load: Box<dyn Fn() -> anyhow::Result<T> + Send>,
    value: T,
    /// What `value` took the place of, until it is known to be usable.
    before: Option<T>,
    /// Why the files, as they are now, are not what is used.
    problem: Option<String>,
}

/// For those who ask how it stands.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct PartStatus {
    pub role: String,
    pub files: Vec<PathBuf>,
    /// When the first of what is presented or verified with ends, in seconds since the Unix epoch.
    pub expires: Option<u64>,
    pub problem: Option<String>,
}

// === impl Part ===

impl<T: PartialEq + Expiry> Part<T> {
    pub fn load(
        role: impl Into<String>,
        files: Vec<PathBuf>,
        load: impl Fn() -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<Part<T>> {
        let value = load()?;
        let part = Part { role: role.into(), files, load: Box::new(load), value, before: None, problem: None };
        part.warn_of_expiry();
        Ok(part)
    }

    /// Whether there is another value now.
    pub fn reload(&mut self) -> bool {
        if self.files.is_empty() {
            return false;
        }
        match (self.load)() {
            Ok(value) if self.is_over(&value) => {
                let problem = "the certificate there has expired";
                tracing::error!(role = %self.role, "{problem}; what was read before stays");
                self.problem = Some(problem.to_owned());
                false
            }
            Ok(value) => {
                self.problem = None;
                let changed = value != self.value;
                if changed {
                    self.before = Some(std::mem::replace(&mut self.value, value));
                    tracing::info!(role = %self.role, "read anew");
                    self.warn_of_expiry();
                }
                changed
            }
            Err(error) => {
                let problem = format!("{error:#}");
                tracing::error!(role = %self.role, "{problem}; what was read before stays");
                self.problem = Some(problem);
                false
            }
        }
    }

    pub fn accepted(&mut self) {
        self.before = None;
    }

    pub fn refused(&mut self, reason: &str) {
        if let Some(before) = self.before.take() {
            self.value = before;
            tracing::error!(role = %self.role, "{reason}; what was read before stays");
            self.problem = Some(reason.to_owned());
        }
    }

    pub fn value(&self) -> &T {
        &self.value
    }

    pub fn status(&self) -> PartStatus {
        PartStatus {
            role: self.role.clone(),
            files: self.files.clone(),
            expires: self.value.expires(),
            problem: self.problem.clone(),
        }
    }

    /// Whether `value` has ended, and what there is has not.
    fn is_over(&self, value: &T) -> bool {
        let has_ended = |value: &T| value.expires().is_some_and(expiry::is_over);
        has_ended(value) && !has_ended(&self.value)
    }

    fn warn_of_expiry(&self) {
        if let Some(end) = self.value.expires() {
            expiry::warn(&self.role, end);
        }
    }
}
