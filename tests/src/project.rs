//! Projects made for a test.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::gateway::{command, replace};

/// A directory with a project `shop` in it.
pub struct Project {
    pub directory: TempDir,
}

impl Default for Project {
    fn default() -> Project {
        Project::new()
    }
}

// === impl Project ===

impl Project {
    /// An empty one, as `init` would make it.
    ///
    /// # Panics
    /// When the disk is full.
    pub fn new() -> Project {
        let directory = TempDir::new().expect("a directory can be made");
        let project = Project { directory };
        project.write("conf/deployment-config.toml", "[project]\nopenapiSecurity = \"standard\"\n");
        project
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.directory().join("shop").join(path)
    }

    /// Writes a file of the project, replacing it in one step.
    ///
    /// # Panics
    /// When the disk is full.
    pub fn write(&self, path: &str, content: &str) {
        self.write_bytes(path, content.as_bytes());
    }

    /// The same, of what is no text.
    ///
    /// # Panics
    /// When the disk is full.
    pub fn write_bytes(&self, path: &str, content: &[u8]) {
        replace(&self.path(path), content);
    }

    pub fn define(&self, name: &str, definition: &Value) {
        self.write(&format!("api_definitions/{name}.json"), &format!("{definition:#}"));
    }

    /// Where [`Self::build`] puts the artifact.
    pub fn artifact(&self) -> PathBuf {
        self.path("target/shop.mgw")
    }

    /// A `micro-gw.conf` beside the project: the argument that names it.
    pub fn config(&self, text: &str) -> String {
        let path = self.directory().join("micro-gw.conf");
        replace(&path, text.as_bytes());
        format!("--config={}", path.display())
    }

    /// Builds it. The artifact is `shop/target/shop.mgw`.
    ///
    /// # Panics
    /// When it does not build.
    pub async fn build(&self) {
        let output = command(self.directory(), &["build", "shop"]).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// An `OpenAPI` 3.0 definition with these paths, all of them served by `backend`.
pub fn definition(title: &str, base: &str, backend: std::net::SocketAddr, paths: &Value) -> Value {
    json!({
        "openapi": "3.0.3",
        "info": { "title": title, "version": "1.0" },
        "servers": [{ "url": format!("http://{backend}{base}") }],
        "x-wso2-basePath": if base.is_empty() { "/" } else { base },
        "paths": paths,
        "components": { "securitySchemes": {
            "key": { "type": "apiKey", "in": "header", "name": "x-api-key" },
            "basic": { "type": "http", "scheme": "basic" },
            "query_key": { "type": "apiKey", "in": "query", "name": "key" },
            "cookie_key": { "type": "apiKey", "in": "cookie", "name": "key" },
            "oauth": { "type": "oauth2", "flows": { "clientCredentials": {
                "tokenUrl": "https://idp.example.com/token", "scopes": { "read": "read", "write": "write" } } } },
        } },
    })
}

/// A GET operation with this `security`.
pub fn get(security: &Value) -> Value {
    json!({ "get": { "security": security, "responses": { "200": { "description": "done" } } } })
}
