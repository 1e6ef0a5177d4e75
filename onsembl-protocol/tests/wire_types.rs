//! The types of the wire for the page, `onsembl-server-ref/web/src/wire.gen.ts`, written from the Rust types: everything
//! that a dashboard sends and receives, with the words of its enumerations, the causes and the close codes.
//!
//! After a change of the wire: `ONSEMBL_BLESS=1 cargo test -p onsembl-protocol --test wire_types`, then build the page
//! (docs/PAGE.md). Without the sources of the page nothing is compared.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "wire_types/shapes.rs"]
mod shapes;

use onsembl_protocol::close::CloseCause;
use onsembl_protocol::model::Cause;
use shapes::{Message, Shapes};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const HEAD: &str = "// Types of the dashboard's wire (docs/PROTOCOL.md), by the names of the Rust types. Written by a test \
of onsembl-protocol,\n// `wire_types`; not to be edited.\n\n\
/** RFC 3339 in UTC. */\nexport type Rfc3339 = string;\n\
/** Milliseconds since the Unix epoch. */\nexport type Millis = number;\n\
/** A word of a set that later versions may extend. */\n\
export type Word<T extends string> = T | (string & {});\n\
/** A value of the evidence of a statement. */\nexport type EvidenceValue = string | number | boolean;\n\
export type Evidence = Record<string, EvidenceValue>;\n\n";

fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../onsembl-server-ref/web")
}

/// The file as it is to be.
fn written() -> String {
    let shapes = Shapes::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let sets = ["DashboardToServer", "ServerToDashboard"].map(|name| (name, shapes.messages(name)));
    let (mut open, mut seen) = (Vec::new(), BTreeSet::new());
    open.extend(sets.iter().flat_map(|(_, set)| set.iter().map(|m| m.payload.clone())));
    open.push("PresenceStatus".to_owned());
    let mut types = Vec::new();
    while let Some(name) = open.pop() {
        if seen.insert(name.clone()) {
            let (text, needs) = shapes.declaration(&name);
            open.extend(needs);
            types.push((name, text));
        }
    }
    types.sort();
    let mut text = HEAD.to_owned();
    for (_, declaration) in types {
        let _ = writeln!(text, "{declaration}");
    }
    for (name, set) in sets {
        let of = if name == "DashboardToServer" { "sends" } else { "receives" };
        let _ =
            writeln!(text, "/** What a dashboard {of}, by `type`. */\nexport interface {name} {{");
        for Message { kind, payload } in set {
            let _ = writeln!(text, "  {kind}: {payload};");
        }
        text.push_str("}\n\n");
    }
    text.push_str(
        "export interface Envelope<T extends string, P> {\n  type: T;\n  id?: string;\n  timestamp?: Millis;\n  payload: P;\n}\n\n",
    );
    text.push_str("/** Why a link was closed, by code. */\nexport const CLOSE_CODES: Readonly<Record<number, string>> = {\n");
    for cause in CloseCause::ALL {
        let _ = writeln!(text, "  {}: {},", cause.code().0, json(&cause.to_string()));
    }
    text.push_str("};\n\n/** The ids of causes. */\nexport type Cause = Word<\n");
    for cause in Cause::ALL {
        let _ = writeln!(text, "  | {}", json(cause.as_str()));
    }
    text.push_str(
        ">;\n\n/** Causes by id: what happened, and what its reader can do about it. */\n\
         export const CAUSES: Readonly<Record<string, { readonly text: string; readonly action: string }>> = {\n",
    );
    for cause in Cause::ALL {
        let (id, told, action) = (json(cause.as_str()), json(cause.text()), json(cause.action()));
        let _ = writeln!(text, "  {id}: {{ text: {told}, action: {action} }},");
    }
    text.push_str("};\n");
    text
}

fn json(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

#[test]
fn the_page_has_the_types_of_this_wire() {
    let (text, path) = (written(), page().join("src/wire.gen.ts"));
    if !page().join("package.json").exists() {
        return;
    }
    if std::env::var_os("ONSEMBL_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let known = std::fs::read_to_string(&path).unwrap();
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    let (is, has) = (lines(&text), lines(&known));
    let (new, gone): (Vec<_>, Vec<_>) =
        (is.difference(&has).collect(), has.difference(&is).collect());
    assert!(text == known, "bless it (see the head of this test). New: {new:#?} gone: {gone:#?}");
}

#[test]
fn every_type_that_a_dashboard_meets_is_written() {
    let text = written();
    for part in [
        "export interface AgentStatus {\n",
        "  agentId: string;\n",
        "  presenceVersion?: number;\n",
        "  status: PresenceStatus;\n",
        "  lastPing?: Rfc3339 | null;\n",
        "  completedAt?: Millis;\n",
        "export type CommandPhase = Word<",
        "  | \"READ_ONLY\"\n",
        "  DASHBOARD_INIT: DashboardInit;\n",
        "  TERMINAL_STREAM: TerminalStream;\n",
        "  if?: TypeIf;\n",
        "  holder: string;\n",
        "  4201: ",
        "\"heartbeat-not-recorded\": {",
    ] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
    assert!(!text.contains("any;"), "{text}");
}
