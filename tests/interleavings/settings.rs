//! Under what the scenarios are played: the isolation that a database gives its sessions, and how they plan.

/// `default_transaction_isolation` of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isolation {
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

pub(crate) const ISOLATIONS: [Isolation; 3] = [
    Isolation::ReadCommitted,
    Isolation::RepeatableRead,
    Isolation::Serializable,
];

impl Isolation {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ReadCommitted => "read committed",
            Self::RepeatableRead => "repeatable read",
            Self::Serializable => "serializable",
        }
    }

    pub(crate) fn as_default(self) -> String {
        format!("default_transaction_isolation = '{}'", self.name())
    }
}

/// What the engine sets for its sessions.
const ENGINE: [&str; 7] = [
    "enable_seqscan",
    "enable_bitmapscan",
    "enable_hashjoin",
    "enable_mergejoin",
    "enable_sort",
    "plan_cache_mode",
    "jit",
];

/// How all sessions plan, instead of as the engine and the server's defaults have it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Planner(pub(crate) &'static [&'static str]);

/// The server's defaults but for one switch each; some in company, as with few rows every plan is a sequential scan.
pub(crate) const PLANNERS: [Planner; 18] = [
    Planner(&[]),
    Planner(&["enable_seqscan = off"]),
    Planner(&["enable_indexscan = off"]),
    Planner(&["enable_bitmapscan = off"]),
    Planner(&["enable_nestloop = off"]),
    Planner(&["enable_hashjoin = off"]),
    Planner(&["enable_mergejoin = off"]),
    Planner(&["enable_sort = off"]),
    Planner(&["enable_material = off"]),
    Planner(&["enable_hashagg = off"]),
    Planner(&["enable_memoize = off"]),
    Planner(&["enable_tidscan = off"]),
    Planner(&["plan_cache_mode = force_generic_plan"]),
    Planner(&["plan_cache_mode = force_custom_plan"]),
    Planner(&["enable_seqscan = off", "enable_indexscan = off"]),
    Planner(&["enable_seqscan = off", "enable_bitmapscan = off"]),
    Planner(&["enable_nestloop = off", "enable_hashjoin = off"]),
    // Every expression of every statement.
    Planner(&["jit = on", "jit_above_cost = 0"]),
];

impl Planner {
    /// Takes back what the engine has set, and what any other of these has.
    pub(crate) fn commands(&self) -> String {
        let others = PLANNERS.iter().flat_map(|planner| planner.0);
        let others = others.filter_map(|set| set.split(' ').next());
        let resets = ENGINE.into_iter().chain(others);
        let resets = resets.map(|name| format!("RESET {name};"));
        // Costs of such small tables are far below those where it is worth while, but the switch is on by default.
        let no_jit = [String::from("SET jit = off;")];
        let sets = self.0.iter().map(|set| format!("SET {set};"));
        let all = resets.chain(no_jit).chain(sets);
        all.chain([String::from("DISCARD PLANS")]).collect()
    }

    pub(crate) fn name(&self) -> String {
        if self.0.is_empty() {
            return String::from("the server's planner");
        }
        self.0.join(", ")
    }
}
