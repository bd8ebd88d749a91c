//! What the engine would ask others, answered from a file, or noted.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, bail};
use microgw_engine::backend_jwt::{Assertion, Order};
use microgw_engine::interceptors::{Interception, InterceptorFailure, Program, Verdict};
use microgw_engine::limits::{Charge, Spending, Usage, Usages};
use microgw_engine::opaque::KeyHash;
use microgw_engine::{
    Answer, Api, CredentialDigest, Identity, KeySet, KeySource, Lookup, Novelty, OpaqueKey, ProofId, RevocationName,
    Standing, Subscribed, TokenError, UnixTime,
};
use microgw_interceptors::Host;
use microgw_transforms::Direction;
use serde::Deserialize;
use serde_json::Value;

/// Bytes of the file.
const MAX_SIZE: u64 = 16 << 20;
/// For which a JWT that stands for the gateway's own is said to be good, in seconds.
const ASSERTION_SECONDS: u64 = 900;

#[derive(Default)]
pub struct Facts {
    file: File,
    /// Where the file is.
    beside: PathBuf,
    known: Mutex<HashMap<CredentialDigest, Arc<Identity>>>,
    asked: Mutex<Vec<Asked>>,
    failed: Mutex<Option<String>>,
    host: Host,
}

/// JSON.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct File {
    /// Seconds since 1970, UTC.
    now: Option<u64>,
    /// By issuer: a JWK Set, or the name of a file with one.
    keys: BTreeMap<String, Value>,
    /// Of the gateway's own API keys.
    api_key_keys: Option<Value>,
    /// By token: what the authorization server answers, RFC 7662 section 2.2.
    introspection: BTreeMap<String, Value>,
    /// By name.
    users: BTreeMap<String, User>,
    /// By name: what it answers, as an interceptor service does.
    interceptors: BTreeMap<String, Value>,
    /// Whatever is presented was revoked.
    revoked: bool,
    /// The stores of limits say that there is nothing left.
    used_up: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct User {
    password: String,
    #[serde(default)]
    scopes: Vec<String>,
}

/// A question, and how it was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub what: String,
    pub answer: &'static str,
}

/// From the file.
const GIVEN: &str = "from the facts";
/// Nobody can tell, as if who would be asked were down.
const MISSING: &str = "not among the facts: taken as unavailable";
const ASSUMED: &str = "assumed";
/// A component of the artifact.
const RUN: &str = "run here";

// === impl Facts ===

impl Facts {
    pub fn load(path: &Path) -> anyhow::Result<Facts> {
        if std::fs::metadata(path)?.len() > MAX_SIZE {
            bail!("it is longer than {MAX_SIZE} bytes");
        }
        let file = serde_json::from_slice(&std::fs::read(path)?)?;
        let beside = path.parent().unwrap_or(Path::new("")).to_owned();
        Ok(Facts { file, beside, ..Facts::default() })
    }

    /// Those of one token, of which the authorization server says this.
    pub fn of_token(token: &str, answer: Value) -> Facts {
        let file = File { introspection: [(token.to_owned(), answer)].into(), ..File::default() };
        Facts { file, ..Facts::default() }
    }

    pub fn now(&self) -> Option<UnixTime> {
        self.file.now.map(UnixTime)
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Which step of a transformation failed, if one did.
    pub fn failed(&self) -> Option<String> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, what: String, answer: &'static str) {
        let asked = Asked { what, answer };
        let mut all = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if !all.contains(&asked) {
            all.push(asked);
        }
    }

    pub fn answer(&self, lookup: &Lookup, now: UnixTime) -> Answer {
        let (what, answer) = match lookup {
            Lookup::Keys(source) | Lookup::FreshKeys(source) => {
                let (what, keys) = match source {
                    KeySource::Issuer(name) => (format!("the keys of `{name}`"), self.file.keys.get(&**name)),
                    KeySource::ApiKeys => ("the keys that sign API keys".to_owned(), self.file.api_key_keys.as_ref()),
                };
                let keys = keys.map(|keys| self.key_set(keys));
                match keys {
                    Some(Ok(keys)) => (what, Some(Answer::Keys(Arc::new(keys)))),
                    Some(Err(error)) => {
                        self.note(format!("{what}, which cannot be used: {error:#}"), MISSING);
                        return Answer::Unavailable;
                    }
                    None => (what, None),
                }
            }
            Lookup::Introspection { token, reader, .. } => {
                let found = self.file.introspection.get(&*token.0);
                let answer = found.map(|answer| match reader.read(answer.to_string().as_bytes()) {
                    Ok(identity) => Answer::Identity(Arc::new(identity)),
                    Err(error) => Answer::Refused(error),
                });
                ("the authorization server about the token".to_owned(), answer)
            }
            Lookup::Password { user, password, .. } => {
                let found = self.file.users.get(&*user.0);
                let answer = found.map(|found| {
                    if *found.password == *password.0 {
                        let scopes = found.scopes.iter().map(String::as_str);
                        Answer::Identity(Arc::new(Identity::user(&user.0, scopes)))
                    } else {
                        Answer::Refused(TokenError::Password)
                    }
                });
                ("whether the password is right".to_owned(), answer)
            }
            Lookup::Sign(_) => {
                self.note("a JWT that tells the backend who calls, which the gateway signs".to_owned(), ASSUMED);
                let until = UnixTime(now.0.saturating_add(ASSERTION_SECONDS));
                return Answer::Assertion(Assertion::new("(signed by the gateway)", until));
            }
            // The gateway's own counters are fresh, and so are those that others keep.
            Lookup::Spend(draft) => {
                self.note("the store of limits, in which nothing was used".to_owned(), ASSUMED);
                let usages = draft.iter().map(|charge| unused(charge.limit.quota, charge.cost)).collect();
                return Answer::Spent(Box::new(Spending::Granted(usages)));
            }
        };
        self.note(what, if answer.is_some() { GIVEN } else { MISSING });
        answer.unwrap_or(Answer::Unavailable)
    }

    /// What a program makes of a message: components are run here.
    pub fn intercept(&self, interception: Interception) -> Verdict {
        let name = interception.interceptor.name.clone();
        let what = format!("the interceptor `{name}` about the {}", message(interception.direction));
        if let Some(answer) = self.file.interceptors.get(&*name) {
            self.note(what, GIVEN);
            let read = microgw_interceptors::service::read(interception, answer.to_string().as_bytes());
            return read.unwrap_or_else(|error| {
                self.note(format!("what it answers, which cannot be used: {error}"), GIVEN);
                Verdict::Failed(InterceptorFailure::Malformed)
            });
        }
        let Program::Component { digest, code, .. } = &interception.interceptor.program else {
            self.note(what, MISSING);
            return Verdict::Failed(InterceptorFailure::Unreachable);
        };
        self.note(what, RUN);
        let (digest, code) = (*digest, code.clone());
        let run = async {
            // Kept as long as it runs.
            let _component = self.host.load(digest, code).await.map_err(|error| error.to_string())?;
            Ok::<_, String>(self.host.call(interception).await)
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let verdict = runtime.map_err(|error| error.to_string()).and_then(|runtime| runtime.block_on(run));
        verdict.unwrap_or_else(|error| {
            self.note(format!("`{name}`, which cannot be run: {error}"), MISSING);
            Verdict::Failed(InterceptorFailure::NotHosted)
        })
    }

    fn key_set(&self, keys: &Value) -> anyhow::Result<KeySet> {
        let text = match keys {
            Value::String(name) => {
                let path = self.beside.join(name);
                std::fs::read(&path).with_context(|| format!("cannot read `{}`", path.display()))?
            }
            keys => keys.to_string().into_bytes(),
        };
        Ok(KeySet::from_jwks(&text)?)
    }
}

fn message(direction: Direction) -> &'static str {
    match direction {
        Direction::Request => "request",
        Direction::Response => "response",
    }
}

fn unused(quota: u64, cost: u64) -> Usage {
    Usage { remaining: quota.saturating_sub(cost), ..Usage::default() }
}

impl microgw_engine::Facts for Facts {
    fn get(&self, digest: &CredentialDigest) -> Option<Arc<Identity>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(digest).cloned()
    }

    fn put(&self, digest: CredentialDigest, identity: Arc<Identity>) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(digest, identity);
    }

    fn opaque_key(&self, _: &KeyHash) -> OpaqueKey {
        self.note("whom the opaque API key stands for".to_owned(), MISSING);
        OpaqueKey::Unavailable
    }

    fn subscription(&self, client: &str, _: &Api) -> Subscribed {
        self.note(format!("the subscriptions of the client `{client}`"), MISSING);
        Subscribed::Unavailable
    }

    fn standing(&self, _: &[RevocationName]) -> Standing {
        let (answer, standing) = if self.file.revoked { (GIVEN, Standing::Revoked) } else { (ASSUMED, Standing::Good) };
        let not = if self.file.revoked { "" } else { " not" };
        self.note(format!("whether the credential was revoked: it was{not}"), answer);
        standing
    }

    fn prove(&self, _: &ProofId, _: UnixTime, _: UnixTime) -> Novelty {
        self.note("whether the proof was used before: it was not".to_owned(), ASSUMED);
        Novelty::Fresh
    }

    fn spend(&self, charges: &[Charge<'_>]) -> Spending {
        if self.file.used_up {
            self.note("what is left of limits: nothing".to_owned(), GIVEN);
            let usages: Usages = charges.iter().map(|charge| unused(charge.limit.quota, charge.limit.quota)).collect();
            return Spending::Refused { by: 0, wait: microgw_engine::limits::Micros::of_seconds(1), usages };
        }
        self.note("what is left of limits: all but this request".to_owned(), ASSUMED);
        Spending::Granted(charges.iter().map(|charge| unused(charge.limit.quota, charge.cost)).collect())
    }

    fn assertion(&self, _: &Order) -> Option<Assertion> {
        None
    }

    fn not_intercepted(&self, program: &str, used_at: &str, failure: InterceptorFailure) {
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(format!("the interceptor `{program}`, used at {used_at}, fails: {failure}"));
    }

    fn not_transformed(&self, step: &str, failure: &'static str) {
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(format!("the step at {step} fails: {failure}"));
    }
}
