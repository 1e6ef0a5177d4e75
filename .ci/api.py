"""Reads what rustdoc writes as JSON of one crate, and prints its public items or the types of other crates in them."""

import json
import sys

# The formats that were seen; another one is looked at all the same, and said.
FORMATS = range(40, 60)

OURS = {"onsembl_protocol", "onsembl_transport", "onsembl_server_ref", "onsembl_agent_ref"}
STANDARD = {"core", "alloc", "std"}
ALLOWED = {
    "serde", "serde_core", "serde_json", "thiserror", "async_trait", "futures", "futures_core", "tokio",
    "tokio_tungstenite", "bytes", "proptest",
}
# What else may be seen where, and why.
EXCEPTIONS = {
    ("onsembl_transport", "rustls"): "TlsConfig::from_rustls, and the module that re-exports its version",
    ("onsembl_transport", "tracing_subscriber"): "the filter and the layer of logs (feature logging)",
    ("onsembl_transport", "tracing_core"): "the same",
    ("onsembl_server_ref", "axum"): "Server::router, which is for services of axum",
    ("onsembl_server_ref", "ipnet"): "ServerOptions::trusted_proxies; re-exported as server::IpNet",
    ("onsembl_server_ref", "rusqlite"): "what caused a StoreError: embedders of the store look at it",
    ("onsembl_server_ref", "rusqlite_migration"): "the same",
    ("onsembl_server_ref", "clap"): "the command line of the program",
    ("onsembl_server_ref", "clap_builder"): "the same",
    ("onsembl_agent_ref", "clap"): "the command line of the program",
    ("onsembl_agent_ref", "clap_builder"): "the same",
    ("onsembl_server_ref", "anyhow"): "the command line of the program",
    ("onsembl_agent_ref", "anyhow"): "the command line of the program",
}


class Crate:
    def __init__(self, path):
        with open(path, encoding="utf-8") as file:
            self.doc = json.load(file)
        if self.doc["format_version"] not in FORMATS:
            print(f"note: format {self.doc['format_version']} of rustdoc is new here", file=sys.stderr)
        self.index, self.paths = self.doc["index"], self.doc["paths"]
        self.name = self.index[str(self.doc["root"])]["name"]
        self.found, self.foreign = [], {}
        self.seen, self.kinds = set(), {}

    def walk(self):
        self.item(self.doc["root"], "")
        return self

    def item(self, number, within):
        item = self.index.get(str(number))
        if item is None:
            return
        (kind, inner), = item["inner"].items()
        name = item["name"]
        if kind == "use":
            if inner.get("is_glob") or inner.get("id") is None:
                return
            target = self.index.get(str(inner["id"]))
            if target is None:
                self.note(inner["id"], f"{within}::{inner['name']}")
                return
            return self.named(target, inner["name"], within)
        self.named(item, name, within)

    def named(self, item, name, within):
        (kind, inner), = item["inner"].items()
        path = f"{within}::{name}" if within else name
        key = (item["id"], path)
        if key in self.seen or "doc(hidden)" in "".join(map(str, item.get("attrs", []))):
            return
        self.seen.add(key)
        if kind == "impl":
            return self.implementation(inner, within)
        self.found.append(f"{kind} {path}")
        self.kinds[item["id"]] = kind
        if kind == "module":
            for child in inner["items"]:
                self.item(child, path)
            return
        children = []
        if kind == "struct":
            shape = inner["kind"]
            if isinstance(shape, dict):
                plain = shape.get("plain", {}).get("fields", []) if "plain" in shape else shape.get("tuple", [])
                children += [child for child in plain if child is not None]
        elif kind == "enum":
            children += inner["variants"]
        elif kind == "variant":
            shape = inner["kind"]
            if isinstance(shape, dict):
                fields = shape["struct"]["fields"] if "struct" in shape else shape["tuple"]
                children += [child for child in fields if child is not None]
        elif kind == "trait":
            children += inner["items"]
        for child in children:
            self.item(child, path)
        for child in inner.get("impls", []) if isinstance(inner, dict) else []:
            self.item_of_impl(child, path)
        if kind in ("function", "struct_field", "type_alias", "constant", "static", "assoc_type", "assoc_const"):
            self.types(inner, path)
        elif isinstance(inner, dict) and kind in ("struct", "enum", "trait"):
            self.types({k: inner.get(k) for k in ("generics", "bounds")}, path)

    def item_of_impl(self, number, path):
        item = self.index.get(str(number))
        if item is not None:
            self.implementation(item["inner"]["impl"], path)

    def implementation(self, inner, path):
        # What is derived, or implemented for everything, is no choice of ours; a conversion from a type of others is.
        if inner["is_synthetic"] or inner["blanket_impl"] is not None:
            return
        if inner["trait"] is not None:
            self.found.append(f"impl {inner['trait']['path']} for {path}")
            self.types(inner["trait"].get("args"), f"impl {inner['trait']['path']} for {path}")
            return
        for child in inner["items"]:
            self.item(child, path)

    def types(self, part, path):
        if isinstance(part, list):
            for each in part:
                self.types(each, path)
        elif isinstance(part, dict):
            resolved = part.get("resolved_path") or part.get("trait")
            if isinstance(resolved, dict) and "id" in resolved:
                self.note(resolved["id"], path)
            for each in part.values():
                self.types(each, path)

    def note(self, number, path):
        known = self.paths.get(str(number))
        if known is None:
            return
        crate = known["path"][0]
        if crate in OURS or crate in STANDARD or crate in ALLOWED or (self.name, crate) in EXCEPTIONS:
            return
        self.foreign.setdefault("::".join(known["path"]), set()).add(path)


def main(what, path):
    crate = Crate(path).walk()
    if what == "list":
        print("\n".join(sorted(set(crate.found))))
        return 0
    if what == "count":
        # Each once, by however many paths it is reached.
        kinds = list(crate.kinds.values())
        types = sum(kinds.count(kind) for kind in ("struct", "enum", "trait", "type_alias"))
        print(f"{crate.name}: {types} types, {kinds.count('function')} functions")
        return 0
    for foreign, places in sorted(crate.foreign.items()):
        print(f"{crate.name} shows {foreign} in {', '.join(sorted(places)[:6])}", file=sys.stderr)
    print(f"{crate.name}: {len(set(crate.found))} public items")
    return 1 if crate.foreign else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
