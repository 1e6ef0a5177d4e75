//! The built page, as it is compiled in. Written by `web/scripts/build.mjs`, and not to be edited.

use super::Asset;

/// SHA-256 of `assets/SOURCES`, which lists the sources of these files with their hashes.
pub(super) const SOURCES_SHA256: &str =
    "f7b7d7eca097180f84e4605be2c2cc53ff109d48783e2ca40a9ab993e9a7249f";

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
        "app-EtgjHjkB.js" => Asset {
            body: include_bytes!("../../assets/app-EtgjHjkB.js"),
            br: Some(include_bytes!("../../assets/app-EtgjHjkB.js.br")),
            gz: Some(include_bytes!("../../assets/app-EtgjHjkB.js.gz")),
            mime: "text/javascript; charset=utf-8",
            etag: "\"d609884c32538a7b8de45813a87cf7c2\"",
        },
        "app-R6Alcuey.css" => Asset {
            body: include_bytes!("../../assets/app-R6Alcuey.css"),
            br: Some(include_bytes!("../../assets/app-R6Alcuey.css.br")),
            gz: Some(include_bytes!("../../assets/app-R6Alcuey.css.gz")),
            mime: "text/css; charset=utf-8",
            etag: "\"df9e24e99b48ba10c285b2d2c95eab1c\"",
        },
        "index.html" => Asset {
            body: include_bytes!("../../assets/index.html"),
            br: Some(include_bytes!("../../assets/index.html.br")),
            gz: Some(include_bytes!("../../assets/index.html.gz")),
            mime: "text/html; charset=utf-8",
            etag: "\"d5cc6113f22faaaf48c39ad4343cc8ab\"",
        },
        "terminal-B65Bd1vd.js" => Asset {
            body: include_bytes!("../../assets/terminal-B65Bd1vd.js"),
            br: Some(include_bytes!("../../assets/terminal-B65Bd1vd.js.br")),
            gz: Some(include_bytes!("../../assets/terminal-B65Bd1vd.js.gz")),
            mime: "text/javascript; charset=utf-8",
            etag: "\"38c7be283ae8e181ed9e3f7af1f84912\"",
        },
        _ => return None,
    })
}
