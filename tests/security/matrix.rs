//! The rights of each role, read from the catalogue over all of our tables, columns, sequences and functions, are those of the
//! documentation: a new table fails here until its row is written.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::*;

const ROLES: [&str; 4] = [
    "jobs_producer",
    "jobs_worker",
    "jobs_viewer",
    "jobs_operator",
];

/// What a role may do to each of our objects: `object, privilege, columns`, the columns empty where all are meant.
///
/// Inheritance counts, and so does what everybody has.
fn rights(db: &TestDatabase, schema: &str, role: &str) -> Vec<[String; 3]> {
    let rows = db.texts(&format!(
        "WITH ours AS (
             SELECT c.oid, c.relname, c.relkind
             FROM pg_class AS c
             JOIN pg_namespace AS n ON n.oid = c.relnamespace
             WHERE n.nspname = '{schema}' AND c.relname LIKE 'pgqueue\\_%' AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
         ), rights(place, object, privilege, columns) AS (
             SELECT 0, 'the schema', w.privilege, ''
             FROM pg_namespace AS n
             CROSS JOIN unnest('{{USAGE,CREATE}}'::text[]) WITH ORDINALITY AS w(privilege, number)
             WHERE n.nspname = '{schema}' AND has_schema_privilege('{role}', n.oid, w.privilege)
             UNION ALL
             SELECT 1, o.relname, w.privilege, ''
             FROM ours AS o
             CROSS JOIN unnest('{{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}}'::text[]) AS w(privilege)
             WHERE o.relkind <> 'S' AND has_table_privilege('{role}', o.oid, w.privilege)
             UNION ALL
             SELECT 1, o.relname, w.privilege, string_agg(a.attname, ', ' ORDER BY a.attname)
             FROM ours AS o
             JOIN pg_attribute AS a ON a.attrelid = o.oid AND a.attnum > 0 AND NOT a.attisdropped
             CROSS JOIN unnest('{{SELECT,INSERT,UPDATE,REFERENCES}}'::text[]) AS w(privilege)
             WHERE o.relkind <> 'S'
               AND NOT has_table_privilege('{role}', o.oid, w.privilege)
               AND has_column_privilege('{role}', o.oid, a.attnum, w.privilege)
             GROUP BY o.relname, w.privilege
             UNION ALL
             SELECT 2, o.relname, w.privilege, ''
             FROM ours AS o
             CROSS JOIN unnest('{{SELECT,USAGE,UPDATE}}'::text[]) AS w(privilege)
             WHERE CASE WHEN o.relkind = 'S' THEN has_sequence_privilege('{role}', o.oid, w.privilege) END
             UNION ALL
             SELECT 3, p.proname || '()', 'EXECUTE', ''
             FROM pg_proc AS p
             JOIN pg_namespace AS n ON n.oid = p.pronamespace
             WHERE n.nspname = '{schema}' AND p.proname LIKE 'pgqueue\\_%' AND has_function_privilege('{role}', p.oid, 'EXECUTE')
         )
         SELECT concat_ws('|', r.object, r.privilege, r.columns)
         FROM rights AS r
         ORDER BY r.place, r.object, array_position('{{USAGE,SELECT,INSERT,UPDATE,DELETE}}'::text[], r.privilege), r.privilege"
    ));
    let parts = |row: String| {
        let mut parts = row.split('|').map(str::to_owned);
        [(); 3].map(|()| parts.next().unwrap())
    };
    rows.into_iter().map(parts).collect()
}

/// Every object of ours there is.
fn objects(db: &TestDatabase, schema: &str) -> Vec<String> {
    db.texts(&format!(
        "SELECT object FROM (
             SELECT 0, 'the schema'
             UNION ALL
             SELECT CASE c.relkind WHEN 'S' THEN 2 ELSE 1 END, c.relname
             FROM pg_class AS c
             JOIN pg_namespace AS n ON n.oid = c.relnamespace
             WHERE n.nspname = '{schema}' AND c.relname LIKE 'pgqueue\\_%' AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
             UNION ALL
             SELECT 3, p.proname || '()'
             FROM pg_proc AS p
             JOIN pg_namespace AS n ON n.oid = p.pronamespace
             WHERE n.nspname = '{schema}' AND p.proname LIKE 'pgqueue\\_%'
         ) AS o(place, object)
         ORDER BY place, object"
    ))
}

/// Writes the two tables of the documentation: what each role may do to each object, and which columns it means.
fn tables(db: &TestDatabase, schema: &str, roles: &Roles) -> String {
    let rights = ROLES.map(|role| rights(db, schema, &roles.name(role)));
    let mut matrix =
        String::from("| | producer | worker | viewer | operator |\n|---|---|---|---|---|\n");
    for object in objects(db, schema) {
        let cell = |rights: &Vec<[String; 3]>| {
            let mine = rights.iter().filter(|[name, ..]| *name == object);
            let words: Vec<String> = mine
                .map(|[_, privilege, columns]| {
                    format!("{privilege}{}", if columns.is_empty() { "" } else { "\\*" })
                })
                .collect();
            if words.is_empty() {
                "–".to_owned()
            } else {
                words.join(", ")
            }
        };
        let cells = rights.each_ref().map(cell).join(" | ");
        let quoted = if object == "the schema" {
            object
        } else {
            format!("`{object}`")
        };
        writeln!(matrix, "| {quoted} | {cells} |").unwrap();
    }
    matrix.push_str("\n| \\* | columns |\n|---|---|\n");
    for (role, rights) in ROLES.iter().zip(&rights) {
        for [object, privilege, columns] in rights.iter().filter(|right| !right[2].is_empty()) {
            let role = role.trim_start_matches("jobs_");
            writeln!(matrix, "| {role}: {privilege} of `{object}` | {columns} |").unwrap();
        }
    }
    matrix
}

fn assert_is_documented(db: &TestDatabase, schema: &str, roles: &Roles) {
    let tables = tables(db, schema, roles);
    let missing: Vec<&str> = tables.lines().filter(|line| !DOCS.contains(line)).collect();
    assert!(
        DOCS.contains(&tables),
        "docs/security.md does not have these rights of {schema}, first {missing:?}:\n{tables}"
    );
}

#[test]
fn each_role_has_the_rights_that_are_documented_and_no_other() {
    let db = TestDatabase::migrated();
    let roles = Roles::of(&db, "matrix");

    assert_is_documented(&db, "public", &roles);
    roles.drop(&db);
}

#[test]
fn the_script_serves_a_schema_of_another_name_and_leaves_the_others_alone() {
    let db = TestDatabase::migrated();
    let before = rights(&db, "public", "pg_monitor");
    db.execute("CREATE SCHEMA \"Tenant 7\"");
    let mut tenant = db.sync();
    tenant
        .batch_execute("SET search_path = \"Tenant 7\"")
        .unwrap();
    let roles = Roles {
        test: format!("tenant_{}", std::process::id()),
    };

    tenant.batch_execute(&roles.named(GRANTS)).unwrap();
    pgqueue_core::migrate(&mut tenant).unwrap();
    tenant.batch_execute(&roles.named(GRANTS)).unwrap();

    assert_is_documented(&db, "Tenant 7", &roles);
    assert_eq!(rights(&db, "public", "pg_monitor"), before);
    for role in ROLES {
        let elsewhere = rights(&db, "public", &roles.name(role));
        assert_eq!(elsewhere, before, "{role}");
    }
    tenant
        .batch_execute("DROP SCHEMA \"Tenant 7\" CASCADE")
        .unwrap();
    for role in ROLES.iter().chain(&["jobs_owner"]) {
        db.execute(&format!(
            "DROP OWNED BY {0}; DROP ROLE {0}",
            roles.name(role)
        ));
    }
}

#[test]
fn the_script_takes_away_what_a_role_has_beyond_its_part() {
    let db = TestDatabase::migrated();
    let roles = Roles::of(&db, "beyond");
    let producer = roles.name("jobs_producer");
    db.execute(&format!(
        "GRANT ALL ON pgqueue_jobs, pgqueue_audit TO {producer}, PUBLIC;
         GRANT UPDATE (payload) ON pgqueue_jobs TO {producer};
         GRANT ALL ON SEQUENCE pgqueue_jobs_id_seq TO {producer};
         GRANT EXECUTE ON FUNCTION pgqueue_requeue TO PUBLIC"
    ));

    roles.grant(&db);

    assert_is_documented(&db, "public", &roles);
    roles.drop(&db);
}

#[test]
fn a_role_without_a_part_has_no_right() {
    let db = TestDatabase::migrated();
    let roles = Roles::of(&db, "stranger");

    let rights = rights(&db, "public", "pg_monitor");

    let objects: BTreeSet<&str> = rights.iter().map(|right| right[0].as_str()).collect();
    assert_eq!(objects, BTreeSet::from(["the schema"]), "{rights:?}"); // PostgreSQL lets everybody into `public`
    assert_eq!(rights[0][1], "USAGE");
    roles.drop(&db);
}
