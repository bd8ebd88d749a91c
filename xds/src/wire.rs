//! Responses as gRPC messages, without copying large resources.
//!
//! A generated server would encode each response into a buffer that it then keeps for the next one: a route table of
//! several megabytes, once more, for as long as the stream lives. Here the message is a list of pieces, and a large
//! body is the snapshot's own.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryResponse, DiscoveryResponse, Resource};
use envoy_types::pb::google::protobuf::Any;
use prost::{Message, length_delimiter_len};

use crate::session::{Change, Response};

/// A body of this many bytes is passed by reference; HTTP/2 would cut it into frames of 16 KiB anyway.
const BY_REFERENCE: usize = 16 * 1024;
/// Small bodies are gathered in pieces of about this many bytes.
const PIECE: usize = 64 * 1024;

/// The `resources` of both responses, `Resource.resource` and `Any.value`: field 2, length-delimited.
const FIELD_2: u8 = 2 << 3 | 2;

/// A gRPC message cannot be longer than 4 GiB.
#[derive(Debug, thiserror::Error)]
#[error("the response does not fit a gRPC message")]
pub(crate) struct TooLong;

/// The response as one uncompressed gRPC message.
pub(crate) fn encode(response: &Response) -> Result<Vec<Bytes>, TooLong> {
    // Protobuf merges what is concatenated: prost writes the small fields, and the nested `field 2` that lead to a
    // body are appended by hand.
    let type_url = response.kind.type_url().to_owned();
    let any = Any { type_url: type_url.clone(), value: Vec::new() }.encode_to_vec();
    let nonce = response.nonce.clone();
    let head = match &response.change {
        Change::Removed(names) => DeltaDiscoveryResponse {
            system_version_info: response.generation.to_string(),
            type_url,
            nonce,
            removed_resources: names.iter().map(ToString::to_string).collect(),
            ..DeltaDiscoveryResponse::default()
        }
        .encode_to_vec(),
        Change::State(version) => {
            DiscoveryResponse { version_info: version.clone(), type_url, nonce, ..DiscoveryResponse::default() }
                .encode_to_vec()
        }
    };
    let wrapped = matches!(response.change, Change::Removed(_));
    let resources: Vec<Encoded> = response
        .resources
        .iter()
        .map(|(name, resource)| Encoded {
            wrapper: wrapped.then(|| wrapper(name, &resource.version)),
            any: &any,
            body: &resource.body,
        })
        .collect();
    let length = head.len() + resources.iter().map(|resource| field_len(resource.len())).sum::<usize>();

    let mut pieces = Pieces::default();
    pieces.open.put_u8(0); // not compressed
    pieces.open.put_u32(u32::try_from(length).map_err(|_| TooLong)?);
    pieces.open.put_slice(&head);
    for resource in resources {
        put_field(&mut pieces.open, resource.len());
        if let Some(wrapper) = &resource.wrapper {
            pieces.open.put_slice(wrapper);
            put_field(&mut pieces.open, resource.any_len());
        }
        pieces.open.put_slice(&any);
        put_field(&mut pieces.open, resource.body.len());
        pieces.push(resource.body);
    }
    Ok(pieces.finish())
}

struct Encoded<'a> {
    /// Name and version, of the `Resource` around the `Any`. The state of the world has none.
    wrapper: Option<Vec<u8>>,
    any: &'a [u8],
    body: &'a Arc<[u8]>,
}

impl Encoded<'_> {
    fn any_len(&self) -> usize {
        self.any.len() + field_len(self.body.len())
    }

    fn len(&self) -> usize {
        self.wrapper.as_ref().map_or(self.any_len(), |wrapper| wrapper.len() + field_len(self.any_len()))
    }
}

fn wrapper(name: &str, version: &str) -> Vec<u8> {
    Resource { name: name.to_owned(), version: version.to_owned(), ..Resource::default() }.encode_to_vec()
}

/// Length of a length-delimited field, tag included.
fn field_len(length: usize) -> usize {
    1 + length_delimiter_len(length) + length
}

fn put_field(buffer: &mut BytesMut, mut length: usize) {
    buffer.put_u8(FIELD_2);
    while length >= 0x80 {
        let [low, ..] = length.to_le_bytes();
        buffer.put_u8(low | 0x80);
        length >>= 7;
    }
    let [low, ..] = length.to_le_bytes();
    buffer.put_u8(low);
}

#[derive(Default)]
struct Pieces {
    done: Vec<Bytes>,
    open: BytesMut,
}

impl Pieces {
    fn push(&mut self, body: &Arc<[u8]>) {
        if body.len() >= BY_REFERENCE {
            self.close();
            self.done.push(Bytes::from_owner(Arc::clone(body)));
        } else {
            self.open.put_slice(body);
            if self.open.len() >= PIECE {
                self.close();
            }
        }
    }

    /// Takes the buffer whole: a split one would keep its allocation for as long as any piece lives.
    fn close(&mut self) {
        if !self.open.is_empty() {
            self.done.push(std::mem::take(&mut self.open).freeze());
        }
    }

    fn finish(mut self) -> Vec<Bytes> {
        self.close();
        self.done
    }
}

#[cfg(test)]
mod tests;
