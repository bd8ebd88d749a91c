//! Bandwidth is paid for afterwards: Envoy reports what the bodies of a request took, with what the decision said the request
//! owes, and that is charged. Requests that last are reported once a second, so that what a limit overshoots by are the bytes
//! in flight.
//!
//! Only our Envoys are heard: reports come over the very sockets and connections that decisions are asked for on.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use envoy_types::pb::envoy::data::accesslog::v3::{AccessLogType, HttpAccessLogEntry};
use envoy_types::pb::envoy::service::accesslog::v3::access_log_service_server::AccessLogService;
use envoy_types::pb::envoy::service::accesslog::v3::stream_access_logs_message::LogEntries;
use envoy_types::pb::envoy::service::accesslog::v3::{StreamAccessLogsMessage, StreamAccessLogsResponse};
use envoy_types::pb::google::protobuf::value::Kind;
use microgw_engine::Balance;
use microgw_engine::limits::{Owed, OwnedCharge, Unit};
use tokio::time::Instant;
use tonic::{Request, Response, Status, Streaming};

use crate::clock;
use crate::description::NAMESPACE;
use crate::limits::Limits;
use crate::seldom::Seldom;

/// The name of what is owed in what decisions say.
pub(crate) const OWED: &str = "owed";
/// Requests under way of which parts were charged already. Beyond that they are charged when they are over.
const MOST: usize = 65_536;
/// After which one that Envoy has said nothing more of is over; they are reported once a second.
const SILENCE: Duration = Duration::from_secs(60);

/// Charges what bodies take.
#[derive(Debug)]
pub struct Bandwidth {
    limits: Arc<Limits>,
    next: AtomicU64,
    under_way: Mutex<HashMap<u64, Counted>>,
    complaint: Seldom,
}

/// What of one request was charged.
#[derive(Clone, Copy, Debug)]
struct Counted {
    bytes: Bytes,
    at: Instant,
}

/// Of bodies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Bytes {
    request: u64,
    response: u64,
}

// === impl Bandwidth ===

impl Bandwidth {
    pub fn new(limits: Arc<Limits>) -> Bandwidth {
        // What an earlier process gave out may still come back.
        let first = clock::micros().0 << 8;
        Bandwidth { limits, next: first.into(), under_way: Mutex::default(), complaint: Seldom::default() }
    }

    /// What Envoy is told of a request that may pass. `None`: nothing limits its bytes.
    pub(crate) fn owed(&self, balances: &[Balance<'_>]) -> Option<String> {
        let bytes = balances.iter().any(|balance| matches!(balance.limit.unit, Unit::Bytes(_)));
        if bytes { Owed::write(self.next.fetch_add(1, Ordering::Relaxed), balances) } else { None }
    }

    fn take(&self, entry: &HttpAccessLogEntry) {
        let Some(text) = owed_of(entry) else { return };
        let Some(owed) = Owed::read(text) else {
            if self.complaint.now() {
                tracing::error!("Envoy reports what bodies took, and not readably for whom: it is not counted");
            }
            return;
        };
        let bytes = Bytes {
            request: entry.request.as_ref().map_or(0, |request| request.request_body_bytes),
            response: entry.response.as_ref().map_or(0, |response| response.response_body_bytes),
        };
        let end = AccessLogType::DownstreamEnd;
        let over = entry.common_properties.as_ref().is_some_and(|common| common.access_log_type() == end);
        let more = self.since(owed.request, bytes, over, Instant::now());
        for charge in &owed.charges {
            let Unit::Bytes(directions) = charge.limit.unit else { continue };
            let request = if directions.requests { more.request } else { 0 };
            let response = if directions.responses { more.response } else { 0 };
            let cost = request.saturating_add(response);
            if cost > 0 {
                self.limits.add(&OwnedCharge { cost, ..charge.clone() });
            }
        }
    }

    /// What was not charged yet.
    fn since(&self, request: u64, bytes: Bytes, over: bool, now: Instant) -> Bytes {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let before = if over { under_way.remove(&request) } else { under_way.get(&request).copied() };
        if !over {
            if before.is_none() && under_way.len() >= MOST {
                under_way.retain(|_, counted| now.duration_since(counted.at) < SILENCE);
                if under_way.len() >= MOST {
                    return Bytes::default();
                }
            }
            under_way.insert(request, Counted { bytes, at: now });
        }
        let before = before.map_or_else(Bytes::default, |counted| counted.bytes);
        Bytes {
            request: bytes.request.saturating_sub(before.request),
            response: bytes.response.saturating_sub(before.response),
        }
    }
}

fn owed_of(entry: &HttpAccessLogEntry) -> Option<&str> {
    let metadata = entry.common_properties.as_ref()?.metadata.as_ref()?;
    match metadata.filter_metadata.get(NAMESPACE)?.fields.get(OWED)?.kind.as_ref()? {
        Kind::StringValue(text) => Some(text),
        _ => None,
    }
}

/// The service that tonic serves.
#[derive(Clone)]
pub(crate) struct Reports(pub(crate) Arc<Bandwidth>);

#[tonic::async_trait]
impl AccessLogService for Reports {
    async fn stream_access_logs(
        &self,
        request: Request<Streaming<StreamAccessLogsMessage>>,
    ) -> Result<Response<StreamAccessLogsResponse>, Status> {
        let mut reports = request.into_inner();
        while let Some(report) = reports.message().await? {
            if let Some(LogEntries::HttpLogs(entries)) = report.log_entries {
                entries.log_entry.iter().for_each(|entry| self.0.take(entry));
            }
        }
        Ok(Response::new(StreamAccessLogsResponse {}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_reported_on_the_way_is_not_charged_twice() {
        let bandwidth = Bandwidth::new(Arc::default());
        let now = Instant::now();
        let bytes = |request, response| Bytes { request, response };
        assert_eq!(bandwidth.since(1, bytes(10, 0), false, now), bytes(10, 0));
        assert_eq!(bandwidth.since(1, bytes(10, 5), false, now), bytes(0, 5));
        assert_eq!(bandwidth.since(2, bytes(1, 1), true, now), bytes(1, 1));
        assert_eq!(bandwidth.since(1, bytes(12, 9), true, now), bytes(2, 4));
        assert!(bandwidth.under_way.lock().unwrap().is_empty());
    }

    #[test]
    fn memory_is_bounded_and_nothing_is_lost() {
        let bandwidth = Bandwidth::new(Arc::default());
        let (now, bytes) = (Instant::now(), Bytes { request: 1, response: 1 });
        for request in 0..MOST as u64 {
            bandwidth.since(request, bytes, false, now);
        }
        let one_more = MOST as u64;
        assert_eq!(bandwidth.since(one_more, bytes, false, now), Bytes::default());
        assert_eq!(bandwidth.since(one_more, bytes, true, now), bytes, "in the end it is charged");
        // Of what has ended without a word nothing is remembered.
        assert_eq!(bandwidth.since(one_more, bytes, false, now + SILENCE), bytes);
        assert_eq!(bandwidth.under_way.lock().unwrap().len(), 1);
    }
}
