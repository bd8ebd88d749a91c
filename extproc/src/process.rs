//! The ext_proc service, for routes whose rules look at bodies or responses: one stream for each request. It decides as ext_authz
//! does, so these routes do not ask that as well.
//!
//! Bodies that a rule looks at come in pieces and are collected here, up to the rule's own bound, before anything of the message
//! goes on; those that are only bounded go on as they come, and are counted; others pass by. A stream that ends well before everything is said would let the request through: whatever goes
//! wrong ends it with an error, which Envoy answers with 503.

mod answer;
mod head;
mod judged;
mod kept;
mod turns;

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use envoy_types::pb::envoy::service::ext_proc::v3::external_processor_server::ExternalProcessor;
use envoy_types::pb::envoy::service::ext_proc::v3::processing_request::Request as Asked;
use envoy_types::pb::envoy::service::ext_proc::v3::processing_response::Response as Said;
use envoy_types::pb::envoy::service::ext_proc::v3::{HttpHeaders, ProcessingRequest, ProcessingResponse};
use envoy_types::pb::google::protobuf::value::Kind;
use futures_util::{FutureExt as _, Stream, stream};
use microgw_engine::{Decision, Exchange, Phases, Reason, ResponseHead, ResponseStep, Rule};
use microgw_faults::Form;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::{Request, Response, Status, Streaming};
use tracing::{Instrument as _, Span};

use self::answer::{Direction, Follows};
pub(crate) use self::head::Head;
use self::judged::Passed;
use crate::answer::{refusal, told};
use crate::clock::now;
use crate::decider::{Asking, Decider, Settled};
use crate::programs::Patience;
use crate::rate_limit;
use crate::response_cache::{Asked as CacheKey, Copying, First};
use crate::room::Held;
use crate::traces;

/// The metadata of a stream that names the route's rule.
pub const RULE_METADATA: &str = "microgw-rule";
/// Where Envoy's attributes are.
const ATTRIBUTES: &str = "envoy.filters.http.ext_proc";
/// The address that a connection comes from.
const PEER: &str = "source.address";
/// How a response came about.
const DETAILS: &str = "response.code_details";
/// Bytes that are set aside for a body before any of it has come.
const ROOM: usize = 16 * 1024;
const FROM_BACKEND: &str = "via_upstream";
/// What is known is good still.
const NOT_MODIFIED: u16 = 304;

/// The service that tonic serves.
#[derive(Clone)]
pub(crate) struct Processor(pub(crate) Arc<Decider>);

/// One stream.
struct Conversation<A> {
    decider: Arc<Decider>,
    asked: A,
    said: mpsc::Sender<Result<ProcessingResponse, Status>>,
    /// The request's body, while it passes.
    upload: Option<Passing>,
    /// The response, as far as it has come, if it is for others, too.
    copying: Option<Copying>,
    /// Others wait for it.
    first: Option<First>,
    /// Room for what is collected.
    held: Held,
}

/// A body that goes on as it comes.
struct Passing {
    /// Bytes that may still come.
    left: usize,
    /// What it is answered by.
    rule: Arc<Rule>,
    form: Form,
    /// No trailers may follow.
    retried: bool,
}

/// Why there is nothing more to say.
enum End {
    /// Envoy has gone, or has answered the request itself.
    Over,
    Failed(Status),
}

/// What has come of a body before it was too long.
#[derive(Default)]
struct Begun {
    body: Vec<u8>,
    /// Nothing follows.
    ended: bool,
}

/// A body that was collected.
enum Collected {
    Whole {
        body: Vec<u8>,
        /// Trailers follow, and wait to be let on.
        trailers: bool,
    },
    TooLong(Begun),
    /// There is no room for it.
    NoRoom,
}

type Outcome<T> = Result<T, End>;

// === impl Processor ===

#[tonic::async_trait]
impl ExternalProcessor for Processor {
    type ProcessStream = Pin<Box<dyn Stream<Item = Result<ProcessingResponse, Status>> + Send>>;

    async fn process(
        &self,
        request: Request<Streaming<ProcessingRequest>>,
    ) -> Result<Response<Self::ProcessStream>, Status> {
        let (metadata, _, asked) = request.into_parts();
        let span = if self.0.traced { traces::parent(metadata.as_ref()).map(Decider::span) } else { None };
        let rule = metadata.get(RULE_METADATA).and_then(|rule| rule.to_str().ok()).unwrap_or_default().to_owned();
        // One message is on its way at a time, and as many as a body has pieces.
        let (said, mut saying) = mpsc::channel(1);
        let conversation = Conversation::new(Arc::clone(&self.0), asked, said);
        tokio::spawn(conversation.isolate(rule, span.unwrap_or_else(Span::none)));
        Ok(Response::new(Box::pin(stream::poll_fn(move |context| saying.poll_recv(context)))))
    }
}

/// Talks about one request on a route that carries `rule`, until all is said or nobody listens.
pub async fn converse(
    decider: Arc<Decider>,
    rule: String,
    asked: impl Stream<Item = Result<ProcessingRequest, Status>> + Send + Unpin,
    said: mpsc::Sender<Result<ProcessingResponse, Status>>,
) {
    Conversation::new(decider, asked, said).isolate(rule, Span::none()).await;
}

// === impl Conversation ===

impl<A: Stream<Item = Result<ProcessingRequest, Status>> + Send + Unpin> Conversation<A> {
    fn new(decider: Arc<Decider>, asked: A, said: mpsc::Sender<Result<ProcessingResponse, Status>>) -> Conversation<A> {
        let held = decider.room.enter();
        Conversation { decider, asked, said, upload: None, copying: None, first: None, held }
    }

    /// A panic costs the request that caused it, and nothing else.
    async fn isolate(self, rule: String, span: Span) {
        let (decider, said) = (Arc::clone(&self.decider), self.said.clone());
        let conversation = AssertUnwindSafe(self.hold(&rule, &span)).catch_unwind().instrument(span.clone());
        match conversation.await {
            Ok(Ok(()) | Err(End::Over)) => {}
            // Gone meanwhile: nobody is to be told.
            Ok(Err(End::Failed(status))) => drop(said.send(Err(status)).await),
            Err(_) => {
                decider.metrics.panicked();
                tracing::error!("a request ended in a panic and was answered 500");
                let deny = decider.refusal(Reason::Internal);
                let refused = answer::refused(refusal(&deny, Form::Fault, None, decider.rate_limits));
                let _ = said.send(Ok(message(refused))).await;
            }
        }
    }

    async fn hold(mut self, rule: &str, span: &Span) -> Outcome<()> {
        self.talk(rule, span).await?;
        // Nobody waits for what was refused.
        self.not_kept();
        // A response may be over before its request is. What is left of that is counted, too.
        match self.uploaded().await? {
            None => Ok(()),
            Some(_) => Err(out_of_turn()),
        }
    }

    async fn talk(&mut self, rule: &str, span: &Span) -> Outcome<()> {
        let first = self.next().await?;
        let peer = attribute(&first, PEER).unwrap_or_default().to_owned();
        let from_backend = attribute(&first, DETAILS) == Some(FROM_BACKEND);
        let HttpHeaders { headers, end_of_stream, .. } = match first.request {
            Some(Asked::RequestHeaders(head)) => head,
            // Envoy has refused the request before anybody saw it.
            Some(Asked::ResponseHeaders(head)) if !from_backend => return self.let_by(head).await,
            _ => return Err(out_of_turn()),
        };
        let head = Head::read(headers);
        let Some(armed) = self.decider.armed(rule, span) else {
            let deny = self.decider.refusal(Reason::UnknownRule);
            return self.refuse(deny, head.form(), None).await;
        };
        let decider = Arc::clone(&self.decider);
        let (id, rule) = (rule, &*armed.rule);
        let phases = rule.phases().copied().unwrap_or_default();
        let Phases { response_head, response_body, max_request_body, max_response_body, .. } = phases;

        let patience = Patience::of_request(&self.said, rule, decider.responses.expected.patience());
        let forwarded = microgw_engine::Headers::get(&head, "x-forwarded-for");
        let mut asking = Asking::new(forwarded, span).with(patience);
        let (body, response, response_body_of) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        let kept = OnceLock::new();
        let mut exchange = Exchange::new(rule, &decider.facts, now());
        let started = Instant::now();
        let step = exchange.on_request_head(head.request(&peer, end_of_stream));
        let mut settled = decider.settle(&mut exchange, step, &mut asking).await;
        let mut took = started.elapsed();
        let (mut trailers, mut unread) = (false, Begun::default());
        if let Settled::NeedBody = settled {
            let collected = if end_of_stream {
                Collected::Whole { body: Vec::new(), trailers: false }
            } else {
                self.collect(Direction::Request, max_request_body, head.content_length()).await?
            };
            let started = Instant::now();
            settled = match collected {
                Collected::Whole { trailers: true, .. } if phases.retried => {
                    Settled::Decided(exchange.refuse_request(Reason::UnreadableBody))
                }
                Collected::Whole { body: whole, trailers: follow } => {
                    trailers = follow;
                    let step = exchange.on_request_body(body.get_or_init(|| whole), now());
                    asking.again();
                    decider.settle(&mut exchange, step, &mut asking).await
                }
                Collected::NoRoom => Settled::Decided(exchange.refuse_request(Reason::NoRoom)),
                Collected::TooLong(begun) => {
                    unread = begun;
                    let step = exchange.on_long_request_body(now());
                    asking.again();
                    decider.settle(&mut exchange, step, &mut asking).await
                }
            };
            took += started.elapsed();
        }
        let Settled::Decided(decision) = settled else { return Err(out_of_turn()) };
        decider.decided(&armed, &decision, took, &asking);
        decider.report(&armed, &mut exchange);
        let description = answer::metadata(decider.describe(&decision));
        let allow = match decision {
            Decision::Allow(allow) => allow,
            Decision::Deny(deny) => {
                let refused = answer::refused(refusal(&deny, head.form(), Some(rule), decider.rate_limits));
                return self.say(ProcessingResponse { dynamic_metadata: description, ..message(refused) }).await;
            }
            Decision::Respond(respond) => {
                let told = rate_limit::headers(decider.rate_limits, &respond.limits, None);
                let responded = answer::responded(&respond.message, told);
                return self.say(ProcessingResponse { dynamic_metadata: description, ..message(responded) }).await;
            }
        };
        let told: Vec<_> = told(&allow, decider.rate_limits).collect();
        let asked = rule.keep().filter(|_| end_of_stream);
        let asked =
            asked.and_then(|keep| CacheKey::of(id, armed.term, keep, head.request(&peer, end_of_stream), &allow));
        if let Some(asked) = &asked
            && let Some(found) =
                self.known(asked, rule.time_in_programs(microgw_transforms::Direction::Response)).await?
        {
            let step = kept::answer(&mut exchange, kept.get_or_init(|| found));
            let step = self.through_programs(&mut exchange, step, rule, span).await;
            let Some(Passed(edits)) = self.judged(step, &told, rule, head.form(), Some(asked)).await? else {
                return Ok(());
            };
            decider.report(&armed, &mut exchange);
            let known = kept.get().map(|kept| kept.message(edits, asked, true)).unwrap_or_default();
            let given = answer::given(known, told);
            return self.say(ProcessingResponse { dynamic_metadata: description, ..message(given) }).await;
        }
        let stale = asked.as_ref().and_then(|asked| decider.responses.stale(asked));
        let collected = body.get().filter(|_| !end_of_stream);
        // What nobody could look at, and may pass all the same, does so as it comes.
        let passing = (phases.request_body && body.get().is_none()).then_some(usize::MAX);
        let counted = phases.counted_request().or(passing).filter(|_| !end_of_stream && !unread.ended);
        let length = match collected {
            Some(body) => Some(body.len() as u64).filter(|_| !trailers),
            // Envoy forgets it where a body comes here.
            None if end_of_stream => None,
            None => counted.or(passing).and_then(|_| head.content_length()),
        };
        let (mut common, edited) = answer::admitted(allow, Follows { length, trailers });
        if let Some(validator) = stale.as_ref().and_then(|stale| stale.validator()) {
            common = answer::validating(common, validator);
        }
        match (collected, edited) {
            // Of a body that was never begun Envoy takes no piece.
            (Some(nothing), Some(new)) if trailers && nothing.is_empty() && !new.is_empty() => {
                self.head(Direction::Request, answer::replaced(common, new), description).await?;
            }
            (None, Some(new)) => {
                let common = answer::replaced(common, new);
                self.head(Direction::Request, common, description).await?;
            }
            (None, None) => {
                self.head(Direction::Request, common, description).await?;
                self.begin(Direction::Request, unread).await?;
            }
            (Some(collected), edited) => {
                self.head(Direction::Request, common, description).await?;
                let whole = edited.unwrap_or_else(|| collected.clone());
                self.body(Direction::Request, whole, trailers).await?;
            }
        }
        self.upload = counted.map(|left| Passing {
            left,
            rule: Arc::clone(&armed.rule),
            form: head.form(),
            retried: phases.retried,
        });
        let early = self.uploaded().await?;
        if !response_head {
            return if early.is_none() { Ok(()) } else { Err(out_of_turn()) };
        }

        let reply = match early {
            Some(reply) => reply,
            None => self.next().await?,
        };
        let from_backend = attribute(&reply, DETAILS) == Some(FROM_BACKEND);
        let Some(Asked::ResponseHeaders(HttpHeaders { headers, end_of_stream: ended, .. })) = reply.request else {
            return Err(out_of_turn());
        };
        let response = response.get_or_init(|| Head::read(headers));
        let comes = response_body || phases.counted_response().is_some();
        if !from_backend {
            // The request goes nowhere any more.
            self.upload = None;
            self.not_kept();
            let follows = Follows { length: response.content_length().filter(|_| comes && !ended), trailers: false };
            let (common, _) = answer::passed(None, told.into_iter(), follows);
            self.head(Direction::Response, common, None).await?;
            return if comes && !ended { self.echo(usize::MAX, rule, head.form()).await } else { Ok(()) };
        }
        if response.status() == NOT_MODIFIED
            && let (Some(asked), Some(stale)) = (&asked, stale)
        {
            let renewed = kept.get_or_init(|| self.renewed(asked, &stale, response));
            let step = kept::answer(&mut exchange, renewed);
            let step = self.through_programs(&mut exchange, step, rule, span).await;
            let Some(Passed(edits)) = self.judged(step, &told, rule, head.form(), Some(asked)).await? else {
                return Ok(());
            };
            decider.report(&armed, &mut exchange);
            let (common, whole) = answer::instead(response, renewed.message(edits, asked, false), told);
            return self.instead(common, whole.unwrap_or_default(), ended).await;
        }
        let answered = ResponseHead { status: response.status(), headers: response, ended };
        self.answered(asked.as_ref(), answered);
        let step = exchange.on_response_head(answered);
        let (mut follows, mut unread) = (Follows::default(), Begun::default());
        if comes && !ended {
            follows.length = response.content_length();
        }
        let step = match step {
            ResponseStep::NeedBody => {
                match self.collect(Direction::Response, max_response_body, response.content_length()).await? {
                    Collected::Whole { body, trailers } => {
                        follows = Follows { length: Some(body.len() as u64).filter(|_| !trailers), trailers };
                        exchange.on_response_body(response_body_of.get_or_init(|| body))
                    }
                    Collected::NoRoom => exchange.refuse_response(Reason::NoRoom),
                    Collected::TooLong(begun) => {
                        unread = begun;
                        exchange.on_long_response_body()
                    }
                }
            }
            step => step,
        };
        let step = self.through_programs(&mut exchange, step, rule, span).await;
        let Some(Passed(edits)) = self.judged(step, &told, rule, head.form(), asked.as_ref()).await? else {
            return Ok(());
        };
        decider.report(&armed, &mut exchange);
        let (common, edited) = answer::passed(edits, told.into_iter(), follows);
        match (response_body_of.get(), edited) {
            (None, Some(new)) if ended => self.head(Direction::Response, answer::replaced(common, new), None).await,
            (None, _) => {
                self.head(Direction::Response, common, None).await?;
                let over = unread.ended;
                self.begin(Direction::Response, unread).await?;
                let most = phases.counted_response().unwrap_or(usize::MAX);
                if comes && !ended && !over { self.echo(most, rule, head.form()).await } else { Ok(()) }
            }
            (Some(nothing), Some(new)) if follows.trailers && nothing.is_empty() && !new.is_empty() => {
                self.head(Direction::Response, answer::replaced(common, new), None).await
            }
            (Some(collected), edited) => {
                self.head(Direction::Response, common, None).await?;
                let whole = edited.unwrap_or_else(|| collected.clone());
                self.body(Direction::Response, whole, follows.trailers).await
            }
        }
    }
}

fn message(response: Said) -> ProcessingResponse {
    ProcessingResponse { response: Some(response), ..ProcessingResponse::default() }
}

fn out_of_turn() -> End {
    End::Failed(Status::failed_precondition("a message out of turn"))
}

fn attribute<'m>(message: &'m ProcessingRequest, name: &str) -> Option<&'m str> {
    match message.attributes.get(ATTRIBUTES)?.fields.get(name)?.kind.as_ref()? {
        Kind::StringValue(text) => Some(text),
        _ => None,
    }
}
