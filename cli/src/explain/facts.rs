//! What the engine would ask others, answered from a file, or noted.

mod file;

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use microgw_engine::backend_jwt::{Assertion, Order};
use microgw_engine::interceptors::{Interception, InterceptorFailure, Program, Verdict};
use microgw_engine::limits::{Charge, Micros, Spending, Usage, Usages};
use microgw_engine::opaque::KeyHash;
use microgw_engine::{
    Answer, Api, ClientCertificate, CredentialDigest, Identity, KeySet, KeySource, Lookup, Novelty, OpaqueKey, ProofId,
    RevocationName, Standing, Subscribed, TokenError, UnixTime,
};
use microgw_extproc::subscriptions::Subscriptions;
use microgw_interceptors::Host;
use microgw_transforms::Direction;
use serde_json::Value;

use self::file::{Certificate, File};

/// For which a JWT that stands for the gateway's own is said to be good, in seconds.
const ASSERTION_SECONDS: u64 = 900;

#[derive(Default)]
pub struct Facts {
    file: File,
    /// Where the file is.
    beside: PathBuf,
    opaque_keys: Option<HashMap<KeyHash, Arc<Identity>>>,
    subscriptions: Option<Arc<Subscriptions>>,
    certificate: Option<Certificate>,
    /// What in the file has answered something.
    used: Mutex<BTreeSet<String>>,
    known: Mutex<HashMap<CredentialDigest, Arc<Identity>>>,
    asked: Mutex<Vec<Asked>>,
    failed: Mutex<Option<String>>,
    host: Host,
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
        let file = File::load(path)?;
        let beside = path.parent().unwrap_or(Path::new("")).to_owned();
        let opaque_keys = file.opaque_keys(&beside)?;
        let (subscriptions, certificate) = (file.subscriptions(&beside)?, file.certificate(&beside)?);
        Ok(Facts { file, beside, opaque_keys, subscriptions, certificate, ..Facts::default() })
    }

    /// Those of one token, of which the authorization server says this.
    pub fn of_token(token: &str, answer: Value) -> Facts {
        Facts { file: File::of_token(token, answer), ..Facts::default() }
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

    /// What there is in the file that nobody asked for.
    pub fn unused(&self) -> Vec<String> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        self.file.names().into_iter().filter(|name| !used.contains(name)).collect()
    }

    /// What the client shows in its handshake, over TLS.
    pub fn certificate(&self) -> Option<ClientCertificate<'_>> {
        let Certificate { thumbprint, chain } = self.certificate.as_ref()?;
        self.note("the certificate of the client".to_owned(), GIVEN);
        self.uses(file::CERTIFICATE.to_owned());
        Some(ClientCertificate { thumbprint: *thumbprint, chain })
    }

    fn uses(&self, name: String) {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
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
                if keys.is_some() {
                    self.uses(match source {
                        KeySource::Issuer(name) => file::keys(name),
                        KeySource::ApiKeys => file::API_KEY_KEYS.to_owned(),
                    });
                }
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
                let mut answers = self.file.introspection.iter().enumerate();
                let found = answers.find(|(_, (known, _))| ***known == *token.0).map(|(index, (_, answer))| {
                    self.uses(file::introspection(index));
                    answer
                });
                let answer = found.map(|answer| match reader.read(answer.to_string().as_bytes()) {
                    Ok(identity) => Answer::Identity(Arc::new(identity)),
                    Err(error) => Answer::Refused(error),
                });
                ("the authorization server about the token".to_owned(), answer)
            }
            Lookup::Password { user, password, .. } => {
                let found = self.file.users.get(&*user.0);
                found.inspect(|_| self.uses(file::user(&user.0)));
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
                if self.file.used_up {
                    let quotas = draft.iter().map(|charge| charge.limit.quota);
                    return Answer::Spent(Box::new(self.nothing_left(quotas)));
                }
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
            self.uses(file::interceptor(&name));
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

    /// Of limits with these quotas.
    fn nothing_left(&self, quotas: impl Iterator<Item = u64>) -> Spending {
        self.uses(file::USED_UP.to_owned());
        self.note("what is left of limits: nothing".to_owned(), GIVEN);
        let usages: Usages = quotas.map(|quota| unused(quota, quota)).collect();
        Spending::Refused { by: 0, wait: Micros::of_seconds(1), usages }
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

    fn opaque_key(&self, hash: &KeyHash) -> OpaqueKey {
        let what = "whom the opaque API key stands for".to_owned();
        let Some(keys) = &self.opaque_keys else {
            self.note(what, MISSING);
            return OpaqueKey::Unavailable;
        };
        self.uses(file::API_KEYS.to_owned());
        self.note(what, GIVEN);
        keys.get(hash).map_or(OpaqueKey::Unknown, |identity| OpaqueKey::Known(Arc::clone(identity)))
    }

    fn subscription(&self, client: &str, api: &Api) -> Subscribed {
        let what = format!("the subscriptions of the client `{client}`");
        let Some(subscriptions) = &self.subscriptions else {
            self.note(what, MISSING);
            return Subscribed::Unavailable;
        };
        self.uses(file::SUBSCRIPTIONS.to_owned());
        self.note(what, GIVEN);
        subscriptions.of(client, api)
    }

    fn standing(&self, _: &[RevocationName]) -> Standing {
        let (answer, standing) = if self.file.revoked { (GIVEN, Standing::Revoked) } else { (ASSUMED, Standing::Good) };
        let not = if self.file.revoked { "" } else { " not" };
        if self.file.revoked {
            self.uses(file::REVOKED.to_owned());
        }
        self.note(format!("whether the credential was revoked: it was{not}"), answer);
        standing
    }

    fn prove(&self, _: &ProofId, _: UnixTime, _: UnixTime) -> Novelty {
        self.note("whether the proof was used before: it was not".to_owned(), ASSUMED);
        Novelty::Fresh
    }

    fn spend(&self, charges: &[Charge<'_>]) -> Spending {
        if self.file.used_up {
            return self.nothing_left(charges.iter().map(|charge| charge.limit.quota));
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

    fn not_transformed(&self, step: &str, why: &str) {
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(format!("the step at {step} fails: {why}"));
    }
}
