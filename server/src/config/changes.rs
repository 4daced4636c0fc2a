//! How a table learns of changes that its origin tells by itself, and how it tells of its own.

use std::fmt;
use std::time::Duration;

use wtcache_http_source::ChangeForm;

/// How the origin tells of its changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FeedKind {
    /// As a stream of Server-Sent Events.
    #[default]
    Sse,
    /// As answers to a poll, which may be long.
    Poll,
}

/// A subscription to the changes of a table's origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscribeConfig {
    /// Where: a path, or a whole URL, of the origin's own host.
    pub url: String,
    /// How.
    pub kind: FeedKind,
    /// Whether a stream goes on after the `Last-Event-ID`, or says `reset`; by default not, and each new connection forgets all.
    pub resumes: bool,
    /// How long the origin may say nothing; by default 30 s.
    pub silence: Duration,
    /// After how long without a connection all is forgotten; by default it is served for its lifetime.
    pub forget_after: Option<Duration>,
    /// The longest event, or answer to a poll; by default 1 MiB.
    pub max_event_bytes: usize,
    /// The name of the cursor in the query of a poll; by default `cursor`.
    pub cursor: String,
    /// The shortest time from one poll to the next after an answer without changes; by default 1 s, not zero.
    pub poll_every: Duration,
}

impl SubscribeConfig {
    /// The defaults of everything but the URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            kind: FeedKind::Sse,
            resumes: false,
            silence: Duration::from_secs(30),
            forget_after: None,
            max_event_bytes: 1024 * 1024,
            cursor: "cursor".to_owned(),
            poll_every: Duration::from_secs(1),
        }
    }
}

/// How the origin writes its changes, over a subscription or a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangesConfig {
    /// The member with what happened; by default `op`.
    pub op: String,
    /// The member with the key; by default `key`.
    pub key: String,
    /// The member with the record; by default `record`.
    pub record: String,
    /// The member with the version; by default `version`.
    pub version: String,
    /// How a version that is told becomes an ETag of the origin's; by default it is one: `{version}`.
    pub version_as: String,
    /// What the body of a webhook is signed with; by default it needs no signature.
    pub secret: Option<SharedSecret>,
    /// The header with the signature; by default `X-Signature-256`.
    pub signature_header: String,
}

impl Default for ChangesConfig {
    fn default() -> Self {
        let ChangeForm { op, key, record, version, version_as, .. } = ChangeForm::default();
        Self { op, key, record, version, version_as, secret: None, signature_header: "X-Signature-256".to_owned() }
    }
}

impl ChangesConfig {
    /// What a change looks like, by these names.
    #[must_use]
    pub fn form(&self) -> ChangeForm {
        let mut form = ChangeForm::default();
        form.op.clone_from(&self.op);
        form.key.clone_from(&self.key);
        form.record.clone_from(&self.record);
        form.version.clone_from(&self.version);
        form.version_as.clone_from(&self.version_as);
        form
    }
}

/// A secret: not for logs.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedSecret(pub String);

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}
