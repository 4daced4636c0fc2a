//! The trace that a client's request is part of: from its head to the origin call that it leads to.
//!
//! A request is answered in a task, and its origin call runs in a thread of the pool. So the context stands in a task-local, and the pool takes it along.

use std::any::Any;

use axum::http::{HeaderMap, HeaderName};
use wtcache::tokio::Pool;
use wtcache_http_source::TraceContext;

use crate::asker;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

tokio::task_local! {
    static CONTEXT: Option<TraceContext>;
}

/// Answers a request as part of this trace, or of none.
pub(crate) fn within<F: Future>(context: Option<TraceContext>, answer: F) -> impl Future<Output = F::Output> {
    CONTEXT.scope(context, answer)
}

/// What the task is part of, for a thread that works for it to enter.
pub(crate) fn current() -> Option<TraceContext> {
    CONTEXT.try_with(Clone::clone).ok().flatten()
}

/// Work for the same request in a task of its own.
pub(crate) fn along<F: Future>(work: F) -> impl Future<Output = F::Output> {
    CONTEXT.scope(current(), asker::within(asker::current(), work))
}

/// The pool, whose calls are part of the trace of the task that asked for them, and know who asked.
pub(crate) fn passed_on(pool: Pool) -> Pool {
    pool.carrying(|| {
        let (context, asker) = (current(), asker::current());
        Box::new(move || Box::new((TraceContext::enter_if(context), asker::enter(asker))) as Box<dyn Any>)
    })
}

/// The trace that these headers name. One that is malformed, or there twice, is none (W3C Trace Context, 3.2).
pub(crate) fn of(headers: &HeaderMap) -> Option<TraceContext> {
    let mut parents = headers.get_all(TRACEPARENT).iter();
    let context: TraceContext = parents.next()?.to_str().ok()?.parse().ok()?;
    if parents.next().is_some() {
        return None;
    }
    let lines: Option<Vec<&str>> = headers.get_all("tracestate").iter().map(|line| line.to_str().ok()).collect();
    Some(context.with_state(&lines.unwrap_or_default().join(",")))
}
