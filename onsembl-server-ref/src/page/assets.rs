//! The built page, as it is compiled in. Written by `web/scripts/build.mjs`, and not to be edited.

use super::Asset;

/// SHA-256 of `assets/SOURCES`, which lists the sources of these files with their hashes.
pub(super) const SOURCES_SHA256: &str =
    "918cb22bc08b115f9a1beebeca069af0b996a5204b2b65639dea34ebacaf7087";

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
        "app-BRrtU6UR.js" => Asset {
            body: include_bytes!("../../assets/app-BRrtU6UR.js"),
            br: Some(include_bytes!("../../assets/app-BRrtU6UR.js.br")),
            gz: Some(include_bytes!("../../assets/app-BRrtU6UR.js.gz")),
            mime: "text/javascript; charset=utf-8",
            etag: "\"e8e7ea24ee598d1ae56d6997720c41ed\"",
        },
        "app-DskBIifM.css" => Asset {
            body: include_bytes!("../../assets/app-DskBIifM.css"),
            br: Some(include_bytes!("../../assets/app-DskBIifM.css.br")),
            gz: Some(include_bytes!("../../assets/app-DskBIifM.css.gz")),
            mime: "text/css; charset=utf-8",
            etag: "\"c124b36cd1a12aefa21734f4ece36d20\"",
        },
        "index.html" => Asset {
            body: include_bytes!("../../assets/index.html"),
            br: Some(include_bytes!("../../assets/index.html.br")),
            gz: Some(include_bytes!("../../assets/index.html.gz")),
            mime: "text/html; charset=utf-8",
            etag: "\"11c07fa74ae37f84c93177d38a0e4f36\"",
        },
        "terminal-83cnZLTt.js" => Asset {
            body: include_bytes!("../../assets/terminal-83cnZLTt.js"),
            br: Some(include_bytes!("../../assets/terminal-83cnZLTt.js.br")),
            gz: Some(include_bytes!("../../assets/terminal-83cnZLTt.js.gz")),
            mime: "text/javascript; charset=utf-8",
            etag: "\"dc0b5e8ca28994490aa1dddbec054ada\"",
        },
        _ => return None,
    })
}
