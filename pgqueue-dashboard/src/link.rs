//! Links to what has a name of the database's choice. Names of queues may hold any text, also `/`, `..` and `%`, which
//! proxies and browsers change in paths: so names travel in the query of an address.

/// To a page of the queue, below the base.
pub(crate) fn queue(name: &str) -> String {
    with("/queue", &[("name", name)])
}

/// To a page of the kind.
pub(crate) fn kind(name: &str) -> String {
    with("/kind", &[("name", name)])
}

/// To the jobs that a filter selects.
pub(crate) fn jobs(terms: &[(&str, &str)]) -> String {
    let filter: Vec<String> = terms
        .iter()
        .map(|(field, value)| term(field, value))
        .collect();
    with("/jobs", &[("q", &filter.join(" "))])
}

/// To a path with a query.
pub(crate) fn with(path: &str, query: &[(&str, &str)]) -> String {
    format!("{path}?{}", encoded(query))
}

/// Writes a query for an address.
pub(crate) fn encoded(query: &[(&str, &str)]) -> String {
    serde_urlencoded::to_string(query).unwrap_or_default()
}

/// Writes a term of a filter, in quotes unless it is plain.
fn term(field: &str, value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !value.is_empty() && value.chars().all(plain) {
        return format!("{field}:{value}");
    }
    let value = value.replace('\\', "\\\\").replace('"', "\\\"");
    format!("{field}:\"{value}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_names_stay_one_value_of_an_address() {
        assert_eq!(
            queue("a/../b c&d=é%"),
            "/queue?name=a%2F..%2Fb+c%26d%3D%C3%A9%25"
        );
        assert_eq!(
            jobs(&[("state", "dead"), ("queue", "a \"b\\")]),
            "/jobs?q=state%3Adead+queue%3A%22a+%5C%22b%5C%5C%22"
        );
    }
}
