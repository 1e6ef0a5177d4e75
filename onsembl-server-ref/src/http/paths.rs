//! One rule for paths: an empty part and a slash at the end mean nothing, as for the URLs that agents dial.
//! People write `http://host/` and `/ws/agent`, and proxies put prefixes together in the same way.

use axum::http::Uri;
use axum::http::uri::PathAndQuery;

/// The same address without empty parts and without a slash at its end.
pub(super) fn tidy(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    if path == "/" || !(path.contains("//") || path.ends_with('/')) {
        return None;
    }
    let mut tidied = path
        .split('/')
        .filter(|part| !part.is_empty())
        .fold(String::with_capacity(path.len()), |path, part| path + "/" + part);
    if tidied.is_empty() {
        tidied.push('/');
    }
    if let Some(query) = uri.query() {
        tidied.push('?');
        tidied.push_str(query);
    }
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(tidied.parse::<PathAndQuery>().ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_parts_mean_nothing() {
        for (path, tidied) in [
            ("//ws/agent", "/ws/agent"),
            ("/ws/agent/", "/ws/agent"),
            ("/ws//agent//?token=a//b/", "/ws/agent?token=a//b/"),
            ("//", "/"),
            ("///?x", "/?x"),
            ("/api/agents/a%2Fb/", "/api/agents/a%2Fb"),
        ] {
            let uri = path.parse::<Uri>().unwrap_or_else(|e| panic!("{path}: {e}"));
            assert_eq!(tidy(&uri).map(|uri| uri.to_string()).as_deref(), Some(tidied), "{path}");
        }
        for path in ["/", "/ws/agent", "/ws/agent?a=/", "/?a//b", "*"] {
            assert_eq!(tidy(&path.parse().unwrap()), None, "{path}");
        }
    }
}
