//! What is declared of interceptors: which programs of `interceptors/` messages of an API or operation go through.

mod component;
mod files;
mod uses;

use std::collections::HashMap;

use microgw_proto::interceptors::v1::{Interceptor, OperationInterceptors, Use, interceptor};
use microgw_transforms::Direction;

pub(crate) use self::files::{DIRECTORY, InterceptorFiles, service_of_stranger};
pub(crate) use self::uses::{Said, read};
use crate::compile::Report;
use crate::diagnostic::{Code, Diagnostic, Place};

/// Programs of one direction of an operation.
pub(crate) const MAX_USES: usize = 16;
/// Milliseconds of a call, and of all that a message goes through. Envoy waits for them (`LONGEST_WAIT`).
pub(crate) const TIMEOUTS: std::ops::RangeInclusive<u32> = 1..=30_000;
/// Bytes of all memories of a component.
pub(crate) const MEMORIES: std::ops::RangeInclusive<u64> = 64 << 10..=1 << 30;

/// What is found out while definitions are read.
#[derive(Default)]
pub(crate) struct Interceptors {
    pub files: InterceptorFiles,
    table: Vec<Interceptor>,
    ids: HashMap<String, u32>,
}

/// A program that messages of one direction go through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    name: String,
    parameters: String,
    at: Place,
}

/// Of both directions, those of the API first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Both {
    pub request: Vec<Placed>,
    pub response: Vec<Placed>,
}

/// Whose messages they are.
#[derive(Clone, Copy)]
pub(crate) struct Owner<'a> {
    /// Method and path.
    pub label: &'a str,
    /// Why none of its messages goes through a program.
    pub without: Option<&'a str>,
    /// Its requests, and its responses, go on without an end.
    pub streams: [bool; 2],
}

/// Whether an artifact's interceptor is one that a project can declare.
pub(crate) fn is_sound(interceptor: &Interceptor) -> bool {
    let hosted = match &interceptor.host {
        Some(interceptor::Host::Component(component)) => {
            MEMORIES.contains(&component.max_memory) && component::Shape::of(&component.code).is_ok()
        }
        Some(interceptor::Host::Service(service)) => files::is_service(&service.url),
        None => false,
    };
    hosted && files::is_name(&interceptor.name) && TIMEOUTS.contains(&interceptor.timeout_milliseconds)
}

// === impl Interceptors ===

impl Interceptors {
    /// Of an operation, once they are checked against it.
    pub(crate) fn of(&mut self, report: &mut Report, both: &Both, owner: Owner<'_>) -> OperationInterceptors {
        let first = both.request.iter().chain(&both.response).next();
        if let (Some(why), Some(first)) = (owner.without, first) {
            let message = format!("`{}` {why}: none of its messages would go through `{}`", owner.label, first.name);
            let problem = Diagnostic::new(Code::BadInterceptor, first.at.clone(), message);
            report.add(problem.help("say `x-microgw-interceptors: false` of the operation, if that is meant"));
            return OperationInterceptors::default();
        }
        OperationInterceptors {
            request: self.uses(report, &both.request, owner, Direction::Request),
            response: self.uses(report, &both.response, owner, Direction::Response),
        }
    }

    fn uses(&mut self, report: &mut Report, placed: &[Placed], owner: Owner<'_>, direction: Direction) -> Vec<Use> {
        if let Some(one) = placed.get(MAX_USES) {
            let message = format!("messages of `{}` go through more than {MAX_USES} interceptors", owner.label);
            report.add(Diagnostic::new(Code::BadInterceptor, one.at.clone(), message));
        }
        let (mut uses, mut milliseconds) = (Vec::new(), 0);
        for Placed { name, parameters, at } in placed {
            let Some(interceptor) = self.files.get(name) else { continue };
            let before = milliseconds;
            milliseconds += u64::from(interceptor.timeout_milliseconds);
            let most = u64::from(*TIMEOUTS.end());
            if milliseconds > most && before <= most {
                let message = format!(
                    "messages of `{}` could take {milliseconds} ms, counted to `{name}`: `timeoutMs` of what they go through is at most {most} together",
                    owner.label
                );
                report.add(Diagnostic::new(Code::BadInterceptor, at.clone(), message));
            }
            let (bodies, streams) = match direction {
                Direction::Request => (interceptor.request_body, owner.streams[0]),
                Direction::Response => (interceptor.response_body, owner.streams[1]),
            };
            if bodies && streams {
                let message = format!(
                    "`{}` is for streams, whose bodies nobody waits for, and the interceptor `{name}` needs them",
                    owner.label
                );
                report.add(Diagnostic::new(Code::BadInterceptor, at.clone(), message));
            }
            let next = u32::try_from(self.table.len()).unwrap_or(u32::MAX);
            let index = *self.ids.entry(name.clone()).or_insert(next);
            if index == next {
                self.table.push(interceptor.clone());
            }
            let Place { file, start, .. } = at;
            let source = format!("{file}:{}:{}", start.line, start.column);
            uses.push(Use { interceptor: index, parameters: parameters.clone(), source });
        }
        uses
    }

    pub(crate) fn take(&mut self) -> Vec<Interceptor> {
        std::mem::take(&mut self.table)
    }
}

// === impl Both ===

impl Both {
    /// Of an operation whose API this is: requests meet the API's first, responses last. What both say alike is done once.
    pub(crate) fn around(&self, own: &Both) -> Both {
        let is_new = |placed: &Placed, others: &[Placed]| {
            !others.iter().any(|other| other.name == placed.name && other.parameters == placed.parameters)
        };
        let mut request = self.request.clone();
        request.extend(own.request.iter().filter(|placed| is_new(placed, &self.request)).cloned());
        let mut response: Vec<Placed> =
            own.response.iter().filter(|placed| is_new(placed, &self.response)).cloned().collect();
        response.extend(self.response.iter().cloned());
        Both { request, response }
    }
}
