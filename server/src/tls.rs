//! TLS of the listeners: the certificate and key of a configuration, and what a connection speaks with them.
//!
//! Invariant: what is served with is a certificate and the key that belongs to it; another pair takes its place whole, for handshakes
//! that begin afterwards.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{Error, ServerConfig};

use crate::config::TlsConfig;

/// The largest file of a certificate or key.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// What connections speak TLS with.
pub(crate) struct Tls {
    acceptor: TlsAcceptor,
    pair: Arc<Pair>,
}

struct Pair(RwLock<Arc<CertifiedKey>>);

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pair")
    }
}

impl ResolvesServerCert for Pair {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// A certificate and its key that can take the place of others.
pub(crate) struct NewPair(Arc<CertifiedKey>);

impl NewPair {
    /// As the files are now.
    ///
    /// # Errors
    /// As [`Tls::load`].
    pub(crate) fn read(config: &TlsConfig) -> Result<Self, String> {
        read(config).map(Self)
    }
}

impl Tls {
    /// # Errors
    /// A file cannot be read or is not what it should be, or the key is another certificate's; the message names the file.
    pub(crate) fn load(config: &TlsConfig) -> Result<Self, String> {
        let pair = Arc::new(Pair(RwLock::new(read(config)?)));
        let provider = Arc::new(default_provider());
        let made = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("tls: {error}"))?;
        let mut made = made.with_no_client_auth().with_cert_resolver(Arc::clone(&pair) as Arc<dyn ResolvesServerCert>);
        made.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(made)), pair })
    }

    /// Takes another certificate and key.
    pub(crate) fn renew(&self, pair: NewPair) {
        *self.pair.0.write().unwrap_or_else(PoisonError::into_inner) = pair.0;
    }

    pub(crate) fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }
}

fn read(config: &TlsConfig) -> Result<Arc<CertifiedKey>, String> {
    let (certificate, key) = (&config.certificate, &config.key);
    let pem = bytes(certificate, "certificate")?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let chain = chain.map_err(|error| wrong(certificate, "certificate", &error.to_string()))?;
    if chain.is_empty() {
        return Err(wrong(certificate, "certificate", "there is no certificate (-----BEGIN CERTIFICATE-----) in it"));
    }
    let private = PrivateKeyDer::from_pem_slice(&bytes(key, "key")?).map_err(|error| {
        let why = match error {
            pem::Error::NoItemsFound => {
                "there is no private key without a passphrase (-----BEGIN PRIVATE KEY-----) in it"
            }
            _ => "it is no PEM file",
        };
        wrong(key, "key", why)
    })?;
    let pair = CertifiedKey::from_der(chain, private, &default_provider()).map_err(|error| match error {
        Error::InconsistentKeys(_) => wrong(key, "key", &format!("it is not that of {}", certificate.display())),
        Error::InvalidCertificate(_) => wrong(certificate, "certificate", &error.to_string()),
        _ => wrong(key, "key", &error.to_string()),
    })?;
    Ok(Arc::new(pair))
}

fn bytes(path: &Path, what: &str) -> Result<Vec<u8>, String> {
    let length = std::fs::metadata(path).map_err(|error| wrong(path, what, &error.to_string()))?.len();
    if length > MAX_FILE_BYTES {
        return Err(wrong(path, what, &format!("it is larger than {MAX_FILE_BYTES} bytes")));
    }
    std::fs::read(path).map_err(|error| wrong(path, what, &error.to_string()))
}

fn wrong(path: &Path, what: &str, why: &str) -> String {
    format!("tls: {what}: {}: {why}", path.display())
}
