//! What a source trusts and shows behind TLS: read, and checked whole, when the source is built.
//!
//! Invariant: what [`TlsOptions::config`] gives, the TLS library takes; an error names the file and what is wrong in it, and shows
//! nothing of a key.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{InconsistentKeys, RootCertStore};
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

use crate::builder::BuildError;
use crate::secret;

/// A file longer than this holds something else. A system's whole store has some 250 KiB.
const MAX_PEM_BYTES: usize = 8 * 1024 * 1024;

/// Certificates or a key.
#[derive(Clone)]
pub(crate) enum Pem {
    Given(Vec<u8>),
    File(PathBuf),
}

impl Pem {
    /// The text, and what an error calls it.
    fn read(&self) -> Result<(Vec<u8>, String), String> {
        match self {
            Self::Given(text) => Ok((text.clone(), "it".to_owned())),
            Self::File(path) => {
                let name = path.display().to_string();
                match secret::read_file(path, MAX_PEM_BYTES) {
                    Ok(text) => Ok((text, name)),
                    Err(why) => Err(format!("{name} {why}")),
                }
            }
        }
    }
}

#[derive(Clone, Default)]
pub(crate) struct TlsOptions {
    pub(crate) roots: Option<Pem>,
    pub(crate) system_roots: bool,
    /// Certificate and key.
    pub(crate) client: Option<(Pem, Pem)>,
}

impl TlsOptions {
    pub(crate) fn config(&self) -> Result<TlsConfig, BuildError> {
        let mut config = TlsConfig::builder();
        if self.system_roots || self.roots.is_some() {
            let mut trusted = Vec::new();
            if let Some(pem) = &self.roots {
                trusted = roots(pem).map_err(|message| refuse("root_certificates", message))?;
            }
            if self.system_roots {
                trusted.extend(system().map_err(|message| refuse("system_roots", message))?);
            }
            config = config.root_certs(RootCerts::new_with_certs(&trusted));
        }
        if let Some((certificate, key)) = &self.client {
            config = config.client_cert(Some(client(certificate, key)?));
        }
        Ok(config.build())
    }
}

fn refuse(option: &'static str, message: String) -> BuildError {
    BuildError::Option { option, message }
}

fn roots(pem: &Pem) -> Result<Vec<Certificate<'static>>, String> {
    let (text, name) = pem.read()?;
    let mut certificates = Vec::new();
    for item in parse_pem(&text) {
        match item {
            Ok(PemItem::Certificate(certificate)) => certificates.push(certificate),
            Ok(_) => return Err(format!("{name} holds something that is no certificate")),
            Err(why) => return Err(format!("{name} is no PEM: {why}")),
        }
    }
    if certificates.is_empty() {
        return Err(format!("{name} holds no certificate"));
    }
    for (at, certificate) in certificates.iter().enumerate() {
        if let Err(why) = RootCertStore::empty().add(CertificateDer::from(certificate.der())) {
            return Err(format!("{name}: its certificate {} cannot be trusted: {why}", at + 1));
        }
    }
    Ok(certificates)
}

/// The system's store, without what in it is not understood.
fn system() -> Result<Vec<Certificate<'static>>, String> {
    let found = rustls_native_certs::load_native_certs();
    let certificates: Vec<_> = found
        .certs
        .iter()
        .filter(|der| RootCertStore::empty().add(CertificateDer::from(der.as_ref())).is_ok())
        .map(|der| Certificate::from_der(der.as_ref()).to_owned())
        .collect();
    if certificates.is_empty() {
        let why = found.errors.first().map_or_else(String::new, |why| format!(": {why}"));
        return Err(format!("the system's store of certificates has none that can be trusted{why}"));
    }
    Ok(certificates)
}

fn client(certificate: &Pem, key: &Pem) -> Result<ClientCert, BuildError> {
    let no_certificate = |message| refuse("client_certificate", message);
    let (text, name) = certificate.read().map_err(no_certificate)?;
    let mut chain = Vec::new();
    for item in parse_pem(&text) {
        match item {
            Ok(PemItem::Certificate(certificate)) => chain.push(certificate),
            // One file may hold both.
            Ok(_) => {}
            Err(why) => return Err(no_certificate(format!("{name} is no PEM: {why}"))),
        }
    }
    if chain.is_empty() {
        return Err(no_certificate(format!("{name} holds no certificate")));
    }
    let (private, der) = private_key(key).map_err(|message| refuse("client_key", message))?;

    // The TLS library says whether the two are a pair only once it is given both.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let ders = chain.iter().map(|certificate| CertificateDer::from(certificate.der().to_vec())).collect();
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|why| no_certificate(why.to_string()))?
        .with_root_certificates(RootCertStore::empty())
        .with_client_auth_cert(ders, der)
        .map_err(|why| match why {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                refuse("client_key", format!("{} is not the key of the certificate", name_of(key)))
            }
            rustls::Error::InvalidCertificate(why) => no_certificate(format!("{name}: its certificate: {why}")),
            why => refuse("client_key", format!("{}: {why}", name_of(key))),
        })?;
    Ok(ClientCert::new_with_certs(&chain, private))
}

fn name_of(pem: &Pem) -> String {
    match pem {
        Pem::Given(_) => "it".to_owned(),
        Pem::File(path) => path.display().to_string(),
    }
}

/// For the HTTP client, and for the TLS library.
fn private_key(pem: &Pem) -> Result<(PrivateKey<'static>, PrivateKeyDer<'static>), String> {
    let (text, name) = pem.read()?;
    let mut found = None;
    for item in parse_pem(&text) {
        match item {
            Ok(PemItem::PrivateKey(key)) if found.is_none() => found = Some(key),
            Ok(PemItem::PrivateKey(_)) => return Err(format!("{name} holds more than one key")),
            Ok(_) => {}
            Err(why) => return Err(format!("{name} is no PEM: {why}")),
        }
    }
    if let (Some(key), Ok(der)) = (found, PrivateKeyDer::from_pem_slice(&text)) {
        return Ok((key, der));
    }
    let is_encrypted = text.windows(9).any(|window| window == b"ENCRYPTED");
    Err(match is_encrypted {
        true => format!("{name} holds an encrypted key, and there is nobody to ask for its password: decrypt it"),
        false => format!("{name} holds no key"),
    })
}
