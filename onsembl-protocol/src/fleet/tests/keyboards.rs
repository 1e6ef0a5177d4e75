//! Who types into which terminal: one dashboard at a time, each byte at most once, and no byte of it anywhere else.

use super::kit::{AGENT, Kit, hello};
use crate::fleet::*;
use crate::id::{CommandId, DashboardId, HoldId, InputSequence};
use crate::model::Feature;
use crate::terminal::{Hold, KeyboardView};
use crate::wire::payload::{
    ErrorCode, ErrorReply, KeyboardRelease, KeyboardTake, TakeMode, TerminalInput,
    TerminalInputState, TerminalOpened, TypedBytes,
};
use crate::wire::{AgentToServer, ServerToAgent};
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::vec::Vec;
use core::time::Duration;

/// What is typed, so that it would be found wherever it went.
const TYPED: &[u8] = b"hunter2!";

fn terminal() -> CommandId {
    CommandId::of_terminal("0193")
}

fn opened() -> AgentToServer {
    AgentToServer::TerminalOpened(TerminalOpened {
        command_id: terminal(),
        program: "sh".to_owned(),
        opened_at: None,
        attached: false,
        size: None,
    })
}

struct World {
    kit: Kit,
    asked: u64,
}

impl World {
    fn new() -> Self {
        let mut kit = Kit::new(FleetLimits::DEFAULT);
        kit.hello(1, hello("i", "h", &[]));
        kit.say(opened());
        Self { kit, asked: 0 }
    }

    fn ask(&mut self, by: u64, request: KeyboardRequest) -> Answer {
        self.asked += 1;
        let token = Token(self.asked);
        let request = Request::Keyboard(DashboardId(by), request);
        self.kit.feed(FleetEvent::Request { token, request });
        self.kit.answers.remove(&token).expect("it is answered at once")
    }

    fn take(&mut self, by: u64, mode: TakeMode) -> Result<HoldId, ErrorReply> {
        let name = format!("d{by}");
        let take = KeyboardTake { command_id: terminal(), name, mode: Some(mode) };
        match self.ask(by, KeyboardRequest::Take(take)) {
            Answer::Keyboard { agent, view } => {
                assert_eq!((agent.as_str(), view.name), (AGENT, format!("d{by}")));
                Ok(view.hold)
            }
            Answer::Refused(error) => Err(error),
            other => panic!("{other:?}"),
        }
    }

    fn types(&mut self, by: u64, hold: &HoldId, n: u64) -> Result<(), ErrorReply> {
        let input = TerminalInput {
            command_id: terminal(),
            holder: hold.clone(),
            sequence: InputSequence(n),
            bytes: TypedBytes(bytes::Bytes::from_static(TYPED)),
        };
        self.ask(by, KeyboardRequest::Input(input)).done()
    }

    /// Numbers that reached the agent.
    fn sent(&mut self) -> Vec<(HoldId, u64)> {
        let sent = core::mem::take(&mut self.kit.sent).into_iter();
        sent.filter_map(|message| match message {
            ServerToAgent::TerminalInput(input) => Some((input.holder, input.sequence.0)),
            _ => None,
        })
        .collect()
    }

    fn agent_says(&mut self, hold: &HoldId, taken: u64, refused: Option<&str>) {
        self.kit.say(AgentToServer::TerminalInputState(TerminalInputState {
            command_id: terminal(),
            holder: hold.clone(),
            taken: InputSequence(taken),
            refused: refused.map(ToOwned::to_owned),
            notice: None,
        }));
    }

    fn shown(&self) -> KeyboardView {
        let entry = self.kit.view.command(&terminal()).expect("it is shown");
        entry.keyboard.clone().expect("of its keyboard is known").0
    }

    /// Why the last hold ended that was written down, and how many bytes it had.
    fn last_end(&self) -> (HoldEnd, u64) {
        let record = &self.kit.holds.last().expect("one was written down").hold;
        (record.ended.clone().expect("it ended").1, record.bytes)
    }
}

#[test]
fn what_the_holder_types_reaches_the_agent_once_and_in_order() {
    let mut world = World::new();
    let hold = world.take(1, TakeMode::IfFree).unwrap();
    for n in [1, 2, 2, 1, 3] {
        world.types(1, &hold, n).unwrap();
    }
    assert_eq!(world.types(1, &hold, 9).unwrap_err().code, ErrorCode::InvalidMessage);
    assert_eq!(world.sent(), [(hold.clone(), 1), (hold.clone(), 2), (hold.clone(), 3)]);
    world.agent_says(&hold, 2, None);
    assert_eq!(world.shown().hold.unwrap().taken, InputSequence(2));
    let release = KeyboardRelease { command_id: terminal(), holder: hold.clone() };
    assert_eq!(world.ask(1, KeyboardRequest::Release(release)), Answer::Done);
    assert_eq!(world.last_end(), (HoldEnd::Released, 3 * TYPED.len() as u64));
    assert_eq!(world.kit.holds.last().unwrap().hold.unconfirmed, TYPED.len() as u64);
    assert_eq!(world.types(1, &hold, 4).unwrap_err().code, ErrorCode::KeyboardHeld);
    assert_eq!(world.shown(), KeyboardView { hold: None, because: "released".to_owned() });
    assert!(world.sent().is_empty());
}

#[test]
fn another_dashboard_is_refused_until_it_takes_over() {
    let mut world = World::new();
    let first = world.take(1, TakeMode::IfFree).unwrap();
    let refused = world.take(2, TakeMode::IfFree).unwrap_err();
    assert_eq!(refused.code, ErrorCode::KeyboardHeld);
    assert!(refused.message.contains("d1"), "{}", refused.message);
    assert_eq!(world.types(2, &first, 1).unwrap_err().code, ErrorCode::KeyboardHeld);
    let second = world.take(2, TakeMode::Over).unwrap();
    assert!(second > first, "ids of holds grow");
    assert_eq!(world.last_end_before(), HoldEnd::TakenOver("d2".to_owned()));
    assert_eq!(world.shown().because, "taken over by d2");
    assert_eq!(world.types(1, &first, 1).unwrap_err().code, ErrorCode::KeyboardHeld);
    world.types(2, &second, 1).unwrap();
    assert_eq!(world.sent(), [(second, 1)]);
}

impl World {
    fn last_end_before(&self) -> HoldEnd {
        let ended = self.kit.holds.iter().rev().find_map(|record| record.hold.ended.clone());
        ended.expect("one ended").1
    }
}

#[test]
fn a_hold_ends_with_everything_that_it_depends_on() {
    type End = fn(&mut World);
    let ends: [(&str, End, HoldEnd); 5] = [
        (
            "the link of its dashboard",
            |world| drop(world.ask(1, KeyboardRequest::LinkLost)),
            HoldEnd::LinkLost,
        ),
        ("the session of its agent", |world| world.kit.lose(1), HoldEnd::AgentAway),
        (
            "its terminal",
            |world| world.kit.say(super::kit::complete(terminal().as_str())),
            HoldEnd::TerminalEnded,
        ),
        (
            "a stop",
            |world| {
                let request = Request::LatchStop(crate::wire::payload::EmergencyStop::default());
                world.kit.feed(FleetEvent::Request { token: Token(999), request });
            },
            HoldEnd::Stopped,
        ),
        (
            "nothing typed",
            |world| world.kit.wait(Hold::IDLE + Duration::from_secs(1)),
            HoldEnd::Idle,
        ),
    ];
    for (what, ends, why) in ends {
        let mut world = World::new();
        let hold = world.take(1, TakeMode::IfFree).unwrap();
        world.types(1, &hold, 1).unwrap();
        ends(&mut world);
        assert_eq!(world.last_end(), (why, TYPED.len() as u64), "{what}");
        assert_eq!(world.shown().hold, None, "{what}");
        let _ = world.sent();
        assert!(world.types(1, &hold, 2).is_err(), "{what}");
        assert!(world.sent().is_empty(), "{what}");
    }
}

#[test]
fn how_much_was_typed_is_written_while_a_hold_lasts() {
    let mut world = World::new();
    let hold = world.take(1, TakeMode::IfFree).unwrap();
    world.types(1, &hold, 1).unwrap();
    let before = world.kit.holds.len();
    world.kit.wait(Hold::NOTED_WITHIN);
    assert_eq!(world.kit.holds.len(), before + 1);
    let noted = &world.kit.holds.last().unwrap().hold;
    assert_eq!((noted.bytes, &noted.ended), (TYPED.len() as u64, &None));
    world.kit.wait(4 * Hold::NOTED_WITHIN);
    assert_eq!(world.kit.holds.len(), before + 1, "nothing more was typed");
    assert!(world.shown().hold.is_some());
}

#[test]
fn what_the_agent_refuses_ends_the_hold_with_its_reason() {
    let mut world = World::new();
    let hold = world.take(1, TakeMode::IfFree).unwrap();
    world.types(1, &hold, 1).unwrap();
    world.agent_says(&HoldId::new("another"), 0, Some("no"));
    assert!(world.shown().hold.is_some(), "it is none of this hold");
    world.agent_says(&hold, 0, Some("the program does not read"));
    assert_eq!(world.last_end().0, HoldEnd::Refused("the program does not read".to_owned()));
    assert_eq!(world.shown().because, "the program does not read");
}

#[test]
fn nobody_types_into_what_is_away_stopped_old_or_no_terminal() {
    let code = |world: &mut World| world.take(1, TakeMode::Over).unwrap_err().code;
    let mut away = World::new();
    away.kit.lose(1);
    assert_eq!(code(&mut away), ErrorCode::AgentOffline);
    let mut stopped = World::new();
    let request = Request::LatchStop(crate::wire::payload::EmergencyStop::default());
    stopped.kit.feed(FleetEvent::Request { token: Token(999), request });
    assert_eq!(code(&mut stopped), ErrorCode::AgentStopped);
    let mut old = World { kit: Kit::new(FleetLimits::DEFAULT), asked: 0 };
    let mut without = hello("i", "h", &[]);
    if let Some(extensions) = &mut without.extensions {
        extensions.features.retain(|feature| *feature != Feature::Typing);
    }
    old.kit.hello(1, without);
    old.kit.say(opened());
    assert_eq!(code(&mut old), ErrorCode::NotSupported);
    let mut over = World::new();
    over.kit.say(super::kit::complete(terminal().as_str()));
    assert_eq!(code(&mut over), ErrorCode::CommandNotFound);
    for world in [&away, &stopped, &old, &over] {
        assert!(world.kit.holds.is_empty());
    }
}

#[test]
fn a_hold_of_an_earlier_session_types_nothing_into_the_next() {
    let mut world = World::new();
    let hold = world.take(1, TakeMode::IfFree).unwrap();
    world.types(1, &hold, 1).unwrap();
    world.kit.lose(1);
    world.kit.hello(2, hello("i", "h", &[terminal().as_str()]));
    world.kit.say(opened());
    let _ = world.sent();
    assert!(world.types(1, &hold, 2).is_err());
    assert!(world.sent().is_empty());
    let anew = world.take(1, TakeMode::IfFree).unwrap();
    world.types(1, &anew, 1).unwrap();
    assert_eq!(world.sent(), [(anew, 1)]);
}

#[test]
fn how_many_keyboards_are_held_has_a_bound_and_so_has_how_fast_is_typed() {
    let limits = FleetLimits { keyboards: 0, ..FleetLimits::DEFAULT };
    let mut world = World { kit: Kit::new(limits), asked: 0 };
    world.kit.hello(1, hello("i", "h", &[]));
    world.kit.say(opened());
    assert_eq!(world.take(1, TakeMode::IfFree).unwrap_err().code, ErrorCode::QueueFull);

    let mut world = World::new();
    let hold = world.take(1, TakeMode::IfFree).unwrap();
    let mut refused = None;
    for n in 1..100 {
        let input = TerminalInput {
            command_id: terminal(),
            holder: hold.clone(),
            sequence: InputSequence(n),
            bytes: TypedBytes(alloc::vec![b'x'; Hold::INPUT_BYTES].into()),
        };
        if let Err(error) = world.ask(1, KeyboardRequest::Input(input)).done() {
            refused = Some((n, error));
            break;
        }
        world.agent_says(&hold, n, None);
    }
    let (n, error) = refused.expect("it is too fast");
    assert_eq!(error.code, ErrorCode::QueueFull);
    assert!(error.message.contains("exceeds"), "{}", error.message);
    world.kit.now += Duration::from_secs(1);
    world.types(1, &hold, n).unwrap();
}

#[test]
fn no_byte_that_is_typed_is_written_shown_or_noted() {
    let mut world = World::new();
    let hold = world.take(1, TakeMode::IfFree).unwrap();
    for n in 1..=5 {
        world.types(1, &hold, n).unwrap();
    }
    let _ = world.types(2, &hold, 6);
    let _ = world.types(1, &hold, 60);
    world.agent_says(&hold, 5, None);
    let _ = world.ask(1, KeyboardRequest::LinkLost);
    let secret = core::str::from_utf8(TYPED).unwrap();
    let encoded = "aHVudGVyMiE";
    let traces = format!(
        "{:?} {:?} {:?} {:?} {:?}",
        world.kit.holds, world.kit.notes, world.kit.rows, world.kit.view, world.kit.fleet
    );
    for (form, needle) in [("plain", secret), ("base64", encoded), ("bytes", "104, 117, 110, 116")]
    {
        assert!(!traces.contains(needle), "{form}");
    }
    let sent = format!("{:?}", world.kit.sent);
    assert!(sent.contains("TerminalInput") && !sent.contains(secret), "{sent}");
}
