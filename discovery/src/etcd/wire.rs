//! What is spoken with etcd: the part of its gRPC interface, version 3, that is needed to read keys and watch them. The
//! numbers are those of etcd's own definitions.

use prost::Message;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{IntoStreamingRequest, Request, Status, Streaming};
use tonic_prost::ProstCodec;

#[derive(Clone, PartialEq, Message)]
pub struct Header {
    #[prost(int64, tag = "3")]
    pub revision: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct KeyValue {
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    #[prost(int64, tag = "3")]
    pub mod_revision: i64,
    #[prost(bytes = "vec", tag = "5")]
    pub value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub struct RangeRequest {
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub struct RangeResponse {
    #[prost(message, optional, tag = "1")]
    pub header: Option<Header>,
    #[prost(message, repeated, tag = "2")]
    pub kvs: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub struct AuthenticateRequest {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub password: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct AuthenticateResponse {
    #[prost(string, tag = "2")]
    pub token: String,
}

/// One of them.
#[derive(Clone, PartialEq, Message)]
pub struct WatchRequest {
    #[prost(message, optional, tag = "1")]
    pub create: Option<WatchCreate>,
    #[prost(message, optional, tag = "2")]
    pub cancel: Option<WatchCancel>,
    #[prost(message, optional, tag = "3")]
    pub progress: Option<WatchProgress>,
}

#[derive(Clone, PartialEq, Message)]
pub struct WatchCreate {
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    #[prost(int64, tag = "3")]
    pub start_revision: i64,
    #[prost(int64, tag = "7")]
    pub watch_id: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct WatchCancel {
    #[prost(int64, tag = "1")]
    pub watch_id: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct WatchProgress {}

#[derive(Clone, PartialEq, Message)]
pub struct WatchResponse {
    #[prost(int64, tag = "2")]
    pub watch_id: i64,
    #[prost(bool, tag = "3")]
    pub created: bool,
    #[prost(bool, tag = "4")]
    pub canceled: bool,
    #[prost(int64, tag = "5")]
    pub compact_revision: i64,
    #[prost(string, tag = "6")]
    pub cancel_reason: String,
    #[prost(message, repeated, tag = "11")]
    pub events: Vec<Event>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Event {
    /// 0: put, 1: deleted.
    #[prost(int32, tag = "1")]
    pub kind: i32,
    #[prost(message, optional, tag = "2")]
    pub kv: Option<KeyValue>,
}

pub const DELETED: i32 = 1;

/// Of one answer.
const MAX_MESSAGE: usize = 4 << 20;

/// One connection, logged in or not.
pub struct Client {
    grpc: Grpc<Channel>,
    token: Option<MetadataValue<Ascii>>,
}

// === impl Client ===

impl Client {
    pub fn new(channel: Channel) -> Client {
        Client { grpc: Grpc::new(channel).max_decoding_message_size(MAX_MESSAGE), token: None }
    }

    pub fn log_in(&mut self, token: MetadataValue<Ascii>) {
        self.token = Some(token);
    }

    pub async fn authenticate(&mut self, request: AuthenticateRequest) -> Result<AuthenticateResponse, Status> {
        self.unary(request, "/etcdserverpb.Auth/Authenticate").await
    }

    pub async fn range(&mut self, request: RangeRequest) -> Result<RangeResponse, Status> {
        self.unary(request, "/etcdserverpb.KV/Range").await
    }

    /// etcd begins to answer with its answer to the first request.
    pub async fn watch(
        &mut self,
        requests: impl IntoStreamingRequest<Message = WatchRequest>,
    ) -> Result<Streaming<WatchResponse>, Status> {
        self.ready().await?;
        let mut requests = requests.into_streaming_request();
        self.sign(&mut requests);
        let path = PathAndQuery::from_static("/etcdserverpb.Watch/Watch");
        Ok(self.grpc.streaming(requests, path, ProstCodec::default()).await?.into_inner())
    }

    async fn unary<A, B>(&mut self, request: A, path: &'static str) -> Result<B, Status>
    where
        A: Message + 'static,
        B: Message + Default + 'static,
    {
        self.ready().await?;
        let mut request = Request::new(request);
        self.sign(&mut request);
        let path = PathAndQuery::from_static(path);
        Ok(self.grpc.unary(request, path, ProstCodec::default()).await?.into_inner())
    }

    async fn ready(&mut self) -> Result<(), Status> {
        self.grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))
    }

    fn sign<T>(&self, request: &mut Request<T>) {
        if let Some(token) = &self.token {
            request.metadata_mut().insert("token", token.clone());
        }
        // A member that has lost the others says so, rather than nothing.
        request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
    }
}
