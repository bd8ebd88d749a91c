//! The artifact: a [`Model`] as one file. A header of 52 bytes, then the protobuf message `microgw.artifact.v1.Artifact`:
//!
//! ```text
//! 0   8   89 4D 47 57 0D 0A 1A 0A    breaks when a transfer changes line ends or drops the eighth bit
//! 8   2   major version, big endian: another one cannot be read
//! 10  2   minor version: a later one of the same major only adds
//! 12  8   length of the payload in bytes
//! 20  32  SHA-256 of bytes 0..20 and the payload
//! ```
//!
//! The bytes depend on the model alone: no timestamp, no map whose order could change.

mod decode;
mod encode;
#[cfg(test)]
mod tests;

use microgw_proto::artifact::v1 as proto;
use prost::Message;
use sha2::{Digest, Sha256};

use crate::model::Model;

pub const MAJOR: u16 = 1;
pub const MINOR: u16 = 0;
/// Bytes; far above what the largest project needs.
pub const MAX_SIZE: usize = 512 << 20;

/// What a project that limits anything requires of its readers.
const LIMITS: &str = "limits";
/// What one requires that says more of traffic than where it goes.
const TRAFFIC: &str = "traffic";
/// What one requires that looks at bodies or responses.
const BODIES: &str = "bodies";
/// What one requires that has responses kept.
const KEPT: &str = "kept-responses";
/// What one requires whose messages go through programs.
const INTERCEPTORS: &str = "interceptors";
/// What one requires that asks for messages to be validated.
const CONTRACTS: &str = "contracts";

const MAGIC: &[u8; 8] = b"\x89MGW\r\n\x1a\n";
const DIGEST_AT: usize = 20;
const HEADER: usize = DIGEST_AT + 32;

/// Why bytes are no artifact that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArtifactError {
    #[error("this is not a micro-gw artifact")]
    NotAnArtifact,
    #[error(
        "the artifact has format {major}.{minor}; this version reads format {MAJOR}.x: build it again with this version, or upgrade"
    )]
    UnknownMajor { major: u16, minor: u16 },
    #[error("the artifact is truncated: {missing} bytes are missing")]
    Truncated { missing: u64 },
    #[error("{extra} bytes follow the end of the artifact")]
    TrailingBytes { extra: u64 },
    #[error("the artifact has more than {MAX_SIZE} bytes")]
    TooLarge,
    #[error("the artifact needs `{0}`, which this version does not know: upgrade")]
    Requires(String),
    #[error("the artifact has been altered: its checksum does not match")]
    Altered,
    #[error("the artifact cannot be decoded")]
    Malformed(#[from] prost::DecodeError),
    /// The checksum is right and the content is not: it was not written by this program.
    #[error("the artifact is not valid: {0}")]
    Invalid(String),
}

/// The bytes of `model`'s artifact. Equal models have equal bytes.
pub fn encode(model: &Model) -> Vec<u8> {
    let payload = encode::artifact(model).encode_to_vec();
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&MAJOR.to_be_bytes());
    bytes.extend_from_slice(&MINOR.to_be_bytes());
    bytes.extend_from_slice(&(payload.len() as u64).to_be_bytes());
    let digest = digest(&bytes, &payload);
    bytes.extend_from_slice(&digest);
    bytes.extend_from_slice(&payload);
    bytes
}

/// The model of an artifact, checked as a whole: nothing in it can be out of bounds later.
pub fn decode(bytes: &[u8]) -> Result<Model, ArtifactError> {
    let (magic, rest) = bytes.split_first_chunk::<8>().ok_or(ArtifactError::NotAnArtifact)?;
    if magic != MAGIC {
        return Err(ArtifactError::NotAnArtifact);
    }
    let missing = |has: usize, needs: u64| ArtifactError::Truncated { missing: needs.saturating_sub(has as u64) };
    let short = || missing(bytes.len(), HEADER as u64);
    let (major, rest) = rest.split_first_chunk::<2>().ok_or_else(short)?;
    let (minor, rest) = rest.split_first_chunk::<2>().ok_or_else(short)?;
    let (major, minor) = (u16::from_be_bytes(*major), u16::from_be_bytes(*minor));
    if major != MAJOR {
        return Err(ArtifactError::UnknownMajor { major, minor });
    }
    let (length, rest) = rest.split_first_chunk::<8>().ok_or_else(short)?;
    let length = u64::from_be_bytes(*length);
    let (expected, payload) = rest.split_first_chunk::<32>().ok_or_else(short)?;
    if length > MAX_SIZE as u64 {
        return Err(ArtifactError::TooLarge);
    }
    let has = payload.len() as u64;
    if has < length {
        return Err(missing(payload.len(), length));
    }
    if has > length {
        return Err(ArtifactError::TrailingBytes { extra: has - length });
    }
    if digest(bytes.get(..DIGEST_AT).unwrap_or_default(), payload) != *expected {
        return Err(ArtifactError::Altered);
    }
    let artifact = proto::Artifact::decode(payload)?;
    if let Some(feature) = artifact
        .requires
        .iter()
        .find(|feature| ![LIMITS, TRAFFIC, BODIES, CONTRACTS, INTERCEPTORS, KEPT].contains(&feature.as_str()))
    {
        return Err(ArtifactError::Requires(feature.clone()));
    }
    decode::model(artifact)
}

/// Identifies an artifact by its content: 32 hex digits.
pub fn id(bytes: &[u8]) -> String {
    use std::fmt::Write;
    Sha256::digest(bytes).iter().take(16).fold(String::with_capacity(32), |mut id, byte| {
        let _ = write!(id, "{byte:02x}");
        id
    })
}

fn digest(header: &[u8], payload: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(header).chain_update(payload).finalize().into()
}
