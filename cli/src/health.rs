//! `health`: for those who watch over a gateway, in images that have nothing else to ask with.

use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::args;
use crate::gateway::probe::reachable;

/// Who watches has a deadline of its own, and would end us without a word.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is asked: as given, or the admin interface at the address that is configured.
pub fn url(args: &args::Health) -> anyhow::Result<String> {
    if let Some(url) = &args.url {
        return Ok(url.clone());
    }
    let admin = reachable(crate::settings_of(args.target.as_deref(), &args.settings)?.admin);
    Ok(format!("http://{admin}/{}", if args.live { "live" } else { "ready" }))
}

pub async fn check(url: &str) -> anyhow::Result<()> {
    let client = reqwest::Client::builder()
        // As the probe: nothing secret is sent, and whose certificate it is says nothing about health.
        .danger_accept_invalid_certs(true)
        .redirect(reqwest::redirect::Policy::none())
        .timeout(PATIENCE)
        .no_proxy()
        .build()?;
    let answer = client.get(url).send().await.with_context(|| format!("`{url}` does not answer"))?;
    if !answer.status().is_success() {
        bail!("`{url}` answers {}", answer.status());
    }
    Ok(())
}
