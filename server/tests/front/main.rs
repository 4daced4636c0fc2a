//! The REST front over real sockets, before the sample origin and its faults.

#![allow(clippy::unwrap_used, reason = "tests")]

mod access;
mod asked;
mod auth;
mod bodies;
mod changes;
mod clients;
mod codings;
#[path = "../common/mod.rs"]
mod common;
mod conditions;
mod creates;
mod events;
mod expiry;
mod formats;
mod freshness;
mod hostile;
mod index;
mod invalidate;
mod keys;
mod life;
mod limits;
mod of_record;
mod openapi;
mod own;
mod page;
mod passthrough;
mod patch;
mod pending;
mod query;
mod reads;
mod reload;
mod requests;
mod stamps;
mod telemetry;
mod tls;
mod trace;
mod transactions;
mod transactions_pending;
mod writes;

const NOTHING: [&str; 0] = [];
