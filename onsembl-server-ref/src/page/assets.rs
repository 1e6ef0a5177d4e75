//! The built page, as it is compiled in. Written by `web/scripts/build.mjs`, and not to be edited.

use super::Asset;

/// SHA-256 of `assets/SOURCES`, which lists the sources of these files with their hashes.
pub(super) const SOURCES_SHA256: &str =
    "9fa7f9c4d9ed8fd02f96609dfef2c6ae30d18d081ca4d74bcb3ef72822c8b7f8";

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
        "app-Bjy34d6Y.js" => Asset {
            body: include_bytes!("../../assets/app-Bjy34d6Y.js"),
            br: Some(include_bytes!("../../assets/app-Bjy34d6Y.js.br")),
            gz: Some(include_bytes!("../../assets/app-Bjy34d6Y.js.gz")),
            mime: "text/javascript; charset=utf-8",
            etag: "\"adc66954a530b36b7a7b68eab79c183f\"",
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
            etag: "\"0370275e806bd89f4a5a87f8adbe2eb7\"",
        },
        "terminal-BHbqqNTA.js" => Asset {
            body: include_bytes!("../../assets/terminal-BHbqqNTA.js"),
            br: Some(include_bytes!("../../assets/terminal-BHbqqNTA.js.br")),
            gz: Some(include_bytes!("../../assets/terminal-BHbqqNTA.js.gz")),
            mime: "text/javascript; charset=utf-8",
            etag: "\"5396cbd2071c76e1e94e389f0116e532\"",
        },
        _ => return None,
    })
}
