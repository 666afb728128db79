//! The plan that the claim would get.

use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::Error as DieselError;
use diesel::sql_types::Json;
use serde_json::Value;

use crate::error::Error;
use crate::sql::Claim;

/// The planner settings of the engine's sessions for claims, for this savepoint.
pub(super) const SETTINGS: &str = "\
    SET LOCAL jit = off;
    SET LOCAL enable_seqscan = off;
    SET LOCAL enable_bitmapscan = off;
    SET LOCAL enable_hashjoin = off;
    SET LOCAL enable_mergejoin = off;
    SET LOCAL enable_sort = off;
    SET LOCAL plan_cache_mode = force_generic_plan";

/// The claim's own text behind EXPLAIN, which runs nothing.
#[derive(Debug, Clone, Copy, QueryId)]
pub(super) struct ExplainClaim {}

impl Query for ExplainClaim {
    type SqlType = Json;
}

impl<C> diesel::RunQueryDsl<C> for ExplainClaim {}

impl QueryFragment<Pg> for ExplainClaim {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> diesel::QueryResult<()> {
        const CLAIM: Claim<'static> = Claim {
            queues: &[],
            slots: &[],
            after_run_at: &[],
            after_id: &[],
            kinds: &[],
            total: 1,
            worker: 0,
            batch: 0,
            default_timeout: None,
        };
        out.unsafe_to_cache_prepared();
        out.push_sql("EXPLAIN (FORMAT JSON) ");
        CLAIM.walk_ast(out.reborrow())
    }
}

/// Takes the plan out of a savepoint that was undone on purpose.
pub(super) fn answered(
    plan: Result<Value, DieselError>,
    undone: Result<(), DieselError>,
) -> Result<Value, Error> {
    match undone {
        Err(DieselError::RollbackTransaction) | Ok(()) => plan.map_err(Error::from),
        // A failed statement aborts the savepoint; what it said is more than that.
        Err(error) => match plan {
            Err(DieselError::NotFound) => Err(error.into()),
            plan => plan.map_err(Error::from),
        },
    }
}

/// Tells whether the plan reads the jobs by the index of claims and in no other way than that and by id.
pub(super) fn uses_its_index(plan: &Value) -> bool {
    let nodes = nodes(&plan[0]["Plan"]);
    let scans_all = nodes
        .iter()
        .any(|node| node["Node Type"] == "Seq Scan" && node["Relation Name"] == "pgqueue_jobs");
    let by_index = nodes
        .iter()
        .any(|node| node["Index Name"] == "pgqueue_jobs_dequeue");
    by_index && !scans_all
}

fn nodes(plan: &Value) -> Vec<&Value> {
    let inner = plan["Plans"].as_array().into_iter().flatten();
    std::iter::once(plan).chain(inner.flat_map(nodes)).collect()
}
