//! The records of settings: what people read there is what the gateway says.

use std::path::PathBuf;

use microgw_compiler::diagnostic::{Code, Record, Severity};

use super::super::{Refused, Sources, resolve};
use super::ConfigDiagnostic;

/// It takes a disk: `search_tests.rs` has it.
const NOT_FROM_TEXT: &[Code] = &[Code::SettingsUnreadable];

fn problems(record: &Record, fixed: bool) -> Vec<ConfigDiagnostic> {
    let mut files = record.files(fixed).into_iter();
    let (path, text) = files.next().unwrap();
    assert_eq!((path, files.next()), ("micro-gw.conf", None));
    match resolve(&Sources { file: Some((PathBuf::from(path), text)), ..Sources::default() }) {
        Ok((_, warnings)) => warnings,
        Err(Refused(problems)) => problems,
    }
}

#[test]
fn examples_have_the_problem_and_fixes_solve_it() {
    let mut tested = 0;
    for code in Code::ALL.iter().filter(|code| code.is_of_settings() && !NOT_FROM_TEXT.contains(code)) {
        let record = code.record();
        let found = problems(&record, false);
        assert!(!found.is_empty() && found.iter().all(|found| found.code.in_table() == *code), "{code}: {found:?}");
        let failed = found.iter().any(ConfigDiagnostic::is_error);
        let worst = if failed { Severity::Error } else { Severity::Warning };
        assert_eq!(worst, code.severity(), "{code}");
        assert_eq!(problems(&record, true), [], "{code}");
        tested += 1;
    }
    assert_eq!(tested, 7);
}
