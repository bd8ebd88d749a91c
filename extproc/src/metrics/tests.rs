use std::collections::BTreeSet;

use microgw_engine::KeySource;

use super::*;

#[test]
fn families_are_distinct_and_named_by_convention() {
    let names: BTreeSet<&str> = families::ALL.iter().map(|family| family.name).collect();
    assert_eq!(names.len(), families::ALL.len());
    for family in families::ALL {
        assert!(["microgw_", "process_"].iter().any(|prefix| family.name.starts_with(prefix)), "{}", family.name);
        assert!(!family.name.ends_with("_total") && !family.name.ends_with("_info"), "{}", family.name);
        if family.kind == Kind::Histogram {
            assert!(family.name.ends_with("_seconds"), "{}", family.name);
        }
        assert!(!family.help.is_empty() && !family.help.ends_with('.'), "{}", family.name);
    }
}

#[test]
fn a_reason_is_counted_under_its_own_name() {
    let metrics = Metrics::new();
    for (times, reason) in Reason::ALL.into_iter().enumerate() {
        for _ in 0..=times {
            metrics.denied(reason);
        }
    }
    let page = metrics.render(Vec::new(), Exposition::OpenMetrics);
    for (times, reason) in Reason::ALL.into_iter().enumerate() {
        let line = format!("microgw_decisions_total{{reason=\"{reason}\"}} {}\n", times + 1);
        assert!(page.contains(&line), "{line}{page}");
    }
}

#[test]
fn what_is_read_elsewhere_is_on_the_page() {
    let metrics = Metrics::new();
    let source = KeySource::ApiKeys;
    metrics.looked_up(&Lookup::Keys(source.clone()), LookupOutcome::Found, Duration::from_millis(3));
    metrics.looked_up(&Lookup::FreshKeys(source), LookupOutcome::Timeout, Duration::from_secs(2));
    metrics.published("live", Duration::from_millis(60));
    let types = [("Cluster", 3), ("Route", 4)].map(|(kind, acks)| (vec![kind.to_owned()], Value::Integer(acks)));
    let acks = Reading { family: &families::XDS_ACKS, samples: types.into() };
    let page = metrics.render(vec![acks, Reading::of(&families::READY, Value::Integer(1))], Exposition::OpenMetrics);
    for line in [
        "microgw_xds_acks_total{type=\"Route\"} 4",
        "microgw_ready 1",
        "microgw_lookups_total{kind=\"keys\",outcome=\"found\"} 1",
        "microgw_lookups_total{kind=\"fresh_keys\",outcome=\"timeout\"} 1",
        "microgw_lookup_duration_seconds_bucket{le=\"0.005\",kind=\"keys\"} 1",
        "microgw_publishes_total{outcome=\"live\"} 1",
        "microgw_publish_duration_seconds_bucket{le=\"0.05\"} 0",
        "microgw_publish_duration_seconds_bucket{le=\"0.1\"} 1",
        "# HELP microgw_ready 1 while a generation is live on a connected Envoy.",
    ] {
        assert!(page.lines().any(|found| found == line), "{line}\n{page}");
    }
    for family in [&families::RESIDENT_MEMORY, &families::START_TIME] {
        let value = page.lines().find_map(|line| line.strip_prefix(family.name)?.trim().parse::<f64>().ok());
        assert!(value.is_some_and(|value| value > 1e6), "{}\n{page}", family.name);
    }
    assert!(page.contains("process_cpu_seconds_total "));
    assert!(page.ends_with("\n# EOF\n") && page.matches("# EOF").count() == 1);
}
