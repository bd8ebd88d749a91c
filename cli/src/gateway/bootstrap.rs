//! `bootstrap`: what an Envoy for `serve` starts with.

use microgw_envoy::{Bootstrap, Dialect, SocketPaths, sockets};

use super::{socket_directory, source};
use crate::args;
use crate::config::Config;
use crate::output;

/// Prints it.
pub fn print(args: &args::Bootstrap, config: &Config) -> anyhow::Result<()> {
    let project = source::project_name(&args.target)?;
    let directory = socket_directory(args.sockets.as_deref(), config);
    let paths = SocketPaths::within(&std::path::absolute(&directory)?);
    let bootstrap = Bootstrap {
        dialect: match args.xds {
            args::Dialect::Delta => Dialect::Delta,
            args::Dialect::Sotw => Dialect::StateOfTheWorld,
        },
        overload: config.envoy.overload,
        ..Bootstrap::local(&args.node_id, &project, &paths)
    };
    let json = bootstrap.to_json();
    match &args.output {
        // Complete at once: an Envoy may be waiting for it.
        Some(file) => sockets::write_private(file, json.as_bytes())?,
        None => output::line(json.trim_end()),
    }
    Ok(())
}
