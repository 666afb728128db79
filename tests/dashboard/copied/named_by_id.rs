{
use pgqueue_core::admin::{self, Filter};

let filter = Filter::new()
    .ids([1, 2, 999999]);
let done = admin::requeue(filter)
    .by("anybody")
    .run_async(&mut conn)
    .await?;
done
}
