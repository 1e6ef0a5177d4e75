//! The page that people look at in a browser: its built files, and how each is sent. Which requests get here, and who may
//! do what, is in `http/browser.rs`.
//!
//! The files are built from `web/` and committed, so that building the server needs nothing else (docs/PAGE.md).

mod assets;
#[cfg(test)]
mod tests;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

/// A built file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asset {
    pub(crate) body: &'static [u8],
    /// The same, compressed with brotli.
    pub(crate) br: Option<&'static [u8]>,
    /// The same, compressed with gzip.
    pub(crate) gz: Option<&'static [u8]>,
    pub(crate) mime: &'static str,
    /// With its quotes.
    pub(crate) etag: &'static str,
}

/// The name of the page itself among the files.
const INDEX: &str = "index.html";
/// The licences of what is in the others.
const LICENSES: &str = "LICENSES";

/// From which sources the page was built.
pub(crate) const SOURCES: &str = assets::SOURCES_SHA256;

/// Nothing from elsewhere, no script or style in the text of the page, in no frame. The page opens links to its own origin
/// only.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' data:; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What the page may use of the machine.
const PERMISSIONS: &str = "clipboard-read=(self), clipboard-write=(self), accelerometer=(), camera=(), \
    display-capture=(), geolocation=(), gyroscope=(), magnetometer=(), microphone=(), midi=(), payment=(), usb=()";

/// The page, at each of its paths.
pub(crate) fn index(asked: &HeaderMap) -> Option<Response<Body>> {
    let mut answer = sent(&assets::asset(INDEX)?, asked, "no-cache");
    let headers = answer.headers_mut();
    for (name, value) in [
        ("content-security-policy", PAGE_POLICY),
        ("content-security-policy-report-only", "require-trusted-types-for 'script'"),
        ("cross-origin-opener-policy", "same-origin"),
        ("permissions-policy", PERMISSIONS),
        ("x-frame-options", "DENY"),
    ] {
        let _ = headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    Some(answer)
}

/// A file that the page loads; `None` if there is none of this name.
pub(crate) fn file(name: &str, asked: &HeaderMap) -> Option<Response<Body>> {
    let asset = assets::asset(name).filter(|_| name != INDEX)?;
    // All other names have a hash of what is in the file.
    let is_lasting = name != LICENSES;
    let cache = if is_lasting { "public, max-age=31536000, immutable" } else { "no-cache" };
    Some(sent(&asset, asked, cache))
}

fn sent(asset: &Asset, asked: &HeaderMap, cache: &'static str) -> Response<Body> {
    let mut answer = match is_known(asked, asset.etag) {
        true => {
            let mut answer = Response::new(Body::empty());
            *answer.status_mut() = StatusCode::NOT_MODIFIED;
            answer
        }
        false => {
            let (body, encoding) = encoded(asset, asked);
            let mut answer = Response::new(Body::from(body));
            if let Some(encoding) = encoding {
                let encoding = HeaderValue::from_static(encoding);
                let _ = answer.headers_mut().insert(header::CONTENT_ENCODING, encoding);
            }
            answer
        }
    };
    let headers = answer.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, asset.mime),
        (header::ETAG, asset.etag),
        (header::CACHE_CONTROL, cache),
        (header::VARY, "accept-encoding"),
    ] {
        let _ = headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}

fn is_known(asked: &HeaderMap, etag: &str) -> bool {
    let values = asked.get_all(header::IF_NONE_MATCH).iter().filter_map(|v| v.to_str().ok());
    let mut tags = values.flat_map(|value| value.split(',')).map(str::trim);
    tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// The smallest form that the browser takes.
fn encoded(asset: &Asset, asked: &HeaderMap) -> (&'static [u8], Option<&'static str>) {
    let values = asked.get_all(header::ACCEPT_ENCODING).iter().filter_map(|v| v.to_str().ok());
    let taken: Vec<&str> = values
        .flat_map(|value| value.split(','))
        .filter_map(|entry| {
            let (name, weight) = entry.split_once(';').unwrap_or((entry, ""));
            let weight = weight.trim().strip_prefix("q=").and_then(|q| q.parse::<f32>().ok());
            (weight != Some(0.0)).then_some(name.trim())
        })
        .collect();
    let takes = |name: &str| taken.iter().any(|taken| taken.eq_ignore_ascii_case(name));
    match (asset.br, asset.gz) {
        (Some(br), _) if takes("br") => (br, Some("br")),
        (_, Some(gz)) if takes("gzip") => (gz, Some("gzip")),
        _ => (asset.body, None),
    }
}
