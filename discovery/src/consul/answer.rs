//! What Consul answers about a service: its instances, the nodes that they are on, and their checks.

use microgw_compiler::url;
use serde::Deserialize;

use crate::source::Place;
use crate::value::is_somebody;

/// Instances that are used.
const MAX_INSTANCES: usize = 64;

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "Node", default)]
    node: Node,
    #[serde(rename = "Service")]
    service: Service,
    #[serde(rename = "Checks", default)]
    checks: Option<Vec<Check>>,
}

#[derive(Default, Deserialize)]
struct Node {
    #[serde(rename = "Address", default)]
    address: String,
}

#[derive(Deserialize)]
struct Service {
    #[serde(rename = "Address", default)]
    address: String,
    #[serde(rename = "Port", default)]
    port: i64,
    #[serde(rename = "Weights", default)]
    weights: Option<Weights>,
}

#[derive(Deserialize)]
struct Weights {
    #[serde(rename = "Passing", default)]
    passing: i64,
}

#[derive(Deserialize)]
struct Check {
    #[serde(rename = "Status", default)]
    status: String,
}

/// Nothing of the answer is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("it is not what Consul answers about a service")]
    Form,
    #[error("no instance has both a host and a port")]
    Unusable,
}

/// Sorted. Those that do not pass their checks, or have no host or port, are left out; none is no answer if there are some of the
/// latter kind.
pub(super) fn places(body: &[u8]) -> Result<Vec<Place>, Refusal> {
    let entries: Vec<Entry> = serde_json::from_slice(body).map_err(|_| Refusal::Form)?;
    let passing = |entry: &Entry| entry.checks.iter().flatten().all(|check| check.status == "passing");
    let entries: Vec<Entry> = entries.into_iter().filter(passing).collect();
    let none = entries.is_empty();
    let mut places: Vec<Place> = entries.iter().filter_map(place).collect();
    if places.is_empty() && !none {
        return Err(Refusal::Unusable);
    }
    places.sort();
    places.dedup_by(|a, b| (&a.host, a.port) == (&b.host, b.port));
    places.truncate(MAX_INSTANCES);
    Ok(places)
}

fn place(entry: &Entry) -> Option<Place> {
    let Entry { node, service, .. } = entry;
    let address = if service.address.is_empty() { &node.address } else { &service.address };
    let host = address.trim_end_matches('.').to_ascii_lowercase();
    let port = u16::try_from(service.port).ok().filter(|port| *port != 0)?;
    let weight = service.weights.as_ref().and_then(|weights| u32::try_from(weights.passing).ok());
    let nobody = host.parse().is_ok_and(|address| !is_somebody(address));
    let weight = weight.unwrap_or(1).clamp(1, 65_535);
    (url::is_host(&host) && !nobody).then_some(Place { priority: 0, host, port, weight })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(host: &str, port: u16, weight: u32) -> Place {
        Place { priority: 0, host: host.to_owned(), port, weight }
    }

    #[test]
    fn instances_that_pass_are_places() {
        let body = br#"[
            {"Node": {"Address": "192.0.2.1"}, "Service": {"Address": "", "Port": 8080, "Weights": {"Passing": 10, "Warning": 1}},
             "Checks": [{"Status": "passing"}, {"Status": "passing"}]},
            {"Node": {"Address": "192.0.2.2"}, "Service": {"Address": "Web.Example.", "Port": 80}, "Checks": null},
            {"Node": {"Address": "192.0.2.3"}, "Service": {"Address": "192.0.2.3", "Port": 80}, "Checks": [{"Status": "warning"}]},
            {"Node": {"Address": "192.0.2.4"}, "Service": {"Port": 0}, "Checks": []},
            {"Node": {"Address": "not a host"}, "Service": {"Port": 80}},
            {"Node": {"Address": "0.0.0.0"}, "Service": {"Port": 80}},
            {"Node": {"Address": "192.0.2.5"}, "Service": {"Port": 65536}},
            {"Node": {"Address": "2001:db8::1"}, "Service": {"Port": 443, "Weights": {"Passing": -5}}}
        ]"#;
        let expected = vec![place("192.0.2.1", 8080, 10), place("2001:db8::1", 443, 1), place("web.example", 80, 1)];
        assert_eq!(places(body), Ok(expected));
        assert_eq!(places(b"[]"), Ok(Vec::new()));
        let failing =
            br#"[{"Node": {"Address": "192.0.2.3"}, "Service": {"Port": 80}, "Checks": [{"Status": "critical"}]}]"#;
        assert_eq!(places(failing), Ok(Vec::new()));
    }

    #[test]
    fn anything_else_is_refused() {
        for body in
            ["", "null", "{}", "[1]", "[{}]", "[{\"Service\": 1}]", "rpc error", "[{\"Service\": {\"Port\": \"80\"}}]"]
        {
            assert_eq!(places(body.as_bytes()), Err(Refusal::Form), "{body}");
        }
        let nested = "[".repeat(100_000);
        assert_eq!(places(nested.as_bytes()), Err(Refusal::Form));
        let unusable = br#"[{"Node": {"Address": "192.0.2.3"}, "Service": {"Port": 0}}]"#;
        assert_eq!(places(unusable), Err(Refusal::Unusable));
        let many: Vec<String> = (0..1000)
            .map(|n| {
                format!(r#"{{"Node": {{"Address": "10.0.{}.{}"}}, "Service": {{"Port": 80}}}}"#, n / 250, n % 250 + 1)
            })
            .collect();
        assert_eq!(places(format!("[{}]", many.join(",")).as_bytes()).unwrap().len(), MAX_INSTANCES);
    }

    #[test]
    fn whatever_comes_is_taken_or_refused() {
        let sound = br#"[{"Node": {"Address": "192.0.2.1"}, "Service": {"Address": "a.example", "Port": 8080, "Weights": {"Passing": 1}}, "Checks": [{"Status": "passing"}]}]"#;
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = |most: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % most as u64).unwrap()
        };
        for _ in 0..20_000 {
            let mut body = sound.to_vec();
            for _ in 0..random(4) {
                let at = random(body.len());
                body[at] = b"0123456789{}[]\":,.-ae\\ \xff"[random(23)];
            }
            for place in places(&body).unwrap_or_default() {
                assert!(place.port > 0 && place.weight > 0 && url::is_host(&place.host), "{place:?}");
            }
        }
    }
}
