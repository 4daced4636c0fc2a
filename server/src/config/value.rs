//! The texts of a configuration: what the environment puts into them, and what they must look like.
//!
//! Owns `${NAME}`, durations, sizes, URL templates and headers. It never knows which key a text belongs to.
//! Invariant: no [`Wrong`] holds a character that came from the environment, nor one of a URL or a header's value.

use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::yaml::Text;
use super::{Admin, Capacity, Environment};
use crate::diagnostic::{Position, shown};

/// A year; longer is a slip of the pen, and could overflow a clock.
const MAX_DURATION_MS: u64 = 365 * 24 * 60 * 60 * 1000;

/// The longest text with the environment's values in it: a text may name a long variable many times.
const MAX_TEXT_BYTES: usize = 64 * 1024;

/// Errors of one text that are worth telling.
const MAX_ERRORS_OF_A_TEXT: usize = 8;

/// Headers that frame a message; the HTTP client writes them.
const OF_THE_CLIENT: [&str; 7] =
    ["connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"];

/// What is wrong with a text.
pub(super) struct Wrong {
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

/// A text with the environment's values in it.
pub(super) struct Value {
    pub(super) text: String,
    /// The text as an error may repeat it: `${NAME}` stays as written.
    pub(super) shown: String,
}

/// Puts the environment's values into a text.
///
/// # Errors
/// Every unknown variable and every stray dollar sign, where it stands.
pub(super) fn expand(text: &Text, environment: Environment<'_>) -> Result<Value, Vec<(Position, Wrong)>> {
    let mut out = String::new();
    let mut errors = Vec::new();
    let mut rest = text.raw.as_str();
    while let Some(dollar) = rest.find('$') {
        let before = text.raw.len() - rest.len() + dollar;
        out.push_str(&rest[..dollar]);
        rest = &rest[dollar..];
        if let Some(behind) = rest.strip_prefix("$$") {
            out.push('$');
            rest = behind;
            continue;
        }
        let name = rest.strip_prefix("${").and_then(|body| body.split_once('}'));
        let error = match name {
            Some((name, behind)) if is_variable(name) => {
                rest = behind;
                environment(name).map_or_else(
                    || Some(missing(name)),
                    |value| {
                        out.push_str(&value);
                        None
                    },
                )
            }
            _ => {
                rest = &rest[1..];
                let hint = "write ${NAME} for a variable of the environment, $$ for a dollar sign";
                Some(wrong("a dollar sign that begins no variable", hint))
            }
        };
        if let Some(error) = error {
            errors.push((text.place_behind(&text.raw[..before]), error));
        }
        if errors.len() == MAX_ERRORS_OF_A_TEXT || out.len() > MAX_TEXT_BYTES {
            break;
        }
    }
    out.push_str(rest);
    if errors.is_empty() && out.len() > MAX_TEXT_BYTES {
        let message = format!("longer than {MAX_TEXT_BYTES} bytes");
        errors.push((text.at, Wrong { message, hint: None }));
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(Value { text: out, shown: shown(&text.raw) })
}

fn is_variable(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first == b'_' || first.is_ascii_alphabetic())
        && bytes.all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
}

fn missing(name: &str) -> Wrong {
    let name = shown(name);
    wrong(&format!("the environment has no variable {name}"), &format!("export {name}=..."))
}

fn wrong(message: &str, hint: &str) -> Wrong {
    Wrong { message: message.to_owned(), hint: Some(hint.to_owned()) }
}

pub(super) fn address(value: &Value) -> Result<SocketAddr, Wrong> {
    value.text.parse().map_err(|_| {
        wrong(
            &format!("\"{}\" is not an address and a port", value.shown),
            "write an IP address and a port: 127.0.0.1:9926",
        )
    })
}

/// Where this server is asked of itself.
pub(super) fn admin(value: &Value) -> Result<Admin, Wrong> {
    match value.text.as_str() {
        "none" => Ok(Admin::Off),
        "same" => Ok(Admin::Same),
        _ => address(value).map(Admin::At).map_err(|wrong| {
            let hint = "write an IP address and a port, none, or same (as listen)";
            Wrong { hint: Some(hint.to_owned()), ..wrong }
        }),
    }
}

/// Of the head of a request, which one with a token in it must fit into.
pub(super) fn head_size(value: &Value) -> Result<usize, Wrong> {
    match size(value)? {
        bytes @ 1024..=1_048_576 => Ok(bytes),
        _ => Err(wrong(&format!("\"{}\" is not from 1KiB to 1MiB", value.shown), "write a size such as 16KiB")),
    }
}

/// A size, or none.
pub(super) fn size_or_none(value: &Value) -> Result<Option<usize>, Wrong> {
    if value.text == "none" { Ok(None) } else { size(value).map(Some) }
}

/// A file's name.
pub(super) fn file(value: &Value) -> Result<PathBuf, Wrong> {
    if value.text.is_empty() || value.text.contains('\0') {
        return Err(wrong(
            &format!("\"{}\" is not a file's name", value.shown),
            "write a path, from the folder of this file",
        ));
    }
    Ok(PathBuf::from(&value.text))
}

pub(super) fn flag(value: &Value) -> Result<bool, Wrong> {
    value
        .text
        .parse()
        .map_err(|_| wrong(&format!("\"{}\" is neither true nor false", value.shown), "write true or false"))
}

/// A duration: a whole number and one of `ms`, `s`, `m`, `h`.
pub(super) fn duration(value: &Value) -> Result<Duration, Wrong> {
    let units = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
    let (digits, unit) = number_and_unit(&value.text);
    let Some((_, unit_ms)) = units.iter().find(|(name, _)| *name == unit) else {
        return Err(not_a_duration(value));
    };
    let number: u64 = digits.parse().map_err(|_| not_a_duration(value))?;
    match number.checked_mul(*unit_ms) {
        Some(ms) if ms <= MAX_DURATION_MS => Ok(Duration::from_millis(ms)),
        _ => Err(wrong(&format!("\"{}\" is more than a year", value.shown), "at most 8760h")),
    }
}

fn not_a_duration(value: &Value) -> Wrong {
    wrong(&format!("\"{}\" is not a duration", value.shown), "write a whole number and a unit: 500ms, 5s, 2m, 1h")
}

/// A duration that is not zero, as a deadline must be.
pub(super) fn deadline(value: &Value) -> Result<Duration, Wrong> {
    match duration(value)? {
        Duration::ZERO => Err(wrong("a deadline cannot be zero", "write a whole number and a unit: 500ms, 5s")),
        duration => Ok(duration),
    }
}

/// How often a second, as the time between two: a number from 0.001 to 1000, or 0 for never.
pub(super) fn per_second(value: &Value) -> Result<Option<Duration>, Wrong> {
    let hint = "write how many a second: 1, 10, 0.1 for one in ten seconds; 0 for none";
    let plain = value.text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    match value.text.parse::<f64>() {
        Ok(0.0) if plain => Ok(None),
        Ok(times) if plain && (0.001..=1000.0).contains(&times) => Ok(Some(Duration::from_secs_f64(1.0 / times))),
        Ok(times) if plain && times.is_finite() => {
            Err(wrong(&format!("\"{}\" is not from 0.001 to 1000", value.shown), hint))
        }
        _ => Err(wrong(&format!("\"{}\" is not a number", value.shown), hint)),
    }
}

/// A size in bytes, not zero: a whole number and one of `B`, `KiB`, `MiB`, `GiB`.
pub(super) fn size(value: &Value) -> Result<usize, Wrong> {
    let units = [("B", 0), ("KiB", 10), ("MiB", 20), ("GiB", 30)];
    let (digits, unit) = number_and_unit(&value.text);
    let shift = units.iter().find(|(name, _)| *name == unit).map(|(_, shift)| *shift);
    let bytes = digits.parse::<u64>().ok().zip(shift).and_then(|(number, shift)| number.checked_mul(1 << shift));
    match bytes.and_then(|bytes| usize::try_from(bytes).ok()).filter(|bytes| *bytes <= isize::MAX as usize) {
        Some(0) => Err(wrong("a size cannot be zero", SIZE_HINT)),
        Some(bytes) => Ok(bytes),
        None => Err(wrong(&format!("\"{}\" is not a size", value.shown), SIZE_HINT)),
    }
}

const SIZE_HINT: &str = "write a whole number and a unit: 512B, 64KiB, 64MiB, 1GiB";

/// What a table may hold: a size, or `N entries`.
pub(super) fn capacity(value: &Value) -> Result<Capacity, Wrong> {
    let hint = "write a size, 64MiB, or a count, 10000 entries";
    let Some(count) = value.text.strip_suffix("entries") else {
        return size(value)
            .map(|bytes| Capacity::Bytes(bytes as u64))
            .map_err(|error| Wrong { hint: Some(hint.to_owned()), ..error });
    };
    match count.trim_end().parse::<u64>() {
        Ok(0) => Err(wrong("a count cannot be zero", hint)),
        Ok(entries) => Ok(Capacity::Entries(entries)),
        Err(_) => Err(wrong(&format!("\"{}\" is not a count of entries", value.shown), hint)),
    }
}

/// A number from 1 to `most`.
pub(super) fn count(value: &Value, most: usize) -> Result<usize, Wrong> {
    let plain = value.text.bytes().all(|byte| byte.is_ascii_digit());
    match value.text.parse().ok().filter(|_| plain) {
        Some(count) if (1..=most).contains(&count) => Ok(count),
        _ => Err(wrong(&format!("\"{}\" is not a whole number from 1 to {most}", value.shown), "write a number: 16")),
    }
}

/// A number from 0 to `most`.
pub(super) fn whole<N: FromStr + PartialOrd + Display>(value: &Value, most: N) -> Result<N, Wrong> {
    let plain = value.text.bytes().all(|byte| byte.is_ascii_digit());
    match value.text.parse::<N>().ok().filter(|number| plain && *number <= most) {
        Some(number) => Ok(number),
        None => Err(wrong(&format!("\"{}\" is not a whole number from 0 to {most}", value.shown), "write a number: 2")),
    }
}

/// A share in percent, from `range`.
pub(super) fn percent<N: FromStr + PartialOrd + Display>(value: &Value, range: RangeInclusive<N>) -> Result<N, Wrong> {
    let (digits, unit) = number_and_unit(&value.text);
    match digits.parse().ok().filter(|percent| unit == "%" && range.contains(percent)) {
        Some(percent) => Ok(percent),
        None => {
            let (least, most) = (range.start(), range.end());
            let message = format!("\"{}\" is not a share from {least}% to {most}%", value.shown);
            Err(wrong(&message, "write a whole number and a percent sign: 20%"))
        }
    }
}

/// A JSON pointer (RFC 6901).
pub(super) fn pointer(value: &Value) -> Result<String, Wrong> {
    let is_whole = value.text.is_empty();
    let is_escaped = value.text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    if (is_whole || value.text.starts_with('/')) && is_escaped {
        return Ok(value.text.clone());
    }
    Err(wrong(
        &format!("\"{}\" is not a JSON pointer", value.shown),
        "write: /data, or /a/b; ~1 is a slash, ~0 a tilde",
    ))
}

/// How long a load waits for others.
pub(super) fn window(value: &Value) -> Result<Duration, Wrong> {
    match duration(value)? {
        window if window > Duration::from_secs(1) => {
            Err(wrong(&format!("\"{}\" is more than a second", value.shown), "write a short time: 2ms"))
        }
        window => Ok(window),
    }
}

/// A text of which the source says whether it will do.
pub(super) fn as_written(value: &Value) -> Result<String, Wrong> {
    Ok(value.text.clone())
}

fn number_and_unit(text: &str) -> (&str, &str) {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    (number, unit.trim_start())
}

const URL_HINT: &str = "write: http://host:port/path/{id}, or http://host/path?key={id}";

const LIST_URL_HINT: &str = "write: http://host:port/path?ids={ids}";

/// The template of a record's URL: absolute, http or https, `{id}` once, in its path or query.
pub(super) fn url(value: &Value) -> Result<String, Wrong> {
    url_with(value, "{id}")
}

/// The same of a list's, with `{ids}`.
pub(super) fn list_url(value: &Value) -> Result<String, Wrong> {
    url_with(value, "{ids}").map_err(|error| match error.hint {
        Some(hint) if hint == URL_HINT => Wrong { hint: Some(LIST_URL_HINT.to_owned()), ..error },
        _ => error,
    })
}

/// A URL without a placeholder.
/// Names with commas between them; none where it is empty.
pub(super) fn words(value: &Value) -> Result<Vec<String>, Wrong> {
    let words = value.text.split(',').map(str::trim).filter(|_| !value.text.trim().is_empty());
    let is_word = |word: &str| {
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'$'))
    };
    words
        .map(|word| match is_word(word) {
            true => Ok(word.to_owned()),
            false => Err(wrong(&format!("\"{}\" is not a list of names", value.shown), "write: select, fields")),
        })
        .collect()
}

pub(super) fn fixed_url(value: &Value) -> Result<String, Wrong> {
    let hint = "write: http://host:port/path";
    if value.text.contains(['{', '}']) {
        return Err(wrong("a URL without a placeholder is wanted", hint));
    }
    // With one, it is held against the same rules.
    let root = if value.text.split_once("://").is_some_and(|(_, rest)| rest.contains(['/', '?'])) { "" } else { "/" };
    let filled = Value { text: format!("{}{root}{{id}}", value.text), shown: value.shown.clone() };
    match url_with(&filled, "{id}") {
        Ok(_) => Ok(value.text.clone()),
        Err(error) => {
            let hint = error.hint.map(|own| if own == URL_HINT { hint.to_owned() } else { own });
            Err(Wrong { hint, ..error })
        }
    }
}

fn url_with(value: &Value, hole: &str) -> Result<String, Wrong> {
    let url = &value.text;
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(wrong("not an absolute URL", URL_HINT));
    };
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(wrong("not an http or https URL", URL_HINT));
    }
    let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err(wrong(
            "a URL must not hold credentials",
            "send them as a header: headers: { Authorization: \"Basic ${NAME}\" }",
        ));
    }
    if authority.contains(hole) {
        return Err(wrong(&format!("{hole} stands outside the URL's path and query"), URL_HINT));
    }
    if !is_authority(authority) {
        return Err(wrong("the URL's host or port is malformed", URL_HINT));
    }
    if tail.contains('#') {
        return Err(wrong("a URL of an origin has no fragment (#)", "write %23 for a # in a path"));
    }
    match tail.matches(hole).count() {
        0 => return Err(wrong(&format!("the URL lacks the placeholder {hole}"), URL_HINT)),
        1 => {}
        _ => {
            return Err(wrong(&format!("the placeholder {hole} stands in the URL twice"), URL_HINT));
        }
    }
    let fixed = tail.replacen(hole, "", 1);
    if fixed.contains(['{', '}']) {
        return Err(wrong(&format!("a placeholder other than {hole}"), URL_HINT));
    }
    if !fixed.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`|".contains(&byte)) {
        return Err(wrong("a character that a URL cannot hold", "percent-encode it"));
    }
    Ok(url.clone())
}

fn is_authority(authority: &str) -> bool {
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) if host.parse::<std::net::Ipv6Addr>().is_ok() => ("ipv6", port),
        Some(_) => return false,
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let host_is_good =
        !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    let port_is_good = match port.strip_prefix(':') {
        None => port.is_empty(),
        Some(digits) => {
            digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok_and(|port| port > 0)
        }
    };
    host_is_good && port_is_good
}

/// A header's name: a token (RFC 9110 §5.6.2) that is not the HTTP client's own.
pub(super) fn header_name(name: &str) -> Result<(), Wrong> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        let message = format!("\"{}\" is not a header's name", shown(name));
        return Err(wrong(&message, "letters, digits and hyphens, as in X-Api-Key"));
    }
    if OF_THE_CLIENT.iter().any(|own| own.eq_ignore_ascii_case(name)) {
        return Err(wrong(&format!("header {} is written by the HTTP client", shown(name)), "leave it out"));
    }
    Ok(())
}

/// A header's name where a value stands. Its errors repeat what is written, not what the environment put there.
pub(super) fn header(value: &Value) -> Result<String, Wrong> {
    match header_name(&value.text) {
        Ok(()) => Ok(value.text.clone()),
        Err(error) => Err(Wrong { message: format!("\"{}\" is no header for it", value.shown), hint: error.hint }),
    }
}

/// A header's value: visible ASCII, space and tab. Its errors never repeat it.
pub(super) fn header_value(value: &Value) -> Result<String, Wrong> {
    if value.text.contains(['\r', '\n']) {
        return Err(wrong("the value holds a line break", "check the end of the variable's value, if it is one"));
    }
    if !value.text.bytes().all(|byte| byte == b'\t' || byte == b' ' || byte.is_ascii_graphic()) {
        return Err(wrong("the value holds a character that a header cannot carry", "only visible ASCII and spaces"));
    }
    Ok(value.text.clone())
}
