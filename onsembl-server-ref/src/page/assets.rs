//! The built page, as it is compiled in. Written by `web/scripts/build.mjs`, and not to be edited.

use super::Asset;

/// SHA-256 of `assets/SOURCES`, which lists the sources of these files with their hashes.
pub(super) const SOURCES_SHA256: &str =
    "82b0471dd763d59c9fee70e8d43182dd2744e40d6827ee118d4cc70c059cfd77";

/// The built file of this name.
pub(super) fn asset(name: &str) -> Option<Asset> {
    Some(match name {
        "LICENSES" => Asset {
            body: include_bytes!("../../assets/LICENSES"),
            br: Some(include_bytes!("../../assets/LICENSES.br")),
            gz: Some(include_bytes!("../../assets/LICENSES.gz")),
            mime: "text/plain; charset=utf-8",
            etag: "\"46e59086993e56b20801996452b47e2e\"",
        },
        "app-DLZSkkT5.js" => Asset {
            body: include_bytes!("../../assets/app-DLZSkkT5.js"),
            br: Some(include_bytes!("../../assets/app-DLZSkkT5.js.br")),
            gz: Some(include_bytes!("../../assets/app-DLZSkkT5.js.gz")),
            mime: "text/javascript; charset=utf-8",
            etag: "\"956800cb322c3e18feafbf9a8f15ac87\"",
        },
        "app-DgVW7-63.css" => Asset {
            body: include_bytes!("../../assets/app-DgVW7-63.css"),
            br: Some(include_bytes!("../../assets/app-DgVW7-63.css.br")),
            gz: Some(include_bytes!("../../assets/app-DgVW7-63.css.gz")),
            mime: "text/css; charset=utf-8",
            etag: "\"f51e637dceba1ea53afdcf6332130500\"",
        },
        "index.html" => Asset {
            body: include_bytes!("../../assets/index.html"),
            br: Some(include_bytes!("../../assets/index.html.br")),
            gz: Some(include_bytes!("../../assets/index.html.gz")),
            mime: "text/html; charset=utf-8",
            etag: "\"06c4d64f089d27fdd1a05cd43b8da014\"",
        },
        "terminal-D-AGunMf.js" => Asset {
            body: include_bytes!("../../assets/terminal-D-AGunMf.js"),
            br: Some(include_bytes!("../../assets/terminal-D-AGunMf.js.br")),
            gz: Some(include_bytes!("../../assets/terminal-D-AGunMf.js.gz")),
            mime: "text/javascript; charset=utf-8",
            etag: "\"4e10e79820a1a51b0ac1a08cfe46d3d5\"",
        },
        "terminal-JHfleL4a.css" => Asset {
            body: include_bytes!("../../assets/terminal-JHfleL4a.css"),
            br: Some(include_bytes!("../../assets/terminal-JHfleL4a.css.br")),
            gz: Some(include_bytes!("../../assets/terminal-JHfleL4a.css.gz")),
            mime: "text/css; charset=utf-8",
            etag: "\"9d0cf4795c43ff74baa3d4529c63eab8\"",
        },
        _ => return None,
    })
}
