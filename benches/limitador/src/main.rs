//! What a limit costs a decision: of the engine, and of the public crate limitador, which keeps its counters in memory, too. Both
//! count the same callers by the same name, by turns, in one run. Times are of processors, so that others on the machine matter less.
//!
//! limitador is asked about a namespace and a context that was made beforehand. The engine is asked for a whole decision on a request,
//! with and without limits. Without, too, it reads the caller's address, for a policy that refuses others; what limits cost is
//! the rest: making the name of the counter, reading the clock, drawing. Keys of limits that are the same for all callers are made when
//! rules are loaded, as they are by the gateway.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use limitador::RateLimiter;
use limitador::limit::{Context, Limit};
use microgw_engine::limits::{Charge, Micros, Spending, Table};
use microgw_engine::{CredentialDigest, Decision, Exchange, Facts, Identity, RequestHead, Rule, Step, UnixTime};
use microgw_proto::limits::v1 as limits;
use microgw_proto::rules::v1 as proto;

const CALLERS: u64 = 10_000;
const DRAWS: u64 = 100_000;
const ROUNDS: usize = 5;
/// Nobody comes to the end of it.
const QUOTA: u64 = 1 << 40;

struct Here(Table);

impl Facts for Here {
    fn get(&self, _: &CredentialDigest) -> Option<Arc<Identity>> {
        None
    }

    fn put(&self, _: CredentialDigest, _: Arc<Identity>) {}

    fn spend(&self, charges: &[Charge<'_>]) -> Spending {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.0.spend(charges, Micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX)))
    }
}

/// A public operation whose callers have so many limits each, and so many for all of them.
fn rule(kind: Kind, own: u64, shared: u64) -> Arc<Rule> {
    let policy = |name: &str, count: u64| limits::Policy {
        name: name.to_owned(),
        limits: (1..=count)
            .map(|index| limits::Limit { quota: QUOTA, window: Some(kind.window(index)), ..Default::default() })
            .collect(),
        ..Default::default()
    };
    let book = proto::RuleBook {
        apis: vec![proto::Api { name: "pets".into(), version: "1.0".into(), base_path: "/pets".into() , ..Default::default() }],
        policies: vec![proto::Policy { public: true, credential_header: "authorization".into(), ..Default::default() }],
        rules: vec![proto::Rule { id: vec![1; 16], api_limit: u32::from(shared > 0), ..Default::default() }],
        limits: if shared > 0 { vec![policy("Shared", shared)] } else { Vec::new() },
        tiers: Some(limits::Tiers {
            subscriptions: if own > 0 { vec![policy("Unauthenticated", own)] } else { Vec::new() },
            deny: vec![limits::DenyPolicy { name: "Abuser".into(), when: Some(nobody()), ..Default::default() }],
            ..Default::default()
        }),
        ..Default::default()
    };
    Rule::load(&book).expect("the book is good").remove(0).1
}

/// An address that no caller has.
fn nobody() -> limits::Condition {
    let range = limits::AddressRange { first: vec![192, 0, 2, 1], last: vec![192, 0, 2, 1] };
    let addresses = limits::Addresses { ranges: vec![range] };
    limits::Condition { kind: Some(limits::condition::Kind::Addresses(addresses)) }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Fixed,
    Sliding,
    Burst,
}

impl Kind {
    /// None like the other.
    fn window(self, index: u64) -> limits::limit::Window {
        let seconds = 60 * index;
        match self {
            Kind::Fixed => limits::limit::Window::Fixed(limits::Fixed { seconds }),
            Kind::Sliding => limits::limit::Window::Sliding(limits::Sliding { seconds, buckets: 10 }),
            Kind::Burst => limits::limit::Window::Burst(limits::Burst { seconds, burst: 1 << 31 }),
        }
    }
}

fn address(caller: u64) -> String {
    format!("10.0.{}.{}", caller / 250, caller % 250 + 1)
}

/// Nanoseconds for each of `DRAWS`, on each of so many threads.
fn time(threads: u64, draw: impl Fn(u64) -> bool + Sync) -> f64 {
    let took: u64 = std::thread::scope(|scope| {
        let draw = &draw;
        let each = move |thread: u64| {
            let (started, before) = (Instant::now(), spent());
            // A step that visits all of them, far from each other.
            assert!((0..DRAWS).all(|number| draw((number * 7919 + thread) % CALLERS)), "refused");
            let elapsed = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
            before.zip(spent()).map_or(elapsed, |(before, after)| after - before)
        };
        let threads: Vec<_> = (0..threads).map(|thread| scope.spawn(move || each(thread))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no thread panics")).max().unwrap_or_default()
    });
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let each = took as f64 / DRAWS as f64;
    each
}

/// Nanoseconds of a processor that this thread has had. `None`: the kernel does not say.
fn spent() -> Option<u64> {
    std::fs::read_to_string("/proc/thread-self/schedstat").ok()?.split(' ').next()?.parse().ok()
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// What an engine decision takes.
struct Engine {
    rule: Arc<Rule>,
    facts: Here,
    requests: Vec<HashMap<String, String>>,
}

impl Engine {
    fn new(kind: Kind, own: u64, shared: u64) -> Engine {
        let request = |caller| HashMap::from([("x-forwarded-for".to_owned(), address(caller))]);
        Engine {
            rule: rule(kind, own, shared),
            facts: Here(Table::new(100_000, [1, 2])),
            requests: (0..CALLERS).map(request).collect(),
        }
    }

    fn decide(&self, caller: u64) -> bool {
        let headers = &self.requests[usize::try_from(caller).unwrap_or(0)];
        let mut exchange = Exchange::new(&self.rule, &self.facts, UnixTime(1_700_000_000));
        let step = exchange.on_request_head(RequestHead {
            method: "GET",
            scheme: "https",
            authority: "api.example",
            path: "/pets/1",
            headers,
            certificate: None,
            peer: "",
            has_body: None,
        });
        matches!(black_box(&step), Step::Done(Decision::Allow(_)))
    }
}

fn limitador(count: u64) -> impl Fn(u64) -> bool + Sync {
    let limiter = RateLimiter::new(100_000);
    for index in 1..=count {
        let variable = "address".try_into().expect("a name is an expression");
        limiter.add_limit(Limit::new("pets", QUOTA, 60 * index, vec![], vec![variable]));
    }
    let context = |caller| Context::from(HashMap::from([("address".to_owned(), address(caller))]));
    let contexts: Vec<Context<'static>> = (0..CALLERS).map(context).collect();
    let namespace = "pets".into();
    move |caller| {
        let context = &contexts[usize::try_from(caller).unwrap_or(0)];
        let result = limiter.check_rate_limited_and_update(&namespace, context, 1);
        result.is_ok_and(|result| !black_box(result).limited)
    }
}

/// As `microgw-bench` shows figures.
fn report(name: &str, measured: f64, unit: &str, most: f64) {
    let digits = if measured >= 100.0 { 0 } else { 2 };
    let verdict = if measured <= most { "ok" } else { "MISSED" };
    println!("{name:48}  {measured:>9.digits$} {unit:<11}  {:>8}  {verdict}", format!("<= {most}"));
}

fn main() {
    for kind in [Kind::Fixed, Kind::Sliding, Kind::Burst] {
        for (whose, count, own, shared) in
            [("each caller", 1, 1, 0), ("each caller", 4, 4, 0), ("all callers", 1, 0, 1), ("all callers", 4, 0, 4)]
        {
            let (bare, limited) = (Engine::new(kind, 0, 0), Engine::new(kind, own, shared));
            let rounds = (0..ROUNDS).map(|_| {
                let bare = time(1, |caller| bare.decide(caller));
                (time(1, |caller| limited.decide(caller)) - bare) / f64::from(count)
            });
            let name = format!("limits: {kind:?} of {whose}, each of {count}");
            report(&name, median(rounds.collect()), "ns", 150.0);
        }
    }
    for threads in [1, 2] {
        for count in [1, 2, 4] {
            let (engine, limitador) = (Engine::new(Kind::Fixed, count, 0), limitador(count));
            let rounds = (0..ROUNDS).map(|_| {
                let engine = time(threads, |caller| engine.decide(caller));
                engine / time(threads, &limitador)
            });
            let name = format!("limits: a decision over limitador, {count} on {threads}");
            report(&name, median(rounds.collect()), "", 1.0);
        }
    }
}
