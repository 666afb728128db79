{
use pgqueue_core::JobState;
use pgqueue_core::admin::{self, Filter};

let filter = Filter::new()
    .state(JobState::Pending)
    .queue("it's \"q\" \\ é")
    .payload(["a b", "c'd\\", "1"], "v\"'\\");
let done = admin::run_now(filter)
    .by("anybody")
    .run_async(&mut conn)
    .await?;
done
}
