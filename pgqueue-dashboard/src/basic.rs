//! HTTP basic authentication: names with argon2 hashes, and a limit on wrong guesses.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use actix_web::dev::ServiceRequest;
use actix_web::http::header;
use argon2::Argon2;
use argon2::password_hash::PasswordVerifier as _;
use argon2::password_hash::phc::PasswordHash as Parsed;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::access::{Access, Denied, Permissions};

/// So many wrong passwords an address are answered before it has to wait.
const GUESSES: u32 = 10;
/// How long a wrong guess counts.
const GUESS_WINDOW: Duration = Duration::from_secs(60);
/// A guess that was right is remembered so long: argon2 is slow on purpose, and a page asks for several files.
const REMEMBERED: Duration = Duration::from_secs(300);
/// Most addresses whose guesses are counted, and most right guesses that are remembered.
const KEPT: usize = 10_000;

/// An argon2 hash in the PHC string format, such as `argon2` of Debian writes it: `$argon2id$v=19$m=…`.
#[derive(Clone)]
pub struct PasswordHash(String);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash")
    }
}

impl PasswordHash {
    /// Takes a hash.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it; the text itself is not repeated.
    pub fn parse(hash: impl Into<String>) -> Result<Self, String> {
        let hash = hash.into();
        match Parsed::new(&hash) {
            Ok(parsed) if parsed.algorithm.as_str().starts_with("argon2") => Ok(Self(hash)),
            Ok(parsed) => Err(format!(
                "the password hash is of {}: make one with argon2",
                parsed.algorithm
            )),
            Err(error) => Err(format!(
                "the password hash is not in PHC format ({error}): it begins with $argon2id$"
            )),
        }
    }
}

/// Users and what they guessed.
pub(crate) struct Basic {
    users: HashMap<String, (PasswordHash, Permissions)>,
    /// Right guesses, by a keyed hash of name and password, so that no password stays in memory.
    remembered: Mutex<HashMap<u64, Instant>>,
    wrong: Mutex<HashMap<IpAddr, (u32, Instant)>>,
    keys: std::hash::RandomState,
}

impl fmt::Debug for Basic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Basic")
            .field("users", &self.users.len())
            .finish_non_exhaustive()
    }
}

impl Basic {
    pub(crate) fn new() -> Self {
        Self {
            users: HashMap::new(),
            remembered: Mutex::default(),
            wrong: Mutex::default(),
            keys: std::hash::RandomState::new(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    pub(crate) fn add(&mut self, user: String, hash: PasswordHash, permissions: Permissions) {
        self.users.insert(user, (hash, permissions));
    }

    pub(crate) async fn check(&self, request: &ServiceRequest) -> Result<Access, Denied> {
        let Some((user, password)) = credentials(request) else {
            return Err(Denied::Unauthenticated);
        };
        let address = request.peer_addr().map(|peer| peer.ip());
        if let Some(wait) = self.must_wait(address) {
            return Err(Denied::TooMany(wait.as_secs().max(1)));
        }
        let known = self.users.get(&user);
        let guess = self.fingerprint(&user, &password);
        if !self.remembers(guess) {
            // The same work for a name that nobody has: the time must not tell which names exist.
            let hash = known
                .or_else(|| self.users.values().next())
                .map(|(hash, _)| hash.clone());
            let verified = match hash {
                Some(hash) => verify(hash, password).await?,
                None => false,
            };
            if !verified || known.is_none() {
                self.note_wrong(address);
                return Err(Denied::Unauthenticated);
            }
            self.remember(guess);
        }
        let (_, permissions) = known.ok_or(Denied::Unauthenticated)?;
        Ok(Access::new(user, *permissions))
    }

    fn fingerprint(&self, user: &str, password: &str) -> u64 {
        use std::hash::BuildHasher as _;
        self.keys.hash_one((user, password))
    }

    fn remembers(&self, guess: u64) -> bool {
        let remembered = self
            .remembered
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        remembered
            .get(&guess)
            .is_some_and(|at| at.elapsed() < REMEMBERED)
    }

    fn remember(&self, guess: u64) {
        let mut remembered = self
            .remembered
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if remembered.len() >= KEPT {
            remembered.clear();
        }
        remembered.insert(guess, Instant::now());
    }

    fn must_wait(&self, address: Option<IpAddr>) -> Option<Duration> {
        let wrong = self
            .wrong
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let (guesses, since) = *wrong.get(&address?)?;
        let left = GUESS_WINDOW.checked_sub(since.elapsed())?;
        (guesses >= GUESSES).then_some(left)
    }

    fn note_wrong(&self, address: Option<IpAddr>) {
        let Some(address) = address else { return };
        let mut wrong = self
            .wrong
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if wrong.len() >= KEPT {
            wrong.retain(|_, (_, since)| since.elapsed() < GUESS_WINDOW);
        }
        let entry = wrong.entry(address).or_insert((0, Instant::now()));
        if entry.1.elapsed() >= GUESS_WINDOW {
            *entry = (0, Instant::now());
        }
        entry.0 += 1;
    }
}

/// Compares in constant time, off the event loop: it takes tens of milliseconds by design.
async fn verify(hash: PasswordHash, password: String) -> Result<bool, Denied> {
    let work = move || {
        Parsed::new(&hash.0).is_ok_and(|parsed| {
            Argon2::default()
                .verify_password(password.as_bytes(), &parsed)
                .is_ok()
        })
    };
    actix_web::web::block(work)
        .await
        .map_err(|error| Denied::Unavailable(format!("cannot check a password: {error}")))
}

fn credentials(request: &ServiceRequest) -> Option<(String, String)> {
    let value = request
        .headers()
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64_STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}
