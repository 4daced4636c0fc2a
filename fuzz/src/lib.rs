//! What the fuzz targets share: what must hold of every error of a file that a person wrote.

use wtcache_server::diagnostic::{Diagnostics, MAX_FILE_BYTES};

/// Checks that each error stands inside the text, that they come in the order of their places, and that none has a character
/// which moves a terminal's cursor.
///
/// A carriage return alone ends a line for YAML, and not for GraphQL: a place inside the text by either count will do.
///
/// # Panics
/// One does not.
pub fn check_places(bytes: &[u8], errors: &Diagnostics) {
    assert!(errors.iter().next().is_some(), "refused without an error");
    if bytes.len() > MAX_FILE_BYTES {
        return;
    }
    let text = String::from_utf8_lossy(bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes));
    let with_returns = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut before = (1, 1);
    for error in errors.iter() {
        let place = (error.line, error.column);
        assert!(before <= place, "{error} comes after {before:?}");
        before = place;
        assert!(is_inside(place, &text) || is_inside(place, &with_returns), "{error} stands outside of {text:?}");
        for said in error.hint.iter().chain([&error.message]) {
            assert!(!said.contains(char::is_control), "{said:?} has a control character");
            assert!(!said.is_empty(), "{place:?} says nothing");
        }
    }
}

/// Inside, or right behind the last character of a line.
fn is_inside((line, column): (usize, usize), text: &str) -> bool {
    let line = line.checked_sub(1).and_then(|above| text.split('\n').nth(above));
    line.is_some_and(|line| (1..=line.chars().count() + 1).contains(&column))
}
