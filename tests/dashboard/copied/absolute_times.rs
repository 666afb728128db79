{
use pgqueue_core::JobState;
use pgqueue_core::admin::{self, Filter};

let filter = Filter::new()
    .state(JobState::Completed)
    .created_after("2026-01-01T00:00:00Z".parse()?)
    .created_before("2026-02-03T04:05:06.789Z".parse()?);
let done = admin::requeue(filter)
    .by("anybody")
    .run_async(&mut conn)
    .await?;
done
}
