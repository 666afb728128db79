//! What the facts mean, and what to do.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::facts::{Holder, Identity, IndexHealth, LockWait, ServerFacts, TableHealth};
use super::{Finding, Level, Read, Report, indexes, plan};
use crate::error::Error;
use crate::migrate;

/// Collects findings.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, part: &'static str, level: Level, sentence: impl Into<String>) {
        self.mend(part, level, sentence, None);
    }

    fn mend(
        &mut self,
        part: &'static str,
        level: Level,
        sentence: impl Into<String>,
        fix: Option<String>,
    ) {
        self.0.push(Finding {
            part,
            level,
            sentence: sentence.into(),
            fix,
        });
    }

    /// Takes a part, or says why it cannot be had.
    fn take<T: DeserializeOwned>(
        &mut self,
        part: &'static str,
        read: Result<Value, Error>,
    ) -> Option<T> {
        let cause = match read {
            Ok(value) => match serde_json::from_value(value) {
                Ok(facts) => return Some(facts),
                Err(error) => error.to_string(),
            },
            Err(error) => error.to_string(),
        };
        self.add(
            part,
            Level::Warn,
            format!("This part could not be read: {cause}."),
        );
        None
    }
}

pub(super) fn judge(read: Read) -> Report {
    let mut findings = Findings::default();
    let server: Option<ServerFacts> = findings.take("server", read.server);
    let holders: Option<Vec<Holder>> = findings.take("vacuum", read.holders);
    let tables: Option<Vec<TableHealth>> = findings.take("tables", read.tables);
    let indexes: Option<Vec<IndexHealth>> = findings.take("indexes", read.indexes);
    let locks: Option<Vec<LockWait>> = findings.take("locks", read.locks);
    let ids: Option<Vec<Identity>> = findings.take("ids", read.ids);
    let plan: Option<Value> = findings.take("claim", read.plan);
    if let Some(server) = &server {
        judge_server(server, &mut findings);
    }
    holders
        .iter()
        .for_each(|holders| judge_holders(holders, &mut findings));
    tables
        .iter()
        .for_each(|tables| judge_tables(tables, &mut findings));
    indexes
        .iter()
        .for_each(|indexes| judge_indexes(indexes, &mut findings));
    locks
        .iter()
        .for_each(|locks| judge_locks(locks, &mut findings));
    ids.iter()
        .flatten()
        .for_each(|id| judge_id(id, &mut findings));
    plan.iter().for_each(|plan| judge_plan(plan, &mut findings));
    judge_ledger(read.ledger, &mut findings);
    let mut findings = findings.0;
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    Report {
        at: chrono::Utc::now(),
        findings,
        server,
        holders: holders.unwrap_or_default(),
        tables: tables.unwrap_or_default(),
        indexes: indexes.unwrap_or_default(),
        locks: locks.unwrap_or_default(),
    }
}

fn judge_server(server: &ServerFacts, findings: &mut Findings) {
    let role = quoted(&server.role);
    if !server.sees_others {
        findings.mend(
            "role",
            Level::Warn,
            format!("The role {} may not see what sessions of other roles do, so transactions and locks of theirs are missing here.", server.role),
            Some(format!("GRANT pg_monitor TO {role};")),
        );
    }
    let used = server.connections * 100 / server.max_connections.max(1);
    let level = match used {
        ..80 => Level::Good,
        80..95 => Level::Warn,
        _ => Level::Bad,
    };
    findings.add(
        "connections",
        level,
        format!(
            "{} of {} connections are in use; PostgreSQL {}.",
            server.connections, server.max_connections, server.version
        ),
    );
    if !server.autovacuum {
        findings.mend(
            "vacuum",
            Level::Bad,
            "Autovacuum is off: dead versions of jobs are never removed, and claims get slower by the hour.",
            Some("ALTER SYSTEM SET autovacuum = on; ALTER SYSTEM SET track_counts = on; SELECT pg_reload_conf();".to_owned()),
        );
    }
    if !server.idle_in_transaction_limited {
        findings.mend(
            "settings",
            Level::Warn,
            "idle_in_transaction_session_timeout is 0: a client that forgets an open transaction holds vacuum back until somebody ends it.",
            Some(format!("ALTER DATABASE {} SET idle_in_transaction_session_timeout = '10min';", quoted(&server.database))),
        );
    }
    let level = match server.notifications {
        share if share < 0.1 => Level::Good,
        share if share < 0.5 => Level::Warn,
        _ => Level::Bad,
    };
    let listeners = server.listeners;
    let share = server.notifications * 100.0;
    findings.add(
        "notifications",
        level,
        format!("The notification queue is {share:.0} % full; {listeners} sessions listen. At 50 % pgqueue stops waking workers and they poll."),
    );
}

fn judge_holders(holders: &[Holder], findings: &mut Findings) {
    if holders.is_empty() {
        findings.add("vacuum", Level::Good, "Nothing holds vacuum back.");
    }
    for (position, holder) in holders.iter().enumerate() {
        let seconds = holder.seconds.unwrap_or(0.0);
        let level = match (seconds, holder.xid_age) {
            (seconds, age) if seconds >= 3600.0 || age >= 50_000_000 => Level::Bad,
            (seconds, age) if seconds >= 300.0 || age >= 5_000_000 => Level::Warn,
            _ if holder.state.as_deref() == Some("inactive") => Level::Warn,
            _ => Level::Good,
        };
        if level == Level::Good && position > 0 {
            continue;
        }
        let fix = (level > Level::Good).then(|| holder_fix(holder));
        findings.mend("vacuum", level, holder_sentence(holder), fix);
    }
}

fn holder_sentence(holder: &Holder) -> String {
    let known = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
    let owner = known(&holder.owner).unwrap_or_else(|| "unknown".to_owned());
    let what = match holder.sort.as_str() {
        "slot" => format!("The replication slot {}", holder.name),
        "prepared" => format!("The prepared transaction {} of {owner}", holder.name),
        _ => format!("The transaction of process {} (user {owner})", holder.name),
    };
    let application = known(&holder.application).map(|name| format!(", {name}"));
    let state = known(&holder.state).map(|state| format!(", {state}"));
    let query = known(&holder.query).map(|query| format!(", last statement {query} …"));
    let since = holder
        .seconds
        .map(|seconds| format!(" has been open for {seconds:.0} s"));
    format!(
        "{what}{}{}{}{} and keeps vacuum from removing rows that died in the last {} transactions.",
        application.unwrap_or_default(),
        state.unwrap_or_default(),
        query.unwrap_or_default(),
        since.unwrap_or_else(|| " is there".to_owned()),
        holder.xid_age
    )
}

fn holder_fix(holder: &Holder) -> String {
    match (holder.sort.as_str(), holder.pid) {
        ("slot", _) => format!(
            "SELECT pg_drop_replication_slot({}); -- only if no replica needs it any more",
            literal(&holder.name)
        ),
        ("prepared", _) => format!(
            "ROLLBACK PREPARED {}; -- or COMMIT PREPARED",
            literal(&holder.name)
        ),
        (_, Some(pid)) => format!("SELECT pg_terminate_backend({pid});"),
        (_, None) => String::new(),
    }
}

fn judge_tables(tables: &[TableHealth], findings: &mut Findings) {
    let before = findings.0.len();
    for table in tables {
        let name = &table.name;
        if table.autovacuum_off {
            findings.mend(
                "vacuum",
                Level::Bad,
                format!("Autovacuum is off for {name}: its dead rows are never removed."),
                Some(format!(
                    "ALTER TABLE {} RESET (autovacuum_enabled);",
                    quoted(name)
                )),
            );
        }
        let level = match table.dead {
            dead if dead > 100_000 && dead > table.live => Level::Bad,
            dead if dead > 20_000 && dead > table.live / 5 => Level::Warn,
            _ => Level::Good,
        };
        if level > Level::Good {
            let vacuum = format!("VACUUM (ANALYZE) {};", quoted(name));
            let dead = table.dead;
            let sentence = format!(
                "{name} has {dead} dead rows beside {} live ones: statements read over them.",
                table.live
            );
            findings.mend("tables", level, sentence, Some(vacuum));
        }
        if table.frozen_age > 1_000_000_000 {
            let fix = format!("VACUUM (FREEZE) {};", quoted(name));
            let sentence = format!(
                "{name} has transaction ids {} old; at 2 billion the server stops.",
                table.frozen_age
            );
            findings.mend("tables", Level::Bad, sentence, Some(fix));
        }
    }
    if findings.0.len() == before {
        findings.add(
            "tables",
            Level::Good,
            "No table of pgqueue has too many dead rows.",
        );
    }
}

fn judge_indexes(indexes: &[IndexHealth], findings: &mut Findings) {
    let broken: Vec<&IndexHealth> = indexes.iter().filter(|index| !index.valid).collect();
    for index in &broken {
        let made = indexes::ALL.iter().find(|(name, _)| *name == index.name);
        let made = made.map_or("", |(_, made)| made);
        let (what, fix) = if index.present {
            let drop = format!("DROP INDEX CONCURRENTLY {};\n{made}", quoted(&index.name));
            (
                "is invalid: it costs on every write and serves no read",
                drop,
            )
        } else {
            (
                "is missing: statements that rely on it read the whole table",
                made.to_owned(),
            )
        };
        let sentence = format!("The index {} {what}.", index.name);
        findings.mend("indexes", Level::Bad, sentence, Some(fix));
    }
    if broken.is_empty() {
        let sentence = format!("All {} indexes are there and valid.", indexes.len());
        findings.add("indexes", Level::Good, sentence);
    }
}

fn judge_locks(locks: &[LockWait], findings: &mut Findings) {
    if locks.is_empty() {
        findings.add(
            "locks",
            Level::Good,
            "Nobody waits for a lock on the tables of pgqueue.",
        );
    }
    for wait in locks {
        let level = if wait.seconds >= 5.0 {
            Level::Bad
        } else {
            Level::Warn
        };
        let blockers: Vec<String> = wait.blockers.iter().map(i64::to_string).collect();
        let sentence = format!(
            "Process {} has waited {:.0} s for {} on {}, held by {}.",
            wait.pid,
            wait.seconds,
            wait.mode,
            wait.relation,
            if blockers.is_empty() {
                "nobody any more".to_owned()
            } else {
                format!("process {}", blockers.join(", "))
            }
        );
        let ends = blockers
            .iter()
            .map(|pid| format!("SELECT pg_terminate_backend({pid});"));
        let fix = ends.collect::<Vec<_>>().join("\n");
        findings.mend("locks", level, sentence, (!fix.is_empty()).then_some(fix));
    }
}

fn judge_id(id: &Identity, findings: &mut Findings) {
    let share = id.used / (id.most / 100).max(1);
    if share >= 50 {
        let level = if share >= 80 { Level::Bad } else { Level::Warn };
        findings.add(
            "ids",
            level,
            format!("{} has used {share} % of its numbers.", id.name),
        );
    }
}

fn judge_plan(plan: &Value, findings: &mut Findings) {
    if plan::uses_its_index(plan) {
        let sentence = "Claims are planned on their index, pgqueue_jobs_dequeue.";
        findings.add("claim", Level::Good, sentence);
    } else {
        findings.mend(
            "claim",
            Level::Bad,
            "Claims are not planned on pgqueue_jobs_dequeue: each one reads all jobs.",
            Some(
                "REINDEX INDEX CONCURRENTLY pgqueue_jobs_dequeue; ANALYZE pgqueue_jobs;".to_owned(),
            ),
        );
    }
}

fn judge_ledger(ledger: Result<Vec<(String, bool)>, Error>, findings: &mut Findings) {
    match ledger.and_then(|ledger| migrate::check(&ledger)) {
        Ok(()) => {
            let sentence = format!("The tables are those of migration {}.", migrate::newest());
            findings.add("migrations", Level::Good, sentence);
        }
        Err(error) => findings.add("migrations", Level::Bad, format!("{error}.")),
    }
}

/// Writes a name as SQL takes it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Writes a text as SQL takes it.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
