//! The README's quickstart, run as it stands there, and its promises about itself.

#![expect(
    missing_docs,
    clippy::print_stdout,
    reason = "written for a reader of the README"
)]

include!(concat!(env!("OUT_DIR"), "/quickstart.rs"));

#[tokio::test]
async fn the_quickstart_enqueues_in_both_flavours_and_runs_its_jobs() {
    let database = pgqueue_suite::TestDatabase::migrated();
    database.execute("CREATE TABLE orders (id bigserial PRIMARY KEY, email text NOT NULL)");

    let order_id =
        place_order(&mut database.sync(), "ada@example.com").expect("the order is placed");
    remind(&mut database.asynchronous().await, order_id)
        .await
        .expect("the job is enqueued");
    tokio::select! {
        ended = work(database.url()) => panic!("the worker ended by itself: {ended:?}"),
        () = database.wait_for_count(pgqueue_core::JobState::Completed, 2) => {}
    }

    let jobs = database.jobs();
    assert_eq!((jobs[1].max_retries, jobs[1].priority), (5, 2));
    assert_eq!(jobs[1].unique_key.as_deref(), Some("order:1"));
}

#[test]
fn the_quickstart_is_forty_lines_and_imports_one_line_of_ours() {
    let source = include_str!(concat!(env!("OUT_DIR"), "/quickstart.rs"));

    let lines = source
        .lines()
        .filter(|line| !line.trim().is_empty())
        .count();
    let ours = source
        .lines()
        .filter(|line| line.starts_with("use pgqueue"))
        .count();

    assert!(lines <= 40, "{lines} lines");
    assert_eq!(ours, 1);
}

#[test]
fn every_test_that_a_guarantee_names_is_there() {
    let guarantees = include_str!("../docs/guarantees.md");
    let code = source_of(std::path::Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests"
    )));

    let named = guarantees.split('`').skip(1).step_by(2);
    let tests: Vec<_> = named
        .filter(|name| name.len() > 20 && is_identifier(name))
        .collect();
    let missing = tests
        .iter()
        .filter(|name| !code.contains(&format!("fn {name}() {{")));
    // The soak's tests are made by a macro.
    let missing: Vec<_> = missing
        .filter(|name| !code.contains(&format!("    {name} breaks ")))
        .collect();

    assert!(tests.len() > 40, "{} tests are named", tests.len());
    assert!(missing.is_empty(), "no such tests: {missing:?}");
    let unproven: Vec<_> = guarantees
        .split("\n## ")
        .filter(|part| is_guarantee(part) && !part.contains("- **Tests:**"))
        .collect();
    assert!(unproven.is_empty(), "{unproven:?}");
}

fn is_guarantee(part: &str) -> bool {
    part.starts_with(|first: char| first.is_ascii_digit())
}

fn is_identifier(text: &str) -> bool {
    text.chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// Reads all code below a folder.
fn source_of(folder: &std::path::Path) -> String {
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    let paths = entries.map(|entry| entry.expect("it can be read").path());
    let read = paths.map(|path| match path.extension() {
        _ if path.is_dir() => source_of(&path),
        Some(extension) if extension == "rs" => {
            std::fs::read_to_string(path).expect("code is text")
        }
        _ => String::new(),
    });
    read.collect()
}
