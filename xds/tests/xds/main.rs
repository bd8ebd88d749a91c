//! The server and the publisher, from outside: Envoys that speak delta ADS over the Unix socket, accept, refuse, fall
//! silent, leave and come back.

mod envoy;
mod fixture;
mod nack;
mod protocol;
mod publish;
mod real_envoy;
mod retire;
