//! The built page, as it is compiled in. Written by `web/scripts/build.mjs`, and not to be edited.

use super::Asset;

/// SHA-256 of `assets/SOURCES`, which lists the sources of these files with their hashes.
pub(super) const SOURCES_SHA256: &str =
    "d60a85311497b046a9e6d8595d664c28d2fc0fd0b7ba41a90bfbea55c514c7be";

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
        "app-CjBcy3-s.css" => Asset {
            body: include_bytes!("../../assets/app-CjBcy3-s.css"),
            br: Some(include_bytes!("../../assets/app-CjBcy3-s.css.br")),
            gz: Some(include_bytes!("../../assets/app-CjBcy3-s.css.gz")),
            mime: "text/css; charset=utf-8",
            etag: "\"2a141107dd888b470bde0f8fea712a66\"",
        },
        "app-D49a7sWI.js" => Asset {
            body: include_bytes!("../../assets/app-D49a7sWI.js"),
            br: Some(include_bytes!("../../assets/app-D49a7sWI.js.br")),
            gz: Some(include_bytes!("../../assets/app-D49a7sWI.js.gz")),
            mime: "text/javascript; charset=utf-8",
            etag: "\"edf6e247dadae122043109c478f883f3\"",
        },
        "index.html" => Asset {
            body: include_bytes!("../../assets/index.html"),
            br: Some(include_bytes!("../../assets/index.html.br")),
            gz: Some(include_bytes!("../../assets/index.html.gz")),
            mime: "text/html; charset=utf-8",
            etag: "\"c947e3ffba6241f60ef63f2c12497415\"",
        },
        "terminal-BNZhkWTt.js" => Asset {
            body: include_bytes!("../../assets/terminal-BNZhkWTt.js"),
            br: Some(include_bytes!("../../assets/terminal-BNZhkWTt.js.br")),
            gz: Some(include_bytes!("../../assets/terminal-BNZhkWTt.js.gz")),
            mime: "text/javascript; charset=utf-8",
            etag: "\"adf6fcfc1f68701616465ab96ebe3e3d\"",
        },
        _ => return None,
    })
}
