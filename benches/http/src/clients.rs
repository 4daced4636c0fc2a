//! Who asks the origin: wtcache, and bare clients. Each reads the whole of every answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use wtcache::ByteCache;
use wtcache_http_source::HttpSource;

use crate::origin::RECORD;

/// As many requests may be at the origin at once, and as many connections are kept, as there are callers at most.
pub(crate) const MOST_CALLERS: usize = 256;
pub(crate) const NAMES: [&str; 4] = ["wtcache", "ureq", "reqwest, blocking", "reqwest, async"];

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// Of a record that is not resident.
    Get,
    /// Of a record that is there.
    Put,
}

pub(crate) enum Client {
    Wtcache(ByteCache),
    Ureq(ureq::Agent, String),
    Blocking(reqwest::blocking::Client, String),
    Async(Runtime, reqwest::Client, String),
}

type Failed = Box<dyn std::error::Error>;

pub(crate) fn all(origin: SocketAddr) -> Result<[Client; NAMES.len()], Failed> {
    let url = format!("http://{origin}/items/");
    let timeout = Duration::from_secs(5);
    let source = HttpSource::builder(format!("{url}{{id}}"))
        .max_in_flight(MOST_CALLERS)
        .max_idle_connections(MOST_CALLERS)
        .timeout(timeout)
        .build()?;
    let cache = ByteCache::builder(source).clean_start(true).capacity(1 << 20).build()?;
    // Without a timeout: with one, it looks names up on a thread that it starts for each request.
    let agent = ureq::Agent::config_builder()
        .max_idle_connections(MOST_CALLERS)
        .max_idle_connections_per_host(MOST_CALLERS)
        .proxy(None)
        .build()
        .new_agent();
    let blocking = reqwest::blocking::Client::builder().timeout(timeout).no_proxy().build()?;
    let with_async = reqwest::Client::builder().timeout(timeout).no_proxy().build()?;
    Ok([
        Client::Wtcache(cache),
        Client::Ureq(agent, url.clone()),
        Client::Blocking(blocking, url.clone()),
        Client::Async(Runtime::new()?, with_async, url),
    ])
}

/// What is put.
fn record() -> Vec<u8> {
    format!("{{\"text\":\"{}\"}}", "x".repeat(RECORD - 11)).into_bytes()
}

/// A record that was never asked for, or one of a few.
fn key(what: What, number: u64) -> String {
    match what {
        What::Get => number.to_string(),
        What::Put => format!("put-{}", number % 1_000),
    }
}

impl Client {
    /// So many callers do so many operations each, of which the first has this number. How long that took.
    pub(crate) fn run(&self, what: What, callers: usize, each: u64, first: u64) -> Result<Duration, Failed> {
        let begun = Instant::now();
        if let Self::Async(runtime, client, url) = self {
            let tasks: Vec<_> = (0..callers as u64)
                .map(|caller| {
                    let (client, url) = (client.clone(), url.clone());
                    runtime.spawn(async move {
                        let body: Arc<[u8]> = record().into();
                        for number in 0..each {
                            let url = format!("{url}{}", key(what, first + caller * each + number));
                            let request = match what {
                                What::Get => client.get(url),
                                What::Put => client.put(url).body(body.to_vec()),
                            };
                            let answer = request.send().await?;
                            let whole = answer.bytes().await?;
                            assert_eq!(whole.len(), RECORD);
                        }
                        Ok::<(), reqwest::Error>(())
                    })
                })
                .collect();
            for task in tasks {
                runtime.block_on(task)??;
            }
            return Ok(begun.elapsed());
        }
        std::thread::scope(|scope| {
            let callers: Vec<_> = (0..callers as u64)
                .map(|caller| {
                    scope.spawn(move || {
                        let body = record();
                        (0..each).try_for_each(|number| {
                            self.one(what, &key(what, first + caller * each + number), &body).map_err(|e| e.to_string())
                        })
                    })
                })
                .collect();
            callers.into_iter().try_for_each(|caller| caller.join().expect("no caller panics"))
        })?;
        Ok(begun.elapsed())
    }

    fn one(&self, what: What, key: &str, body: &[u8]) -> Result<(), Failed> {
        let length = match (self, what) {
            (Self::Wtcache(cache), What::Get) => cache.get(key)?.ok_or("no record")?.value().len(),
            (Self::Wtcache(cache), What::Put) => cache.put(key, body.to_vec())?.entry.ok_or("no record")?.value().len(),
            (Self::Ureq(agent, url), What::Get) => {
                agent.get(format!("{url}{key}")).call()?.body_mut().read_to_vec()?.len()
            }
            (Self::Ureq(agent, url), What::Put) => {
                agent.put(format!("{url}{key}")).send(body)?.body_mut().read_to_vec()?.len()
            }
            (Self::Blocking(client, url), What::Get) => client.get(format!("{url}{key}")).send()?.bytes()?.len(),
            (Self::Blocking(client, url), What::Put) => {
                client.put(format!("{url}{key}")).body(body.to_vec()).send()?.bytes()?.len()
            }
            (Self::Async(..), _) => unreachable!("its callers are tasks"),
        };
        if length == RECORD { Ok(()) } else { Err(format!("{length} bytes are no record").into()) }
    }
}
