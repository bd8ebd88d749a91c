//! The manifest of an image, which a registry keeps a policy as.

use std::collections::BTreeMap;

use microgw_compiler::packages::{digest, is_digest};
use serde::{Deserialize, Serialize};

use crate::package::Package;

pub(super) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const ARTIFACT: &str = "application/vnd.micro-gw.policy.v1";
const LAYER: &str = "application/vnd.micro-gw.policy.v1.tar";
/// What other tools call a tar.
const PLAIN_LAYERS: [&str; 2] = [LAYER, "application/vnd.oci.image.layer.v1.tar"];
/// And one that is compressed, as `oras push` makes it of a directory.
const COMPRESSED_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// Of a layer: its title is the directory that its files are in.
const UNPACK: &str = "io.deis.oras.content.unpack";
const TITLE: &str = "org.opencontainers.image.title";
const EMPTY_KIND: &str = "application/vnd.oci.empty.v1+json";
/// The configuration of what has none.
pub(super) const EMPTY: &[u8] = b"{}";

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    schema_version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    config: Descriptor,
    layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    media_type: String,
    pub(super) digest: String,
    pub(super) size: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

// === impl Descriptor ===

impl Descriptor {
    pub(super) fn is_compressed(&self) -> bool {
        self.media_type == COMPRESSED_LAYER
    }

    /// The directory that all of it is in, where it was made of one.
    pub(super) fn below(&self) -> Option<&str> {
        let said = |name: &str| self.annotations.get(name).map(String::as_str);
        said(TITLE).filter(|title| said(UNPACK) == Some("true") && !title.is_empty())
    }
}

// === impl Manifest ===

impl Manifest {
    /// The same bytes wherever it is made.
    pub(super) fn of(package: &Package, tar: &[u8]) -> Vec<u8> {
        let about = &package.manifest;
        let title = |text: String| (TITLE.to_owned(), text);
        let described = |media_type: &str, bytes: &[u8], annotations| Descriptor {
            media_type: media_type.to_owned(),
            digest: digest(bytes),
            size: bytes.len() as u64,
            annotations,
        };
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(OCI_MANIFEST.to_owned()),
            artifact_type: Some(ARTIFACT.to_owned()),
            config: described(EMPTY_KIND, EMPTY, BTreeMap::new()),
            layers: vec![described(LAYER, tar, [title(format!("{}.tar", about.name))].into())],
            annotations: [
                title(about.name.clone()),
                ("org.opencontainers.image.version".to_owned(), about.version.clone()),
                ("org.opencontainers.image.description".to_owned(), about.description.clone()),
            ]
            .into(),
        };
        // Texts and numbers alone.
        serde_json::to_vec(&manifest).unwrap_or_default()
    }

    /// The layer that is the policy.
    pub(super) fn read(bytes: &[u8]) -> Result<Descriptor, String> {
        let manifest: Manifest = serde_json::from_slice(bytes)
            .map_err(|_| "it is no manifest of one image, but perhaps an index of several".to_owned())?;
        if manifest.schema_version != 2 || manifest.media_type.as_deref().is_some_and(|kind| kind != OCI_MANIFEST) {
            return Err(format!("it is not of the kind `{OCI_MANIFEST}`"));
        }
        // Before OCI 1.1 the configuration said it.
        let kind = manifest.artifact_type.as_deref().unwrap_or(&manifest.config.media_type);
        if kind != ARTIFACT {
            return Err(format!("it is not of the kind `{ARTIFACT}`"));
        }
        let Ok([layer]) = <[Descriptor; 1]>::try_from(manifest.layers) else {
            return Err("it has another number of layers than one".to_owned());
        };
        if !PLAIN_LAYERS.contains(&layer.media_type.as_str()) && !layer.is_compressed() {
            return Err(format!("its layer is not of the kind `{LAYER}`, a tar, nor one in `gzip`"));
        }
        if !is_digest(&layer.digest) {
            return Err("its layer has no digest of SHA-256".to_owned());
        }
        Ok(layer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(change: impl FnOnce(&mut serde_json::Value)) -> Result<Descriptor, String> {
        let digest = digest(b"x");
        let mut manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": ARTIFACT,
            "config": { "mediaType": EMPTY_KIND, "digest": digest, "size": 2 },
            "layers": [{ "mediaType": LAYER, "digest": digest, "size": 1 }],
            "subject": { "mediaType": "x", "digest": digest, "size": 1 },
        });
        change(&mut manifest);
        Manifest::read(manifest.to_string().as_bytes())
    }

    type Change = fn(&mut serde_json::Value);

    #[test]
    fn manifests_of_policies_are_read() {
        assert_eq!(manifest(|_| {}).unwrap().size, 1);
        let old = manifest(|manifest| {
            manifest["config"]["mediaType"] = ARTIFACT.into();
            manifest.as_object_mut().unwrap().remove("artifactType");
            manifest["layers"][0]["mediaType"] = PLAIN_LAYERS[1].into();
        });
        assert!(old.is_ok());
        let packed = manifest(|manifest| {
            manifest["layers"][0]["mediaType"] = COMPRESSED_LAYER.into();
            manifest["layers"][0]["annotations"] = serde_json::json!({ TITLE: "stamp", UNPACK: "true" });
        })
        .unwrap();
        assert_eq!((packed.is_compressed(), packed.below()), (true, Some("stamp")));
        let changes: [(Change, &str); 8] = [
            (|manifest| manifest["artifactType"] = "application/vnd.cncf.helm".into(), "not of the kind"),
            (|manifest| drop(manifest.as_object_mut().unwrap().remove("artifactType")), "not of the kind"),
            (|manifest| manifest["schemaVersion"] = 1.into(), "not of the kind"),
            (|manifest| manifest["mediaType"] = "application/vnd.oci.image.index.v1+json".into(), "not of the kind"),
            (|manifest| manifest["layers"] = serde_json::json!([]), "another number of layers"),
            (
                |manifest| manifest["layers"][0]["mediaType"] = "application/vnd.oci.image.layer.v1.tar+zstd".into(),
                "nor one in `gzip`",
            ),
            (|manifest| manifest["layers"][0]["digest"] = "sha256:../../x".into(), "no digest"),
            (|manifest| manifest["layers"][0]["size"] = (-1).into(), "perhaps an index"),
        ];
        for (change, expected) in changes {
            let error = manifest(change).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        assert!(Manifest::read(b"{}").is_err() && Manifest::read(b"").is_err());
    }
}
