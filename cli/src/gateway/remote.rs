//! `serve` for Envoys on other hosts: the same services as on the sockets, over TCP and mutual TLS.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use micro_gw::certificates::Certificates;
use microgw_extproc::remote::{Credentials, Guest, RemoteListener, ServerTls};
use microgw_extproc::server::AuthzServer;
use microgw_xds::Xds;
use tokio::sync::oneshot;

use super::services::Services;
use crate::config::Remote as Settings;

/// Connections at once. An Envoy has one for xDS, and one to each of the others for each of its workers.
const MAX_XDS: usize = 512;
const MAX_AUTHZ: usize = 4096;
const MAX_ISSUER: usize = 1024;

/// Services that Envoys on other hosts can reach, for as long as the value lives.
pub struct Remote {
    tls: Option<Arc<ServerTls>>,
    _authz: AuthzServer,
    _stop_xds: oneshot::Sender<()>,
}

/// That what is asked for can be, before anything starts; and what `/status` should say of it. `insecure`: it was said
/// that TLS is not wanted.
pub fn check(settings: &Settings, insecure: bool) -> anyhow::Result<Option<String>> {
    match (settings.host, &settings.tls, insecure) {
        (None, _, true) => bail!("`--insecure` is about Envoys on other hosts, and `remoteConfig.host` is not given"),
        (Some(_), Some(_), true) => bail!("`--insecure` contradicts `remoteConfig.certificatePath`: give one of them"),
        (Some(host), None, false) => bail!(
            "`remoteConfig.host` is `{host}`, and there is no TLS: `remoteConfig.certificatePath`, `privateKeyPath` and \
             `clientCaPath` are not given\n\nhint: without them whoever can connect gets the private key of the HTTPS \
             listener; in a network where that may be, say `--insecure`"
        ),
        (Some(host), None, true) => {
            tracing::warn!(
                %host,
                "--insecure: WHOEVER CAN CONNECT to the remote ports gets this gateway's configuration, the PRIVATE KEY of \
                 its HTTPS listener among it, and may ask for decisions and API keys; passwords and tokens can be READ on \
                 the way, and answers CHANGED"
            );
            Ok(Some(format!("`--insecure`: Envoys on other hosts are served without TLS on `{host}`")))
        }
        (None, _, false) | (Some(_), Some(_), false) => Ok(None),
    }
}

// === impl Remote ===

impl Remote {
    /// `None`: not asked for. To be called when rules can be armed.
    pub async fn start(
        settings: &Settings,
        credentials: Option<Credentials>,
        services: &Services,
        xds: Xds,
    ) -> anyhow::Result<Option<Remote>> {
        let Some(host) = settings.host else { return Ok(None) };
        let tls = credentials.map(ServerTls::new).transpose()?.map(Arc::new);
        let bind = async |port: u16, service: &'static str, places: usize| {
            let address = SocketAddr::new(host, port);
            let listener = RemoteListener::bind(address, service, tls.clone(), places).await;
            let listener =
                listener.with_context(|| format!("cannot listen on `{address}` (remoteConfig.{service}Port)"))?;
            let bound = listener.local_addr()?;
            anyhow::Ok((listener, bound))
        };
        let (xds_listener, xds_address) = bind(settings.xds_port, "xds", MAX_XDS).await?;
        let (authz_listener, authz_address) = bind(settings.authz_port, "authz", MAX_AUTHZ).await?;
        let (issuer_listener, issuer_address) = bind(settings.issuer_port, "issuer", MAX_ISSUER).await?;

        let authz = services.serve_remote_decisions(authz_listener)?;
        tokio::spawn(microgw_extproc::remote::serve(services.issuer(), issuer_listener.guests()));
        let (stop, stopped) = oneshot::channel::<()>();
        let guests = xds_listener.guests();
        tokio::spawn(async move {
            let who = |guest: &Guest| guest.peer().to_string();
            // Ends with the sender.
            if let Err(error) = xds.serve_remote(guests, who, async { drop(stopped.await) }).await {
                tracing::error!(%error, "the xDS server for remote Envoys failed");
            }
        });
        tracing::info!(
            xds = %xds_address, authz = %authz_address, issuer = %issuer_address, tls = tls.is_some(),
            "remote Envoys are served"
        );
        Ok(Some(Remote { tls, _authz: authz, _stop_xds: stop }))
    }

    /// Presents and trusts what `certificates` have, from the next connection on.
    pub fn renew(&self, certificates: &Certificates) {
        let (Some(tls), Some(remote)) = (&self.tls, certificates.remote()) else { return };
        let replaced = remote.credentials().and_then(|credentials| Ok(tls.replace(credentials)?));
        if let Err(error) = replaced {
            // They have been tried when they were read.
            tracing::error!("remote Envoys are met with what was there before: {error:#}");
        }
    }
}
