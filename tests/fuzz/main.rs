//! Whatever is typed, sent or thrown: properties of inputs that nobody chose, tried with all sorts of them.
//!
//! By bolero: an ordinary test tries the seeds in `__fuzz__/<target>/corpus` and a second's worth of new inputs; `.ci/fuzz` has
//! each target go on for a minute. A random text gets past no parser, so most of what is tried lies near a seed. What once
//! failed becomes a seed.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that unwraps fails with the line to look at, as a test does"
)]

mod core;
mod site;

use std::fs;

const MIB: usize = 1 << 20;

/// Parts that make trouble more often than others.
const TROUBLE: [&str; 17] = [
    "\0",
    "\u{feff}",
    "😀",
    "\\u0000",
    "\\ud800",
    "\"",
    "'",
    "\\",
    "%00",
    "9223372036854775807",
    "-9223372036854775808",
    "99999999999999999999",
    "1e400",
    "1e131071",
    "+262142-12-31T23:59:59Z",
    "-0",
    "-262143-01-01T00:00:00Z",
];

/// Tries a property on large texts, on the seeds of a target, on what lies near them, and on anything else.
macro_rules! fuzz {
    ($target:literal, $property:expr) => {
        fuzz!($target, [""; 0], $property)
    };
    ($target:literal, $large:expr, $property:expr) => {{
        let seeds = $crate::seeds($target);
        let property = std::panic::AssertUnwindSafe($property);
        for text in $large {
            (*property)(&text);
        }
        // A slow machine gets through few of them in bolero's second.
        for seed in &seeds {
            (*property)(seed);
        }
        bolero::check!(name = $target).for_each(move |input: &[u8]| {
            (*property)(&String::from_utf8_lossy(input));
            (*property)(&$crate::near(&seeds, input));
        });
    }};
}
use fuzz;

/// Gives JSON that no file should hold: around the limit of a payload, beyond it once PostgreSQL prints it, and too deep.
fn large_json() -> Vec<String> {
    let texts = [MIB - 1, MIB, MIB + 1].map(|bytes| format!("\"{}\"", "a".repeat(bytes - 2)));
    let list = format!("[{}1]", "1,".repeat(MIB / 2 - 2));
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    let zeros = format!("[{}1]", "1e131071,".repeat(10_000));
    texts.into_iter().chain([list, deep, zeros]).collect()
}

/// Reads the seeds of a target.
fn seeds(target: &str) -> Vec<String> {
    let folder = format!(
        "{}/tests/fuzz/__fuzz__/{target}/corpus",
        env!("CARGO_MANIFEST_DIR")
    );
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    let read = |path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
    files.into_iter().map(read).collect()
}

/// Changes a seed as the input says: its first byte chooses the seed, and each four that follow change one place.
fn near(seeds: &[String], input: &[u8]) -> String {
    let Some((&first, changes)) = input.split_first() else {
        return seeds[0].clone();
    };
    let mut text: Vec<char> = seeds[usize::from(first) % seeds.len()].chars().collect();
    for change in changes.chunks_exact(4).take(6) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % (text.len() + 1);
        let end = (at + usize::from(change[3] % 16)).min(text.len());
        match change[2] % 5 {
            0 => text.insert(at, char::from(change[3])),
            1 => drop(text.drain(at..end)),
            2 => {
                let part: Vec<char> = text[at..end].to_vec();
                text.splice(at..at, part);
            }
            3 => {
                let trouble = TROUBLE[usize::from(change[3]) % TROUBLE.len()];
                text.splice(at..at, trouble.chars());
            }
            _ => {
                let other = &seeds[usize::from(change[3]) % seeds.len()];
                text.splice(at.., other.chars().skip(at));
            }
        }
    }
    text.into_iter().collect()
}
