//! Cookies hold preferences and one notice, nothing else: theme, offset from UTC, seconds between refreshes.

use actix_web::HttpRequest;
use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, SameSite};

const PREFERENCES: &str = "pgqueue_preferences";
const NOTICE: &str = "pgqueue_notice";
/// Longest notice: what a page says after an action.
const LONGEST_NOTICE: usize = 600;

/// What somebody has chosen on the settings page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Preferences {
    /// `auto`, `light` or `dark`.
    pub(crate) theme: &'static str,
    /// Minutes east of UTC in which times are shown.
    pub(crate) offset_minutes: i32,
    /// Seconds between refreshes; 0 is never.
    pub(crate) refresh_seconds: u32,
    /// Whether single keys are shortcuts.
    pub(crate) keys: bool,
}

impl Default for Preferences {
    fn default() -> Self {
        Self {
            theme: "auto",
            offset_minutes: 0,
            refresh_seconds: 2,
            keys: true,
        }
    }
}

/// Themes to choose from.
pub(crate) const THEMES: [&str; 3] = ["auto", "light", "dark"];
/// Refresh intervals to choose from.
pub(crate) const REFRESHES: [u32; 6] = [1, 2, 5, 15, 60, 0];

impl Preferences {
    pub(crate) fn read(request: &HttpRequest) -> Self {
        request
            .cookie(PREFERENCES)
            .map(|cookie| Self::parse(cookie.value()))
            .unwrap_or_default()
    }

    /// Reads `theme.offset.refresh.keys`; whatever is not one of ours is the default.
    pub(crate) fn parse(text: &str) -> Self {
        let usual = Self::default();
        let mut parts = text.split('.');
        let theme = parts
            .next()
            .and_then(|name| THEMES.into_iter().find(|theme| *theme == name));
        let offset = parts.next().and_then(|part| part.parse().ok());
        let refresh = parts.next().and_then(|part| part.parse().ok());
        let keys = parts.next().map(|part| part != "0");
        Self {
            theme: theme.unwrap_or(usual.theme),
            offset_minutes: offset
                .filter(|minutes: &i32| minutes.abs() <= 14 * 60)
                .unwrap_or(0),
            refresh_seconds: refresh
                .filter(|seconds| REFRESHES.contains(seconds))
                .unwrap_or(usual.refresh_seconds),
            keys: keys.unwrap_or(true),
        }
    }

    pub(crate) fn cookie(&self, base: &str) -> Cookie<'static> {
        let value = format!(
            "{}.{}.{}.{}",
            self.theme,
            self.offset_minutes,
            self.refresh_seconds,
            u8::from(self.keys)
        );
        cookie(base, PREFERENCES, value, Duration::days(365))
    }
}

/// Reads what the last action said.
pub(crate) fn notice(request: &HttpRequest) -> Option<String> {
    let cookie = request.cookie(NOTICE)?;
    let hex = cookie.value().as_bytes();
    let bytes: Option<Vec<u8>> = hex
        .chunks(2)
        .take(LONGEST_NOTICE)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect();
    String::from_utf8(bytes?)
        .ok()
        .filter(|text| !text.is_empty())
}

/// Has the next page say this.
pub(crate) fn with_notice(base: &str, text: &str) -> Cookie<'static> {
    let end = text
        .char_indices()
        .map(|(at, char)| at + char.len_utf8())
        .take_while(|end| *end <= LONGEST_NOTICE)
        .last();
    let hex: String = text[..end.unwrap_or(0)]
        .bytes()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    cookie(base, NOTICE, hex, Duration::minutes(1))
}

/// Has no further page say it.
pub(crate) fn without_notice(base: &str) -> Cookie<'static> {
    cookie(base, NOTICE, String::new(), Duration::ZERO)
}

fn cookie(base: &str, name: &'static str, value: String, age: Duration) -> Cookie<'static> {
    Cookie::build(name, value)
        .path(if base.is_empty() {
            "/".to_owned()
        } else {
            base.to_owned()
        })
        .same_site(SameSite::Strict)
        .http_only(true)
        .max_age(age)
        .finish()
}
