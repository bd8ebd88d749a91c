//! Artifacts from anywhere.

use microgw_compiler::artifact::{ArtifactError, MAJOR, MINOR, decode, encode};
use sha2::{Digest as _, Sha256};

use crate::project::check_model;
use crate::{Reached, Target};

pub const TARGET: Target = Target {
    name: "artifact",
    run,
    reaches: &["damaged", "malformed", "not valid", "decoded"],
    dictionary: &[
        "\u{89}MGW",
        "\r\n\u{1a}\n",
        "\u{0}\u{1}\u{0}\u{0}",
        "\u{a}",
        "\u{12}",
        "\u{1a}",
        "\u{22}",
        "\u{2a}",
        "\u{32}",
        "\u{8}\u{1}",
        "\u{7f}",
        "GET",
        "POST",
        "/{id}",
        "/*",
        "/a/../b",
        "http://",
        "x-key",
        "host",
        "MGW-0702",
    ],
    mutations: 3000,
};

const MAGIC: &[u8] = b"\x89MGW\r\n\x1a\n";

/// A file as it is, if it begins like one; else a payload, which is given a header that fits.
pub fn run(data: &[u8]) -> Reached {
    if data.starts_with(MAGIC) {
        return judge(data);
    }
    assert_ne!(judge(data), "decoded");
    judge(&sealed(data))
}

/// The format is documented: this is made by what is written there.
fn sealed(payload: &[u8]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&MAJOR.to_be_bytes());
    bytes.extend_from_slice(&MINOR.to_be_bytes());
    bytes.extend_from_slice(&(payload.len() as u64).to_be_bytes());
    let digest = Sha256::new().chain_update(&bytes).chain_update(payload).finalize();
    bytes.extend_from_slice(&digest);
    bytes.extend_from_slice(payload);
    bytes
}

fn judge(bytes: &[u8]) -> Reached {
    match decode(bytes) {
        Ok(model) => {
            assert_eq!(decode(&encode(&model)).as_ref(), Ok(&model));
            check_model(&model);
            "decoded"
        }
        Err(ArtifactError::Malformed(_)) => "malformed",
        Err(ArtifactError::Invalid(_) | ArtifactError::Requires(_)) => "not valid",
        Err(error) => {
            assert!(!error.to_string().is_empty());
            "damaged"
        }
    }
}
