//! What is said of a command in each state of its lifecycle, and with its agent here, away, paused and stopped.

use crate::support::{EPOCH_MS, secs};
use onsembl_protocol::diagnosis::{
    AgentOf, Cause, CommandStep, CommandWhy, Confidence, Explanation, Finding, KnownCommand,
    LinkRead, MissingOutput, OrderInForce, Sent, Standing, WaitsFor,
};
use onsembl_protocol::fleet::CommandStage;
use onsembl_protocol::id::CommandId;
use onsembl_protocol::model::{CommandPhase, Evidence, GapCause, Stream};
use onsembl_protocol::session::PresenceStatus;
use onsembl_protocol::time::WallTime;

/// Every stage of the lifecycle; the match says when one is missing.
const STAGES: [CommandStage; 10] = [
    CommandStage::Pending,
    CommandStage::Queued,
    CommandStage::Delivered,
    CommandStage::Running,
    CommandStage::Cancelling,
    CommandStage::Completed,
    CommandStage::Failed,
    CommandStage::Cancelled,
    CommandStage::Lost,
    CommandStage::Unknown,
];

const fn index(stage: CommandStage) -> usize {
    match stage {
        CommandStage::Pending => 0,
        CommandStage::Queued => 1,
        CommandStage::Delivered => 2,
        CommandStage::Running => 3,
        CommandStage::Cancelling => 4,
        CommandStage::Completed => 5,
        CommandStage::Failed => 6,
        CommandStage::Cancelled => 7,
        CommandStage::Lost => 8,
        CommandStage::Unknown => 9,
    }
}

fn at(secs: i64) -> WallTime {
    WallTime::from_unix_millis(EPOCH_MS + secs * 1000)
}

fn agent(state: PresenceStatus) -> AgentOf {
    let presence = Explanation::without_transitions(state, at(5), "a reason".into());
    AgentOf { name: "coder".into(), presence, finding: None, order: OrderInForce::None }
}

fn standing() -> Standing {
    Standing { sent: Sent::Never, ahead: 0, occupied: 0, slots: Some(4), read: LinkRead::Read }
}

fn known(status: CommandPhase) -> KnownCommand {
    KnownCommand {
        command: CommandId::new("c1"),
        status,
        since: at(10),
        because: "the cause".into(),
        steps: Vec::new(),
        standing: Some(standing()),
        agent: Some(agent(PresenceStatus::Online)),
        busy_with: Vec::new(),
        last_output: None,
        missing: Vec::new(),
        store: None,
    }
}

fn told(known: KnownCommand) -> (Option<WaitsFor>, String, Option<String>) {
    let why = CommandWhy::of(known, at(70));
    (why.waits_for, why.summary, why.action)
}

#[track_caller]
fn assert_told(of: KnownCommand, waits_for: Option<WaitsFor>, summary: &str, action: &str) {
    let (waits, said, todo) = told(of);
    assert_eq!((waits, said.as_str()), (waits_for, summary));
    assert_eq!(todo.as_deref().unwrap_or_default(), action);
}

#[test]
fn every_state_of_the_lifecycle_is_told_and_only_what_is_not_over_waits() {
    let sents = [Sent::Never, Sent::Times(2, secs(3)), Sent::Maybe];
    let helds = [
        OrderInForce::None,
        OrderInForce::Paused { by: Some("ann".into()), since: Some(at(6)) },
        OrderInForce::Paused { by: None, since: None },
        OrderInForce::Stopped { by: "ann".into(), at: at(6), reason: "test".into() },
    ];
    for stage in STAGES {
        assert_eq!(STAGES[index(stage)], stage);
        for state in PresenceStatus::ALL {
            for (sent, held) in sents.into_iter().flat_map(|s| helds.iter().map(move |h| (s, h))) {
                for there in [true, false] {
                    let mut of = known(stage.phase());
                    of.standing = Some(Standing { sent, ..standing() });
                    of.agent = there.then(|| AgentOf { order: held.clone(), ..agent(state) });
                    let (waits_for, summary, _) = told(of);
                    assert_eq!(waits_for.is_none(), stage.is_final(), "{stage:?}: {summary}");
                    assert!(summary.ends_with('.') && !summary.contains(".."), "{summary}");
                }
            }
        }
    }
    let (waits_for, summary, _) = told(known(CommandPhase::parse("paused-by-moon")));
    assert_eq!(waits_for, None);
    assert!(summary.contains("paused-by-moon"), "{summary}");
}

#[test]
fn what_is_in_no_database_yet_says_what_keeps_that_from_taking_it() {
    let mut of = known(CommandPhase::Pending);
    of.store = Some("database busy since noon".into());
    assert_told(
        of,
        Some(WaitsFor::Store),
        "The database has not stored the command yet; it was neither accepted nor sent: database busy since noon.",
        "check the server's disk and database",
    );
}

#[test]
fn what_waits_for_its_agent_has_the_agents_own_explanation_and_what_to_do() {
    let mut of = known(CommandPhase::Queued);
    let evidence = Evidence::NONE.with("errno", "EAI_AGAIN");
    let finding = Finding::new(Cause::NameResolution, Confidence::High).on(evidence);
    of.agent = Some(AgentOf { finding: Some(finding), ..agent(PresenceStatus::Reconnecting) });
    assert_told(
        of.clone(),
        Some(WaitsFor::Agent),
        "It is queued and its agent coder is reconnecting since 2025-11-02T00:00:05.000Z: a reason (name-resolution, \
         confidence high; errno EAI_AGAIN). It will be sent when the agent is back.",
        "check the server's name and the resolver of the agent's machine",
    );
    of.standing = Some(Standing { sent: Sent::Maybe, ..standing() });
    let (_, summary, _) = told(of.clone());
    assert!(summary.contains("It may have been sent already"), "{summary}");
    of.status = CommandPhase::Running;
    let (_, summary, _) = told(of);
    assert!(summary.ends_with("reports how it ended when it is back."), "{summary}");
}

#[test]
fn what_waits_for_its_turn_says_how_many_are_before_it() {
    let mut of = known(CommandPhase::Queued);
    of.standing = Some(Standing { ahead: 2, occupied: 4, ..standing() });
    assert_told(
        of.clone(),
        Some(WaitsFor::Turn),
        "It waits for its turn: coder runs 4 of at most 4 commands, and 2 come before it.",
        "wait, or cancel a running one (`onsembl commands`)",
    );
    of.standing = Some(Standing { ahead: 0, occupied: 4, ..standing() });
    let (_, summary, _) = told(of.clone());
    assert!(summary.contains("none comes before it"), "{summary}");
    of.standing = Some(standing());
    let (_, summary, _) = told(of.clone());
    assert!(summary.contains("about to be sent"), "{summary}");
    // It was sent, and nothing came back; and what comes back comes late.
    let read = LinkRead::Paused;
    of.standing = Some(Standing { sent: Sent::Times(3, secs(4)), read, ..standing() });
    assert_told(
        of,
        Some(WaitsFor::Acknowledgement),
        "It was sent to coder 3 times, last 4s ago, and is not acknowledged yet (reading from the agent is paused until half of its output is stored, so its messages are delayed).",
        "if this lasts longer than a minute, `onsembl why coder`",
    );
}

#[test]
fn what_an_order_holds_says_whose_and_how_it_is_undone() {
    for status in [CommandPhase::Queued, CommandPhase::Delivered] {
        let mut of = known(status);
        of.agent = Some(AgentOf {
            order: OrderInForce::Paused { by: None, since: None },
            ..agent(PresenceStatus::Online)
        });
        assert_told(
            of.clone(),
            Some(WaitsFor::Resume),
            "Its agent coder is paused, and starts nothing until it is resumed.",
            "`onsembl control coder resume`",
        );
        let order = OrderInForce::Stopped { by: "ann".into(), at: at(6), reason: "rm -rf".into() };
        of.agent = Some(AgentOf { order, ..agent(PresenceStatus::Online) });
        assert_told(
            of,
            Some(WaitsFor::Release),
            "An emergency stop by ann at 2025-11-02T00:00:06.000Z (rm -rf) is in force: nothing starts.",
            "`onsembl release coder`, or `release --all`",
        );
    }
    // Of one that is away the stop is what matters: it starts nothing when it is back.
    let order = OrderInForce::Stopped { by: "ann".into(), at: at(6), reason: "test".into() };
    let mut of = known(CommandPhase::Queued);
    of.agent = Some(AgentOf { order, ..agent(PresenceStatus::Offline) });
    assert_eq!(told(of).0, Some(WaitsFor::Release));
    // A name is a peer's, and what is to be typed is a command line.
    let mut of = known(CommandPhase::Queued);
    let name = "x'; rm -rf ~ #".to_owned();
    of.agent = Some(AgentOf {
        name,
        order: OrderInForce::Paused { by: None, since: None },
        ..agent(PresenceStatus::Online)
    });
    let (_, _, action) = told(of);
    assert_eq!(action.unwrap(), r"`onsembl control 'x'\''; rm -rf ~ #' resume`");
}

#[test]
fn what_runs_says_since_when_and_when_it_last_wrote() {
    let mut of = known(CommandPhase::Running);
    let step =
        |n, status, because: &str| CommandStep { at: at(n), status, because: because.into() };
    of.steps = vec![
        step(1, CommandPhase::Queued, "waits"),
        step(2, CommandPhase::Running, "its process runs"),
        step(10, CommandPhase::Running, "the agent is back and still has it"),
    ];
    of.last_output = Some(at(66));
    of.missing = vec![
        MissingOutput { stream: Stream::Stdout, bytes: 4096, open: None },
        MissingOutput { stream: Stream::Stderr, bytes: 0, open: Some(GapCause::AgentDied) },
    ];
    let why = CommandWhy::of(of.clone(), at(70));
    assert_eq!(
        why.summary,
        "It runs on coder since 2025-11-02T00:00:02.000Z: the cause; its latest stored output came 4s ago."
    );
    assert_eq!(
        why.gaps,
        ["4096 bytes of stdout are missing", "the rest of stderr is missing: agent-died"]
    );
    let text = serde_json::to_string(&why).unwrap();
    let begin = r#"{"command_id":"c1","status":"running","since":"2025-11-02T00:00:10.000Z","waits_for":"end","summary":"It runs"#;
    assert!(text.starts_with(begin), "{text}");
    of.status = CommandPhase::Cancelling;
    assert_told(
        of,
        Some(WaitsFor::CancelConfirmation),
        "Its cancellation was requested from coder at 2025-11-02T00:00:10.000Z: the cause.",
        "`onsembl cancel --force c1` kills it without a grace period",
    );
}

#[test]
fn what_is_over_says_how_it_ended_and_what_is_left_to_do() {
    let failed = known(CommandPhase::Failed);
    assert_told(
        failed,
        None,
        "It failed (at 2025-11-02T00:00:10.000Z): the cause.",
        "look at `onsembl output c1`",
    );
    let (_, summary, action) = told(known(CommandPhase::OutcomeUnknown));
    assert!(summary.contains("is unknown") && action.is_some(), "{summary}");
    assert_eq!(told(known(CommandPhase::Completed)).2, None);
}

#[test]
fn what_it_waits_for_has_an_id_of_its_own() {
    let ids: std::collections::BTreeSet<_> = WaitsFor::ALL.map(WaitsFor::as_str).into();
    assert_eq!(ids.len(), WaitsFor::ALL.len());
}

/// Each thing that keeps a command from being started, in a line of its own.
fn obstacles(of: KnownCommand) -> Vec<(WaitsFor, String)> {
    let all = CommandWhy::of(of, at(70)).waits_on;
    all.into_iter().map(|obstacle| (obstacle.waits_for, obstacle.text)).collect()
}

#[test]
fn what_a_queued_command_waits_for_is_named_one_by_one() {
    let busy = |mut of: KnownCommand| {
        of.standing = Some(Standing { ahead: 1, occupied: 4, ..standing() });
        of.busy_with = (1..=5).map(|n| CommandId::new(format!("run-{n}"))).collect();
        of
    };
    let with = |state, order| {
        let mut of = known(CommandPhase::Queued);
        of.agent = Some(AgentOf { order, ..agent(state) });
        of
    };
    let away = "its agent coder is offline since 2025-11-02T00:00:05.000Z: a reason";
    let of = with(PresenceStatus::Offline, OrderInForce::None);
    assert_eq!(obstacles(of), [(WaitsFor::Agent, away.to_owned())]);
    let full = "its agent coder is busy with 4 of at most 4 commands: run-1, run-2, run-3, run-4 and 1 more, and one comes before it";
    let of = busy(with(PresenceStatus::Online, OrderInForce::None));
    assert_eq!(obstacles(of), [(WaitsFor::Turn, full.to_owned())]);
    let paused = OrderInForce::Paused { by: Some("ann".into()), since: Some(at(6)) };
    let held = "its agent coder is paused by ann since 2025-11-02T00:00:06.000Z; `onsembl control coder resume` ends it";
    let of = with(PresenceStatus::Online, paused.clone());
    assert_eq!(obstacles(of.clone()), [(WaitsFor::Resume, held.to_owned())]);
    assert!(told(of).1.contains("coder is paused by ann since 2025-11-02"));
    let stopped = OrderInForce::Stopped { by: "ann".into(), at: at(6), reason: "test".into() };
    let of = with(PresenceStatus::Online, stopped.clone());
    let text = "an emergency stop by ann at 2025-11-02T00:00:06.000Z (test) is in force; `onsembl release coder` ends it";
    assert_eq!(obstacles(of), [(WaitsFor::Release, text.to_owned())]);
    // More than one at once, what has to go first before the rest.
    let kinds = |of| obstacles(of).into_iter().map(|(kind, _)| kind).collect::<Vec<_>>();
    let of = busy(with(PresenceStatus::Offline, paused));
    assert_eq!(kinds(of), [WaitsFor::Agent, WaitsFor::Resume, WaitsFor::Turn]);
    let of = with(PresenceStatus::Offline, stopped);
    assert_eq!(kinds(of), [WaitsFor::Release, WaitsFor::Agent]);
    // Nothing keeps it, and what runs waits for nothing.
    assert_eq!(kinds(with(PresenceStatus::Online, OrderInForce::None)), []);
    let mut runs = busy(with(PresenceStatus::Offline, OrderInForce::None));
    runs.status = CommandPhase::Running;
    assert_eq!(kinds(runs), []);
}
