//! Definitions that make sense, from text to the table that Envoy is offered: which operation a request reaches, and what
//! its rule asks for, against a naive reading of what was declared.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use arbitrary::{Result, Unstructured};
use microgw_compiler::artifact;
use microgw_compiler::compile::Options;
use microgw_compiler::path::normal::{Version, normalise};
use microgw_proto::rules::v1::{self as proto, api_key::Location, requirement::Kind};
use serde_json::{Value, json};

use crate::credentials::{hex, key_in, oauth2};
use crate::project::{Contents, STANDARD, check, snapshot};
use crate::table::{Head, Table};
use crate::{Reached, Target};

pub const TARGET: Target = Target {
    name: "routes",
    run,
    reaches: &["refused", "nothing found", "an operation", "another method", "another spelling", "built in"],
    dictionary: &[],
    mutations: 150,
};

const METHODS: [&str; 4] = ["get", "put", "post", "delete"];
/// Segments of paths. Requests have them as they are, with parameters filled in, and others.
const SEGMENTS: [&str; 26] = [
    "a",
    "b",
    "ab",
    "abc",
    "c",
    "{p}",
    "{q}",
    "a{p}",
    "{p}b",
    "{p}.{q}",
    "v{p}.json",
    "a.b",
    "a+b",
    "(a)",
    "a|b",
    "é",
    "%C3%A9",
    "%41",
    "a%20b",
    "~a",
    "$1",
    "@me",
    "{p}:run",
    "{p}@b",
    "{p}B",
    "health",
];
const REQUESTED: [&str; 37] = [
    "a", "b", "ab", "abc", "c", "x", "ax", "xb", "a.b", "x.y", "v1.json", "v.json", "a+b", "(a)", "a|b", "%C3%A9",
    "%c3%a9", "%41", "a%20b", "~a", "$1", "", "a;b", ";", ".a", "health", "a%2bb", "%28a)", "a%7cb", "%241", "@me",
    "%40me", "x:run", "x%3Arun", "x%40b", "%2B", "%zz",
];
const BASES: [&str; 5] = ["", "/a", "/a/b", "/shop", "/a.b"];

struct Api {
    base: &'static str,
    http: bool,
    https: bool,
    /// What its definition asks for where an operation says nothing.
    security: Option<Security>,
    operations: BTreeMap<(String, &'static str), Option<Security>>,
}

/// What a `security` says.
#[derive(Clone, Copy, Debug)]
enum Security {
    Nothing,
    OrNothing,
    Header,
    Query,
    Token,
    Scopes,
    Both,
    Either,
}

// === impl Security ===

impl Security {
    const ALL: [Security; 8] = [
        Security::Nothing,
        Security::OrNothing,
        Security::Header,
        Security::Query,
        Security::Token,
        Security::Scopes,
        Security::Both,
        Security::Either,
    ];

    fn declared(self) -> Value {
        match self {
            Security::Nothing => json!([]),
            Security::OrNothing => json!([{ "token": ["read"] }, {}]),
            Security::Header => json!([{ "header": [] }]),
            Security::Query => json!([{ "query": [] }]),
            Security::Token => json!([{ "token": [] }]),
            Security::Scopes => json!([{ "token": ["read", "write"] }]),
            Security::Both => json!([{ "header": [], "token": ["read"] }]),
            Security::Either => json!([{ "header": [] }, { "token": ["read"] }]),
        }
    }

    /// Alternatives of requirements. `None`: public.
    fn meant(self) -> Option<Vec<Vec<Kind>>> {
        let header = || key_in(Location::Header, "x-key");
        match self {
            Security::Nothing | Security::OrNothing => None,
            Security::Header => Some(vec![vec![header()]]),
            Security::Query => Some(vec![vec![key_in(Location::Query, "Key")]]),
            Security::Token => Some(vec![vec![oauth2(&[], false)]]),
            Security::Scopes => Some(vec![vec![oauth2(&["read", "write"], false)]]),
            Security::Both => Some(vec![vec![header(), oauth2(&["read"], false)]]),
            Security::Either => Some(vec![vec![header()], vec![oauth2(&["read"], false)]]),
        }
    }
}

// === impl Api ===

impl Api {
    fn arbitrary(u: &mut Unstructured<'_>, base: &'static str) -> Result<Api> {
        let security = |u: &mut Unstructured<'_>| {
            if u.arbitrary()? { Ok(None) } else { u.choose(&Security::ALL).copied().map(Some) }
        };
        let (http, https) = *u.choose(&[(true, true), (true, true), (true, false), (false, true)])?;
        let mut operations = BTreeMap::new();
        for _ in 0..u.int_in_range(1..=30)? {
            let mut path = String::new();
            for _ in 0..u.int_in_range(1..=4)? {
                path.push('/');
                path.push_str(u.choose(&SEGMENTS)?);
            }
            path.push_str(u.choose(&["", "", "", "", "/", "/*"])?);
            operations.insert((path, *u.choose(&METHODS)?), security(u)?);
        }
        Ok(Api { base, http, https, security: security(u)?, operations })
    }

    fn definition(&self) -> Value {
        let mut paths: BTreeMap<&str, BTreeMap<&str, Value>> = BTreeMap::new();
        for ((path, method), security) in &self.operations {
            let mut operation = json!({ "responses": { "200": { "description": "" } } });
            if let Some(security) = security {
                operation["security"] = security.declared();
            }
            paths.entry(path).or_default().insert(method, operation);
        }
        let transports: Vec<&str> =
            [("http", self.http), ("https", self.https)].iter().filter(|(_, on)| *on).map(|(name, _)| *name).collect();
        let mut definition = json!({
            "openapi": "3.0.0",
            "info": { "title": format!("api{}", self.base.replace('/', "-")), "version": "1" },
            "servers": [{ "url": "http://backend:8080/x" }],
            "x-wso2-basePath": if self.base.is_empty() { "/" } else { self.base },
            "x-wso2-transports": transports,
            "paths": paths,
            "components": { "securitySchemes": {
                "header": { "type": "apiKey", "in": "header", "name": "X-Key" },
                "query": { "type": "apiKey", "in": "query", "name": "Key" },
                "token": { "type": "oauth2" },
            } },
        });
        if let Some(security) = self.security {
            definition["security"] = security.declared();
        }
        definition
    }

    fn is_served_on(&self, listener: &str) -> bool {
        if listener == "http" { self.http } else { self.https }
    }
}

/// What a request should meet.
#[derive(Debug, PartialEq)]
enum Expected {
    Nothing,
    BuiltIn,
    /// 400: the path cannot be used, or is another spelling.
    Refused,
    /// 405 with these methods.
    OtherMethod(BTreeSet<String>),
    /// The method and the path template with its base path; what is asked for.
    Operation(String, Option<Vec<Vec<Kind>>>),
}

pub fn run(data: &[u8]) -> Reached {
    judge(&mut Unstructured::new(data)).unwrap_or("refused")
}

fn judge(u: &mut Unstructured<'_>) -> Result<Reached> {
    let mut apis = Vec::new();
    for base in BASES {
        if u.arbitrary()? {
            apis.push(Api::arbitrary(u, base)?);
        }
    }
    let mut contents = Contents::from([("conf/deployment-config.toml".to_owned(), STANDARD.into())]);
    for (index, api) in apis.iter().enumerate() {
        contents.insert(format!("api_definitions/{index}.json"), api.definition().to_string().into_bytes());
    }
    // Paths that mean the same, and the like.
    let Some(model) = check(&contents, Options::default()) else { return Ok("refused") };
    let snapshot = snapshot(&model, &artifact::id(&artifact::encode(&model)));
    let table = Table::of(&snapshot);
    let mut reached = "nothing found";
    for _ in 0..u.int_in_range(1..=12)? {
        let (path, method, listener) = request(u)?;
        // As Envoy hands it on; what it would not is for the table to refuse, all the same.
        let path = normalise(path.as_bytes(), Version::Http1).map_or(path, |normal| normal.to_string());
        let head = Head { method: &method, path: &path, listener };
        let expected = expected(&apis, &head);
        let found = found(&table, &snapshot.rules, &head);
        assert_eq!(found, expected, "{method} {path} over {listener}");
        reached = match found {
            Expected::Nothing => continue,
            Expected::BuiltIn => "built in",
            Expected::Refused => "another spelling",
            Expected::OtherMethod(_) => "another method",
            Expected::Operation(..) => "an operation",
        };
    }
    Ok(reached)
}

fn request(u: &mut Unstructured<'_>) -> Result<(String, String, &'static str)> {
    let mut path = (*u.choose(&BASES)?).to_owned();
    for _ in 0..u.int_in_range(1..=5)? {
        path.push('/');
        path.push_str(u.choose(&REQUESTED)?);
    }
    path.push_str(u.choose(&["", "", "", "/", "?a=/b/c", "/?x", "?;"])?);
    let method = u.choose(&METHODS)?.to_uppercase();
    Ok((path, method, *u.choose(&["http", "https"])?))
}

fn found(table: &Table, rules: &proto::RuleBook, head: &Head<'_>) -> Expected {
    let Some(route) = table.find(head) else { return Expected::Nothing };
    match route.direct() {
        Some((405, allow)) => {
            assert!(route.rule().is_none());
            let allow = allow.expect("405 without Allow");
            return Expected::OtherMethod(allow.split(", ").map(str::to_owned).collect());
        }
        Some((200, _)) => return Expected::BuiltIn,
        Some((400, _)) => return Expected::Refused,
        Some((status, _)) => panic!("{status} for {}", route.name()),
        None => {}
    }
    if route.name().starts_with("/apikey") {
        assert!(route.rule().is_none());
        return Expected::BuiltIn;
    }
    let asked = route.rule().map(|id| {
        let of_id = |rule: &&proto::Rule| hex(&rule.id) == id;
        let rule = rules.rules.iter().find(of_id).expect("a route carries a rule that is not there");
        assert_eq!(shape(route.name()), shape(&format!("{} {}", rule.method, rule.path)));
        let policy = &rules.policies[rule.policy as usize];
        assert!(policy.production && !policy.sandbox && policy.remove_credentials);
        let kinds = |alternative: &proto::Alternative| {
            alternative.requirements.iter().map(|requirement| requirement.kind.clone().unwrap()).collect()
        };
        sorted(policy.alternatives.iter().map(kinds).collect())
    });
    Expected::Operation(route.name().to_owned(), asked)
}

/// The order of what must all hold does not matter.
fn sorted(mut alternatives: Vec<Vec<Kind>>) -> Vec<Vec<Kind>> {
    for alternative in &mut alternatives {
        alternative.sort_by_key(|kind| format!("{kind:?}"));
    }
    alternatives
}

fn expected(apis: &[Api], head: &Head<'_>) -> Expected {
    let bare = head.path.split('?').next().unwrap_or_default();
    if bare.contains("%zz") {
        return Expected::Refused;
    }
    let below = |base: &str| bare.strip_prefix(base).filter(|rest| rest.starts_with('/'));
    let api = apis.iter().filter(|api| below(api.base).is_some()).max_by_key(|api| api.base.len());
    let own = api.filter(|api| !api.base.is_empty());
    // At the root the gateway's own paths stand beside the operations of an API.
    let built_in: &[&str] = if own.is_none() { &["/health", "/health/*", "/apikey", "/apikey/*"] } else { &[] };
    let templates = api.iter().flat_map(|api| api.operations.keys().map(|(path, _)| path.as_str()));
    let rest = api.map_or(bare, |api| below(api.base).unwrap_or_default());
    let own = |template: &&str| matches(template, rest, false);
    let mut matching: Vec<&str> =
        templates.chain(built_in.iter().copied()).filter(|template| matches(template, rest, true)).collect();
    matching.sort_by_key(|template| (rank(template), *template));
    for template in matching {
        if built_in.contains(&template) {
            if template.starts_with("/health") || head.listener == "https" {
                return Expected::BuiltIn;
            }
            continue;
        }
        let Some(api) = api.filter(|api| api.is_served_on(head.listener)) else { continue };
        if !own(&template) {
            return Expected::Refused;
        }
        // Templates that differ in the names of their parameters alone are one path.
        let same: Vec<(&(String, &str), &Option<Security>)> =
            api.operations.iter().filter(|((path, _), _)| shape(path) == shape(template)).collect();
        let operation = same.iter().find(|((_, method), _)| method.eq_ignore_ascii_case(head.method));
        let Some(((_, _), security)) = operation else {
            let methods = same.iter().map(|((_, method), _)| method.to_uppercase());
            return Expected::OtherMethod(methods.collect());
        };
        let meant = security.or(api.security).unwrap_or(Security::Token).meant();
        // A route is called by the template that comes first of those that are one path.
        let name = same.iter().map(|((path, _), _)| path).min().map_or("", String::as_str);
        return Expected::Operation(format!("{} {}{name}", head.method, api.base), meant.map(sorted));
    }
    Expected::Nothing
}

/// Segment by segment, with the parameters of a segment tried at every length. `lax`: whatever is encoded, and how.
fn matches(template: &str, path: &str, lax: bool) -> bool {
    let (mut segments, mut rest) = (template.split('/').skip(1).peekable(), path.split('/').skip(1));
    while let Some(segment) = segments.next() {
        if segment == "*" && segments.peek().is_none() {
            let first = rest.next();
            return first.is_some() && first.into_iter().chain(rest).all(|text| !text.contains(';'));
        }
        let Some(text) = rest.next() else { return false };
        if !segment_matches(segment, &units(text), lax) {
            return false;
        }
    }
    rest.next().is_none()
}

/// What each character of a path is, decoded, and how it is written.
fn units(text: &str) -> Vec<(u8, String)> {
    let mut units = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let long = if first == '%' { 3 } else { first.len_utf8() };
        let (unit, tail) = rest.split_at(long.min(rest.len()));
        rest = tail;
        match u8::from_str_radix(unit.trim_start_matches('%'), 16) {
            Ok(byte) if first == '%' => units.push((byte, unit.to_owned())),
            _ => units.extend(unit.bytes().map(|byte| (byte, unit.to_owned()))),
        }
    }
    units
}

fn segment_matches(segment: &str, text: &[(u8, String)], lax: bool) -> bool {
    match segment.split_once('{') {
        None => is_text(segment, text, lax),
        Some((before, tail)) => {
            let after = tail.split_once('}').map_or("", |(_, after)| after);
            let before_length = units(before).len();
            if text.len() < before_length || !is_text(before, &text[..before_length], lax) {
                return false;
            }
            let text = &text[before_length..];
            (1..=text.len())
                .take_while(|at| text[..*at].iter().all(|(_, written)| written != ";"))
                .any(|at| segment_matches(after, &text[at..], lax))
        }
    }
}

fn is_text(wanted: &str, text: &[(u8, String)], lax: bool) -> bool {
    let wanted = units(wanted);
    wanted.len() == text.len()
        && wanted.iter().zip(text).all(|((wanted, _), (byte, written))| {
            // What cannot stand in a path as it is.
            let plain = !wanted.is_ascii() || b" |".contains(wanted);
            let own = if plain { format!("%{wanted:02X}") } else { char::from(*wanted).to_string() };
            wanted == byte && (lax || *written == own)
        })
}

/// Concrete text first, then text around parameters (the more the earlier), then a parameter alone, then `*`.
fn rank(template: &str) -> Vec<(u8, Reverse<usize>)> {
    let segments = template.split('/').skip(1).map(|segment| {
        let fixed: usize = shape(segment).replace("{}", "").len();
        match segment {
            "*" => (3, Reverse(0)),
            _ if !segment.contains('{') => (0, Reverse(0)),
            _ if fixed > 0 => (1, Reverse(fixed)),
            _ => (2, Reverse(0)),
        }
    });
    segments.collect()
}

fn shape(template: &str) -> String {
    template.replace("{p}", "{}").replace("{q}", "{}").replace('é', "%C3%A9").replace("%41", "A").replace('|', "%7C")
}
