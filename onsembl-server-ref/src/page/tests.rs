//! What is committed of the page belongs together, and how it is sent.

use super::assets::{SOURCES_SHA256, asset};
use super::*;
use ring::digest::{SHA256, digest};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What the build reads besides all of `src/`.
const SINGLE: [&str; 6] = [
    "index.html",
    "package-lock.json",
    "package.json",
    "scripts/build.mjs",
    "tsconfig.json",
    "vite.config.ts",
];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn sha256(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn files(of: &Path, top: &Path, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(of).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, top, found);
        } else {
            let name = path.strip_prefix(top).unwrap().to_str().unwrap().to_owned();
            let _ = found.insert(name, sha256(&fs::read(&path).unwrap()));
        }
    }
}

/// `npm run build` in `web/` writes both sides.
#[test]
fn the_page_is_built_from_these_sources() {
    let web = folder("web");
    if !web.join("package.json").exists() {
        // A package of this crate is without them.
        return;
    }
    let mut found = BTreeMap::new();
    files(&web.join("src"), &web, &mut found);
    for name in SINGLE {
        let _ = found.insert(name.to_owned(), sha256(&fs::read(web.join(name)).unwrap()));
    }
    let lines: String = found.iter().map(|(name, hash)| format!("{hash}  {name}\n")).collect();
    let listed = fs::read_to_string(folder("assets").join("SOURCES")).unwrap();
    assert_eq!(
        listed, lines,
        "assets/ was not built from web/: run `npm ci && npm run build` there"
    );
    assert_eq!(SOURCES_SHA256, sha256(listed.as_bytes()));
}

#[test]
fn every_built_file_is_listed_with_its_hash_and_compiled_in() {
    let assets = folder("assets");
    let sums = fs::read_to_string(assets.join("SHA256SUMS")).unwrap();
    let listed: BTreeMap<&str, &str> =
        sums.lines().map(|line| line.split_once("  ").unwrap()).map(|(h, n)| (n, h)).collect();
    let there: BTreeSet<String> = fs::read_dir(&assets)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "SHA256SUMS")
        .collect();
    assert_eq!(there, listed.keys().map(|name| (*name).to_owned()).collect());
    for (name, hash) in &listed {
        assert_eq!(sha256(&fs::read(assets.join(name)).unwrap()), *hash, "{name}");
        let is_plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        assert!(is_plain, "{name}");
        let (of, form) = match name.rsplit_once('.') {
            Some((of, form @ ("br" | "gz"))) => (of, form),
            _ => (*name, ""),
        };
        let Some(asset) = asset(of) else {
            assert_eq!(of, "SOURCES", "it is in nothing that is sent");
            continue;
        };
        let bytes = match form {
            "br" => asset.br,
            "gz" => asset.gz,
            _ => Some(asset.body),
        };
        assert_eq!(bytes.map(sha256).as_deref(), Some(*hash), "{name}");
        assert!(asset.etag.starts_with('"') && asset.etag.ends_with('"'), "{name}");
    }
    let index = String::from_utf8(asset(INDEX).unwrap().body.to_vec()).unwrap();
    for part in index.split("/assets/").skip(1) {
        let name = part.split(['"', '\'', '>', ' ']).next().unwrap();
        assert!(file(name, &HeaderMap::new()).is_some(), "the page loads {name}");
    }
    let inline = index.contains("<style") || index.contains(" style=") || index.contains("onload=");
    assert!(!inline && !index.contains("<script>"), "its policy would refuse it");
}

fn asking(headers: &[(HeaderName, &'static str)]) -> HeaderMap {
    headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
}

#[test]
fn the_smallest_form_that_is_taken_is_sent() {
    let asset =
        Asset { body: b"b", br: Some(b"br"), gz: Some(b"gz"), mime: "text/plain", etag: "\"e\"" };
    for (accepted, encoding) in [
        (Some("gzip, deflate, br, zstd"), Some("br")),
        (Some("gzip, br;q=0"), Some("gzip")),
        (Some("GZIP;q=0.5"), Some("gzip")),
        (Some("br;q=0.0, identity"), None),
        (Some("*"), None),
        (None, None),
    ] {
        let headers = accepted.map(|value| asking(&[(header::ACCEPT_ENCODING, value)]));
        let (_, sent) = encoded(&asset, &headers.unwrap_or_default());
        assert_eq!(sent, encoding, "{accepted:?}");
    }
    let plain = Asset { br: None, gz: None, ..asset };
    let headers = asking(&[(header::ACCEPT_ENCODING, "br, gzip")]);
    assert_eq!(encoded(&plain, &headers).1, None);
}

#[test]
fn what_a_browser_has_is_not_sent_again() {
    let etag = asset(INDEX).unwrap().etag;
    let known = |tag: &str| {
        let mut headers = HeaderMap::new();
        let _ = headers.insert(header::IF_NONE_MATCH, HeaderValue::from_str(tag).unwrap());
        index(&headers).unwrap().status() == StatusCode::NOT_MODIFIED
    };
    assert!(known(etag) && known(&format!("W/{etag}")) && known(&format!("\"x\", {etag}")));
    assert!(known("*") && !known("\"x\""));
    let answer = index(&HeaderMap::new()).unwrap();
    assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-cache");
    let policy = answer.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe"), "{policy}");
    assert!(file(INDEX, &HeaderMap::new()).is_none(), "it has no name of its own");
}
