//! Who is told of each request: the access log and the traces.
//!
//! Invariant: where there is neither, a request pays for a look, and nothing is made for them.

use std::time::Duration;

use wtcache_http_source::TraceContext;

use crate::access::{Access, Request};
use crate::log;
use crate::telemetry::{Recorded, Telemetry};

/// How long the end waits for access lines to be written.
const FLUSH: Duration = Duration::from_secs(2);

#[derive(Default)]
pub(crate) struct Tellers {
    pub(crate) access: Option<Access>,
    pub(crate) telemetry: Option<Telemetry>,
}

/// What is to be told of a request under way.
pub(crate) struct Telling {
    trace_id: Option<Box<str>>,
    recorded: Option<Recorded>,
}

impl Tellers {
    /// A request begins, of this trace of its client's. Gives the trace that its calls are part of.
    pub(crate) fn begins(&self, context: Option<TraceContext>) -> (Option<TraceContext>, Option<Telling>) {
        let (context, recorded) = match &self.telemetry {
            Some(telemetry) => telemetry.begins(context),
            None => (context, None),
        };
        if self.access.is_none() && recorded.is_none() {
            return (context, None);
        }
        let trace_id = context.as_ref().map(|context| context.trace_id().into());
        (context, Some(Telling { trace_id, recorded }))
    }

    /// It was answered.
    pub(crate) fn ended(&self, telling: Telling, request: &Request<'_>) {
        if let Some(access) = &self.access {
            access.tell(request, telling.trace_id.as_deref());
        }
        if let (Some(telemetry), Some(recorded)) = (&self.telemetry, telling.recorded) {
            telemetry.ended(recorded, request);
        }
    }

    /// Name, kind, help and value of each count.
    pub(crate) fn metrics(&self) -> Vec<(&'static str, &'static str, &'static str, u64)> {
        let mut all = Vec::new();
        let mut lines = |name, help, dropped: Option<u64>| {
            all.extend(dropped.map(|dropped| (name, "counter", help, dropped)));
        };
        let help = "Lines of the log that were lost: there was no room, or they could not be written.";
        lines("wtcache_log_lines_dropped_total", help, log::dropped());
        let help = "Access lines that were lost: there was no room, or they could not be written.";
        let dropped = self.access.as_ref().map(|access| access.lines().dropped());
        lines("wtcache_access_lines_dropped_total", help, dropped);
        all.extend(self.telemetry.iter().flat_map(Telemetry::metrics));
        all
    }

    /// Nothing is told any more: what was is written, and sent, in a few seconds at most. Blocks.
    pub(crate) fn end(&self) {
        if let Some(telemetry) = &self.telemetry {
            telemetry.end();
        }
        if let Some(access) = &self.access {
            access.lines().flush(FLUSH);
        }
    }
}
