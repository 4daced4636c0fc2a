#![no_main]
//! The schema parser on arbitrary bytes.
//!
//! It never panics; an error has a place inside the text and no character that moves a terminal's cursor; a schema that was
//! read keeps its promises and, written out again, reads as the same schema.

use std::collections::HashSet;
use std::fmt::Write;

use libfuzzer_sys::fuzz_target;
use wtcache_fuzz::check_places;
use wtcache_server::schema::{Scalar, Schema, Table};

fuzz_target!(|bytes: &[u8]| {
    let read = Schema::parse("s", bytes);
    assert_eq!(read, Schema::parse("s", bytes), "the same text reads differently the second time");
    match read {
        Ok(schema) => {
            keeps_its_promises(&schema);
            let written = written(&schema);
            let again = Schema::parse("s", written.as_bytes());
            assert_eq!(again.as_ref(), Ok(&schema), "written out as:\n{written}");
        }
        Err(errors) => check_places(bytes, &errors),
    }
});

fn keeps_its_promises(schema: &Schema) {
    assert!(!schema.tables.is_empty(), "a schema without a table");
    let mut tables = HashSet::new();
    for table in &schema.tables {
        assert!(tables.insert(&table.name), "two tables are named {}", table.name);
        let mut attributes = HashSet::new();
        for attribute in &table.attributes {
            assert!(attributes.insert(&attribute.name), "two attributes are named {}", attribute.name);
        }
        let (_, key) = table.attribute(&table.primary_key).expect("the primary key is an attribute");
        assert!(matches!(key.scalar, Scalar::Id | Scalar::String), "the primary key is of type {}", key.scalar);
    }
}

/// The schema in its own language.
fn written(schema: &Schema) -> String {
    let mut out = String::new();
    for table in &schema.tables {
        written_table(table, &mut out).expect("a string takes all that is written");
    }
    out
}

fn written_table(table: &Table, out: &mut String) -> std::fmt::Result {
    write!(out, "type {} @table", table.name)?;
    if let Some(expiration) = table.expiration {
        write!(out, "(expiration: {})", expiration.as_secs())?;
    }
    if table.exported {
        write!(out, " @export")?;
    }
    if table.sealed {
        write!(out, " @sealed")?;
    }
    writeln!(out, " {{")?;
    for attribute in &table.attributes {
        write!(out, "  {}: {}", attribute.name, attribute.scalar)?;
        if attribute.required {
            write!(out, "!")?;
        }
        if attribute.name == table.primary_key {
            write!(out, " @primaryKey")?;
        }
        if attribute.indexed {
            write!(out, " @indexed")?;
        }
        writeln!(out)?;
    }
    writeln!(out, "}}")
}
