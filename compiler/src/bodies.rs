//! What is done to bodies and responses: the bounds that hold for definitions, and for artifacts from anywhere.

use microgw_proto::bodies::v1::OperationBodies;
use microgw_proto::traffic::v1::OperationTraffic;

use crate::model::{Access, Method};

/// Bytes of a body that is counted as it passes, at most.
pub const MAX_LIMIT: u64 = 1 << 40;
/// Bytes of a body that is collected, at most, whatever its operation says.
pub const MAX_COLLECTED: u64 = 64 << 20;

/// By these it is found out what of a response may be kept, and for whom.
const OF_CACHES: [&str; 8] =
    ["age", "cache-control", "content-type", "date", "expires", "pragma", "set-cookie", "vary"];

pub(crate) fn are_sound(bodies: OperationBodies) -> bool {
    let OperationBodies { max_request, max_response, kept_seconds: _ } = bodies;
    max_request <= MAX_LIMIT && max_response <= MAX_LIMIT
}

/// Whether what one caller was answered is the same for others: nobody in particular asked, and nothing is done by it.
pub(crate) fn can_be_kept(method: Method, access: &Access) -> bool {
    method == Method::Get && *access == Access::Public
}

/// Routes edit responses before anybody looks at them: what the backend said of keeping them would not be known.
pub(crate) fn edits_what_caches_go_by(traffic: &OperationTraffic) -> bool {
    let edits = traffic.response.iter();
    let mut names = edits.flat_map(|edits| {
        let written = edits.set.iter().chain(&edits.add).map(|header| &header.name);
        edits.remove.iter().chain(written)
    });
    names.any(|name| OF_CACHES.contains(&name.as_str()))
}
