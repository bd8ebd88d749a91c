//! Whether an artifact's transformations are such as a project can declare, in the direction in which they are used.

use microgw_proto::transforms::v1::Transform;
use microgw_transforms::Direction;

use super::{Result, invalid};
use crate::model::{TransformId, Transforms};
use crate::transforms::is_sound;

/// Of each transformation, whether requests and responses can have it.
pub(super) struct Sound(Vec<[bool; 2]>);

// === impl Sound ===

impl Sound {
    pub(super) fn of(transforms: &[Transform]) -> Sound {
        let each =
            |transform| [Direction::Request, Direction::Response].map(|direction| is_sound(transform, direction));
        Sound(transforms.iter().map(each).collect())
    }

    pub(super) fn both(&self, request: u32, response: u32) -> Result<Transforms> {
        Ok(Transforms { request: self.one(request, 0)?, response: self.one(response, 1)? })
    }

    fn one(&self, index: u32, direction: usize) -> Result<Option<TransformId>> {
        let Some(index) = index.checked_sub(1) else { return Ok(None) };
        match self.0.get(index as usize).and_then(|sound| sound.get(direction)) {
            Some(true) => Ok(Some(TransformId(index))),
            Some(false) => invalid("a transformation is malformed"),
            None => invalid("an operation has a transformation that does not exist"),
        }
    }
}
