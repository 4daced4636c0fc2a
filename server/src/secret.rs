//! `wtcache hash`: makes a token, or hashes a password, for the configuration.

use std::io::{BufRead, Read};

use argon2::{Argon2, PasswordHasher};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};

/// The longest password, in bytes.
const MOST_PASSWORD_BYTES: u64 = 1024;

/// A new token of 256 random bits, and the line of a configuration that knows it.
///
/// # Errors
/// The system gives no random numbers.
pub fn token() -> Result<(String, String), String> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| "the system gives no random numbers".to_owned())?;
    let token = BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let hash = digest(&SHA256, token.as_bytes());
    let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((token, format!("token_sha256: {hash}")))
}

/// The line of a configuration that knows the password, which is the first line of `input`. In that file a dollar sign is written twice.
///
/// # Errors
/// There is no password, it is too long or no UTF-8, or the system refuses.
pub fn password(input: impl Read) -> Result<String, String> {
    let mut line = String::new();
    let read = std::io::BufReader::new(input.take(MOST_PASSWORD_BYTES + 2)).read_line(&mut line);
    read.map_err(|error| format!("the password cannot be read: {error}"))?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err("there is no password on standard input".to_owned());
    }
    if password.len() as u64 > MOST_PASSWORD_BYTES {
        return Err(format!("the password is longer than {MOST_PASSWORD_BYTES} bytes"));
    }
    let hash = Argon2::default().hash_password(password.as_bytes());
    let hash = hash.map_err(|error| format!("the password cannot be hashed: {error}"))?;
    Ok(format!("password: \"{}\"", hash.to_string().replace('$', "$$")))
}
