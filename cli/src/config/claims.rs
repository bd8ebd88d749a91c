//! `[[jwtTokenConfig.claims]]`.

use microgw_compiler::settings::ClaimMapping;

use super::diagnostic::{Code, ConfigDiagnostic};
use super::values::Values;

/// What decides whether a token holds, or names it: neither comes from elsewhere, nor goes.
const FIXED: [&str; 7] = ["iss", "aud", "exp", "nbf", "iat", "jti", "cnf"];

/// The mappings of one issuer.
pub fn read(values: &Values, issuer: &str, problems: &mut Vec<ConfigDiagnostic>) -> Vec<ClaimMapping> {
    let mut mappings: Vec<ClaimMapping> = Vec::new();
    for entry in values.entries(&format!("{issuer}.claims")) {
        let mapping = read_one(values, &entry);
        let from = if mapping.from.starts_with('/') { "" } else { mapping.from.as_str() };
        let said = match () {
            () if mapping.from.is_empty() => {
                format!("`{entry}.remoteClaim` is missing: it names the claim in the token")
            }
            () if FIXED.contains(&from) || FIXED.contains(&mapping.to.as_str()) => format!(
                "`{entry}` maps one of {}, which decide whether a token holds",
                FIXED.map(|name| format!("`{name}`")).join(", ")
            ),
            () if mapping.to.starts_with('/') => {
                format!("`{entry}.localClaim` is missing: `{}` has no name of its own", mapping.from)
            }
            () if mappings.iter().any(|other| other.to == mapping.to) => {
                format!("`{entry}` makes the claim `{}`, as another entry does", mapping.to)
            }
            () if mapping.keep_others && mapping.values.is_empty() => {
                format!("`{entry}.otherValues` has no meaning without `{entry}.values`")
            }
            () => {
                mappings.push(mapping);
                continue;
            }
        };
        problems.push(ConfigDiagnostic::error(Code::BadValue, &values.section_origin(&entry), said));
    }
    mappings
}

fn read_one(values: &Values, entry: &str) -> ClaimMapping {
    let text = |key| values.text(&format!("{entry}.{key}"));
    let (from, to) = (text("remoteClaim"), text("localClaim"));
    let table = format!("{entry}.values");
    let replacements =
        values.members(&table).into_iter().map(|name| (unquoted(name), values.text(&format!("{table}.{name}"))));
    ClaimMapping {
        to: if to.is_empty() { from.clone() } else { to },
        from,
        split: text("split"),
        strip_prefix: text("stripPrefix"),
        values: replacements.collect(),
        keep_others: text("otherValues") == "keep",
        join: text("join"),
    }
}

/// A name as it was written: see [`super::keys::quoted`].
fn unquoted(name: &str) -> String {
    match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\\\"", "\"").replace("\\\\", "\\"),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::layers::Document;
    use super::super::values;
    use super::*;

    fn claims(file: &str) -> (Vec<ClaimMapping>, Vec<String>) {
        let document =
            Document::parse(Path::new("micro-gw.conf"), &format!("[[jwtTokenConfig]]\nissuer = 'a'\n{file}"));
        assert_eq!(document.problems, []);
        let mut problems = Vec::new();
        let values = values::judge(&document.layers, false, &mut problems);
        let mappings = read(&values, "jwtTokenConfig[0]", &mut problems);
        (mappings, problems.into_iter().map(|problem| problem.message).collect())
    }

    #[test]
    fn claims_are_renamed_and_mapped() {
        let file = "[[jwtTokenConfig.claims]]\nremoteClaim = 'scp'\nlocalClaim = 'scope'\n\
            [[jwtTokenConfig.claims]]\nremoteClaim = 'http://wso2.org/claims/role'\nlocalClaim = 'roles'\nsplit = ','\n\
            stripPrefix = 'Internal/'\njoin = ' '\notherValues = 'keep'\n\
            [jwtTokenConfig.claims.values]\nreader = 'read'\n'a.b' = 'c'\n'x\"y' = ''\n\
            [[jwtTokenConfig.claims]]\nremoteClaim = 'keytype'\nvalues = { sand = 'SANDBOX' }";
        let (mappings, problems) = claims(file);
        assert_eq!(problems, [] as [String; 0]);
        let own = |from: &str, to: &str| ClaimMapping { from: from.into(), to: to.into(), ..ClaimMapping::default() };
        let pair = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        let mut values = mappings[1].values.clone();
        values.sort();
        assert_eq!(values, [pair("a.b", "c"), pair("reader", "read"), pair("x\"y", "")]);
        assert_eq!(mappings[0], own("scp", "scope"));
        assert_eq!(
            ClaimMapping { values: Vec::new(), ..mappings[1].clone() },
            ClaimMapping {
                split: ",".into(),
                strip_prefix: "Internal/".into(),
                keep_others: true,
                join: " ".into(),
                ..own("http://wso2.org/claims/role", "roles")
            }
        );
        assert_eq!(mappings[2], ClaimMapping { values: vec![pair("sand", "SANDBOX")], ..own("keytype", "keytype") });
    }

    #[test]
    fn what_cannot_be_mapped_is_an_error() {
        for (file, expected) in [
            (
                "localClaim = 'x'",
                "`jwtTokenConfig[0].claims[0].remoteClaim` is missing: it names the claim in the token",
            ),
            (
                "remoteClaim = 'x'\nlocalClaim = 'exp'",
                "`jwtTokenConfig[0].claims[0]` maps one of `iss`, `aud`, `exp`, `nbf`, `iat`, `jti`, `cnf`, which decide whether a token holds",
            ),
            (
                "remoteClaim = 'cnf'\nlocalClaim = 'x'",
                "`jwtTokenConfig[0].claims[0]` maps one of `iss`, `aud`, `exp`, `nbf`, `iat`, `jti`, `cnf`, which decide whether a token holds",
            ),
            (
                "remoteClaim = '/a/b'",
                "`jwtTokenConfig[0].claims[0].localClaim` is missing: `/a/b` has no name of its own",
            ),
            (
                "remoteClaim = 'a'\notherValues = 'keep'",
                "`jwtTokenConfig[0].claims[0].otherValues` has no meaning without `jwtTokenConfig[0].claims[0].values`",
            ),
            (
                "remoteClaim = 'a'\nlocalClaim = 'c'\n[[jwtTokenConfig.claims]]\nremoteClaim = 'b'\nlocalClaim = 'c'",
                "`jwtTokenConfig[0].claims[1]` makes the claim `c`, as another entry does",
            ),
        ] {
            let (_, problems) = claims(&format!("[[jwtTokenConfig.claims]]\n{file}"));
            assert_eq!(problems, [expected]);
        }
    }
}
