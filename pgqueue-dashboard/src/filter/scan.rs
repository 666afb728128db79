//! Reads the text of a filter, a term at a time.

use super::{Mistake, Quoted, Side, Term, When, mistake};

/// Most ids in one term.
const ID_LIMIT: usize = 1000;
/// Deepest place in a payload.
const PATH_LIMIT: usize = 16;
/// Longest value in bytes.
const VALUE_LIMIT: usize = 1024;

const FIELDS: &str = "state: queue: kind: id: key: tag: worker: cause: error: args.name= created> finished< attempts>=";

/// What is left of the text.
pub(super) struct Scanner<'a>(&'a str);

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self(text)
    }

    /// Takes the next term, if there is one.
    pub(super) fn term(&mut self) -> Result<Option<Term>, Mistake> {
        self.0 = self.0.trim_start();
        if self.0.is_empty() {
            return Ok(None);
        }
        let start = self.0;
        let name = self.take(|c| c.is_ascii_lowercase());
        let term = match name {
            "args" => self.args(start)?,
            "created" | "finished" | "attempts" => self.compared(name, start)?,
            _ => self.named(name, start)?,
        };
        match self.0.chars().next() {
            Some(next) if !next.is_whitespace() => mistake(format!(
                "there is {next:?} right behind {:?}: put a space between terms, and quotes around a value with a space",
                shortened(&start[..start.len() - self.0.len()])
            )),
            _ => Ok(Some(term)),
        }
    }

    fn named(&mut self, name: &str, start: &str) -> Result<Term, Mistake> {
        if !self.skip(":") {
            let word = shortened(start.split_whitespace().next().unwrap_or(start));
            if let Ok(id) = word.parse::<i64>() {
                return mistake(format!("{word:?} names no field: write id:{id}"));
            }
            return mistake(format!(
                "{word:?} names no field: write error:{} to search errors; fields are {FIELDS}",
                Quoted(&word)
            ));
        }
        let value = self.value(false, start)?;
        let number = || {
            value.parse::<i64>().map_err(|_| {
                Mistake(format!(
                    "{:?} is no number: write {name}:42",
                    shortened(&value)
                ))
            })
        };
        Ok(match name {
            "state" => match value.parse() {
                Ok(state) => Term::State(state),
                Err(error) => return mistake(error.to_string()),
            },
            "queue" => Term::Queue(value),
            "kind" => Term::Kind(value),
            "key" => Term::Key(value),
            "tag" => Term::Tag(value),
            "error" => Term::Error(value),
            "worker" => Term::Worker(number()?),
            "cause" => Term::Cause(number()?),
            "id" => Term::Ids(ids(&value)?),
            _ => {
                return mistake(format!("there is no field {name:?}: fields are {FIELDS}"));
            }
        })
    }

    fn args(&mut self, start: &str) -> Result<Term, Mistake> {
        let mut path = Vec::new();
        while self.skip(".") {
            path.push(self.value(true, start)?);
        }
        if path.is_empty() || path.len() > PATH_LIMIT || !self.skip("=") {
            return mistake(format!(
                "{:?} names no place in the payload: write args.order_id=42 or args.customer.name=\"Ada L\", at most {PATH_LIMIT} levels deep",
                first_word(start)
            ));
        }
        Ok(Term::Args(path, self.value(false, start)?))
    }

    fn compared(&mut self, name: &str, start: &str) -> Result<Term, Mistake> {
        if name == "attempts" {
            let value = if self.skip(">=") {
                self.value(false, start)?
            } else {
                String::new()
            };
            return match value.parse() {
                Ok(attempts) if attempts >= 0 => Ok(Term::Attempts(attempts)),
                _ => mistake(format!(
                    "{:?} is not understood: write attempts>=3",
                    first_word(start)
                )),
            };
        }
        let side = if self.skip("<") {
            Some(Side::Less)
        } else if self.skip(">") {
            Some(Side::More)
        } else {
            None
        };
        let value = self.value(false, start)?;
        match (side, When::parse(&value)) {
            (Some(side), Some(when)) if name == "created" => Ok(Term::Created(side, when)),
            (Some(side), Some(when)) => Ok(Term::Finished(side, when)),
            _ => mistake(format!(
                "{:?} is not understood: write {name}<1h (within the last hour; s, m, h, d, w), {name}>2d or {name}>2026-11-01T08:30 (UTC)",
                first_word(start)
            )),
        }
    }

    /// Takes a value, in quotes or up to the next space; a part of a path ends at `.` and `=`, too.
    fn value(&mut self, in_path: bool, start: &str) -> Result<String, Mistake> {
        let value = if self.skip("\"") {
            self.quoted(start)?
        } else {
            let value = self
                .take(|c| !c.is_whitespace() && c != '"' && !(in_path && (c == '.' || c == '=')));
            if value.is_empty() {
                return mistake(format!(
                    "{:?} has no value: write one behind it, or remove it",
                    first_word(start)
                ));
            }
            value.to_owned()
        };
        if value.len() > VALUE_LIMIT || value.contains('\0') {
            return mistake(format!(
                "the value of {:?} is longer than {VALUE_LIMIT} bytes, or has a NUL: shorten it",
                first_word(start)
            ));
        }
        Ok(value)
    }

    fn quoted(&mut self, start: &str) -> Result<String, Mistake> {
        let mut value = String::new();
        let mut chars = self.0.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.0 = &self.0[at + 1..];
                    return Ok(value);
                }
                '\\' => value.extend(chars.next().map(|(_, c)| c)),
                _ => value.push(c),
            }
        }
        mistake(format!(
            "the quotes of {:?} do not end: write \" behind the value",
            first_word(start)
        ))
    }

    fn take(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let end = self.0.find(|c| !wanted(c)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(end);
        self.0 = rest;
        taken
    }

    fn skip(&mut self, text: &str) -> bool {
        let rest = self.0.strip_prefix(text);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }
}

fn ids(value: &str) -> Result<Vec<i64>, Mistake> {
    let ids: Result<Vec<i64>, _> = value.split(',').map(str::parse).collect();
    match ids {
        Ok(ids) if ids.len() <= ID_LIMIT => Ok(ids),
        _ => mistake(format!(
            "{:?} is no list of at most {ID_LIMIT} numbers: write id:42 or id:42,43",
            shortened(value)
        )),
    }
}

fn first_word(text: &str) -> String {
    shortened(text.split_whitespace().next().unwrap_or(text))
}

fn shortened(text: &str) -> String {
    text.chars().take(60).collect()
}
