//! Whether a source goes to its origin through a proxy: decided once, when the source is built.
//!
//! Invariant: nothing of a proxy's URL but its host and port shows in an error or in `Debug` output.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::percent_decode_str;
use ureq::http::HeaderValue;

const VARIABLES: [&str; 9] = [
    "http_proxy",
    "HTTP_PROXY",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
    "REQUEST_METHOD",
];

/// Whether requests go through a proxy. Default: none, whatever the environment says.
///
/// An https origin is reached by a tunnel (`CONNECT`), an http one by requests with the whole URL. The proxy's own URL is
/// `http://host:port` or `http://user:password@host:port`; one that is spoken to by TLS or SOCKS is refused.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Proxy(Kind);

#[derive(Clone, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    None,
    At(String),
    Variables(BTreeMap<&'static str, String>),
}

impl Proxy {
    /// None.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// This one, for any origin, one of this machine too.
    pub fn at(url: impl Into<String>) -> Self {
        Self(Kind::At(url.into()))
    }

    /// What the variables of the environment say now: `https_proxy` for an https origin, `http_proxy` for an http one, else `all_proxy`; in
    /// capitals too. Not for a host that `no_proxy` names (names with all below them, addresses, networks such as `10.0.0.0/8`, `*`), and never
    /// for one of this machine: `localhost`, what ends in `.localhost`, and loopback addresses.
    #[must_use]
    pub fn environment() -> Self {
        Self::of_variables(|name| std::env::var(name).ok())
    }

    /// The same, with variables that are looked up so.
    #[must_use]
    pub fn of_variables(look_up: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &&'static str| Some((*name, look_up(name).filter(|value| !value.is_empty())?));
        Self(Kind::Variables(VARIABLES.iter().filter_map(set).collect()))
    }

    /// The way to an origin; `None` where it is direct.
    ///
    /// # Errors
    /// The proxy cannot be used; the text says which option or variable names it, and not what.
    pub(crate) fn route(&self, is_https: bool, host: &str, port: u16) -> Result<Option<Route>, String> {
        match &self.0 {
            Kind::None => Ok(None),
            Kind::At(url) => Route::parse(url, is_https).map(Some).map_err(|why| format!("its URL {why}")),
            Kind::Variables(variables) => {
                let either = |lower: &'static str, upper: &'static str| {
                    [lower, upper].into_iter().find_map(|name| Some((name, variables.get(name)?)))
                };
                // In a CGI program, HTTP_PROXY may be a header that a client sent.
                let of_scheme = match is_https {
                    true => either("https_proxy", "HTTPS_PROXY"),
                    false if variables.contains_key("REQUEST_METHOD") => either("http_proxy", "http_proxy"),
                    false => either("http_proxy", "HTTP_PROXY"),
                };
                let Some((name, url)) = of_scheme.or_else(|| either("all_proxy", "ALL_PROXY")) else {
                    return Ok(None);
                };
                let exempt = either("no_proxy", "NO_PROXY").is_some_and(|(_, list)| names(list, host, port));
                if exempt || is_of_this_machine(host) {
                    return Ok(None);
                }
                Route::parse(url, is_https).map(Some).map_err(|why| format!("the URL in {name} {why}"))
            }
        }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Kind::None => "Proxy(none)",
            Kind::At(_) => "Proxy([redacted])",
            Kind::Variables(_) => "Proxy(environment)",
        })
    }
}

/// The way through a proxy.
#[derive(Clone)]
pub(crate) struct Route {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The value of `Proxy-Authorization`, marked sensitive.
    pub(crate) authorization: Option<HeaderValue>,
    /// By `CONNECT`; else by requests with the whole URL.
    pub(crate) is_tunnel: bool,
}

impl Route {
    fn parse(url: &str, is_tunnel: bool) -> Result<Self, String> {
        let rest = match url.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some((scheme, _)) if ["https", "socks", "socks4", "socks4a", "socks5", "socks5h"].contains(&scheme) => {
                return Err(format!("is of a proxy by {scheme}, and only http ones are spoken to"));
            }
            Some(_) => return Err("is not http".to_owned()),
            None => url,
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (user, authority) = rest.rsplit_once('@').map_or((None, rest), |(user, host)| (Some(user), host));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                (host, port.parse().ok().filter(|port| *port > 0).ok_or("has a port that is none")?)
            }
            _ => (authority, 80),
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_host = match bare {
            Some(bare) => bare.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)),
        };
        if !is_host {
            return Err("has no host, or one that is malformed".to_owned());
        }
        let authorization = user.map(authorization).transpose()?;
        Ok(Self { host: host.to_owned(), port, authorization, is_tunnel })
    }
}

/// Host and port only.
impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

fn authorization(userinfo: &str) -> Result<HeaderValue, String> {
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    let decoded = [user, password].map(|part| percent_decode_str(part).collect::<Vec<u8>>());
    let mut value = HeaderValue::from_str(&format!("Basic {}", BASE64_STANDARD.encode(decoded.join(&b':'))))
        .map_err(|_| "has credentials that cannot be sent".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

fn address(host: &str) -> Option<IpAddr> {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host).parse().ok()
}

fn is_of_this_machine(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    let name = host.strip_suffix('.').unwrap_or(&host);
    name == "localhost"
        || name.ends_with(".localhost")
        || address(name).is_some_and(|ip| ip.to_canonical().is_loopback() || ip.is_unspecified())
}

/// Whether the list of a `no_proxy` names this host.
fn names(list: &str, host: &str, port: u16) -> bool {
    let host = host.to_ascii_lowercase();
    let host = host.strip_suffix('.').unwrap_or(&host);
    let ip = address(host).map(|ip| ip.to_canonical());
    list.split([',', ' ', '\t']).filter(|entry| !entry.is_empty()).any(|entry| {
        let entry = entry.to_ascii_lowercase();
        if entry == "*" {
            return true;
        }
        let is_network = |entry: &str| {
            let (network, bits) = entry.split_once('/')?;
            Some(is_within(ip?, address(network)?, bits.parse().ok()?))
        };
        if let Some(within) = is_network(&entry) {
            return within;
        }
        if let (Some(ip), Some(of_entry)) = (ip, address(&entry)) {
            return ip == of_entry.to_canonical();
        }
        let with_port = entry.rsplit_once(':').and_then(|(name, digits)| Some((name, digits.parse::<u16>().ok()?)));
        let (name, of_port) = match with_port {
            Some((name, of_port)) if !name.ends_with(':') => (name, Some(of_port)),
            _ => (&*entry, None),
        };
        if of_port.is_some_and(|of_port| of_port != port) {
            return false;
        }
        if let (Some(ip), Some(of_entry)) = (ip, address(name)) {
            return ip == of_entry.to_canonical();
        }
        let name = name.strip_prefix("*.").or_else(|| name.strip_prefix('.')).unwrap_or(name);
        !name.is_empty() && host.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    })
}

fn is_within(ip: IpAddr, network: IpAddr, bits: u32) -> bool {
    let shifted = |bytes: &[u8]| bytes.iter().fold(0u128, |all, byte| all << 8 | u128::from(*byte));
    let same = |one: &[u8], other: &[u8]| {
        let width = one.len() as u32 * 8;
        let apart = shifted(one) ^ shifted(other);
        bits <= width && (bits == 0 || apart >> (width - bits) == 0)
    };
    match (ip, network) {
        (IpAddr::V4(ip), IpAddr::V4(network)) => same(&ip.octets(), &network.octets()),
        (IpAddr::V6(ip), IpAddr::V6(network)) => same(&ip.octets(), &network.octets()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)], is_https: bool, host: &str) -> Option<String> {
        let proxy = Proxy::of_variables(|name| {
            variables.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned())
        });
        proxy.route(is_https, host, if is_https { 443 } else { 80 }).unwrap().map(|route| format!("{route:?}"))
    }

    #[test]
    fn which_variable_counts() {
        let all = [("http_proxy", "http://a:1"), ("HTTPS_PROXY", "b:2"), ("ALL_PROXY", "http://c")];
        assert_eq!(of(&all, false, "h").as_deref(), Some("a:1"));
        assert_eq!(of(&all, true, "h").as_deref(), Some("b:2"));
        assert_eq!(of(&all[1..], false, "h").as_deref(), Some("c:80"));
        assert_eq!(of(&[("http_proxy", ""), ("HTTP_PROXY", "b:2")], false, "h").as_deref(), Some("b:2"));
        assert_eq!(of(&[("HTTP_PROXY", "a:1"), ("REQUEST_METHOD", "GET")], false, "h"), None, "a client's header");
        assert_eq!(of(&[], true, "h"), None);
    }

    #[test]
    fn this_machine_is_never_reached_through_the_environments_proxy() {
        let all = [("ALL_PROXY", "http://p:1"), ("http_proxy", "http://p:1")];
        let local = ["localhost", "LOCALHOST", "a.localhost", "localhost.", "127.0.0.1", "127.9.9.9", "[::1]"];
        for host in local.into_iter().chain(["[::ffff:127.0.0.1]", "0.0.0.0"]) {
            assert_eq!(of(&all, false, host), None, "{host}");
        }
        for host in ["notlocalhost", "localhost.example", "128.0.0.1", "[::2]"] {
            assert!(of(&all, false, host).is_some(), "{host}");
        }
        let written = Proxy::at("http://p:1").route(false, "127.0.0.1", 80).unwrap();
        assert!(written.is_some(), "where it is written down it is meant");
    }

    #[test]
    fn whom_no_proxy_names() {
        let rows = [
            ("*", "h", true),
            ("example.com", "example.com", true),
            ("example.com", "EXAMPLE.com.", true),
            ("example.com", "api.example.com", true),
            ("example.com", "badexample.com", false),
            (".example.com", "api.example.com", true),
            ("*.example.com", "api.example.com", true),
            ("other, example.com", "example.com", true),
            ("example.com:80", "example.com", true),
            ("example.com:81", "example.com", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.30", false),
            ("10.0.0.0/8", "10.200.1.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("0.0.0.0/0", "11.0.0.1", true),
            ("10.0.0.0/33", "10.0.0.1", false),
            ("fd00::/8", "[fd12::1]", true),
            ("fd00::/8", "[fe12::1]", false),
            ("fd00::1", "[fd00::1]", true),
            ("", "h", false),
            (",,.", "h", false),
        ];
        for (list, host, direct) in rows {
            let route = of(&[("http_proxy", "http://p:1"), ("no_proxy", list)], false, host);
            assert_eq!(route.is_none(), direct, "{list} {host}");
        }
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_named_without_its_url() {
        for (url, why) in [
            ("https://s3cret@h", "by https"),
            ("socks5://s3cret@h", "by socks5"),
            ("ftp://s3cret@h", "not http"),
            ("http://s3cret@h:x", "port"),
            ("http://s3cret@h:0", "port"),
            ("http://s3cret@", "no host"),
            ("http://s3cret@[::1", "no host"),
            ("http://h/s3cret", "no host"),
        ] {
            let error = Proxy::at(url).route(false, "h", 80).unwrap_err();
            assert!(error.contains(why) && !error.contains("s3cret"), "{url}: {error}");
            let by_variable = Proxy::of_variables(|name| (name == "ALL_PROXY").then(|| url.to_owned()));
            let error = by_variable.route(false, "h", 80).unwrap_err();
            assert!(error.contains("ALL_PROXY") && !error.contains("s3cret"), "{url}: {error}");
            assert!(!format!("{by_variable:?} {:?}", Proxy::at(url)).contains("s3cret"));
        }
    }

    #[test]
    fn credentials_of_a_proxy_are_decoded_once() {
        let route = Proxy::at("http://me:a%40b%2525@h:1").route(false, "h", 80).unwrap().unwrap();
        let value = route.authorization.clone().unwrap();
        assert_eq!(value.to_str().unwrap(), format!("Basic {}", BASE64_STANDARD.encode("me:a@b%25")));
        assert!(!format!("{route:?} {value:?}").contains("Basic"));
    }
}
