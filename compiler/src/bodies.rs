//! What is done to bodies and responses: the bounds that hold for definitions, and for artifacts from anywhere.

use microgw_proto::bodies::v1::OperationBodies;

use crate::model::{Access, Method};

/// Bytes of a body that is counted as it passes, at most.
pub const MAX_LIMIT: u64 = 1 << 40;
/// Bytes of a body that is collected, at most, whatever its operation says.
pub const MAX_COLLECTED: u64 = 64 << 20;

pub(crate) fn are_sound(bodies: OperationBodies) -> bool {
    let OperationBodies { max_request, max_response, kept_seconds: _ } = bodies;
    max_request <= MAX_LIMIT && max_response <= MAX_LIMIT
}

/// Whether what one caller was answered is the same for others: nobody in particular asked, and nothing is done by it.
pub(crate) fn can_be_kept(method: Method, access: &Access) -> bool {
    method == Method::Get && *access == Access::Public
}
