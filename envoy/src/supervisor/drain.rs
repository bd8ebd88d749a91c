//! Ending requests before their Envoy.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::admin::{Admin, AdminError};

/// How often Envoy is asked what it still does.
const INTERVAL: Duration = Duration::from_millis(50);

/// Answers in a row that show no request. Connections that idle may stay open for hours.
const QUIET: u32 = 5;

const ACTIVE: &str = r"^http\.[^.]+\.downstream_(cx|rq)_active$";

/// Has Envoy end its work, and returns when nothing is in flight, or after `bound`. It does not stop Envoy, which serves
/// nothing from then on.
///
/// For the first half of it Envoy still accepts connections, while `/health` fails and every response closes its
/// own: load balancers move away. Then the listeners are closed.
pub async fn drain(admin: &Admin, bound: Duration) -> Result<(), AdminError> {
    let start = Instant::now();
    admin.post("/healthcheck/fail").await?;
    admin.post("/drain_listeners?graceful&skip_exit").await?;
    quiet(admin, start + bound / 2).await?;
    admin.post("/drain_listeners").await?;
    quiet(admin, start + bound).await
}

async fn quiet(admin: &Admin, deadline: Instant) -> Result<(), AdminError> {
    let mut idle = 0;
    while Instant::now() < deadline {
        let active = Active::of(admin).await?;
        idle = if active.requests == 0 { idle + 1 } else { 0 };
        if active.connections == 0 || idle == QUIET {
            return Ok(());
        }
        sleep(INTERVAL).await;
    }
    Ok(())
}

/// What clients have open.
struct Active {
    connections: u64,
    requests: u64,
}

impl Active {
    async fn of(admin: &Admin) -> Result<Active, AdminError> {
        let stats = admin.stats(ACTIVE).await?;
        let sum = |suffix| {
            let own = |name: &str| name.starts_with("http.admin.");
            stats.iter().filter(|(name, _)| name.ends_with(suffix) && !own(name)).map(|(_, value)| value).sum()
        };
        Ok(Active { connections: sum("_cx_active"), requests: sum("_rq_active") })
    }
}
