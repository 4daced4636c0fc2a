//! One exchange with the origin: a request with the credentials of the moment, and the answer's head.
//!
//! Shared by a source and its subscriptions. Invariant: a request that was answered 401 is sent once more only where the credentials have become
//! others since.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ureq::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use ureq::{Agent, AsSendBody, Body};

use crate::credentials::Credentials;
use crate::{answer, call, report, trace};

pub(crate) struct Exchanges {
    /// What spans and events call the origin.
    pub(crate) name: Arc<str>,
    pub(crate) agent: Agent,
    /// Headers whose values may become others.
    pub(crate) credentials: Credentials,
    /// What a proxy that is told whole URLs is shown.
    pub(crate) proxy_authorization: Option<HeaderValue>,
    pub(crate) requests: AtomicU64,
}

impl Exchanges {
    pub(crate) fn run(
        &self,
        method: Method,
        uri: &Uri,
        mut headers: HeaderMap,
        body: impl AsSendBody + Copy,
    ) -> Result<Response<Body>, ureq::Error> {
        if self.credentials.are_none() {
            return self.send_once(method, uri, headers, body);
        }
        let generation = self.credentials.add_to(&mut headers);
        let mut response = self.send_once(method.clone(), uri, headers.clone(), body)?;
        if response.status() == StatusCode::UNAUTHORIZED
            && self.credentials.are_others_than(generation)
            && call::remaining().is_some()
        {
            report::renewed(&self.name);
            // Read to its end, so that the connection can be used again.
            answer::drain(&mut response);
            drop(response);
            self.credentials.add_to(&mut headers);
            call::next_exchange();
            response = self.send_once(method, uri, headers, body)?;
        }
        Ok(response)
    }

    fn send_once(
        &self,
        method: Method,
        uri: &Uri,
        headers: HeaderMap,
        body: impl AsSendBody,
    ) -> Result<Response<Body>, ureq::Error> {
        // Relaxed: a count for information.
        self.requests.fetch_add(1, Ordering::Relaxed);
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = headers;
        trace::add_to(request.headers_mut());
        if let Some(value) = &self.proxy_authorization {
            request.headers_mut().insert(header::PROXY_AUTHORIZATION, value.clone());
        }
        self.agent.run(request)
    }
}
