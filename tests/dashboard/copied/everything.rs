{
use pgqueue_core::JobState;
use pgqueue_core::admin::{self, Filter};

let filter = Filter::new()
    .state(JobState::Dead);
let done = admin::requeue(filter)
    .by("anybody")
    .run_async(&mut conn)
    .await?;
done
}
