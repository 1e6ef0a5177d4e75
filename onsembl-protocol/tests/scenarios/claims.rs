//! Whose tokens may speak for an agent: what a token of another lineage gets, and what it does not touch.

use super::bench::Bench;
use super::server::{Down, Sent};
use onsembl_protocol::close::CloseCause;
use onsembl_protocol::fleet::{
    Bearer, Candidate, Claim, Door, FleetAction, FleetEvent, FleetLimits, Request, TokenScope,
    choose_agent,
};
use onsembl_protocol::id::{
    AgentId, AgentKey, InstanceId, LineageId, LinkId, PresenceVersion, TokenId,
};
use onsembl_protocol::model::{AGENT_FEATURES, StopScope};
use onsembl_protocol::wire::payload::{
    AgentConnect, AgentExtensions, AgentType, LegacyCapabilities,
};
use std::collections::BTreeMap;
use std::time::Duration;

fn any(lineage: &str) -> Option<Bearer> {
    with(lineage, TokenScope::Any)
}

fn with(lineage: &str, scope: TokenScope) -> Option<Bearer> {
    let token = TokenId::new(format!("token of {lineage}"));
    Some(Bearer { token, lineage: LineageId::new(lineage), scope })
}

/// An agent of ours says its key.
fn ours(key: &str, name: &str) -> AgentConnect {
    let extensions = AgentExtensions {
        features: AGENT_FEATURES.to_vec(),
        agent_key: AgentKey::new(key),
        instance: InstanceId::new(key),
        probe: false,
        commands: Vec::new(),
        journal: None,
        max_parallel: None,
        stop_id: None,
    };
    AgentConnect { extensions: Some(extensions), ..wrapper("unused", Some(name)) }
}

/// A wrapper says an id, and perhaps a name.
fn wrapper(id: &str, name: Option<&str>) -> AgentConnect {
    AgentConnect {
        agent_id: id.to_owned(),
        name: name.map(str::to_owned),
        agent_type: AgentType::Custom,
        version: None,
        host_machine: None,
        capabilities: LegacyCapabilities::default(),
        extensions: None,
    }
}

fn bench() -> Bench {
    Bench::new(FleetLimits::DEFAULT)
}

/// It is welcomed, and which agent it is.
fn welcomed(bench: &mut Bench, hello: AgentConnect, bearer: Option<Bearer>) -> (LinkId, AgentId) {
    let (link, agent) = bench.comes(hello, bearer);
    let _ = bench.take_sent();
    (link, agent.expect("it is welcomed"))
}

/// It is refused, and all that is said or shown of anybody is that.
fn refused(bench: &mut Bench, hello: AgentConnect, bearer: Option<Bearer>) {
    let _ = bench.take_sent();
    let asked = format!("{hello:?}");
    let (link, agent) = bench.comes(hello, bearer);
    assert_eq!(agent, None, "{asked}");
    let sent = bench.take_sent();
    assert!(
        matches!(
            sent.as_slice(),
            [Sent::Down(to, Down::Closed(CloseCause::TokenExpired))] if *to == link
        ),
        "{sent:?}"
    );
}

fn holder(bench: &Bench, agent: &AgentId) -> Option<Claim> {
    bench.server.view().agents()[agent].claim.clone()
}

fn status(bench: &Bench, agent: &AgentId) -> &'static str {
    bench.server.view().agents()[agent].presence.status.as_str()
}

/// Whom a command by this name goes to.
fn called(bench: &Bench, name: &str) -> Result<AgentId, String> {
    let candidates: Vec<_> = bench
        .server
        .view()
        .agents()
        .iter()
        .map(|(id, agent)| Candidate {
            id,
            name: &agent.name,
            aliases: &agent.aliases,
            available: agent.presence.status.as_str() == "online",
            lineage: agent.claim.as_ref().map(|claim| &claim.lineage),
        })
        .collect();
    choose_agent(Some(&AgentId::new(name)), &candidates).cloned().map_err(|e| e.to_string())
}

#[test]
fn another_lineage_takes_over_neither_by_key_nor_by_id_nor_by_name() {
    let mut bench = bench();
    let (_, a1) = welcomed(&mut bench, ours("key", "a1"), any("mine"));
    let (_, old) = welcomed(&mut bench, wrapper("claude-1", Some("w1")), any("mine"));
    for hello in [
        ours("key", "a1"),
        wrapper(a1.as_str(), None),
        wrapper(old.as_str(), None),
        wrapper("claude-9", Some("w1")),
    ] {
        refused(&mut bench, hello, any("leaked"));
    }
    assert_eq!((status(&bench, &a1), status(&bench, &old)), ("online", "online"));
    // Nor when the agent is away, or another run of the server knows it.
    bench.restart();
    refused(&mut bench, ours("key", "a1"), any("leaked"));
    refused(&mut bench, wrapper(old.as_str(), None), any("leaked"));
    let (_, same) = welcomed(&mut bench, ours("key", "a1"), any("mine"));
    assert_eq!(same, a1);
}

#[test]
fn commands_for_an_agent_do_not_go_to_who_goes_by_its_name() {
    let mut bench = bench();
    let (_, a1) = welcomed(&mut bench, ours("key", "a1"), any("mine"));
    let (_, rogue) = welcomed(&mut bench, wrapper("a1", Some("harmless")), any("leaked"));
    assert_ne!(rogue, a1);
    assert_eq!(called(&bench, "a1"), Ok(a1.clone()));
    assert!(bench.server.view().agents()[&rogue].aliases.is_empty(), "nor is it remembered");
    // Also not by one that was there before the agent took its name.
    let (_, early) = welcomed(&mut bench, wrapper("a2", Some("early")), any("leaked"));
    assert_eq!(called(&bench, "a2"), Ok(early.clone()), "nobody else is called so");
    let (_, a2) = welcomed(&mut bench, ours("key 2", "a2"), any("mine"));
    assert_eq!(called(&bench, "a2"), Ok(a2));
    assert!(bench.server.view().agents()[&early].aliases.is_empty());
    // Who takes the name itself makes it ambiguous, also while the agent is away.
    let (_, _) = welcomed(&mut bench, ours("key 3", "a1"), any("leaked"));
    assert!(called(&bench, "a1").is_err());
}

#[test]
fn agents_of_an_earlier_version_are_claimed_by_the_first_that_comes() {
    let mut bench = bench();
    let (link, agent) = welcomed(&mut bench, ours("key", "a1"), None);
    assert_eq!(holder(&bench, &agent), None);
    bench.cut(link);
    bench.restart();
    let (_, same) = welcomed(&mut bench, ours("key", "a1"), any("first"));
    assert_eq!(same, agent);
    assert_eq!(holder(&bench, &agent).unwrap().lineage, LineageId::new("first"));
    refused(&mut bench, ours("key", "a1"), any("second"));
}

#[test]
fn a_peer_that_a_service_vouches_for_is_let_in_and_claims_nothing() {
    let mut bench = bench();
    let (_, agent) = welcomed(&mut bench, ours("key", "a1"), any("mine"));
    let before = holder(&bench, &agent);
    let (_, same) = welcomed(&mut bench, ours("key", "a1"), None);
    assert_eq!((same, holder(&bench, &agent)), (agent.clone(), before));
}

#[test]
fn a_renewed_token_of_the_lineage_goes_on_with_the_agent() {
    let mut bench = bench();
    let (_, agent) = welcomed(&mut bench, ours("key", "a1"), any("mine"));
    let newer = Bearer { token: TokenId::new("newer"), ..any("mine").unwrap() };
    let (_, same) = welcomed(&mut bench, ours("key", "a1"), Some(newer));
    assert_eq!(same, agent);
    assert_eq!(holder(&bench, &agent).unwrap().token, TokenId::new("newer"));
}

#[test]
fn a_token_for_an_agent_that_exists_passes_it_on_under_whichever_key() {
    for key in ["key", "a new key"] {
        let mut bench = bench();
        let (_, agent) = welcomed(&mut bench, ours("key", "a1"), any("old"));
        let heir = with("new", TokenScope::Heir(agent.clone()));
        let (_, same) = welcomed(&mut bench, ours(key, "a1"), heir);
        assert_eq!(same, agent, "{key}");
        assert_eq!(bench.server.view().agents().len(), 1);
        assert_eq!(holder(&bench, &agent).unwrap().lineage, LineageId::new("new"));
        assert_eq!(status(&bench, &agent), "online");
        refused(&mut bench, ours(key, "a1"), any("old"));
        let bound = with("new", TokenScope::Bound(agent.clone()));
        let (_, same) = welcomed(&mut bench, ours(key, "a1"), bound.clone());
        assert_eq!(same, agent);
        refused(&mut bench, ours("copied elsewhere", "a1"), bound.clone());
        refused(&mut bench, wrapper(agent.as_str(), None), bound);
    }
}

#[test]
fn a_wrapper_in_session_is_passed_on_whatever_the_heir_calls_itself() {
    for name in [None, Some("another name")] {
        let mut bench = bench();
        let (_, agent) = welcomed(&mut bench, wrapper("claude-x", Some("w")), any("old"));
        let heir = with("new", TokenScope::Heir(agent.clone()));
        let (_, same) = welcomed(&mut bench, wrapper("claude-x", name), heir);
        assert_eq!((same, bench.server.view().agents().len()), (agent, 1));
    }
}

#[test]
fn an_heir_takes_its_agent_and_no_other() {
    let mut bench = bench();
    let (_, one) = welcomed(&mut bench, ours("key 1", "a1"), any("old"));
    let (_, _two) = welcomed(&mut bench, ours("key 2", "a2"), any("old"));
    refused(&mut bench, ours("key 2", "a1"), with("new", TokenScope::Heir(one)));
}

#[test]
fn a_token_for_a_new_agent_is_for_that_name_and_gives_it() {
    let mut bench = bench();
    let made = || with("one", TokenScope::New("a1".to_owned()));
    refused(&mut bench, ours("key", "other"), made());
    let nameless = AgentConnect { name: None, ..ours("key", "") };
    let (_, agent) = welcomed(&mut bench, nameless, made());
    assert_eq!(bench.server.view().agents()[&agent].name, "a1");
}

#[test]
fn a_wrapper_is_bound_by_its_name_or_by_the_id_that_it_was_taught() {
    let mut bench = bench();
    let (link, agent) = welcomed(
        &mut bench,
        wrapper("claude-1", None),
        with("one", TokenScope::New("w".to_owned())),
    );
    let bound = || with("one", TokenScope::Bound(agent.clone()));
    for hello in [
        wrapper(agent.as_str(), None),
        wrapper("claude-2", None),
        wrapper("claude-3", Some("w")),
        wrapper(agent.as_str(), Some("w")),
    ] {
        let (_, same) = welcomed(&mut bench, hello, bound());
        assert_eq!(same, agent);
    }
    refused(&mut bench, wrapper("claude-1", Some("two")), bound());
    refused(&mut bench, wrapper("claude-1", Some("w")), any("two"));
    // Its own id alone says nothing to who holds nothing: that is another wrapper.
    let (_, other) = welcomed(&mut bench, wrapper("claude-3", Some("x")), any("two"));
    assert_ne!(other, agent);
    bench.cut(link);
}

#[test]
fn two_tokens_at_one_moment_do_not_share_an_agent_that_is_new() {
    let mut bench = bench();
    let hello = |bench: &mut Bench, link, lineage| {
        bench.server.on_hello(LinkId(link), ours("key", "a1"), any(lineage), bench.at);
    };
    hello(&mut bench, 901, "one");
    hello(&mut bench, 902, "two");
    bench.calm();
    let sent = bench.take_sent();
    let is_welcome = |sent: &&Sent| matches!(sent, Sent::Down(_, Down::Welcome { .. }));
    let welcomed: Vec<_> = sent.iter().filter(is_welcome).collect();
    assert!(
        matches!(welcomed.as_slice(), [Sent::Down(LinkId(901), _)]),
        "the first one only: {welcomed:?}"
    );
}

#[test]
fn the_door_is_open_to_the_lineage_that_holds_the_agent() {
    let mut bench = bench();
    let (_, agent) = welcomed(&mut bench, wrapper("claude-1", Some("w")), any("mine"));
    let other = AgentId::new("somebody");
    let view = bench.server.view();
    let door = |named: &AgentId, bearer: Option<Bearer>| view.door(named, bearer.as_ref());
    let beside = Door::Beside { agent: agent.clone(), room: 4 };
    assert_eq!(door(&agent, any("mine")), beside);
    assert_eq!(door(&agent, None), beside, "the service vouches");
    assert_eq!(door(&other, any("leaked")), Door::Open);
    let Door::Denied(why) = door(&agent, any("leaked")) else { panic!("it is let in") };
    assert!(why.contains("token of mine"), "the holder is named: {why}");
    let bound = with("mine", TokenScope::Bound(other.clone()));
    assert!(matches!(door(&agent, bound), Door::Denied(_)));
    // By an id that both may have made themselves, it names nobody whom this token could mean.
    assert_eq!(door(&AgentId::new("claude-1"), any("leaked")), Door::Open);
}

#[test]
fn no_silent_link_of_another_lineage_is_kept_beside_a_session() {
    let mut bench = bench();
    let (_, agent) = welcomed(&mut bench, wrapper("claude-1", Some("w")), any("mine"));
    for (named, bearer, kept) in [
        (agent.as_str(), any("leaked"), false),
        ("claude-1", any("leaked"), false),
        (agent.as_str(), any("mine"), true),
        ("claude-1", any("mine"), true),
    ] {
        let silent = FleetEvent::Silent { link: LinkId(999), named: AgentId::new(named), bearer };
        let fleet = &mut bench.server.fleet;
        fleet.handle(silent, super::now(bench.at));
        let actions: Vec<FleetAction> = std::iter::from_fn(|| fleet.poll_action()).collect();
        let is_kept = actions.iter().any(|action| matches!(action, FleetAction::Park { .. }));
        assert_eq!(is_kept, kept, "{named}: {actions:?}");
    }
}

#[test]
fn no_stop_is_put_in_force_for_an_agent_that_is_deleted() {
    let mut bench = bench();
    let (_, agent) = welcomed(&mut bench, ours("key", "a1"), any("mine"));
    bench.request(Request::DeleteAgent(agent.clone()));
    // The store has deleted it, and its machine is not gone yet.
    let health = super::store::Health::Works;
    bench.server.answer(0, &mut bench.store, health, bench.at);
    bench.server.settle(bench.at);
    let scope = StopScope::Agent(agent);
    bench.request(Request::Stop { scope, reason: "late".to_owned() });
    bench.calm();
    assert_eq!((bench.server.fleet.size().stops, bench.store.stops.len()), (0, 0));
}

/// A generator of its own: worlds are to be the same under every version of a library.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

/// Everybody says anything with any token, links end, and the server dies. Whatever the order: an agent is
/// held by who had it first, a refusal touches nobody, and no id of somebody's own making is a name.
#[test]
fn whoever_says_whatever_an_agent_stays_with_those_who_hold_it() {
    for seed in 0..300 {
        let mut draw = Draw(seed);
        let mut bench = bench();
        let mut holders: BTreeMap<AgentId, &str> = BTreeMap::new();
        let mut links = Vec::new();
        let (mut in_, mut out) = (0, 0);
        for _ in 0..60 {
            bench.at += Duration::from_millis(1 + draw.below(400) as u64);
            let known: Vec<AgentId> = bench.server.view().agents().keys().cloned().collect();
            let lineage = ["one", "two", "three"][draw.below(3)];
            let name = ["a", "b", "c"][draw.below(3)];
            let hello = match draw.below(8) {
                0..3 => ours(&format!("key {}", draw.below(3)), name),
                3 => wrapper(["a", "b", "x", "y"][draw.below(4)], Some(name)),
                4 => wrapper(["a", "b", "x", "y"][draw.below(4)], None),
                5 if !known.is_empty() => wrapper(known[draw.below(known.len())].as_str(), None),
                6 if !links.is_empty() => {
                    bench.cut(links.swap_remove(draw.below(links.len())));
                    bench.calm();
                    continue;
                }
                7 if draw.below(4) == 0 => {
                    bench.restart();
                    links.clear();
                    continue;
                }
                _ => ours("key of its own", "d"),
            };
            let _ = bench.take_sent();
            let (link, agent) = bench.comes(hello.clone(), any(lineage));
            let sent = bench.take_sent();
            match agent {
                Some(agent) => {
                    in_ += 1;
                    links.push(link);
                    let held = *holders.entry(agent.clone()).or_insert(lineage);
                    assert_eq!(held, lineage, "seed {seed}: {hello:?} took over {agent}");
                }
                None => {
                    out += 1;
                    let only =
                        matches!(sent.as_slice(), [Sent::Down(to, Down::Closed(_))] if *to == link);
                    assert!(only, "seed {seed}: a refusal of {hello:?} did more: {sent:?}");
                }
            }
            let agents = bench.server.view().agents();
            for (id, agent) in agents {
                assert!(agent.presence.version >= PresenceVersion(0));
                let is_name = |alias: &AgentId| {
                    agents.iter().any(|(other, it)| other != id && it.name == alias.as_str())
                };
                assert!(!agent.aliases.iter().any(is_name), "seed {seed}: {agents:#?}");
                let held = agent.claim.as_ref().map(|claim| claim.lineage.as_str());
                assert_eq!(held, holders.get(id).copied(), "seed {seed}");
            }
        }
        assert!(in_ > 5 && out > 5, "seed {seed}: {in_} came in and {out} did not");
    }
}
