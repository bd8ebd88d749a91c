//! How resources become bytes: equal content must give equal bytes in every process.

#![allow(clippy::unnecessary_wraps)] // message fields are options

use std::fmt::Write as _;
use std::sync::Arc;

use envoy_types::pb::google::protobuf::{Any, BoolValue, Duration, UInt32Value};
use prost::encoding::{WireType, encode_key, encode_varint};
use prost::{Message, Name};
use sha2::{Digest, Sha256};

use crate::snapshot::{Resource, ResourceType};

/// A message packed with its type URL.
pub fn any<M: Message + Name>(message: &M) -> Any {
    Any { type_url: M::type_url(), value: message.encode_to_vec() }
}

/// Appends a length-delimited field. For messages whose generated type holds a hash map: its order, and so its bytes,
/// would differ from process to process.
pub fn append(message: &mut Vec<u8>, tag: u32, field: &[u8]) {
    encode_key(tag, WireType::LengthDelimited, message);
    encode_varint(field.len() as u64, message);
    message.extend_from_slice(field);
}

/// Appends an entry of the map field `tag`, whose values are messages.
pub fn append_entry(message: &mut Vec<u8>, tag: u32, key: &str, value: &[u8]) {
    let mut entry = Vec::with_capacity(key.len() + value.len() + 16);
    append(&mut entry, 1, key.as_bytes());
    append(&mut entry, 2, value);
    append(message, tag, &entry);
}

/// Appends a field with a text to a `google.protobuf.Struct`.
pub fn append_text_entry(structure: &mut Vec<u8>, name: &str, text: &str) {
    const FIELDS: u32 = 1;
    const STRING_VALUE: u32 = 3;
    let mut value = Vec::with_capacity(text.len() + 4);
    append(&mut value, STRING_VALUE, text.as_bytes());
    append_entry(structure, FIELDS, name, &value);
}

/// The first 16 bytes of the SHA-256 of `parts`, each preceded by its length.
pub fn digest(parts: &[&[u8]]) -> [u8; 16] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut short = [0; 16];
    short.iter_mut().zip(hash.finalize()).for_each(|(short, byte)| *short = byte);
    short
}

/// Lower-case digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A resource whose version is the hash of its bytes.
pub fn resource(body: Vec<u8>, references: Vec<(ResourceType, Arc<str>)>) -> Resource {
    Resource { version: hex(&digest(&[&body])).into(), body: body.into(), references: references.into() }
}

pub fn yes() -> Option<BoolValue> {
    Some(BoolValue { value: true })
}

pub fn no() -> Option<BoolValue> {
    Some(BoolValue { value: false })
}

pub fn seconds(seconds: i64) -> Option<Duration> {
    Some(Duration { seconds, nanos: 0 })
}

pub fn milliseconds(milliseconds: u32) -> Option<Duration> {
    let nanos = i32::try_from(milliseconds % 1000 * 1_000_000).unwrap_or_default();
    Some(Duration { seconds: (milliseconds / 1000).into(), nanos })
}

pub fn number(value: u32) -> Option<UInt32Value> {
    Some(UInt32Value { value })
}
