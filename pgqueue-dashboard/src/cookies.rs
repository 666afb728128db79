//! Cookies hold preferences and one notice, nothing else: theme, offset from UTC, seconds between refreshes, keys, columns.

use actix_web::HttpRequest;
use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, SameSite};

use crate::columns::Columns;

const PREFERENCES: &str = "pgqueue_preferences";
const NOTICE: &str = "pgqueue_notice";
/// Longest notice: what a page says after an action.
const LONGEST_NOTICE: usize = 600;

/// What somebody has chosen on the settings page, and above the list of jobs.
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
    /// Columns of the list of jobs.
    pub(crate) columns: Columns,
}

impl Default for Preferences {
    fn default() -> Self {
        Self {
            theme: "auto",
            offset_minutes: 0,
            refresh_seconds: 2,
            keys: true,
            columns: Columns::default(),
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

    /// Reads `theme.offset.refresh.keys.columns`; whatever is not one of ours is the default.
    pub(crate) fn parse(text: &str) -> Self {
        let usual = Self::default();
        let mut parts = text.split('.');
        let theme = parts
            .next()
            .and_then(|name| THEMES.into_iter().find(|theme| *theme == name));
        let offset = parts.next().and_then(|part| part.parse().ok());
        let refresh = parts.next().and_then(|part| part.parse().ok());
        let keys = parts.next().map(|part| part != "0");
        let columns = parts.next().and_then(Columns::parse);
        Self {
            theme: theme.unwrap_or(usual.theme),
            offset_minutes: offset
                .filter(|minutes: &i32| minutes.abs() <= 14 * 60)
                .unwrap_or(0),
            refresh_seconds: refresh
                .filter(|seconds| REFRESHES.contains(seconds))
                .unwrap_or(usual.refresh_seconds),
            keys: keys.unwrap_or(true),
            columns: columns.unwrap_or(usual.columns),
        }
    }

    pub(crate) fn cookie(&self, base: &str) -> Cookie<'static> {
        let value = format!(
            "{}.{}.{}.{}.{}",
            self.theme,
            self.offset_minutes,
            self.refresh_seconds,
            u8::from(self.keys),
            self.columns.text()
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn preferences_come_back_from_their_cookie() {
        let chosen = Preferences {
            theme: "dark",
            offset_minutes: -210,
            refresh_seconds: 0,
            keys: false,
            columns: Columns::named(["state", "took"].into_iter()),
        };
        let cookie = chosen.cookie("/admin");

        assert_eq!(Preferences::parse(cookie.value()), chosen);
        assert_eq!(cookie.path(), Some("/admin"));
        assert!(cookie.value().len() < 30);
    }

    #[test]
    fn a_cookie_of_before_columns_could_be_chosen_is_read() {
        let read = Preferences::parse("light.60.5.0");

        assert_eq!(
            (
                read.theme,
                read.offset_minutes,
                read.refresh_seconds,
                read.keys
            ),
            ("light", 60, 5, false)
        );
        assert_eq!(read.columns, Columns::default());
    }

    proptest! {
        #[test]
        fn whatever_the_cookie_says_is_one_of_our_choices(text in any::<String>(), near in "[a-z]{0,5}[.][-0-9]{0,6}[.][0-9]{0,4}[.][.0-9a-g]{0,9}") {
            for text in [&text, &near] {
                let read = Preferences::parse(text);
                prop_assert!(REFRESHES.contains(&read.refresh_seconds) && read.offset_minutes.abs() <= 14 * 60);
                prop_assert_eq!(Preferences::parse(read.cookie("").value()), read);
            }
        }
    }
}
