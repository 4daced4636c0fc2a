//! The headers whose values may become others: each in a file that is read again where the origin answers 401.
//!
//! Invariants: a value shows in no error and no `Debug` output; of requests that were answered 401 at the same time one reads; what
//! cannot be read, or cannot be sent, leaves the values as they were.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ureq::http::{HeaderMap, HeaderName, HeaderValue};

use crate::secret::Secret;

/// What is put around a secret to make it a header's value.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Scheme {
    Bare,
    Bearer,
    /// For this user.
    Basic(String),
}

impl Scheme {
    /// The value of the header, which says of itself that it is sensitive; or why there is none.
    pub(crate) fn value(&self, secret: &Secret) -> Result<HeaderValue, String> {
        let secret = secret.read()?;
        let text = match self {
            Self::Bare => secret,
            Self::Bearer => format!("Bearer {secret}"),
            Self::Basic(user) => format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{secret}"))),
        };
        if text.bytes().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
            return Err("the value has a line break in it".to_owned());
        }
        let mut value =
            HeaderValue::from_str(&text).map_err(|_| "the value has a byte no header may have".to_owned())?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// A header, and how its value is made.
#[derive(Clone)]
pub(crate) struct Recipe {
    pub(crate) name: HeaderName,
    pub(crate) scheme: Scheme,
    pub(crate) secret: Secret,
}

/// The values of one reading.
struct Values {
    /// How often they have become others.
    generation: u64,
    of: Vec<HeaderValue>,
}

pub(crate) struct Credentials {
    recipes: Vec<Recipe>,
    /// Held for moments only.
    values: Mutex<Arc<Values>>,
    /// Held while the files are read.
    reading: Mutex<()>,
    /// Readings that have begun, after the first.
    begun: AtomicU64,
}

impl Credentials {
    /// # Errors
    /// The name of the header that has no value, and why.
    pub(crate) fn new(recipes: Vec<Recipe>) -> Result<Self, (HeaderName, String)> {
        let mut of = Vec::with_capacity(recipes.len());
        for recipe in &recipes {
            of.push(recipe.scheme.value(&recipe.secret).map_err(|why| (recipe.name.clone(), why))?);
        }
        let values = Mutex::new(Arc::new(Values { generation: 0, of }));
        Ok(Self { recipes, values, reading: Mutex::default(), begun: AtomicU64::new(0) })
    }

    /// There is nothing to put into a request, nor to read again.
    pub(crate) fn are_none(&self) -> bool {
        self.recipes.is_empty()
    }

    /// Puts them into the headers of a request, and says which generation they are.
    pub(crate) fn add_to(&self, headers: &mut HeaderMap) -> u64 {
        let values = self.values();
        for (recipe, value) in self.recipes.iter().zip(&values.of) {
            headers.insert(&recipe.name, value.clone());
        }
        values.generation
    }

    /// A request with the values of `generation` was answered 401: whether there are others now.
    pub(crate) fn are_others_than(&self, generation: u64) -> bool {
        let before = self.begun.load(Ordering::SeqCst);
        let _reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let values = self.values();
        if values.generation != generation {
            return true;
        }
        // Who waited here while another read has the answer already.
        if self.begun.load(Ordering::SeqCst) != before {
            return false;
        }
        self.begun.fetch_add(1, Ordering::SeqCst);
        let read: Result<Vec<_>, _> = self.recipes.iter().map(|recipe| recipe.scheme.value(&recipe.secret)).collect();
        match read {
            Ok(of) if of != values.of => {
                let next = Arc::new(Values { generation: generation + 1, of });
                *self.values.lock().unwrap_or_else(PoisonError::into_inner) = next;
                true
            }
            _ => false,
        }
    }

    /// How often they have become others.
    pub(crate) fn renewed(&self) -> u64 {
        self.values().generation
    }

    fn values(&self) -> Arc<Values> {
        Arc::clone(&self.values.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.recipes.iter().map(|recipe| &recipe.name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A token in a file, and the credentials made of it.
    fn held(name: &str) -> (std::path::PathBuf, Credentials) {
        let path = std::env::temp_dir().join(format!("wtcache-credentials-{}-{name}", std::process::id()));
        std::fs::write(&path, "one").unwrap();
        let name = HeaderName::from_static("x-token");
        let recipe = Recipe { name, scheme: Scheme::Bare, secret: Secret::file(&path) };
        (path, Credentials::new(vec![recipe]).unwrap())
    }

    fn sent(credentials: &Credentials) -> (String, u64) {
        let mut headers = HeaderMap::new();
        let generation = credentials.add_to(&mut headers);
        (headers["x-token"].to_str().unwrap().to_owned(), generation)
    }

    #[test]
    fn who_comes_late_with_old_values_reads_nothing() {
        let (path, credentials) = held("late");
        std::fs::write(&path, "two").unwrap();
        assert!(credentials.are_others_than(0));
        std::fs::remove_file(&path).unwrap();
        assert!(credentials.are_others_than(0), "those that another found");
        assert!(!credentials.are_others_than(1));
        assert_eq!(sent(&credentials), ("two".to_owned(), 1), "what cannot be read leaves what was");
        assert_eq!(credentials.begun.load(Ordering::SeqCst), 2);
    }
}
