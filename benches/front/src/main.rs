//! An origin that answers at once, or after so many milliseconds: `GET` with a record of its key, `PUT` with what it was sent. It keeps nothing.
//!
//! `bare-origin [--delay MS]` listens on a free port of 127.0.0.1, prints its URL and serves until it is killed.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

async fn answer(request: Request<Incoming>, delay: Duration) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let sent = body.collect().await.map(|body| body.to_bytes());
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let id = head.uri.path().rsplit('/').next().unwrap_or_default();
    let (status, body) = match (head.method, sent) {
        (Method::GET, _) => (StatusCode::OK, Bytes::from(record(id))),
        (Method::PUT, Ok(sent)) => (StatusCode::OK, sent),
        _ => (StatusCode::METHOD_NOT_ALLOWED, Bytes::new()),
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("max-age=3600"));
    Ok(response)
}

fn record(id: &str) -> String {
    format!(
        "{{\"id\":\"{id}\",\"sku\":\"WB-100\",\"name\":\"{}\",\"quantity\":5,\"warehouseId\":\"east\"}}",
        "Widget, blue, with a description that makes the record some 256 bytes long. ".repeat(2)
    )
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let delay = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Duration::ZERO,
        ["--delay", ms] => Duration::from_millis(ms.parse().expect("--delay takes a number of milliseconds")),
        _ => panic!("bare-origin [--delay MS]"),
    };
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("http://{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, delay));
            // A client that goes away is no reason to end.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
