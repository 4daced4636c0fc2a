//! How a table's origin is reached: what is trusted and shown behind TLS, proxies, credentials.

use std::path::PathBuf;

use wtcache_http_source::{HttpSourceBuilder, Proxy, Secret};

/// What lies between this server and an origin. Paths that are not absolute begin where the server runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WireConfig {
    /// Whether answers are asked for compressed; `None`: unless preconditions are honoured.
    pub compression: Option<bool>,
    /// What is trusted and shown behind TLS.
    pub tls: OriginTls,
    /// By default none.
    pub proxy: Proxy,
    /// By default none.
    pub auth: Option<OriginAuth>,
}

/// What is trusted and shown behind TLS; by default the public roots built in, and nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OriginTls {
    /// A file with the certificates that an origin's own is checked against.
    pub roots: Option<PathBuf>,
    /// Whether those of the system are trusted.
    pub system_roots: bool,
    /// The files with the certificate and the key that an origin is shown which asks for one.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// Who this server is to the origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OriginAuth {
    /// `Authorization: Bearer`, with this token.
    Bearer(Secret),
    /// `Authorization: Basic`.
    Basic {
        /// Without a colon.
        user: String,
        /// The password.
        password: Secret,
    },
}

impl WireConfig {
    /// The builder with all of it.
    pub(crate) fn apply(&self, mut builder: HttpSourceBuilder) -> HttpSourceBuilder {
        if let Some(asked_for) = self.compression {
            builder = builder.compression(asked_for);
        }
        if let Some(path) = &self.tls.roots {
            builder = builder.root_certificates_file(path);
        }
        if let Some((certificate, key)) = &self.tls.client {
            builder = builder.client_certificate_files(certificate, key);
        }
        match &self.auth {
            None => {}
            Some(OriginAuth::Bearer(token)) => builder = builder.bearer(token.clone()),
            Some(OriginAuth::Basic { user, password }) => builder = builder.basic_auth(user, password.clone()),
        }
        builder.system_roots(self.tls.system_roots).proxy(self.proxy.clone())
    }
}
