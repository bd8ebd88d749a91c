//! Certificates of clients, in the forms in which they travel in headers.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};

use crate::jwt::TokenError;

/// Bytes of what is presented. BoringSSL takes chains of 100 KB; one that is worth reading has a few.
const MAX_LENGTH: usize = 48 * 1024;
/// The client's own, and as many that lead from it to an authority.
const MAX_CERTIFICATES: usize = 8;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The client's own certificate first. Never empty.
pub(crate) type Chain = Vec<CertificateDer<'static>>;

/// PEM, or base64 of DER or PEM (also between colons, RFC 9440 section 2.1); each may be URL-encoded. Blanks in it do not
/// count: proxies put them where PEM has ends of lines.
pub(crate) fn read(text: &str) -> Result<Chain, TokenError> {
    if text.len() > MAX_LENGTH {
        return Err(TokenError::TooLong);
    }
    let text = decoded(text)?;
    if text.contains(BEGIN) {
        return pem(&text);
    }
    let bytes = base64(text.trim().trim_matches(':'))?;
    match std::str::from_utf8(&bytes) {
        Ok(text) if text.contains(BEGIN) => pem(text),
        _ => Ok(vec![CertificateDer::from(bytes)]),
    }
}

/// `x5t#S256`.
pub(crate) fn thumbprint(certificate: &CertificateDer<'_>) -> [u8; 32] {
    Sha256::digest(certificate).into()
}

fn pem(text: &str) -> Result<Chain, TokenError> {
    let mut chain = Vec::new();
    let mut rest = text;
    while let Some((before, block)) = rest.split_once(BEGIN) {
        // Two headers that were joined have two first certificates: one of them is not the proxy's.
        if !before.trim().is_empty() {
            return Err(TokenError::CertificateForm);
        }
        let (block, after) = block.split_once(END).ok_or(TokenError::CertificateForm)?;
        if chain.len() == MAX_CERTIFICATES {
            return Err(TokenError::TooLong);
        }
        chain.push(CertificateDer::from(base64(block)?));
        rest = after;
    }
    if rest.trim().is_empty() { Ok(chain) } else { Err(TokenError::CertificateForm) }
}

fn base64(text: &str) -> Result<Vec<u8>, TokenError> {
    let text: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let bytes = BASE64.decode(text).map_err(|_| TokenError::CertificateForm)?;
    if bytes.is_empty() { Err(TokenError::CertificateForm) } else { Ok(bytes) }
}

/// RFC 3986 section 2.1. `+` stands for itself: it is one of base64's digits.
fn decoded(text: &str) -> Result<Cow<'_, str>, TokenError> {
    if !text.contains('%') {
        return Ok(Cow::Borrowed(text));
    }
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let (high, low) = (digit(rest.next()), digit(rest.next()));
                high.ok_or(TokenError::CertificateForm)? << 4 | low.ok_or(TokenError::CertificateForm)?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| TokenError::CertificateForm)
}

#[cfg(test)]
mod tests;
