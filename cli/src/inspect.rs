//! `inspect`: what an artifact contains, and the snapshot it becomes.

use anyhow::Context as _;
use std::sync::Arc;

use microgw_compiler::artifact;

use crate::args;
use crate::build;
use crate::output;
use crate::preflight::Trial;

pub fn inspect(args: &args::Inspect) -> anyhow::Result<()> {
    let (model, bytes) = build::load(&args.artifact)?;
    let id = artifact::id(&bytes);
    let settings = microgw_compiler::settings::Settings {
        listeners: microgw_compiler::settings::Listeners {
            host: "127.0.0.1".parse()?,
            bind: true,
            http_port: 9090,
            https_port: 9095,
            max_header_size: 8192,
            max_body_size: None,
            trusted_hops: 0,
            http2: true,
            identity: {
                let c = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
                microgw_compiler::settings::TlsIdentity {
                    certificate_chain: c.cert.pem(),
                    private_key: c.signing_key.serialize_pem(),
                }
            },
        },
        credentials: microgw_compiler::settings::Credentials {
            header: "authorization".into(),
            remove: true,
            strip: vec!["x-jwt-assertion".into()],
        },
        issuers: vec![],
        api_keys: microgw_compiler::settings::ApiKeys {
            issuer: "x".into(),
            skew_seconds: 5,
            allow_unlimited: false,
            require_allowed_apis: false,
        },
        api_key_issuer: true,
        backend_trust: Some(microgw_compiler::settings::TrustStore(std::fs::read_to_string(
            "/etc/ssl/certs/ca-certificates.crt",
        )?)),
        access_log: Some(microgw_compiler::settings::AccessLog { path: "/dev/stdout".into() }),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let trial = Trial::offer(Arc::new(model), id, settings, None).await?;
        let dump = trial.admin.get("/config_dump").await.context("Envoy does not show its configuration")?;
        output::line(&String::from_utf8_lossy(&dump));
        trial.end().await;
        Ok(())
    })
}
