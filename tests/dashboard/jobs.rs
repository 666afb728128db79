//! The list of jobs, one job, and what is done to them.

use pgqueue_dashboard::{Access, DashboardBuilder, Permissions};
use pgqueue_suite::TestDatabase;
use reqwest::StatusCode;

use crate::site::Site;

/// Runs an insert and gives the id of the job.
fn made(site: &Site, insert: &str) -> i64 {
    site.database.execute(insert);
    site.database.number("SELECT max(id) FROM pgqueue_jobs")
}

/// Inserts a job by its columns and gives its id.
fn insert(site: &Site, columns: &str, values: &str) -> i64 {
    let insert = format!(
        "INSERT INTO pgqueue_jobs (kind, payload, {columns}) VALUES ('job', '{{\"order\": 7}}', {values})"
    );
    made(site, &insert)
}

fn dead(site: &Site) -> i64 {
    insert(
        site,
        "state, attempt, finished_at, errors",
        "'dead', 4, now(), '[{\"attempt\": 4, \"kind\": \"error\", \"message\": \"HTTP 503\"}]'",
    )
}

fn audited(site: &Site, id: i64, action: &str) -> i64 {
    site.database.number(&format!(
        "SELECT count(*) FROM pgqueue_audit WHERE job_id = {id} AND action = '{action}' AND actor = 'anybody'"
    ))
}

fn state_is(site: &Site, id: i64, state: &str) -> bool {
    let count = format!("SELECT count(*) FROM pgqueue_jobs WHERE id = {id} AND state = '{state}'");
    site.database.number(&count) == 1
}

/// Gives what an input of a page has.
fn value(page: &str, name: &str) -> String {
    let field = format!("name=\"{name}\"");
    let from = page.find(&field).unwrap();
    let tag = &page[from..page[from..].find('>').unwrap() + from];
    tag.split("value=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .to_owned()
}

#[actix_web::test]
async fn pages_of_every_state_are_turned_without_losing_or_repeating_a_job() {
    let site = Site::seeded().await;
    for (state, count) in [
        ("dead", 162),
        ("pending", 401),
        ("cancelled", 30),
        ("running", 8),
    ] {
        let mut seen = std::collections::BTreeSet::new();
        let mut path = format!("/jobs?q=state:{state}&size=25");
        let mut back = None;
        loop {
            let page = site.get(&path).await;
            assert_eq!(page.status, StatusCode::OK, "{path}");
            for id in page.text.split("<tr id=\"job-").skip(1) {
                assert!(
                    seen.insert(id.split('"').next().unwrap().to_owned()),
                    "{path}"
                );
            }
            back = page
                .text
                .split("rel=\"prev\" href=\"")
                .nth(1)
                .map(str::to_owned)
                .or(back);
            let Some(next) = page.text.split("rel=\"next\" href=\"").nth(1) else {
                break;
            };
            path = next.split('"').next().unwrap().replace("&#38;", "&");
        }
        assert_eq!(seen.len(), count, "{state}");
        if let Some(back) = back {
            let page = site
                .get(&back.split('"').next().unwrap().replace("&#38;", "&"))
                .await;
            assert_eq!(page.text.matches("<tr id=\"job-").count(), 25, "{state}");
        }
    }
}

#[actix_web::test]
async fn each_term_of_a_filter_narrows_the_list() {
    let site = Site::empty().await;
    dead(&site);
    let one = insert(
        &site,
        "queue, state, attempt, claimed_by, unique_key, metadata, errors, started_at",
        "'mail', 'running', 3, 9, 'order:7', '{\"tags\": [\"import\"]}', '[{\"message\": \"Connection refused\"}]', now()",
    );
    for term in [
        "queue:mail",
        "state:running",
        "worker:9",
        "key:order:7",
        "tag:import",
        "error:%22connection+refused%22",
        "queue:mail+kind:job+args.order=7",
        "queue:mail+created<1h",
        "queue:mail+attempts>=3",
    ] {
        let page = site.get(&format!("/jobs?q={term}")).await;
        assert_eq!(page.text.matches("<tr id=\"job-").count(), 1, "{term}");
        assert!(page.text.contains(&format!("id=\"job-{one}\"")), "{term}");
    }
    for none in [
        "queue:mai",
        "tag:impor",
        "args.order=8",
        "args.order.deep=7",
        "attempts>=5",
        "worker:8",
        "created>1h",
    ] {
        let page = site.get(&format!("/jobs?q={none}")).await;
        assert!(page.text.contains("No job matches"), "{none}");
    }
    let page = site.get("/jobs?q=state:deaf").await;
    assert!(page.text.contains("unknown job state") && page.text.contains("value=\"state:deaf\""));
}

#[actix_web::test]
async fn a_list_without_jobs_teaches_how_to_enqueue_one() {
    let site = Site::empty().await;
    let page = site.get("/jobs").await;
    assert!(page.text.contains("enqueue("));
}

#[actix_web::test]
async fn each_action_on_one_job_does_it_once_and_is_audited() {
    let site = Site::empty().await;
    let requeued = dead(&site);
    let cancelled = insert(&site, "queue", "'mail'");
    let hurried = insert(&site, "run_at", "now() + interval '1 hour'");
    for (id, verb, action, state) in [
        (requeued, "requeue", "requeue", "pending"),
        (cancelled, "cancel", "cancel", "cancelled"),
        (hurried, "run-now", "run_now", "pending"),
    ] {
        let done = site.post(&format!("/jobs/{id}/{verb}"), &[]).await;
        assert_eq!(
            (done.status, done.location()),
            (StatusCode::SEE_OTHER, format!("/jobs/{id}").as_str())
        );
        assert!(state_is(&site, id, state), "{verb}");
        assert_eq!(audited(&site, id, action), 1, "{verb}");

        let again = site.post(&format!("/jobs/{id}/{verb}"), &[]).await;
        assert_eq!(again.status, StatusCode::CONFLICT, "{verb}");
        assert!(again.text.contains("nothing was done"), "{verb}");
        assert_eq!(audited(&site, id, action), 1, "{verb}");
    }
    let gone = site.post("/jobs/999/requeue", &[]).await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
}

#[actix_web::test]
async fn a_purge_is_asked_for_first() {
    let site = Site::empty().await;
    let id = dead(&site);

    let page = site.get(&format!("/jobs/{id}/purge")).await;
    assert!(page.text.contains("for ever") && state_is(&site, id, "dead"));
    let done = site
        .post(&format!("/jobs/{id}/purge"), &[("reason", "spam")])
        .await;

    assert_eq!(
        (done.status, done.location()),
        (StatusCode::SEE_OTHER, "/jobs")
    );
    assert_eq!(
        site.get(&format!("/jobs/{id}")).await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(audited(&site, id, "purge"), 1);
}

#[actix_web::test]
async fn a_requeue_that_meets_its_unique_key_names_the_other_job() {
    let site = Site::empty().await;
    let first = insert(
        &site,
        "state, finished_at, unique_key",
        "'dead', now(), 'k'",
    );
    let other = insert(&site, "unique_key", "'k'");

    let refused = site.post(&format!("/jobs/{first}/requeue"), &[]).await;

    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert!(refused.text.contains(&format!("job {other}")));
    let page = site.get(&format!("/jobs/{first}")).await;
    assert!(
        page.text.contains(&format!("/jobs/{other}\"")),
        "the page says so before"
    );
}

#[actix_web::test]
async fn a_clone_has_the_payload_not_the_key_and_knows_its_original() {
    let site = Site::empty().await;
    let id = insert(&site, "unique_key, priority", "'k', 2");

    let done = site.post(&format!("/jobs/{id}/clone"), &[]).await;

    assert_eq!(done.status, StatusCode::SEE_OTHER);
    let copies = site.database.number(&format!(
        "SELECT count(*) FROM pgqueue_jobs WHERE metadata -> 'cloned_from' = '{id}' AND unique_key IS NULL AND priority = 2 AND payload = '{{\"order\": 7}}'"
    ));
    assert_eq!((copies, audited(&site, id, "clone")), (1, 1));
    assert!(
        site.get(done.location())
            .await
            .text
            .contains(&format!("job {id}</a>"))
    );
}

#[actix_web::test]
async fn what_is_selected_is_acted_on_and_nothing_else() {
    let site = Site::empty().await;
    let (a, b, c) = (dead(&site), dead(&site), dead(&site));
    let (a_text, b_text) = (a.to_string(), b.to_string());
    let form = [
        ("id", a_text.as_str()),
        ("id", &b_text),
        ("back", "/jobs?q=state:dead"),
    ];

    let asked = site.post("/jobs/selected/purge", &form).await;
    assert!(asked.status == StatusCode::OK && asked.text.contains("2 selected jobs"));
    let done = site.post("/jobs/selected/requeue", &form).await;

    assert_eq!(
        (done.status, done.location()),
        (StatusCode::SEE_OTHER, "/jobs?q=state:dead")
    );
    assert!(
        state_is(&site, a, "pending")
            && state_is(&site, b, "pending")
            && state_is(&site, c, "dead")
    );
    let confirmed = [
        ("id", c.to_string()),
        ("confirmed", "yes".to_owned()),
        ("back", "//evil.example".to_owned()),
    ];
    let confirmed: Vec<_> = confirmed
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let purged = site.post("/jobs/selected/purge", &confirmed).await;
    assert_eq!(purged.location(), "/jobs", "no page can send elsewhere");
    assert_eq!(site.database.number("SELECT count(*) FROM pgqueue_jobs"), 2);
    let none = site.post("/jobs/selected/requeue", &[]).await;
    assert_eq!(none.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[actix_web::test]
async fn an_edit_keeps_every_digit_and_tells_what_was_before() {
    let site = Site::empty().await;
    let id = dead(&site);
    let page = site.get(&format!("/jobs/{id}/edit")).await.text;
    let (version, run_at) = (value(&page, "version"), value(&page, "run_at_was"));
    let form = |payload| {
        [
            ("version", version.as_str()),
            ("payload", payload),
            ("queue", "mail"),
            ("priority", "1"),
            ("run_at", &run_at),
            ("run_at_was", &run_at),
            ("max_retries", "9"),
            ("requeue", "1"),
            ("reason", "typo"),
        ]
    };
    let path = format!("/jobs/{id}/edit");

    for wrong in ["{", "{\"a\": 1e99999999}", "\"\\u0000\""] {
        let refused = site.post(&path, &form(wrong)).await;
        assert_eq!(
            refused.status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{wrong}: {}",
            refused.text
        );
    }
    let saved = site
        .post(
            &path,
            &form("{\"order\": 12345678901234567890.10, \"token\": \"x9\"}"),
        )
        .await;

    assert_eq!(saved.status, StatusCode::SEE_OTHER, "{}", saved.text);
    assert!(state_is(&site, id, "pending"));
    assert_eq!(site.database.number(&format!(
        "SELECT count(*) FROM pgqueue_jobs WHERE id = {id} AND queue = 'mail' AND priority = 1 AND max_retries = 9 AND attempt = 0 AND payload::text LIKE '%12345678901234567890.10%'"
    )), 1);
    assert_eq!(site.database.number(
        "SELECT count(*) FROM pgqueue_audit WHERE action = 'edit and requeue' AND reason = 'typo' AND details #>> '{before,payload,order}' = '7' \
         AND details #>> '{after,queue}' = 'mail' AND details::text NOT LIKE '%x9%'"
    ), 1);
    let stale = site.post(&path, &form("{}")).await;
    assert_eq!(stale.status, StatusCode::CONFLICT);
    assert!(stale.text.contains("nothing was saved"));
}

#[actix_web::test]
async fn an_edit_with_a_mistake_comes_back_as_it_was_typed() {
    let site = Site::empty().await;
    let id = dead(&site);
    let path = format!("/jobs/{id}/edit");
    let page = site.get(&path).await.text;
    assert!(!page.contains("aria-invalid") && !page.contains("role=\"alert\""));
    let (version, run_at) = (value(&page, "version"), value(&page, "run_at_was"));
    let typed = [
        ("version", version.as_str()),
        ("payload", "{\"order\": 8}"),
        ("queue", "post"),
        ("priority", "3"),
        ("run_at", "2031-02-03T04:05:06"),
        ("run_at_was", &run_at),
        ("max_retries", "11"),
        ("reason", "a \"typo\""),
    ];

    for (field, wrong, says) in [
        ("payload", "{\"order\": ", "the payload is not JSON"),
        ("payload", "[1e200000]", "PostgreSQL refuses the payload"),
        ("payload", "[1e99999999]", "99999999 digits"),
        ("queue", "", "queue of the job is empty"),
        ("priority", "10", "priority"),
        ("priority", "99999", "0 to 9"),
        ("run_at", "soon", "write it as 2026-11-24T16:30"),
        ("max_retries", "many", "no whole number"),
    ] {
        let sent = typed.map(|(name, text)| (name, if name == field { wrong } else { text }));
        let refused = site.post(&path, &sent).await;

        let text = refused.text.replace("&#34;", "\"");
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{text}");
        let (_, marked) = text.split_once(" aria-invalid=\"true\"").unwrap();
        let marks = format!(" aria-describedby=\"{field}-mistake\"");
        assert!(marked.starts_with(&marks), "{field} {wrong:?}: {text}");
        let alert = format!("id=\"{field}-mistake\" role=\"alert\">");
        let (_, alert) = text.split_once(&alert).unwrap();
        let (alert, _) = alert.split_once("</p>").unwrap();
        assert!(alert.contains(says), "{alert}");
        for (name, kept) in sent {
            let input = format!("name=\"{name}\"");
            let shown = format!("value=\"{kept}\"");
            let has = |tag: &str| tag.contains(&input) && tag.contains(&shown);
            let found = text.split('<').any(has) || text.contains(&format!(">\n{kept}</textarea>"));
            assert!(found, "{name} is not {kept:?}: {text}");
        }
        assert!(!text.contains("value=\"1\" checked"), "it was not ticked");
    }

    assert_eq!(
        site.database.number("SELECT count(*) FROM pgqueue_audit"),
        0
    );
    let saved = site.post(&path, &typed).await;
    assert_eq!(saved.status, StatusCode::SEE_OTHER, "{}", saved.text);
}

#[actix_web::test]
async fn a_bare_number_in_the_filter_opens_that_job() {
    let site = Site::empty().await;
    let id = dead(&site);

    let opened = site.get(&format!("/jobs?q=+{id}+")).await;
    assert_eq!(opened.status, StatusCode::SEE_OTHER);
    assert_eq!(opened.location(), format!("/jobs/{id}"));
    for other in ["-1", "1172.5", "1+2", "99999999999999999999", "1172x"] {
        let page = site.get(&format!("/jobs?q={other}")).await;
        assert_eq!(page.status, StatusCode::OK, "{other}");
        assert!(page.text.contains("id=\"mistake\""), "{other}");
    }
}

#[actix_web::test]
async fn secrets_are_hidden_until_somebody_reveals_them_which_is_audited() {
    let site = Site::of(TestDatabase::migrated(), |builder| {
        builder.insecure_open_to_everybody().redact(["pin"])
    })
    .await;
    let id = made(
        &site,
        "INSERT INTO pgqueue_jobs (kind, payload, metadata) VALUES ('job', \
         '{\"api_token\": \"x9a\", \"card\": {\"PIN\": \"x9b\"}, \"n\": 0.10}', '{\"Authorization\": [\"x9c\"]}')",
    );
    for path in [
        "/jobs".to_owned(),
        format!("/jobs/{id}"),
        format!("/jobs/{id}/payload.json"),
        format!("/jobs/{id}/edit"),
    ] {
        let page = site.get(&path).await;
        assert!(
            page.status == StatusCode::OK && !page.text.contains("x9"),
            "{path}"
        );
    }
    assert_eq!(audited(&site, id, "reveal"), 0);

    let page = site.post(&format!("/jobs/{id}/reveal"), &[]).await;

    assert!(
        ["x9a", "x9b", "x9c", "0.10"]
            .iter()
            .all(|secret| page.text.contains(secret))
    );
    assert_eq!(audited(&site, id, "reveal"), 1);
    assert_eq!(
        site.get(&format!("/jobs/{id}/reveal")).await.status,
        StatusCode::NOT_FOUND
    );
}

#[actix_web::test]
async fn without_the_permission_no_payload_is_shown_or_searched() {
    let site = Site::of(TestDatabase::migrated(), |builder: DashboardBuilder| {
        builder.access(async |_: &actix_web::dev::ServiceRequest| {
            Ok(Access::new("eve", Permissions::VIEW))
        })
    })
    .await;
    let id = insert(&site, "metadata", "'{\"secretly\": \"known\"}'");
    for path in ["/jobs".to_owned(), format!("/jobs/{id}")] {
        let page = site.get(&path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        assert!(!page.text.contains("order&#34;"), "{path}");
        assert!(!page.text.contains("known"), "{path}");
    }
    assert_eq!(
        site.get("/jobs?q=args.order=7").await.status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        site.get(&format!("/jobs/{id}/payload.json")).await.status,
        StatusCode::FORBIDDEN
    );
    for verb in [
        "requeue", "cancel", "run-now", "purge", "clone", "reveal", "edit",
    ] {
        let refused = site.post(&format!("/jobs/{id}/{verb}"), &[]).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{verb}");
    }
    assert!(state_is(&site, id, "pending"));
}

#[actix_web::test]
async fn hostile_content_is_escaped_wherever_it_is_shown() {
    let site = Site::empty().await;
    let evil = "\"><script>alert(1)</script>";
    let id = made(
        &site,
        &format!(
            "INSERT INTO pgqueue_jobs (queue, kind, payload, state, finished_at, unique_key, errors, metadata, progress, output) \
         SELECT e, e, to_jsonb(e), 'dead', now(), e, jsonb_build_array(jsonb_build_object('kind', e, 'message', e)), \
         jsonb_build_object('tags', jsonb_build_array(e), e, e), to_jsonb(e), to_jsonb(e) FROM (SELECT '{evil}'::text AS e) AS v; \
         INSERT INTO pgqueue_audit (job_id, jobs, actor, action, reason, details) \
         SELECT id, 1, '{evil}', '{evil}', '{evil}', jsonb_build_object('{evil}', '{evil}') FROM pgqueue_jobs"
        ),
    );
    let query = "%22%3E%3Cscript%3Ealert(1)%3C/script%3E";
    for path in [
        "/jobs".to_owned(),
        format!("/jobs/{id}"),
        format!("/jobs/{id}/edit"),
        format!("/jobs/{id}/purge"),
        format!("/jobs?q={query}"),
        format!("/jobs?q=queue:%22%5C{query}%22"),
        format!("/jobs?at={query}"),
    ] {
        let page = site.get(&path).await;
        assert!(!page.text.contains("<script>alert"), "{path}");
        assert!(!page.text.contains("\"><script"), "{path}");
    }
}

#[actix_web::test]
async fn json_of_any_depth_and_length_is_shown() {
    let site = Site::empty().await;
    let deep = made(
        &site,
        "INSERT INTO pgqueue_jobs (kind, payload) VALUES ('job', (repeat('[', 6000) || repeat(']', 6000))::jsonb)",
    );
    let long = made(
        &site,
        "INSERT INTO pgqueue_jobs (kind, payload) VALUES ('job', (SELECT jsonb_agg(n) FROM generate_series(100000, 140000) AS n))",
    );
    for path in [
        "/jobs".to_owned(),
        format!("/jobs/{deep}"),
        format!("/jobs/{deep}?all=1"),
        format!("/jobs/{deep}/edit"),
    ] {
        assert_eq!(site.get(&path).await.status, StatusCode::OK, "{path}");
    }
    let cut = site.get(&format!("/jobs/{long}")).await.text;
    assert!(cut.contains("?all=1#payload") && !cut.contains("139999"));
    let all = site.get(&format!("/jobs/{long}?all=1")).await.text;
    assert!(all.contains("139999"));
}

#[actix_web::test]
async fn a_job_says_why_it_does_not_run() {
    let site = Site::empty().await;
    let said = async |id: i64, words: &str| {
        let page = site.get(&format!("/jobs/{id}")).await;
        assert!(page.text.contains(words), "{words}");
    };
    let first = insert(&site, "queue", "'default'");
    said(first, "No live worker serves the queue default").await;
    site.database.execute(
        "INSERT INTO pgqueue_workers (name, host, pid, version, queues, kinds, expires_at) \
         VALUES ('w', 'h', 1, '1', '{\"default\": 1}', '{other}', now() + interval '1 hour')",
    );
    said(first, "none handles the kind job").await;
    site.database
        .execute("UPDATE pgqueue_workers SET kinds = '{job}'");
    said(first, "the next of its queue").await;
    let second = insert(&site, "queue", "'default'");
    said(second, "1 jobs of its queue are ahead").await;
    let lost = "'default', 1, 1, now() - interval '1 minute'";
    let suspect = insert(&site, "queue, lost, attempt, run_at", lost);
    said(suspect, "it is the next of its queue").await;
    let suspect = insert(&site, "queue, lost, attempt", "'default', 1, 1");
    said(
        suspect,
        "one such job at a time, and 1 of its queue are ahead of it",
    )
    .await;
    said(
        insert(&site, "run_at", "now() + interval '1 hour'"),
        "It is scheduled",
    )
    .await;
    said(
        insert(&site, "run_at, attempt", "now() + interval '1 hour', 2"),
        "It waits after attempt 2",
    )
    .await;
    site.database
        .execute("INSERT INTO pgqueue_queues (name, paused_at) VALUES ('default', now())");
    said(first, "is paused").await;
    said(dead(&site), "It was given up after 4 attempts: HTTP 503").await;
    let runs = insert(
        &site,
        "state, claimed_by, cancel_requested_at",
        "'running', 77, now()",
    );
    said(runs, "Somebody asked to stop it").await;
    said(runs, "worker 77, which is not registered any more").await;
}
