//! The files of the page. Written by the build of `web/`; do not edit.

use super::Asset;

/// SHA-256 of `assets/SOURCES`, which lists the sources of these files with their hashes.
pub(super) const SOURCES_SHA256: &str = "";

/// The file of this name.
pub(super) fn asset(name: &str) -> Option<Asset> {
    Some(match name {
        "index.html" => Asset {
            body: include_bytes!("../../assets/index.html"),
            br: None,
            gz: None,
            mime: "text/html; charset=utf-8",
            etag: "\"placeholder\"",
        },
        _ => return None,
    })
}
