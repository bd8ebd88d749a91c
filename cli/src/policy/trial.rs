//! A policy's tests: a project is made of the policy and one operation, built, and asked what becomes of a message, as `explain` asks.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use anyhow::{Context as _, bail};
use micro_gw::config::{self, with_pretended_secrets};
use microgw_compiler::artifact;
use microgw_compiler::compile::{Options, compile};
use microgw_compiler::diagnostic::Diagnostic;
use microgw_compiler::files::MemoryFiles;
use microgw_compiler::model::Model;
use microgw_compiler::packages::{Case as Written, DIRECTORY, TESTS};
use microgw_compiler::settings::Settings;
use microgw_hub::Package;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::explain::{self, Facts, Request, Response};
use crate::{inspect, output};

/// Whoever calls has this token, and the authorization server says who it is.
const TOKEN: &str = "a-token-for-the-occasion";
const SETTINGS: &str = "[keyManager]\nserverUrl = \"https://localhost\"\nusername = \"test\"\npassword = \"test\"\n";
const REQUEST_ID: &str = "x-request-id";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// What the policy is used with.
    with: Option<Value>,
    #[serde(default)]
    request: Message,
    /// Its backend's. It is the one that is looked at, then.
    response: Option<Message>,
    #[serde(default)]
    context: Context,
    expect: Expected,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    method: Option<String>,
    /// With its query.
    path: Option<String>,
    status: Option<u16>,
    #[serde(default)]
    headers: BTreeMap<String, Values>,
    /// JSON, as a text.
    body: Option<String>,
    /// Anything else.
    text: Option<String>,
}

/// What is known beside the message.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Context {
    /// The template of the path.
    operation: Option<String>,
    /// Claims, as an authorization server tells them.
    caller: Option<Map<String, Value>>,
    /// Of the request.
    id: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    method: Option<String>,
    path: Option<String>,
    status: Option<u16>,
    /// Null: there is none.
    #[serde(default)]
    headers: BTreeMap<String, Option<Values>>,
    /// JSON, as a text.
    body: Option<String>,
    text: Option<String>,
    /// Nothing is passed on, and this is what the client gets.
    refused: Option<u16>,
    /// The project does not build, and this is a part of why.
    error: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Values {
    One(String),
    Several(Vec<String>),
}

/// What became of a message.
struct Outcome {
    refused: Option<(u64, String)>,
    method: String,
    path: String,
    status: u64,
    /// Several of one name are joined.
    headers: BTreeMap<String, String>,
    body: String,
}

/// Says how they went; how many failed.
pub fn run(package: &Package, directory: &Path) -> anyhow::Result<usize> {
    let settings = settings()?;
    let name = &package.manifest.name;
    let (mut passed, mut failed) = (0, 0);
    let files = package.files().filter(|(path, _)| path.strip_prefix(TESTS).is_some_and(|rest| rest.starts_with('/')));
    for (path, bytes) in files {
        let extension = path.rsplit_once('.').map(|(_, extension)| extension);
        if !matches!(extension, Some("yaml" | "yml" | "json")) {
            continue;
        }
        let cases = Written::read_all(path, bytes.to_vec());
        let cases = cases.map_err(|problems| anyhow::anyhow!("{}: {}", directory.display(), told(&problems)))?;
        for written in cases {
            let at = format!("{}/{}:{}", directory.display(), path, written.at.start.line);
            let case: Case =
                serde_json::from_value(written.content).with_context(|| format!("{at}: this is no test"))?;
            let differences = case.run(package, &settings).with_context(|| format!("{at}: `{}`", case.name))?;
            if differences.is_empty() {
                passed += 1;
                continue;
            }
            failed += 1;
            output::note(&format!("{at}: {name}: {}", case.name.replace(char::is_control, "\u{fffd}")));
            for difference in differences {
                output::note(&format!("  {difference}"));
            }
        }
    }
    output::line(&match (passed, failed) {
        (0, 0) => format!("{name} {}: no tests", package.manifest.version),
        (passed, 0) => format!("{name} {}: {passed} passed", package.manifest.version),
        (passed, failed) => format!("{name} {}: {passed} passed, {failed} failed", package.manifest.version),
    });
    Ok(failed)
}

fn told(problems: &[Diagnostic]) -> String {
    let told = problems.iter().map(|problem| match &problem.place {
        Some(at) => format!("{at} {}", problem.message),
        None => problem.message.clone(),
    });
    told.collect::<Vec<_>>().join("; ")
}

/// Those of a gateway that nobody has set up, with an authorization server.
fn settings() -> anyhow::Result<Settings> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), SETTINGS)?;
    let request = config::Request { file: Some(file.path()), project: None, overrides: &[], allow_unenforced: false };
    let config = config::load(&request)?.config;
    Ok(config.settings(inspect::material(&config)?))
}

// === impl Case ===

impl Case {
    /// What is other than was expected.
    fn run(&self, package: &Package, settings: &Settings) -> anyhow::Result<Vec<String>> {
        if self.expect.is_empty() {
            bail!("nothing is expected of it");
        }
        let about = &package.manifest;
        let files = package.files().fold(MemoryFiles::new(), |files, (path, bytes)| {
            files.with(format!("{DIRECTORY}/{}/{path}", about.name), bytes)
        });
        let files = files
            .with("api_definitions/test.json", self.definition(&about.name, about.component.is_some()).to_string());
        let compilation = compile(&files, "test", &Options::default());
        let errors: Vec<Diagnostic> = compilation.diagnostics.into_iter().filter(Diagnostic::is_error).collect();
        match (&self.expect.error, compilation.model) {
            (Some(expected), None) => {
                let found = errors.iter().any(|error| error.message.contains(expected));
                Ok(if found { Vec::new() } else { vec![format!("another error: {}", told(&errors))] })
            }
            (Some(_), Some(_)) => Ok(vec!["it builds".to_owned()]),
            (None, None) => Ok(vec![format!("it does not build: {}", told(&errors))]),
            (None, Some(model)) => Ok(self.expect.differences(&self.outcome(&model, settings)?)),
        }
    }

    /// One operation that uses the policy.
    fn definition(&self, policy: &str, carries: bool) -> Value {
        let target = self.request.path.as_deref().unwrap_or("/");
        let path = target.split_once('?').map_or(target, |(path, _)| path);
        let template = self.context.operation.as_deref().unwrap_or(path);
        let parameters: Vec<Value> = template
            .split('{')
            .skip(1)
            .filter_map(|rest| rest.split_once('}'))
            .map(|(name, _)| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
            .collect();
        let mut used = json!({ if carries { "name" } else { "policy" }: policy });
        if let (Some(with), Some(used)) = (&self.with, used.as_object_mut()) {
            used.insert("with".to_owned(), with.clone());
        }
        // An interceptor is named for the direction that is looked at.
        let direction = if self.response.is_some() { "response" } else { "request" };
        let (key, used) = if carries {
            ("x-microgw-interceptors", json!({ direction: [used] }))
        } else {
            ("x-microgw-transform", json!([used]))
        };
        let is_public = self.context.caller.is_none();
        let operation = json!({
            "security": [{ "caller": [] }],
            "x-wso2-disable-security": is_public,
            "parameters": parameters,
            key: used,
            "responses": { "200": { "description": "done" } },
        });
        let flow = json!({ "clientCredentials": { "tokenUrl": "https://localhost/token", "scopes": {} } });
        json!({
            "openapi": "3.0.3",
            "info": { "title": "Test", "version": "1.0.0" },
            "servers": [{ "url": "http://127.0.0.1:9" }],
            "x-wso2-basePath": "/",
            "paths": { template: { self.method().to_lowercase(): operation } },
            "components": { "securitySchemes": { "caller": { "type": "oauth2", "flows": flow } } },
        })
    }

    fn method(&self) -> &str {
        let has_body = self.request.body.is_some() || self.request.text.is_some();
        self.request.method.as_deref().unwrap_or(if has_body { "POST" } else { "GET" })
    }

    fn outcome(&self, model: &Model, settings: &Settings) -> anyhow::Result<Outcome> {
        let mut headers: HashMap<String, String> = self.request.headers().into_iter().collect();
        let mut facts = Facts::default();
        if let Some(caller) = &self.context.caller {
            let mut caller = caller.clone();
            caller.insert("active".to_owned(), true.into());
            facts = Facts::of_token(TOKEN, caller.into());
            headers.insert("authorization".to_owned(), format!("Bearer {TOKEN}"));
        }
        if let Some(id) = &self.context.id {
            headers.insert(REQUEST_ID.to_owned(), id.clone());
        }
        let body = self.request.bytes();
        let response = self.response.as_ref().map(|response| {
            let headers = response.headers().into_iter().collect();
            Response::new(response.status.unwrap_or(200), headers, response.bytes())
        });
        let target = self.request.path.as_deref().unwrap_or("/");
        let request = Request::new(self.method(), "http", "localhost", target, headers, body, response);
        let settings = with_pretended_secrets(settings, model);
        let id = artifact::id(&artifact::encode(model));
        let told = explain::explained(model, &id, &settings, request, &facts)?;
        self.read(&told)
    }

    /// Of an explanation.
    fn read(&self, told: &Value) -> anyhow::Result<Outcome> {
        let decision = &told["decision"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let refused = |by: &Value| {
            let why = format!("{}: {}", text(&by["reason"]), text(&by["cause"]));
            Outcome {
                refused: Some((by["status"].as_u64().unwrap_or_default(), why)),
                method: String::new(),
                path: String::new(),
                status: 0,
                headers: BTreeMap::new(),
                body: String::new(),
            }
        };
        let early = &decision["answeredByInterceptor"];
        if early["passed"] == true {
            return Ok(Outcome::answered(early));
        }
        if decision["allowed"] != true {
            return Ok(refused(decision));
        }
        let Some(response) = &self.response else {
            let sent = &decision["sent"];
            if sent.is_null() {
                bail!("the policy has no steps for requests, and the test has no response");
            }
            let headers = sent["headers"].as_object().into_iter().flatten().map(|(name, values)| {
                let values: Vec<String> = values.as_array().into_iter().flatten().map(text).collect();
                (name.clone(), values.join(", "))
            });
            return Ok(Outcome {
                refused: None,
                method: text(&sent["method"]),
                path: text(&sent["path"]),
                status: 0,
                headers: headers.collect(),
                body: sent["body"].as_str().map_or_else(|| self.request.content(), str::to_owned),
            });
        };
        let answer = &told["answer"];
        if answer["passed"] != true {
            if answer.is_null() {
                bail!("nobody looks at the response: status {}", response.status.unwrap_or(200));
            }
            return Ok(refused(&answer["instead"]));
        }
        Ok(Outcome::answered(answer))
    }
}

// === impl Outcome ===

impl Outcome {
    /// What a client gets, of an explanation.
    fn answered(answer: &Value) -> Outcome {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut headers: BTreeMap<String, String> = BTreeMap::new();
        for pair in answer["headers"].as_array().into_iter().flatten() {
            let all = headers.entry(text(&pair[0])).or_default();
            if !all.is_empty() {
                all.push_str(", ");
            }
            all.push_str(&text(&pair[1]));
        }
        Outcome {
            refused: None,
            method: String::new(),
            path: String::new(),
            status: answer["status"].as_u64().unwrap_or_default(),
            headers,
            body: text(&answer["body"]),
        }
    }
}

// === impl Message ===

impl Message {
    /// By lower-case name; JSON says that it is.
    fn headers(&self) -> Vec<(String, String)> {
        let given = self.headers.iter().map(|(name, values)| (name.to_ascii_lowercase(), values.joined()));
        let mut headers: Vec<(String, String)> = given.collect();
        if self.body.is_some() && !headers.iter().any(|(name, _)| name == "content-type") {
            headers.push(("content-type".to_owned(), "application/json".to_owned()));
        }
        headers
    }

    fn content(&self) -> String {
        self.body.as_ref().or(self.text.as_ref()).cloned().unwrap_or_default()
    }

    fn bytes(&self) -> Vec<u8> {
        self.content().into_bytes()
    }
}

// === impl Expected ===

impl Expected {
    fn is_empty(&self) -> bool {
        let Expected { method, path, status, headers, body, text, refused, error } = self;
        let texts = [method, path, text, error, body];
        texts.iter().all(|text| text.is_none()) && status.is_none() && refused.is_none() && headers.is_empty()
    }

    fn differences(&self, outcome: &Outcome) -> Vec<String> {
        let mut differences = Vec::new();
        let mut compare = |what: &str, expected: String, found: String| {
            if expected != found {
                differences.push(format!("{what}: expected {expected}, found {found}"));
            }
        };
        match (self.refused, &outcome.refused) {
            (Some(expected), Some((status, _))) => {
                compare("status", expected.to_string(), status.to_string());
                return differences;
            }
            (Some(_), None) => return vec!["it is passed on".to_owned()],
            (None, Some((status, why))) => return vec![format!("it is refused with {status}: {why}")],
            (None, None) => {}
        }
        if let Some(method) = &self.method {
            compare("method", method.clone(), outcome.method.clone());
        }
        if let Some(path) = &self.path {
            compare("path", path.clone(), outcome.path.clone());
        }
        if let Some(status) = self.status {
            compare("status", status.to_string(), outcome.status.to_string());
        }
        let shown = |value: Option<String>| value.map_or_else(|| "none".to_owned(), |value| format!("`{value}`"));
        for (name, values) in &self.headers {
            let found = outcome.headers.get(&name.to_ascii_lowercase()).cloned();
            compare(&format!("header {name}"), shown(values.as_ref().map(Values::joined)), shown(found));
        }
        if let Some(text) = &self.text {
            compare("body", format!("`{text}`"), format!("`{}`", outcome.body));
        }
        if let Some(body) = &self.body {
            // In whatever order.
            let read = |text: &str| serde_json::from_str::<Value>(text).ok();
            match read(&outcome.body) {
                Some(found) if read(body).is_some_and(|body| body == found) => {}
                Some(_) => compare("body", body.clone(), outcome.body.clone()),
                None => compare("body", body.clone(), format!("`{}`, which is no JSON", outcome.body)),
            }
        }
        differences
    }
}

// === impl Values ===

impl Values {
    fn joined(&self) -> String {
        match self {
            Values::One(value) => value.clone(),
            Values::Several(values) => values.join(", "),
        }
    }
}
