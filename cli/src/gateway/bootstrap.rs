//! `bootstrap`: what an Envoy for `serve` starts with.

use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use microgw_envoy::{Bootstrap, ClientTls, Dialect, Gateway, Remote, SocketPaths, sockets};

use super::{socket_directory, source};
use crate::args;
use crate::config::Config;
use crate::output;

/// Prints it.
pub fn print(args: &args::Bootstrap, config: &Config) -> anyhow::Result<()> {
    let project = source::project_name(&args.target)?;
    let directory = socket_directory(args.sockets.as_deref(), config);
    let paths = SocketPaths::within(&std::path::absolute(&directory)?);
    let mut bootstrap = Bootstrap {
        dialect: match args.xds {
            args::Dialect::Delta => Dialect::Delta,
            args::Dialect::Sotw => Dialect::StateOfTheWorld,
        },
        overload: config.envoy.overload,
        ..Bootstrap::local(&args.node_id, &project, &paths)
    };
    if let Some(host) = &args.remote.host {
        bootstrap.gateway = Gateway::Remote(remote(host, &args.remote, config)?);
        // The directories of this host are not Envoy's.
        if args.sockets.is_none() {
            bootstrap.admin = None;
        }
    }
    let json = bootstrap.to_json();
    match &args.output {
        // Complete at once: an Envoy may be waiting for it.
        Some(file) => sockets::write_private(file, json.as_bytes())?,
        None => output::line(json.trim_end()),
    }
    Ok(())
}

fn remote(host: &str, args: &args::Remote, config: &Config) -> anyhow::Result<Remote> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() || (host.contains([':', '/', ' ']) && host.parse::<IpAddr>().is_err()) {
        bail!(
            "`--remote` is `{host}`, and must be a name or an IP address; its ports are settings (remoteConfig.*Port)"
        );
    }
    let [xds_port, authz_port, issuer_port] = config.remote.ports();
    if config.remote.ports().contains(&0) {
        bail!("a remote Envoy needs to know the ports, and one of remoteConfig.*Port is 0");
    }
    let tls = if args.insecure { None } else { Some(client_tls(host, args)?) };
    Ok(Remote { host: host.to_owned(), xds_port, authz_port, issuer_port, tls })
}

fn client_tls(host: &str, args: &args::Remote) -> anyhow::Result<ClientTls> {
    let given = |path: &Option<PathBuf>, name: &str| {
        let path = path.clone().with_context(|| {
            format!("`--remote` needs `{name}`\n\nhint: `--client-cert`, `--client-key` and `--ca` name files on Envoy's host; to a gateway that serves with `--insecure` say `--insecure`")
        })?;
        if path.to_str().is_none() {
            bail!("`{name}` is not UTF-8");
        }
        anyhow::Ok(path)
    };
    Ok(ClientTls {
        certificate_chain: given(&args.client_cert, "--client-cert")?,
        private_key: given(&args.client_key, "--client-key")?,
        authority: given(&args.ca, "--ca")?,
        server_name: args.server_name.clone().unwrap_or_else(|| host.to_owned()),
    })
}
