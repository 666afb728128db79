//! The statements, word for word as the engine sends them.

use std::collections::BTreeMap;

/// Each by the name of its file.
#[derive(Debug, Clone)]
pub(super) struct Texts(BTreeMap<&'static str, String>);

macro_rules! texts {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../../pgqueue-core/src/sql/", $name, ".sql")))),*]
    };
}

impl Texts {
    pub(super) fn as_they_are() -> Self {
        let texts = texts![
            "beat",
            "claim",
            "claim_suspect",
            "complete_in",
            "expire_workers",
            "finish",
            "lost",
            "read_back",
            "reconcile",
            "register",
            "rescue",
            "unregister",
        ];
        Self(texts.map(|(name, text)| (name, text.to_owned())).into())
    }

    /// Says something else in one of them.
    pub(super) fn with(mut self, name: &'static str, from: &str, to: &str) -> Self {
        let text = self.0.get_mut(name).expect("the statement is one of ours");
        let changed = text.replace(from, to);
        assert_ne!(changed, *text, "{name}.sql does not say {from:?} any more");
        *text = changed;
        self
    }

    /// Prepares each under its name.
    pub(super) fn prepare(&self) -> String {
        let prepare = |(name, text): (&&str, &String)| format!("PREPARE \"{name}\" AS {text};\n");
        self.0.iter().map(prepare).collect()
    }
}
