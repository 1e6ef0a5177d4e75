//! The built page, as it is compiled in. Written by `web/scripts/build.mjs`, and not to be edited.

use super::Asset;

/// SHA-256 of `assets/SOURCES`, which lists the sources of these files with their hashes.
pub(super) const SOURCES_SHA256: &str =
    "50fdc0f1606dda750feb0b0548146fa00dfc8143ee543bb3eabc605c560f4cde";

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
        "app-Cp3fNOQw.css" => Asset {
            body: include_bytes!("../../assets/app-Cp3fNOQw.css"),
            br: Some(include_bytes!("../../assets/app-Cp3fNOQw.css.br")),
            gz: Some(include_bytes!("../../assets/app-Cp3fNOQw.css.gz")),
            mime: "text/css; charset=utf-8",
            etag: "\"72122a4ebb1985ab1e399fd273c8e263\"",
        },
        "app-DMh3f5zK.js" => Asset {
            body: include_bytes!("../../assets/app-DMh3f5zK.js"),
            br: Some(include_bytes!("../../assets/app-DMh3f5zK.js.br")),
            gz: Some(include_bytes!("../../assets/app-DMh3f5zK.js.gz")),
            mime: "text/javascript; charset=utf-8",
            etag: "\"2e94d0ab633df013cd8df297d0ffcc4a\"",
        },
        "index.html" => Asset {
            body: include_bytes!("../../assets/index.html"),
            br: Some(include_bytes!("../../assets/index.html.br")),
            gz: Some(include_bytes!("../../assets/index.html.gz")),
            mime: "text/html; charset=utf-8",
            etag: "\"ad2522097223c37f4783b5a611b20155\"",
        },
        "terminal-DBJi__we.js" => Asset {
            body: include_bytes!("../../assets/terminal-DBJi__we.js"),
            br: Some(include_bytes!("../../assets/terminal-DBJi__we.js.br")),
            gz: Some(include_bytes!("../../assets/terminal-DBJi__we.js.gz")),
            mime: "text/javascript; charset=utf-8",
            etag: "\"3a55e43865cd7ecc87df546f782db381\"",
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
