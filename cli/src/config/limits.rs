//! `[throttlingConfig]`: how limits are counted, and what clients are told of them.

use microgw_faults::RateLimitHeaders;

use super::values::Values;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Counters that there is room for.
    pub room: usize,
    pub headers: RateLimitHeaders,
    /// What bodies take is measured.
    pub bandwidth: bool,
}

pub fn read(values: &Values) -> Limits {
    Limits {
        room: values.number("throttlingConfig.maxCounters"),
        // One of those that the key takes.
        headers: RateLimitHeaders::named(&values.text("throttlingConfig.rateLimitHeaders")).unwrap_or_default(),
        bandwidth: values.bool("throttlingConfig.bandwidth"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Refused, Sources, resolve};
    use super::*;

    fn resolved(text: &str) -> Result<Limits, Refused> {
        let file = Some(("/etc/gw/micro-gw.conf".into(), text.to_owned()));
        resolve(&Sources { file, ..Sources::default() }).map(|(config, _)| config.limits)
    }

    #[test]
    fn what_is_told_and_measured() {
        let limits = |text: &str| resolved(text).unwrap();
        let usual = Limits { room: 100_000, headers: RateLimitHeaders::Standard, bandwidth: false };
        assert_eq!(limits(""), usual);
        let text = "[throttlingConfig]\nrateLimitHeaders = 'both'\nbandwidth = true\nmaxCounters = 10";
        assert_eq!(limits(text), Limits { room: 10, headers: RateLimitHeaders::Both, bandwidth: true });
        for wrong in ["rateLimitHeaders = 'some'", "bandwidth = 'much'", "maxCounters = 0"] {
            assert!(resolved(&format!("[throttlingConfig]\n{wrong}")).is_err(), "{wrong}");
        }
    }
}
