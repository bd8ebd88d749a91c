//! Figures, as a table and as JSON.

use std::fmt;

use serde_json::{Value, json};

/// One number, and what it should be.
pub struct Figure {
    pub name: String,
    pub measured: f64,
    pub unit: &'static str,
    pub goal: Goal,
}

#[derive(Clone, Copy)]
pub enum Goal {
    /// For orientation.
    None,
    AtMost(f64),
    AtLeast(f64),
}

/// The figures of a run, in order.
#[derive(Default)]
pub struct Report(Vec<Figure>);

/// The middle one: runs that were disturbed do not move it. 0 for none.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let upper = values.len() / 2;
    let at = |index: usize| values.get(index).copied().unwrap_or(0.0);
    if values.len() % 2 == 1 { at(upper) } else { f64::midpoint(at(upper.saturating_sub(1)), at(upper)) }
}

// === impl Goal ===

impl Goal {
    /// `None`: there is no goal.
    pub fn met(self, measured: f64) -> Option<bool> {
        match self {
            Goal::None => None,
            Goal::AtMost(most) => Some(measured <= most),
            Goal::AtLeast(least) => Some(measured >= least),
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Goal::None => Ok(()),
            Goal::AtMost(most) => write!(f, "<= {most}"),
            Goal::AtLeast(least) => write!(f, ">= {least}"),
        }
    }
}

// === impl Report ===

impl Report {
    pub fn add(&mut self, name: impl Into<String>, measured: f64, unit: &'static str, goal: Goal) {
        self.0.push(Figure { name: name.into(), measured, unit, goal });
    }

    pub fn json(&self) -> Value {
        let figure = |figure: &Figure| {
            let goal = match figure.goal {
                Goal::None => Value::Null,
                Goal::AtMost(most) => json!({ "at_most": most }),
                Goal::AtLeast(least) => json!({ "at_least": least }),
            };
            json!({
                "name": figure.name, "measured": figure.measured, "unit": figure.unit, "goal": goal,
                "met": figure.goal.met(figure.measured),
            })
        };
        self.0.iter().map(figure).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.iter().map(|figure| figure.name.chars().count()).max().unwrap_or(0);
        for Figure { name, measured, unit, goal } in &self.0 {
            let digits = if measured.abs() >= 100.0 { 0 } else { 2 };
            let goal_text = goal.to_string();
            let verdict = match goal.met(*measured) {
                None => "",
                Some(true) => "ok",
                Some(false) => "MISSED",
            };
            let line = format!("{name:width$}  {measured:>9.digits$} {unit:<11}  {goal_text:>8}  {verdict}");
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert!((median([3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median([4.0, 1.0, 3.0, 2.0]) - 2.5).abs() < f64::EPSILON);
        assert!(median([]).abs() < f64::EPSILON);
    }

    #[test]
    fn goals_are_met_at_their_limit() {
        assert_eq!(Goal::AtMost(1.1).met(1.1), Some(true));
        assert_eq!(Goal::AtMost(1.1).met(1.2), Some(false));
        assert_eq!(Goal::AtLeast(0.45).met(0.44), Some(false));
        assert_eq!(Goal::None.met(1.0), None);
    }
}
