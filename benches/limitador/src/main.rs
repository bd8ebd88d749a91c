//! What a limit costs a decision: of the engine, and of the public crate limitador, which keeps its counters in memory, too. Both
//! count the same callers by the same name, by turns, in one run.
//!
//! limitador is asked about a namespace and a context that was made beforehand. The engine is asked for a whole decision on a request,
//! with and without limits: it reads the caller's address, makes the name of its counter, reads the clock and draws. Keys of
//! limits that are the same for all callers are made when rules are loaded, as they are by the gateway.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use limitador::RateLimiter;
use limitador::limit::{Context, Limit};
use microgw_engine::limits::{Charge, Micros, Spending, Table};
use microgw_engine::{CredentialDigest, Decision, Exchange, Facts, Identity, RequestHead, Rule, Step, UnixTime};
use microgw_proto::limits::v1 as limits;
use microgw_proto::rules::v1 as proto;

const CALLERS: u64 = 10_000;
const DRAWS: u64 = 300_000;
const ROUNDS: usize = 7;
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
        apis: vec![proto::Api { name: "pets".into(), version: "1.0".into(), base_path: "/pets".into() }],
        policies: vec![proto::Policy { public: true, credential_header: "authorization".into(), ..Default::default() }],
        rules: vec![proto::Rule { id: vec![1; 16], api_limit: u32::from(shared > 0), ..Default::default() }],
        limits: if shared > 0 { vec![policy("Shared", shared)] } else { Vec::new() },
        tiers: (own > 0)
            .then(|| limits::Tiers { subscriptions: vec![policy("Unauthenticated", own)], ..Default::default() }),
        ..Default::default()
    };
    Rule::load(&book).expect("the book is good").remove(0).1
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
    let took: Duration = std::thread::scope(|scope| {
        let draw = &draw;
        let each = move |thread: u64| {
            let started = Instant::now();
            // A step that visits all of them, far from each other.
            assert!((0..DRAWS).all(|number| draw((number * 7919 + thread) % CALLERS)), "refused");
            started.elapsed()
        };
        let threads: Vec<_> = (0..threads).map(|thread| scope.spawn(move || each(thread))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no thread panics")).max().unwrap_or_default()
    });
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let each = took.as_nanos() as f64 / DRAWS as f64;
    each
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

fn main() {
    println!("{CALLERS} callers, medians of {ROUNDS} rounds of {DRAWS}, in ns\n");
    println!(
        "{:>7} {:>6}  {:>9} {:>9} {:>9}  {:>9}",
        "threads", "limits", "decision", "of limits", "per limit", "limitador"
    );
    for threads in [1, 2] {
        for count in [1, 2, 4] {
            let (bare, engine, limitador) =
                (Engine::new(Kind::Fixed, 0, 0), Engine::new(Kind::Fixed, count, 0), limitador(count));
            let (mut bares, mut engines, mut limitadors) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                bares.push(time(threads, |caller| bare.decide(caller)));
                engines.push(time(threads, |caller| engine.decide(caller)));
                limitadors.push(time(threads, &limitador));
            }
            let (bare, engine, limitador) = (median(bares), median(engines), median(limitadors));
            #[expect(clippy::cast_precision_loss, reason = "four at most")]
            let each = (engine - bare) / count as f64;
            println!("{threads:>7} {count:>6}  {engine:>9.0} {:>9.0} {each:>9.0}  {limitador:>9.0}", engine - bare);
        }
    }
    println!("\n{:>9} {:>9} {:>9}", "", "of callers", "of all");
    for kind in [Kind::Fixed, Kind::Sliding, Kind::Burst] {
        let (bare, own, all) = (Engine::new(kind, 0, 0), Engine::new(kind, 1, 0), Engine::new(kind, 0, 1));
        let rounds = |engine: &Engine| median((0..ROUNDS).map(|_| time(1, |caller| engine.decide(caller))).collect());
        let bare = rounds(&bare);
        println!("{:>9} {:>9.0} {:>9.0}", format!("{kind:?}"), rounds(&own) - bare, rounds(&all) - bare);
    }
}
