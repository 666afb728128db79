//! The statements as they are shipped, by name: those of `pgqueue-core/src/sql`, and those that actions on jobs put
//! together, as they go over the wire. A test may break one, to see that it is missed.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex};

use diesel::connection::{Connection, InstrumentationEvent};
use pgqueue_core::admin::{self, Action};
use pgqueue_suite::TestDatabase;

const SQL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/pgqueue-core/src/sql");

/// What an action binds to its first statement when its filter is the id 1: what [`ACTION_ARGUMENTS`] says of another.
const ACTION_BINDS: &str = r#"[[1], 500, None, None, Object {"ids": Array [Number(1)]}, 500]"#;
const ACTION_TYPES: &str = "(bigint[], bigint, text, text, jsonb, bigint)";
/// The arguments of an action behind the ids.
pub(crate) const ACTION_ARGUMENTS: &str = "500, NULL, NULL, '{}', 500";

/// The texts that sessions prepare.
#[derive(Debug, Clone, Default)]
pub(crate) struct Statements(BTreeMap<&'static str, String>);

impl Statements {
    /// Gives what to `PREPARE` for a statement, broken if it was.
    pub(crate) fn prepare(&self, name: &'static str) -> String {
        let text = self.0.get(name).cloned();
        let text = text.unwrap_or_else(|| shipped(name));
        let types = if is_action(name) { ACTION_TYPES } else { "" };
        format!("PREPARE \"{name}\" {types} AS {text}")
    }

    /// Replaces a part of a statement.
    pub(crate) fn broken(mut self, name: &'static str, part: &str, by: &str) -> Self {
        let whole = self.0.get(name).cloned().unwrap_or_else(|| shipped(name));
        let broken = whole.replace(part, by);
        assert_ne!(broken, whole, "{name} has no such part: {part}");
        self.0.insert(name, broken);
        self
    }
}

fn is_action(name: &str) -> bool {
    ACTIONS.contains_key(name)
}

fn shipped(name: &str) -> String {
    match ACTIONS.get(name) {
        Some(text) => text.clone(),
        None => std::fs::read_to_string(format!("{SQL}/{name}.sql")).unwrap(),
    }
}

static ACTIONS: LazyLock<BTreeMap<&'static str, String>> = LazyLock::new(|| {
    let db = TestDatabase::migrated();
    let actions = [
        ("cancel", admin::cancel(1)),
        ("requeue", admin::requeue(1)),
        ("purge", admin::purge(1)),
    ];
    let texts = actions.map(|(name, action)| (name, first_statement(&db, action)));
    BTreeMap::from(texts)
});

/// Runs an action and gives the text of its first statement, as Diesel sends it.
fn first_statement(db: &TestDatabase, action: Action) -> String {
    let sent = Arc::new(Mutex::new(Vec::new()));
    let mut conn = db.sync();
    let note = Arc::clone(&sent);
    conn.set_instrumentation(move |event: InstrumentationEvent<'_>| {
        if let InstrumentationEvent::StartQuery { query, .. } = event {
            note.lock().unwrap().push(query.to_string());
        }
    });
    action.run(&mut conn).unwrap();
    let first = sent.lock().unwrap()[0].clone();
    let (text, binds) = first.split_once(" -- binds: ").unwrap();
    assert_eq!(binds, ACTION_BINDS, "the arguments of actions have changed");
    text.to_owned()
}
