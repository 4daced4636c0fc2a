//! Scripts of faults: what their text means, and what is none.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use wtcache_origin::{Answer, Fault, FaultKind, Method, Script, Target};

fn rules(text: &str) -> Vec<Fault> {
    text.parse::<Script>().unwrap_or_else(|error| panic!("{text:?}: {error}")).into_iter().collect()
}

fn put(kind: FaultKind) -> Fault {
    Fault::on(Method::Put, "a").kind(kind)
}

#[test]
fn a_line_has_rows_and_a_row_behaviours() {
    let text = "\n  # a remark\nitem-1: PUT 503, reset-after-apply x2, ok; GET 429 retry-after=1,\n   else slow-body 20ms # and so on\r\n\n";
    let (put, get) = (|| Fault::on(Method::Put, "item-1"), || Fault::on(Method::Get, "item-1"));
    let expected = [
        put().kind(FaultKind::Answer(Answer::new(503))),
        put().kind(FaultKind::ResetAfterApply).times(2),
        put().fares_well(),
        get().kind(FaultKind::Answer(Answer::new(429).header("retry-after", "1"))),
        get().kind(FaultKind::SlowBody(Duration::from_millis(20))).always(),
    ];
    assert_eq!(rules(text), expected);
    assert!(rules("").is_empty() && rules("# nothing").is_empty());
}

#[test]
fn rows_of_all_ids_come_after_those_of_one() {
    let all = |kind| Fault::on(Method::Put, Target::Any).kind(kind);
    let expected = [put(FaultKind::ResetOnHead), put(FaultKind::HangAfterApply), all(FaultKind::CloseAfterApply)];
    assert_eq!(rules("*: PUT close-after-apply\na: PUT reset-on-head\na: PUT hang-after-apply"), expected);
    // An id of that name is written as a string.
    assert_eq!(rules("\"*\": PUT ok"), [Fault::on(Method::Put, "*").fares_well()]);
    assert_eq!(rules("\"a b\\u00e4:\": PUT ok"), [Fault::on(Method::Put, "a bä:").fares_well()]);
}

/// Each kind with a word for what it needs.
fn kinds() -> Vec<(String, FaultKind)> {
    let written = |name: &&str| {
        let needs = match *name {
            "delay-before-apply" | "delay-after-apply" | "slow-body" | "stray-reset" | "stray-hang" => " 1500us",
            "answer" | "apply-then-answer" => " 404 X-A=\"b, c\" body=\"{\\\"e\\\":1}\"",
            "oversize-body" => " 4000",
            _ => "",
        };
        format!("{name}{needs}")
    };
    let parsed = |text: String| {
        let rule = rules(&format!("a: PUT {text}")).pop().unwrap();
        (text, rule.what().unwrap().clone())
    };
    FaultKind::NAMES.iter().map(written).map(parsed).collect()
}

#[test]
fn every_kind_can_be_written() {
    for (text, kind) in kinds() {
        assert_eq!(kind.name(), text.split(' ').next().unwrap());
    }
    let answer = Answer::new(404).header("X-A", "b, c").body("{\"e\":1}");
    let has = |kind: FaultKind| kinds().into_iter().any(|(_, other)| other == kind);
    assert!(has(FaultKind::StrayHang(Duration::from_micros(1500))) && has(FaultKind::OversizeBody(4000)));
    assert!(has(FaultKind::Answer(answer.clone())) && has(FaultKind::ApplyThenAnswer(answer)));
    assert_eq!(rules("a: PUT 404"), rules("a: PUT answer 404"));
}

#[test]
fn what_is_no_script_is_refused_with_its_place() {
    for (text, place, words) in [
        ("a", (1, 2), "a colon after the id is expected, not the end of the line"),
        (": PUT ok", (1, 1), "an id or *"),
        ("a: ok", (1, 4), "a method"),
        ("a: put ok", (1, 4), "a method"),
        ("a: PUT", (1, 7), "a behaviour is expected"),
        ("a: PUT ok,", (1, 11), "a behaviour is expected, not the end of the script"),
        ("a: PUT ok\nb: PUT 503, explode", (2, 13), "\"explode\" is no behaviour"),
        ("ä: PUT ok explode", (1, 11), "a comma, a semicolon, x and a number"),
        ("a: PUT ok x0", (1, 11), "a number from 1"),
        ("a: PUT ok x", (1, 11), "a number from 1"),
        ("a: PUT ok x99999999999", (1, 11), "a number from 1"),
        ("a: PUT ok :", (1, 11), "the end of the line is expected, not a colon"),
        ("a: PUT 99", (1, 8), "a status from 200 to 599"),
        ("a: PUT apply-then-answer", (1, 25), "a status"),
        ("a: PUT 503 retry-after=", (1, 24), "a value"),
        ("a: PUT 503 a b=1", (1, 12), "x and a number"),
        ("a: PUT 503 a=\"b\\nc\"", (1, 12), "is no header"),
        ("a: PUT slow-body 20", (1, 18), "a time such as 20ms"),
        ("a: PUT slow-body 20h", (1, 18), "a time"),
        ("a: PUT slow-body", (1, 17), "a time"),
        ("a: PUT oversize-body many", (1, 22), "a number of bytes"),
        ("a: PUT else ok x2", (1, 16), "not counted"),
        ("a: PUT else ok, 503", (1, 17), "nothing comes after `else`"),
        ("a: PUT else ok\na: GET ok; PUT ok", (2, 16), "nothing comes after `else`"),
        ("a: PUT 503 body=\"x", (1, 17), "no JSON string"),
        ("a: PUT {}", (1, 8), "'{' stands in JSON strings only"),
    ] {
        let error = text.parse::<Script>().expect_err(text);
        assert_eq!((error.line(), error.column()), place, "{text:?}: {error}");
        assert!(error.to_string().contains(words), "{text:?}: {error}");
    }
}

/// Numbers that look random (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

fn random(dice: &mut Dice, kinds: &[(String, FaultKind)]) -> String {
    let ids = ["a", "b-2", "*", "\"*\"", "\"x: y\"", "\"\"", "ä"];
    let mut text = String::new();
    for _ in 0..dice.below(4) {
        text += &format!("{}:", ids[dice.below(ids.len())]);
        for row in 0..=dice.below(3) {
            text += if row > 0 { ";\n " } else { " " };
            text += ["GET", "PUT", "DELETE", "PATCH"][dice.below(4)];
            for at in 0..=dice.below(3) {
                text += if at > 0 { " , " } else { " " };
                text += if dice.below(4) == 0 { "ok" } else { &kinds[dice.below(kinds.len())].0 };
                text += &if dice.below(3) == 0 { format!(" x{}", 1 + dice.below(5)) } else { String::new() };
            }
        }
        text += "\n";
    }
    text
}

/// What is printed reads back as what it was printed from, and what has been spoilt is read or refused, within the text.
#[test]
fn scripts_are_printed_and_read_back() {
    let (mut dice, kinds) = (Dice(1), kinds());
    let (mut long, mut refused) = (0, 0);
    for _ in 0..3_000 {
        let text = random(&mut dice, &kinds);
        let script: Script = text.parse().unwrap_or_else(|error| panic!("{text}\n{error}"));
        assert_eq!(script.to_string().parse(), Ok(script.clone()), "{text}");
        long += usize::from(script.into_iter().count() > 5);
        let mut spoilt: Vec<char> = text.chars().collect();
        for _ in 0..=dice.below(3) {
            let (at, length) = (dice.below(spoilt.len() + 1), dice.below(4));
            let end = (at + length).min(spoilt.len());
            let put: Vec<char> =
                if dice.below(2) == 0 { Vec::new() } else { vec![[':', '"', '=', 'x', '\n', '{'][dice.below(6)]] };
            spoilt.splice(at..end, put);
        }
        let spoilt: String = spoilt.into_iter().collect();
        match spoilt.parse::<Script>() {
            Ok(script) => assert_eq!(script.to_string().parse(), Ok(script), "{spoilt}"),
            Err(error) => {
                refused += 1;
                let line = spoilt.split('\n').nth(error.line() - 1).unwrap_or_else(|| panic!("{spoilt}\n{error}"));
                assert!((1..=line.chars().count() + 1).contains(&error.column()), "{spoilt}\n{error}");
            }
        }
    }
    assert!(long > 500 && refused > 500, "{long} {refused}");
}
