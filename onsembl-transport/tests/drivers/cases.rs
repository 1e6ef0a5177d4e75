//! Two drivers that keep to the protocol, and what the network does to them.

use super::agent::{Agent, Order as Do};
use super::raw::{self, types};
use super::server::{Order, Server};
use onsembl_protocol::close::CloseCause;
use onsembl_protocol::id::CommandId;
use onsembl_protocol::liveness::Impairment;
use onsembl_protocol::session::{AgentCause, DialFailure, ServerConfig, StoreTrouble};
use onsembl_protocol::wire::AgentToServer;
use onsembl_protocol::wire::payload::{CommandAck, CommandAckStatus};
use onsembl_transport::agent::AgentNotice;
use onsembl_transport::server::ShardEvent;
use onsembl_transport::{Dialer, Listener, memory};
use std::time::Duration;
use tokio::time::sleep;

/// As exact as liveness is said to be.
const EXACT: Duration = Duration::from_millis(100);

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn exactly(after: Duration, expected: Duration) {
    assert!(after >= expected && after <= expected + EXACT, "{after:?} instead of {expected:?}");
}

async fn in_session() -> (Agent, Server) {
    let server = Server::start(ServerConfig::DEFAULT);
    let agent = Agent::start(server.dialer.clone(), "i-1");
    sleep(secs(60)).await;
    assert_eq!(agent.story(secs(0)), ["connecting", "joining", "connected"]);
    assert_eq!(server.words(secs(0)), ["connecting", "online"]);
    (agent, server)
}

#[tokio::test(start_paused = true)]
async fn three_hundred_beats_are_recorded_and_change_nothing() {
    let server = Server::start(ServerConfig::DEFAULT);
    let agent = Agent::start(server.dialer.clone(), "i-1");
    sleep(secs(30 * 299 + 15)).await;
    let recorded: Vec<u64> = server.recorded().iter().map(|s| s.0).collect();
    assert_eq!(recorded, (1..=300).collect::<Vec<u64>>());
    assert_eq!(agent.story(secs(0)), ["connecting", "joining", "connected"]);
    assert_eq!(server.presences().len(), 2, "connecting, online");
    let confirmed = |notice: &AgentNotice| match notice {
        AgentNotice::BeatAnswered { recorded, lag, .. } => recorded.is_some() && lag.is_none(),
        _ => false,
    };
    assert!(agent.count(confirmed) >= 300);
    assert_eq!(agent.count(|n| matches!(n, AgentNotice::Impaired(_))), 0);
    assert_eq!(server.count(|e| matches!(e, ShardEvent::Overslept(_))), 0);
}

#[tokio::test(start_paused = true)]
async fn a_cut_cable_is_reconnecting_and_soon_online_again() {
    let (agent, server) = in_session().await;
    let (a, s) = (agent.now(), server.now());
    server.dialer.cable().unwrap().cut();
    sleep(secs(2)).await;
    assert_eq!(agent.story(a), ["reconnecting", "connecting", "joining", "connected"]);
    assert_eq!(server.words(s), ["reconnecting", "connecting", "online"]);
    let epochs: Vec<u64> = server.presences().iter().map(|(_, p)| p.epoch.0).collect();
    assert_eq!((epochs.first(), epochs.last()), (Some(&0), Some(&2)));
}

#[tokio::test(start_paused = true)]
async fn a_frozen_cable_is_stale_and_timed_out_on_both_sides_when_it_is_said_to_be() {
    let (agent, server) = in_session().await;
    sleep(secs(7)).await;
    let (a, s) = (agent.now(), server.now());
    server.dialer.refuse(Some(DialFailure::Unreachable));
    server.dialer.cable().unwrap().freeze_both();
    sleep(secs(600)).await;

    let heard = server.heard(s);
    let story = server.story(s);
    let words: Vec<&str> = story.iter().map(|(_, word)| *word).collect();
    assert_eq!(words, ["stale", "timed-out", "offline"]);
    exactly(story[0].0 - heard, secs(45));
    exactly(story[1].0 - heard, secs(90));
    exactly(story[2].0 - story[1].0, secs(300));

    let heard = agent.heard(a);
    let reports = agent.reports(a);
    assert_eq!((reports[0].1.as_str(), reports[1].1.as_str()), ("stale", "timed-out"));
    exactly(reports[0].0 - heard, secs(45));
    exactly(reports[1].0 - heard, secs(90));
    assert_eq!(reports[1].2, AgentCause::Silence(secs(90)));

    server.dialer.refuse(None);
    sleep(secs(61)).await;
    assert_eq!(agent.story(a).last(), Some(&"connected"));
    assert_eq!(server.words(s).last(), Some(&"online"));
}

/// Its server holds it back, because too much waits for the database: whose silence that is, is known.
#[tokio::test(start_paused = true)]
async fn an_agent_that_is_not_read_is_not_silent() {
    let (agent, server) = in_session().await;
    let (a, s) = (agent.now(), server.now());
    server.order(Order::Read(false));
    sleep(secs(600)).await;
    assert_eq!(server.words(s), [] as [&str; 0]);
    assert_eq!(agent.story(a), [] as [&str; 0]);
    server.order(Order::Read(true));
    server.dialer.refuse(Some(DialFailure::Unreachable));
    server.dialer.cable().unwrap().freeze_both();
    sleep(secs(100)).await;
    assert_eq!(server.words(s), ["stale", "timed-out"], "and afterwards it is judged as ever");
}

#[tokio::test(start_paused = true)]
async fn a_cable_that_thaws_in_time_costs_nothing() {
    let (agent, server) = in_session().await;
    sleep(secs(5)).await;
    let (a, s) = (agent.now(), server.now());
    server.dialer.cable().unwrap().freeze_both();
    sleep(secs(80)).await;
    server.dialer.cable().unwrap().thaw();
    sleep(secs(100)).await;
    assert_eq!(agent.story(a), ["stale", "connected"]);
    assert_eq!(server.words(s), ["stale", "online"]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_everything_is_asked_again_slowly_and_found_in_the_end() {
    let server = Server::start(ServerConfig::DEFAULT);
    server.dialer.refuse(Some(DialFailure::Unauthorized));
    let agent = Agent::start(server.dialer.clone(), "i-1");
    sleep(secs(3600)).await;
    let attempts = agent.story(secs(0)).iter().filter(|word| **word == "connecting").count();
    assert!((60..=121).contains(&attempts), "{attempts} attempts in an hour");
    server.dialer.refuse(None);
    sleep(secs(61)).await;
    assert_eq!(agent.story(secs(0)).last(), Some(&"connected"));

    let forbidden = Server::start(ServerConfig::DEFAULT);
    forbidden.dialer.refuse(Some(DialFailure::Forbidden));
    let agent = Agent::start(forbidden.dialer.clone(), "i-1");
    sleep(secs(1)).await;
    assert_eq!(agent.story(secs(0)), ["connecting", "closed"]);
    assert!(agent.task.is_finished());
}

#[tokio::test(start_paused = true)]
async fn of_two_instances_the_older_one_is_closed_as_replaced_and_stops() {
    let (old, server) = in_session().await;
    let from = old.now();
    let new = Agent::start(server.dialer.clone(), "i-2");
    sleep(secs(600)).await;
    let reports = old.reports(from);
    assert_eq!(reports.len(), 1, "{reports:?}");
    assert_eq!(reports[0].1.as_str(), "closed");
    let AgentCause::LinkEnded(reason) = reports[0].2 else { panic!("{reports:?}") };
    assert_eq!(reason.cause, CloseCause::Replaced);
    assert!(old.task.is_finished());
    assert_eq!(new.story(secs(0)), ["connecting", "joining", "connected"]);
    assert_eq!(server.words(secs(0)), ["connecting", "online"], "the agent itself never left");
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_stops_is_offline_at_once() {
    let (agent, server) = in_session().await;
    let from = server.now();
    agent.order(Do::Stop);
    sleep(secs(1)).await;
    assert!(agent.task.is_finished());
    assert_eq!(server.words(from), ["offline"]);
    let (_, last) = *server.presences().last().unwrap();
    assert_eq!(last.because.to_string(), "the agent was stopped on its machine");
    assert_eq!(server.count(|e| matches!(e, ShardEvent::Forgotten { .. })), 1);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_is_named_on_both_sides_and_cuts_nobody() {
    let (agent, server) = in_session().await;
    let before = server.presences().last().unwrap().1;
    let from = agent.now();
    server.order(Order::Record(false));
    sleep(secs(60)).await;
    let because = server.presences().last().unwrap().1.because.to_string();
    assert!(because.starts_with("heartbeats received but not recorded"), "{because}");
    let named = |n: &AgentNotice| matches!(n, AgentNotice::Impaired(Some(Impairment::NotRecorded)));
    assert_eq!(agent.count(named), 1);
    let lagging = |n: &AgentNotice| matches!(n, AgentNotice::BeatAnswered { lag: Some(_), .. });
    assert!(agent.count(lagging) > 0);
    sleep(secs(300)).await;
    server.order(Order::Record(true));
    sleep(secs(31)).await;
    let after = server.presences().last().unwrap().1;
    assert_eq!((after.status, after.since), (before.status, before.since));
    assert_eq!(after.because.to_string(), "session opened");
    assert_eq!(agent.count(|n| matches!(n, AgentNotice::Impaired(None))), 1);
    assert_eq!(agent.story(from), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn who_comes_while_the_store_is_in_trouble_is_told_its_name() {
    let server = Server::start(ServerConfig::DEFAULT);
    server.order(Order::Record(false));
    server.order(Order::Store(Some(StoreTrouble::Full)));
    sleep(secs(1)).await;
    let _agent = Agent::start(server.dialer.clone(), "i-1");
    sleep(secs(60)).await;
    let because = server.presences().last().unwrap().1.because.to_string();
    assert!(because.starts_with("heartbeats received but not recorded: disk full"), "{because}");

    // A trouble that is over is nobody's.
    server.order(Order::Store(None));
    sleep(secs(1)).await;
    let because = server.presences().last().unwrap().1.because.to_string();
    assert!(because.contains("database slow"), "{because}");
}

#[tokio::test(start_paused = true)]
async fn what_the_owner_sends_arrives_in_order() {
    let (agent, server) = in_session().await;
    for n in 0..50 {
        let message = AgentToServer::CommandAck(CommandAck {
            command_id: CommandId::new(n.to_string()),
            agent_id: None,
            status: CommandAckStatus::Received,
            queue_position: None,
            waits_for: None,
            line_idle_ms: None,
            unstored: false,
        });
        agent.order(Do::Send(Box::new(message)));
    }
    sleep(secs(1)).await;
    let got: Vec<String> = server
        .events()
        .into_iter()
        .filter_map(|(_, event)| match event {
            ShardEvent::Message { message, .. } => match *message {
                AgentToServer::CommandAck(ack) => Some(ack.command_id.to_string()),
                _ => None,
            },
            _ => None,
        })
        .collect();
    assert_eq!(got, (0..50).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_server_with_the_habits_of_the_existing_one_gets_only_what_it_understands() {
    let (dialer, mut listener) = memory::network(64);
    let agent = Agent::start(dialer, "i-1");
    let mut server = raw::server(listener.accept().await.unwrap());
    let (hello, claimed) = server.hello().await;
    assert_eq!(claimed, "k");
    let taught = "9c5b94b1-35ad-49bb-b118-8e8fc24abf80";
    server.accept(&hello, taught).await;
    for n in 0..20u32 {
        let sent = 1_762_041_630_000.0 + f64::from(n);
        let ping = format!(
            r#"{{"type":"PING","id":"p","timestamp":1762041600010,"payload":{{"timestamp":{sent}}}}}"#
        );
        server.say(&ping).await;
        let (texts, ended) = server.gather(secs(30)).await;
        assert_eq!((types(&texts), ended), (vec!["PONG"], None));
        let AgentToServer::Pong(pong) = &texts[0] else { panic!() };
        assert_eq!(pong.timestamp, Some(sent));
    }
    assert_eq!(agent.story(secs(0)), ["connecting", "joining", "connected"]);

    // A close without a code is a reason to come back, under the id that was taught.
    let from = agent.now();
    drop(server);
    let mut server = raw::server(listener.accept().await.unwrap());
    assert_eq!(server.hello().await.1, taught);
    assert!(agent.now() - from <= secs(1));
}

#[tokio::test(start_paused = true)]
async fn the_same_process_that_comes_twice_takes_over_its_own_link() {
    let (agent, server) = in_session().await;
    let (a, s) = (agent.now(), server.now());
    let mut twin = raw::agent(server.dialer.dial().await.unwrap());
    twin.hello("i-1").await;
    twin.expect("ACK").await;
    sleep(secs(5)).await;
    assert_eq!(agent.story(a), ["reconnecting", "connecting", "joining", "connected"]);
    let (_, ended) = twin.gather(secs(1)).await;
    assert_eq!(ended.unwrap().cause, CloseCause::Superseded);
    assert_eq!(server.words(s), [""; 0], "online throughout");
}
