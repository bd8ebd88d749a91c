//! What others are told of a limit: clients, what it is called; Envoy, what it is. Made once, when the rules are loaded.

use std::fmt::Write as _;

use microgw_proto::limits::v1 as proto;

use super::{Algorithm, Level, Micros, Unit, owed};

/// As structured fields (RFC 9651): strings with their quotes, and parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// `Gold`; of a policy with several limits `Gold#1`.
    label: Box<str>,
    /// The same as a structured field.
    name: Box<str>,
    /// The same with its level, for answers in which two limits have one name.
    with_level: Box<str>,
    /// `;q=5000;w=60`, draft-ietf-httpapi-ratelimit-headers-11 section 3.1.
    terms: Box<str>,
    /// Of bytes: itself, for when they are counted.
    debt: Box<str>,
}

// === impl Told ===

impl Told {
    pub(super) fn new(policy: &proto::Policy, limit: &proto::Limit, level: Level, kind: (Unit, &Algorithm)) -> Told {
        let debt = if let Unit::Bytes(_) = kind.0 { owed::debt(policy, limit, level) } else { Box::default() };
        Told { debt, ..Told::of(&label(policy, limit), level, limit.quota, kind) }
    }

    /// Of a limit that is called so.
    pub fn of(name: &str, level: Level, quota: u64, (unit, algorithm): (Unit, &Algorithm)) -> Told {
        let mut terms = format!(";q={quota}");
        if let Unit::Bytes(_) = unit {
            terms.push_str(";qu=\"content-bytes\"");
        }
        let window = match algorithm {
            Algorithm::Fixed(Micros(length)) => Some(*length),
            Algorithm::Sliding { period, .. } | Algorithm::Burst { period, .. } => Some(period.0),
            // Of months and years each is another.
            Algorithm::Calendar(calendar) => calendar.even().map(|length| length.0),
        };
        if let Some(window) = window {
            let _ = write!(terms, ";w={}", Micros(window).whole_seconds());
        }
        let with_level = format!("{name} ({})", level.as_str());
        Told {
            label: name.into(),
            name: string(name),
            with_level: string(&with_level),
            terms: terms.into(),
            debt: Box::default(),
        }
    }

    /// With its quotes. `again`: another limit of the answer has the name.
    pub fn name(&self, again: bool) -> &str {
        if again { &self.with_level } else { &self.name }
    }

    /// Without quotes.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// As [`super::Owed`] has it.
    pub(super) fn debt(&self) -> &str {
        &self.debt
    }

    /// What it is limited to.
    pub fn terms(&self) -> &str {
        &self.terms
    }
}

/// Unlike any other limit of its level.
fn label(policy: &proto::Policy, limit: &proto::Limit) -> String {
    let own = (policy.name.clone(), &policy.limits);
    let groups = policy.groups.iter().map(|group| (format!("{}/{}", policy.name, group.name), &group.limits));
    for (name, limits) in std::iter::once(own).chain(groups) {
        match limits.iter().position(|other| std::ptr::eq(other, limit)) {
            Some(index) if limits.len() > 1 => return format!("{name}#{}", index + 1),
            Some(_) => return name,
            None => {}
        }
    }
    policy.name.clone()
}

/// RFC 9651 section 3.3.3: printable ASCII. What else a name has is percent-encoded, as in a URL.
fn string(text: &str) -> Box<str> {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => quoted.extend(['\\', char::from(byte)]),
            b' '..=b'~' => quoted.push(char::from(byte)),
            _ => {
                let _ = write!(quoted, "%{byte:02X}");
            }
        }
    }
    quoted.push('"');
    quoted.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_structured_fields() {
        for (name, expected) in
            [("Gold", r#""Gold""#), (r#"a "b" \c"#, r#""a \"b\" \\c""#), ("é\r\n", r#""%C3%A9%0D%0A""#), ("", r#""""#)]
        {
            assert_eq!(&*string(name), expected);
        }
    }

    #[test]
    fn limits_of_one_policy_have_names_of_their_own() {
        let limit = |quota| proto::Limit { quota, ..Default::default() };
        let group = |name: &str, limits| proto::Group { name: name.into(), limits, ..Default::default() };
        let policy = proto::Policy {
            name: "Spiky".into(),
            limits: vec![limit(1), limit(1)],
            groups: vec![group("partners", vec![limit(1)]), group("others", vec![limit(1), limit(2)])],
            ..Default::default()
        };
        let limits = policy.limits.iter().chain(policy.groups.iter().flat_map(|group| &group.limits));
        let labels: Vec<_> = limits.map(|limit| label(&policy, limit)).collect();
        assert_eq!(labels, ["Spiky#1", "Spiky#2", "Spiky/partners", "Spiky/others#1", "Spiky/others#2"]);
    }
}
