//! A PostgreSQL that refuses connections without TLS: the host's pool brings it, and the engine's own connections have it too.

use std::os::unix::fs::PermissionsExt;

use diesel::ConnectionError;
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, deadpool};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::FutureExt;
use local_postgres::LocalPostgres;
use pgqueue_core::{BoxError, Context, ErrorKind, JobState, Worker};
use pgqueue_suite::wait_until;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::{HOUR, Running, job};

/// Plain connections reach the database `postgres` only, where the server's owner makes the others.
const HBA: &str = "host postgres all 127.0.0.1/32 trust\nhostssl all all 127.0.0.1/32 trust\n";

/// A pool as docs/connections.md describes it.
fn pool(url: &str, certificate: &str) -> deadpool::Pool<AsyncPgConnection> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap())
        .unwrap();
    let tls = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut config = ManagerConfig::default();
    config.custom_setup = Box::new(move |url| {
        let connector = MakeRustlsConnect::new(tls.clone());
        let url = url.to_owned();
        async move {
            let (client, connection) = tokio_postgres::connect(&url, connector)
                .await
                .map_err(|error| ConnectionError::BadConnection(error.to_string()))?;
            AsyncPgConnection::try_from_client_and_connection(client, connection).await
        }
        .boxed()
    });
    let manager = AsyncDieselConnectionManager::new_with_config(url, config);
    deadpool::Pool::builder(manager)
        .max_size(2)
        .build()
        .unwrap()
}

#[tokio::test]
async fn every_connection_of_a_worker_speaks_tls_as_the_hosts_pool_does() {
    let folder = tempfile::tempdir().unwrap();
    let hba = folder.path().join("pg_hba.conf");
    std::fs::write(&hba, HBA).unwrap();
    let readable = |mode| PermissionsExt::from_mode(mode);
    std::fs::set_permissions(folder.path(), readable(0o755)).unwrap();
    std::fs::set_permissions(&hba, readable(0o644)).unwrap();
    let server = LocalPostgres::builder()
        .tls()
        .setting("hba_file", hba.to_str().unwrap())
        .start()
        .unwrap();
    let database = server.database().unwrap();
    let pool = pool(database.url(), server.certificate().unwrap());
    let mut conn = pool.get().await.unwrap();
    pgqueue_core::migrate_async(&mut *conn).await.unwrap();

    let plain = Worker::builder(database.url())
        .handle_kind("job", async |_, _| Ok::<_, String>(()))
        .build()
        .unwrap();
    let refused = plain.run_until_empty().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Connection, "{refused}");

    let running = Running::start(
        Worker::builder(pool.clone())
            .handle_kind("job", async |_, ctx: Context| {
                ctx.progress("over TLS").await?;
                Ok::<_, BoxError>(())
            })
            .poll_interval(HOUR),
    );
    let backends = "SELECT count(*) FILTER (WHERE NOT s.ssl), count(*) FROM pg_stat_activity AS a \
        JOIN pg_stat_ssl AS s USING (pid) WHERE a.datname = current_database()";
    type Counts = (diesel::sql_types::BigInt, diesel::sql_types::BigInt);
    let mut counts = async || -> (i64, i64) {
        let counts = diesel::dsl::sql::<Counts>(backends);
        counts.get_result(&mut *conn).await.unwrap()
    };
    let mut seen = (0, 0);
    // Its five, and the pooled one that asks.
    while seen.1 < 6 {
        seen = counts().await;
        tokio::task::yield_now().await;
    }
    assert_eq!(seen.0, 0, "every one of {} is encrypted", seen.1);
    let id = job().enqueue_async(&mut *conn).await.unwrap().id;
    let completed = format!(
        "SELECT count(*) FROM pgqueue_jobs WHERE id = {id} AND state = '{}'",
        JobState::Completed
    );
    let conn = tokio::sync::Mutex::new(conn);
    wait_until("the job has run", async || {
        let count = diesel::dsl::sql::<diesel::sql_types::BigInt>(&completed);
        count.get_result(&mut **conn.lock().await).await == Ok(1_i64)
    })
    .await;
    running.stop().await;
}
