//! Edits of a JSON value. What is not there is not edited; what cannot be is a failure.

use std::mem;

use crate::json::{Json, Object};
use crate::place::{Last, Location, Place, PlaceError, Pointer, get_mut};
use crate::{Failure, MAX_BODY};

/// One edit, without the value that it puts in.
#[derive(Clone, Debug)]
pub enum JsonEdit {
    /// Objects that a pointer names are made where there is nothing.
    Add(Place),
    Replace(Place),
    Remove(Place),
    /// The member keeps its place; one that has the new name already is dropped.
    Rename(Place, String),
    Move(Place, Pointer),
}

/// What edits may add to a body.
#[derive(Clone, Copy, Debug)]
pub struct Budget(usize);

// === impl Budget ===

impl Default for Budget {
    fn default() -> Budget {
        Budget(MAX_BODY)
    }
}

impl Budget {
    fn take(&mut self, bytes: usize, times: usize) -> Result<(), Failure> {
        let left = bytes.checked_mul(times).and_then(|bytes| self.0.checked_sub(bytes));
        self.0 = left.ok_or(Failure::TooLarge)?;
        Ok(())
    }
}

// === impl JsonEdit ===

impl JsonEdit {
    pub fn add(at: &str) -> Result<JsonEdit, PlaceError> {
        let at = Place::read(at)?;
        at.names_member()?;
        Ok(JsonEdit::Add(at))
    }

    pub fn replace(at: &str) -> Result<JsonEdit, PlaceError> {
        Place::read(at).map(JsonEdit::Replace)
    }

    pub fn remove(at: &str) -> Result<JsonEdit, PlaceError> {
        Place::read(at).map(JsonEdit::Remove)
    }

    pub fn rename(at: &str, to: &str) -> Result<JsonEdit, PlaceError> {
        let at = Place::read(at)?;
        at.names_name()?;
        Ok(JsonEdit::Rename(at, to.to_owned()))
    }

    pub fn moved(at: &str, to: &str) -> Result<JsonEdit, PlaceError> {
        let (at, to) = (Place::read(at)?, Pointer::read(to)?);
        at.is_one()?;
        match &at {
            Place::Pointer(from) if to.is_within(from) => Err(PlaceError::Within),
            _ => Ok(JsonEdit::Move(at, to)),
        }
    }

    /// Puts a value in.
    pub(crate) fn takes_value(&self) -> bool {
        matches!(self, JsonEdit::Add(_) | JsonEdit::Replace(_))
    }

    /// Whether anything was edited. A failure leaves the body as nobody should see it.
    pub fn apply(&self, body: &mut Json, value: Option<&Json>, budget: &mut Budget) -> Result<bool, Failure> {
        let value = value.unwrap_or(&Json::Null);
        match self {
            JsonEdit::Add(Place::Pointer(at)) => {
                budget.take(value.size() + at.names().map(|name| name.len() + 6).sum::<usize>(), 1)?;
                at.add(body, value.clone())?;
                Ok(true)
            }
            JsonEdit::Add(at) => add(body, at, value, budget),
            JsonEdit::Replace(at) => {
                let found = outermost(at.find(body)?);
                budget.take(value.size(), found.len())?;
                for location in &found {
                    if let Some(place) = get_mut(body, location) {
                        *place = value.clone();
                    }
                }
                Ok(!found.is_empty())
            }
            JsonEdit::Remove(at) => {
                let found = outermost(at.find(body)?);
                remove(body, &found, 0);
                Ok(!found.is_empty())
            }
            JsonEdit::Rename(at, to) => rename(body, at, to, budget),
            JsonEdit::Move(at, to) => relocate(body, at, to, budget),
        }
    }
}

/// Nothing that is within another.
fn outermost(found: Vec<Location>) -> Vec<Location> {
    let mut kept: Vec<Location> = Vec::with_capacity(found.len());
    for location in found {
        if !kept.last().is_some_and(|last| location.starts_with(last)) {
            kept.push(location);
        }
    }
    kept
}

fn add(body: &mut Json, at: &Place, value: &Json, budget: &mut Budget) -> Result<bool, Failure> {
    let parents = at.find_parents(body)?;
    let name = if let Some(Last::Name(name)) = at.last() { name.len() + 3 } else { 0 };
    budget.take(value.size() + name, parents.len())?;
    let mut edited = false;
    // What is within comes first, so that no location means another place by then.
    for location in parents.iter().rev() {
        match (at.last(), get_mut(body, location)) {
            (Some(Last::Name(name)), Some(Json::Object(members))) => {
                members.insert(name.to_owned(), value.clone());
            }
            (Some(Last::Index(index)), Some(Json::Array(items))) if index <= items.len() => {
                items.insert(index, value.clone());
            }
            _ => continue,
        }
        edited = true;
    }
    Ok(edited)
}

/// `found` are the parts below `depth` of what goes. One pass over each array and object, however many of its members go.
fn remove(value: &mut Json, found: &[Location], depth: usize) {
    let mut gone = Vec::new();
    let mut rest = found;
    while let Some(position) = rest.first().and_then(|location| location.get(depth)).copied() {
        let count = rest.iter().take_while(|location| location.get(depth) == Some(&position)).count();
        let (same, others) = rest.split_at_checked(count).unwrap_or_default();
        if same.first().is_some_and(|location| location.len() == depth + 1) {
            gone.push(position);
        } else if let Some(child) = get_mut(value, &[position]) {
            remove(child, same, depth + 1);
        }
        rest = others;
    }
    let mut at = 0;
    let mut stays = || {
        at += 1;
        gone.binary_search(&(at - 1)).is_err()
    };
    match value {
        _ if gone.is_empty() => {}
        Json::Array(items) => items.retain(|_| stays()),
        Json::Object(members) => members.retain(|_, _| stays()),
        _ => {}
    }
}

fn rename(body: &mut Json, at: &Place, to: &str, budget: &mut Budget) -> Result<bool, Failure> {
    let Some(Last::Name(name)) = at.last() else { return Ok(false) };
    let mut edited = false;
    let parents = at.find_parents(body)?;
    budget.take(to.len(), parents.len())?;
    for location in parents.iter().rev() {
        let Some(Json::Object(members)) = get_mut(body, location) else { continue };
        if name == to || !members.contains_key(name) {
            continue;
        }
        members.shift_remove(to);
        let renamed = |(member, value): (String, Json)| (if member == name { to.to_owned() } else { member }, value);
        *members = mem::take(members).into_iter().map(renamed).collect::<Object>();
        edited = true;
    }
    Ok(edited)
}

fn relocate(body: &mut Json, at: &Place, to: &Pointer, budget: &mut Budget) -> Result<bool, Failure> {
    let found = at.find(body)?;
    let Some(value) = found.first().and_then(|location| get_mut(body, location)).map(mem::take) else {
        return Ok(false);
    };
    remove(body, &found, 0);
    budget.take(to.names().map(|name| name.len() + 6).sum(), 1)?;
    to.add(body, value).map(|()| true)
}

#[cfg(test)]
mod tests;
