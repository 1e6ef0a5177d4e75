// Builds the page and writes what the server compiles in: ../assets/* and ../src/page/assets.rs. The same sources give
// the same bytes on any machine.
//
// A compressed copy is kept if it still decompresses to its file: other versions of the compressors write other bytes.

import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, brotliDecompressSync, constants, gunzipSync, gzipSync } from "node:zlib";

const web = join(dirname(fileURLToPath(import.meta.url)), "..");
const dist = join(web, "dist");
const assets = join(web, "..", "assets");
const table = join(web, "..", "src", "page", "assets.rs");

/** Most bytes of each chunk, compressed by gzip. */
const LIMITS = { app: 60 * 1024, terminal: 170 * 1024 };

const MIME = {
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  css: "text/css; charset=utf-8",
  "": "text/plain; charset=utf-8",
};

const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");
const byBytes = (a, b) => (a < b ? -1 : a > b ? 1 : 0);

function filesUnder(folder) {
  const found = [];
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    if (statSync(path).isDirectory()) found.push(...filesUnder(path));
    else found.push(path);
  }
  return found;
}

/** What the assets are made from, as `sha256sum` lists it. */
function sources() {
  const single = ["index.html", "package-lock.json", "package.json", "tsconfig.json", "vite.config.ts", "scripts/build.mjs"];
  const all = [...single.map((name) => join(web, name)), ...filesUnder(join(web, "src"))];
  return all
    .map((path) => [relative(web, path).split(sep).join("/"), path])
    .sort(([a], [b]) => byBytes(a, b))
    .map(([name, path]) => `${sha256(readFileSync(path))}  ${name}\n`)
    .join("");
}

/** The licences of all that is in the bundle. */
function licences() {
  const { dependencies } = JSON.parse(readFileSync(join(web, "package.json"), "utf8"));
  const names = new Set(Object.keys(dependencies));
  // What those need in turn.
  for (const name of names) {
    const { dependencies: more } = JSON.parse(readFileSync(join(web, "node_modules", name, "package.json"), "utf8"));
    for (const next of Object.keys(more ?? {})) names.add(next);
  }
  const parts = [...names].sort(byBytes).map((name) => {
    const folder = join(web, "node_modules", name);
    const { version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
    const text = file === undefined ? `Licence: ${license}\n` : readFileSync(join(folder, file), "utf8");
    return `${name} ${version} (${license})\n\n${text.replace(/\r\n/g, "\n").trim()}\n`;
  });
  return `The page of onsembl-server has parts of the following packages.\n\n${parts.join(`\n${"-".repeat(72)}\n\n`)}`;
}

function compressed(name, body, suffix, compress, decompress) {
  const path = join(assets, `${name}${suffix}`);
  if (existsSync(path)) {
    const kept = readFileSync(path);
    try {
      if (decompress(kept).equals(body)) return kept;
    } catch {
      // It is not what it should be: made anew below.
    }
  }
  return compress(body);
}

const brotli = (body) =>
  brotliCompressSync(body, {
    params: {
      [constants.BROTLI_PARAM_QUALITY]: 11,
      [constants.BROTLI_PARAM_LGWIN]: 22,
      [constants.BROTLI_PARAM_SIZE_HINT]: body.length,
    },
  });
const gzip = (body) => gzipSync(body, { level: 9 });

function rust(names, sourcesHash, bodies) {
  const arms = names.map((name) => {
    const extension = name.includes(".") ? name.slice(name.lastIndexOf(".") + 1) : "";
    return `        "${name}" => Asset {
            body: include_bytes!("../../assets/${name}"),
            br: Some(include_bytes!("../../assets/${name}.br")),
            gz: Some(include_bytes!("../../assets/${name}.gz")),
            mime: "${MIME[extension]}",
            etag: "\\"${sha256(bodies.get(name)).slice(0, 32)}\\"",
        },
`;
  });
  return `//! The built page, as it is compiled in. Written by \`web/scripts/build.mjs\`, and not to be edited.

use super::Asset;

/// SHA-256 of \`assets/SOURCES\`, which lists the sources of these files with their hashes.
pub(super) const SOURCES_SHA256: &str =
    "${sourcesHash}";

/// The built file of this name.
pub(super) fn asset(name: &str) -> Option<Asset> {
    Some(match name {
${arms.join("")}        _ => return None,
    })
}
`;
}

function put(path, bytes) {
  if (existsSync(path) && readFileSync(path).equals(Buffer.from(bytes))) return;
  writeFileSync(path, bytes);
}

const licenceText = Buffer.from(licences());
process.env.ONSEMBL_LICENCES = sha256(licenceText).slice(0, 8);
process.env.NODE_ENV = "production";
const { build } = await import("vite");
rmSync(dist, { recursive: true, force: true });
await build({ root: web, configFile: join(web, "vite.config.ts"), logLevel: "warn", mode: "production" });

const bodies = new Map(filesUnder(dist).map((path) => [relative(dist, path).split(sep).join("/"), readFileSync(path)]));
bodies.set("LICENSES", licenceText);
const names = [...bodies.keys()].sort(byBytes);
for (const name of names) {
  if (!/^[A-Za-z0-9._-]+$/.test(name)) throw new Error(`${name}: an asset needs a plain name`);
}

mkdirSync(assets, { recursive: true });
mkdirSync(dirname(table), { recursive: true });
const written = new Map();
const sizes = { app: 0, terminal: 0 };
for (const name of names) {
  const body = bodies.get(name);
  const gz = compressed(name, body, ".gz", gzip, gunzipSync);
  written.set(name, body);
  written.set(`${name}.br`, compressed(name, body, ".br", brotli, brotliDecompressSync));
  written.set(`${name}.gz`, gz);
  const chunk = name.startsWith("terminal-") ? "terminal" : name === "LICENSES" ? null : "app";
  if (chunk !== null) sizes[chunk] += gz.length;
}
const listing = sources();
written.set("SOURCES", Buffer.from(listing));
const sums = [...written.keys()]
  .sort(byBytes)
  .map((name) => `${sha256(written.get(name))}  ${name}\n`)
  .join("");
written.set("SHA256SUMS", Buffer.from(sums));

for (const name of readdirSync(assets)) {
  if (!written.has(name)) rmSync(join(assets, name), { recursive: true });
}
for (const [name, bytes] of written) put(join(assets, name), bytes);
put(table, rust(names, sha256(listing), bodies));

let tooLarge = false;
for (const [chunk, size] of Object.entries(sizes)) {
  const limit = LIMITS[chunk];
  console.log(`${chunk}: ${size} of ${limit} bytes, gzip`);
  tooLarge ||= size > limit;
}
if (tooLarge) {
  console.error("a chunk is larger than its limit");
  process.exit(1);
}
