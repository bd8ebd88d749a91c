//! What is said of callers whatever they call: custom policies, deny policies, and what unknown tiers count as.

use microgw_expressions::Template;
use microgw_proto::limits::v1::{CustomPolicy, DenyPolicy, Limit, Policy, limit::Unit, limit::Window};

use super::{Declared, bad, condition, known_keys, limit, policy};
use crate::compile::Report;
use crate::definition::{object, scalar, suggest, text};
use crate::diagnostic::{Code, Place};
use crate::limits::{DEFAULT, MAX_TEXT, UNAUTHENTICATED, UNLIMITED};
use crate::source::Value;

const CUSTOM: &[&str] = &["key", "when"];
const DENY: &[&str] = &["when", "api", "application", "user"];
const UNKNOWN: &[&str] = &["application", "subscription"];

/// A custom policy as it was declared.
pub(super) struct DeclaredCustom {
    pub(super) declared: Declared,
    pub(super) custom: CustomPolicy,
}

/// A deny policy as it was declared.
pub(super) struct DeclaredDeny {
    pub(super) at: Place,
    pub(super) deny: DenyPolicy,
    /// Where `api` is.
    pub(super) api: Option<Place>,
}

/// What a section's unknown tiers count as, and where that was declared.
#[derive(Default)]
pub(super) struct Unknown {
    application: Option<String>,
    subscription: Option<String>,
}

pub(super) fn custom(report: &mut Report, key: Value<'_>, at: Value<'_>) -> Option<DeclaredCustom> {
    let name = key.text();
    known_keys(report, name, at, &[CUSTOM, policy::KEYS, policy::GROUPS, limit::KEYS]);
    let declared = policy::read(report, key, at);
    let when = at.get("when").map(|when| condition::when(report, when));
    let Some(template_at) = at.get("key") else {
        bad(report, key, format!("the custom policy `{name}` has no `key`"));
        return None;
    };
    let template = text(report, "key", template_at)?;
    if let Err(error) = Template::read(template) {
        bad(report, template_at, format!("`{template}` cannot be used: {error}"));
        return None;
    }
    let when = match when {
        None => None,
        Some(when) => Some(when?),
    };
    let custom = CustomPolicy { policy: Some(declared.policy.clone()), key: template.to_owned(), when };
    Some(DeclaredCustom { declared, custom })
}

pub(super) fn deny(report: &mut Report, key: Value<'_>, at: Value<'_>) -> Option<DeclaredDeny> {
    let name = key.text();
    let at = object(report, name, at)?;
    known_keys(report, name, at, &[DENY]);
    if at.entries().next().is_none() {
        bad(report, at, format!("`{name}` says of nobody that they are denied: every request would be refused"));
        return None;
    }
    let mut given = |key: &str| {
        let value = at.get(key)?;
        let written = scalar(report, key, value)?;
        if written.is_empty() || written.len() > MAX_TEXT || written.chars().any(char::is_control) {
            bad(report, value, format!("`{key}` is empty, too long or has control characters"));
            return None;
        }
        match key {
            "api" if !written.starts_with('/') => {
                bad(report, value, format!("`api` must be `/context/version`, not `{written}`"));
                None
            }
            "application"
                if written.split_once(':').is_none_or(|(owner, name)| owner.is_empty() || name.is_empty()) =>
            {
                bad(report, value, format!("`application` must be `owner:name`, not `{written}`"));
                None
            }
            _ => Some(written.to_owned()),
        }
    };
    let (api, application, user) = (given("api"), given("application"), given("user"));
    let when = at.get("when").map(|when| condition::when(report, when));
    // One that lost what it says would deny more than it was to.
    let lost = |key: &str, read: &Option<String>| at.get(key).is_some() && read.is_none();
    if lost("api", &api) || lost("application", &application) || lost("user", &user) || matches!(when, Some(None)) {
        return None;
    }
    let deny = DenyPolicy {
        name: name.to_owned(),
        when: when.flatten(),
        api: api.unwrap_or_default(),
        application: application.unwrap_or_default(),
        user: user.unwrap_or_default(),
    };
    Some(DeclaredDeny { at: key.place(), deny, api: at.get("api").map(Value::place) })
}

// === impl Unknown ===

impl Unknown {
    /// `unknownTier`, which names policies of the sections.
    pub(super) fn read(
        report: &mut Report,
        at: Value<'_>,
        applications: &[Declared],
        subscriptions: &[Declared],
    ) -> Unknown {
        let mut unknown = Unknown::default();
        let Some(at) = object(report, "unknownTier", at) else { return unknown };
        known_keys(report, "unknownTier", at, &[UNKNOWN]);
        let mut named = |key: &str, section: &str, policies: &[Declared]| {
            let value = at.get(key)?;
            let name = scalar(report, key, value)?;
            let mut names = policies.iter().map(|declared| declared.policy.name.as_str());
            if name == UNLIMITED || names.clone().any(|known| known == name) {
                return Some(name.to_owned());
            }
            let message = format!("the tier `{name}` is not among the `{section}` of `{}`", super::PATH);
            suggest(report, Code::UnknownPolicy, value, message, name, &mut names);
            None
        };
        unknown.application = named("application", "applicationPolicies", applications);
        unknown.subscription = named("subscription", "subscriptionPolicies", subscriptions);
        unknown
    }

    /// Names of policies, or nothing where no tier limits anybody.
    pub(super) fn resolve(self, applications: &[Policy], subscriptions: &[Policy]) -> (String, String) {
        let default = subscriptions.iter().find(|policy| policy.name == DEFAULT).map(|policy| policy.name.clone());
        let application = self.application.or_else(|| strictest(applications));
        let subscription = self.subscription.or(default).or_else(|| strictest(subscriptions));
        let named = |name: Option<String>| name.filter(|name| name != UNLIMITED).unwrap_or_default();
        (named(application), named(subscription))
    }
}

/// The policy that admits the fewest requests per second over its longest window; the first of several.
fn strictest(policies: &[Policy]) -> Option<String> {
    let candidates = policies.iter().filter(|policy| policy.name != UNAUTHENTICATED && policy.name != UNLIMITED);
    let rated = candidates.map(|policy| (rate(policy), policy));
    rated.min_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, policy)| policy.name.clone())
}

/// Requests per second, where a policy stops anybody.
#[allow(clippy::cast_precision_loss)] // rates are compared, not counted
fn rate(policy: &Policy) -> f64 {
    let counted = policy.limits.iter().filter(|limit| limit.unit() == Unit::Requests && !policy.pass_beyond_quota);
    let windows = counted.map(|limit| (seconds(limit), limit.quota));
    let longest = windows.max_by_key(|(seconds, quota)| (*seconds, std::cmp::Reverse(*quota)));
    longest.map_or(f64::INFINITY, |(seconds, quota)| quota as f64 / seconds.max(1) as f64)
}

fn seconds(limit: &Limit) -> u64 {
    use microgw_proto::limits::v1::calendar::Unit;
    match &limit.window {
        None => 0,
        Some(Window::Fixed(fixed)) => fixed.seconds,
        Some(Window::Sliding(sliding)) => sliding.seconds,
        Some(Window::Burst(burst)) => burst.seconds,
        Some(Window::Calendar(calendar)) => {
            let length = match calendar.unit() {
                Unit::Unspecified | Unit::Minute => 60,
                Unit::Hour => 3600,
                Unit::Day => 86_400,
                Unit::Week => 7 * 86_400,
                Unit::Month => 30 * 86_400,
                Unit::Year => 365 * 86_400,
            };
            length * u64::from(calendar.count)
        }
    }
}
