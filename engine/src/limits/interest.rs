//! What limits look at of credentials, and of what stores know of callers: the rest need not be kept or found out.

use std::collections::BTreeSet;
use std::sync::Arc;

use microgw_expressions::Variable;

#[derive(Debug, Default)]
pub(crate) struct Interest {
    claims: BTreeSet<Box<str>>,
    /// By which application somebody calls, and under which tier.
    pub(crate) subscriptions: bool,
}

// === impl Interest ===

impl Interest {
    pub(crate) fn in_claim(&mut self, name: &str) {
        self.claims.insert(name.into());
    }

    pub(super) fn in_all(&mut self, variables: &[Variable]) {
        for variable in variables {
            self.in_variable(variable);
        }
    }

    fn in_variable(&mut self, variable: &Variable) {
        match variable {
            Variable::Claim(name) => self.in_claim(name),
            Variable::Present(variable) => self.in_variable(variable),
            Variable::Tier | Variable::Application | Variable::ApplicationId => self.subscriptions = true,
            _ => {}
        }
    }

    /// Their names, in order.
    pub(crate) fn claims(&self) -> Arc<[Box<str>]> {
        self.claims.iter().cloned().collect()
    }
}
