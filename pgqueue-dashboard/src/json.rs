//! Shows JSON as it is stored, every digit of its numbers included, without what looks like a secret.
//!
//! It reads text and writes text, in one pass and without calling itself: whatever somebody stored, ten thousand levels
//! deep or cut in the middle, costs its length and no more.

use pgqueue_core::admin::SECRET_WORDS;
use serde_json::value::RawValue;

/// What stands for a value that is hidden.
pub(crate) const HIDDEN: &str = "\"••••••\"";
/// Deeper levels are not indented further: their spaces would be most of the page.
const INDENT_LIMIT: usize = 32;

/// Which names hint at a secret.
#[derive(Debug, Clone)]
pub(crate) struct Redaction {
    words: Vec<String>,
}

/// JSON for people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) text: String,
    /// How many values are hidden.
    pub(crate) hidden: usize,
    /// Is true when the text ends before the JSON does.
    pub(crate) is_cut: bool,
}

impl Redaction {
    pub(crate) fn new(more: &[String]) -> Self {
        let words = SECRET_WORDS.iter().copied();
        let more = more.iter().map(String::as_str);
        Self {
            words: words.chain(more).map(plain).collect(),
        }
    }

    /// Hides nothing: for one who asked for it, which the audit knows.
    pub(crate) fn nothing() -> Self {
        Self { words: Vec::new() }
    }

    pub(crate) fn hides_nothing(&self) -> bool {
        self.words.is_empty()
    }

    fn hides(&self, key: &str) -> bool {
        let key = plain(key);
        self.words
            .iter()
            .any(|word| !word.is_empty() && key.contains(word))
    }

    /// Writes JSON over several lines, up to `limit` bytes.
    pub(crate) fn pretty(&self, json: &str, limit: usize) -> Shown {
        self.write(json, limit, true)
    }

    /// Writes JSON in one line, up to `limit` bytes.
    pub(crate) fn compact(&self, json: &str, limit: usize) -> Shown {
        self.write(json, limit, false)
    }

    /// Gives JSON for programs, and how many of its values are hidden; none where it is longer than `limit` bytes.
    pub(crate) fn raw(&self, json: &str, limit: usize) -> (Option<Box<RawValue>>, usize) {
        let shown = self.compact(json, limit);
        let text = Some(shown.text).filter(|_| !shown.is_cut);
        let raw = text.and_then(|text| RawValue::from_string(text).ok());
        (raw, shown.hidden)
    }

    fn write(&self, json: &str, limit: usize, breaks: bool) -> Shown {
        let mut writer = Writer {
            shown: Shown::default(),
            depth: 0,
            breaks,
        };
        let mut rest = json;
        let mut hides_next = false;
        while let Some((token, behind)) = next_token(rest) {
            rest = behind;
            if writer.shown.text.len() + token.len() > limit {
                writer.cut(token, limit);
                break;
            }
            if hides_next && token != ":" {
                rest = skip_value(token, rest);
                writer.shown.hidden += 1;
                writer.shown.text.push_str(HIDDEN);
                hides_next = false;
                continue;
            }
            let is_key = token.starts_with('"') && rest.trim_start().starts_with(':');
            hides_next = hides_next || is_key && self.hides(&unescaped(token));
            writer.token(token, rest);
        }
        writer.shown
    }
}

/// Makes `Api-Key`, `api_key` and `apiKey` the same.
fn plain(name: &str) -> String {
    let letters = name.chars().filter(|c| !matches!(c, '-' | '_' | ' ' | '.'));
    letters.flat_map(char::to_lowercase).collect()
}

/// Reads a key as its letters, as far as that takes to compare it: `\u0061` is an `a`, too.
fn unescaped(token: &str) -> String {
    serde_json::from_str(token).unwrap_or_else(|_| token.to_owned())
}

struct Writer {
    shown: Shown,
    depth: usize,
    breaks: bool,
}

impl Writer {
    fn token(&mut self, token: &str, rest: &str) {
        match token {
            "{" | "[" => {
                self.depth += 1;
                self.shown.text.push_str(token);
                if !rest.trim_start().starts_with(['}', ']']) {
                    self.new_line();
                }
            }
            "}" | "]" => {
                self.depth = self.depth.saturating_sub(1);
                if !self.shown.text.ends_with(['{', '[']) {
                    self.new_line();
                }
                self.shown.text.push_str(token);
            }
            "," => {
                self.shown.text.push(',');
                if self.breaks {
                    self.new_line();
                } else {
                    self.shown.text.push(' ');
                }
            }
            ":" => self.shown.text.push_str(": "),
            _ => self.shown.text.push_str(token),
        }
    }

    fn new_line(&mut self) {
        if self.breaks {
            self.shown.text.push('\n');
            let width = 2 * self.depth.min(INDENT_LIMIT);
            self.shown.text.extend(std::iter::repeat_n(' ', width));
        }
    }

    /// Writes as much of the token as there is room for. Nothing of what is to be hidden comes here: that is a key or a
    /// value whose name was seen.
    fn cut(&mut self, token: &str, limit: usize) {
        self.shown.is_cut = true;
        if token.starts_with('"') {
            return; // it may be a name whose value, or the value whose name, hints at a secret
        }
        let room = limit.saturating_sub(self.shown.text.len());
        let fits = token
            .char_indices()
            .take_while(|(at, c)| at + c.len_utf8() <= room);
        self.shown.text.extend(fits.map(|(_, c)| c));
    }
}

/// Gives the next token and what is behind it; of text that is no JSON, whatever comes next.
fn next_token(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    let first = text.chars().next()?;
    let end = match first {
        '{' | '}' | '[' | ']' | ',' | ':' => 1,
        '"' => string_end(text),
        _ => text
            .find(|c: char| c.is_whitespace() || "{}[],:\"".contains(c))
            .unwrap_or(text.len()),
    };
    Some(text.split_at(end))
}

fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Gives what is behind the value that begins with this token.
fn skip_value<'a>(token: &str, mut rest: &'a str) -> &'a str {
    let mut depth = usize::from(matches!(token, "{" | "["));
    while depth > 0 {
        let Some((token, behind)) = next_token(rest) else {
            break;
        };
        match token {
            "{" | "[" => depth += 1,
            "}" | "]" => depth -= 1,
            _ => {}
        }
        rest = behind;
    }
    rest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn usual() -> Redaction {
        Redaction::new(&["pin".to_owned()])
    }

    #[test]
    fn numbers_are_shown_with_all_their_digits() {
        let json = r#"{"id": 12345678901234567890123, "share": 0.10, "list": [], "of": {}}"#;
        let shown = usual().pretty(json, 10_000);
        assert_eq!(
            shown.text,
            "{\n  \"id\": 12345678901234567890123,\n  \"share\": 0.10,\n  \"list\": [],\n  \"of\": {}\n}"
        );
        assert_eq!(usual().compact(json, 10_000).text, json);
    }

    #[test]
    fn what_a_name_hints_to_be_secret_is_hidden_whatever_it_holds() {
        for (json, secret) in [
            (r#"{"password": "x9"}"#, "x9"),
            (r#"{"a": {"Api-Key": ["x9", {"b": "x9"}]}, "c": 1}"#, "x9"),
            (r#"{"apiToken": 99}"#, "99"),
            (r#"{"\u0070assword": "x9"}"#, "x9"),
            (r#"{"PIN": "x9"}"#, "x9"),
            (r#"{"private_key": "x9"#, "x9"),
        ] {
            for shown in [usual().pretty(json, 1000), usual().compact(json, 1000)] {
                assert!(
                    !shown.text.contains(secret) && shown.hidden == 1,
                    "{shown:?}"
                );
            }
        }
        let all = Redaction::nothing().pretty(r#"{"password": "x9"}"#, 1000);
        assert!(all.text.contains("x9") && all.hidden == 0);
    }

    #[test]
    fn ten_thousand_levels_are_as_easy_as_one() {
        let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
        let shown = usual().pretty(&deep, 64 * 1024);
        assert!(shown.is_cut && shown.text.len() <= 65 * 1024 + 200);
        let hidden = format!("{{\"token\": {deep}}}");
        assert_eq!(
            usual().compact(&hidden, 1000).text,
            format!("{{\"token\": {HIDDEN}}}")
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text: String, near in "[\\[\\]{}\",:a-z0-9\\\\ ]{0,60}", limit in 0_usize..80) {
            for text in [&text, &near] {
                let _ = usual().pretty(text, limit);
                let _ = usual().compact(text, limit);
            }
        }
    }
}
