#![no_main]
//! The URL template of the HTTP source: its first line is the template, the rest of the input is the key.
//!
//! No template and no key makes it panic. Where a template is taken, every key that is taken is a part of exactly the
//! template's one segment, or of its query, stands there percent-encoded, and decodes back to itself; a key is refused only where a
//! URL cannot carry it.

use libfuzzer_sys::fuzz_target;
use wtcache_http_source::HttpSource;

/// The longest path and query that is sent, and the longest that a template may have of its own.
const LONGEST_TARGET: usize = 6 * 1024;

fuzz_target!(|input: &[u8]| {
    let (template, key) = match input.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&input[..end], &input[end + 1..]),
        None => (input, &b"k"[..]),
    };
    if let Ok(whole) = std::str::from_utf8(input)
        && whole.contains('\n')
    {
        assert!(HttpSource::builder(whole).build().is_err(), "a line break is no part of a URL");
    }
    let Ok(template) = std::str::from_utf8(template) else { return };
    let Ok(source) = HttpSource::builder(template).build() else { return };
    match source.url_of(key) {
        Ok(url) => is_the_templates(template, key, &url),
        Err(error) => {
            let longest = template.len() + 3 * key.len();
            let in_path = !parts(template).2.contains("{id}");
            let refused = key.is_empty() || in_path && matches!(key, b"." | b"..") || longest > LONGEST_TARGET;
            assert!(refused, "{template} refuses {}: {error}", key.escape_ascii());
        }
    }
});

/// A URL's parts, as they stand in it: authority, path, query.
fn parts(url: &str) -> (&str, &str, &str) {
    let (scheme, rest) = url.split_once("://").expect("an absolute URL");
    assert!(scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https"), "{scheme}");
    let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (path, query) = tail.split_at(tail.find('?').unwrap_or(tail.len()));
    (authority, path, query)
}

fn is_the_templates(template: &str, key: &[u8], url: &str) {
    assert!(url.bytes().all(|byte| byte.is_ascii_graphic()) && !url.contains('#'), "{url:?}");
    let (authority, path, query) = parts(url);
    let (own_authority, own_path, own_query) = parts(template);
    // An empty path is sent as a slash.
    let own_path = if own_path.is_empty() { "/" } else { own_path };
    assert_eq!(authority, own_authority, "{url}");
    match own_query.split_once("{id}") {
        None => assert_eq!(query, own_query, "{url}"),
        Some((before, after)) => is_the_key(query, (before, after), key),
    }
    let (segments, own_segments): (Vec<_>, Vec<_>) = (path.split('/').collect(), own_path.split('/').collect());
    assert_eq!(segments.len(), own_segments.len(), "{url} has other segments than {template}");
    for (segment, own) in segments.into_iter().zip(own_segments) {
        let whole = decoded(segment);
        assert!(whole != b"." && whole != b"..", "the segment {segment} of {url} would be normalised away");
        match own.split_once("{id}") {
            None => assert_eq!(segment, own, "{url}"),
            Some((before, after)) => is_the_key(segment, (before, after), key),
        }
    }
}

/// What stands between the two is the key, percent-encoded.
fn is_the_key(part: &str, (before, after): (&str, &str), key: &[u8]) {
    let place = part.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
    let place = place.unwrap_or_else(|| panic!("{part} is not around {before}{{id}}{after}"));
    assert!(place.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte)), "{place}");
    assert_eq!(decoded(place), key, "{place} is another key");
}

/// What a server takes a segment for. A percent sign that begins no escape stands for itself.
fn decoded(segment: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = segment.as_bytes();
    while let [byte, tail @ ..] = rest {
        let escape = (*byte == b'%').then(|| tail.get(..2)).flatten();
        let value = escape.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match value {
            Some(value) => {
                out.push(value);
                rest = &tail[2..];
            }
            None => {
                out.push(*byte);
                rest = tail;
            }
        }
    }
    out
}
