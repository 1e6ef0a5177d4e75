//! The built page, as it is compiled in. Written by `web/scripts/build.mjs`, and not to be edited.

use super::Asset;

/// SHA-256 of `assets/SOURCES`, which lists the sources of these files with their hashes.
pub(super) const SOURCES_SHA256: &str =
    "2be5fc40e7ee93f398f69cbc6ca95fae44953836552713a2f281628de04194a2";

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
        "app-CXn0YtSD.js" => Asset {
            body: include_bytes!("../../assets/app-CXn0YtSD.js"),
            br: Some(include_bytes!("../../assets/app-CXn0YtSD.js.br")),
            gz: Some(include_bytes!("../../assets/app-CXn0YtSD.js.gz")),
            mime: "text/javascript; charset=utf-8",
            etag: "\"3a16ee35689f3a46aad25b905a20311e\"",
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
            etag: "\"d63eedc54620ce04a4d2db32c1deace0\"",
        },
        "terminal-ChoPBCSq.js" => Asset {
            body: include_bytes!("../../assets/terminal-ChoPBCSq.js"),
            br: Some(include_bytes!("../../assets/terminal-ChoPBCSq.js.br")),
            gz: Some(include_bytes!("../../assets/terminal-ChoPBCSq.js.gz")),
            mime: "text/javascript; charset=utf-8",
            etag: "\"bd9f2d030572563931edfdb35a7f4eed\"",
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
