//! Responses are compressed by Envoy, where settings ask for it, one filter for each coding. What a backend has encoded, and what
//! says `no-transform`, Envoy passes as it is.

use envoy_types::pb::envoy::config::core::v3::TypedExtensionConfig;
use envoy_types::pb::envoy::config::route::v3::Route;
use envoy_types::pb::envoy::extensions::compression::brotli::compressor::v3::Brotli;
use envoy_types::pb::envoy::extensions::compression::gzip::compressor::v3::Gzip;
use envoy_types::pb::envoy::extensions::compression::zstd::compressor::v3::Zstd;
use envoy_types::pb::envoy::extensions::filters::http::compressor::v3::Compressor;
use envoy_types::pb::envoy::extensions::filters::http::compressor::v3::compressor::{
    CommonDirectionConfig, ResponseDirectionConfig,
};
use envoy_types::pb::envoy::r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern};
use envoy_types::pb::google::protobuf::Any;

use super::routes::unguarded;
use super::wire::{any, number};
use crate::settings::{Algorithm, Compression};

/// A part of a response is a part of the very bytes that others had.
const PARTIAL: u32 = 206;

/// Names and configurations, in the order in which requests pass them.
pub fn filters(compression: &Compression) -> Vec<(String, Any)> {
    compression
        .algorithms
        .iter()
        .map(|algorithm| (name(*algorithm), any(&compressor(*algorithm, compression))))
        .collect()
}

/// Leaves the responses of a route as they are.
pub fn spare(route: &mut Route, compression: &Compression) {
    let filters = compression.algorithms.iter().map(|algorithm| (name(*algorithm), unguarded()));
    route.typed_per_filter_config.extend(filters);
}

/// Leaves a stream to those codings in which Envoy sends what there is: its `zstd` holds it back.
pub fn pass_on(route: &mut Route, compression: &Compression) {
    let late = compression.algorithms.iter().filter(|algorithm| **algorithm == Algorithm::Zstd);
    route.typed_per_filter_config.extend(late.map(|algorithm| (name(*algorithm), unguarded())));
}

fn name(algorithm: Algorithm) -> String {
    format!("microgw.compressor.{}", algorithm.as_str())
}

fn compressor(algorithm: Algorithm, compression: &Compression) -> Compressor {
    let (library, config) = match algorithm {
        Algorithm::Brotli => ("brotli", any(&Brotli::default())),
        Algorithm::Gzip => ("gzip", any(&Gzip::default())),
        Algorithm::Zstd => ("zstd", any(&Zstd::default())),
    };
    let exact = |content_type: &String| StringMatcher {
        match_pattern: Some(MatchPattern::Exact(content_type.clone())),
        ignore_case: true,
    };
    Compressor {
        compressor_library: Some(TypedExtensionConfig { name: library.to_owned(), typed_config: Some(config) }),
        response_direction_config: Some(ResponseDirectionConfig {
            common_config: Some(CommonDirectionConfig {
                min_content_length: number(compression.least),
                content_type_matcher: compression.content_types.iter().map(exact).collect(),
                ..Default::default()
            }),
            // A strong one would promise the very bytes; without one nobody could ask whether there is something new.
            weaken_etag_on_compress: true,
            uncompressible_response_codes: vec![PARTIAL],
            ..Default::default()
        }),
        // Of those that a client likes equally.
        choose_first: compression.algorithms.first() == Some(&algorithm),
        ..Default::default()
    }
}
