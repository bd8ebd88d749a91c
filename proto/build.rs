//! Generates the Rust types of the protos that this project owns. protox parses them: no protoc binary is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files =
        ["microgw/limits/v1/limits.proto", "microgw/artifact/v1/artifact.proto", "microgw/rules/v1/rules.proto"];
    for file in files {
        println!("cargo::rerun-if-changed={file}");
    }
    let descriptors = protox::compile(files, ["."])?;
    // Ordered maps only: equal messages must have equal bytes in every process.
    prost_build::Config::new().btree_map(["."]).compile_fds(descriptors)?;
    Ok(())
}
