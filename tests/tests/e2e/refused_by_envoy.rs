//! refused_by_envoy
