//! The table of verdicts, and what in it is an error.
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use super::{Site, Verdict, Verdicts};
use crate::paths;

/// How many modules may be on the list of exceptions.
const MOST: usize = 12;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Exception {
    module: String,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    #[serde(default)]
    exception: Vec<Exception>,
}

/// Modules that pass on Linux and fail in a guest, with reasons (`cpython_exceptions.toml`).
///
/// # Errors
/// If the list can't be read, or is too long.
pub fn exceptions() -> Result<BTreeMap<String, String>, String> {
    let path = paths::repository().join("tests/cpython_exceptions.toml");
    let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let list: List = toml::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))?;
    if list.exception.len() > MOST {
        return Err(format!("{} modules are on the list of exceptions: {MOST} may be", list.exception.len()));
    }
    Ok(list.exception.into_iter().map(|e| (e.module, e.reason)).collect())
}

/// A table of what each site found, with counts, and what is wrong with it.
pub fn report(found: &[(Site, Verdicts)], exceptions: &BTreeMap<String, String>) -> (String, Vec<String>) {
    let (guests, linux): (Vec<_>, Vec<_>) =
        found.iter().partition(|(site, _)| matches!(site, Site::Guest(_)));
    let passes_on_linux =
        |module: &str| linux.iter().any(|(_, verdicts)| verdicts.get(module).is_some_and(Verdict::passed));
    let (mut table, mut errors) = (String::from("| module |"), Vec::new());
    for (site, _) in found {
        let _ = write!(table, " {} |", site.name());
    }
    table.push_str("\n|---|");
    table.push_str(&"---|".repeat(found.len()));
    let mut modules: Vec<&String> = found.iter().flat_map(|(_, verdicts)| verdicts.keys()).collect();
    modules.sort_unstable();
    modules.dedup();
    for module in modules {
        let _ = write!(table, "\n| {module} |");
        for (_, verdicts) in found {
            let _ = write!(table, " {} |", verdicts.get(module).map_or_else(String::new, describe));
        }
        let failing: Vec<&str> = guests
            .iter()
            .filter(|(_, verdicts)| verdicts.get(module).is_some_and(|verdict| !verdict.passed()))
            .map(|(site, _)| site.name())
            .collect();
        match (passes_on_linux(module) && !failing.is_empty(), exceptions.get(module)) {
            (true, None) => errors.push(format!("{module} passes on Linux and fails: {}", failing.join(", "))),
            (false, Some(reason)) if failing.is_empty() && !guests.is_empty() => errors.push(format!(
                "{module} passes, but cpython_exceptions.toml says that it fails ({reason}): take it off the list"
            )),
            _ => {}
        }
    }
    table.push('\n');
    for (site, verdicts) in found {
        let passed = verdicts.iter().filter(|(_, verdict)| verdict.passed());
        let (all, passed_here) = (verdicts.len(), passed.clone().count());
        let _ = write!(table, "\n{}: {passed_here} of {all} modules passed", site.name());
        if matches!(site, Site::Guest(_)) {
            let due = verdicts.keys().filter(|module| passes_on_linux(module)).count();
            let both = passed.filter(|(module, _)| passes_on_linux(module)).count();
            let _ = write!(table, "; {both} of the {due} that pass on Linux");
        }
    }
    (table, errors)
}

fn describe(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Passed { skipped: 0 } => "passed".into(),
        Verdict::Passed { skipped } => format!("passed ({skipped} skipped)"),
        Verdict::Skipped => "skipped".into(),
        Verdict::Failed(how) => format!("FAILED ({how})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::Mode;

    fn verdicts(of: &[(&str, bool)]) -> Verdicts {
        let verdict =
            |passed: bool| if passed { Verdict::Passed { skipped: 0 } } else { Verdict::Failed("2".into()) };
        of.iter().map(|&(module, passed)| (module.to_owned(), verdict(passed))).collect()
    }

    #[test]
    fn what_passes_on_linux_must_pass_in_guests_or_be_an_exception() {
        let found = [
            (Site::Linux, verdicts(&[("a", true), ("b", true), ("c", true), ("d", false), ("e", true)])),
            (
                Site::Guest(Mode::Protected),
                verdicts(&[("a", true), ("b", false), ("c", false), ("d", false), ("e", true)]),
            ),
        ];
        let exceptions = [("c".to_owned(), "why".to_owned()), ("e".to_owned(), "gone".to_owned())].into();
        let (table, errors) = report(&found, &exceptions);
        assert!(table.ends_with(
            "linux: 4 of 5 modules passed\nprotected: 2 of 5 modules passed; 2 of the 4 that pass on Linux"
        ));
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert_eq!(errors[0], "b passes on Linux and fails: protected");
        assert!(errors[1].starts_with("e passes, but"));
    }

    #[test]
    fn the_list_of_exceptions_can_be_read() {
        assert!(exceptions().is_ok());
    }
}
