//! Which schemas are compiled together: those that lead to each other, or that one operation needs, and as many of such groups as are
//! little. So a large definition is checked in the room that a part of it takes.

use microgw_proto::contracts::v1::Schemas;

use super::Draft;

/// Bytes of schemas that are compiled together, unless they must be.
const ENOUGH: usize = 512 << 10;

/// Indexes, in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Batch {
    pub members: Vec<usize>,
    pub drafts: Vec<usize>,
}

/// `leading`: which schemas lead to which. Every schema and every draft is in one batch.
pub(super) fn batches(schemas: &Schemas, leading: &[Vec<u32>], drafts: &[Draft]) -> Vec<Batch> {
    let mut groups = Groups::of(schemas.schemas.len() + drafts.len());
    for (index, targets) in leading.iter().enumerate() {
        for target in targets {
            groups.join(index, *target as usize);
        }
    }
    let place = |draft: usize| schemas.schemas.len() + draft;
    for (index, draft) in drafts.iter().enumerate() {
        for used in draft.requests.iter().chain(&draft.responses) {
            groups.join(place(index), *used as usize);
        }
    }
    let mut of_group: Vec<Batch> = Vec::new();
    let mut known = vec![None; groups.parents.len()];
    for index in 0..groups.parents.len() {
        let root = groups.root(index);
        let Some(slot) = known.get_mut(root) else { continue };
        let group = *slot.get_or_insert(of_group.len());
        if group == of_group.len() {
            of_group.push(Batch::default());
        }
        let Some(batch) = of_group.get_mut(group) else { continue };
        match index.checked_sub(schemas.schemas.len()) {
            None => batch.members.push(index),
            Some(draft) => batch.drafts.push(draft),
        }
    }
    let size =
        |members: &[usize]| members.iter().filter_map(|index| schemas.schemas.get(*index)).map(String::len).sum();
    let mut batches: Vec<Batch> = Vec::new();
    let mut room = 0_usize;
    for group in of_group {
        let size: usize = size(&group.members);
        if let Some(batch) = batches.last_mut().filter(|_| size <= room) {
            batch.members.extend(group.members);
            batch.drafts.extend(group.drafts);
            room -= size;
        } else {
            batches.push(group);
            room = ENOUGH.saturating_sub(size);
        }
    }
    batches
}

/// Who belongs together.
struct Groups {
    parents: Vec<usize>,
}

// === impl Groups ===

impl Groups {
    fn of(count: usize) -> Groups {
        Groups { parents: (0..count).collect() }
    }

    fn root(&mut self, of: usize) -> usize {
        let mut at = of;
        while let Some(parent) = self.parents.get(at).copied().filter(|parent| *parent != at) {
            // Paths get shorter as they are gone.
            let above = self.parents.get(parent).copied().unwrap_or(parent);
            if let Some(own) = self.parents.get_mut(at) {
                *own = above;
            }
            at = above;
        }
        at
    }

    fn join(&mut self, a: usize, b: usize) {
        if b >= self.parents.len() {
            return;
        }
        let (a, b) = (self.root(a), self.root(b));
        if let Some(own) = self.parents.get_mut(a.max(b)) {
            *own = a.min(b);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schemas(sizes: &[usize]) -> Schemas {
        Schemas { schemas: sizes.iter().map(|size| "x".repeat(*size)).collect() }
    }

    #[test]
    fn what_leads_to_each_other_stays_together() {
        let all = schemas(&[ENOUGH, 10, ENOUGH, 10, 10]);
        let found = batches(&all, &[vec![3], vec![], vec![], vec![0], vec![]], &[]);
        let members: Vec<_> = found.into_iter().map(|batch| batch.members).collect();
        assert_eq!(members, [vec![0, 3], vec![1], vec![2], vec![4]]);
        let found = batches(&schemas(&[10; 100]), &[], &[]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].members, (0..100).collect::<Vec<_>>());
    }
}
