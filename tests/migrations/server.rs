//! The version of the server.

use pgqueue_core::{migrate, migrate_async};
use pgqueue_suite::{TestDatabase, server};

use super::{OURS, refusal};

#[tokio::test]
#[ignore = "run on PostgreSQL 13 by .ci/matrix"]
async fn an_older_server_is_refused() {
    let db = TestDatabase::empty();

    let sync = refusal(migrate(&mut db.sync()));
    let asynchronous = refusal(migrate_async(&mut db.asynchronous().await).await);

    assert!(server().major_version() < 14);
    for message in [sync, asynchronous] {
        assert!(message.contains("this is PostgreSQL 13."), "{message}");
        assert!(message.contains("Upgrade the server"), "{message}");
    }
    assert_eq!(db.number(OURS), 0);
}
