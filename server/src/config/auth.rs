//! Who may ask for what: the `auth` of a configuration.
//!
//! Owns the settings and the reading of them; who is asking, `auth.rs` of the server finds out. Invariant: no hash of a secret
//! reaches an error or a `Debug` output.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use argon2::password_hash::phc::PasswordHash;

use super::read::{Reader, name_of};
use super::value::{Value, Wrong, flag};
use super::yaml::{Kind, Node, Text};
use crate::diagnostic::{hint_of_known, nearest, shown};
use crate::schema::Schema;

/// More principals than this are a slip of the pen.
const MOST_PRINCIPALS: usize = 1000;

/// The longest name of a principal, in bytes.
const MOST_NAME_BYTES: usize = 128;

/// All tables that are not named.
const ALL: &str = "*";

/// Who may ask for what.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuthConfig {
    /// What is allowed to who says nothing of who he is.
    pub anonymous: Rights,
    /// Who is known, in the order of the file.
    pub principals: Vec<PrincipalConfig>,
}

/// Somebody who is known by a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct PrincipalConfig {
    /// The name, by which `Basic` credentials name him.
    pub name: String,
    /// What he shows.
    pub secret: Credential,
    /// What he may ask of the tables.
    pub rights: Rights,
    /// Whether he may ask the server of itself, and have records forgotten.
    pub admin: bool,
}

/// What a secret is known by. The secret itself is nowhere.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// The SHA-256 of a bearer token, which is random and long.
    Token([u8; 32]),
    /// The Argon2 hash of a password, as a PHC string.
    Password(String),
}

/// What may be asked of each table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rights {
    /// By the table's name.
    pub tables: BTreeMap<String, Verbs>,
    /// Of those that are not named.
    pub others: Verbs,
}

/// What may be asked of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Verbs {
    /// `GET` and `HEAD`, of records and by queries.
    pub read: bool,
    /// `PUT`, and what else makes a whole record.
    pub put: bool,
    /// `PATCH`.
    pub patch: bool,
    /// `DELETE`.
    pub delete: bool,
}

impl Rights {
    /// What may be asked of this table.
    #[must_use]
    pub fn of(&self, table: &str) -> Verbs {
        self.tables.get(table).copied().unwrap_or(self.others)
    }

    /// Nothing is allowed.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.others == Verbs::default() && self.tables.values().all(|verbs| *verbs == Verbs::default())
    }
}

impl fmt::Debug for PrincipalConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("PrincipalConfig");
        debug.field("name", &self.name).field("secret", &self.secret);
        debug.field("rights", &self.rights).field("admin", &self.admin).finish()
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "token_sha256: [redacted]",
            Self::Password(_) => "password: [redacted]",
        })
    }
}

const HASH_HINT: &str = "write what wtcache hash prints";

impl Reader<'_> {
    pub(super) fn auth(&mut self, node: &Node, schema: Option<&Schema>) -> AuthConfig {
        let mut auth = AuthConfig::default();
        let Some(fields) = self.fields("auth", node, &["anonymous", "principals"]) else { return auth };
        if let Some((_, node)) = fields.get("anonymous") {
            auth.anonymous = self.rights("anonymous", node, schema);
        }
        let entries = fields.get("principals").and_then(|(_, node)| self.map("principals", node)).unwrap_or_default();
        if entries.len() > MOST_PRINCIPALS {
            self.add(node.at, &format!("auth has more than {MOST_PRINCIPALS} principals"), None);
            return auth;
        }
        let mut tokens = HashSet::new();
        for (name, node) in entries {
            let Some(principal) = self.principal(name, node, schema) else { continue };
            if let Credential::Token(token) = principal.secret
                && !tokens.insert(token)
            {
                let message = format!("{}: another principal has the same token", shown(&name.raw));
                self.add(node.at, &message, Some("each has a token of its own: wtcache hash token"));
            }
            auth.principals.push(principal);
        }
        auth
    }

    fn principal(&mut self, name: &Text, node: &Node, schema: Option<&Schema>) -> Option<PrincipalConfig> {
        let is_name = !name.raw.is_empty() && !name.raw.contains(':') && !name.raw.chars().any(char::is_control);
        if !is_name || name.raw.len() > MOST_NAME_BYTES {
            let message = format!("\"{}\" is no name of a principal", shown(&name.raw));
            let hint = format!("1 to {MOST_NAME_BYTES} bytes, without a colon and without control characters");
            self.add(name.at, &message, Some(&hint));
        }
        let shown_name = shown(&name.raw);
        let fields = self.fields(&shown_name, node, &["token_sha256", "password", "tables", "admin"])?;
        let (mut token, mut password) = (None, None);
        self.set(fields, "token_sha256", &mut token, |value| digest(value).map(Some));
        self.set(fields, "password", &mut password, |value| phc(value).map(Some));
        let mut admin = false;
        self.set(fields, "admin", &mut admin, flag);
        let rights = match fields.get("tables") {
            Some((_, node)) => self.rights("tables", node, schema),
            None => Rights::default(),
        };
        let given = ["token_sha256", "password"].map(|key| fields.get(key).is_some());
        let hint = "wtcache hash token, or wtcache hash password, prints one";
        match given {
            [true, true] => {
                let message = format!("{shown_name} has both token_sha256 and password");
                self.add(name.at, &message, Some("a principal shows one secret; make two of it"));
            }
            [false, false] => {
                self.add(name.at, &format!("{shown_name} lacks token_sha256, or password"), Some(hint));
            }
            _ => {}
        }
        let secret = token.map(Credential::Token).or(password.map(Credential::Password))?;
        Some(PrincipalConfig { name: name.raw.clone(), secret, rights, admin })
    }

    fn rights(&mut self, what: &str, node: &Node, schema: Option<&Schema>) -> Rights {
        let mut rights = Rights::default();
        for (name, node) in self.map(what, node).unwrap_or_default() {
            if let Kind::List = node.kind {
                let message = format!("{}: expected a text, got {}", shown(&name.raw), name_of(&node.kind));
                self.add(node.at, &message, Some("write the words in one text: read, put"));
                continue;
            }
            let mut verbs = Verbs::default();
            self.text(&shown(&name.raw), node, &mut verbs, verbs_of);
            if name.raw == ALL {
                rights.others = verbs;
                continue;
            }
            if let Some(schema) = schema
                && schema.table(&name.raw).is_none()
            {
                let names = schema.tables.iter().map(|table| table.name.as_str());
                let hint = match nearest(&name.raw, names) {
                    Some(near) => format!("did you mean {near}?"),
                    None => "write \"*\" for all tables that are not named".to_owned(),
                };
                self.add(name.at, &format!("table {} is not in the schema", shown(&name.raw)), Some(&hint));
            }
            rights.tables.insert(name.raw.clone(), verbs);
        }
        rights
    }
}

const WORDS: [&str; 6] = ["none", "read", "write", "put", "patch", "delete"];

fn verbs_of(value: &Value) -> Result<Verbs, Wrong> {
    let mut verbs = Verbs::default();
    for word in value.text.split(',').map(str::trim) {
        match word {
            "none" => {}
            "read" => verbs.read = true,
            "put" => verbs.put = true,
            "patch" => verbs.patch = true,
            "delete" => verbs.delete = true,
            "write" => (verbs.put, verbs.patch, verbs.delete) = (true, true, true),
            _ => {
                let message = format!("\"{}\" is not a list of what may be asked", value.shown);
                let unknown = value.shown.split(',').map(str::trim).find(|word| !WORDS.contains(word));
                let hint = hint_of_known(unknown.unwrap_or_default(), "", &WORDS);
                return Err(Wrong { message, hint: Some(hint) });
            }
        }
    }
    Ok(verbs)
}

fn digest(value: &Value) -> Result<[u8; 32], Wrong> {
    let wrong = || Wrong {
        message: "not the SHA-256 of a token, 64 hexadecimal digits".to_owned(),
        hint: Some(HASH_HINT.to_owned()),
    };
    let mut digest = [0; 32];
    let text = value.text.as_bytes();
    if text.len() != 64 || !text.iter().all(u8::is_ascii_hexdigit) {
        return Err(wrong());
    }
    for (byte, pair) in digest.iter_mut().zip(value.text.as_bytes().chunks(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| wrong())?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
    }
    Ok(digest)
}

fn phc(value: &Value) -> Result<String, Wrong> {
    let parsed = PasswordHash::new(&value.text);
    let is_argon2 = parsed.is_ok_and(|hash| {
        argon2::Algorithm::try_from(hash.algorithm.as_str()).is_ok() && hash.salt.is_some() && hash.hash.is_some()
    });
    if is_argon2 {
        return Ok(value.text.clone());
    }
    Err(Wrong { message: "not the Argon2 hash of a password".to_owned(), hint: Some(HASH_HINT.to_owned()) })
}
