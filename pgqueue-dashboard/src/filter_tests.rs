use proptest::prelude::*;

use super::*;

fn when() -> impl Strategy<Value = When> {
    let ago = (
        any::<u32>(),
        prop::sample::select(vec!['s', 'm', 'h', 'd', 'w']),
    );
    let at = 0_i64..253_402_300_800_000_000;
    prop_oneof![
        ago.prop_map(|(count, unit)| When::Ago(count, unit)),
        at.prop_map(|micros| When::At(DateTime::from_timestamp_micros(micros).unwrap())),
    ]
}

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Less), Just(Side::More)]
}

fn text() -> impl Strategy<Value = String> {
    "[^\0]{1,30}"
}

fn term() -> impl Strategy<Value = Term> {
    prop_oneof![
        prop::sample::select(JobState::ALL.to_vec()).prop_map(Term::State),
        text().prop_map(Term::Queue),
        text().prop_map(Term::Kind),
        prop::collection::vec(any::<i64>(), 1..4).prop_map(Term::Ids),
        text().prop_map(Term::Key),
        text().prop_map(Term::Tag),
        any::<i64>().prop_map(Term::Worker),
        any::<i64>().prop_map(Term::Cause),
        text().prop_map(Term::Error),
        (prop::collection::vec(text(), 1..4), "[^\0]{0,20}")
            .prop_map(|(path, value)| Term::Args(path, value)),
        (side(), when()).prop_map(|(side, when)| Term::Created(side, when)),
        (side(), when()).prop_map(|(side, when)| Term::Finished(side, when)),
        (0..i32::MAX).prop_map(Term::Attempts),
    ]
}

proptest! {
    #[test]
    fn terms_become_text_and_the_same_terms_again(terms in prop::collection::vec(term(), 0..6)) {
        let mut wanted = Terms::default();
        for term in terms {
            let _ = wanted.add(term); // one that is there already is left out
        }

        let text = wanted.to_string();

        prop_assert_eq!(Terms::parse(&text), Ok(wanted), "{}", text);
    }

    #[test]
    fn no_text_makes_it_panic(text: String, near in "([a-z]{1,8}[:.=<>]{0,2}[\"a-z0-9\\\\ ,.=-]{0,9} ?){0,6}") {
        for text in [text, near] {
            if let Ok(terms) = Terms::parse(&text) {
                let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
                let _ = terms.filter(now);
            }
        }
    }
}

#[test]
fn the_documented_example_is_understood() {
    let text = "state:dead queue:mail kind:send_receipt id:42 key:order:7 tag:import worker:3 \
        error:\"connection refused\" args.order_id=42 created>2026-11-01 finished<1h attempts>=3";
    let terms = Terms::parse(text).unwrap();

    assert_eq!(terms.to_string(), text);
    assert_eq!(terms.iter().count(), 12);
}

#[test]
fn a_mistake_names_the_term_and_what_to_write() {
    for (text, word, next) in [
        ("queue:mail refused", "\"refused\"", "error:refused"),
        ("42", "\"42\"", "id:42"),
        ("queue:", "\"queue:\"", "write one"),
        ("state:deaf", "\"deaf\"", "cancelled, dead"),
        ("error:\"open", "open", "write \""),
        ("created=1h", "\"created=1h\"", "created<1h"),
        ("attempts>3", "\"attempts>3\"", "attempts>=3"),
        ("args=3", "\"args=3\"", "args.order_id=42"),
        ("queue:a queue:b", "\"queue\"", "keep one"),
        ("moon:full", "\"moon\"", "state:"),
        ("id:4x", "\"4x\"", "id:42"),
    ] {
        let Mistake(said) = Terms::parse(text).unwrap_err();
        assert!(said.contains(word) && said.contains(next), "{text}: {said}");
    }
}
