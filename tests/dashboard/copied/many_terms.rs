{
use chrono::{TimeDelta, Utc};
use pgqueue_core::JobState;
use pgqueue_core::admin::{self, Filter};

let filter = Filter::new()
    .state(JobState::Dead)
    .kind("notify_warehouse")
    .error_contains("refused")
    .payload(["postcode"], "27498")
    .attempts_at_least(2)
    .created_after(Utc::now() - TimeDelta::weeks(4))
    .finished_after(Utc::now() - TimeDelta::days(3))
    .finished_before(Utc::now() - TimeDelta::seconds(1))
    .tag("x")
    .unique_key("order:50")
    .worker(3)
    .cause(-5);
let done = admin::requeue(filter)
    .by("anybody")
    .run_async(&mut conn)
    .await?;
done
}
