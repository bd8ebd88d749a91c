//! Who may call an operation: `security` and the extensions that replace it.
//!
//! An operation's own declarations win over the API's; at one level `x-wso2-application-security` replaces `security`.
//! With nothing declared an access token is needed. Nothing here ever makes an operation more open than it says.

use super::fields::{boolean, list, object, suggest, text};
use super::mutual_tls::MutualTls;
use super::schemes::{Scheme, Schemes};
use super::shape::{Words, one_of, unknown_key};
use crate::compile::{EmptySecurity, Report};
use crate::diagnostic::Code;
use crate::model::{Access, Alternative, KeyLocation, Requirement};
use crate::names;
use crate::source::{Content, Value};

/// Where a key is looked for when no scheme says so.
const DEFAULT_KEY: &str = "apikey";
/// Values of `x-auth-type` that ask for what is asked for anyway.
const ANY_TOKEN: &[&str] = &["Any", "Application & Application User"];

const HOW_TO_SAY: &str = "to make it public write `x-wso2-disable-security: true`; to keep it secured remove the empty \
     `security` or name a scheme in it; with `openapiSecurity = \"standard\"` under `[project]` in \
     `conf/deployment-config.toml` it means public, as in OpenAPI";

/// The rules of one definition.
pub(super) struct Guard<'d> {
    schemes: Schemes<'d>,
    empty: EmptySecurity,
    mutual_tls: Option<MutualTls>,
    api: Declarations<'d>,
    /// What operations without declarations of their own get. Judged once, when the first one asks.
    inherited: Option<Judged>,
}

/// How operations are guarded; `None` where that cannot be said, which was reported.
type Judged = Option<Access>;

/// What one level declares.
struct Declarations<'d> {
    /// `x-wso2-disable-security`, its negation.
    secured: Option<(bool, Value<'d>)>,
    application: Option<Value<'d>>,
    security: Option<Value<'d>>,
    all_scopes: Option<bool>,
}

// === impl Guard ===

impl<'d> Guard<'d> {
    /// `mutual_tls`: what the API says of client certificates.
    pub(super) fn new(
        report: &mut Report,
        root: Value<'d>,
        schemes: Schemes<'d>,
        empty: EmptySecurity,
        mutual_tls: Option<MutualTls>,
    ) -> Guard<'d> {
        let api = Declarations::of(report, root);
        if let (Some(MutualTls::Mandatory), Some((false, at))) = (mutual_tls, api.secured) {
            let message = "`x-wso2-disable-security: true` and `x-wso2-mutual-ssl: mandatory` contradict each other";
            report.say(Code::ContradictoryAccess, at, message);
        }
        Guard { schemes, empty, mutual_tls, api, inherited: None }
    }

    /// How `operation`, called `label` in messages, is guarded. `None` when that cannot be said, which was reported.
    pub(super) fn access(&mut self, report: &mut Report, label: &str, operation: Value<'d>) -> Option<Access> {
        let own = Declarations::of(report, operation);
        let scope = operation.get("x-scope").map(|at| (at, scope(report, at)));
        if self.is_public(report, &own, operation) {
            if let Some((at, _)) = scope {
                report.say(Code::UnenforceableScope, at, format!("`{label}` needs a scope and is public"));
            }
            return Some(Access::Public);
        }
        let access = match (own.application, own.security) {
            (Some(application), _) => self.application(report, application, own.security.or(self.api.security)),
            (None, Some(security)) => self.security(report, label, security),
            (None, None) => self.inherited(report, label),
        };
        let mut access = access?;
        match (scope, &mut access) {
            (None, _) => {}
            (Some((_, None)), _) => return None,
            (Some((at, Some(scope))), access) => {
                if !replace_scopes(access, scope) {
                    let message =
                        format!("`{label}` needs the scope `{scope}`, and accepts no credential that could have it");
                    report.say(Code::UnenforceableScope, at, message);
                    return None;
                }
            }
        }
        if own.all_scopes.or(self.api.all_scopes) == Some(true) {
            need_all_scopes(&mut access);
        }
        Some(match self.mutual_tls {
            Some(mutual_tls) => mutual_tls.beside(access),
            None => access,
        })
    }

    fn inherited(&mut self, report: &mut Report, label: &str) -> Judged {
        if let Some(judged) = &self.inherited {
            return judged.clone();
        }
        let judged = match (self.api.application, self.api.security) {
            (Some(application), security) => self.application(report, application, security),
            (None, Some(security)) => self.security(report, label, security),
            (None, None) => Some(Access::Guarded(vec![Alternative(vec![token(Vec::new())])])),
        };
        self.inherited = Some(judged.clone());
        judged
    }

    fn is_public(&self, report: &mut Report, own: &Declarations<'d>, operation: Value<'d>) -> bool {
        let auth_type = operation.get("x-auth-type").and_then(|at| Some((at, text(report, "x-auth-type", at)?)));
        let none = auth_type.is_some_and(|(_, kind)| kind == "None");
        if let Some((at, kind)) = auth_type.filter(|(_, kind)| !none && !ANY_TOKEN.contains(kind)) {
            let message = format!("`x-auth-type: {kind}` has no effect: only `None` is honoured");
            report.say(Code::BadAuthType, at, message);
        }
        match own.secured {
            Some((true, at)) if none => {
                let message = "`x-wso2-disable-security: false` and `x-auth-type: None` contradict each other";
                report.say(Code::ContradictoryAccess, at, message);
                false
            }
            Some((secured, _)) => !secured,
            None => none || self.api.secured.is_some_and(|(secured, _)| !secured),
        }
    }

    /// OpenAPI's list: objects are alternatives, schemes inside one are needed together.
    fn security(&self, report: &mut Report, label: &str, security: Value<'d>) -> Option<Access> {
        let items: Vec<Value<'d>> = security.items().collect();
        if items.is_empty() {
            return self.empty(report, label, security, "an empty `security` list");
        }
        let mut alternatives = Vec::with_capacity(items.len());
        let mut sound = true;
        let mut public = None;
        for item in items {
            let Some(item) = object(report, "security", item) else {
                sound = false;
                continue;
            };
            let requirements: Vec<_> =
                item.entries().map(|(name, scopes)| self.requirement(report, name, scopes)).collect();
            if requirements.is_empty() {
                public = Some(self.empty(report, label, item, "an empty security requirement"));
                continue;
            }
            match requirements.into_iter().collect::<Option<Vec<_>>>() {
                Some(requirements) => push_distinct(&mut alternatives, Alternative(distinct(requirements))),
                None => sound = false,
            }
        }
        if !sound {
            return None;
        }
        public.unwrap_or(Some(Access::Guarded(alternatives)))
    }

    fn empty(&self, report: &mut Report, label: &str, at: Value<'d>, what: &str) -> Option<Access> {
        match self.empty {
            EmptySecurity::Public => Some(Access::Public),
            EmptySecurity::Refused => {
                let message = format!(
                    "{what} leaves open whether `{label}` is public: in 3.2 it meant secured, in OpenAPI it means public"
                );
                report.advise(Code::EmptySecurity, at, message, HOW_TO_SAY);
                None
            }
        }
    }

    fn requirement(&self, report: &mut Report, name: Value<'d>, scopes: Value<'d>) -> Option<Requirement> {
        let scheme = name.text();
        let Some(declared) = self.schemes.get(scheme) else {
            let message = format!("the security scheme `{scheme}` is not declared");
            suggest(report, Code::UndefinedScheme, name, message, scheme, self.schemes.names());
            return None;
        };
        let listed = list(report, scheme, scopes)?;
        match declared {
            Scheme::Broken => None,
            Scheme::Token => scopes_in(report, listed).map(token),
            Scheme::Basic => scopes_in(report, listed).map(basic),
            Scheme::ApiKey { .. } | Scheme::MutualTls if listed.items().next().is_some() => {
                let what = if *declared == Scheme::MutualTls { "client certificate" } else { "API key" };
                let message = format!("the {what} `{scheme}` cannot carry the scopes or roles that are asked of it");
                report.say(Code::UnenforceableScope, scopes, message);
                None
            }
            Scheme::ApiKey { location, name } => Some(Requirement::ApiKey { location: *location, name: name.clone() }),
            Scheme::MutualTls => Some(Requirement::ClientCertificate { optional: false }),
            Scheme::Unenforceable(what) => {
                report.say(Code::UnenforceableScheme, name, format!("`{scheme}` is {what}, which is not enforced yet"));
                Some(Requirement::Unenforceable(scheme.to_owned()))
            }
        }
    }

    /// `x-wso2-application-security`. It names kinds of credentials, not scopes: tokens still need one of those that the
    /// `security` which it replaces asks for.
    fn application(&self, report: &mut Report, application: Value<'d>, security: Option<Value<'d>>) -> Option<Access> {
        const KEY: &str = "x-wso2-application-security";
        const KEYS: &[&str] = &["security-types", "optional"];
        for (name, _) in application.entries().filter(|(name, _)| !KEYS.contains(&name.text())) {
            unknown_key(report, Words::Old, KEY, name, KEYS.iter().copied());
        }
        let optional = application.get("optional").and_then(|at| Some((at, boolean(report, "optional", at)?)));
        if let Some((at, true)) = optional
            && self.mutual_tls != Some(MutualTls::Mandatory)
        {
            let message = "application security can only be optional beside `x-wso2-mutual-ssl: mandatory`";
            report.say(Code::OptionalWithoutTls, at, message);
            return None;
        }
        let Some(types) = application.get("security-types") else {
            report.say(Code::BadValue, application, format!("`{KEY}` has no `security-types`"));
            return None;
        };
        let types = list(report, "security-types", types)?;
        let mut alternatives = Vec::new();
        let mut sound = true;
        for item in types.items() {
            match one_of(report, "security-types", item, &["oauth2", "basic_auth", "api_key"]) {
                Some("oauth2") => {
                    push_distinct(&mut alternatives, Alternative(vec![token(self.scopes_of(report, security))]));
                }
                Some("api_key") => {
                    let declared: Vec<_> = self.schemes.api_keys().collect();
                    let keys = if declared.is_empty() {
                        vec![(KeyLocation::Header, DEFAULT_KEY), (KeyLocation::Query, DEFAULT_KEY)]
                    } else {
                        declared
                    };
                    for (location, name) in keys {
                        let key = Requirement::ApiKey { location, name: name.to_owned() };
                        push_distinct(&mut alternatives, Alternative(vec![key]));
                    }
                }
                // 3.2 compared a user's scopes with those that the operation asks of tokens.
                Some(_) => push_distinct(&mut alternatives, Alternative(vec![basic(self.scopes_of(report, security))])),
                None => sound = false,
            }
        }
        if alternatives.is_empty() && sound {
            report.say(Code::BadValue, types, "`security-types` is empty: nobody could call the operation");
            sound = false;
        }
        if optional.is_some_and(|(_, optional)| optional) {
            // Nothing of the application's; the certificate joins it.
            alternatives.push(Alternative(Vec::new()));
        }
        sound.then_some(Access::Guarded(alternatives))
    }

    /// All scopes that a list of requirements asks for.
    fn scopes_of(&self, report: &mut Report, security: Option<Value<'d>>) -> Vec<String> {
        let mut scopes = Vec::new();
        for (name, listed) in security.into_iter().flat_map(Value::items).flat_map(Value::entries) {
            if matches!(self.schemes.get(name.text()), Some(Scheme::Token | Scheme::Basic)) {
                scopes.extend(listed.items().filter_map(|item| scope(report, item)).map(str::to_owned));
            }
        }
        distinct(scopes)
    }
}

// === impl Declarations ===

impl<'d> Declarations<'d> {
    fn of(report: &mut Report, owner: Value<'d>) -> Declarations<'d> {
        let disabled = owner.get("x-wso2-disable-security");
        let disabled = disabled.and_then(|at| Some((at, boolean(report, "x-wso2-disable-security", at)?)));
        let application = owner.get("x-wso2-application-security");
        let scope_match = owner.get("x-microgw-scope-match");
        let scope_match = scope_match.and_then(|at| one_of(report, "x-microgw-scope-match", at, &["any", "all"]));
        Declarations {
            secured: disabled.map(|(at, disabled)| (!disabled, at)),
            application: application.and_then(|at| object(report, "x-wso2-application-security", at)),
            security: owner.get("security").and_then(|at| list(report, "security", at)),
            all_scopes: scope_match.map(|word| word == "all"),
        }
    }
}

fn token(scopes: Vec<String>) -> Requirement {
    Requirement::OAuth2 { scopes, all_scopes: false }
}

fn basic(scopes: Vec<String>) -> Requirement {
    Requirement::Basic { scopes, all_scopes: false }
}

fn scopes_in(report: &mut Report, list: Value<'_>) -> Option<Vec<String>> {
    let scopes = list.items().map(|item| scope(report, item)).collect::<Option<Vec<_>>>()?;
    Some(distinct(scopes.into_iter().map(str::to_owned).collect()))
}

fn scope<'d>(report: &mut Report, at: Value<'d>) -> Option<&'d str> {
    let Content::Text(scope) = at.content() else {
        report.say(Code::WrongType, at, format!("a scope must be text, not {}", at.type_name()));
        return None;
    };
    if !names::is_scope(scope) {
        report.say(
            Code::BadValue,
            at,
            format!("`{scope}` is not one scope: it is empty, or has a character that no scope can have"),
        );
        return None;
    }
    Some(scope)
}

/// The scope that every token and user needs instead of those declared. Whether there is a requirement that could.
fn replace_scopes(access: &mut Access, scope: &str) -> bool {
    let mut replaced = false;
    for_each_scoped(access, |scopes, _| {
        *scopes = vec![scope.to_owned()];
        replaced = true;
    });
    replaced
}

fn need_all_scopes(access: &mut Access) {
    // Of one scope, any and all are the same: one form only, so that equal rules are equal.
    for_each_scoped(access, |scopes, all| *all = scopes.len() > 1);
}

fn for_each_scoped(access: &mut Access, mut change: impl FnMut(&mut Vec<String>, &mut bool)) {
    let Access::Guarded(alternatives) = access else { return };
    for requirement in alternatives.iter_mut().flat_map(|alternative| &mut alternative.0) {
        if let Requirement::OAuth2 { scopes, all_scopes } | Requirement::Basic { scopes, all_scopes } = requirement {
            change(scopes, all_scopes);
        }
    }
}

fn distinct<T: PartialEq>(items: Vec<T>) -> Vec<T> {
    let mut kept = Vec::with_capacity(items.len());
    for item in items {
        push_distinct(&mut kept, item);
    }
    kept
}

fn push_distinct<T: PartialEq>(items: &mut Vec<T>, item: T) {
    if !items.contains(&item) {
        items.push(item);
    }
}
