//! What components do, good and hostile ones. Whatever one does is its own call's matter.

use microgw_engine::interceptors::{Attributes, InterceptorFailure};
use microgw_proto::interceptors::v1 as proto;
use microgw_transforms::Message;

use super::*;
use crate::fixtures::{self, BODY, EXCHANGE, HEADERS, LOGGING, RESPONSE, Scene, component};

mod contained;
mod edits;
mod javascript;
mod kept;

const MEMORY: u64 = 16 << 20;
const LONG: u32 = 30_000;

/// A component, and calls of it.
struct Stage {
    host: Arc<Host>,
    scene: Scene,
    component: Component,
}

// === impl Stage ===

impl Stage {
    async fn new(wat: &str) -> Stage {
        Stage::beside(&Arc::new(Host::default()), wat, LONG, "POST").await
    }

    async fn beside(host: &Arc<Host>, wat: &str, timeout: u32, method: &str) -> Stage {
        let code = wat::parse_str(wat).unwrap();
        Stage::of(host, &fixtures::hosted(code, timeout, MEMORY), method).await
    }

    async fn of(host: &Arc<Host>, interceptor: &proto::Interceptor, method: &str) -> Stage {
        // What components say, and what is said of them, is shown where a test fails.
        let _ = tracing_subscriber::fmt().with_test_writer().try_init();
        let scene = Scene::of(interceptor.clone(), r#"{"n":1}"#, method).unwrap();
        let call = scene.request(&[], b"").unwrap();
        let Program::Component { digest, code, .. } = &call.interceptor.program else { panic!() };
        let component = host.load(*digest, code.clone()).await.unwrap();
        Stage { host: Arc::clone(host), scene, component }
    }

    async fn request(&self, headers: &[(&str, &str)], body: &[u8]) -> Verdict {
        self.host.call(self.scene.request(headers, body).unwrap()).await
    }

    async fn response(&self, headers: &[(&str, &str)], body: &[u8]) -> Verdict {
        self.host.call(self.scene.response(200, headers, body, &Attributes::new()).unwrap()).await
    }
}

async fn refused(wat: &str) -> LoadError {
    Host::default().load([0; 32], wat::parse_str(wat).unwrap().into()).await.unwrap_err()
}

fn header<'m>(message: &'m Message, name: &str) -> Option<&'m str> {
    message.headers.get(name).next().map(|value| std::str::from_utf8(value).unwrap())
}

fn passed(verdict: Verdict) -> (Message, Attributes) {
    match verdict {
        Verdict::Continue { message, attributes } => (message, attributes),
        other => panic!("{other:?}"),
    }
}

fn failure_of(verdict: Verdict) -> InterceptorFailure {
    match verdict {
        Verdict::Failed(failure) => failure,
        other => panic!("{other:?}"),
    }
}

/// `on-request` with this in it.
fn on_request(imports: &[&fixtures::Imports], core: &str) -> String {
    component(imports, &["on-request"], &format!("(func (export \"on-request\") (result i32) {core})"))
}
