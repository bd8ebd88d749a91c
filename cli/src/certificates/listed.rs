//! What the listener presents to clients that ask for certain names. Which names these are is settled at the start: they are part of the
//! listener, which does not change while it runs.

use std::path::Path;

use anyhow::{Context as _, bail};
use microgw_compiler::hosts;
use microgw_compiler::settings::{ListedCertificate, TlsIdentity};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

use super::part::Part;
use super::{files_of_identity, identity, store};
use crate::config::{CertificateFiles, IdentityFiles};

pub struct Listed {
    pub part: Part<TlsIdentity>,
    server_names: Vec<String>,
}

pub fn load(all: &[CertificateFiles]) -> anyhow::Result<Vec<Listed>> {
    let mut loaded: Vec<Listed> = Vec::new();
    for (index, files) in all.iter().enumerate() {
        let listed = Listed::load(index, files).with_context(|| files.named.clone())?;
        let is_taken = |name: &&String| loaded.iter().any(|other| other.server_names.contains(*name));
        if let Some(name) = listed.server_names.iter().find(is_taken) {
            let shown = shown(files).display();
            bail!(
                "the certificate in `{shown}` names `{name}`, which another is for: say in `serverNames` which it is for"
            );
        }
        loaded.push(listed);
    }
    Ok(loaded)
}

// === impl Listed ===

impl Listed {
    pub fn load(index: usize, files: &CertificateFiles) -> anyhow::Result<Listed> {
        let own = if files.server_names.is_empty() { names(&presented(files)?, shown(files))? } else { Vec::new() };
        let server_names = if own.is_empty() { files.server_names.clone() } else { own.clone() };
        let role = format!("listener certificates[{index}]");
        let files = files.clone();
        let part = Part::load(role, files_of_identity(Some(&files.files)), move || {
            let identity = presented(&files)?;
            if own.is_empty() {
                warn_of_others(&files.server_names, &identity, shown(&files))?;
                return Ok(identity);
            }
            let (now, shown) = (names(&identity, shown(&files))?, shown(&files).display());
            if let Some(gone) = own.iter().find(|name| !now.contains(name)) {
                bail!("the certificate in `{shown}` does not name `{gone}` any more: other names take a restart");
            }
            Ok(identity)
        })?;
        Ok(Listed { part, server_names })
    }

    pub fn settings(&self) -> ListedCertificate {
        ListedCertificate { server_names: self.server_names.clone(), identity: self.part.value().clone() }
    }
}

fn presented(files: &CertificateFiles) -> anyhow::Result<TlsIdentity> {
    let presented = identity::presented(&files.files)?;
    presented.with_context(|| format!("there is nothing in `{}` to present", shown(files).display()))
}

/// Clients that ask for a name take no certificate that has not got it.
fn warn_of_others(asked: &[String], identity: &TlsIdentity, shown: &Path) -> anyhow::Result<()> {
    let path = shown.display();
    for name in missing(asked, &names_in(identity)?) {
        tracing::warn!(%path, name, "the certificate has not got this one of its `serverNames`: clients that ask for it will refuse it");
    }
    Ok(())
}

/// Which of `asked` no name in the certificate stands for.
fn missing<'n>(asked: &'n [String], inside: &[String]) -> Vec<&'n str> {
    let stands = |name: &str| {
        inside.iter().any(|known| known == name)
            || name
                .split_once('.')
                .is_some_and(|(_, above)| inside.iter().any(|known| known.strip_prefix("*.") == Some(above)))
    };
    asked.iter().map(String::as_str).filter(|name| !stands(name)).collect()
}

/// The DNS names that are in a certificate. At least one.
fn names(identity: &TlsIdentity, shown: &Path) -> anyhow::Result<Vec<String>> {
    let names = names_in(identity)?;
    if names.is_empty() {
        bail!("the certificate in `{}` names no server: say in `serverNames` which it is for", shown.display());
    }
    Ok(names)
}

/// RFC 9525.
fn names_in(identity: &TlsIdentity) -> anyhow::Result<Vec<String>> {
    let chain = store::certificates_from_pem(identity.certificate_chain.as_bytes())?;
    let leaf = chain.first().context("there is no certificate in it")?;
    let (_, parsed) = X509Certificate::from_der(leaf)?;
    let alternatives = parsed.subject_alternative_name()?;
    let mut names: Vec<String> = alternatives
        .iter()
        .flat_map(|alternatives| &alternatives.value.general_names)
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => hosts::parse(name).ok(),
            _ => None,
        })
        .collect();
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

fn shown(files: &CertificateFiles) -> &Path {
    match &files.files {
        IdentityFiles::Pem { certificate_chain, .. } => certificate_chain,
        IdentityFiles::Store(entry) => &entry.store.path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_certificate_has_not_got() {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let asked = names(&["a.example", "b.a.example", "c.b.a.example", "*.a.example", "*.b.example"]);
        assert_eq!(missing(&asked, &names(&["a.example", "*.a.example"])), ["c.b.a.example", "*.b.example"]);
        assert_eq!(missing(&asked, &[]).len(), 5);
    }
}
