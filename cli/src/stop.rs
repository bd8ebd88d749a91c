//! Being told to stop.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// Ends on SIGTERM or SIGINT, which do nothing else from now on. The first process of a container gets no signal that
/// it has not asked for: each of our services asks.
pub fn told() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
