//! The built page, as it is compiled in. Written by `web/scripts/build.mjs`, and not to be edited.

use super::Asset;

/// SHA-256 of `assets/SOURCES`, which lists the sources of these files with their hashes.
pub(super) const SOURCES_SHA256: &str =
    "b0c5587735d4fa05482cc2cd5f7551a25b7b2c512fafadade7944d93ebf8efb2";

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
        "app-CBhcP9yJ.css" => Asset {
            body: include_bytes!("../../assets/app-CBhcP9yJ.css"),
            br: Some(include_bytes!("../../assets/app-CBhcP9yJ.css.br")),
            gz: Some(include_bytes!("../../assets/app-CBhcP9yJ.css.gz")),
            mime: "text/css; charset=utf-8",
            etag: "\"c0d94a4b8260e7eaa7156a7af7edda4f\"",
        },
        "app-CMZ6Ktxa.js" => Asset {
            body: include_bytes!("../../assets/app-CMZ6Ktxa.js"),
            br: Some(include_bytes!("../../assets/app-CMZ6Ktxa.js.br")),
            gz: Some(include_bytes!("../../assets/app-CMZ6Ktxa.js.gz")),
            mime: "text/javascript; charset=utf-8",
            etag: "\"9f1ca1e08643028d0f71c2992e53bcfa\"",
        },
        "index.html" => Asset {
            body: include_bytes!("../../assets/index.html"),
            br: Some(include_bytes!("../../assets/index.html.br")),
            gz: Some(include_bytes!("../../assets/index.html.gz")),
            mime: "text/html; charset=utf-8",
            etag: "\"ab15e733b70845460c2c8cfc7f9a1a49\"",
        },
        "terminal-D7LyfjZb.js" => Asset {
            body: include_bytes!("../../assets/terminal-D7LyfjZb.js"),
            br: Some(include_bytes!("../../assets/terminal-D7LyfjZb.js.br")),
            gz: Some(include_bytes!("../../assets/terminal-D7LyfjZb.js.gz")),
            mime: "text/javascript; charset=utf-8",
            etag: "\"fdf24af94663d66879e3775a88c48590\"",
        },
        _ => return None,
    })
}
