//! The plan that the claim would get.

use diesel::pg::Pg;
use diesel::pg::data_types::PgTimestamp;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::Error as DieselError;
use diesel::sql_types::{Array, BigInt, Integer, Interval, Json, Nullable, Text, Timestamptz};
use serde_json::Value;

use crate::error::Error;
use crate::model::Span;
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

/// The claim's own text behind EXPLAIN, which runs nothing, with values as a worker of one queue and kind would send them:
/// the planner sees them, and would cut away all that empty ones can never find.
#[derive(Debug, Clone)]
pub(super) struct ExplainClaim {
    queues: Vec<String>,
    slots: Vec<i32>,
    after_run_at: Vec<PgTimestamp>,
    after_id: Vec<i64>,
    kinds: Vec<String>,
}

impl ExplainClaim {
    pub(super) fn new() -> Self {
        Self {
            queues: vec!["default".to_owned()],
            slots: vec![10],
            after_run_at: vec![PgTimestamp(i64::MIN); 10],
            after_id: vec![0; 10],
            kinds: vec!["kind".to_owned()],
        }
    }
}

impl QueryId for ExplainClaim {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for ExplainClaim {
    type SqlType = Json;
}

impl<C> diesel::RunQueryDsl<C> for ExplainClaim {}

impl QueryFragment<Pg> for ExplainClaim {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> diesel::QueryResult<()> {
        out.unsafe_to_cache_prepared();
        out.push_sql("EXPLAIN (FORMAT JSON) ");
        out.push_sql(Claim::SQL);
        out.push_bind_param_value_only::<Array<Text>, _>(&self.queues)?;
        out.push_bind_param_value_only::<Array<Integer>, _>(&self.slots)?;
        out.push_bind_param_value_only::<Array<Timestamptz>, _>(&self.after_run_at)?;
        out.push_bind_param_value_only::<Array<BigInt>, _>(&self.after_id)?;
        out.push_bind_param_value_only::<Array<Text>, _>(&self.kinds)?;
        out.push_bind_param_value_only::<BigInt, _>(&10_i64)?;
        out.push_bind_param_value_only::<BigInt, _>(&0_i64)?;
        out.push_bind_param_value_only::<BigInt, _>(&0_i64)?;
        out.push_bind_param_value_only::<Nullable<Interval>, _>(&None::<Span>)?;
        out.push_bind_param_value_only::<Array<Integer>, _>(&self.slots)?;
        out.push_bind_param_value_only::<BigInt, _>(&0_i64)
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
