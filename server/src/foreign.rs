//! Requests that a page of another site has a browser make.
//!
//! Nobody is asked here who they are at an address of this machine, and any page may have its reader's browser send a plain `POST` there. So a
//! request that may change something is refused where the browser says that it comes from elsewhere: by `Sec-Fetch-Site`, or, from an older browser, by an
//! `Origin` that is not the host that was asked. What is no browser sends neither.

use axum::http::header::{HOST, ORIGIN};
use axum::http::request::Parts;
use axum::http::{HeaderName, Method, StatusCode};

use crate::problem::Problem;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Refuses a request of a foreign page, if it may change something.
pub(crate) fn check(request: &Parts) -> Result<(), Problem> {
    if matches!(request.method, Method::GET | Method::HEAD | Method::OPTIONS) || is_at_home(request) {
        return Ok(());
    }
    let detail = "a page of another site made this request; nothing is changed for those";
    Err(Problem::new(StatusCode::FORBIDDEN, detail))
}

fn is_at_home(request: &Parts) -> bool {
    let header = |name| request.headers.get(name).map(|value| value.as_bytes());
    if let Some(site) = header(SEC_FETCH_SITE) {
        return matches!(site, b"same-origin" | b"none");
    }
    let Some(origin) = header(ORIGIN) else { return true };
    // `null` has no host; that of others ends where they do.
    let host = origin.windows(3).position(|at| at == b"://").map(|at| &origin[at + 3..]);
    host.is_some() && host == header(HOST)
}
