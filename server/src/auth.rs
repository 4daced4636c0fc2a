//! Who is asking, and what he may ask for.
//!
//! A bearer token is looked for by its SHA-256: it is random and long, so that a fast hash keeps it. A password is checked by Argon2, which is slow on
//! purpose, off the threads that serve and only so many at once; once one was right, a keyed hash of it is kept in memory, and others
//! are refused by that at once. Invariants: secrets are compared in a time that does not depend on where they differ; credentials that
//! are not right are never taken for anonymous.

use std::sync::{Arc, OnceLock};

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordVerifier};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::digest::{SHA256, digest};
use ring::hmac;
use ring::rand::SystemRandom;
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

use crate::config::{AuthConfig, Credential, Rights, Verbs};
use crate::problem::Problem;

/// So many passwords are checked at once; by default each takes 19 MiB.
const CHECKS_AT_ONCE: usize = 2;

/// So many wait for that; more are 503.
const CHECKS_WAITING: usize = 64;

/// What is configured of who may ask, ready to be asked.
pub(crate) struct Auth {
    anonymous: Rights,
    principals: Vec<Principal>,
    /// For this process alone.
    key: hmac::Key,
    places: Semaphore,
    waiting: Semaphore,
    challenge: HeaderValue,
}

struct Principal {
    name: Arc<str>,
    secret: Credential,
    rights: Rights,
    admin: bool,
    /// The keyed hash of the password that was right.
    was_right: OnceLock<[u8; 32]>,
}

/// Who is asking. Without `auth` in the configuration everybody may do everything.
#[derive(Clone)]
pub(crate) struct Who(Option<(Arc<Auth>, Option<usize>)>);

impl Auth {
    /// # Errors
    /// The system gives no random numbers.
    pub(crate) fn new(config: &AuthConfig) -> Result<Arc<Self>, String> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        let key = key.map_err(|_| "the system gives no random numbers".to_owned())?;
        let principals = config.principals.iter().map(|principal| Principal {
            name: principal.name.as_str().into(),
            secret: principal.secret.clone(),
            rights: principal.rights.clone(),
            admin: principal.admin,
            was_right: OnceLock::new(),
        });
        let principals: Vec<Principal> = principals.collect();
        let has_tokens = principals.iter().any(|principal| matches!(principal.secret, Credential::Token(_)));
        let has_passwords = principals.iter().any(|principal| matches!(principal.secret, Credential::Password(_)));
        let challenge = HeaderValue::from_static(match (has_tokens, has_passwords) {
            (true, true) => "Bearer realm=\"wtcache\", Basic realm=\"wtcache\", charset=\"UTF-8\"",
            (false, true) => "Basic realm=\"wtcache\", charset=\"UTF-8\"",
            _ => "Bearer realm=\"wtcache\"",
        });
        let [places, waiting] = [CHECKS_AT_ONCE, CHECKS_WAITING].map(Semaphore::new);
        Ok(Arc::new(Self { anonymous: config.anonymous.clone(), principals, key, places, waiting, challenge }))
    }

    /// Whether somebody who does not say who he is may do something.
    pub(crate) fn lets_the_nameless(&self) -> bool {
        !self.anonymous.is_none()
    }

    /// Who sent these headers.
    ///
    /// # Errors
    /// 401: the credentials are none that are known. 503: too many passwords are being checked.
    pub(crate) async fn who(self: &Arc<Self>, headers: &HeaderMap) -> Result<Who, Problem> {
        let mut given = headers.get_all(AUTHORIZATION).iter();
        let number = match (given.next(), given.next()) {
            (None, _) => None,
            (Some(credentials), None) => Some(self.known(credentials).await?),
            (Some(_), Some(_)) => return Err(self.unknown("Authorization is given twice")),
        };
        Ok(Who(Some((Arc::clone(self), number))))
    }

    /// The same, where that takes no time: of nobody, or of a token that is known. `None`: there is more to it.
    pub(crate) fn who_at_once(self: &Arc<Self>, headers: &HeaderMap) -> Option<Who> {
        let mut given = headers.get_all(AUTHORIZATION).iter();
        let number = match (given.next(), given.next()) {
            (None, _) => None,
            (Some(credentials), None) => {
                let (scheme, rest) = credentials.to_str().ok()?.split_once(' ')?;
                let token = scheme.eq_ignore_ascii_case("bearer").then(|| rest.trim())?;
                Some(self.of_token(token.as_bytes())?)
            }
            (Some(_), Some(_)) => return None,
        };
        Some(Who(Some((Arc::clone(self), number))))
    }

    async fn known(self: &Arc<Self>, credentials: &HeaderValue) -> Result<usize, Problem> {
        let wrong = || self.unknown("these credentials are none that are known here");
        let text = credentials.to_str().map_err(|_| wrong())?;
        let (scheme, rest) = text.split_once(' ').ok_or_else(wrong)?;
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return self.of_token(rest.as_bytes()).ok_or_else(wrong);
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return Err(wrong());
        }
        let decoded = BASE64_STANDARD.decode(rest).map_err(|_| wrong())?;
        let colon = decoded.iter().position(|byte| *byte == b':').ok_or_else(wrong)?;
        let (name, password) = (&decoded[..colon], &decoded[colon + 1..]);
        let is_named = |principal: &Principal| {
            principal.name.as_bytes() == name && matches!(principal.secret, Credential::Password(_))
        };
        let number = self.principals.iter().position(is_named).ok_or_else(wrong)?;
        if self.is_password(number, password).await? { Ok(number) } else { Err(wrong()) }
    }

    /// All are looked at, whoever it is.
    fn of_token(&self, token: &[u8]) -> Option<usize> {
        let hashed = digest(&SHA256, token);
        let mut found = None;
        for (number, principal) in self.principals.iter().enumerate() {
            if let Credential::Token(known) = &principal.secret
                && bool::from(known.as_slice().ct_eq(hashed.as_ref()))
            {
                found = Some(number);
            }
        }
        found
    }

    async fn is_password(self: &Arc<Self>, number: usize, password: &[u8]) -> Result<bool, Problem> {
        let tag: [u8; 32] = hmac::sign(&self.key, password).as_ref().try_into().expect("HMAC-SHA256 has 32 bytes");
        // There is one password: what differs from the right one is wrong.
        let remembered = || self.principals[number].was_right.get().map(|right| bool::from(right.ct_eq(&tag)));
        if let Some(is_right) = remembered() {
            return Ok(is_right);
        }
        let Ok(_waits) = self.waiting.try_acquire() else {
            let detail = "too many passwords are being checked already";
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_in_a_second());
        };
        let _place = self.places.acquire().await;
        if let Some(is_right) = remembered() {
            return Ok(is_right);
        }
        let (auth, password) = (Arc::clone(self), password.to_vec());
        let check = move || {
            let Credential::Password(phc) = &auth.principals[number].secret else { return false };
            PasswordHash::new(phc).is_ok_and(|hash| Argon2::default().verify_password(&password, &hash).is_ok())
        };
        let is_right = tokio::task::spawn_blocking(check).await.unwrap_or(false);
        if is_right {
            let _ = self.principals[number].was_right.set(tag);
        }
        Ok(is_right)
    }

    fn unknown(&self, detail: &str) -> Problem {
        Problem::new(StatusCode::UNAUTHORIZED, detail).header(WWW_AUTHENTICATE, self.challenge.clone())
    }
}

impl Who {
    /// Everybody may do everything.
    pub(crate) fn anybody() -> Self {
        Self(None)
    }

    /// The principal's name.
    pub(crate) fn name(&self) -> Option<Arc<str>> {
        let (auth, number) = self.0.as_ref()?;
        number.map(|number| Arc::clone(&auth.principals[number].name))
    }

    /// What may be asked of this table.
    fn verbs(&self, table: &str) -> Verbs {
        let Some((auth, number)) = &self.0 else { return EVERYTHING };
        number.map_or(&auth.anonymous, |number| &auth.principals[number].rights).of(table)
    }

    /// # Errors
    /// 401 or 403: this may not be asked of the table.
    pub(crate) fn may(&self, method: &Method, table: &str) -> Result<(), Problem> {
        let verbs = self.verbs(table);
        let allowed = match *method {
            Method::GET | Method::HEAD => verbs.read,
            Method::PATCH => verbs.patch,
            Method::DELETE => verbs.delete,
            Method::OPTIONS => true,
            // What else there is makes records.
            _ => verbs.put,
        };
        if allowed { Ok(()) } else { Err(self.refused(&format!("{method} of {table}"))) }
    }

    /// # Errors
    /// 401 or 403: nothing of the table may be written.
    pub(crate) fn may_write_some(&self, table: &str) -> Result<(), Problem> {
        let Verbs { put, patch, delete, .. } = self.verbs(table);
        if put || patch || delete { Ok(()) } else { Err(self.refused(&format!("forgetting records of {table}"))) }
    }

    /// # Errors
    /// 401 or 403: what the server is asked of itself is for others.
    pub(crate) fn may_administrate(&self) -> Result<(), Problem> {
        let allowed = match &self.0 {
            None => true,
            Some((auth, number)) => number.is_some_and(|number| auth.principals[number].admin),
        };
        if allowed { Ok(()) } else { Err(self.refused("what this server is asked of itself")) }
    }

    /// # Errors
    /// 401: who may not do anything is not told what there is.
    pub(crate) fn may_something(&self) -> Result<(), Problem> {
        match &self.0 {
            Some((auth, None)) if auth.anonymous.is_none() => Err(self.refused("this")),
            _ => Ok(()),
        }
    }

    /// 401 to who has not said who he is, 403 to who has.
    fn refused(&self, what: &str) -> Problem {
        match &self.0 {
            Some((auth, None)) => auth.unknown(&format!("{what} is for who says who he is")),
            _ => Problem::new(StatusCode::FORBIDDEN, format!("{what} is not for {}", self.name().unwrap_or_default())),
        }
    }
}

const EVERYTHING: Verbs = Verbs { read: true, put: true, patch: true, delete: true };
