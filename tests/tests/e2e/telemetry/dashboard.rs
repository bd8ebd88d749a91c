//! The dashboard asks for what exists: every query is parsed, and its metrics and labels looked up on a real page.

use std::collections::{BTreeMap, BTreeSet};

use promql_parser::label::Matchers;
use promql_parser::parser::{self, Expr, LabelModifier, VectorMatchCardinality, VectorSelector};
use serde_json::Value;

/// Labels that Prometheus adds when it scrapes.
const ADDED: [&str; 2] = ["instance", "job"];

/// A query, with what it is asked for.
struct Query {
    panel: String,
    expression: String,
}

/// What a query refers to.
#[derive(Default)]
struct References {
    metrics: BTreeSet<String>,
    labels: BTreeSet<String>,
}

/// Checks every query of the dashboard against the metrics that there are, each with the names of its labels; and that those that
/// every gateway exposes, `always`, are shown.
pub fn check(exposed: &BTreeMap<String, BTreeSet<String>>, always: &BTreeSet<String>) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/grafana/micro-gw.json");
    let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(dashboard["schemaVersion"].as_u64().is_some_and(|version| version >= 39));
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    assert!(variables.iter().any(|variable| variable["type"] == "datasource" && variable["name"] == "datasource"));
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "two panels have one id");
    let rows: Vec<_> =
        panels.iter().filter(|panel| panel["type"] == "row").map(|row| row["title"].as_str().unwrap()).collect();
    assert_eq!(
        rows,
        [
            "Traffic",
            "Decisions",
            "Latency",
            "Lookups and cache",
            "Limits",
            "xDS and publishing",
            "Discovery",
            "Process"
        ]
    );

    let queries = queries(&dashboard);
    assert!(queries.len() > panels.len() - rows.len(), "a panel asks for nothing");
    let mut asked = BTreeSet::new();
    for Query { panel, expression } in queries {
        let plain = expression.replace("$__rate_interval", "5m");
        let parsed = parser::parse(&plain).unwrap_or_else(|error| panic!("{panel}: {expression}: {error}"));
        let mut references = References::default();
        references.of(&parsed);
        assert!(!references.metrics.is_empty(), "{panel}: {expression}");
        let mut known: BTreeSet<&str> = ADDED.into();
        for metric in &references.metrics {
            let labels = exposed.get(metric).unwrap_or_else(|| panic!("{panel}: there is no metric `{metric}`"));
            known.extend(labels.iter().map(String::as_str));
        }
        for label in &references.labels {
            assert!(known.contains(label.as_str()), "{panel}: no metric of `{expression}` has a label `{label}`");
        }
        asked.extend(references.metrics);
    }
    // What nobody looks at need not be counted.
    let unseen: Vec<_> = always
        .iter()
        .filter(|name| !asked.contains(*name) && !name.ends_with("_count") && !name.ends_with("_sum"))
        .collect();
    assert!(unseen.is_empty(), "no panel shows {unseen:?}");
}

fn queries(dashboard: &Value) -> Vec<Query> {
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
            let expression = target["expr"].as_str().unwrap().to_owned();
            let legend = target["legendFormat"].as_str().unwrap_or_default();
            // A legend names labels that the result still has.
            for label in legend.split("{{").skip(1).filter_map(|rest| rest.split("}}").next()) {
                assert!(expression.contains(label), "{}: {legend}", panel["title"]);
            }
            queries.push(Query { panel: panel["title"].to_string(), expression });
        }
    }
    for annotation in dashboard["annotations"]["list"].as_array().unwrap() {
        let expression = annotation["expr"].as_str().unwrap().to_owned();
        queries.push(Query { panel: annotation["name"].to_string(), expression });
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        if let Some(query) = variable["query"]["query"].as_str() {
            let arguments = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
            let (metric, label) = arguments.unwrap().split_once(", ").unwrap();
            let expression = format!("count by ({label}) ({metric})");
            queries.push(Query { panel: variable["name"].to_string(), expression });
        }
    }
    queries
}

// === impl References ===

impl References {
    fn of(&mut self, expression: &Expr) {
        match expression {
            Expr::Aggregate(aggregate) => {
                self.of(&aggregate.expr);
                if let Some(parameter) = &aggregate.param {
                    self.of(parameter);
                }
                self.modifier(aggregate.modifier.as_ref());
            }
            Expr::Unary(unary) => self.of(&unary.expr),
            Expr::Binary(binary) => {
                self.of(&binary.lhs);
                self.of(&binary.rhs);
                if let Some(modifier) = &binary.modifier {
                    self.modifier(modifier.matching.as_ref());
                    match &modifier.card {
                        VectorMatchCardinality::ManyToOne(labels) | VectorMatchCardinality::OneToMany(labels) => {
                            self.labels.extend(labels.labels.iter().cloned());
                        }
                        VectorMatchCardinality::OneToOne | VectorMatchCardinality::ManyToMany => {}
                    }
                }
            }
            Expr::Paren(inner) => self.of(&inner.expr),
            Expr::Subquery(subquery) => self.of(&subquery.expr),
            Expr::VectorSelector(selector) => self.selector(selector),
            Expr::MatrixSelector(matrix) => self.selector(&matrix.vs),
            Expr::Call(call) => call.args.args.iter().for_each(|argument| self.of(argument)),
            Expr::NumberLiteral(_) | Expr::StringLiteral(_) => {}
            other @ Expr::Extension(_) => panic!("{other:?}"),
        }
    }

    fn modifier(&mut self, modifier: Option<&LabelModifier>) {
        if let Some(LabelModifier::Include(labels) | LabelModifier::Exclude(labels)) = modifier {
            self.labels.extend(labels.labels.iter().cloned());
        }
    }

    fn selector(&mut self, selector: &VectorSelector) {
        self.metrics.extend(selector.name.clone());
        let Matchers { matchers, or_matchers } = &selector.matchers;
        let all = matchers.iter().chain(or_matchers.iter().flatten());
        self.labels.extend(all.map(|matcher| matcher.name.clone()));
    }
}
