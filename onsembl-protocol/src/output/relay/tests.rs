use super::*;
use proptest::prelude::*;
use std::vec::Vec;

const MOST: u64 = 4 << 20;
const WINDOW: u64 = 64 * 1024;

fn id() -> CommandId {
    CommandId::new("c")
}

fn run() -> Run {
    Run { command: id(), incarnation: Incarnation(7) }
}

fn opened() -> Relay {
    let mut relay = Relay::new(MOST);
    relay.on_session(WINDOW);
    relay.open(run());
    relay
}

fn push(relay: &mut Relay, bytes: usize) {
    relay.push(&id(), Stream::Stdout, Bytes::from(std::vec![7; bytes]));
}

fn credit(relay: &mut Relay, offset: u64) {
    relay.on_credit(&id(), Incarnation(7), Stream::Stdout, ByteOffset(offset));
}

/// Where the records begin and end that the link takes now.
fn sent(relay: &mut Relay) -> Vec<(u64, u64)> {
    core::iter::from_fn(|| relay.next_to_send())
        .map(|sent| (sent.record.offset.0, sent.record.end().0))
        .collect()
}

fn actions(relay: &mut Relay) -> Vec<SpoolAction> {
    core::iter::from_fn(|| relay.poll_action()).collect()
}

#[test]
fn what_the_link_has_is_not_kept_and_no_more_is_on_it_than_there_is_credit_for() {
    let mut relay = opened();
    push(&mut relay, 3 * CHUNK_BYTES);
    let chunk = CHUNK_BYTES as u64;
    assert_eq!(sent(&mut relay), [(0, chunk), (chunk, 2 * chunk)]);
    assert_eq!(relay.in_memory(), chunk + RECORD_COST);
    assert!(!relay.is_settled(&id()));
    credit(&mut relay, chunk - 1);
    assert_eq!(sent(&mut relay), [], "not all of the first one");
    credit(&mut relay, chunk);
    assert_eq!(sent(&mut relay), [(2 * chunk, 3 * chunk)]);
    assert!(relay.is_settled(&id()) && relay.is_empty(), "although there is no credit for it");
}

#[test]
fn a_new_session_begins_with_nothing_on_its_link_and_sends_nothing_again() {
    let mut relay = opened();
    push(&mut relay, 3 * CHUNK_BYTES);
    let chunk = CHUNK_BYTES as u64;
    assert_eq!(sent(&mut relay).len(), 2);
    relay.on_session_ended();
    assert_eq!(sent(&mut relay), []);
    relay.on_session(WINDOW);
    push(&mut relay, CHUNK_BYTES);
    assert_eq!(sent(&mut relay), [(2 * chunk, 3 * chunk), (3 * chunk, 4 * chunk)]);
    // Of the earlier one, and of another run.
    credit(&mut relay, 2 * chunk);
    relay.on_credit(&id(), Incarnation(8), Stream::Stdout, ByteOffset(4 * chunk));
    push(&mut relay, 1);
    assert_eq!(sent(&mut relay), []);
    credit(&mut relay, 3 * chunk);
    assert_eq!(sent(&mut relay), [(4 * chunk, 4 * chunk + 1)]);
}

#[test]
fn in_a_session_a_process_waits_and_without_one_the_oldest_makes_room() {
    let mut relay = opened();
    while actions(&mut relay).is_empty() {
        push(&mut relay, 1000);
    }
    assert!((MOST_OF_RUN..MOST_OF_RUN + 2 * 4096).contains(&relay.in_memory()));
    relay.on_session_ended();
    assert_eq!(actions(&mut relay), [SpoolAction::ResumeReading(id())]);
    for _ in 0..1000 {
        push(&mut relay, 1000);
    }
    assert_eq!(actions(&mut relay), []);
    assert!(relay.in_memory() <= MOST_OF_RUN + 4096 + RECORD_COST);
    let all = relay.totals(&id()).unwrap();
    assert!(all.unstored && all.stdout_bytes.0 > 1_000_000);
    relay.on_session(OUTPUT_WINDOW);
    let sent = sent(&mut relay);
    assert_eq!(sent.last().map(|(_, end)| *end), Some(all.stdout_bytes.0), "the newest");
    assert!(sent[0].0 > 700_000, "{:?}", sent[0]);
    assert!(sent.windows(2).all(|pair| pair[0].1 == pair[1].0), "one hole, at the beginning");
}

#[test]
fn a_process_that_waited_goes_on_when_there_is_room() {
    let mut relay = opened();
    while actions(&mut relay).is_empty() {
        push(&mut relay, 4096);
    }
    let mut end = 0;
    while actions(&mut relay).is_empty() {
        end = sent(&mut relay).last().map_or(end, |(_, end)| *end);
        credit(&mut relay, end);
    }
    assert!(relay.in_memory() < MOST_OF_RUN / 4 * 3);
}

#[test]
fn an_agent_that_ends_lets_no_process_wait() {
    let mut relay = opened();
    while actions(&mut relay).is_empty() {
        push(&mut relay, 4096);
    }
    relay.wind_up();
    assert_eq!(actions(&mut relay), [SpoolAction::ResumeReading(id())]);
    push(&mut relay, 1 << 20);
    assert_eq!(actions(&mut relay), []);
    assert!(relay.in_memory() <= MOST_OF_RUN + 2 * CHUNK_BYTES as u64);
}

#[test]
fn runs_take_turns_and_one_that_is_withheld_waits_for_the_next_session() {
    let mut relay = opened();
    let other = CommandId::new("d");
    relay.open(Run { command: other.clone(), incarnation: Incarnation(1) });
    for command in [&id(), &other] {
        relay.push(command, Stream::Stderr, Bytes::from(std::vec![1; 2 * CHUNK_BYTES]));
    }
    let mut turns = || relay.next_to_send().map(|sent| sent.run.command);
    assert_eq!([turns(), turns(), turns()], [Some(id()), Some(other.clone()), Some(id())]);
    relay.withhold(&other);
    assert_eq!(relay.next_to_send(), None);
    relay.on_session(WINDOW);
    assert_eq!(relay.next_to_send().map(|sent| sent.run.command), Some(other));
}

#[test]
fn nothing_is_left_of_a_run_that_is_closed() {
    let mut relay = opened();
    push(&mut relay, 10_000);
    relay.close(&id());
    assert!(relay.is_empty() && !relay.has(&id()) && relay.next_to_send().is_none());
    assert_eq!((relay.in_memory(), relay.totals(&id())), (0, None));
}

proptest! {
    /// Whatever links and servers do: what is sent of a stream goes upwards and is sent once, there is never more on the
    /// link than the window, and in the end all is sent or left out.
    #[test]
    fn nothing_is_sent_twice_and_bounds_are_kept(
        steps in prop::collection::vec((0..8_u8, 1..70_000_usize), 1..150),
    ) {
        let mut relay = opened();
        let (mut last, mut given, mut on_link) = (0, 0, 0);
        let mut is_paused = false;
        for (what, n) in steps {
            match what {
                0..3 if is_paused => {}
                0..3 => push(&mut relay, n),
                3..5 => {
                    while let Some(Outgoing { record, .. }) = relay.next_to_send() {
                        prop_assert!(record.offset.0 >= last);
                        last = record.end().0;
                        on_link += record.byte_count();
                        prop_assert!(on_link <= WINDOW);
                    }
                }
                5 | 6 => {
                    let offset = (given + n as u64).min(last);
                    credit(&mut relay, offset);
                    // What lies behind the beginning of a session counts no more.
                    on_link = relay.runs[&id()].on_link.stdout.records.iter().map(|(_, b)| b).sum();
                    given = offset;
                }
                _ => {
                    relay.on_session_ended();
                    relay.on_session(WINDOW);
                    on_link = 0;
                }
            }
            let late = 70_000 + 4096 + 3 * RECORD_COST;
            prop_assert!(relay.in_memory() <= MOST_OF_RUN + late);
            for action in actions(&mut relay) {
                is_paused = action == SpoolAction::PauseReading(id());
            }
        }
        let written = relay.totals(&id()).unwrap().stdout_bytes.0;
        for _ in 0..10_000 {
            let Some(Outgoing { record, .. }) = relay.next_to_send() else {
                if relay.is_settled(&id()) {
                    break;
                }
                credit(&mut relay, last);
                continue;
            };
            last = record.end().0;
        }
        prop_assert_eq!(last, written);
        prop_assert!(relay.is_empty());
    }
}
