//! A rule of the program's own inside each write: partial data is merged with the existing record, and `quantity` may not
//! go below zero.
//!
//! The rule runs in the key's turn, before anything is sent. The existing record is the resident one; if it is not
//! resident, it is loaded from the origin first.
//!
//! `cargo run --example quantity_rule` makes a few requests to itself and ends; with `serve` it serves until Ctrl-C.

use std::error::Error;
use std::net::Ipv4Addr;

use serde_json::{Map, Value, json};
use wtcache_origin::{Origin, OriginOptions};
use wtcache_server::config::{OriginConfig, TableConfig};
use wtcache_server::front::Front;
use wtcache_server::hook::{RuleCx, hooked};
use wtcache_server::record::BodyError;
use wtcache_server::schema::Schema;
use wtcache_server::serve::{Listening, asked_to_end, pool};
use wtcache_server::table::{ServedTable, origin_of};

const SCHEMA: &str = include_str!("../demo/schema.graphql");

/// What is not sent stays as it is, and nobody takes out more than there is.
pub(crate) fn rule(cx: &RuleCx<'_>, sent: Map<String, Value>) -> Result<Map<String, Value>, BodyError> {
    let mut record = cx.existing().cloned().unwrap_or_default();
    record.extend(sent);
    match record.get("quantity").and_then(Value::as_i64) {
        Some(quantity) if quantity < 0 => Err(BodyError {
            field: Some("quantity".to_owned()),
            message: format!("{quantity} is below zero; the shelf is empty before that"),
        }),
        _ => Ok(record),
    }
}

/// The inventory's front, with the rule inside its writes.
fn front(origin: &Origin) -> Result<Front, Box<dyn Error>> {
    let schema = Schema::parse("schema.graphql", SCHEMA.as_bytes())?;
    let table = schema.table("InventoryItem").ok_or("the demo's schema has no InventoryItem")?;
    let config = TableConfig::new("InventoryItem", OriginConfig::new(format!("{}/items/{{id}}", origin.url())));
    let source = hooked(origin_of(table, &config.origin)?, rule);
    Ok(Front::new().table(ServedTable::open(table, &config, source, &pool())?))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let origin = Origin::start(OriginOptions::new())?;
    origin.seed("item-001", json!({ "sku": "WB-100", "name": "Widget", "quantity": 5 }));
    let listening = Listening::bind(front(&origin)?, (Ipv4Addr::LOCALHOST, 0).into()).await?;
    let url = format!("http://{}/InventoryItem/item-001", listening.address());
    println!("a rule is inside each write of {url}");
    if std::env::args().nth(1).as_deref() == Some("serve") {
        println!("try: curl -i -X PUT {url} -d '{{\"quantity\":-1}}'");
        listening.until(asked_to_end()?).await?;
        return Ok(());
    }
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(listening.until(async {
        let _ = ended.await;
    }));
    tokio::task::spawn_blocking(move || requests(&url)).await??;
    println!("\nthe origin saw:");
    for entry in origin.log() {
        println!("  {} {} {}", entry.method.name(), entry.path, entry.body.unwrap_or_default());
    }
    drop(end);
    serving.await??;
    Ok(())
}

/// A partial write, one that the rule refuses, and what is there after them.
fn requests(url: &str) -> Result<(), ureq::Error> {
    let client: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().into();
    for body in ["{\"quantity\":3}", "{\"quantity\":-1}"] {
        let mut answer = client.put(url).send(body)?;
        println!("\nPUT {body}\n{} {}", answer.status(), answer.body_mut().read_to_string()?);
    }
    let mut answer = client.get(url).call()?;
    println!("\nGET\n{} {}", answer.status(), answer.body_mut().read_to_string()?);
    Ok(())
}
