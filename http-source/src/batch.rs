//! Many records with one request: the list that is asked for, and what of its answer is whose.
//!
//! Invariants: a key is absent only where an answer that held nothing doubtful does not have it; what is wrong with one record is an
//! error of its key alone; no key stands in a list that the origin could read as another, or as two.

use std::collections::HashMap;
use std::time::Duration;

use ureq::http::Uri;
use wtcache::{Batch, Bytes, Failure, Lifetime, LoadMany, Loaded, Record, SourceError, Version};

use crate::attempt::Attempt;
use crate::builder::BuildError;
use crate::gather::Gatherer;
use crate::list::{FormNames, FormOptions, ListForm, broken};
use crate::report;
use crate::source::HttpSource;
use crate::template::{self, Template};

/// More keys in one request than this are a slip of the pen.
const MOST_KEYS: usize = 10_000;

/// A longer window is a mistake of units: every load waits for it.
const LONGEST_WINDOW: Duration = Duration::from_secs(1);

/// An origin that gives the records of several keys with one request: for
/// [`HttpSourceBuilder::batch`](crate::HttpSourceBuilder::batch).
///
/// Its answer is 200 with an array of records, each of which tells its key; in any order. A key that the array lacks is absent; so
/// [`most_keys`](Self::most_keys) must be no more than the origin gives in one answer. Where the answer holds something doubtful, nothing
/// is concluded from what it lacks, and those keys fail: a member that is no record or tells no key, a record that was not asked for, or a
/// `Link` to a next page. Two records of one key are an error of that key, as is one that does not pass the
/// [check](crate::HttpSourceBuilder::record_check). Any other status, 404 too, is an error of all keys.
///
/// The headers of the answer are the list's. Its `Cache-Control`, `Expires`, `Age` and `Vary` hold for each record in it, with
/// [`Freshness::Origin`](crate::Freshness::Origin); its `ETag` and `Last-Modified` for none. A record has a version only where
/// [`version_at`](Self::version_at) says so; nothing is revalidated, since a list has no 304.
///
/// # Example
/// ```
/// use wtcache_http_source::{BatchGet, HttpSource};
///
/// let source = HttpSource::builder("http://127.0.0.1:8080/items/{id}")
///     .batch(BatchGet::new("http://127.0.0.1:8080/items?ids={ids}").records_at("/data").version_at("/etag"))
///     .build()?;
/// # drop(source);
/// # Ok::<(), wtcache_http_source::BuildError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct BatchGet {
    url: String,
    separator: String,
    most_keys: usize,
    form: FormOptions,
    window: Duration,
}

impl BatchGet {
    /// With the URL of a list: `{ids}` stands once in its path or query, in the place of the keys, as in `http://host/items?ids={ids}`. Scheme,
    /// host and port are those of the record's URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            separator: ",".to_owned(),
            most_keys: 100,
            form: FormOptions::default(),
            window: Duration::ZERO,
        }
    }

    /// What stands between two keys, as it is to be in the URL: `,` by default; `&id=` where the origin wants a parameter for each key
    /// (`http://host/items?id={ids}`). It begins with a character that is no letter, digit, `-`, `.`, `_` or `~`, nor `+`; keys that
    /// hold that character are loaded one by one.
    pub fn separator(mut self, separator: impl Into<String>) -> Self {
        self.separator = separator.into();
        self
    }

    /// The most keys in one request. Default 100. What does not fit into a URL of 6 KiB goes in further requests all the same.
    pub fn most_keys(mut self, keys: usize) -> Self {
        self.most_keys = keys;
        self
    }

    /// Where in the answer the array is, a JSON pointer. Default `""`: the answer is the array.
    pub fn records_at(mut self, pointer: impl Into<String>) -> Self {
        self.form.records_at = pointer.into();
        self
    }

    /// Where in a record its key is, a JSON pointer: a string, or a whole number as it is written. Default `/id`.
    pub fn key_at(mut self, pointer: impl Into<String>) -> Self {
        self.form.key_at = pointer.into();
        self
    }

    /// Where in a record its version is, a JSON pointer: the ETag that a `GET` of the record alone would have, with its quotes or
    /// without; a number is taken as it is written. A record that has nothing or null there has no version. Default: none has.
    pub fn version_at(mut self, pointer: impl Into<String>) -> Self {
        self.form.version_at = Some(pointer.into());
        self
    }

    /// The largest answer in bytes. Default 16 MiB.
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.form.body_limit = bytes;
        self
    }

    /// Loads of single records wait for up to this long, so that those of other callers which begin meanwhile go out with them. Default
    /// zero: a load does not wait, and only those of one call go together. At most a second.
    ///
    /// The deadline of each call holds. A call that has no more time left than this goes alone; so does, once more, one that has time left when
    /// the caller who sent the request for all has none, or panicked in the record check. A load that waits so has the whole record
    /// sent, though it could offer a version.
    pub fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }
}

/// The options of a batch, checked.
pub(crate) struct Lists {
    template: Template,
    separator: String,
    /// The byte that the origin splits at.
    splits_at: u8,
    most_keys: usize,
    form: ListForm,
    pub(crate) gatherer: Option<Gatherer>,
}

impl Lists {
    /// `single`: the URL of one record.
    pub(crate) fn new(options: &BatchGet, single: &Template) -> Result<Self, BuildError> {
        let refuse = |option, message: String| Err(BuildError::Option { option, message });
        let template = match Template::of_list(&options.url) {
            Ok(template) if template.is_same_origin(single) => template,
            Ok(_) => return refuse("batch.url", "it is of another scheme, host or port than the record's URL".into()),
            Err(why) => return refuse("batch.url", why),
        };
        let splits_at = match first_of(&options.separator) {
            Ok(byte) => byte,
            Err(why) => return refuse("batch.separator", why),
        };
        if !template.is_in_query() && options.separator.contains(['?', '&']) {
            return refuse("batch.separator", format!("{:?} stands in no path", options.separator));
        }
        if let Err(error) = template.filled(&format!("a{}b", options.separator)) {
            return refuse("batch.separator", format!("{:?} stands in no URL: {error}", options.separator));
        }
        if !(1..=MOST_KEYS).contains(&options.most_keys) {
            return refuse("batch.most_keys", format!("{} is not from 1 to {MOST_KEYS}", options.most_keys));
        }
        if options.window > LONGEST_WINDOW {
            return refuse("batch.window", format!("{:?} is more than {LONGEST_WINDOW:?}", options.window));
        }
        let names = FormNames {
            records_at: "batch.records_at",
            key_at: "batch.key_at",
            version_at: "batch.version_at",
            body_limit: "batch.body_limit",
        };
        Ok(Self {
            template,
            separator: options.separator.clone(),
            splits_at,
            most_keys: options.most_keys,
            form: ListForm::new(&names, &options.form)?,
            gatherer: (!options.window.is_zero()).then(|| Gatherer::new(options.window)),
        })
    }

    /// Whether the key can stand in a list, and be told from others there.
    pub(crate) fn takes(&self, key: &[u8]) -> bool {
        let is_dots = !self.template.is_in_query() && matches!(key, b"." | b"..");
        // What a record tells as its key is text.
        !key.is_empty() && !is_dots && !key.contains(&self.splits_at) && std::str::from_utf8(key).is_ok()
    }

    /// Whether so many keys, of so many bytes together as they stand in a URL, go in one request.
    pub(crate) fn has_room(&self, keys: usize, bytes: usize) -> bool {
        keys <= self.most_keys && self.template.has_room(bytes + keys.saturating_sub(1) * self.separator.len())
    }

    fn uri(&self, keys: &[&[u8]]) -> Result<Uri, SourceError> {
        let keys: Vec<String> = keys.iter().map(|key| template::encoded(key)).collect();
        self.template.filled(&keys.join(&self.separator))
    }

    /// What an answer says of each of these keys.
    fn read(&self, keys: &[&[u8]], body: &[u8]) -> Result<Vec<OfKey>, String> {
        let members = self.form.members(body)?;
        let mut told: HashMap<String, OfKey> = HashMap::with_capacity(members.len());
        let mut doubtful = None;
        for (number, member) in members.into_iter().enumerate() {
            let Some(key) = self.form.key(member) else {
                doubtful.get_or_insert_with(|| format!("number {number} of the answer is no record with a key"));
                continue;
            };
            if !keys.contains(&key.as_bytes()) {
                doubtful.get_or_insert_with(|| format!("number {number} of the answer was not asked for"));
                continue;
            }
            let of_key = match told.remove(&key) {
                Some(_) => OfKey::Wrong("the answer has more than one record of this key".to_owned()),
                None => match self.form.version(member) {
                    Ok(version) => OfKey::Found(member.get().as_bytes().to_vec(), version),
                    Err(why) => OfKey::Wrong(why),
                },
            };
            told.insert(key, of_key);
        }
        let lacks = |key: &&[u8]| {
            let found = std::str::from_utf8(key).ok().and_then(|key| told.remove(key));
            found.unwrap_or_else(|| match &doubtful {
                None => OfKey::Absent,
                Some(why) => OfKey::Wrong(format!(
                    "the answer lacks this key, which does not say that there is no record: {why}"
                )),
            })
        };
        Ok(keys.iter().map(lacks).collect())
    }
}

/// The first character of a separator, as the origin reads it.
fn first_of(separator: &str) -> Result<u8, String> {
    if !separator.bytes().all(|byte| byte.is_ascii_graphic()) || separator.contains(['#', '{', '}', '+']) {
        return Err(format!("{separator:?} has a character that is not allowed; percent-encode it"));
    }
    let (first, rest) = match *separator.as_bytes() {
        [] => return Err("it is empty".into()),
        [b'%', high, low, ref rest @ ..] => {
            let digits = [high, low];
            let text = std::str::from_utf8(&digits).unwrap_or_default();
            (u8::from_str_radix(text, 16).map_err(|_| format!("{separator:?} has a % that encodes nothing"))?, rest)
        }
        [first, ref rest @ ..] => (first, rest),
    };
    if first.is_ascii_alphanumeric() || matches!(first, b'-' | b'.' | b'_' | b'~' | b'%') {
        return Err(format!("{separator:?} begins with what a key may hold as it is"));
    }
    if rest.contains(&first) || rest.contains(&b'%') {
        return Err(format!("{separator:?}: what it begins with comes once, and nothing else in it is encoded"));
    }
    Ok(first)
}

/// What an answer says of one key.
enum OfKey {
    Found(Vec<u8>, Option<Version>),
    Absent,
    Wrong(String),
}

/// What an answer says of the keys of one request, in their order.
pub(crate) struct Listed {
    answers: Vec<OfKey>,
    lifetime: Lifetime,
}

impl HttpSource {
    /// Asks for these keys with one request, attempted as often as a load may be.
    pub(crate) fn ask_for(&self, lists: &Lists, keys: &[&[u8]], left: Duration) -> Result<Listed, SourceError> {
        let uri = lists.uri(keys)?;
        let ask = || self.attempted(left, |attempt| self.list_of(lists, keys, &uri, attempt));
        report::list(&self.exchanges.name, Some(keys.len()), ask).map(|(listed, _)| listed)
    }

    /// One attempt.
    fn list_of(&self, lists: &Lists, keys: &[&[u8]], uri: &Uri, attempt: Attempt<'_>) -> Result<Listed, SourceError> {
        let answered = self.answered(&lists.form, uri, attempt)?;
        let mut answers = lists.read(keys, &answered.body).map_err(broken)?;
        if answered.has_next_page {
            for answer in &mut answers {
                if matches!(answer, OfKey::Absent) {
                    *answer = OfKey::Wrong("the answer lacks this key, and says that there is a next page".to_owned());
                }
            }
        }
        Ok(Listed { answers, lifetime: answered.lifetime })
    }

    /// What the key of number `at` is answered.
    pub(crate) fn listed(&self, key: &[u8], listed: &Listed, at: usize) -> Result<Loaded<Vec<u8>>, SourceError> {
        match &listed.answers[at] {
            OfKey::Absent => Ok(crate::source::absent(listed.lifetime)),
            OfKey::Wrong(why) => Err(broken(why)),
            OfKey::Found(body, version) => {
                let value = (self.answers.check)(key, body.clone())
                    .map_err(|why| broken(format_args!("the answer has no record of this key: {why}")))?;
                let record = Record::new(value).lifetime(listed.lifetime);
                Ok(Loaded::Found(match version {
                    Some(version) => record.version(version.clone()),
                    None => record,
                }))
            }
        }
    }
}

/// Only asked where the source has lists: see `Source::load_many`.
impl LoadMany<Bytes> for HttpSource {
    fn get_many(&self, batch: &mut Batch<'_, Bytes>) -> Result<(), SourceError> {
        let keys: Vec<&[u8]> = batch.keys().collect();
        let Some(lists) = &self.lists else {
            return Err(SourceError::new(Failure::Failed, "the source has no list to ask for"));
        };
        let mut together: Vec<usize> = Vec::new();
        let mut bytes = 0;
        for at in 0..keys.len() {
            if !lists.takes(keys[at]) {
                self.answer_alone(batch, keys[at], at);
                continue;
            }
            let length = template::encoded(keys[at]).len();
            if !lists.has_room(together.len() + 1, bytes + length) {
                self.answer_together(batch, lists, &keys, &together);
                together.clear();
                bytes = 0;
            }
            together.push(at);
            bytes += length;
        }
        self.answer_together(batch, lists, &keys, &together);
        Ok(())
    }

    fn most_keys(&self) -> usize {
        self.lists.as_ref().map_or(1, |lists| lists.most_keys)
    }
}

impl HttpSource {
    fn answer_alone(&self, batch: &mut Batch<'_, Bytes>, key: &[u8], at: usize) {
        let version = batch.replaced(at).and_then(|entry| entry.version());
        let answer = report::load(&self.exchanges.name, || self.load(key, version, batch.remaining()));
        batch.answer(at, answer);
    }

    fn answer_together(&self, batch: &mut Batch<'_, Bytes>, lists: &Lists, keys: &[&[u8]], numbers: &[usize]) {
        // One record alone tells more of itself than a list of one.
        if let [at] = *numbers {
            return self.answer_alone(batch, keys[at], at);
        }
        if numbers.is_empty() {
            return;
        }
        let asked: Vec<&[u8]> = numbers.iter().map(|at| keys[*at]).collect();
        match self.ask_for(lists, &asked, batch.remaining()) {
            Ok(listed) => {
                for (place, at) in numbers.iter().enumerate() {
                    batch.answer(*at, self.listed(keys[*at], &listed, place));
                }
            }
            Err(error) => numbers.iter().for_each(|at| batch.answer(*at, Err(error.clone()))),
        }
    }
}
