//! How possession of a key is proved (RFC 9449), and what clients know the gateway by.

use microgw_compiler::settings;
use reqwest::Url;

use super::diagnostic::{Code, ConfigDiagnostic};
use super::values::Values;

pub fn read(values: &Values, skew_seconds: u32, problems: &mut Vec<ConfigDiagnostic>) -> settings::Dpop {
    let path = "gateway.publicUrl";
    let origins = values.list(path);
    for origin in &origins {
        if !is_origin(origin) {
            let message = format!(
                "`{path}` has `{origin}` in it, which is no `http:` or `https:` URL, or has more than a host and a path"
            );
            problems.push(ConfigDiagnostic::error(Code::BadValue, &values.origin(path), message));
        }
    }
    settings::Dpop { origins, max_age_seconds: values.number::<u32>("dpopConfig.maxAge") / 1000, skew_seconds }
}

fn is_origin(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| {
        let plain = url.query().is_none() && url.fragment().is_none();
        let unnamed = url.username().is_empty() && url.password().is_none();
        matches!(url.scheme(), "http" | "https") && plain && unnamed
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_know_the_gateway_by() {
        for text in ["https://api.example.com", "https://api.example.com:8443/", "http://localhost/gw"] {
            assert!(is_origin(text), "{text}");
        }
        for text in ["", "api.example.com", "ftp://a", "https://a?x", "https://a#x", "https://user@a"] {
            assert!(!is_origin(text), "{text}");
        }
    }
}
