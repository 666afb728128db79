//! Whether a request that changes something comes from a page of ours: by what the browser says of itself, without tokens.
//!
//! The rule of Go 1.25's `CrossOriginProtection`, but stricter: a client that says nothing at all is a script, and scripts
//! have the API.

use actix_web::HttpRequest;
use actix_web::http::header::HeaderMap;

/// Is true if the request may change something. `host` is the address that the client asked for.
pub(crate) fn is_ours(
    headers: &HeaderMap,
    host: &str,
    trusted: &[String],
    script_allowed: bool,
) -> bool {
    let header = |name| {
        headers
            .get(name)
            .map(|value: &actix_web::http::header::HeaderValue| value.to_str().unwrap_or("?"))
    };
    let origin = header("origin");
    if origin.is_some_and(|origin| trusted.iter().any(|good| good.eq_ignore_ascii_case(origin))) {
        return true;
    }
    match (header("sec-fetch-site"), origin) {
        (Some("same-origin" | "none"), _) => true,
        (Some(_), _) => false,
        // Sec-Fetch-Site is sent only to HTTPS and localhost: an intranet's plain HTTP has the origin alone.
        (None, Some(origin)) => {
            let authority = origin.split_once("://").map(|(_, authority)| authority);
            authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
        }
        (None, None) => script_allowed,
    }
}

/// Gives the scheme and host that the browser has, to write whole addresses: those of the only trusted origin, or what the
/// request says, unless its host is none.
pub(crate) fn of(request: &HttpRequest, trusted: &[String]) -> Option<String> {
    if let [only] = trusted {
        return Some(only.clone());
    }
    let info = request.connection_info();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".:-_[]".contains(&byte);
    let is_host = !info.host().is_empty() && info.host().bytes().all(plain);
    let is_scheme = matches!(info.scheme(), "http" | "https");
    (is_host && is_scheme).then(|| format!("{}://{}", info.scheme(), info.host()))
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn allowed(pairs: &[(&'static str, &'static str)]) -> bool {
        let headers: HeaderMap = pairs
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect();
        is_ours(
            &headers,
            "shop.example",
            &["https://admin.example".to_owned()],
            false,
        )
    }

    #[test]
    fn only_pages_of_this_origin_may_change_something() {
        assert!(allowed(&[("sec-fetch-site", "same-origin")]));
        assert!(allowed(&[("sec-fetch-site", "none")]));
        assert!(allowed(&[("origin", "https://shop.example")]));
        assert!(allowed(&[
            ("origin", "https://admin.example"),
            ("sec-fetch-site", "cross-site")
        ]));
        for refused in [
            &[("sec-fetch-site", "cross-site")][..],
            &[("sec-fetch-site", "same-site")],
            &[
                ("sec-fetch-site", "cross-site"),
                ("origin", "https://shop.example"),
            ],
            &[("origin", "https://evil.example")],
            &[("origin", "null")],
            &[("origin", "https://shop.example.evil.example")],
            &[],
        ] {
            assert!(!allowed(refused), "{refused:?}");
        }
    }
}
