//! What a request of a user may take.

use super::bench::{Bench, Keeps};
use super::server::Sent;
use onsembl_protocol::fleet::{Answer, FleetLimits, Request};
use onsembl_protocol::id::CommandId;
use onsembl_protocol::wire::payload::{CommandRequest, ErrorCode};

fn asked(bench: &mut Bench, id: &CommandId, text: String) -> Option<ErrorCode> {
    let request = CommandRequest::new(id.clone(), bench.agent(), text);
    bench.request(Request::Command(Box::new(request)));
    bench.calm();
    let refused = |sent: &Sent| match sent {
        Sent::Reply(_, Answer::Refused(error)) => Some(error.code.clone()),
        _ => None,
    };
    bench.take_sent().iter().rev().find_map(refused)
}

#[test]
fn a_request_that_could_not_be_handed_to_its_agent_is_refused() {
    let mut bench = Bench::new(FleetLimits::DEFAULT);
    let _link = bench.join("first", Keeps::Journal("its journal"), &[]);
    let id = CommandId::new("c-00");
    // On its way its text stands in the message twice.
    assert_eq!(asked(&mut bench, &id, "x".repeat(600_000)), Some(ErrorCode::InvalidMessage));
    // And a control character takes six bytes.
    assert_eq!(asked(&mut bench, &id, "\u{1}".repeat(100_000)), Some(ErrorCode::InvalidMessage));
    assert_eq!(asked(&mut bench, &id, "x".repeat(500_000)), None);
}

#[test]
fn open_commands_take_a_bounded_number_of_bytes() {
    let mut bench = Bench::new(FleetLimits::DEFAULT);
    let _link = bench.join("first", Keeps::Journal("its journal"), &[]);
    let ids: Vec<_> = (0..100).map(|n| CommandId::new(format!("c-{n:02}"))).collect();
    let refused = ids.iter().position(|id| asked(&mut bench, id, "x".repeat(400_000)).is_some());
    let most = FleetLimits::DEFAULT.open_command_bytes / 400_000;
    assert!(refused.is_some_and(|n| n <= most && n + 2 > most), "{refused:?} of {most}");
}
