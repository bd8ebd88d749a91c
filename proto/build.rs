//! Generates the Rust types of the protos that this project owns. protox parses them: no protoc binary is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = [
        "microgw/contracts/v1/contracts.proto",
        "microgw/limits/v1/limits.proto",
        "microgw/traffic/v1/traffic.proto",
        "microgw/bodies/v1/bodies.proto",
        "microgw/transforms/v1/transforms.proto",
        "microgw/interceptors/v1/interceptors.proto",
        "microgw/artifact/v1/artifact.proto",
        "microgw/rules/v1/rules.proto",
    ];
    for file in files {
        println!("cargo::rerun-if-changed={file}");
    }
    let descriptors = protox::compile(files, ["."])?;
    // Ordered maps only: equal messages must have equal bytes in every process.
    let mut config = prost_build::Config::new();
    config.btree_map(["."]);
    // Equal endpoints are one; prost derives this for messages without lists of messages only.
    for message in [
        "EndpointPolicy",
        "HealthCheck",
        "OperationTraffic",
        "HeaderEdits",
        "Answer",
        "Answer.kind",
        "Examples",
        "Example",
    ] {
        config.type_attribute(format!("microgw.traffic.v1.{message}"), "#[derive(Eq, Hash)]");
    }
    config.type_attribute("microgw.interceptors.v1.OperationInterceptors", "#[derive(Eq, Hash)]");
    for message in ["Contract", "Body", "Content", "Response"] {
        config.type_attribute(format!("microgw.contracts.v1.{message}"), "#[derive(Eq, Hash)]");
    }
    // Whoever holds a program shares it.
    config.bytes([".microgw.interceptors.v1.Component.code"]);
    config.compile_fds(descriptors)?;
    Ok(())
}
