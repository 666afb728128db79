//! Actions on all that match: preview, durable operation, progress, undo.

use pgqueue_core::{BoxError, Context, JobState, RawJob, Worker};
use pgqueue_dashboard::{DashboardBuilder, Permissions};
use pgqueue_suite::wait_until;
use reqwest::StatusCode;

use crate::site::{Answer, Site};

/// Takes the hidden fields of a preview's form, as a browser would.
fn fields(page: &Answer) -> Vec<(String, String)> {
    page.text
        .split("<input type=\"hidden\" name=\"")
        .skip(1)
        .map(|rest| {
            let (name, rest) = rest.split_once("\" value=\"").unwrap();
            (name.to_owned(), rest.split_once('"').unwrap().0.to_owned())
        })
        .collect()
}

async fn order(site: &Site, verb: &str, filter: &str, more: &[(&str, &str)]) -> Answer {
    let page = site
        .get(&format!("/bulk/preview?action={verb}&filter={filter}"))
        .await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text);
    let fields = fields(&page);
    let mut form: Vec<(&str, &str)> = fields
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    form.extend(more);
    site.post(&format!("/bulk/{verb}"), &form).await
}

async fn finished(site: &Site, path: &str, state: &str) {
    wait_until(&format!("{path} is {state}"), async || {
        site.get(path)
            .await
            .text
            .contains(&format!("</svg>{state}</span>"))
    })
    .await;
}

#[actix_web::test]
async fn a_cause_is_requeued_in_three_clicks_from_the_overview() {
    let site = Site::seeded().await;
    let cause = site.database.number("SELECT cause FROM pgqueue_jobs WHERE state = 'dead' AND kind = 'notify_warehouse' ORDER BY id LIMIT 1");
    let dead = site.database.number(&format!(
        "SELECT count(*) FROM pgqueue_jobs WHERE cause = {cause} AND state = 'dead'"
    ));

    assert!(
        site.get("/").await.text.contains("href=\"/dead\""),
        "the first click"
    );
    let link = format!("/bulk/preview?action=requeue&#38;filter=state%3Adead+cause%3A{cause}");
    assert!(
        site.get("/dead").await.text.contains(&link),
        "the second click"
    );
    let started = order(
        &site,
        "requeue",
        &format!("state:dead+cause:{cause}"),
        &[("reason", "the warehouse is back")],
    )
    .await;

    assert_eq!(started.status, StatusCode::SEE_OTHER, "{}", started.text);
    finished(&site, started.location(), "finished").await;
    let requeued = site.database.number("SELECT sum(jobs) FROM pgqueue_audit WHERE action = 'requeue' AND reason = 'the warehouse is back' AND details ? 'operation'");
    assert_eq!(requeued, dead);
    assert_eq!(
        site.database.number(&format!(
            "SELECT count(*) FROM pgqueue_jobs WHERE state = 'dead' AND cause = {cause}"
        )),
        0
    );
}

#[actix_web::test]
async fn a_number_is_confirmed_as_the_page_writes_it_or_plain() {
    let site = Site::empty().await;
    site.database.execute(
        "INSERT INTO pgqueue_jobs (kind, payload, state, finished_at) \
         SELECT 'job', '{}', 'dead', now() - interval '1 s' FROM generate_series(1, 1200)",
    );

    for (typed, status) in [
        ("", StatusCode::UNPROCESSABLE_ENTITY),
        ("1 20", StatusCode::UNPROCESSABLE_ENTITY),
        ("1\u{202f}200", StatusCode::SEE_OTHER),
        (" 1 200 ", StatusCode::SEE_OTHER),
        ("1200", StatusCode::SEE_OTHER),
    ] {
        site.database.execute("DELETE FROM pgqueue_bulk_operations");
        let left = site.database.count(JobState::Dead);
        let form = [
            ("filter", "state:dead"),
            ("cutoff", "2026-01-01T00:00:00Z"), // nothing is that old
            ("expected", "1200"),
            ("exact", "true"),
            ("typed", typed),
        ];

        let answer = site.post("/bulk/purge", &form).await;

        assert_eq!(answer.status, status, "{typed:?}: {}", answer.text);
        assert_eq!(site.database.count(JobState::Dead), left);
    }
}

#[actix_web::test]
async fn a_purge_asks_for_the_number_and_can_be_undone() {
    let site = Site::seeded().await;
    let before = site.database.count(JobState::Dead);
    assert!(before > 100);

    let more = [("typed", "1"), ("reason", "old"), ("rate", "77")];
    let refused = order(&site, "purge", "state:dead", &more).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    for kept in [
        "id=\"typed\" name=\"typed\" required autocomplete=\"off\" inputmode=\"numeric\" value=\"1\" aria-invalid=\"true\"",
        "id=\"typed-mistake\" role=\"alert\"",
        "value=\"old\"",
        "value=\"77\"",
        &format!("Type {before} to confirm"),
    ] {
        assert!(refused.text.contains(kept), "{kept}: {}", refused.text);
    }
    let again = fields(&refused);
    assert!(again.contains(&("expected".to_owned(), before.to_string())));
    let more = [("typed", &*before.to_string()), ("rate", "200000")];
    let refused = order(&site, "purge", "state:dead", &more).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(refused.text.contains("id=\"rate-mistake\""));
    assert_eq!(site.database.count(JobState::Dead), before);
    let started = order(
        &site,
        "purge",
        "state:dead",
        &[("typed", &before.to_string())],
    )
    .await;
    let path = started.location().to_owned();
    finished(&site, &path, "finished").await;
    assert_eq!(site.database.count(JobState::Dead), 0);

    let undone = site.post(&format!("{path}/undo"), &[]).await;
    assert_eq!(undone.status, StatusCode::SEE_OTHER);
    finished(&site, &path, "undone").await;
    assert_eq!(site.database.count(JobState::Dead), before);
    assert_eq!(
        site.post(&format!("{path}/undo"), &[]).await.status,
        StatusCode::CONFLICT
    );
}

#[actix_web::test]
async fn requeues_that_race_each_other_and_a_worker_run_each_job_once() {
    let site = Site::empty().await;
    site.database.execute(
        "CREATE TABLE runs (job_id bigint NOT NULL);
         INSERT INTO pgqueue_jobs (kind, payload, state, attempt, finished_at)
         SELECT 'job', '{}', 'dead', 4, now() - n * interval '1 ms' FROM generate_series(1, 1200) AS n",
    );
    let handler = async |_: RawJob, ctx: Context| {
        let mut conn = ctx.connection().await?;
        let run = diesel::sql_query("INSERT INTO runs VALUES ($1)");
        let run = run.bind::<diesel::sql_types::BigInt, _>(ctx.id());
        diesel_async::RunQueryDsl::execute(run, &mut *conn).await?;
        Ok::<_, BoxError>(())
    };
    let worker = Worker::builder(site.database.url()).handle_kind("job", handler);
    let worker = worker.build().unwrap();
    let handle = worker.handle();
    let working = actix_web::rt::spawn(worker.run(std::future::pending::<()>()));

    let orders = [(); 3].map(|()| order(&site, "requeue", "state:dead", &[]));
    for started in futures_util::future::join_all(orders).await {
        finished(&site, started.location(), "finished").await;
    }
    site.database
        .wait_for_count(JobState::Completed, 1200)
        .await;
    handle.stop();
    working.await.unwrap().unwrap();

    for (what, count) in [
        ("SELECT count(*) FROM runs", 1200),
        ("SELECT count(DISTINCT job_id) FROM runs", 1200),
        ("SELECT sum(done) FROM pgqueue_bulk_operations", 1200),
        (
            "SELECT sum(jobs) FROM pgqueue_audit WHERE action = 'requeue'",
            1200,
        ),
    ] {
        assert_eq!(site.database.number(what), count, "{what}");
    }
}

#[actix_web::test]
async fn another_dashboard_goes_on_with_an_operation_whose_dashboard_has_gone() {
    let site = Site::seeded().await;
    let dead = site.database.count(JobState::Dead);
    // As a dashboard leaves it that is killed before its first step.
    site.database.execute(
        "INSERT INTO pgqueue_bulk_operations (cutoff, expected, expected_exactly, rate, verb, actor, filter, place)
         VALUES (now(), 1, true, NULL, 'requeue', 'gone', '{}', '{\"course\": 0, \"after\": null}')",
    );

    let id = site
        .database
        .number("SELECT max(id) FROM pgqueue_bulk_operations");
    finished(&site, &format!("/bulk/{id}"), "finished").await;

    let answered = site
        .database
        .number("SELECT done + skipped FROM pgqueue_bulk_operations ORDER BY id DESC LIMIT 1");
    assert_eq!(answered, dead);
    assert_eq!(
        site.database
            .number("SELECT sum(jobs) FROM pgqueue_audit WHERE actor = 'gone'"),
        site.database
            .number("SELECT done FROM pgqueue_bulk_operations WHERE actor = 'gone'")
    );
}

#[actix_web::test]
async fn an_operation_tells_what_became_of_its_jobs_while_its_canary_waits_and_when_it_is_over() {
    let site = Site::empty().await;
    site.database.execute(
        "INSERT INTO pgqueue_jobs (kind, payload, state, attempt, finished_at, cause, errors) \
         SELECT 'job', '{}', 'dead', 4, now() - interval '1 s', 77, '[{\"message\": \"no such host\"}]' FROM generate_series(1, 112)",
    );
    let started = order(&site, "requeue", "state:dead+cause:77", &[("canary", "1")]).await;
    let path = started.location().to_owned();
    finished(&site, &path, "paused").await;
    let ids = site
        .database
        .texts("SELECT id::text FROM pgqueue_trash ORDER BY id");
    assert_eq!(ids.len(), 10);

    let end = |state: &str, job: &str| {
        site.database.execute(&format!(
            "UPDATE pgqueue_jobs SET state = '{state}', finished_at = now() WHERE id = {job}"
        ));
    };
    end("completed", &ids[0]);
    end("completed", &ids[1]);
    end("dead", &ids[2]);
    site.database
        .execute(&format!("DELETE FROM pgqueue_jobs WHERE id = {}", ids[3]));
    let page = site.get(&path).await.text;
    let (_, became) = page.split_once("id=\"became\">").unwrap();
    let (became, _) = became.split_once("</p>").unwrap();
    for said in [
        "Of the 10: ",
        &format!(
            "<a href=\"/jobs?q=id%3A{}%2C{}\">2 completed</a>, ",
            ids[0], ids[1]
        ),
        &format!("<a href=\"/jobs?q=id%3A{}\">1 dead again</a>, ", ids[2]),
        "6 pending</a>",
        "1 gone",
    ] {
        assert!(became.contains(said), "{said}: {became}");
    }
    assert!(page.contains("77: no such host"), "{page}");
    assert!(!page.contains("No longer matched"));

    // One that was counted goes its own way before its turn comes.
    site.database.execute(&format!(
        "DELETE FROM pgqueue_jobs WHERE id = (SELECT max(id) FROM pgqueue_jobs WHERE state = 'dead' AND id <> {})", ids[2]
    ));
    assert_eq!(
        site.post(&format!("{path}/resume"), &[]).await.status,
        StatusCode::SEE_OTHER
    );
    finished(&site, &path, "finished").await;
    let page = site.get(&path).await.text;
    assert!(page.contains("<dt>No longer matched</dt><dd>1: "), "{page}");
    assert!(page.contains("(the first 100 are listed)"), "{page}");
}

#[actix_web::test]
async fn a_canary_waits_for_somebody_and_each_verb_takes_its_own_permission() {
    let site = Site::seeded().await;
    let started = order(
        &site,
        "requeue",
        "state:dead+kind:notify_warehouse",
        &[("canary", "1")],
    )
    .await;
    let path = started.location().to_owned();
    finished(&site, &path, "paused").await;
    assert_eq!(
        site.database
            .number("SELECT done + skipped FROM pgqueue_bulk_operations ORDER BY id DESC LIMIT 1"),
        10
    );
    assert_eq!(
        site.post(&format!("{path}/resume"), &[]).await.status,
        StatusCode::SEE_OTHER
    );
    finished(&site, &path, "finished").await;

    let narrow = Site::of(
        pgqueue_suite::TestDatabase::migrated(),
        |builder: DashboardBuilder| {
            builder.access(async |_: &actix_web::dev::ServiceRequest| {
                Ok(pgqueue_dashboard::Access::new(
                    "carol",
                    Permissions::VIEW | Permissions::REQUEUE,
                ))
            })
        },
    )
    .await;
    let form = [
        ("filter", ""),
        ("cutoff", "2026-01-01T00:00:00Z"),
        ("expected", "1"),
        ("exact", "true"),
    ];
    assert_eq!(
        narrow.post("/bulk/requeue", &form).await.status,
        StatusCode::SEE_OTHER
    );
    let looks = [("filter", "args.order_id=1"), form[1], form[2], form[3]];
    assert_eq!(
        narrow.post("/bulk/requeue", &looks).await.status,
        StatusCode::FORBIDDEN,
        "what it matches would tell what a payload has"
    );
    assert_eq!(
        narrow.post("/bulk/purge", &form).await.status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        narrow.post("/bulk/cancel", &form).await.status,
        StatusCode::FORBIDDEN
    );
}

#[actix_web::test]
async fn a_filter_that_is_none_and_an_unknown_action_say_what_to_write() {
    let site = Site::empty().await;

    let page = site
        .get("/bulk/preview?action=requeue&filter=moon:full")
        .await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    assert!(page.text.contains("moon"));
    assert_eq!(
        site.get("/bulk/preview?action=explode&filter=")
            .await
            .status,
        StatusCode::BAD_REQUEST
    );
    assert!(
        site.get("/bulk/preview?action=purge&filter=state:dead")
            .await
            .text
            .contains("Nothing matches")
    );
    assert!(
        site.get("/bulk/preview?action=purge&queue=a%22b&older=30d")
            .await
            .text
            .contains("Nothing matches")
    );
    assert_eq!(site.get("/bulk/7").await.status, StatusCode::NOT_FOUND);
    assert!(site.get("/bulk").await.text.contains("None so far"));
}
