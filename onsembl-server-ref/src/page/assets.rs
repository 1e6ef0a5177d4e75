//! The built page, as it is compiled in. Written by `web/scripts/build.mjs`, and not to be edited.

use super::Asset;

/// SHA-256 of `assets/SOURCES`, which lists the sources of these files with their hashes.
pub(super) const SOURCES_SHA256: &str =
    "2b2568728beb9c0247112b66a009f0b5ad5c22454391923616346588ece2d66f";

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
        "app-DcUeykiF.js" => Asset {
            body: include_bytes!("../../assets/app-DcUeykiF.js"),
            br: Some(include_bytes!("../../assets/app-DcUeykiF.js.br")),
            gz: Some(include_bytes!("../../assets/app-DcUeykiF.js.gz")),
            mime: "text/javascript; charset=utf-8",
            etag: "\"c794bcc2f5812bda038b30b55b5183e8\"",
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
            etag: "\"61fcec711f71db2adce239a37fa0168d\"",
        },
        "terminal-DB4Oj-J1.js" => Asset {
            body: include_bytes!("../../assets/terminal-DB4Oj-J1.js"),
            br: Some(include_bytes!("../../assets/terminal-DB4Oj-J1.js.br")),
            gz: Some(include_bytes!("../../assets/terminal-DB4Oj-J1.js.gz")),
            mime: "text/javascript; charset=utf-8",
            etag: "\"0eab6039755d6797853f08c57b516fcd\"",
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
