//! Backends that misbehave, and what endpoints say about it: timeouts, retries, circuit breakers, failover, health checks.

mod breaker;
mod failover;
mod faults;
mod health;
mod http2;
mod pool;
mod retries;
mod tls;

use microgw_tests::gateway::{Answer, Gateway};
use microgw_tests::misbehaving::Misbehaving;
use microgw_tests::project::{Project, definition, get};
use serde_json::{Value, json};

/// A gateway with one API, `/shop`, whose operations (GET and POST of `/open`) have this endpoint.
struct Shop {
    /// Ends with it.
    _project: Project,
    gateway: Gateway,
}

impl Shop {
    async fn with(endpoint: &Value, settings: &str) -> Shop {
        let project = Shop::project(endpoint).await;
        let config = project.config(settings);
        let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config]).await;
        Shop { _project: project, gateway }
    }

    /// Built, and not served yet.
    async fn project(endpoint: &Value) -> Project {
        let project = Project::new();
        let mut operations = get(&json!([]));
        operations["post"] = operations["get"].clone();
        operations["put"] = operations["get"].clone();
        let nobody = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
        let mut definition = definition("Shop", "/shop", nobody, &json!({ "/open": operations }));
        definition["x-wso2-production-endpoints"] = endpoint.clone();
        project.define("shop", &definition);
        project.build().await;
        project
    }

    async fn get(&self) -> Answer {
        self.gateway.get(&self.gateway.http("/shop/open"), &[]).await
    }

    async fn post(&self, body: impl Into<reqwest::Body>) -> Answer {
        Answer::of(self.gateway.client.post(self.gateway.http("/shop/open")).body(body)).await
    }
}

fn url(backend: &Misbehaving) -> String {
    format!("http://{}/shop", backend.address)
}

/// Status, and the code of the fault.
fn fault(answer: &Answer) -> (u16, u64) {
    (answer.status, answer.code())
}
