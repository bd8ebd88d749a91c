//! What a WebAssembly component takes, read off its imports and exports. It is run by nobody here.

use wasmparser::{ComponentExternalKind, Encoding, Parser, Payload, Validator};

/// What the interface of interceptors is called, before its version.
const PACKAGE: &str = "micro-gw:interceptor/";
const BODY: &str = "body";
const ON_REQUEST: &str = "on-request";
const ON_RESPONSE: &str = "on-response";

/// Which messages a component sees, and what of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // Each says something by itself.
pub(super) struct Shape {
    pub requests: bool,
    pub responses: bool,
    /// It looks at bodies.
    pub bodies: bool,
}

/// Why it cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ShapeError {
    #[error("it is no WebAssembly")]
    NoWasm,
    #[error("it is a core module, not a component: `wasm-tools component new` makes one of it")]
    Module,
    #[error("it is not valid: {0}")]
    Invalid(String),
    #[error("it exports neither `{ON_REQUEST}` nor `{ON_RESPONSE}`")]
    NoExport,
}

// === impl Shape ===

impl Shape {
    pub(super) fn of(code: &[u8]) -> Result<Shape, ShapeError> {
        let invalid = |error: wasmparser::BinaryReaderError| ShapeError::Invalid(error.message().to_owned());
        if !code.starts_with(b"\0asm") {
            return Err(ShapeError::NoWasm);
        }
        let mut shape = Shape::default();
        // Components have others inside: what those import and export is between them.
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(code) {
            match payload.map_err(invalid)? {
                Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => return Err(ShapeError::Module),
                Payload::Version { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentImportSection(imports) if depth == 1 => {
                    for import in imports {
                        let name = import.map_err(invalid)?.name.name;
                        let interface = name.strip_prefix(PACKAGE).map(|rest| rest.split('@').next().unwrap_or(rest));
                        shape.bodies |= interface == Some(BODY);
                    }
                }
                Payload::ComponentExportSection(exports) if depth == 1 => {
                    for export in exports {
                        let export = export.map_err(invalid)?;
                        let is_function = export.kind == ComponentExternalKind::Func;
                        shape.requests |= is_function && export.name.name == ON_REQUEST;
                        shape.responses |= is_function && export.name.name == ON_RESPONSE;
                    }
                }
                _ => {}
            }
        }
        Validator::new().validate_all(code).map_err(invalid)?;
        if shape.requests || shape.responses { Ok(shape) } else { Err(ShapeError::NoExport) }
    }
}

#[cfg(test)]
mod tests;
