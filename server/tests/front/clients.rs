//! Clients that are slow, large, many or ill-mannered: bounded, and told what is wrong.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use wtcache_server::config::Limits;

use crate::NOTHING;
use crate::common::{PATIENCE, Response, Stage, setup, stage};

/// So short that a test waits it out.
const SHORT: Duration = Duration::from_millis(150);

fn limited(limits: Limits) -> Stage {
    setup().limits(limits).start()
}

fn connect(stage: &Stage) -> TcpStream {
    let stream = TcpStream::connect(stage.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// All that comes until the front closes; where it resets, what came before.
fn rest(stream: &mut TcpStream) -> String {
    let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => all.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(error) => panic!("it does not close: {error}"),
        }
    }
    String::from_utf8(all).unwrap()
}

fn counted(metrics: &str, name: &str) -> u64 {
    metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap()
}

/// A head that comes byte by byte has its time as a whole, and is answered 408.
#[test]
fn a_head_that_does_not_come_to_its_end_is_408() {
    let stage = limited(Limits { head_timeout: SHORT, ..Limits::default() });
    let mut stream = connect(&stage);
    let begun = Instant::now();
    stream.write_all(b"GET /InventoryItem/a HTTP/1.1\r\nHost: f\r\nX: ").unwrap();
    let mut writer = stream.try_clone().unwrap();
    let slow = std::thread::spawn(move || {
        while begun.elapsed() < PATIENCE && writer.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    let answer = rest(&mut stream);
    drop(stream);
    assert!(
        answer.starts_with("HTTP/1.1 408 Request Timeout\r\n") && answer.contains("cache-status: wtcache"),
        "{answer}"
    );
    assert!(answer.contains("longer than 150 ms") && begun.elapsed() >= SHORT, "{answer}");
    assert!(begun.elapsed() < PATIENCE, "it was held by its bytes");
    slow.join().unwrap();
    let metrics = stage.ask("GET", "/-/metrics", &[], "").expect(200).body;
    assert_eq!(counted(&metrics, "wtcache_connections_late_total "), 1);
}

/// Who takes an answer slowly, and has begun with the next request: the time of its head begins once the answer is out, and nothing is said within
/// that.
#[test]
fn a_head_that_is_begun_while_an_answer_is_on_its_way_has_its_time_after_it() {
    let stage = limited(Limits { head_timeout: SHORT, ..Limits::default() });
    let name = "x".repeat(900_000);
    let keys: Vec<String> = (0..16).map(|n| format!("k{n}")).collect();
    for key in &keys {
        stage.put(key, &format!(r#"{{"id":"{key}","name":"{name}"}}"#)).expect(200);
    }
    let mut stream = connect(&stage);
    let head = format!("GET /InventoryItem/?id={} HTTP/1.1\r\nHost: f\r\n\r\n", keys.join(","));
    stream.write_all(head.as_bytes()).unwrap();
    let mut reader = stream.try_clone().unwrap();
    let mut answer = vec![0; 1];
    reader.read_exact(&mut answer).unwrap();
    stream.write_all(b"GET /-/healthz HTTP/1.1\r\nHo").unwrap();
    let begun = Instant::now();
    let mut piece = vec![0; 64 * 1024];
    while begun.elapsed() < 4 * SHORT {
        let read = reader.read(&mut piece[..1024]).unwrap();
        assert_ne!(read, 0, "it was cut off");
        answer.extend_from_slice(&piece[..read]);
        std::thread::sleep(Duration::from_millis(5));
    }
    answer.extend_from_slice(rest(&mut reader).as_bytes());
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let length: usize = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap();
    assert!(length > 14_000_000 && body.len() > length, "{length} of {}", body.len());
    assert!(body[..length].ends_with("}]") && body[length..].starts_with("HTTP/1.1 408 "), "{}", &body[length..]);
}

#[test]
fn a_connection_on_which_nothing_happens_is_closed() {
    let stage = limited(Limits { keep_alive: SHORT, ..Limits::default() });
    assert_eq!(rest(&mut connect(&stage)), "", "without a request");
    let mut stream = connect(&stage);
    let begun = Instant::now();
    stream.write_all(b"GET /-/healthz HTTP/1.1\r\nHost: f\r\n\r\n").unwrap();
    let answer = rest(&mut stream);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.matches("HTTP/1.1").count() == 1, "{answer}");
    assert!(begun.elapsed() >= SHORT);
}

/// Of a stream on which little happens, the system would take all there ever is. Who reads is kept, however little happens.
#[test]
fn b2_a_reader_of_events_that_reads_nothing_is_closed() {
    let stage = setup().table("events: true").limits(Limits { keep_alive: SHORT, ..Limits::default() }).start();
    let ask = |stream: &mut TcpStream| {
        stream.write_all(b"GET /-/events?table=InventoryItem HTTP/1.1\r\nHost: f\r\n\r\n").unwrap();
    };
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    // The least that there is, so that it is full soon.
    socket.set_recv_buffer_size(1).unwrap();
    socket.connect(&stage.address.into()).unwrap();
    let mut stopped: TcpStream = socket.into();
    ask(&mut stopped);
    let mut reads = connect(&stage);
    ask(&mut reads);
    let (begun, mut buffer) = (Instant::now(), [0; 4096]);
    let late = || {
        let metrics = stage.ask("GET", "/-/metrics", &[], "").expect(200).body;
        (counted(&metrics, "wtcache_connections_late_total "), counted(&metrics, "wtcache_connections "))
    };
    while late().0 == 0 {
        assert!(begun.elapsed() < PATIENCE, "it holds its place");
        assert!(reads.read(&mut buffer).unwrap() > 0, "who reads was sent away");
    }
    assert!(begun.elapsed() >= 2 * SHORT);
    assert_eq!(late(), (1, 2), "the one that reads, and the one that asks");
    assert!(reads.read(&mut buffer).unwrap() > 0);
    drop(stopped);
}

/// A slow origin is no slow client: its reader is not sent away.
#[test]
fn who_waits_for_an_answer_is_not_idle() {
    let stage = limited(Limits { keep_alive: SHORT, head_timeout: SHORT, body_timeout: SHORT, ..Limits::default() });
    let gate = stage.origin.gate(wtcache_origin::Method::Get, "a", wtcache_origin::When::BeforeApply);
    let mut client = stage.client();
    client.send("GET", "/InventoryItem/a", &[], "");
    assert!(gate.wait_arrived(PATIENCE));
    // Another connection has been idle for too long meanwhile, and so would this one be.
    assert_eq!(rest(&mut connect(&stage)), "");
    assert_eq!(rest(&mut connect(&stage)), "");
    gate.release();
    client.receive().expect(404);
}

#[test]
fn a_body_that_does_not_come_to_its_end_is_408_and_nothing_is_sent() {
    let stage = limited(Limits { body_timeout: SHORT, ..Limits::default() });
    for part in ["Content-Length: 20\r\n\r\n{\"quantity\":", "Transfer-Encoding: chunked\r\n\r\n3\r\n{\"q"] {
        let mut client = stage.client();
        client.raw(format!("PUT /InventoryItem/a HTTP/1.1\r\nHost: f\r\nConnection: close\r\n{part}").as_bytes());
        let answer = client.receive().expect_outcome(408, "rejected");
        assert!(answer.json()["detail"].as_str().unwrap().contains("150 ms"), "{answer:?}");
    }
    assert_eq!(stage.saw(), NOTHING);
}

/// However a head is too large, no more of it is held than its limit.
#[test]
fn a_head_that_is_too_large_is_431() {
    let stage = stage();
    let long = "x".repeat(17 * 1024);
    let many: String = (0..150).map(|n| format!("X-{n}: 1\r\n")).collect();
    for head in [
        format!("GET /InventoryItem/a HTTP/1.1\r\nHost: f\r\nX: {long}\r\n\r\n"),
        format!("GET /InventoryItem/a HTTP/1.1\r\nHost: f\r\n{many}\r\n"),
        format!("GET /InventoryItem/a HTTP/1.1\r\nX: {long}"),
        format!("GET /InventoryItem/{long} HTTP/1.1\r\nHost: f\r\n\r\n"),
    ] {
        let mut stream = connect(&stage);
        stream.write_all(head.as_bytes()).unwrap();
        let answer = Response::parse(rest(&mut stream).as_bytes()).checked().expect(431).json();
        assert!(answer["detail"].as_str().unwrap().contains("16384 bytes, or more than 100 headers"), "{answer}");
    }
    let fits = "x".repeat(15 * 1024);
    stage.ask("GET", "/-/healthz", &[("X", &fits)], "").expect(200);
    assert_eq!(stage.saw(), NOTHING);
}

/// What is no HTTP is told so in the front's own words, on a connection of its own or behind other requests.
#[test]
fn a_head_that_cannot_be_read_is_400_and_says_why() {
    let stage = stage();
    let good = "GET /-/healthz HTTP/1.1\r\nHost: f\r\n\r\n";
    for (bad, why) in [
        ("G@T / HTTP/1.1\r\nHost: f\r\n\r\n", "method"),
        ("GET / HTTP/7.3\r\nHost: f\r\n\r\n", "version"),
        ("GET / HTTP/1.1\r\nHo st: f\r\n\r\n", "header"),
        ("GET /a\u{1}b HTTP/1.1\r\nHost: f\r\n\r\n", "URI"),
        (
            "PUT /InventoryItem/a HTTP/1.1\r\nHost: f\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
            "content-length",
        ),
        ("PUT /InventoryItem/a HTTP/1.1\r\nHost: f\r\nContent-Length: +2\r\n\r\n{}", "content-length"),
        ("PUT /InventoryItem/a HTTP/1.1\r\nHost: f\r\nTransfer-Encoding: x\r\n\r\n{}", "transfer-encoding"),
    ] {
        for before in [0, 1, 3] {
            let mut stream = connect(&stage);
            // The rest of it, which nobody reads, must not cost the client its answer.
            let sent = format!("{}{bad}{}", good.repeat(before), "x".repeat(100_000));
            stream.write_all(sent.as_bytes()).unwrap();
            let mut all = String::new();
            stream.read_to_string(&mut all).expect("all of the answer, and no reset");
            let (first, last) = all.split_at(all.rfind("HTTP/1.1 ").unwrap());
            assert_eq!(first.matches("HTTP/1.1 200 OK").count(), before, "{all}");
            let answer = Response::parse(last.as_bytes()).checked().expect(400);
            assert_eq!(answer.header("connection"), Some("close"), "{answer:?}");
            let detail = answer.json()["detail"].as_str().unwrap().to_owned();
            assert!(detail.contains(why), "{bad:?}: {detail}");
        }
    }
    assert_eq!(stage.saw(), NOTHING);
}

/// Refused by what it announces: nothing of it is waited for.
#[test]
fn ten_gibibytes_are_refused_before_they_come() {
    let stage = stage();
    for path in ["/InventoryItem/a", "/-/invalidate"] {
        let method = if path.starts_with("/-/") { "POST" } else { "PUT" };
        let mut client = stage.client();
        let begun = Instant::now();
        let head = format!("{method} {path} HTTP/1.1\r\nHost: f\r\nConnection: close\r\n");
        client.raw(format!("{head}Content-Length: 10737418240\r\n\r\n{{").as_bytes());
        client.receive().expect(413);
        assert!(begun.elapsed() < Duration::from_secs(5), "it waits for nothing");
    }
    assert_eq!(stage.saw(), NOTHING);
}

#[test]
fn paths_that_are_none_are_refused() {
    let stage = stage();
    for (path, status) in [
        ("/InventoryItem/%FF", 400),
        ("/InventoryItem/%C3", 400),
        ("/%FF/a", 400),
        ("/InventoryItem/..", 400),
        ("/InventoryItem/%2e%2E", 400),
        ("/InventoryItem/a%00b", 400),
        ("/InventoryItem/../Part/a", 404),
        ("/InventoryItem/a/../b", 404),
        ("/../InventoryItem/a", 404),
        ("/InventoryItem%2Fa", 404),
        ("//InventoryItem/a", 404),
        ("/-/../InventoryItem/a", 404),
        ("/-/%68ealthz", 404),
    ] {
        stage.ask("GET", path, &[], "").expect(status);
    }
    let mut stream = connect(&stage);
    stream.write_all(b"GET /InventoryItem/\xff\xfe HTTP/1.1\r\nHost: f\r\nConnection: close\r\n\r\n").unwrap();
    assert!(rest(&mut stream).starts_with("HTTP/1.1 400 "), "bytes that are no UTF-8");
    assert_eq!(stage.saw(), NOTHING);
    // A slash within a key is one for the origin, too.
    stage.get("a%2F..%2Fb").expect(404);
    assert_eq!(stage.saw(), ["GET a/../b"]);
}

/// B2: so many connections and no more; the others are told, and served once there is room.
#[test]
fn more_connections_than_there_may_be_are_503() {
    let stage = limited(Limits { connections: 3, ..Limits::default() });
    let mut held: Vec<_> = (0..3).map(|_| connect(&stage)).collect();
    for stream in &mut held {
        stream.write_all(b"GET /-/healthz HTTP/1.1\r\nHost: f\r\n\r\n").unwrap();
        stream.read_exact(&mut [0; 15]).unwrap();
    }
    for _ in 0..5 {
        let refused = stage.ask("GET", "/InventoryItem/a", &[], "").expect(503);
        assert_eq!(refused.header("retry-after"), Some("1"));
    }
    held.pop();
    let begun = Instant::now();
    while stage.ask_in_a_crowd("/-/healthz").is_none() {
        assert!(begun.elapsed() < PATIENCE, "the place is not given on");
    }
    // A crowd at once: each is served, told, or closed, and the front goes on.
    let crowd: Vec<_> = (0..300).map(|_| TcpStream::connect(stage.address).unwrap()).collect();
    drop(crowd);
    let metrics = loop {
        assert!(begun.elapsed() < PATIENCE, "it does not go on");
        if let Some(metrics) = stage.ask_in_a_crowd("/-/metrics") {
            break metrics;
        }
    };
    assert!(counted(&metrics, "wtcache_connections_refused_total ") >= 5);
    assert_eq!(stage.saw(), NOTHING);
}

/// RFC 9112 §3.2: a request of HTTP/1.1 names its host once.
#[test]
fn a_request_names_its_host_once() {
    let stage = stage();
    stage.put_quantity("a", 1).expect(200);
    stage.saw();
    for (hosts, status) in [("", 400), ("Host: f\r\nHost: f\r\n", 400), ("Host: f\r\n", 200), ("Host:\r\n", 200)] {
        for line in ["GET /InventoryItem/a", "PUT /InventoryItem/a", "GET /-/healthz"] {
            let mut client = stage.client();
            let length = if line.starts_with("PUT") { "Content-Length: 14\r\n" } else { "" };
            client.raw(format!("{line} HTTP/1.1\r\n{hosts}Connection: close\r\n{length}\r\n").as_bytes());
            if !length.is_empty() {
                client.raw(br#"{"quantity":1}"#);
            }
            let answer = client.receive().expect(status);
            assert!(status == 200 || answer.json()["detail"].as_str().unwrap().contains("Host"), "{line}: {answer:?}");
        }
    }
    assert_eq!(stage.saw(), ["PUT a", "PUT a"]);
    let mut old = stage.client();
    old.raw(b"GET /InventoryItem/a HTTP/1.0\r\n\r\n");
    old.receive().expect(200);
}
