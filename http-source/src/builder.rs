//! The options of a source, each with its default, checked in one place when the source is built.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use ureq::Agent;
use ureq::http::header;
use wtcache::{Clock, Declared, SystemClock, VersionOrder};

use crate::attempt::Traffic;
use crate::batch::{BatchGet, Lists};
use crate::breaker::{Breaker, Fuse};
use crate::coding;
use crate::create::{CreatePost, Creates};
use crate::credentials::{Credentials, Recipe, Scheme};
use crate::exchange::Exchanges;
use crate::freshness::{Freshness, Heuristic, Policy};
use crate::gate::Gate;
use crate::headers::{self, Headers};
use crate::list::{ListGet, Listable};
use crate::proxy::{Proxy, Route};
use crate::resolve::HostResolver;
use crate::retry::Retries;
use crate::secret::Secret;
use crate::shape::{Pointers, Shape};
use crate::source::{Answers, HttpSource, Limits, RecordCheck};
use crate::template::Template;
use crate::tls::{Pem, TlsOptions};
use crate::transport::{self, BUFFER_BYTES};

/// Times longer than this are a mistake of units.
const MAX_TIME: Duration = Duration::from_secs(24 * 60 * 60);

/// More attempts than this of one call, or retries than so many times the traffic, are a slip of the pen.
const MAX_RETRIES: u32 = 100;
const MAX_BUDGET_PERCENT: u32 = 10_000;

/// The options of an [`HttpSource`]; from [`HttpSource::builder`].
#[must_use]
pub struct HttpSourceBuilder {
    url: String,
    headers: Vec<(String, String)>,
    secrets: Vec<(String, Scheme, Secret)>,
    tls: TlsOptions,
    proxy: Proxy,
    timeout: Duration,
    connect_timeout: Duration,
    name_ttl: Duration,
    body_limit: usize,
    compression: Option<bool>,
    max_idle_connections: usize,
    max_idle_age: Duration,
    write_max_idle_age: Duration,
    policy: Policy,
    last_modified: bool,
    pointers: Pointers,
    batch: Option<BatchGet>,
    create: Option<CreatePost>,
    list: Option<ListGet>,
    check: Arc<RecordCheck>,
    declared: Declared,
    max_in_flight: usize,
    max_queued: usize,
    retries: Retries,
    breaker: Option<Breaker>,
    idempotency_header: String,
    name: Option<String>,
    clock: Option<Arc<dyn Clock>>,
}

impl HttpSourceBuilder {
    pub(crate) fn new(url: String) -> Self {
        Self {
            url,
            headers: Vec::new(),
            secrets: Vec::new(),
            tls: TlsOptions::default(),
            proxy: Proxy::none(),
            timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(1),
            name_ttl: Duration::from_secs(30),
            body_limit: 1024 * 1024,
            compression: None,
            max_idle_connections: 16,
            max_idle_age: Duration::from_secs(15),
            write_max_idle_age: Duration::from_secs(2),
            policy: Policy::default(),
            last_modified: false,
            pointers: Pointers::default(),
            batch: None,
            create: None,
            list: None,
            check: Arc::new(|_, body| if body.is_empty() { Err("the body is empty".into()) } else { Ok(body) }),
            declared: Declared::default(),
            max_in_flight: 64,
            max_queued: 1024,
            retries: Retries::default(),
            breaker: Some(Breaker::default()),
            idempotency_header: "Idempotency-Key".to_owned(),
            name: None,
            clock: None,
        }
    }

    /// A header of every request. One of the defaults (`Accept: application/json`, `User-Agent: wtcache/<version>`, on a
    /// put `Content-Type: application/json`) is replaced by it; the same name twice is sent twice. The value appears in
    /// no error and no debug output.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The same with a value that stands elsewhere. One in a file is read again where the origin answers 401, as by
    /// [`bearer`](Self::bearer).
    pub fn header_from(mut self, name: impl Into<String>, value: impl Into<Secret>) -> Self {
        self.secrets.push((name.into(), Scheme::Bare, value.into()));
        self
    }

    /// Requests carry `Authorization: Bearer`, with this token.
    ///
    /// A token in a file ([`Secret::file`]) may be replaced while the source runs: where the origin answers 401, the file is read
    /// again, once for all requests that were answered so at the time. If it holds another token, the request is sent again with that, once, within
    /// the same attempt. (A write too, under the same idempotency key: what was answered 401 was not applied.) If not, or if it cannot be read, the 401 stands.
    ///
    /// ```
    /// use wtcache_http_source::{HttpSource, Secret};
    ///
    /// let builder = HttpSource::builder("https://inventory.internal/items/{id}").bearer(Secret::file("/run/secrets/token"));
    /// # drop(builder);
    /// ```
    pub fn bearer(mut self, token: impl Into<Secret>) -> Self {
        self.secrets.push((header::AUTHORIZATION.to_string(), Scheme::Bearer, token.into()));
        self
    }

    /// Requests carry `Authorization: Basic`, with this user, in which there is no colon, and password; one in a file as by
    /// [`bearer`](Self::bearer).
    pub fn basic_auth(mut self, user: impl Into<String>, password: impl Into<Secret>) -> Self {
        self.secrets.push((header::AUTHORIZATION.to_string(), Scheme::Basic(user.into()), password.into()));
        self
    }

    /// The certificates in PEM that an https origin's own is checked against, instead of the public ones built in.
    pub fn root_certificates_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.tls.roots = Some(Pem::Given(pem.into()));
        self
    }

    /// The same, in a file, which is read when the source is built.
    pub fn root_certificates_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.tls.roots = Some(Pem::File(path.into()));
        self
    }

    /// Whether an https origin's certificate is checked against those that the system trusts: beside those given, if there are any, else instead of the public
    /// ones built in. Default false.
    pub fn system_roots(mut self, trusted: bool) -> Self {
        self.tls.system_roots = trusted;
        self
    }

    /// The certificate, with those between it and its root, and its key, all in PEM, that an https origin is shown which asks for one. The
    /// key is not encrypted.
    pub fn client_certificate_pem(mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.tls.client = Some((Pem::Given(certificate.into()), Pem::Given(key.into())));
        self
    }

    /// The same, in files, which are read when the source is built; both may be one.
    pub fn client_certificate_files(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.tls.client = Some((Pem::File(certificate.into()), Pem::File(key.into())));
        self
    }

    /// The proxy that requests go through. Default: [`Proxy::none`].
    pub fn proxy(mut self, proxy: Proxy) -> Self {
        self.proxy = proxy;
        self
    }

    /// The longest that a call may take in all, with every attempt and pause; the deadline of the call counts where it is
    /// earlier. Default 5 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The longest that connecting may take, and then again the TLS handshake, within the timeout. Default 1 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long the addresses of the origin's name are kept. Default 30 s; with 0 each connection looks it up.
    pub fn name_ttl(mut self, ttl: Duration) -> Self {
        self.name_ttl = ttl;
        self
    }

    /// The largest record in bytes; of a compressed one, decoded. Default 1 MiB.
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }

    /// Whether answers are asked for compressed (`Accept-Encoding: gzip, br`) or not (`identity`). What comes compressed is decoded
    /// in any case. Default: they are, but where [`honours_preconditions`](Self::honours_preconditions) is declared: servers that compress on the way give
    /// such an answer a weak ETag, or one of its own, on which no write can be conditional.
    pub fn compression(mut self, asked_for: bool) -> Self {
        self.compression = Some(asked_for);
        self
    }

    /// How many requests are at the origin at once. Default 64. Whoever comes then waits, in the order of arrival, within its
    /// deadline: a write that meets the deadline so is rejected, since nothing was sent.
    pub fn max_in_flight(mut self, requests: usize) -> Self {
        self.max_in_flight = requests;
        self
    }

    /// How many calls may wait so. Default 1,024; with 0 none. One more is refused at once, with
    /// [`NotTried::QueueFull`](crate::NotTried::QueueFull).
    pub fn max_queued(mut self, calls: usize) -> Self {
        self.max_queued = calls;
        self
    }

    /// When calls are attempted again. Default: [`Retries::default`], loads twice and writes never.
    pub fn retries(mut self, retries: Retries) -> Self {
        self.retries = retries;
        self
    }

    /// When an origin that fails is left alone. Default: [`Breaker::default`].
    pub fn breaker(mut self, breaker: Breaker) -> Self {
        self.breaker = Some(breaker);
        self
    }

    /// An origin that fails is asked all the same.
    pub fn no_breaker(mut self) -> Self {
        self.breaker = None;
        self
    }

    /// What spans and events call the origin. Default: the scheme, host and port of its URL.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The clock by which pauses, the queue, the breaker and the call's deadline are counted; what a socket waits is counted by the
    /// system's. Default: [`SystemClock`]. For tests; the cache's own should be the same.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// How many idle connections are kept. Default 16; with 0 every request connects anew.
    pub fn max_idle_connections(mut self, connections: usize) -> Self {
        self.max_idle_connections = connections;
        self
    }

    /// How long an idle connection is kept. Default 15 s.
    pub fn max_idle_age(mut self, age: Duration) -> Self {
        self.max_idle_age = age;
        self
    }

    /// The idle age from which on a connection is not used for a write: origins close idle connections, and a write
    /// that meets the close ends in doubt. Default 2 s; with 0 every write connects anew.
    pub fn write_max_idle_age(mut self, age: Duration) -> Self {
        self.write_max_idle_age = age;
        self
    }

    /// Who says how long a record may be served. Default [`Freshness::Table`].
    pub fn freshness(mut self, freshness: Freshness) -> Self {
        self.policy.freshness = freshness;
        self
    }

    /// With [`Freshness::Origin`], an answer that says when its record was last modified, and nothing of how long it is fresh, is
    /// so for this share (of 1) of the time that it had then been as it is, and for no longer than `longest` (RFC 9111, 4.2.2; a tenth is usual).
    /// Default: the cache's options say.
    pub fn heuristic_lifetime(mut self, share: f64, longest: Duration) -> Self {
        self.policy.heuristic = Some(Heuristic { share, longest });
        self
    }

    /// An answer without an ETag has its `Last-Modified` for a version, so that loads ask with `If-Modified-Since`. A date tells
    /// changes of one second apart only where the answer came in a later one, and is left out else. No write can be made
    /// conditional on a date; so not together with [`honours_preconditions`](Self::honours_preconditions). Default false.
    pub fn last_modified(mut self, taken: bool) -> Self {
        self.last_modified = taken;
        self
    }

    /// Where in the body of an answer the record is: a JSON pointer (RFC 6901), such as `/data`. Default `""`: the body is the
    /// record.
    pub fn record_at(mut self, pointer: impl Into<String>) -> Self {
        self.pointers.record_at = pointer.into();
        self
    }

    /// There is an array with the record as its one member, as where `/items?id=eq.{id}` is a query. An empty one says that
    /// there is none; one with more members is an error. Default false.
    pub fn record_in_array(mut self, in_array: bool) -> Self {
        self.pointers.in_array = in_array;
        self
    }

    /// Where in the body of a put the record is to stand: a JSON pointer to members of objects. Default `""`: the record is the
    /// body.
    pub fn put_at(mut self, pointer: impl Into<String>) -> Self {
        self.pointers.put_at = pointer.into();
        self
    }

    /// The origin gives the records of several keys with one request. Default: it does not, and they are loaded one by one.
    pub fn batch(mut self, batch: BatchGet) -> Self {
        self.batch = Some(batch);
        self
    }

    /// The origin makes records whose keys it names. Default: it does not, and a create is refused.
    pub fn create(mut self, create: CreatePost) -> Self {
        self.create = Some(create);
        self
    }

    /// The origin lists records by queries of its own: for [`HttpSource::list`]. Default: it does not, and that is refused.
    pub fn list(mut self, list: ListGet) -> Self {
        self.list = Some(list);
        self
    }

    /// Tells whether a body is a record of the table: from the key and the body it gives the bytes to cache, or says why
    /// not. Then a load fails, and a put is applied, unseen. Default: any body that is not empty. It must not panic.
    pub fn record_check(
        mut self,
        check: impl Fn(&[u8], Vec<u8>) -> Result<Vec<u8>, String> + Send + Sync + 'static,
    ) -> Self {
        self.check = Arc::new(check);
        self
    }

    /// Declares how long after its send a write may still take effect: [`Declared::settle_window`]. Default 10 s.
    pub fn settle_window(mut self, window: Duration) -> Self {
        self.declared.settle_window = window;
        self
    }

    /// Declares [`Declared::stores_verbatim`]. Then an answer to a put without a body confirms what was sent.
    pub fn stores_verbatim(mut self, declared: bool) -> Self {
        self.declared.stores_verbatim = declared;
        self
    }

    /// Declares [`Declared::honours_preconditions`]: `If-Match` and `If-None-Match: *` are checked in one step with the
    /// write.
    pub fn honours_preconditions(mut self, declared: bool) -> Self {
        self.declared.honours_preconditions = declared;
        self
    }

    /// Declares [`Declared::honours_idempotency`]. Then writes carry their key, 32 hexadecimal digits in quotes, the same in all attempts
    /// and replays. (With retries of writes they do so undeclared too; but then nothing is concluded from it.)
    pub fn honours_idempotency(mut self, declared: bool) -> Self {
        self.declared.honours_idempotency = declared;
        self
    }

    /// The name of the header with a write's key. Default `Idempotency-Key`, where the key stands in quotes, as the IETF's draft has it; under
    /// another name it stands without.
    pub fn idempotency_header(mut self, name: impl Into<String>) -> Self {
        self.idempotency_header = name.into();
        self
    }

    /// Declares [`Declared::versions_never_reused`]: no ETag comes back for the same key, also not after a delete.
    pub fn versions_never_reused(mut self, declared: bool) -> Self {
        self.declared.versions_never_reused = declared;
        self
    }

    /// Declares [`Declared::version_order`]: how the ETags of a record stand to each other. By it, what the origin tells of its changes by itself
    /// ([`HttpSource::subscribe_sse`]) is known to be news.
    pub fn version_order(mut self, order: VersionOrder) -> Self {
        self.declared.version_order = order;
        self
    }

    /// The source. It connects with its first request.
    ///
    /// # Errors
    /// An option is not usable; the error names it. Nothing was started.
    pub fn build(self) -> Result<HttpSource, BuildError> {
        let template = Template::parse(&self.url)?;
        let (headers, credentials) = self.headers()?;
        for (option, time) in [("timeout", self.timeout), ("connect_timeout", self.connect_timeout)] {
            if time.is_zero() || time > MAX_TIME {
                let message = format!("{time:?} is not between 1 ns and {MAX_TIME:?}");
                return Err(BuildError::Option { option, message });
            }
        }
        for (option, time) in [
            ("name_ttl", self.name_ttl),
            ("max_idle_age", self.max_idle_age),
            ("write_max_idle_age", self.write_max_idle_age),
        ] {
            if time > MAX_TIME {
                return Err(BuildError::Option { option, message: format!("{time:?} is more than {MAX_TIME:?}") });
            }
        }
        self.check_traffic()?;
        let idempotency_header = headers.idempotency(&self.idempotency_header)?;
        if self.body_limit == 0 {
            return Err(BuildError::Option { option: "body_limit", message: "no record fits into 0 bytes".into() });
        }
        if let Some(Heuristic { share, .. }) = self.policy.heuristic
            && !(0.0..=1.0).contains(&share)
        {
            let message = format!("{share} is not a share from 0 to 1");
            return Err(BuildError::Option { option: "heuristic_lifetime", message });
        }
        if self.last_modified && self.declared.honours_preconditions {
            let message = "a write cannot be conditional on a date; leave honours_preconditions out".into();
            return Err(BuildError::Option { option: "last_modified", message });
        }
        let shape = Shape::new(&self.pointers)?;
        let compressed = self.compression.unwrap_or(!self.declared.honours_preconditions);
        let lists = self.batch.as_ref().map(|batch| Lists::new(batch, &template)).transpose()?;
        let creates = self.create.as_ref().map(|create| Creates::new(create, &template)).transpose()?;
        let listable = self.list.as_ref().map(|list| Listable::new(list, &template)).transpose()?;
        let mut declared = self.declared;
        declared.creates = creates.is_some();
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .accept_encoding(if compressed { coding::TAKEN } else { coding::NONE })
            .no_delay(true)
            .input_buffer_size(BUFFER_BYTES)
            .output_buffer_size(BUFFER_BYTES)
            .max_response_header_size(BUFFER_BYTES)
            .max_idle_connections(self.max_idle_connections)
            .max_idle_connections_per_host(self.max_idle_connections)
            .max_idle_age(self.max_idle_age)
            // Bounds the TLS handshake; all else is bounded by the transport (see docs/decisions/0003-http-client.md).
            .timeout_connect(Some(self.connect_timeout));
        config = config.tls_config(self.tls.config()?);
        let route = self
            .proxy
            .route(template.is_https(), template.host(), template.port())
            .map_err(|message| BuildError::Option { option: "proxy", message })?;
        let (host, port) = route.as_ref().map_or((template.host(), template.port()), |way| (&*way.host, way.port));
        let resolver = HostResolver::new(host, port, self.name_ttl);
        let of_requests = |way: &Route| way.authorization.clone().filter(|_| !way.is_tunnel);
        let proxy_authorization = route.as_ref().and_then(of_requests);
        let connections = Arc::default();
        let connector = transport::connector(self.connect_timeout, route, &connections);
        let agent = Agent::with_parts(config.build(), connector, resolver);
        let limits = Limits { timeout: self.timeout, body: self.body_limit, write_idle: self.write_max_idle_age };
        let answers = Answers { policy: self.policy, shape, by_date: self.last_modified, check: self.check };
        let carries_key = declared.honours_idempotency || self.retries.writes > 0;
        let name: Arc<str> = self.name.unwrap_or_else(|| template.origin()).into();
        Ok(HttpSource {
            exchanges: Arc::new(Exchanges {
                name: Arc::clone(&name),
                agent,
                credentials,
                proxy_authorization,
                requests: AtomicU64::new(0),
            }),
            template,
            headers,
            connections,
            limits,
            answers,
            declared,
            lists,
            listable,
            creates,
            traffic: Traffic::new(
                self.clock.unwrap_or_else(|| Arc::new(SystemClock::new())),
                Gate::new(self.max_in_flight, self.max_queued),
                self.breaker.map(|breaker| Fuse::new(breaker, name)),
                self.retries,
            ),
            idempotency_header: carries_key.then_some(idempotency_header),
        })
    }

    /// The headers whose values stay, and those in files.
    fn headers(&self) -> Result<(Headers, Credentials), BuildError> {
        let refuse = |name: &str, why: String| BuildError::Header { name: name.escape_debug().to_string(), why };
        let mut fixed = self.headers.clone();
        let mut changing: Vec<Recipe> = Vec::new();
        for (name, scheme, secret) in &self.secrets {
            let parsed = headers::name(name)?;
            let is_twice = |other: &str| other.eq_ignore_ascii_case(name);
            if fixed.iter().any(|(other, _)| is_twice(other)) || changing.iter().any(|r| is_twice(r.name.as_str())) {
                return Err(refuse(name, "it is given twice".to_owned()));
            }
            if let Scheme::Basic(user) = scheme
                && user.contains(':')
            {
                return Err(refuse(name, "the user has a colon in it".to_owned()));
            }
            if secret.may_change() {
                changing.push(Recipe { name: parsed, scheme: scheme.clone(), secret: secret.clone() });
                continue;
            }
            let value = scheme.value(secret).map_err(|why| refuse(name, why))?;
            let value = value.to_str().map_err(|_| refuse(name, "the value is not ASCII".to_owned()))?;
            fixed.push((name.clone(), value.to_owned()));
        }
        let credentials = Credentials::new(changing).map_err(|(name, why)| refuse(name.as_str(), why))?;
        Ok((Headers::new(&fixed)?, credentials))
    }

    fn check_traffic(&self) -> Result<(), BuildError> {
        let refuse = |option, message: String| Err(BuildError::Option { option, message });
        let time = |option, time: Duration| {
            if time.is_zero() || time > MAX_TIME {
                return refuse(option, format!("{time:?} is not between 1 ns and {MAX_TIME:?}"));
            }
            Ok(())
        };
        if self.max_in_flight == 0 {
            return refuse("max_in_flight", "no request could be sent".to_owned());
        }
        let retries = &self.retries;
        for (option, times) in [("retries.loads", retries.loads), ("retries.writes", retries.writes)] {
            if times > MAX_RETRIES {
                return refuse(option, format!("{times} are more than {MAX_RETRIES}"));
            }
        }
        if retries.cap > MAX_TIME {
            return refuse("retries.cap", format!("{:?} is more than {MAX_TIME:?}", retries.cap));
        }
        if retries.base > retries.cap {
            return refuse("retries.cap", format!("{:?} is less than retries.base, {:?}", retries.cap, retries.base));
        }
        if let Some(timeout) = retries.attempt_timeout {
            time("retries.attempt_timeout", timeout)?;
        }
        if retries.budget_percent > MAX_BUDGET_PERCENT {
            let message = format!("{} percent are more than {MAX_BUDGET_PERCENT}", retries.budget_percent);
            return refuse("retries.budget_percent", message);
        }
        let Some(breaker) = &self.breaker else { return Ok(()) };
        time("breaker.window", breaker.window)?;
        time("breaker.open_for", breaker.open_for)?;
        if breaker.calls == 0 {
            return refuse("breaker.calls", "no call is no reason to open".to_owned());
        }
        if !(1..=100).contains(&breaker.failures_percent) {
            let message = format!("{} percent are not between 1 and 100", breaker.failures_percent);
            return refuse("breaker.failures_percent", message);
        }
        Ok(())
    }
}

/// Header values may be secrets: names only.
impl fmt::Debug for HttpSourceBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpSourceBuilder")
            .field("headers", &self.headers.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .field("secrets", &self.secrets.iter().map(|(name, _, secret)| (name, secret)).collect::<Vec<_>>())
            .field("proxy", &self.proxy)
            .field("timeout", &self.timeout)
            .field("declared", &self.declared)
            .finish_non_exhaustive()
    }
}

/// Why a source was not built.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// The URL template; what is wrong with it.
    Url(String),
    /// A configured header.
    Header {
        /// Its name.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// Another option.
    Option {
        /// Its name.
        option: &'static str,
        /// What is wrong with it.
        message: String,
    },
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(why) => write!(f, "the URL template: {why}"),
            Self::Header { name, why } => write!(f, "the header {name}: {why}"),
            Self::Option { option, message } => write!(f, "option {option}: {message}"),
        }
    }
}

impl Error for BuildError {}
