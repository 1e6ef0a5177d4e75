//! The built page, as it is compiled in. Written by `web/scripts/build.mjs`, and not to be edited.

use super::Asset;

/// SHA-256 of `assets/SOURCES`, which lists the sources of these files with their hashes.
pub(super) const SOURCES_SHA256: &str =
    "d81a58d85a60e4c416170884da5a7fb3719f52098ef99e8671ac6051a7588c30";

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
        "app-BVcAs8Ny.js" => Asset {
            body: include_bytes!("../../assets/app-BVcAs8Ny.js"),
            br: Some(include_bytes!("../../assets/app-BVcAs8Ny.js.br")),
            gz: Some(include_bytes!("../../assets/app-BVcAs8Ny.js.gz")),
            mime: "text/javascript; charset=utf-8",
            etag: "\"1628d19c222ac61907125ab47836f568\"",
        },
        "app-DUdop9DT.css" => Asset {
            body: include_bytes!("../../assets/app-DUdop9DT.css"),
            br: Some(include_bytes!("../../assets/app-DUdop9DT.css.br")),
            gz: Some(include_bytes!("../../assets/app-DUdop9DT.css.gz")),
            mime: "text/css; charset=utf-8",
            etag: "\"8733dbffcc7f8788d2021c5e98940d82\"",
        },
        "index.html" => Asset {
            body: include_bytes!("../../assets/index.html"),
            br: Some(include_bytes!("../../assets/index.html.br")),
            gz: Some(include_bytes!("../../assets/index.html.gz")),
            mime: "text/html; charset=utf-8",
            etag: "\"e317f37ac234da98f01957daba6052a1\"",
        },
        "terminal-BBUHmbN-.js" => Asset {
            body: include_bytes!("../../assets/terminal-BBUHmbN-.js"),
            br: Some(include_bytes!("../../assets/terminal-BBUHmbN-.js.br")),
            gz: Some(include_bytes!("../../assets/terminal-BBUHmbN-.js.gz")),
            mime: "text/javascript; charset=utf-8",
            etag: "\"a01289428871760f8e40c02b8572edad\"",
        },
        _ => return None,
    })
}
