//! Output that comes too fast, and output that a late report proves to be lost.

use super::bench::{Bench, Keeps, ended, written};
use onsembl_protocol::fleet::{CommandStage, FleetLimits, StoredBody};
use onsembl_protocol::id::CommandId;
use onsembl_protocol::wire::AgentToServer;
use onsembl_protocol::wire::payload::{CommandAck, CommandAckStatus};
use std::time::Duration;

fn started(id: &CommandId) -> AgentToServer {
    AgentToServer::CommandAck(CommandAck {
        command_id: id.clone(),
        agent_id: None,
        status: CommandAckStatus::Executing,
        queue_position: None,
        waits_for: None,
        line_idle_ms: None,
        unstored: false,
    })
}

#[test]
fn an_agent_that_was_held_back_is_read_again_once_its_output_is_stored() {
    let mut limits = FleetLimits::DEFAULT;
    limits.unstored_output = 4096;
    let mut bench = Bench::new(limits);
    let link = bench.join("first", Keeps::Journal("its journal"), &[]);
    let id = CommandId::new("c-00");
    bench.command(&id);
    bench.hear(link, started(&id));
    bench.hear(link, written(&id, 1, 5000));
    assert!(!bench.server.reads(link), "more than 4,096 bytes wait for the store");
    bench.calm();
    assert!(bench.server.reads(link), "nothing waits for the store any more");
}

#[test]
fn what_a_late_report_proves_to_be_lost_is_declared() {
    let mut bench = Bench::new(FleetLimits::DEFAULT);
    let link = bench.join("first", Keeps::Nothing, &[]);
    let id = CommandId::new("c-00");
    bench.command(&id);
    bench.hear(link, started(&id));
    bench.hear(link, written(&id, 1, 10));
    bench.calm();
    bench.cut(link);
    bench.pass(Duration::from_secs(400));
    assert_eq!(bench.stage(&id), Some(CommandStage::Unknown), "its agent is not awaited any more");
    let link = bench.join("second", Keeps::Nothing, &[]);
    let _ = bench.taken_output();
    bench.hear(link, ended(&id, 100));
    let records = bench.taken_output();
    let gap = |body: &StoredBody| match body {
        StoredBody::Gap { length, .. } => *length,
        StoredBody::Chunk(_) => None,
    };
    let lost: Vec<_> = records.iter().map(|r| (r.offset.0, gap(&r.body))).collect();
    assert_eq!(lost, [(10, Some(90))]);
}
