//! What a schema may say: every error with its exact words and place.

use std::time::Duration;

use proptest::prelude::*;
use wtcache_server::schema::{Attribute, Bounds, Scalar, Schema, Table};

const INVENTORY: &str = "\
type InventoryItem @table(expiration: 300) @export {
  id: ID @primaryKey
  sku: String @indexed
  name: String
  quantity: Int
  warehouseId: String @indexed
}
";

fn schema(text: &str) -> Schema {
    Schema::parse("schema.graphql", text.as_bytes()).unwrap_or_else(|errors| panic!("{errors}"))
}

fn errors(text: &str) -> String {
    Schema::parse("s", text.as_bytes()).expect_err(text).to_string()
}

#[test]
fn the_inventory_schema_reads_as_it_is_written() {
    let attribute = |name: &str, scalar, indexed| Attribute {
        name: name.into(),
        scalar,
        list: false,
        required: false,
        indexed,
        bounds: Bounds::default(),
        stamp: None,
        expires_at: false,
    };
    let expected = Table {
        name: "InventoryItem".into(),
        expiration: Some(Duration::from_secs(300)),
        eviction: None,
        exported: true,
        sealed: false,
        primary_key: "id".into(),
        attributes: vec![
            attribute("id", Scalar::Id, false),
            attribute("sku", Scalar::String, true),
            attribute("name", Scalar::String, false),
            attribute("quantity", Scalar::Int, false),
            attribute("warehouseId", Scalar::String, true),
        ],
    };
    assert_eq!(schema(INVENTORY), Schema { tables: vec![expected] });
    assert_eq!(schema(&INVENTORY.replace('\n', "\r\n")), schema(INVENTORY));
    assert_eq!(schema(&format!("\u{feff}{INVENTORY}")), schema(INVENTORY));
}

#[test]
fn descriptions_comments_and_several_tables_are_read() {
    let schema = schema(
        "# c\n\"\"\"Block { \\\"\"\" \"\"\"\ntype A @table @sealed { \"d\" a: String! @primaryKey @indexed }\n\
         type B @table { id: ID @primaryKey f: Float, b: Boolean! }",
    );
    assert_eq!(schema.tables.len(), 2);
    let a = schema.table("A").unwrap();
    assert!(a.sealed && !a.exported && a.expiration.is_none());
    assert!(a.attributes[0].required && a.attributes[0].indexed);
    assert_eq!(schema.table("B").unwrap().attribute("b").unwrap().0, 2);
}

#[test]
fn every_schema_error_names_its_place() {
    let field = |text: &str| format!("type T @table {{\n id: ID @primaryKey\n {text}\n}}");
    let example = "  hint: a table is written: type Item @table @export { id: ID @primaryKey }";
    let cases = [
        (String::new(), format!("s:1:1: the schema declares no table\n{example}")),
        (" \n# only this\n".into(), format!("s:1:1: the schema declares no table\n{example}")),
        (field("a: String @indexd"), "s:3:12: unknown directive @indexd\n  hint: did you mean @indexed?".into()),
        (
            field("a: String @createTime"),
            "s:3:12: unknown directive @createTime\n  hint: did you mean @createdTime?".into(),
        ),
        (
            field("a: String @export"),
            "s:3:12: directive @export does not belong here\n  hint: it goes on the type".into(),
        ),
        (field("a: Bytes"), "s:3:5: a: type Bytes is not supported\n  hint: JSON has no bytes; write them as a String, in base64".into()),
        (field("a: Any"), "s:3:5: a: type Any is not supported\n  hint: leave the attribute out: what is not listed may be anything".into()),
        (field("a: String @expiresAt"), "s:3:12: a: @expiresAt is for a Long or a Float: milliseconds since 1970".into()),
        (field("a: [Long] @expiresAt"), "s:3:12: a: @expiresAt is for a Long or a Float: milliseconds since 1970".into()),
        (field("a: Long @expiresAt(in: 5)"), "s:3:21: unknown argument in of @expiresAt\n  hint: @expiresAt takes no argument".into()),
        (field("a: Long @expiresAt b: Long @expiresAt"), "s:3:29: a has @expiresAt already".into()),
        (field("a: Long @expiresAt @createdTime"), "s:3:2: a: who writes a record says when it ends, not this server".into()),
        (field("a: String @min(value: 1)"), "s:3:12: @min is for numbers, not for String".into()),
        (field("a: Int @pattern(regex: \"a\")"), "s:3:9: @pattern is for texts, not for Int".into()),
        (field("a: Int @min"), "s:3:9: @min lacks value\n  hint: write: @min(value: 0)".into()),
        (field("a: Int @max(value: \"1\")"), "s:3:21: value: expected a number, got \"1\"\n  hint: write: @max(value: 100)".into()),
        (field("a: Int @max(most: 1)"), "s:3:14: unknown argument most of @max\n  hint: known: value".into()),
        (field("a: Int @min(value: 2) @max(value: 1.5)"), "s:3:2: a: @min is more than @max".into()),
        (field("a: String @pattern(regex: \"(\")"), "s:3:28: regex: not a regular expression: unclosed group\n  hint: write: @pattern(regex: \"^[A-Z]+$\")".into()),
        (field("a: Int @createdTime"), "s:3:9: a: @createdTime is for a Long or a Float: milliseconds since 1970".into()),
        (field("a: Long! @updatedTime"), "s:3:11: a: this server writes it, so that no client has to\n  hint: leave out the !".into()),
        (field("a: Long @createdTime b: Long @createdTime"), "s:3:31: a has @createdTime already".into()),
        (field("a: String @indexed @indexed"), "s:3:21: directive @indexed is given twice".into()),
        (
            field("a: String @indexed(by: 1)"),
            "s:3:21: unknown argument by of @indexed\n  hint: @indexed takes no argument".into(),
        ),
        (
            field("a: Money"),
            "s:3:5: a: type Money is not supported\n  hint: known: ID, String, Int, Long, Float, Boolean".into(),
        ),
        (
            field("a: BigInt!"),
            "s:3:5: a: type BigInt! is not supported\n  hint: a Long has whole numbers to 2^53; write more digits as a String".into(),
        ),
        (
            field("a: Date"),
            "s:3:5: a: type Date is not supported\n  hint: write a time as a Long, in milliseconds since 1970, or as a String".into(),
        ),
        (
            field("a: [[String]]"),
            "s:3:5: a: type [[String]] is not supported\n  hint: known: ID, String, Int, Long, Float, Boolean, and lists of these".into(),
        ),
        (
            field("a: [Sting!]!"),
            "s:3:5: a: type [Sting!]! is not supported\n  hint: did you mean String?".into(),
        ),
        (field("a: Sting"), "s:3:5: a: type Sting is not supported\n  hint: did you mean String?".into()),
        (field("a: T"), "s:3:5: a: type T is not supported\n  hint: known: ID, String, Int, Long, Float, Boolean".into()),
        (field("a(x: Int): Int"), "s:3:4: attribute a takes no argument".into()),
        (field("id: Int"), "s:3:2: attribute id is declared twice".into()),
        (
            field("__a: Int"),
            "s:3:2: the name __a begins with two underscores\n  hint: GraphQL keeps such names for itself".into(),
        ),
        (field("a: ID @primaryKey"), "s:3:8: type T has two primary keys, id and a".into()),
        (
            "type T @table { a: Int @primaryKey }".into(),
            "s:1:24: a: a primary key is an ID or a String, not Int".into(),
        ),
        (
            "type T @table { a: [ID] @primaryKey }".into(),
            "s:1:20: a: a primary key is no list".into(),
        ),
        (
            "type T @table { a: Int }".into(),
            "s:1:6: type T has no primary key\n  hint: mark one attribute: id: ID @primaryKey".into(),
        ),
        (
            "type T { a: ID @primaryKey }".into(),
            "s:1:6: type T is not a table\n  hint: write: type T @table { … }".into(),
        ),
        (
            "type T @table @export(as: \"x\") { a: ID @primaryKey }".into(),
            "s:1:23: unknown argument as of @export\n  hint: known: name".into(),
        ),
        (
            "type T @table @export(name: 5) { a: ID @primaryKey }".into(),
            "s:1:29: name: expected a text, got 5\n  hint: write: @export(name: \"parts\")".into(),
        ),
        (
            "type T @table @export(name: \"x\", name: \"y\") { a: ID @primaryKey }".into(),
            "s:1:34: argument name of @export is given twice".into(),
        ),
        (
            "type T @table @export(name: \"-\") { a: ID @primaryKey }".into(),
            "s:1:29: name: expected a letter, then letters, digits, _ and -, 128 at most, got \"-\"\n  hint: it is one segment of a path".into(),
        ),
        (
            "type T @table @export(name: \"a/b\") { a: ID @primaryKey }".into(),
            "s:1:29: name: expected a letter, then letters, digits, _ and -, 128 at most, got \"a/b\"\n  hint: it is one segment of a path".into(),
        ),
        (
            "type T @table { a: ID @primaryKey } type U @table @export(name: \"T\") { a: ID @primaryKey }".into(),
            "s:1:42: type U: another table has the name T\n  hint: give one of them another: @export(name: \"…\")".into(),
        ),
        (
            "type T @table(expiraton: 5) { a: ID @primaryKey }".into(),
            "s:1:15: unknown argument expiraton of @table\n  hint: did you mean expiration?".into(),
        ),
        (
            "type T @table(scanInterval: 5) { a: ID @primaryKey }".into(),
            "s:1:15: unknown argument scanInterval of @table\n  hint: nothing is scanned: what has expired goes when its key is asked for, or for room; leave it out".into(),
        ),
        (
            "type T @table(eviction: -5) { a: ID @primaryKey }".into(),
            "s:1:25: eviction: expected a whole number of seconds from 0 to 3153600000, got -5\n  hint: write: @table(eviction: 300)".into(),
        ),
        (
            "type T @table(eviction: 5, eviction: 6) { a: ID @primaryKey }".into(),
            "s:1:28: argument eviction of @table is given twice".into(),
        ),
        (
            "type T @table(expiration: 5, expiration: 6) { a: ID @primaryKey }".into(),
            "s:1:30: argument expiration of @table is given twice".into(),
        ),
        ("type T implements I @table { a: ID @primaryKey }".into(), "s:1:19: implements is not supported".into()),
        (format!("{INVENTORY}{INVENTORY}"), "s:8:6: type InventoryItem is declared twice".into()),
        (
            "interface I { a: ID }".into(),
            format!("s:1:1: interface is not supported, only type definitions are\n{example}"),
        ),
        ("enum E { A }".into(), format!("s:1:1: enum is not supported, only type definitions are\n{example}")),
        ("union U = A | B".into(), format!("s:1:1: union is not supported, only type definitions are\n{example}")),
        ("scalar Date".into(), format!("s:1:1: scalar is not supported, only type definitions are\n{example}")),
        ("input I { a: Int }".into(), format!("s:1:1: input is not supported, only type definitions are\n{example}")),
        (
            "extend type T @table".into(),
            format!("s:1:1: extend is not supported, only type definitions are\n{example}"),
        ),
        ("schema { query: Q }".into(), format!("s:1:1: schema is not supported, only type definitions are\n{example}")),
        (
            "directive @d on FIELD".into(),
            format!("s:1:1: directive is not supported, only type definitions are\n{example}"),
        ),
        (
            "schema { mutation: Q }".into(),
            format!("s:1:1: syntax error: schema definition is missing query root\n{example}"),
        ),
        ("query { a }".into(), format!("s:1:1: syntax error: expected a type definition\n{example}")),
        ("type T @table {\n a ID\n}".into(), format!("s:2:4: syntax error: expected a colon and a type\n{example}")),
        ("type T @table {".into(), format!("s:1:16: syntax error: expected a field\n{example}")),
        (format!("type T @table(expiration: {}) {{ a: ID }}", "[".repeat(100_000)), "s:1:42: nested too deeply".into()),
    ];
    for (text, expected) in cases {
        assert_eq!(errors(&text), expected, "{}", &text[..text.len().min(200)]);
    }
}

#[test]
fn an_expiration_is_a_positive_whole_number() {
    for wrong in ["0", "-5", "1.5", "\"300\"", "true", "null", "SOON", "[1]", "99999999999999999999"] {
        let text = format!("type T @table(expiration: {wrong}) {{ a: ID @primaryKey }}");
        let expected = format!(
            "s:1:27: expiration: expected a whole number of seconds from 1 to 3153600000, got {wrong}\n  \
             hint: write: @table(expiration: 300)"
        );
        assert_eq!(errors(&text), expected);
    }
}

#[test]
fn all_errors_of_a_schema_are_told_at_once_in_order() {
    let text = "type A @tabel {\n id: Money @primaryKey\n}\ntype B @table {\n id: ID @key\n}";
    let places: Vec<_> = Schema::parse("s", text.as_bytes())
        .unwrap_err()
        .iter()
        .map(|error| (error.line, error.column, error.message.clone()))
        .collect();
    assert_eq!(
        places,
        [
            (1, 8, "unknown directive @tabel".to_owned()),
            (2, 6, "id: type Money is not supported".to_owned()),
            (4, 6, "type B has no primary key".to_owned()),
            (5, 9, "unknown directive @key".to_owned()),
        ]
    );
}

#[test]
fn bounded_and_decodable_input_only() {
    let large = vec![b' '; 1024 * 1024 + 1];
    let error = Schema::parse("s", &large).unwrap_err().to_string();
    assert_eq!(error, "s:1:1: the file is larger than 1048576 bytes");
    let error = Schema::parse("s", b"# \xc3\xa4\n# \xc3\xa4 \xff").unwrap_err().to_string();
    assert_eq!(error, "s:2:5: the file is not UTF-8\n  hint: save it as UTF-8 text");
    let name = "a".repeat(129);
    let error = errors(&format!("type {name} @table {{ id: ID @primaryKey }}"));
    let expected =
        format!("s:1:6: the name {}… is longer than 128 bytes\n  hint: a name is part of a URL", "a".repeat(64));
    assert_eq!(error, expected);
    assert_eq!(errors(&"scalar A ".repeat(1025)), "s:1:1: the schema has more than 1024 definitions");
    let fields: String = (0..1025).map(|number| format!("a{number}: Int ")).collect();
    assert_eq!(errors(&format!("type T @table {{ {fields} }}")), "s:1:6: type T has more than 1024 attributes");
    let errors = Schema::parse("s", "scalar A\n".repeat(1000).as_bytes()).unwrap_err();
    assert_eq!(errors.iter().count(), 100);
}

proptest! {
    #[test]
    fn no_bytes_make_the_schema_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Schema::parse("s", &bytes);
    }

    #[test]
    fn no_tokens_make_the_schema_panic(
        tokens in proptest::collection::vec(
            prop::sample::select(vec![
                "type", "T", "@table", "@", "(", ")", "{", "}", "[", "]", ":", "!", "id", "ID", "@primaryKey", "5",
                "\"", "\"\"\"", "\\", "\\u12", "#", "\n", "\r", " ", " ", "-", "1e9", "=", "|", "&", "extend", "é",
                "on", "enum", "schema", "query", "directive", "expiration", "null", "\u{feff}", ",", "_", "$",
            ]),
            0..40,
        )
    ) {
        let _ = Schema::parse("s", tokens.concat().as_bytes());
        let _ = Schema::parse("s", format!("type T @table {{ {} }}", tokens.join(" ")).as_bytes());
    }
}

#[test]
fn a_table_says_how_long_its_records_live_and_are_kept() {
    let schema = schema(
        "type A @table(eviction: 0) { a: ID @primaryKey b: Long! @expiresAt @indexed }\n\
         type B @table(expiration: 1, eviction: 2) { a: ID @primaryKey b: Float @expiresAt }",
    );
    let times = |name: &str| schema.table(name).map(|table| (table.expiration, table.eviction)).unwrap();
    assert_eq!(times("A"), (None, Some(Duration::ZERO)));
    assert_eq!(times("B"), (Some(Duration::from_secs(1)), Some(Duration::from_secs(2))));
    assert!(schema.tables.iter().all(|table| table.attributes[1].expires_at && !table.attributes[0].expires_at));
}
