//! The built page, as it is compiled in. Written by `web/scripts/build.mjs`, and not to be edited.

use super::Asset;

/// SHA-256 of `assets/SOURCES`, which lists the sources of these files with their hashes.
pub(super) const SOURCES_SHA256: &str =
    "0ee14a71aff04d27aee8c019a7339475641e857766fef6208d85c40286a4b45c";

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
        "app-BSqEEMOz.js" => Asset {
            body: include_bytes!("../../assets/app-BSqEEMOz.js"),
            br: Some(include_bytes!("../../assets/app-BSqEEMOz.js.br")),
            gz: Some(include_bytes!("../../assets/app-BSqEEMOz.js.gz")),
            mime: "text/javascript; charset=utf-8",
            etag: "\"ebc0a3ea6d36b5a912b50e3291ae7082\"",
        },
        "app-Cp3fNOQw.css" => Asset {
            body: include_bytes!("../../assets/app-Cp3fNOQw.css"),
            br: Some(include_bytes!("../../assets/app-Cp3fNOQw.css.br")),
            gz: Some(include_bytes!("../../assets/app-Cp3fNOQw.css.gz")),
            mime: "text/css; charset=utf-8",
            etag: "\"72122a4ebb1985ab1e399fd273c8e263\"",
        },
        "index.html" => Asset {
            body: include_bytes!("../../assets/index.html"),
            br: Some(include_bytes!("../../assets/index.html.br")),
            gz: Some(include_bytes!("../../assets/index.html.gz")),
            mime: "text/html; charset=utf-8",
            etag: "\"b644da144ea527c0087ab4fd9cc996b3\"",
        },
        "terminal-BQUuutP5.js" => Asset {
            body: include_bytes!("../../assets/terminal-BQUuutP5.js"),
            br: Some(include_bytes!("../../assets/terminal-BQUuutP5.js.br")),
            gz: Some(include_bytes!("../../assets/terminal-BQUuutP5.js.gz")),
            mime: "text/javascript; charset=utf-8",
            etag: "\"f829c39ea397cd0b83d7f658b45a3024\"",
        },
        "terminal-DBt5xRYv.css" => Asset {
            body: include_bytes!("../../assets/terminal-DBt5xRYv.css"),
            br: Some(include_bytes!("../../assets/terminal-DBt5xRYv.css.br")),
            gz: Some(include_bytes!("../../assets/terminal-DBt5xRYv.css.gz")),
            mime: "text/css; charset=utf-8",
            etag: "\"8454a7cc45d0aeea47e885230eda9780\"",
        },
        _ => return None,
    })
}
