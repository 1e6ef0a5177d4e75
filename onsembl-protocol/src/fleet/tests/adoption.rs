//! Commands that an agent has and the database does not.

use super::kit::{Kit, STDOUT, complete, hello};
use crate::fleet::*;
use crate::id::{AgentId, ByteOffset, ChunkSequence, CommandId, Incarnation, StopId};
use crate::model::{CommandAckStatus, StopScope};
use crate::output::StoredBody;
use crate::wire::AgentToServer;
use crate::wire::payload::{
    AgentConnect, CommandAck, CommandCancel, OutputContent, TerminalOutput,
};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

fn ack(id: &str, status: CommandAckStatus) -> AgentToServer {
    let command_id = CommandId::new(id);
    AgentToServer::CommandAck(CommandAck {
        command_id,
        agent_id: None,
        status,
        queue_position: None,
        waits_for: None,
        line_idle_ms: None,
        unstored: false,
    })
}

fn output(id: &str, offset: u64, bytes: &'static [u8]) -> AgentToServer {
    AgentToServer::Output(TerminalOutput {
        command_id: CommandId::new(id),
        agent_id: None,
        stream: STDOUT.into(),
        content: OutputContent::Bytes(Bytes::from_static(bytes)),
        sequence: Some(ChunkSequence(9)),
        offset: Some(ByteOffset(offset)),
        incarnation: Some(Incarnation(1)),
    })
}

/// A fleet whose database was lost, and an agent that comes with these commands.
fn lost(commands: &[&str], limits: FleetLimits) -> Kit {
    let mut kit = Kit::new(limits);
    kit.hello(1, hello("p", "a", commands));
    kit
}

fn row(kit: &mut Kit, id: &str, agent: &str, stage: CommandStage) {
    let request = crate::wire::payload::CommandRequest::new(
        CommandId::new(id),
        AgentId::new(agent),
        String::from("text"),
    );
    let at = kit.now().wall;
    let record = CommandRecord {
        request: Box::new(request),
        command: CommandId::new(id),
        agent: AgentId::new(agent),
        origin: CommandOrigin::User,
        stage,
        cause: None,
        exit: None,
        created_at: at,
        updated_at: at,
        ended_at: stage.is_final().then_some(at),
    };
    let _ = kit.rows.insert(CommandId::new(id), record);
}

#[test]
fn a_command_that_is_not_known_is_adopted_runs_on_and_ends() {
    let mut kit = lost(&["c"], FleetLimits::DEFAULT);
    assert_eq!(kit.stage("c"), Some(CommandStage::Delivered));
    kit.say(ack("c", CommandAckStatus::Executing));
    assert_eq!(kit.stage("c"), Some(CommandStage::Running));
    let row = kit.rows.get(&CommandId::new("c")).cloned().unwrap();
    assert_eq!((row.origin, row.stage), (CommandOrigin::Adopted, CommandStage::Running));
    kit.say(complete("c"));
    assert_eq!(kit.stage("c"), Some(CommandStage::Failed));
    assert_eq!(kit.rows.get(&CommandId::new("c")).unwrap().stage, CommandStage::Failed);
    assert_eq!(kit.said_of("c"), ["ack"], "neither sent again nor cancelled");
}

#[test]
fn its_output_is_stored_from_where_it_is_held_behind_a_gap() {
    let mut kit = lost(&["c"], FleetLimits::DEFAULT);
    kit.say(output("c", 100, b"tail"));
    let command = kit.view.command(&CommandId::new("c")).unwrap();
    let records: Vec<_> = match command.tail.after(Cursor::default(), usize::MAX) {
        Fetch::Records(records) => records,
        other => panic!("{other:?}"),
    };
    assert!(matches!(records[0].body, StoredBody::Gap { length: Some(100), .. }), "{records:?}");
    assert!(matches!(&records[1].body, StoredBody::Chunk(bytes) if &bytes[..] == b"tail"));
}

#[test]
fn one_that_only_reports_its_end_is_recorded_before_that_is_confirmed() {
    let mut kit = lost(&[], FleetLimits::DEFAULT);
    kit.say(complete("c"));
    assert_eq!(kit.rows.get(&CommandId::new("c")).unwrap().stage, CommandStage::Failed);
    assert_eq!(kit.said_of("c"), ["ack"]);
}

#[test]
fn one_whose_end_the_database_has_is_over() {
    let mut kit = Kit::new(FleetLimits::DEFAULT);
    row(&mut kit, "c", super::kit::AGENT, CommandStage::Completed);
    kit.hello(1, hello("p", "a", &["c"]));
    assert_eq!(kit.said_of("c"), ["cancel"], "it must not go on there");
    let mut kit = Kit::new(FleetLimits::DEFAULT);
    row(&mut kit, "c", super::kit::AGENT, CommandStage::Completed);
    kit.hello(1, hello("p", "a", &[]));
    kit.say(complete("c"));
    assert_eq!(kit.said_of("c"), ["ack"], "its agent only wants to hear that");
    assert_eq!(kit.rows.get(&CommandId::new("c")).unwrap().stage, CommandStage::Completed);
}

#[test]
fn one_that_the_database_has_open_goes_on_as_what_it_is() {
    let mut kit = Kit::new(FleetLimits::DEFAULT);
    row(&mut kit, "c", super::kit::AGENT, CommandStage::Running);
    kit.hello(1, hello("p", "a", &["c"]));
    assert_eq!(kit.stage("c"), Some(CommandStage::Running));
    assert!(kit.said_of("c").is_empty());
    kit.say(complete("c"));
    assert_eq!(kit.stage("c"), Some(CommandStage::Failed));
}

#[test]
fn another_agents_command_is_not_adopted() {
    let mut kit = Kit::new(FleetLimits::DEFAULT);
    row(&mut kit, "c", "another", CommandStage::Running);
    kit.hello(1, hello("p", "a", &["c"]));
    assert_eq!(kit.stage("c"), None);
    assert!(kit.notes.iter().any(|note| matches!(note, FleetNote::ForeignCommand { .. })));
    kit.say(complete("c"));
    assert_eq!(kit.rows.get(&CommandId::new("c")).unwrap().stage, CommandStage::Running);
}

#[test]
fn it_is_never_sent_again_whatever_its_agent_says_later() {
    for instance in ["p", "q"] {
        let mut kit = lost(&["c"], FleetLimits::DEFAULT);
        kit.lose(1);
        // Its journal is the same, and it does not name it any more: of a command that was sent that proves
        // that it never started.
        kit.hello(2, hello(instance, "a", &[]));
        assert_eq!(kit.stage("c"), Some(CommandStage::Unknown), "{instance}");
        assert!(!kit.said_of("c").contains(&String::from("request")), "{instance}");
    }
}

#[test]
fn a_lost_link_leaves_it_open_and_a_cancel_is_sent_when_its_agent_is_back() {
    let mut kit = lost(&["c"], FleetLimits::DEFAULT);
    kit.say(ack("c", CommandAckStatus::Executing));
    kit.lose(1);
    let cancel = CommandCancel {
        command_id: CommandId::new("c"),
        agent_id: None,
        reason: None,
        force: false,
    };
    kit.feed(FleetEvent::Request { token: Token(1), request: Request::Cancel(cancel) });
    assert_eq!(kit.stage("c"), Some(CommandStage::Cancelling));
    assert!(kit.said_of("c").is_empty());
    kit.hello(2, hello("p", "a", &["c"]));
    kit.wait(Duration::from_secs(1));
    assert_eq!(kit.said_of("c"), ["cancel"]);
}

#[test]
fn one_too_many_for_its_user_is_kept_by_its_agent_and_adopted_later() {
    let mut limits = FleetLimits::DEFAULT;
    limits.open_commands = 2;
    let mut kit = lost(&["c-1", "c-2", "c-3"], limits);
    assert_eq!(kit.stage("c-3"), None);
    assert_eq!(kit.said_of("c-3"), ["QUEUE_FULL"], "once, and no word of an unknown command");
    kit.say(ack("c-3", CommandAckStatus::Executing));
    kit.say(output("c-3", 0, b"x"));
    kit.say(complete("c-3"));
    assert_eq!(kit.said_of("c-3"), ["QUEUE_FULL"], "its end is not confirmed");
    kit.say(complete("c-1"));
    kit.lose(1);
    kit.hello(2, hello("p", "a", &["c-2", "c-3"]));
    assert_eq!(kit.stage("c-3"), Some(CommandStage::Delivered));
    kit.say(complete("c-3"));
    assert_eq!(kit.said_of("c-3"), ["QUEUE_FULL", "ack"]);
}

#[test]
fn one_that_was_too_many_and_is_over_is_confirmed_once_there_is_room() {
    let mut limits = FleetLimits::DEFAULT;
    (limits.open_commands, limits.ended_commands) = (1, 0);
    let mut kit = Kit::new(limits);
    row(&mut kit, "c-2", super::kit::AGENT, CommandStage::Completed);
    kit.hello(1, hello("p", "a", &["c-1", "c-2"]));
    assert_eq!(kit.said_of("c-2"), ["QUEUE_FULL"]);
    kit.say(complete("c-1"));
    kit.say(complete("c-2"));
    assert_eq!(kit.said_of("c-2"), ["QUEUE_FULL", "ack"]);
}

#[test]
fn a_store_that_does_not_take_it_leaves_it_with_its_agent() {
    let mut kit = Kit::new(FleetLimits::DEFAULT);
    kit.takes = Err(StoreFault::Refused(String::from("no")));
    kit.hello(1, hello("p", "a", &["c"]));
    assert_eq!(
        (kit.stage("c"), kit.said_of("c")),
        (None, vec![String::from("STORAGE_UNAVAILABLE")])
    );
    assert_eq!(kit.fleet.size().open_commands, 0);
    kit.takes = Ok(());
    kit.lose(1);
    kit.hello(2, hello("p", "a", &["c"]));
    assert_eq!(kit.stage("c"), Some(CommandStage::Delivered));
}

/// The hello of an agent that a stop keeps from starting anything.
fn stopped_hello(instance: &str) -> AgentConnect {
    let mut stopped = hello(instance, "a", &[]);
    if let Some(extensions) = &mut stopped.extensions {
        extensions.stop_id = Some(StopId::new("s"));
    }
    stopped
}

fn in_force(kit: &Kit) -> Option<StopId> {
    let shown = kit.view.agents().get(&AgentId::new(super::kit::AGENT))?;
    shown.stopped.as_ref().map(|stop| stop.order.id.clone())
}

#[test]
fn a_stop_that_is_not_known_stays_in_force_until_it_is_released() {
    let mut kit = Kit::new(FleetLimits::DEFAULT);
    kit.hello(1, stopped_hello("p"));
    let adopted = StopId::new("s").adopted_for(&AgentId::new(super::kit::AGENT));
    assert_eq!(in_force(&kit), Some(adopted.clone()));
    assert_eq!(kit.welcomed.last(), Some(&Some(adopted.clone())), "the agent is told");
    assert!(kit.stops.contains(&adopted), "and it is stored");
    // It says so again, under either id.
    kit.hello(2, stopped_hello("p"));
    assert_eq!((in_force(&kit), kit.stops.len()), (Some(adopted.clone()), 1));
    let scope = StopScope::Agent(AgentId::new(super::kit::AGENT));
    kit.feed(FleetEvent::Request { token: Token(7), request: Request::Release(scope) });
    assert_eq!(in_force(&kit), None);
    kit.hello(3, stopped_hello("p"));
    assert_eq!(in_force(&kit), None, "what was released is known");
    assert_eq!(kit.welcomed.last(), Some(&None));
}

#[test]
fn a_stop_that_is_known_and_was_released_is_over() {
    let mut kit = Kit::new(FleetLimits::DEFAULT);
    let _ = kit.stops.insert(StopId::new("s"));
    kit.hello(1, stopped_hello("p"));
    assert_eq!((in_force(&kit), kit.welcomed.last()), (None, Some(&None)));
}

#[test]
fn an_adopted_stop_keeps_its_id_however_often_it_is_adopted_and_fits_the_wire() {
    let agent = AgentId::new("a");
    let once = StopId::new("s").adopted_for(&agent);
    assert_eq!((once.as_str(), once.adopted_for(&agent)), ("s@a", once.clone()));
    let long = StopId::new("\u{e9}".repeat(128)).adopted_for(&agent);
    assert!(long.as_str().len() <= 256 && long.as_str().ends_with("@a"), "{long}");
    assert_eq!(long.adopted_for(&agent), long);
}
