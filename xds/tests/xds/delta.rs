const DIALECT: microgw_xds::Dialect = microgw_xds::Dialect::Delta;

#[path = "nack.rs"]
mod nack;
#[path = "protocol.rs"]
mod protocol;
#[path = "publish.rs"]
mod publish;
#[path = "real_envoy.rs"]
mod real_envoy;
#[path = "retire.rs"]
mod retire;
