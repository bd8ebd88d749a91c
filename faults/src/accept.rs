//! Which form a client asks for.

/// The media type of problem details, RFC 9457 section 3.
const PROBLEM: &str = "application/problem+json";

/// [`names_problem`] as an RE2 expression for a whole `Accept`, for Envoy.
pub const NAMES_PROBLEM: &str = concat!(
    r"(?i)(?:[^,]*,)*[ \t]*application/problem\+json[ \t]*",
    // A weight of zero is a refusal, RFC 9110 section 12.4.2; every other parameter does not count.
    r"(?:;[ \t]*(?:q=(?:1[.0]*|0\.0{0,2}[1-9][0-9]*)|[^q,; \t][^,;]*|q[^=,; \t][^,;]*)?[ \t]*)*",
    r"(?:,.*)?"
);

/// Whether this `Accept` names problem details. Wildcards do not count: whoever does not know of them keeps the shape
/// of 3.2.
pub fn names_problem(accept: &str) -> bool {
    accept.split(',').any(|range| {
        let mut parts = range.split(';').map(|part| part.trim_matches([' ', '\t']));
        parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case(PROBLEM)) && parts.all(is_no_refusal)
    })
}

/// `q=0` and its like; a weight that is none counts as one of zero.
fn is_no_refusal(parameter: &str) -> bool {
    let mut characters = parameter.chars();
    match characters.next() {
        Some('q' | 'Q') => match characters.as_str().strip_prefix('=') {
            Some(weight) => is_weight(weight),
            None => !matches!(characters.next(), None | Some(' ' | '\t')),
        },
        _ => true,
    }
}

fn is_weight(weight: &str) -> bool {
    if let Some(rest) = weight.strip_prefix('1') {
        return rest.bytes().all(|byte| matches!(byte, b'.' | b'0'));
    }
    let Some(fraction) = weight.strip_prefix("0.") else { return false };
    let significant = fraction.trim_start_matches('0');
    fraction.len() - significant.len() <= 2
        && significant.bytes().next().is_some_and(|byte| byte != b'0')
        && significant.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a request with this `Content-Type` is gRPC, as Envoy sees it.
pub fn is_grpc(content_type: &str) -> bool {
    content_type
        .strip_prefix("application/grpc")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('+') || rest.starts_with(';'))
}
