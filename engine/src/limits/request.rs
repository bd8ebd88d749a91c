//! What limits look at: a request's head, who calls, and what is called.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::OnceLock;

use microgw_expressions::{Value, Variable, Variables};

use super::Caller;
use super::condition::lines;
use crate::client_address::{client_address, network};
use crate::exchange::RequestHead;
use crate::facts::Facts;
use crate::identity::{Claim, ClaimKind, ClaimValue, Identity, KeyType};
use crate::query;
use crate::rules::Rule;

/// Nothing of it is found out before somebody asks.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) rule: &'a Rule,
    pub(crate) facts: &'a dyn Facts,
    pub(crate) head: Option<RequestHead<'a>>,
    pub(crate) caller: Caller<'a>,
    pub(crate) key_type: KeyType,
    /// Where it comes from, once somebody has asked.
    pub(crate) address: &'a OnceLock<Option<IpAddr>>,
}

// === impl Request ===

impl<'a> Request<'a> {
    pub(crate) fn header(&self, name: &str) -> Option<&'a str> {
        // `Host` is what HTTP/2 has no header for.
        self.head.and_then(|head| head.headers.get(name).or_else(|| (name == "host").then_some(head.authority)))
    }

    /// All values of a parameter, as backends decode them.
    pub(crate) fn query(&self, name: &str) -> impl Iterator<Item = Cow<'a, str>> {
        self.head.into_iter().flat_map(move |head| query::values(head.path, name))
    }

    pub(crate) fn claim(&self, name: &str) -> Option<Claim<'a>> {
        self.caller.identities().find_map(|identity| identity.claim(name))
    }

    /// The same with each of the caller's credentials first.
    pub(super) fn each(&self) -> impl Iterator<Item = Request<'a>> {
        let request = *self;
        self.caller.each().map(move |caller| Request { caller, ..request })
    }

    /// Of the client. `None`: too few proxies said something.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        *self.address.get_or_init(|| {
            let forwarded = self.header("x-forwarded-for");
            client_address(forwarded.into_iter(), self.rule.realm.trusted_hops)
        })
    }

    /// As keys have it: a header that was sent several times is the text that its values make together.
    pub(super) fn value(&self, variable: &Variable) -> Value<'_> {
        let (api, caller) = (self.rule.api(), self.caller);
        let written = |address: IpAddr| Value::Text(Cow::Owned(address.to_canonical().to_string()));
        match variable {
            Variable::Method => text(self.head.map(|head| head.method)),
            Variable::Path => text(self.head.map(|head| head.path.split_once('?').map_or(head.path, |(path, _)| path))),
            Variable::Host => text(self.head.map(|head| head.authority)),
            Variable::Scheme => text(self.head.map(|head| head.scheme)),
            Variable::Header(name) => text(self.header(name)),
            Variable::Query(name) => {
                let values: Vec<_> = self.query(name).take(microgw_expressions::MAX_ITEMS + 1).collect();
                if values.is_empty() { Value::Absent } else { Value::Texts(values) }
            }
            Variable::Address => self.address().map_or(Value::Absent, written),
            Variable::Network => self.address().map(network).map_or(Value::Absent, written),
            Variable::Subject => text(caller.identities().find_map(Identity::subject)),
            Variable::Client => text(caller.identities().find_map(Identity::client)),
            Variable::Application => text(caller.applications().find_map(|application| application.name.as_deref())),
            Variable::ApplicationId => Value::Texts(caller.application_name().into_iter().map(Cow::Borrowed).collect()),
            Variable::Tier => text(caller.tier()),
            Variable::Scopes => {
                let scopes = caller.identities().map(|identity| &identity.scopes).find(|scopes| !scopes.is_empty());
                let scopes = scopes.into_iter().flatten();
                Value::Texts(scopes.map(|scope| Cow::Borrowed(&**scope)).collect())
            }
            Variable::KeyType => text(caller.identity.map(|_| self.key_type.as_str())),
            Variable::Claim(name) => match self.claim(name) {
                None => Value::Absent,
                Some(Claim::Text(value)) => text(Some(value)),
                Some(Claim::Kept(ClaimValue::Several(items))) => {
                    Value::Texts(items.iter().map(|item| Cow::Borrowed(&*item.text)).collect())
                }
                Some(Claim::Kept(ClaimValue::One(item))) => match item.kind {
                    ClaimKind::Text => text(Some(&item.text)),
                    ClaimKind::Integer(number) => Value::Integer(number),
                    ClaimKind::Number(number) => Value::Number(number),
                    ClaimKind::Boolean(value) => Value::Boolean(value),
                },
            },
            Variable::ApiName => text(Some(&api.name)),
            Variable::ApiVersion => text(Some(&api.version)),
            Variable::ApiBasePath => text(Some(&api.base_path)),
            Variable::Operation => text(Some(self.rule.operation())),
            // Nobody answers yet.
            Variable::Present(_) | Variable::Status | Variable::ResponseHeader(_) => Value::Absent,
        }
    }
}

impl Variables for Request<'_> {
    /// Of what can be told in several ways expressions are told nothing: else whoever sends a header twice, or comes from
    /// nowhere, would not be whom they look for.
    fn get(&self, variable: &Variable) -> Value<'_> {
        match (variable, self.value(variable)) {
            (Variable::Header(_), Value::Text(text)) if lines(&text).nth(1).is_some() => Value::Unclear,
            (Variable::Address, Value::Absent) => Value::Unclear,
            (_, value) => value,
        }
    }
}

fn text(text: Option<&str>) -> Value<'_> {
    text.map_or(Value::Absent, |text| Value::Text(Cow::Borrowed(text)))
}
