//! How a graph is written: as a diagram, as a table, as plain text for rustdoc.

use std::collections::{BTreeMap, BTreeSet};

/// A graph in words.
pub(super) struct Graph {
    pub(super) begins: &'static str,
    pub(super) ends: &'static str,
    pub(super) statuses: Vec<&'static str>,
    /// Word and meaning.
    pub(super) causes: Vec<(&'static str, &'static str)>,
    /// From, cause, to; in the order in which they are published.
    pub(super) edges: Vec<[&'static str; 3]>,
}

impl Graph {
    /// Causes that lead from everywhere to one status; no diagram is readable with them.
    fn everywhere(&self) -> Vec<(&'static str, &'static str)> {
        let others = |to| self.statuses.iter().copied().filter(move |s| *s != to);
        let leads = |cause, to| others(to).all(|from| self.edges.contains(&[from, cause, to]));
        self.causes
            .iter()
            .flat_map(|(cause, _)| self.statuses.iter().map(move |to| (*cause, *to)))
            .filter(|(cause, to)| leads(*cause, *to))
            .collect()
    }

    /// The causes of each arrow.
    fn arrows(&self) -> BTreeMap<(usize, usize), Vec<&'static str>> {
        let position =
            |word: &str| self.statuses.iter().position(|s| *s == word).expect("a status");
        let left_out: BTreeSet<_> = self.everywhere().into_iter().collect();
        let mut arrows: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for [from, cause, to] in &self.edges {
            if !left_out.contains(&(*cause, *to)) {
                arrows.entry((position(from), position(to))).or_default().push(*cause);
            }
        }
        arrows
    }
}

/// A mermaid diagram, with a sentence for what is not drawn.
pub(super) fn diagram(graph: &Graph) -> String {
    let id = |word: &str| word.replace('-', "_");
    let mut out = String::from("```mermaid\nstateDiagram-v2\n");
    for word in graph.statuses.iter().filter(|word| word.contains('-')) {
        out += &format!("    state \"{word}\" as {}\n", id(word));
    }
    out += &format!("    [*] --> {}\n", id(graph.begins));
    for ((from, to), causes) in graph.arrows() {
        let (from, to) = (id(graph.statuses[from]), id(graph.statuses[to]));
        out += &format!("    {from} --> {to}: {}\n", causes.join(", "));
    }
    out += &format!("    {} --> [*]\n```\n", id(graph.ends));
    for (cause, to) in graph.everywhere() {
        out += &format!("\nNot drawn: `{cause}` leads from every other status to `{to}`.\n");
    }
    out
}

fn tables(graph: &Graph) -> String {
    let mut out = String::from("| from | cause | to |\n| --- | --- | --- |\n");
    for from in &graph.statuses {
        for [_, cause, to] in graph.edges.iter().filter(|[f, ..]| f == from) {
            out += &format!("| `{from}` | `{cause}` | `{to}` |\n");
        }
    }
    out += "\n| cause | what it is |\n| --- | --- |\n";
    for (cause, text) in &graph.causes {
        out += &format!("| `{cause}` | {text} |\n");
    }
    out
}

/// A list by status, for documentation without diagrams.
pub(super) fn text(graph: &Graph) -> String {
    let mut out = String::from("```text\n");
    for from in &graph.statuses {
        let mut name = *from;
        for [_, cause, to] in graph.edges.iter().filter(|[f, ..]| f == from) {
            out += &format!("{name:<12} --{cause}--> {to}\n");
            name = "";
        }
    }
    out += "```\n";
    out
}

pub(super) fn document(
    (agent, presence): (&Graph, &Graph),
    (accepted, counts): (&Graph, &str),
    (dashboard, dashboard_counts): (&Graph, &str),
) -> String {
    format!(
        "\
# States

The states of the machines of a connection, and every way from one to another. This file is written by
a test, which sends every event and every wake-up into each machine in every state it can reach,
and fails when an edge is missing here or when none of the machines goes along one. After a change:

```sh
ONSEMBL_BLESS=1 cargo test -p onsembl-protocol --test it machines::graph
```

Programs have the same edges as `onsembl_protocol::session::AGENT_EDGES`, `PRESENCE_EDGES`,
`ACCEPTED_EDGES` and `DASHBOARD_EDGES`. What each event does in each state, with actions and deadlines, is in the snapshots in
`onsembl-protocol/tests/it/machines/snapshots/`. The times are in [DEFAULTS.md](DEFAULTS.md).

## The agent

`AgentConnection`, by the names of `onsembl-agent status`. The machine begins as `idle`; after `closed` it
does nothing more.

{}
{}
## An agent on its server

`ServerConnection`, by the names of the API ([PROTOCOL.md](PROTOCOL.md), P-62). A machine begins as
`offline`, before its first report. When it is `offline` again, it is forgotten: an agent that comes back
gets a new one. An edge from a status to itself is a presence published again with a greater version.

{}
{}
## A link that a server accepted

`AcceptedLink`. It begins before anybody knows whose link it is, and says what each frame on it counts as. A
link may be over in every status. A close that the agent's machine or the owner of the server orders is not
shown: what has arrived before it still counts.

{}
{}
What each frame counts as:

{counts}
## A dashboard's link

`DashboardLink`. It begins with a token whose user is known, and a link that is closed begins anew: there is no session
to come back to. While it is `open` it is not read when it takes no answers, or when too much is under way.

{}
{}
What each frame counts as:

{dashboard_counts}",
        diagram(agent),
        tables(agent),
        diagram(presence),
        tables(presence),
        diagram(accepted),
        tables(accepted),
        diagram(dashboard),
        tables(dashboard),
    )
}

const BEGIN: &str = "<!-- The graph of the agent, written by a test; see docs/STATES.md. -->\n";
const END: &str = "<!-- End of the graph. -->\n";

/// Puts `text` between the marks.
pub(super) fn between_marks(document: &str, text: &str) -> String {
    let (before, rest) = document.split_once(BEGIN).expect("the mark where the graph begins");
    let (_, after) = rest.split_once(END).expect("the mark where the graph ends");
    format!("{before}{BEGIN}{text}{END}{after}")
}
