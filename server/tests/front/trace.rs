//! A client's trace goes on to the origin, with the load or the write that its request leads.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use wtcache_server::table::{ServedTable, origin_of};

use crate::common::{Stage, setup};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-";
const CAME: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// The heads of the requests that came, in small letters.
pub(crate) type Heads = Arc<Mutex<Vec<String>>>;

/// An origin that notes the heads of its requests, and answers all with one record.
pub(crate) fn noting() -> (SocketAddr, Heads) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, heads) = (listener.local_addr().unwrap(), Heads::default());
    let noted = Arc::clone(&heads);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let noted = Arc::clone(&noted);
            std::thread::spawn(move || serve(stream.unwrap(), &noted));
        }
    });
    (address, heads)
}

fn serve(mut stream: TcpStream, noted: &Heads) {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if stream.read_exact(&mut byte).is_err() {
                return;
            }
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let length =
            head.split("content-length: ").nth(1).map_or(0, |rest| rest.split("\r\n").next().unwrap().parse().unwrap());
        stream.read_exact(&mut vec![0; length]).unwrap();
        noted.lock().unwrap().push(head);
        let body = "{\"id\":\"a\",\"quantity\":1}";
        let length = body.len();
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
    }
}

fn before(origin: SocketAddr) -> Stage {
    setup().start_with(move |table, config, pool, clock| {
        let mut config = config.clone();
        config.origin.url = format!("http://{origin}/items/{{id}}");
        let source = origin_of(table, &config.origin).unwrap();
        ServedTable::open_with_clock(table, &config, source, pool, clock.shared()).unwrap()
    })
}

/// The value of a header in the only request since the last look.
pub(crate) fn header(heads: &Heads, name: &str) -> Option<String> {
    let heads = std::mem::take(&mut *heads.lock().unwrap());
    let [head] = heads.as_slice() else { panic!("{heads:?}") };
    head.split("\r\n").find_map(|line| line.strip_prefix(&format!("{name}: "))).map(str::to_owned)
}

#[test]
fn a_clients_trace_goes_on_with_the_call_that_its_request_leads() {
    let (origin, heads) = noting();
    let stage = before(origin);
    let item = "/InventoryItem/a";
    let record = "{\"id\":\"a\",\"quantity\":1}";
    let mut parents = Vec::new();
    for (method, body) in [("GET", ""), ("PUT", record), ("PATCH", "{\"quantity\":1}"), ("DELETE", "")] {
        let headers = [("traceparent", CAME), ("content-type", "application/json")];
        assert!(stage.ask(method, item, &headers, body).status < 300, "{method}");
        parents.push(header(&heads, "traceparent").unwrap());
    }
    for parent in &parents {
        assert!(parent.starts_with(TRACE) && parent.ends_with("-01") && parent != CAME, "{parent}");
    }
    parents.sort();
    parents.dedup();
    assert_eq!(parents.len(), 4, "each a parent of its own");

    // Its state goes along; a request without a trace, and a trace that is malformed, lead to calls without one.
    let state = [("traceparent", CAME), ("tracestate", "a=1"), ("tracestate", "b=2")];
    stage.ask("GET", "/InventoryItem/a", &state, "").expect(200);
    assert_eq!(header(&heads, "tracestate").as_deref(), Some("a=1,b=2"));
    for none in [&[][..], &[("traceparent", "00-0-0-00")], &[("traceparent", CAME), ("traceparent", CAME)]] {
        let headers = [none, &[("content-type", "application/json")]].concat();
        stage.ask("PUT", item, &headers, record).expect(200);
        assert_eq!(header(&heads, "traceparent"), None, "{none:?}");
    }
}
