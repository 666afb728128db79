//! Overview, charts, queues and kinds: what they tell, and what they cost.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use futures_util::future::join_all;
use pgqueue_core::{admin, stats};
use pgqueue_dashboard::{Access, DashboardBuilder, Permissions};
use pgqueue_suite::TestDatabase;
use reqwest::StatusCode;

use crate::site::Site;

const SPANS: [&str; 6] = ["15m", "1h", "6h", "24h", "7d", "30d"];

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    number: i64,
}

fn number(site: &Site, sql: &str) -> i64 {
    diesel::sql_query(format!("SELECT ({sql})::bigint AS number"))
        .get_result::<Number>(&mut site.database.sync())
        .unwrap()
        .number
}

fn encoded(path: &str, name: &str) -> String {
    let query = reqwest::Url::parse_with_params("http://h/", [("name", name)]).unwrap();
    format!("{path}?{}", query.query().unwrap())
}

#[actix_web::test]
async fn the_overview_tells_in_a_sentence_what_is_wrong_and_leads_there() {
    let site = Site::seeded().await;

    let page = site.get("/").await;

    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text.contains("jobs died "), "{}", page.text);
    assert!(page.text.contains("href=\"/queue?name=reports\""));
    assert!(page.text.contains("is paused while jobs wait in it"));
    assert!(page.text.contains("Oldest waiting"));
}

#[actix_web::test]
async fn each_span_is_drawn_and_no_chart_has_a_style_or_a_script() {
    let site = Site::seeded().await;

    for span in SPANS {
        let page = site.get(&format!("/?span={span}")).await;

        assert_eq!(page.status, StatusCode::OK, "{span}");
        assert_eq!(
            page.text.matches("role=\"img\" aria-labelledby").count(),
            3,
            "{span}"
        );
        assert!(
            page.text
                .contains(&format!("href=\"/?span={span}\" aria-current")),
            "{span}"
        );
        assert!(!page.text.contains("style="), "{span}");
        assert!(!page.text.contains(" onclick"), "{span}");
        assert!(page.text.contains("<summary>Numbers</summary>"), "{span}");
    }
}

#[actix_web::test]
async fn empty_pages_teach() {
    let site = Site::empty().await;

    for (path, lesson) in [
        ("/", "Enqueue your first job"),
        ("/queues", "There is no queue yet"),
        ("/kinds", "Register its handler"),
        ("/queue?name=nobody", "the name is misspelt"),
        ("/kind?name=nobody", "No live worker knows this kind"),
    ] {
        let page = site.get(path).await;

        assert_eq!(page.status, StatusCode::OK, "{path}");
        assert!(page.text.contains(lesson), "{path}: {}", page.text);
    }
}

#[actix_web::test]
async fn a_pause_from_the_page_is_audited_with_its_reason_and_undone_by_resume() {
    let site = Site::seeded().await;
    let audited = |action: &str| {
        let sql = format!(
            "SELECT count(*) FROM pgqueue_audit WHERE queue = 'mail' AND action = '{action}' AND reason = 'smtp is down'"
        );
        number(&site, &sql)
    };
    let paused =
        "SELECT count(*) FROM pgqueue_queues WHERE name = 'mail' AND paused_at IS NOT NULL";
    let form = [("queue", "mail"), ("reason", "smtp is down")];

    let answer = site.post("/queue/pause", &form).await;
    let page = site.get(answer.location()).await;

    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(answer.location(), "/queue?name=mail");
    assert_eq!((number(&site, paused), audited("pause")), (1, 1));
    assert!(page.text.contains("smtp is down") && page.text.contains("Resume this queue"));

    let answer = site.post("/queue/resume", &form).await;

    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!((number(&site, paused), audited("resume")), (0, 1));
}

#[actix_web::test]
async fn who_may_not_pause_sees_why_and_is_refused() {
    let database = TestDatabase::migrated();
    let site = Site::of(database, |builder: DashboardBuilder| {
        builder.read_only(true).insecure_open_to_everybody()
    })
    .await;

    let page = site.get("/queue?name=mail").await;
    let answer = site.post("/queue/pause", &[("queue", "mail")]).await;

    assert!(
        page.text
            .contains("this takes the permission to pause queues")
    );
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
}

#[actix_web::test]
async fn odd_names_of_queues_are_shown_linked_and_paused() {
    let site = Site::empty().await;
    let names = [
        "a/b",
        "..",
        "a/pause",
        "50%",
        "%2f",
        "sp ace",
        "ünï",
        "a&b=c#d?e",
        "\"><script>alert(1)</script>",
        "+",
    ];
    for name in names {
        diesel::sql_query("INSERT INTO pgqueue_jobs (queue, kind, payload) VALUES ($1, $1, '{}')")
            .bind::<Text, _>(name)
            .execute(&mut site.database.sync())
            .unwrap();
    }

    let list = site.get("/queues").await;
    assert!(!list.text.contains("<script>alert"));

    for name in names {
        let path = encoded("/queue", name);
        let page = site.get(&path).await;
        let answer = site.post("/queue/pause", &[("queue", name)]).await;
        let paused = stats::queues(&mut site.database.sync()).unwrap();

        assert!(
            list.text.contains(&format!("href=\"{path}\"")),
            "{name} is linked as {path}"
        );
        assert_eq!(page.status, StatusCode::OK, "{name}");
        assert!(
            page.text.contains("No live worker serves this queue"),
            "{name} is known"
        );
        assert!(!page.text.contains("<script>alert"), "{name}");
        assert_eq!(answer.location(), path, "{name}");
        let queue = paused.iter().find(|queue| queue.queue == name).unwrap();
        assert!(queue.paused_at.is_some(), "{name}");
    }
}

#[actix_web::test]
async fn the_address_one_would_guess_leads_to_the_queue() {
    let site = Site::empty().await;

    let plain = site.get("/queues/mail").await;
    let odd = site.get("/queues/a/b%20c").await;
    let kind = site.get("/kinds/send").await;

    assert_eq!(plain.location(), "/queue?name=mail");
    assert_eq!(odd.location(), "/queue?name=a%2Fb+c");
    assert_eq!(kind.location(), "/kind?name=send");
}

#[actix_web::test]
async fn a_kind_shows_its_lengths_and_who_can_run_it() {
    let site = Site::seeded().await;

    let list = site.get("/kinds").await;
    let known = site.get("/kind?name=send_receipt").await;
    let unknown = site.get("/kind?name=translate_review").await;

    assert!(list.text.contains("href=\"/kind?name=send_receipt\""));
    assert!(known.text.contains("How long, how often"));
    assert!(!known.text.contains("No live worker knows this kind"));
    assert!(unknown.text.contains("No live worker knows this kind"));
}

#[actix_web::test]
async fn fifty_overviews_at_once_cost_about_what_one_does() {
    let site = Site::seeded().await;
    let transactions =
        "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()";
    site.get("/?span=6h").await;
    let before = number(&site, transactions);

    let pages = join_all((0..50).map(|_| site.get("/?span=6h"))).await;
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await; // sessions report once a second
    let after = number(&site, transactions);

    assert!(pages.iter().all(|page| page.status == StatusCode::OK));
    assert!(after - before < 40, "{} transactions", after - before);
}

#[actix_web::test]
async fn due_and_scheduled_jobs_are_told_apart() {
    let site = Site::empty().await;
    diesel::sql_query(
        "INSERT INTO pgqueue_jobs (queue, kind, payload, priority, run_at)
         SELECT 'mail', 'send', '{}', n % 10, now() + CASE WHEN n <= 30 THEN interval '-1 min' ELSE interval '1 h' END
         FROM generate_series(1, 50) AS n",
    )
    .execute(&mut site.database.sync())
    .unwrap();

    let queues = stats::queues(&mut site.database.sync()).unwrap();

    let [queue] = &queues[..] else {
        panic!("{queues:?}")
    };
    assert_eq!(
        (
            queue.due.at_least,
            queue.scheduled.at_least,
            queue.pending.at_least
        ),
        (30, 20, 50)
    );
    let waiting = stats::oldest_waiting(&mut site.database.sync(), 5).unwrap();
    assert_eq!(waiting.len(), 5);
    assert!(!waiting[0].paused);
    admin::pause("mail").run(&mut site.database.sync()).unwrap();
    assert!(stats::oldest_waiting(&mut site.database.sync(), 1).unwrap()[0].paused);
}

#[actix_web::test]
async fn a_count_that_stopped_can_be_had_exactly() {
    let site = Site::empty().await;
    diesel::sql_query(
        "INSERT INTO pgqueue_jobs (queue, kind, payload, state, finished_at)
         SELECT 'mail', 'send', '{}', 'completed', now() FROM generate_series(1, 10500)",
    )
    .execute(&mut site.database.sync())
    .unwrap();

    let capped = site.get("/").await;
    let exact = site.get("/?exact=completed").await;

    assert!(capped.text.contains("count exactly"), "{}", capped.text);
    assert!(exact.text.contains("10\u{202f}500"), "{}", exact.text);
}

#[actix_web::test]
async fn a_timeline_adds_up_to_what_was_counted() {
    let site = Site::seeded().await;
    let to = chrono::Utc::now() + chrono::TimeDelta::minutes(1);
    let from = to - chrono::TimeDelta::hours(6);
    let conn = &mut site.database.sync();

    let five_minutes = std::time::Duration::from_secs(300);
    let all = stats::timeline(conn, from, to, five_minutes, &stats::Scope::default()).unwrap();
    let mail = stats::timeline(
        conn,
        from,
        to,
        five_minutes,
        &stats::Scope::default().queue("mail"),
    )
    .unwrap();
    let kinds = stats::kinds(conn, all.from, all.to).unwrap();

    let sum = |timeline: &stats::Timeline| {
        timeline
            .points
            .iter()
            .map(|point| point.completed)
            .sum::<i64>()
    };
    assert_eq!(
        sum(&all),
        kinds.iter().map(|kind| kind.completed).sum::<i64>()
    );
    assert!(sum(&mail) > 0 && sum(&mail) < sum(&all));
    assert!(all.points.len() <= 200);
    let runs = stats::activity(conn, from, to, five_minutes).unwrap();
    assert!(runs.of("mail").iter().sum::<i64>() >= sum(&mail));
    assert!(runs.of("nobody").iter().all(|runs| *runs == 0));
}

#[actix_web::test]
async fn the_overview_shows_operations_that_are_at_work_or_failed_within_a_day() {
    let site = Site::empty().await;
    let quiet = site.get("/").await.text;
    site.database.execute(
        "INSERT INTO pgqueue_bulk_operations (cutoff, next_at, finished_at, expected, expected_exactly, done, state, verb, actor, filter, place) \
         SELECT now(), 'infinity', now() - v.ended, 400, true, 120, v.state, 'run_now', 'alice', '{}', '{}' \
         FROM (VALUES (NULL, 'running'), (NULL, 'paused'), (interval '1 h', 'failed'), (interval '2 d', 'failed'), (interval '1 h', 'finished')) AS v (ended, state)",
    );
    let live = Site::of(site.database, DashboardBuilder::insecure_open_to_everybody).await;

    let page = live.get("/").await.text;

    assert!(!quiet.contains("Bulk operations <span"));
    let shown = [1, 2, 3, 4, 5].map(|id| page.contains(&format!("href=\"/bulk/{id}\"")));
    assert_eq!(shown, [true, true, true, false, false]);
    assert!(page.contains("run now 1") && page.contains("120 <span class=\"muted\">of 400"));
}

#[actix_web::test]
async fn a_kind_shows_the_payload_of_its_newest_job_without_secrets() {
    let site = Site::empty().await;
    site.database.execute(
        "INSERT INTO pgqueue_jobs (kind, payload) VALUES \
         ('send', '{\"order\": 1}'), ('send', '{\"order\": 2, \"api_token\": \"x9\"}'), ('sync', '{}')",
    );

    let page = site.get("/kind?name=send").await.text;
    let none = site.get("/kind?name=nobody").await.text;
    let refresh = site.request(reqwest::Method::GET, "/kind?name=send");
    let refresh = pgqueue_suite::site::send(refresh.header("x-live", "1")).await;

    assert!(
        page.contains("href=\"/jobs/2\"") && page.contains("order&#34;: 2"),
        "{page}"
    );
    assert!(!page.contains("x9") && page.contains("1 hidden"));
    assert!(none.contains("None of the newest 5\u{202f}000 jobs is of this kind"));
    assert!(
        !refresh.text.contains("order&#34;"),
        "what does not change is not read again"
    );
}

#[actix_web::test]
async fn a_kind_shows_no_payload_to_who_may_not_see_them() {
    let site = Site::of(TestDatabase::migrated(), |builder: DashboardBuilder| {
        builder.access(async |_: &actix_web::dev::ServiceRequest| {
            Ok(Access::new("eve", Permissions::VIEW))
        })
    })
    .await;
    site.database
        .execute("INSERT INTO pgqueue_jobs (kind, payload) VALUES ('send', '{\"order\": 7}')");

    let page = site.get("/kind?name=send").await.text;

    assert!(page.contains("takes the permission VIEW_PAYLOAD") && !page.contains("order&#34;"));
}
