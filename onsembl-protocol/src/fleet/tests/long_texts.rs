//! Texts that go to their agents in pieces, at the server: kept in memory, sent before their requests, bounded.

use super::kit::{AGENT, Kit, hello};
use crate::command::CommandStage;
use crate::fleet::*;
use crate::id::{AgentId, CommandId};
use crate::model::Feature;
use crate::wire::ServerToAgent;
use crate::wire::payload::{CommandRequest, ErrorCode, ErrorReply, LongText, OfflinePolicy};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

fn asked(kit: &mut Kit, number: u64, name: &str, text: String) -> Result<(), ErrorReply> {
    let (command, agent) = (CommandId::new(name), AgentId::new(AGENT));
    let mut request = CommandRequest::of_any_length(command, agent, text);
    request.offline = Some(OfflinePolicy::Queue);
    request_of(kit, number, request)
}

fn request_of(kit: &mut Kit, number: u64, request: CommandRequest) -> Result<(), ErrorReply> {
    let token = Token(number);
    kit.feed(FleetEvent::Request { token, request: Request::Command(Box::new(request)) });
    kit.answers.remove(&token).unwrap().done()
}

/// What was sent of a command: the bytes of each piece, and what its request says.
fn sent(kit: &mut Kit) -> (Vec<u8>, Vec<Option<u64>>) {
    let (mut text, mut requests) = (Vec::new(), Vec::new());
    for message in kit.sent.drain(..) {
        match message {
            ServerToAgent::CommandText(piece) => {
                assert!(requests.is_empty(), "the text goes first");
                assert_eq!(piece.offset.0, text.len() as u64);
                text.extend_from_slice(&piece.bytes.0);
            }
            ServerToAgent::CommandRequest(request) => {
                requests.push(request.long_text.map(|long| long.bytes()));
            }
            _ => {}
        }
    }
    (text, requests)
}

#[test]
fn a_long_text_goes_before_its_request_again_in_each_session_and_is_not_stored() {
    let mut kit = Kit::new(FleetLimits::DEFAULT);
    kit.hello(1, hello("p", "a", &[]));
    let text = format!("a secretly long text: {}", "é".repeat(200_000));
    let bytes = Some(text.len() as u64);
    assert_eq!(asked(&mut kit, 1, "c", text.clone()), Ok(()));
    assert_eq!(sent(&mut kit), (text.clone().into_bytes(), alloc::vec![bytes]));
    let row = kit.rows.get(&CommandId::new("c")).unwrap();
    let stored = format!("{}{}", row.request.text, row.stored_fields());
    assert!(stored.contains("a secretly long") && stored.contains("textBytes"), "{stored}");
    assert!(stored.len() < 2000, "{stored}");
    // The link is lost before the agent says that it has it.
    kit.lose(1);
    assert_eq!(sent(&mut kit), (Vec::new(), Vec::new()));
    kit.hello(2, hello("p", "a", &[]));
    let is_whole = |(again, requests): (Vec<u8>, Vec<Option<u64>>)| {
        again == text.as_bytes() && requests == [bytes]
    };
    assert!(is_whole(sent(&mut kit)));
    // A slow link takes some time; sent again at once, it would wait behind itself.
    kit.wait(Duration::from_secs(33));
    assert_eq!(sent(&mut kit), (Vec::new(), Vec::new()));
    kit.wait(Duration::from_secs(3));
    assert!(is_whole(sent(&mut kit)));
}

#[test]
fn an_agent_that_cannot_join_pieces_is_sent_none_and_the_refusal_says_so() {
    let mut kit = Kit::new(FleetLimits::DEFAULT);
    let mut old = hello("p", "a", &[]);
    if let Some(extensions) = &mut old.extensions {
        extensions.features.retain(|feature| *feature != Feature::LongText);
    }
    kit.hello(1, old.clone());
    let refused = asked(&mut kit, 1, "c", "x".repeat(100_000)).unwrap_err();
    assert_eq!(refused.code, ErrorCode::NotSupported);
    assert!(refused.message.contains("`long-text`") && refused.message.contains("64 KiB"));
    assert_eq!(sent(&mut kit), (Vec::new(), Vec::new()));
    assert_eq!(kit.stage("c"), None);
    // One that waited for an agent that comes back as such a one.
    let mut kit = Kit::new(FleetLimits::DEFAULT);
    kit.hello(1, hello("p", "a", &[]));
    kit.lose(1);
    assert_eq!(asked(&mut kit, 1, "c", "x".repeat(100_000)), Ok(()));
    kit.hello(2, old);
    assert_eq!(sent(&mut kit), (Vec::new(), Vec::new()));
    assert_eq!(kit.stage("c"), Some(CommandStage::Failed));
}

#[test]
fn so_much_of_long_texts_waits_for_an_agent_and_no_more() {
    let mut kit = Kit::new(FleetLimits::DEFAULT);
    kit.hello(1, hello("p", "a", &[]));
    assert_eq!(asked(&mut kit, 1, "c1", "x".repeat(LongText::MOST - 70_000)), Ok(()));
    assert_eq!(asked(&mut kit, 2, "c2", "x".repeat(70_000)), Ok(()));
    let refused = asked(&mut kit, 3, "c3", "x".repeat(70_000)).unwrap_err();
    assert_eq!(refused.code, ErrorCode::QueueFull);
    assert!(refused.message.contains("this agent has not begun"), "{}", refused.message);
    assert_eq!(asked(&mut kit, 4, "c4", "short".into()), Ok(()));
    // What has ended makes room.
    kit.say(super::kit::complete("c1"));
    assert_eq!(asked(&mut kit, 5, "c5", "x".repeat(70_000)), Ok(()));
}

#[test]
fn a_text_that_is_not_here_is_not_carried_out() {
    let mut kit = Kit::new(FleetLimits::DEFAULT);
    kit.hello(1, hello("p", "a", &[]));
    let mut request = CommandRequest::new(CommandId::new("c"), AgentId::new(AGENT), "beginning");
    request.long_text = Some(LongText::Declared(100_000));
    let refused = request_of(&mut kit, 1, request).unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidMessage);
    assert_eq!(sent(&mut kit), (Vec::new(), Vec::new()));
}
