//! The product as its users meet it: the real `micro-gw`, the real Envoy, real backends.

mod api_keys;
mod backend_jwt;
mod backends;
mod certificates;
mod demo;
mod drain;
mod environments;
mod errors;
mod local_replies;
mod mutual_tls;
mod opaque;
mod opaque_keys;
mod openid;
mod publish;
mod quick_start;
mod redis;
mod refused_by_envoy;
mod remote;
mod requests;
mod resilience;
mod revocation;
mod routing;
mod secrets;
mod telemetry;
mod tokens;
mod users;
