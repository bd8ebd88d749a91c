//! `revoke`: takes credentials back, on every gateway that listens to the same feed.

use std::io::{BufRead as _, IsTerminal as _, Read as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use micro_gw::certificates;
use micro_gw::config::{Config, Revocation};
use microgw_engine::MAX_TOKEN_LENGTH;
use microgw_extproc::revocations::{Entry, Hex, add_to_file, announce};
use serde_json::{Map, Value, json};

use crate::args;
use crate::output;

/// Tokens that are read.
const MAX_TOKENS: usize = 10_000;

/// One revocation, as it is written and as it is told.
struct Order {
    entry: Map<String, Value>,
    told: String,
}

pub async fn revoke(args: &args::Revoke, config: &Config) -> anyhow::Result<()> {
    let Some(settings) = &config.revocation else {
        bail!("no gateway would hear of it: name a `revocation.file`, or set `revocation.redis = true`");
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?.as_secs();
    let expires = args.expires.as_deref().map(|text| moment(text, now)).transpose()?;
    let mut orders = orders(args)?;
    for Order { entry, told } in &mut orders {
        let own = entry.get("exp").and_then(Value::as_u64);
        // A token lives no longer than that; keys, users and certificates may come back to haunt us.
        let is_token = entry.contains_key("jti") || entry.contains_key("token_sha256");
        let retained = settings.retention.filter(|_| is_token).map(|retention| now.saturating_add(retention.as_secs()));
        let span = if let Some(end) = expires.or(own).or(retained) {
            ensure!(end > now, "{told} has ended already");
            entry.insert("exp".to_owned(), end.into());
            span(end - now)
        } else {
            "good".to_owned()
        };
        *told = format!("{told}, for {span}");
    }
    let entries: Vec<Value> = orders.iter().map(|order| Value::Object(order.entry.clone())).collect();
    // What no gateway could read is written nowhere.
    for entry in &entries {
        Entry::from_json(entry)?;
    }
    write(config, settings, &entries, &orders).await
}

/// To every feed that there is: gateways with the same settings listen to all of them.
async fn write(config: &Config, settings: &Revocation, entries: &[Value], orders: &[Order]) -> anyhow::Result<()> {
    if let Some(file) = &settings.file {
        add_to_file(file, entries).with_context(|| format!("cannot write `{}`", file.display()))?;
        say(orders, &file.display().to_string());
    }
    if settings.redis {
        let redis = certificates::redis(config)?.context("`[redis]` does not say where Redis is")?;
        announce(&redis, entries).await.context("Redis was not told")?;
        let place = config.redis.as_ref().map(|redis| format!("Redis, {}:{}", redis.host, redis.port));
        say(orders, &place.unwrap_or_default());
    }
    Ok(())
}

fn say(orders: &[Order], place: &str) {
    for order in orders {
        output::line(&format!("revoked {} ({place})", order.told));
    }
}

fn orders(args: &args::Revoke) -> anyhow::Result<Vec<Order>> {
    let named = |kind: &str, name: &str, told: &str| Order {
        entry: Map::from_iter([(kind.to_owned(), name.into())]),
        told: format!("{told} `{name}`"),
    };
    let mut orders = Vec::new();
    for (kind, told, names) in [
        ("jti", "token", &args.jti),
        ("key_id", "key", &args.key_id),
        ("user", "user", &args.user),
        ("certificate_sha256", "certificate", &args.certificate),
    ] {
        for name in names {
            // Fingerprints are shown with colons, and in capitals.
            let name = if kind == "certificate_sha256" { name.replace(':', "").to_lowercase() } else { name.clone() };
            orders.push(named(kind, &name, told));
        }
    }
    if let Some(from) = &args.token {
        ensure!(
            from == "-",
            "a token on the command line would be seen by others: give it on standard input, as `--token -`"
        );
        for token in tokens()? {
            orders.push(by_token(&token));
        }
    }
    Ok(orders)
}

/// One in each line.
fn tokens() -> anyhow::Result<Vec<String>> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        output::note("tokens, one in each line (they are shown as you type), then Ctrl-D:");
    }
    let most = (MAX_TOKENS * (MAX_TOKEN_LENGTH + 1)) as u64;
    let mut tokens = Vec::new();
    for line in stdin.lock().take(most).lines() {
        let line = line.context("cannot read the tokens")?;
        let token = line.trim();
        // As it is copied from a request.
        let token = match token.split_at_checked(7) {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("bearer ") => rest.trim(),
            _ => token,
        };
        if token.is_empty() {
            continue;
        }
        ensure!(
            token.len() <= MAX_TOKEN_LENGTH,
            "a token has more than {MAX_TOKEN_LENGTH} bytes: no gateway accepts it"
        );
        ensure!(!token.contains(char::is_whitespace), "a line has more than a token in it");
        ensure!(tokens.len() < MAX_TOKENS, "more than {MAX_TOKENS} tokens");
        tokens.push(token.to_owned());
    }
    ensure!(!tokens.is_empty(), "there is no token on standard input");
    Ok(tokens)
}

/// By its hash, of a JWT without the signature; a JWT says itself when it ends.
fn by_token(token: &str) -> Order {
    let text = microgw_engine::signed(token).unwrap_or(token);
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    let digest = Hex(digest.as_ref().try_into().unwrap_or_default()).to_string();
    let short = digest.get(..12).unwrap_or_default();
    let mut order = Order {
        entry: Map::from_iter([("token_sha256".to_owned(), json!(digest))]),
        told: format!("token with SHA-256 {short}.."),
    };
    if let Some(end) = end_of(token) {
        order.entry.insert("exp".to_owned(), end.into());
    }
    order
}

/// Nobody has verified it: whoever revokes a token that lies about its end revokes a token that no gateway accepts.
fn end_of(token: &str) -> Option<u64> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&payload).ok()?;
    let end = claims.get("exp")?;
    // A fraction of a second more does no harm.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    end.as_u64().or_else(|| end.as_f64().map(|seconds| seconds.ceil() as u64))
}

/// Seconds since 1970, or how long from now: `90s`, `15m`, `12h`, `30d`.
fn moment(text: &str, now: u64) -> anyhow::Result<u64> {
    let wrong = || format!("`--expires {text}`: give seconds since 1970, or a time from now as in `15m`, `12h`, `30d`");
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => 86_400,
        _ => return text.parse().with_context(wrong),
    };
    let number: u64 = text.get(..text.len() - 1).unwrap_or_default().parse().with_context(wrong)?;
    number.checked_mul(unit).and_then(|seconds| now.checked_add(seconds)).with_context(wrong)
}

/// As people say it, rounded up.
fn span(seconds: u64) -> String {
    let (count, unit) = match Duration::from_secs(seconds).as_secs() {
        seconds @ 0..120 => (seconds, "seconds"),
        seconds @ 120..7200 => (seconds.div_ceil(60), "minutes"),
        seconds @ 7200..172_800 => (seconds.div_ceil(3600), "hours"),
        seconds => (seconds.div_ceil(86_400), "days"),
    };
    format!("{count} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_it_ends() {
        for (text, expected) in
            [("90s", 1090), ("15m", 1900), ("1h", 4600), ("2d", 173_800), ("1700000000", 1_700_000_000)]
        {
            assert_eq!(moment(text, 1000).unwrap(), expected, "{text}");
        }
        for text in ["", "d", "-1d", "soon", "1.5h", "99999999999999999999d", "18446744073709551615d", "1ü"] {
            assert!(moment(text, 1000).is_err(), "{text}");
        }
        assert_eq!([span(1), span(120), span(7201), span(200_000)], ["1 seconds", "2 minutes", "3 hours", "3 days"]);
    }

    #[test]
    fn a_jwt_says_when_it_ends_and_is_written_nowhere() {
        let token = |claims: &str| format!("h.{}.s", URL_SAFE_NO_PAD.encode(claims));
        assert_eq!(end_of(&token(r#"{"exp":1700000000}"#)), Some(1_700_000_000));
        assert_eq!(end_of(&token(r#"{"exp":1.5}"#)), Some(2));
        for token in ["opaque", "a.b", "a.%%.c", &token("{}"), &token(r#"{"exp":"1"}"#)] {
            assert_eq!(end_of(token), None, "{token}");
        }
        let order = by_token("opaque");
        assert!(order.told.starts_with("token with SHA-256 ") && !order.told.contains("opaque"));
        assert!(!Value::Object(order.entry).to_string().contains("opaque"));
    }
}
