//! The built page, as it is compiled in. Written by `web/scripts/build.mjs`, and not to be edited.

use super::Asset;

/// SHA-256 of `assets/SOURCES`, which lists the sources of these files with their hashes.
pub(super) const SOURCES_SHA256: &str =
    "dfe0b983787957b45f6e124b4e4b7a18c12d353c3caec12c5705d886d9f59c1d";

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
        "app-DskBIifM.css" => Asset {
            body: include_bytes!("../../assets/app-DskBIifM.css"),
            br: Some(include_bytes!("../../assets/app-DskBIifM.css.br")),
            gz: Some(include_bytes!("../../assets/app-DskBIifM.css.gz")),
            mime: "text/css; charset=utf-8",
            etag: "\"c124b36cd1a12aefa21734f4ece36d20\"",
        },
        "app-MBrtVkfY.js" => Asset {
            body: include_bytes!("../../assets/app-MBrtVkfY.js"),
            br: Some(include_bytes!("../../assets/app-MBrtVkfY.js.br")),
            gz: Some(include_bytes!("../../assets/app-MBrtVkfY.js.gz")),
            mime: "text/javascript; charset=utf-8",
            etag: "\"b306652d13ffc4c0985259faa2550dc4\"",
        },
        "index.html" => Asset {
            body: include_bytes!("../../assets/index.html"),
            br: Some(include_bytes!("../../assets/index.html.br")),
            gz: Some(include_bytes!("../../assets/index.html.gz")),
            mime: "text/html; charset=utf-8",
            etag: "\"738b381018a6d1bec0f741ac68675e64\"",
        },
        "terminal-DJpMjKKi.js" => Asset {
            body: include_bytes!("../../assets/terminal-DJpMjKKi.js"),
            br: Some(include_bytes!("../../assets/terminal-DJpMjKKi.js.br")),
            gz: Some(include_bytes!("../../assets/terminal-DJpMjKKi.js.gz")),
            mime: "text/javascript; charset=utf-8",
            etag: "\"f3de23aff6f1033e7c79565d9af0a030\"",
        },
        _ => return None,
    })
}
