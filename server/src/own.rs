//! What is asked of this server itself, below `/-/`: whether it is there and ready, what it has counted, what to forget, and what became of
//! a write.
//!
//! Invariant: who comes in at the public address is told of health, readiness, what is served here and the outcomes of its own writes, and nothing else.

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Response, StatusCode};

use crate::answer::{Answer, json};
use crate::auth::Who;
use crate::exposition;
use crate::front::Front;
use crate::incoming::Incoming;
use crate::problem::Problem;
use crate::served::Served;
use crate::{changes, events, invalidate, openapi, page, pending, transaction};

/// Before each path of these.
pub(crate) const PREFIX: &str = "/-/";

const READ: &str = "GET, HEAD, OPTIONS";

/// What a listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Everything.
    All,
    /// Records, and of the rest what anyone may ask.
    Public,
    /// What this server is asked of itself, by who runs it.
    Admin,
}

/// Whether this is for everybody, whatever he says of himself: it tells whether the server runs.
pub(crate) fn is_open(path: &str) -> bool {
    matches!(Page::of(path), Some(Page::Healthz | Page::Readyz))
}

/// The path of a page without what is a client's in it; `None`: there is no such page.
pub(crate) fn route(path: &str) -> Option<&'static str> {
    Some(match Page::of(path)? {
        Page::Healthz => "/-/healthz",
        Page::Readyz => "/-/readyz",
        Page::Openapi => "/-/openapi.json",
        Page::Stats => "/-/stats",
        Page::Metrics => "/-/metrics",
        Page::Invalidate => "/-/invalidate",
        Page::Changes => "/-/changes",
        Page::Events => "/-/events",
        Page::Transaction => "/-/transaction",
        Page::File(_) => "/-/{file}",
        Page::Records => "/-/records",
        Page::Doubts => "/-/doubts",
        Page::Pending(_) => "/-/pending/{id}",
    })
}

enum Page<'p> {
    Healthz,
    Readyz,
    /// What is served, for programs.
    Openapi,
    Stats,
    Metrics,
    Invalidate,
    /// Of others' changes.
    Changes,
    /// Of what happens here.
    Events,
    Transaction,
    /// Of the page for people.
    File(page::File),
    /// What is resident.
    Records,
    Doubts,
    /// Of a write with this id.
    Pending(&'p str),
}

impl<'p> Page<'p> {
    fn of(path: &'p str) -> Option<Self> {
        let path = path.strip_prefix(PREFIX)?;
        if let Some(file) = page::File::of(path) {
            return Some(Self::File(file));
        }
        Some(match path {
            "healthz" => Self::Healthz,
            "readyz" => Self::Readyz,
            "openapi.json" => Self::Openapi,
            "stats" => Self::Stats,
            "metrics" => Self::Metrics,
            "invalidate" => Self::Invalidate,
            "changes" => Self::Changes,
            "events" => Self::Events,
            "transaction" => Self::Transaction,
            "records" => Self::Records,
            "doubts" => Self::Doubts,
            other => Self::Pending(other.strip_prefix("pending/")?),
        })
    }

    fn is_at(&self, side: Side) -> bool {
        match self {
            Self::Healthz | Self::Readyz | Self::Openapi | Self::Pending(_) => true,
            // It is a write of records.
            Self::Transaction => side != Side::Admin,
            Self::Stats
            | Self::Metrics
            | Self::Invalidate
            | Self::Changes
            | Self::Events
            | Self::File(_)
            | Self::Records
            | Self::Doubts => side != Side::Public,
        }
    }

    /// Whether he may see it.
    fn is_for(&self, who: &Who) -> Result<(), Problem> {
        match self {
            Self::Healthz | Self::Readyz => Ok(()),
            // What the document tells of tables is no record; the id of a write is known to who was given it.
            // Each update of a transaction is looked at besides.
            Self::Openapi | Self::Pending(_) | Self::Transaction => who.may_something(),
            // The page too: so a browser asks its reader who he is.
            Self::Stats
            | Self::Metrics
            | Self::Invalidate
            | Self::Changes
            | Self::Events
            | Self::File(_)
            | Self::Records
            | Self::Doubts => who.may_administrate(),
        }
    }

    fn allow(&self) -> &'static str {
        if matches!(self, Self::Invalidate | Self::Changes | Self::Transaction) { "POST, OPTIONS" } else { READ }
    }

    fn takes(&self, method: &Method) -> bool {
        match self {
            Self::Invalidate | Self::Changes | Self::Transaction => *method == Method::POST,
            _ => matches!(*method, Method::GET | Method::HEAD),
        }
    }
}

/// The answer to a request below `/-/`.
pub(crate) async fn answer(
    front: &Front,
    served: &Arc<Served>,
    (side, who): (Side, &Who),
    request: &Parts,
    body: &mut Incoming,
) -> Answer {
    let tables = &served.tables;
    let (method, path) = (&request.method, request.uri.path());
    let Some(page) = Page::of(path).filter(|page| page.is_at(side)) else {
        let detail = match side {
            Side::Public => "there is no such page here; some are at the admin address only",
            _ => "there is no such page",
        };
        return Answer::refused(method, Problem::new(StatusCode::NOT_FOUND, detail));
    };
    // A webhook has no credentials but its signature, which is looked at with its body.
    let is_signed = matches!(page, Page::Changes) && changes::are_signed(tables, request.uri.query());
    if !is_signed && let Err(problem) = page.is_for(who) {
        return Answer::refused(method, problem);
    }
    if *method == Method::OPTIONS {
        return Answer::options(page.allow());
    }
    if !page.takes(method) {
        let detail = format!("{path} takes {}", page.allow());
        let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail).allow(page.allow());
        return Answer::refused(method, problem);
    }
    match page {
        Page::Healthz => Answer::local(text("ok\n".to_owned(), "text/plain"), "health"),
        Page::Readyz => readyz(front),
        Page::Openapi => openapi::answer(tables, served.auth.as_ref().map(|auth| auth.lets_the_nameless())),
        Page::Stats => {
            let stats = exposition::stats(tables).to_string();
            Answer::local(json(stats.into_bytes()), "stats")
        }
        Page::Metrics => {
            let metrics = exposition::metrics(tables, front.others(), front.connections(), front.tellers());
            Answer::local(text(metrics, exposition::CONTENT_TYPE), "metrics")
        }
        Page::File(file) => file.answer(),
        Page::Records => page::records(tables, request.uri.query()).await,
        Page::Doubts => page::doubts(tables),
        Page::Invalidate => invalidate::answer(front, served, method, body).await,
        Page::Changes => changes::answer(front, served, request, body).await,
        Page::Events => match changes::asked_table(tables, request.uri.query()) {
            Ok(table) => events::answer(table, method, front.ending(), served.limits.keep_alive),
            Err(problem) => Answer::refused(method, problem),
        },
        Page::Transaction => transaction::answer(front, served, who, (&request.headers, body)).await,
        Page::Pending(id) => pending::answer(served, id),
    }
}

/// Its tables are open, or it would not listen: it is ready until it is asked to end.
fn readyz(front: &Front) -> Answer {
    if !front.is_ending() {
        return Answer::local(text("ready\n".to_owned(), "text/plain"), "ready");
    }
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the server is ending: it takes no new connections");
    Answer::local(problem.response(), "ending")
}

fn text(body: String, kind: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
