//! The messages of each dialect, without sockets.

use super::*;

fn heard(wire: &mut Wire, input: &[u8]) -> (usize, Vec<String>) {
    let mut all = Vec::new();
    let taken = wire.hear(input, &mut |heard| all.push(format!("{heard:?}"))).unwrap();
    (taken, all)
}

#[test]
fn a_binary_message_to_a_dashboard_says_where_its_bytes_stand() {
    let mut wire = Wire::new(Dialect::Extended, Role::Dashboard, "d".into(), String::new());
    wire.stage = Stage::Live;
    let mut body = vec![2, 0, 0, 3, 0, 2];
    for number in [7u64, 8, 0x0102, 9] {
        body.extend(number.to_be_bytes());
    }
    body.extend(b"c-1a7hello");
    let mut input = vec![0x82, body.len() as u8];
    input.extend(&body);
    let mut all = Vec::new();
    let _ = wire
        .hear(&input, &mut |heard| {
            if let Heard::Output(command, offset, bytes) = heard {
                all.push((command.unwrap().into_owned(), offset, bytes.into_owned()));
            }
        })
        .unwrap();
    assert_eq!(all, [("c-1".to_owned(), Some(0x0102), b"hello".to_vec())]);
    body[0] = 3;
    input.splice(2.., body);
    assert!(wire.hear(&input, &mut |_| ()).is_err());
}

#[test]
fn a_message_in_several_frames_is_one() {
    let mut wire = Wire::new(Dialect::Relay, Role::Dashboard, "d".into(), String::new());
    wire.stage = Stage::Live;
    let input = b"\x02\x02he\x00\x01l\x89\x00\x80\x02lo";
    let mut all = Vec::new();
    let taken = wire.hear(input, &mut |heard| {
        if let Heard::Output(_, _, bytes) = heard {
            all.push(bytes.into_owned());
        }
    });
    assert_eq!((taken, all), (Ok(input.len()), vec![b"hello".to_vec()]));
    // The ping in between was answered.
    assert_eq!(wire.out, b"\x8a\x80\0\0\0\0");
    assert!(wire.hear(b"\x80\x00", &mut |_| ()).is_err());
}

#[test]
fn nats_is_greeted_and_its_messages_are_taken_whole() {
    let mut wire = Wire::new(Dialect::Nats, Role::Dashboard, "d".into(), String::new());
    assert_eq!(heard(&mut wire, b"INFO {}\r\nPONG\r\nMSG out.1 1 5\r\nhel").1, ["Live"]);
    assert!(wire.out.ends_with(b"SUB out.* 1\r\nPING\r\n"));
    let (taken, all) = heard(&mut wire, b"MSG out.1 1 5\r\nhello\r\nPING\r\n");
    assert_eq!((taken, all.len()), (28, 1));
    assert!(wire.out.ends_with(b"PONG\r\n"));
}

#[test]
fn a_legacy_dashboard_takes_lines_of_commands_once() {
    let mut wire = Wire::new(Dialect::Legacy, Role::Dashboard, "d".into(), String::new());
    wire.stage = Stage::Live;
    let mut input = Vec::new();
    for id in ["c-1", "agent-session-x"] {
        let text = format!(
            r#"{{"type":"TERMINAL_STREAM","payload":{{"commandId":"{id}","content":["a\tb"]}}}}"#
        );
        input.extend([0x81, text.len() as u8]);
        input.extend(text.as_bytes());
    }
    let (taken, all) = heard(&mut wire, &input);
    assert_eq!(taken, input.len());
    assert_eq!(all.len(), 1);
}
