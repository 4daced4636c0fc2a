//! The sample inventory origin of wtcache, and its faults.
//!
//! An inventory REST API on 127.0.0.1 with its records in SQLite: what the tutorial caches, and what the tests of the other
//! crates talk to over a real socket. It is a small blocking HTTP/1.1 server, a thread per connection, hand-rolled because
//! the faults need control of the socket. It is not a server to put before anyone but yourself.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /items/{id}` | 200 and the record with its `ETag: "r<revision>"`, 304, 404 |
//! | `PUT /items/{id}` | 200 or 201 and the record as stored, with `id`, `revision` and `updatedAt`; 400, 412, 422 |
//! | `PATCH /items/{id}` | 200 and the record with that merge patch in it; 400, 404, 412, 422 |
//! | `DELETE /items/{id}` | 204, 404, 412 |
//! | `GET /items` | 200 and the first 1000 records |
//! | `GET /items/_changes` | what changes, as Server-Sent Events where `Accept` names `text/event-stream`, going on after `Last-Event-ID`; else a long poll: `?cursor=…&wait=<seconds>` |
//! | `POST /items` | 201 and the record with its `Location`, under the `id` in the body or a new one; 409 where there is one |
//! | `GET /items?ids=a,b` | 200 and those of these records that there are |
//! | `GET /healthz` | 200 `ok` |
//! | `GET /_log`, `GET /_calls` | what arrived |
//! | `GET`, `POST`, `DELETE /_faults` | the faults, if enabled: a [`Script`], or one as a JSON object |
//!
//! Tests order things with a [`Gate`] and [`Origin::wait_for`] instead of sleeping:
//!
//! ```
//! use std::{io::{Read, Write}, net::TcpStream, time::Duration};
//! use wtcache_origin::{Method, Origin, OriginOptions, When};
//!
//! let origin = Origin::start(OriginOptions::new())?;
//! origin.seed("item-001", serde_json::json!({ "quantity": 1 }));
//! let gate = origin.gate(Method::Get, "item-001", When::AfterApply);
//! let mut load = TcpStream::connect(origin.addr())?;
//! load.write_all(b"GET /items/item-001 HTTP/1.1\r\nHost: o\r\nConnection: close\r\n\r\n")?;
//! assert!(gate.wait_arrived(Duration::from_secs(5))); // the load has the old record in hand
//! origin.seed("item-001", serde_json::json!({ "quantity": 2 }));
//! gate.release();
//! let mut answer = String::new();
//! load.read_to_string(&mut answer)?;
//! assert!(answer.contains("\"quantity\":1"));
//! # Ok::<(), std::io::Error>(())
//! ```

mod answer;
mod api;
mod changes;
mod control;
mod exchange;
mod faults;
mod hold;
mod http;
mod idempotency;
mod log;
mod options;
mod origin;
mod preconditions;
mod records;
mod script;
mod server;

pub use answer::Answer;
pub use faults::{Fault, FaultKind, FaultOn, Target};
pub use hold::{Gate, When};
pub use http::Method;
pub use log::Entry;
pub use options::OriginOptions;
pub use origin::Origin;
pub use script::{Script, ScriptError};

/// Locks, also after a panic elsewhere: no state here is left half changed by one.
fn locked<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
