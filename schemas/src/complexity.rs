//! How much a schema may ask for: what one value costs, and how deep the stack grows with a message.

use serde_json::Value;

use crate::MAX_DEPTH;
use crate::dialect::{self, Site};

/// Schemas that say something of one value, each within the other, references included.
const MAX_CHAIN: u32 = 64;
/// All schemas that say something of one value, those in alternatives included.
const MAX_LOAD: u64 = 20_000;
/// Schemas inside each other as they are written.
const MAX_NESTING: u32 = 64;
/// Schemas on the way to the deepest value of a message.
const MAX_FRAMES: usize = 1_024;

/// What a schema says of one value: how deep it goes, and how much it is.
#[derive(Clone, Copy)]
struct Cost {
    chain: u32,
    load: u64,
}

#[derive(Clone, Copy)]
enum Known {
    NotYet,
    /// It is being found out: a cycle ends there, as it does when a value is checked.
    Soon,
    Is(Cost),
}

struct Survey<'s> {
    schemas: &'s [Value],
    /// Of schemas by index.
    known: Vec<Known>,
}

/// How deep messages may be, or the schema that asks for too much.
pub(crate) fn max_depth(schemas: &[Value]) -> Result<usize, (usize, &'static str)> {
    let mut survey = Survey { schemas, known: vec![Known::NotYet; schemas.len()] };
    let mut chain = 1;
    for (index, schema) in schemas.iter().enumerate() {
        let deepest = survey.visit(schema, 0).map_err(|reason| (index, reason))?;
        chain = chain.max(deepest);
    }
    Ok((MAX_FRAMES / chain as usize).min(MAX_DEPTH))
}

// === impl Survey ===

impl Survey<'_> {
    /// The longest chain of all values that `schema` says something of.
    fn visit(&mut self, schema: &Value, nesting: u32) -> Result<u32, &'static str> {
        if nesting >= MAX_NESTING {
            return Err("it is nested too deep");
        }
        let Value::Object(map) = schema else { return Ok(1) };
        let mut longest = self.cost(schema, 0)?.chain;
        for (site, part) in dialect::parts(map) {
            let of_part = self.visit(part, nesting + 1)?;
            if site == Site::Below {
                longest = longest.max(of_part);
            }
        }
        Ok(longest)
    }

    fn cost(&mut self, schema: &Value, chain: u32) -> Result<Cost, &'static str> {
        if chain > MAX_CHAIN {
            return Err("too many schemas lead to each other before anything is said of a value");
        }
        let Value::Object(map) = schema else { return Ok(Cost { chain: 1, load: 1 }) };
        let mut cost = Cost { chain: 1, load: 1 };
        let mut add = |part: Cost| {
            cost.chain = cost.chain.max(part.chain + 1);
            cost.load = cost.load.saturating_add(part.load);
        };
        for part in dialect::parts(map).filter(|(site, _)| *site == Site::Same).map(|(_, part)| part) {
            add(self.cost(part, chain + 1)?);
        }
        if let Some(index) = dialect::target(schema) {
            add(self.cost_of(index, chain + 1)?);
        }
        if cost.load > MAX_LOAD {
            return Err("too many schemas say something of one value");
        }
        Ok(cost)
    }

    fn cost_of(&mut self, index: usize, chain: u32) -> Result<Cost, &'static str> {
        match self.known.get(index) {
            None => return Err("a reference leads nowhere"),
            Some(Known::Is(cost)) if chain + cost.chain > MAX_CHAIN => {
                return Err("too many schemas lead to each other before anything is said of a value");
            }
            Some(Known::Is(cost)) => return Ok(*cost),
            Some(Known::Soon) => return Ok(Cost { chain: 0, load: 0 }),
            Some(Known::NotYet) => {}
        }
        self.set(index, Known::Soon);
        let schemas = self.schemas;
        let cost = schemas.get(index).map_or(Ok(Cost { chain: 1, load: 1 }), |schema| self.cost(schema, chain));
        self.set(index, cost.map_or(Known::NotYet, Known::Is));
        cost
    }

    fn set(&mut self, index: usize, known: Known) {
        if let Some(slot) = self.known.get_mut(index) {
            *slot = known;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_one_value_costs_is_bounded() {
        let part = dialect::reference;
        let doubling = (1..25).map(|next| json!({"anyOf": [part(next), part(next)]}));
        let doubling: Vec<Value> = doubling.chain([json!({"type": "object"})]).collect();
        assert!(max_depth(&doubling).unwrap_err().1.contains("say something of one value"));
        let chain: Vec<Value> = (1..=100).map(dialect::reference).chain([json!(true)]).collect();
        assert!(max_depth(&chain).unwrap_err().1.contains("lead to each other"));
        let mut nested = json!({});
        for _ in 0..100 {
            nested = json!({ "items": nested });
        }
        assert!(max_depth(&[nested]).unwrap_err().1.contains("nested"));
        assert!(max_depth(&[json!({"allOf": [dialect::reference(7)]})]).unwrap_err().1.contains("nowhere"));
    }

    #[test]
    fn schemas_that_lead_to_themselves_are_fine() {
        let tree = json!({"properties": {"left": dialect::reference(0), "right": dialect::reference(0)}});
        assert_eq!(max_depth(&[tree]), Ok(MAX_DEPTH));
        let pets = [
            json!({"allOf": [{"if": {}, "then": dialect::reference(1)}, {"if": {}, "then": dialect::reference(2)}]}),
            json!({"allOf": [dialect::reference(0)]}),
            json!({"allOf": [dialect::reference(0), dialect::reference(0)]}),
        ];
        assert!(max_depth(&pets).is_ok());
    }
}
