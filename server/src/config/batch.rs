//! How an origin gives several records with one request, lists them, and makes records that it names, as it is configured.

use std::fmt;
use std::time::Duration;

use wtcache_http_source::{BatchGet, CreatePost, ListGet};

use super::without_query;

/// How an origin gives several records with one request: see [`BatchGet`].
#[derive(Clone, PartialEq, Eq)]
pub struct BatchConfig {
    /// The URL of a list, with the keys in place of its one `{ids}`; of the same host as a record's.
    pub url: String,
    /// What stands between two keys; by default a comma.
    pub separator: String,
    /// The most keys in one request; by default 100, not zero.
    pub most_keys: usize,
    /// Where in an answer the array of records is: a JSON pointer; by default it is the answer.
    pub records_at: String,
    /// Where in a record its key is: a JSON pointer; by default the table's primary key.
    pub key_at: Option<String>,
    /// Where in a record its version is: a JSON pointer; by default it has none.
    pub version_at: Option<String>,
    /// The longest body of an answer, in bytes; by default 16 MiB, not zero.
    pub max_body_bytes: usize,
    /// How long a load of one record waits for others to go out with it; by default zero, not at all.
    pub window: Duration,
}

impl BatchConfig {
    /// The defaults of everything but the URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            separator: ",".to_owned(),
            most_keys: 100,
            records_at: String::new(),
            key_at: None,
            version_at: None,
            max_body_bytes: 16 * 1024 * 1024,
            window: Duration::ZERO,
        }
    }

    /// As the source takes it, for a table whose primary key is there.
    pub(crate) fn options(&self, own_key: &str) -> BatchGet {
        let options = BatchGet::new(&self.url)
            .separator(&self.separator)
            .most_keys(self.most_keys)
            .records_at(&self.records_at)
            .key_at(self.key_at.as_deref().unwrap_or(own_key))
            .body_limit(self.max_body_bytes)
            .window(self.window);
        match &self.version_at {
            Some(pointer) => options.version_at(pointer),
            None => options,
        }
    }
}

impl fmt::Debug for BatchConfig {
    /// Without the URL's query, which is where some origins want a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchConfig")
            .field("url", &without_query(&self.url))
            .field("separator", &self.separator)
            .field("most_keys", &self.most_keys)
            .field("records_at", &self.records_at)
            .field("key_at", &self.key_at)
            .field("version_at", &self.version_at)
            .field("max_body_bytes", &self.max_body_bytes)
            .field("window", &self.window)
            .finish()
    }
}

/// Where an origin lists records by queries of its own: see [`ListGet`].
#[derive(Clone, PartialEq, Eq)]
pub struct ListConfig {
    /// The URL that clients' queries are added to; of the same host as a record's.
    pub url: String,
    /// Where in an answer the array of records is: a JSON pointer; by default it is the answer.
    pub records_at: String,
    /// Where in a record its key is: a JSON pointer; by default the table's primary key.
    pub key_at: Option<String>,
    /// Where in a record its version is: a JSON pointer; by default it has none.
    pub version_at: Option<String>,
    /// The longest body of an answer, in bytes; by default 16 MiB, not zero.
    pub max_body_bytes: usize,
    /// The parameters and calls of a query that may have the origin answer with parts of records, which are not kept then; by default `select`
    /// and `fields`.
    pub parts_by: Vec<String>,
}

impl ListConfig {
    /// The defaults of everything but the URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            records_at: String::new(),
            key_at: None,
            version_at: None,
            max_body_bytes: 16 * 1024 * 1024,
            parts_by: vec!["select".to_owned(), "fields".to_owned()],
        }
    }

    /// As the source takes it, for a table whose primary key is there.
    pub(crate) fn options(&self, own_key: &str) -> ListGet {
        let options = ListGet::new(&self.url)
            .records_at(&self.records_at)
            .key_at(self.key_at.as_deref().unwrap_or(own_key))
            .body_limit(self.max_body_bytes)
            .parts_by(&self.parts_by);
        match &self.version_at {
            Some(pointer) => options.version_at(pointer),
            None => options,
        }
    }
}

impl fmt::Debug for ListConfig {
    /// Without the URL's query, which is where some origins want a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListConfig")
            .field("url", &without_query(&self.url))
            .field("records_at", &self.records_at)
            .field("key_at", &self.key_at)
            .field("version_at", &self.version_at)
            .field("max_body_bytes", &self.max_body_bytes)
            .field("parts_by", &self.parts_by)
            .finish()
    }
}

/// Where an origin makes records whose keys it names: see [`CreatePost`].
#[derive(Clone, PartialEq, Eq)]
pub struct CreateConfig {
    /// The URL that records are sent to; of the same host as a record's.
    pub url: String,
    /// Where in a record its key is: a JSON pointer; by default the table's primary key.
    pub key_at: Option<String>,
}

impl CreateConfig {
    /// The defaults of everything but the URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), key_at: None }
    }

    /// As the source takes it, for a table whose primary key is there.
    pub(crate) fn options(&self, own_key: &str) -> CreatePost {
        CreatePost::new(&self.url).key_at(self.key_at.as_deref().unwrap_or(own_key))
    }
}

impl fmt::Debug for CreateConfig {
    /// Without the URL's query, which is where some origins want a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreateConfig").field("url", &without_query(&self.url)).field("key_at", &self.key_at).finish()
    }
}
