//! What sessions can do: our statements with their arguments, as the engine and a host send them.

use super::script::{Act, Call, Memory, Run};
use super::statements::ACTION_ARGUMENTS;

/// Which run an end is of.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Of {
    /// The one that this session claimed last, if it got one.
    Claimed,
    This(i64, i64),
}

impl Of {
    fn run(self, memory: &Memory) -> Option<Run> {
        match self {
            Self::Claimed => memory.claimed(),
            Self::This(id, token) => Some((id, token)),
        }
    }
}

fn fixed(name: &'static str, message: String) -> Act {
    Act::new(name, move |_| Some(Call::of(message.clone())))
}

/// Reads, which is when a stricter transaction takes its snapshot.
pub(crate) fn look() -> Act {
    let mut act = fixed("look", "SELECT count(*) FROM pgqueue_jobs".into());
    act.prepares.clear();
    act
}

fn claim_call(worker: i64, batch: i64) -> String {
    format!(
        "EXECUTE claim ('{{default}}', '{{1}}', array_fill('-infinity'::timestamptz, '{{10}}'), array_fill(0::bigint, '{{10}}'), \
         '{{email}}', 1, {worker}, {batch}, NULL, '{{1}}', 1000000)"
    )
}

/// Claims one job.
pub(crate) fn claim(worker: i64, batch: i64) -> Act {
    fixed("claim", claim_call(worker, batch))
}

pub(crate) fn claim_suspect(worker: i64) -> Act {
    let call = format!("EXECUTE claim_suspect ('{{default}}', '{{email}}', {worker}, 1, NULL)");
    fixed("claim_suspect", call)
}

const REGISTER: &str = "EXECUTE register ('w', 'h', 1, '0', '{\"default\": 1}', '{email}', '1 h')";

/// Registers as the first worker of all, whose id is 1, and claims, each statement by itself.
pub(crate) fn register_and_claim() -> Act {
    let mut act = Act::new("register and claim", |_| {
        Some(Call {
            messages: vec![REGISTER.into(), claim_call(1, 1)],
            ends: None,
        })
    });
    act.prepares = vec!["register", "claim"];
    act
}

/// Registers anew if the last beat found no row.
pub(crate) fn register_if_deposed() -> Act {
    Act::new("register", |memory| {
        let is_deposed = memory.last("beat").is_empty();
        is_deposed.then(|| Call::of(REGISTER))
    })
}

pub(crate) fn beat(worker: i64) -> Act {
    fixed("beat", format!("EXECUTE beat ({worker}, '1 h', 'epoch')"))
}

pub(crate) fn expire_workers(judge: i64) -> Act {
    fixed(
        "expire_workers",
        format!("EXECUTE expire_workers ({judge})"),
    )
}

pub(crate) fn lost() -> Act {
    fixed("lost", "EXECUTE lost ('1 h')".into())
}

/// Takes the jobs of the owners that the last look pinned.
pub(crate) fn rescue() -> Act {
    Act::new("rescue", |memory| {
        let owners = memory.last("lost").first()?.get(1)?.as_ref()?;
        let call = format!("EXECUTE rescue ('{owners}', 3, 0, 500)");
        (owners != "{}").then(|| Call::of(call))
    })
}

pub(crate) fn rescue_overdue() -> Act {
    fixed(
        "rescue_overdue",
        "EXECUTE rescue_overdue ('1 h', 500)".into(),
    )
}

/// Releases what the first claim of a worker took and it does not know of.
pub(crate) fn reconcile(worker: i64) -> Act {
    fixed(
        "reconcile",
        format!("EXECUTE reconcile ({worker}, 1, '{{}}')"),
    )
}

fn finish(of: Of, state: &'static str, refund: i32, error: &'static str) -> Act {
    Act::new("finish", move |memory| {
        let (id, token) = of.run(memory)?;
        let call = format!(
            "EXECUTE finish ('{{{id}}}', '{{{token}}}', '{{{state}}}', '{{0 s}}', '{{{refund}}}', ARRAY[{error}]::jsonb[], '{{NULL}}')"
        );
        Some(ending(call, (id, token)))
    })
}

fn ending(message: String, run: Run) -> Call {
    let messages = vec![message];
    Call {
        messages,
        ends: Some(run),
    }
}

pub(crate) fn complete(of: Of) -> Act {
    finish(of, "completed", 0, "NULL")
}

/// Ends a run that failed and is to be retried at once.
pub(crate) fn fail(of: Of) -> Act {
    finish(
        of,
        "pending",
        0,
        "'{\"kind\": \"error\", \"message\": \"no\"}'",
    )
}

/// Gives a run back that has not begun.
pub(crate) fn release(of: Of) -> Act {
    finish(of, "pending", 1, "NULL")
}

fn end_by(name: &'static str, of: Of, call: impl Fn(Run) -> String + Send + Sync + 'static) -> Act {
    Act::new(name, move |memory| {
        let run = of.run(memory)?;
        Some(ending(call(run), run))
    })
}

pub(crate) fn finish_delete(of: Of) -> Act {
    end_by("finish_delete", of, |(id, token)| {
        format!("EXECUTE finish_delete ('{{{id}}}', '{{{token}}}')")
    })
}

pub(crate) fn complete_in(of: Of) -> Act {
    end_by("complete_in", of, |(id, token)| {
        format!("EXECUTE complete_in ({id}, {token}, NULL)")
    })
}

pub(crate) fn progress(id: i64, token: i64) -> Act {
    fixed("progress", format!("EXECUTE progress ({id}, {token}, '1')"))
}

pub(crate) fn enqueue(key: &str) -> Act {
    let call = format!(
        "EXECUTE enqueue ('default', 'email', '{{}}', 5, NULL, NULL, 3, '{key}', NULL, NULL)"
    );
    fixed("enqueue", call)
}

/// Enqueues two jobs in one statement; their keys in ascending order, as every call sends them.
pub(crate) fn enqueue_two(keys: [&str; 2]) -> Act {
    let call = format!(
        "EXECUTE enqueue_keyed (NULL, NULL, ARRAY['{{}}', '{{}}']::jsonb[], NULL, NULL, NULL, NULL, NULL, NULL, \
         'default', 'email', 5, NULL, NULL, 3, NULL, NULL, '{{{}}}')",
        keys.join(",")
    );
    fixed("enqueue_keyed", call)
}

/// Acts on the job with this id, as an operator does.
fn action(name: &'static str, id: i64) -> Act {
    fixed(
        name,
        format!("EXECUTE {name} ('{{{id}}}', {ACTION_ARGUMENTS})"),
    )
}

pub(crate) fn cancel(id: i64) -> Act {
    action("cancel", id)
}

pub(crate) fn requeue(id: i64) -> Act {
    action("requeue", id)
}

pub(crate) fn purge(id: i64) -> Act {
    action("purge", id)
}

pub(crate) fn prune_completed() -> Act {
    fixed(
        "prune_completed",
        "EXECUTE prune_completed ('1 h', 100)".into(),
    )
}
