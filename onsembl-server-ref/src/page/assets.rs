//! The built page, as it is compiled in. Written by `web/scripts/build.mjs`, and not to be edited.

use super::Asset;

/// SHA-256 of `assets/SOURCES`, which lists the sources of these files with their hashes.
pub(super) const SOURCES_SHA256: &str =
    "ca7814249f28fcd5cc2982924221aec71a974590989690f2e94223409c8a5ffd";

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
        "app-BSZMYihI.css" => Asset {
            body: include_bytes!("../../assets/app-BSZMYihI.css"),
            br: Some(include_bytes!("../../assets/app-BSZMYihI.css.br")),
            gz: Some(include_bytes!("../../assets/app-BSZMYihI.css.gz")),
            mime: "text/css; charset=utf-8",
            etag: "\"89d750fd702390397c62fb10e97d8dac\"",
        },
        "app-DxJdc_yJ.js" => Asset {
            body: include_bytes!("../../assets/app-DxJdc_yJ.js"),
            br: Some(include_bytes!("../../assets/app-DxJdc_yJ.js.br")),
            gz: Some(include_bytes!("../../assets/app-DxJdc_yJ.js.gz")),
            mime: "text/javascript; charset=utf-8",
            etag: "\"828bd08696ea815f55a85b1ac2358dcd\"",
        },
        "index.html" => Asset {
            body: include_bytes!("../../assets/index.html"),
            br: Some(include_bytes!("../../assets/index.html.br")),
            gz: Some(include_bytes!("../../assets/index.html.gz")),
            mime: "text/html; charset=utf-8",
            etag: "\"b71e2a8ee6ef42e9ba85ca2209365383\"",
        },
        "terminal-DgM1Me90.js" => Asset {
            body: include_bytes!("../../assets/terminal-DgM1Me90.js"),
            br: Some(include_bytes!("../../assets/terminal-DgM1Me90.js.br")),
            gz: Some(include_bytes!("../../assets/terminal-DgM1Me90.js.gz")),
            mime: "text/javascript; charset=utf-8",
            etag: "\"0660477ad36f9990f319c8cb0bd949b5\"",
        },
        _ => return None,
    })
}
