//! Responses for others who ask the same: answered from memory, and copied as they pass.

use envoy_types::pb::envoy::service::ext_proc::v3::ProcessingRequest;
use futures_util::Stream;
use microgw_engine::{Exchange, ResponseHead, ResponseStep};
use tonic::Status;

use super::Conversation;
use crate::response_cache::Kept;

/// As if the backend had just given it: what the rule does to responses it does to this one.
pub(super) fn answer<'a>(exchange: &mut Exchange<'a>, kept: &'a Kept) -> ResponseStep<'a> {
    let ended = kept.body.is_empty();
    let head = ResponseHead { status: kept.head.status(), headers: &kept.head, ended };
    match exchange.on_response_head(head) {
        ResponseStep::NeedBody => exchange.on_response_body(&kept.body),
        step => step,
    }
}

impl<A: Stream<Item = Result<ProcessingRequest, Status>> + Send + Unpin> Conversation<A> {
    /// Takes a piece of a response that may be kept.
    pub(super) fn copy(&mut self, piece: &[u8], last: bool) {
        self.copying = self.copying.take().and_then(|copying| copying.with(piece));
        if last {
            self.kept();
        }
    }

    /// All of it has come.
    pub(super) fn kept(&mut self) {
        if let Some(copying) = self.copying.take() {
            self.decider.responses.put(copying);
        }
    }
}
