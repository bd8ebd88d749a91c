//! The records of the codes: what people read there is what the compiler does.

use microgw_compiler::compile::{Options, compile};
use microgw_compiler::diagnostic::{Block, Class, Code, Diagnostic, Record, Severity};
use microgw_compiler::files::MemoryFiles;

/// It takes a disk, or an Envoy, to bring these about; their examples are commands.
const NOT_FROM_TEXT: &[Code] = &[Code::UnreadableFile, Code::RefusedByEnvoy];
/// What is said beside a code wherever it is said.
const COMPANIONS: &[(Code, Code)] = &[(Code::UnreachableOperation, Code::NestedBasePath)];

fn diagnostics(record: &Record, fixed: bool, allow_unenforced: bool) -> Vec<Diagnostic> {
    let files = record.files(fixed).into_iter().fold(MemoryFiles::new(), |files, (path, text)| files.with(path, text));
    compile(&files, "shop", &Options { allow_unenforced }).diagnostics
}

fn of_projects() -> impl Iterator<Item = Code> {
    // Settings are not the compiler's: the command line tests theirs.
    Code::ALL.iter().copied().filter(|code| !code.is_of_settings() && !NOT_FROM_TEXT.contains(code))
}

#[test]
fn every_record_says_something_of_each_kind() {
    for code in Code::ALL {
        let record = code.record();
        assert!(matches!(record.text.first(), Some(Block::Text(text)) if text.len() > 80), "{code}");
        assert!(!record.example.is_empty() && !record.fix.is_empty(), "{code}");
        assert_eq!(record.files(false).is_empty(), NOT_FROM_TEXT.contains(code) || *code == Code::SettingsUnreadable);
        let all = [&record.text, &record.example, &record.fix].into_iter().flatten();
        for block in all {
            if let Block::Text(text) = block {
                assert!(!text.contains("```") && !text.starts_with('#'), "{code}: {text}");
                assert!(text.lines().all(|line| line.chars().count() <= 150), "{code}: {text}");
            }
        }
    }
}

#[test]
fn examples_have_the_problem() {
    for code in of_projects() {
        let found = diagnostics(&code.record(), false, false);
        assert!(found.iter().any(|found| found.code == code), "{code} is not among {found:#?}");
        // And nothing else that would be in the way of whoever tries it.
        let others = found.iter().filter(|found| {
            let expected = found.code == code
                || found.severity == Severity::Note
                || found.code.class() == Class::Unenforced
                || COMPANIONS.contains(&(code, found.code));
            !expected
        });
        assert_eq!(others.collect::<Vec<_>>(), Vec::<&Diagnostic>::new(), "{code}");
    }
}

#[test]
fn fixes_solve_it() {
    for code in of_projects() {
        // A fix may use what is not enforced yet, if that is not what it is about.
        let found = diagnostics(&code.record(), true, true);
        let left = found.iter().filter(|found| {
            found.code == code || (found.severity != Severity::Note && found.code.class() != Class::Unenforced)
        });
        assert_eq!(left.collect::<Vec<_>>(), Vec::<&Diagnostic>::new(), "{code}");
    }
}
