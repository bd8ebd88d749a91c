//! The page in the older text format, for those who do not ask for OpenMetrics.

use super::families::{Family, Kind};

/// The same samples. The older format names a counter with its `_total`, and has no type `info`.
pub(super) fn plain(openmetrics: &str, families: &[&Family]) -> String {
    let mut text = String::with_capacity(openmetrics.len());
    for line in openmetrics.lines().filter(|line| *line != "# EOF") {
        let described = ["# HELP ", "# TYPE "].into_iter().find_map(|what| {
            let (name, rest) = line.strip_prefix(what)?.split_once(' ')?;
            let family = families.iter().find(|family| family.name == name)?;
            Some((what, family, rest))
        });
        match described {
            Some((what, Family { name, kind: Kind::Counter, .. }, rest)) => text.extend([what, name, "_total ", rest]),
            Some((what, Family { name, kind: Kind::Info, .. }, rest)) => {
                text.extend([what, name, "_info ", if rest == "info" { "gauge" } else { rest }]);
            }
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    text
}
