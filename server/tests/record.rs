//! What a record may hold and a key may be: every error with its exact words; numbers and order as they came.

use proptest::prelude::*;
use wtcache_server::record::{BodyError, KeyError, check_key};
use wtcache_server::schema::{Schema, Table};

fn table(text: &str) -> Table {
    Schema::parse("schema.graphql", text.as_bytes()).expect("a good schema").tables.remove(0)
}

const SCALARS: &str = "type T @table @sealed { id: ID @primaryKey s: String! i: Int @indexed f: Float @indexed \
                       b: Boolean @indexed n: ID @indexed t: String @indexed }";

fn body(table: &Table, body: &str) -> Result<String, String> {
    table
        .check_body("k", body.as_bytes())
        .map(|record| serde_json::to_string(&record).expect("JSON"))
        .map_err(|error| error.to_string())
}

#[test]
fn a_body_is_refused_by_the_name_of_its_attribute() {
    let table = table(SCALARS);
    let cases = [
        ("", "expected a JSON object, got nothing"),
        (" \n", "expected a JSON object, got nothing"),
        ("{\"s\":\n 1,}", "not JSON: trailing comma at line 2 column 4"),
        ("{\"s\": \"a\"} x", "not JSON: trailing characters at line 1 column 12"),
        ("{\"s\"", "not JSON: EOF while parsing an object at line 1 column 4"),
        ("[]", "expected a JSON object, got an array"),
        ("5", "expected a JSON object, got number 5"),
        ("null", "expected a JSON object, got null"),
        ("{}", "s: required, but missing"),
        (r#"{"s": null}"#, "s: required, but null"),
        (r#"{"s": 5}"#, "s: expected String, got number 5"),
        (r#"{"s": "", "i": "5"}"#, "i: expected Int, got string \"5\""),
        (r#"{"s": "", "i": 5.0}"#, "i: expected Int, got number 5.0"),
        (r#"{"s": "", "i": 1e3}"#, "i: expected Int, got number 1e+3"),
        (r#"{"s": "", "i": true}"#, "i: expected Int, got boolean true"),
        (
            r#"{"s": "", "i": 2147483648}"#,
            "i: expected Int, got number 2147483648, out of its range of -2147483648 to 2147483647",
        ),
        (
            r#"{"s": "", "i": -2147483649}"#,
            "i: expected Int, got number -2147483649, out of its range of -2147483648 to 2147483647",
        ),
        (r#"{"s": "", "f": "1.5"}"#, "f: expected Float, got string \"1.5\""),
        (r#"{"s": "", "f": 1e400}"#, "f: expected Float, got number 1e+400, out of its range"),
        (r#"{"s": "", "b": 1}"#, "b: expected Boolean, got number 1"),
        (r#"{"s": "", "b": {}}"#, "b: expected Boolean, got an object"),
        (r#"{"s": "", "n": 1.5}"#, "n: expected ID, got number 1.5"),
        (r#"{"s": "", "n": []}"#, "n: expected ID, got an array"),
        (r#"{"s": "", "qty": 5}"#, "qty: unknown attribute; T is sealed"),
        (r#"{"s": "", "S": 5}"#, "S: unknown attribute; T is sealed, did you mean s?"),
        (r#"{"id": "l", "s": ""}"#, "id: the path decides the primary key: it is \"k\", not string \"l\""),
        (r#"{"id": null, "s": ""}"#, "id: the path decides the primary key: it is \"k\", not null"),
        (r#"{"s": "a", "s": "b"}"#, "s: given twice in one object, at line 1 column 14"),
        (r#"{"s": "a", "\u0073": "b"}"#, "s: given twice in one object, at line 1 column 19"),
        (r#"{"s": "a", "x": [{"y": 1, "y": 2}]}"#, "y: given twice in one object, at line 1 column 29"),
        (r#"{"s": {"$serde_json::private::Number": "5"}}"#, "the name $serde_json::private::Number is reserved"),
        (
            r#"{"s": {"\u0024serde_json::private::Number": "5"}}"#,
            "not JSON: the name $serde_json::private::Number is reserved at line 1 column 42",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(body(&table, text).expect_err(text), expected, "{text}");
    }
    let long = format!(r#"{{"s": "", "i": "{}\u0007"}}"#, "x".repeat(100));
    assert_eq!(body(&table, &long).unwrap_err(), format!("i: expected Int, got string \"{}…\"", "x".repeat(64)));
    let error = table.check_body("k", br#"{"s": "", "i": "\u001b[2J"}"#).unwrap_err();
    assert_eq!(error, BodyError { field: Some("i".into()), message: "expected Int, got string \"\\u{1b}[2J\"".into() });
    let deep = format!("{{\"x\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(body(&table, &deep).unwrap_err(), "not JSON: recursion limit exceeded at line 1 column 133");
    assert!(table.check_body("k", b"{\"s\": \"\xff\"}").unwrap_err().message.starts_with("not JSON: "));
}

#[test]
fn a_body_passes_unaltered_but_for_its_key() {
    let table = table("type T @table { id: ID @primaryKey s: String f: Float }");
    let cases = [
        (r#"{}"#, r#"{"id":"k"}"#),
        (r#"{"s":null,"id":"k"}"#, r#"{"s":null,"id":"k"}"#),
        (
            r#"{"z":12345678901234567890123,"a":0.10,"f":1.0000000000000000001,"n":-0,"m":{"b":1E400,"a":[1,{}]}}"#,
            r#"{"id":"k","z":12345678901234567890123,"a":0.10,"f":1.0000000000000000001,"n":-0,"m":{"b":1e+400,"a":[1,{}]}}"#,
        ),
        (
            r#"{"$x":"$serde_json::private","s":"é\u0000"}"#,
            "{\"id\":\"k\",\"$x\":\"$serde_json::private\",\"s\":\"é\\u0000\"}",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(body(&table, text).as_deref(), Ok(expected));
    }
    assert!(table.check_body("5", br#"{"id": 5}"#).is_ok(), "an ID may be a whole number");
    assert!(table.check_body("5", br#"{"id": 5.0}"#).is_err());
}

#[test]
fn a_string_key_is_not_a_number() {
    let table = table("type T @table { id: String @primaryKey }");
    let error = table.check_body("5", br#"{"id": 5}"#).unwrap_err();
    assert_eq!(error.to_string(), "id: the path decides the primary key: it is \"5\", not number 5");
}

#[test]
fn a_required_primary_key_is_inserted_before_it_is_missed() {
    let table = table("type T @table { id: ID! @primaryKey }");
    assert_eq!(body(&table, "{}").as_deref(), Ok(r#"{"id":"k"}"#));
}

#[test]
fn an_origin_may_know_more_than_a_sealed_table() {
    let table = table(SCALARS);
    let record = table.check_record("k", br#"{"s": "a", "more": [1]}"#).unwrap();
    assert_eq!(serde_json::to_string(&record).unwrap(), r#"{"id":"k","s":"a","more":[1]}"#);
    for (text, expected) in [
        ("[]", "expected a JSON object, got an array"),
        (r#"{"id": "k"}"#, "s: required, but missing"),
        (r#"{"id": "other", "s": ""}"#, "id: the path decides the primary key: it is \"k\", not string \"other\""),
        (r#"{"s": "", "i": "5"}"#, "i: expected Int, got string \"5\""),
    ] {
        assert_eq!(table.check_record("k", text.as_bytes()).unwrap_err().to_string(), expected);
    }
}

#[test]
fn stored_values_meet_those_of_a_query() {
    let table = table(SCALARS);
    let meets = |stored: &str, name: &str, query: &str| {
        let (number, attribute) = table.attribute(name).unwrap();
        let text = format!(r#"{{"s": "", "{name}": {stored}}}"#);
        let record = table.check_body("k", text.as_bytes()).unwrap();
        let mut rows = table.index_values(&record);
        rows.retain(|(of, _)| *of == number);
        assert_eq!(rows.len(), 1, "{stored}");
        attribute.query_value(query).unwrap() == rows[0].1
    };
    assert!(meets("5", "i", "5"));
    assert!(meets("-0", "i", "0"));
    assert!(meets("-2147483648", "i", "-2147483648"));
    assert!(!meets("5", "i", "6"));
    assert!(meets("1.50", "f", "15e-1"));
    assert!(meets("-0.0", "f", "0"));
    assert!(meets("true", "b", "true"));
    assert!(!meets("true", "b", "false"));
    assert!(meets("7", "n", "7"));
    assert!(meets("\"7\"", "n", "7"));
    assert!(meets("\"WB-100\"", "t", "WB-100"));
    assert!(!meets("\"WB-100\"", "t", "wb-100"));
    assert!(meets("\"\"", "t", ""));
}

#[test]
fn null_is_found_by_null_and_a_list_by_each_of_its_members() {
    let schema = "type T @table { id: ID @primaryKey i: Int @indexed t: [String!] @indexed n: [Int] }";
    let table = table(schema);
    let values = |body: &str| {
        let record = table.check_body("k", body.as_bytes()).unwrap();
        table.index_values(&record)
    };
    let i = |text: &str| (1, table.attributes[1].operand(text).unwrap());
    let t = |text: &str| (2, table.attributes[2].operand(text).unwrap());
    assert_eq!(values("{}"), [i("null"), t("null")]);
    assert_eq!(values(r#"{"i": null, "t": null}"#), [i("null"), t("null")]);
    assert_eq!(values(r#"{"i": 1, "t": []}"#), [i("1")], "a list of nothing is not null");
    assert_eq!(values(r#"{"i": 1, "t": ["a", "null"]}"#), [i("1"), t("a"), t("string:null")]);
    assert_ne!(t("null"), t("string:null"));
    assert_eq!(t("string:string:a"), (2, b"string:a".to_vec()));
    for (body, expected) in [
        (r#"{"t": "a"}"#, "t: expected a list of String, got string \"a\""),
        (r#"{"t": ["a", 1]}"#, "t: expected String, got number 1"),
        (r#"{"t": [null]}"#, "t: expected String, got null"),
        (
            r#"{"n": [1, 2147483648]}"#,
            "n: expected Int, got number 2147483648, out of its range of -2147483648 to 2147483647",
        ),
        (r#"{"i": [1]}"#, "i: expected Int, got an array"),
    ] {
        assert_eq!(table.check_body("k", body.as_bytes()).unwrap_err().to_string(), expected);
    }
}

#[test]
fn a_query_value_has_the_type_of_its_attribute() {
    let table = table(SCALARS);
    for (name, text, expected) in [
        ("i", "", "i: expected Int, got \"\""),
        ("i", "x", "i: expected Int, got \"x\""),
        ("i", "5.0", "i: expected Int, got \"5.0\""),
        ("i", " 5", "i: expected Int, got \" 5\""),
        ("i", "5 ", "i: expected Int, got \"5 \""),
        ("i", "+5", "i: expected Int, got \"+5\""),
        ("i", "05", "i: expected Int, got \"05\""),
        ("i", "2147483648", "i: expected Int, got \"2147483648\""),
        ("f", "NaN", "f: expected Float, got \"NaN\""),
        ("f", "1e400", "f: expected Float, got \"1e400\""),
        ("b", "TRUE", "b: expected Boolean, got \"TRUE\""),
        ("b", "1", "b: expected Boolean, got \"1\""),
    ] {
        assert_eq!(table.attribute(name).unwrap().1.query_value(text), Err(expected.to_owned()));
    }
}

#[test]
fn keys_that_no_url_carries_are_refused() {
    for (key, expected) in [
        ("", KeyError::Empty),
        (".", KeyError::Dots),
        ("..", KeyError::Dots),
        ("a\nb", KeyError::Control('\n')),
        ("\0", KeyError::Control('\0')),
        ("a\u{7f}", KeyError::Control('\u{7f}')),
        (&"é".repeat(513), KeyError::TooLong { bytes: 1026 }),
    ] {
        assert_eq!(check_key(key), Err(expected));
    }
    for key in ["a", "...", "a/b", "a b", "ä", "{id}", "%2e", &"k".repeat(1024)] {
        assert_eq!(check_key(key), Ok(()));
    }
    assert_eq!(KeyError::Empty.to_string(), "the key is empty");
    assert_eq!(KeyError::Dots.to_string(), "the key is . or .., which a URL takes for a folder");
    assert_eq!(KeyError::TooLong { bytes: 1026 }.to_string(), "the key has 1026 bytes; at most 1024 are allowed");
    assert_eq!(KeyError::Control('\n').to_string(), "the key contains the control character U+000A");
}

proptest! {
    #[test]
    fn no_bytes_make_a_record_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), key in ".*") {
        let _ = table(SCALARS).check_body(&key, &bytes);
    }

    #[test]
    fn what_passes_reads_as_the_same_again(body in "\\{(\"[a-e]\": ?(-?[0-9]{1,30}(\\.[0-9]{1,9})?([eE][+-]?[0-9]{1,4})?|\"[ -~é]{0,4}\"|\\[\\]|true),?){0,5}\\}") {
        let table = table("type T @table { id: ID @primaryKey }");
        if let Ok(record) = table.check_body("k", body.as_bytes()) {
            let text = serde_json::to_vec(&record).unwrap();
            prop_assert_eq!(table.check_body("k", &text), Ok(record));
        }
    }

    #[test]
    fn int_bytes_sort_as_ints(a: i32, b: i32) {
        let table = table(SCALARS);
        let bytes = |value: i32| table.attribute("i").unwrap().1.query_value(&value.to_string()).unwrap();
        prop_assert_eq!(bytes(a).cmp(&bytes(b)), a.cmp(&b));
    }
}
