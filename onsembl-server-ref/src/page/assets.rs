//! The built page, as it is compiled in. Written by `web/scripts/build.mjs`, and not to be edited.

use super::Asset;

/// SHA-256 of `assets/SOURCES`, which lists the sources of these files with their hashes.
pub(super) const SOURCES_SHA256: &str =
    "052cd4367a9520886c160cef1dffc6245fd92ff3a8df6e8e17d4eb8a559306b4";

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
        "app-B3LPTY_w.css" => Asset {
            body: include_bytes!("../../assets/app-B3LPTY_w.css"),
            br: Some(include_bytes!("../../assets/app-B3LPTY_w.css.br")),
            gz: Some(include_bytes!("../../assets/app-B3LPTY_w.css.gz")),
            mime: "text/css; charset=utf-8",
            etag: "\"5884a1435df927a44c6d5dd03f22567d\"",
        },
        "app-CskeefZR.js" => Asset {
            body: include_bytes!("../../assets/app-CskeefZR.js"),
            br: Some(include_bytes!("../../assets/app-CskeefZR.js.br")),
            gz: Some(include_bytes!("../../assets/app-CskeefZR.js.gz")),
            mime: "text/javascript; charset=utf-8",
            etag: "\"c68a099c9a42f4bbf404eaeb37e75994\"",
        },
        "index.html" => Asset {
            body: include_bytes!("../../assets/index.html"),
            br: Some(include_bytes!("../../assets/index.html.br")),
            gz: Some(include_bytes!("../../assets/index.html.gz")),
            mime: "text/html; charset=utf-8",
            etag: "\"337ff83af64e20256dc17cca2289f092\"",
        },
        "terminal-B6tz2R6W.js" => Asset {
            body: include_bytes!("../../assets/terminal-B6tz2R6W.js"),
            br: Some(include_bytes!("../../assets/terminal-B6tz2R6W.js.br")),
            gz: Some(include_bytes!("../../assets/terminal-B6tz2R6W.js.gz")),
            mime: "text/javascript; charset=utf-8",
            etag: "\"b20ea506be3f5a38f6ec56402f762873\"",
        },
        _ => return None,
    })
}
