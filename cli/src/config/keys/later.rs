//! Keys of the old product that have no effect in this version. Where ignoring one would let more through, or trust
//! more, than was asked for, it is refused.

use super::Danger::When;
use super::Kind::{Bool, List, Number, Path, Secret, Text};
use super::{Danger, Key};

/// Written as `true`, also in quotes.
const WHEN_TRUE: Danger = When(|value| value.eq_ignore_ascii_case("true"));

const WHEN_GIVEN: Danger = When(|value| !value.is_empty());

const TRACES: &str = "spans are sent by OTLP, which Jaeger takes too: name the collector in `telemetry.otlpEndpoint` (Jaeger's is `http://HOST:4317`)";
const WIRE_LOG: &str =
    "`envoyConfig.logLevel = \"debug\"` shows requests with their headers, credentials included: for debugging only";
const REVOCATION: &str = "there is no JMS, and nothing is fetched once at the start: `[revocation]` takes a file (API Manager's `/revokedjwt` list as it is) or Redis";
const CONDITIONS: &str = "conditions in `policies.yaml` always count: there is nothing to switch on";
const LEGACY: &str =
    "API Manager 3.2 and later introspect (RFC 7662): switch this off, and `keyManager.serverUrl` is asked";
const EXTERNAL: &str = "switch this off, and name the server's endpoint in `keyManager.introspectionUrl`: any that speaks RFC 7662 will do";

#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    Key::later("listenerConfig.maxPipelinedRequests", Number, "10", "HTTP/1.1 pipelining.").instead("Envoy answers pipelined requests one after the other, and reads no more of them than its buffer holds"),

    Key::later("keyManager.enableLegacyMode", Bool, "false", "Key validation of API Manager 3.1 and older.").danger(WHEN_TRUE).instead(LEGACY),
    Key::later("keyManager.timestampSkew", Number, "", "Clock tolerance.").instead("`server.timestampSkew` is the one that counts"),
    Key::later("keyManager.external", Bool, "false", "A key manager of another vendor.").danger(WHEN_TRUE).instead(EXTERNAL),

    Key::later("jwtTokenConfig[].claimMapperClassName", Text, "", "Java class that maps claims.").danger(WHEN_GIVEN).instead("there is no JVM: say in `[[jwtTokenConfig.claims]]` what the class does (`split`, `stripPrefix`, `values`, `join`)"),

    Key::later("tokenRevocationConfig.realtime.enableRealtimeMessageRetrieval", Bool, "false", "Revocations by message.").danger(WHEN_TRUE).instead(REVOCATION),
    Key::later("tokenRevocationConfig.realtime.{jmsConnectionTopic,jmsConnectioninitialContextFactory,jmsConnectionProviderUrl,jmsConnectionUsername,jmsConnectionPassword}", Secret, "", "Where the messages come from."),
    Key::later("tokenRevocationConfig.persistent.enablePersistentStorageRetrieval", Bool, "false", "Revocations from a store.").danger(WHEN_TRUE).instead(REVOCATION),
    Key::later("tokenRevocationConfig.persistent.{type,useDefault,endpointURL,hostname,username,password}", Secret, "", "Where the store is."),
    Key::later("caching.tokenCacheEvictionFactor", Number, "0.25", "Share that is evicted when the cache is full."),

    Key::later("analytics.{enable,streamVersion}", Text, "", "Analytics."),
    Key::later("analytics.fileUpload.{enable,uploadingTimeSpanInMillis,initialDelayInMillis,uploadingEndpoint,rotatingPeriod,taskUploadFiles,username,password}", Secret, "", "Analytics by file."),
    Key::later("analytics.gRPCAnalytics.{enable,endpointURL,reconnectTimeInMillies}", Text, "", "Analytics by gRPC."),
    Key::later("analytics.elkAnalytics.enable", Text, "", "Analytics for ELK."),
    Key::later("analytics.choreoAnalytics.{enable,configEndpoint,authToken}", Secret, "", "Analytics for Choreo."),
    Key::later("datacenterId", Text, "", "Name of the data centre in events."),

    Key::later("httpClients.poolConfig.maxIdleConnections", Number, "100", "Idle connections to backends.").instead("they are closed after a minute, however many there are"),
    Key::later("httpClients.poolConfig.waitTimeInMillis", Number, "30000", "Wait for a connection to a backend.").instead("requests wait as long as they may take"),
    Key::later("httpClients.sslConfig.protocolName", Text, "TLS", "Protocol to backends.").instead("`httpClients.sslConfig.protocolVersions` decides"),
    Key::later("httpClients.responseLimits.maxStatusLineLength", Number, "4096", "Longest status line of a backend.").instead("it counts towards `httpClients.responseLimits.maxHeaderSize`"),
    Key::later("httpClients.responseLimits.maxEntityBodySize", Number, "-1", "Longest body of a backend's response.").danger(When(|value| value != "-1")).instead("`x-microgw-body-limit` bounds the responses of an API, or of an operation"),

    Key::later("mutualSSLConfig.protocolName", Text, "TLS", "Protocol of the listener.").instead("`mutualSSLConfig.protocolVersions` decides"),

    Key::later("throttlingConfig.enabledGlobalTMEventPublishing", Bool, "false", "Throttle with a Traffic Manager.").danger(WHEN_TRUE),
    Key::later("throttlingConfig.enableHeaderConditions", Bool, "false", "Throttle by header.").instead(CONDITIONS),
    Key::later("throttlingConfig.enableQueryParamConditions", Bool, "false", "Throttle by query.").instead(CONDITIONS),
    Key::later("throttlingConfig.enableJwtClaimConditions", Bool, "false", "Throttle by claim.").instead(CONDITIONS),
    Key::later("throttlingConfig.{jmsConnectioninitialContextFactory,jmsConnectionProviderUrl,jmsConnectionUsername,jmsConnectionPassword,throttleEndpointUrl,throttleEndpointbase64Header}", Secret, "", "The Traffic Manager."),
    Key::later("throttlingConfig.dataRetriever.{serverUrl,username,password}", Secret, "", "The Traffic Manager's data."),
    Key::later("throttlingConfig.nodeLocal.{processThreadPoolCoreSize,processThreadPoolMaximumSize,processThreadPoolKeepAliveTime,cleanUpFrequency}", Number, "", "Threads of local throttling."),
    Key::later("throttlingConfig.binary.{enabled,username,password}", Secret, "", "The Traffic Manager's receiver."),
    Key::later("throttlingConfig.binary.URLGroup[].receiverURL", List, "", "The Traffic Manager's receiver."),
    Key::later("throttlingConfig.binary.URLGroup[].authURL", List, "", "The Traffic Manager's receiver."),
    Key::later("throttlingConfig.binary.URLGroup[].type", Text, "", "The Traffic Manager's receiver."),
    Key::later("throttlingConfig.binary.publisherPool.{maxIdle,initIdleCapacity}", Number, "", "The Traffic Manager's receiver."),
    Key::later("throttlingConfig.binary.publisherThreadPool.{corePoolSize,maxPoolSize,keepAliveTime}", Number, "", "The Traffic Manager's receiver."),
    Key::later("throttlingConfig.binary.agent.{sslEnabledProtocols,ciphers,queueSize,batchSize,corePoolSize,socketTimeoutMS,maxPoolSize,keepAliveTimeInPool,reconnectionInterval,maxTransportPoolSize,maxIdleConnections,evictionTimePeriod,minIdleTimeInPool,secureMaxTransportPoolSize,secureMaxIdleConnections,secureEvictionTimePeriod,secureMinIdleTimeInPool}", Text, "", "The Traffic Manager's receiver."),

    Key::later("b7a.observability.metrics.enabled", Bool, "false", "Metrics.").instead("`/metrics` is always served, on `adminConfig.address`"),
    Key::later("b7a.observability.metrics.reporter", Text, "prometheus", "Format of the metrics.").instead("`/metrics` is for Prometheus, and for all who read OpenMetrics"),
    Key::later("b7a.observability.metrics.enableAuth", Text, "true", "Ask for a password at `/metrics`.").instead("`/metrics` asks for one wherever others than this machine can connect to `adminConfig.address`"),
    Key::later("b7a.observability.metrics.prometheus.{host,port,secure_port}", Text, "", "Where metrics are served.").instead("`adminConfig.address` says where `/metrics` is served"),
    Key::later("b7a.observability.metrics.prometheus.jmx_port", Text, "", "Where metrics of the JVM are served.").instead("there is no JVM; `/metrics` has the memory and the processor time of the process"),
    Key::later("b7a.observability.tracing.enabled", Text, "false", "Traces.").instead(TRACES),
    Key::later("b7a.observability.tracing.name", Text, "jaeger", "Jaeger or Zipkin.").instead(TRACES),
    Key::later("b7a.observability.tracing.jaeger.reporter.{hostname,port}", Text, "", "The Jaeger agent.").instead(TRACES),
    Key::later("b7a.observability.tracing.jaeger.reporter.flush.interval.ms", Number, "2000", "Between two batches of spans.").instead("spans are sent every second"),
    Key::later("b7a.observability.tracing.jaeger.reporter.max.buffer.spans", Number, "1000", "Spans that wait.").instead("4,096 wait; what does not fit is dropped, and counted in `microgw_spans_total`"),
    Key::later("b7a.observability.tracing.jaeger.sampler.type", Text, "const", "How requests to trace are chosen.").instead("`telemetry.sampling` is a share of the requests"),
    Key::later("b7a.observability.tracing.jaeger.sampler.param", Text, "1.0", "Which requests are traced.").instead("write `telemetry.sampling = {}`, a share of the requests from 0 to 1"),
    Key::later("b7a.observability.tracing.zipkin.reporter.{hostname,port}", Text, "", "The Zipkin collector.").instead(TRACES),
    Key::later("b7a.http.tracelog.console", Bool, "false", "Wire log.").instead(WIRE_LOG),
    Key::later("b7a.http.tracelog.path", Path, "", "Wire log.").instead(WIRE_LOG),

    Key::later("jwtGeneratorConfig.certificateAlias", Text, "", "Certificate of the key that signs backend JWTs.").instead("the certificate that `privateKeyAlias` has in its store is named in the JWT"),
    Key::later("jwtGeneratorConfig.claimRetrieval.configuration.*", Secret, "", "What a retriever of your own was told.").instead("`serverUrl`, `username` and `password` are all that is asked for"),
    Key::later("jwtGeneratorConfig.jwtGeneratorCaching.tokenCacheEvictionFactor", Number, "0.25", "Share that is evicted when the cache is full."),

    Key::later("apim.eventHub.enable", Bool, "false", "Subscriptions from the event hub.").danger(WHEN_TRUE).instead("`[subscriptions]` takes what the event hub lists, from a file or from Redis"),
    Key::later("apim.eventHub.{serviceUrl,internalDataContext,username,password,eventListeningEndpoints}", Secret, "", "The event hub."),
    Key::later("apim.credentials.{username,password}", Secret, "", "The event hub."),
    Key::later("etcdtimer", Number, "10000", "How often etcd was asked.").instead("keys are watched: a change is known at once"),
    Key::later("etcdbasepath", Text, "/v3", "Base path of etcd's JSON gateway.").instead("etcd is spoken to by gRPC, version 3, which has no base path"),
];
