//! What was set of how an HTTP origin is reached.

use wtcache_http_source::{HttpSourceBuilder, Proxy, Secret};

#[derive(Clone, Default)]
pub(crate) struct Wire {
    pub(crate) compression: Option<bool>,
    /// Headers whose values stand elsewhere.
    pub(crate) headers: Vec<(String, Secret)>,
    pub(crate) auth: Option<Auth>,
    pub(crate) roots: Option<String>,
    pub(crate) system_roots: Option<bool>,
    pub(crate) certificate: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) proxy: Option<Proxy>,
}

#[derive(Clone)]
pub(crate) enum Auth {
    Bearer(Secret),
    /// A user and the password.
    Basic(String, Secret),
}

impl Wire {
    /// The builder with all of it; or the member that lacks another.
    pub(crate) fn apply(&self, mut builder: HttpSourceBuilder) -> Result<HttpSourceBuilder, &'static str> {
        if let Some(asked_for) = self.compression {
            builder = builder.compression(asked_for);
        }
        for (name, secret) in &self.headers {
            builder = builder.header_from(name, secret.clone());
        }
        match &self.auth {
            None => {}
            Some(Auth::Bearer(token)) => builder = builder.bearer(token.clone()),
            Some(Auth::Basic(user, password)) => builder = builder.basic_auth(user, password.clone()),
        }
        if let Some(path) = &self.roots {
            builder = builder.root_certificates_file(path);
        }
        if let Some(trusted) = self.system_roots {
            builder = builder.system_roots(trusted);
        }
        match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => builder = builder.client_certificate_files(certificate, key),
            (Some(_), None) => return Err("http.tls.key"),
            (None, Some(_)) => return Err("http.tls.certificate"),
            (None, None) => {}
        }
        if let Some(proxy) = &self.proxy {
            builder = builder.proxy(proxy.clone());
        }
        Ok(builder)
    }

    /// The path of the member that the HTTP source's option, or header, is set by, where it is one of these.
    pub(crate) fn member(&self, option: &str) -> Option<&'static str> {
        match option {
            "root_certificates" => Some("http.tls.roots"),
            "system_roots" => Some("http.tls.system_roots"),
            "client_certificate" => Some("http.tls.certificate"),
            "client_key" => Some("http.tls.key"),
            // As the source names it where it made it itself.
            "authorization" if self.auth.is_some() => Some("http.auth"),
            _ => None,
        }
    }
}
