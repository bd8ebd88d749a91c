//! `[listenerConfig]` over the wire: certificates by name, the way to HTTPS, balancers, and how long connections may take.

mod balancers;
mod certificates;
mod limits;
mod redirect;
mod tls;

use microgw_tests::backend::Backend;
use microgw_tests::project::{Project, definition, get};
use serde_json::json;

async fn shop(backend: &Backend) -> Project {
    let project = Project::new();
    project.define("shop", &definition("Shop", "/shop", backend.address, &json!({ "/open": get(&json!([])) })));
    project.build().await;
    project
}
