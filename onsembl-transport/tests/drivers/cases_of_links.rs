//! Peers that do not keep to the protocol, against the shard and against the agent's driver.

use super::agent::Agent;
use super::raw::{self, Raw, types};
use super::server::{BINARY, Order, Server, with_binary};
use async_trait::async_trait;
use onsembl_protocol::close::CloseCause;
use onsembl_protocol::id::{CommandId, MessageId, ServerInstanceId};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::session::ServerConfig;
use onsembl_protocol::wire::payload::{CommandPhase, ErrorCode};
use onsembl_protocol::wire::{AgentToServer, MessageSet, ServerToAgent};
use onsembl_transport::counters::Counters;
use onsembl_transport::memory::MemoryDialer;
use onsembl_transport::server::{Lane, LinkTicket, SessionRules, Shard, ShardEvent};
use onsembl_transport::{DialError, Dialer, Link, Listener, memory};
use std::time::Duration;
use tokio::time::{sleep, timeout};

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

const OUTPUT: &str = r#"{"type":"TERMINAL_OUTPUT","id":"o","timestamp":1762041600000,"payload":{"commandId":"c","content":"x","sequence":"#;

fn output(n: u64) -> String {
    format!("{OUTPUT}{n}}}}}")
}

async fn dial(server: &Server) -> Raw<ServerToAgent> {
    raw::agent(server.dialer.dial().await.unwrap())
}

/// Output that the owner was told of, by number; and when the session began, among it all.
fn shown(server: &Server) -> Vec<String> {
    server
        .events()
        .into_iter()
        .filter_map(|(_, event)| match event {
            ShardEvent::Welcomed { .. } => Some("welcomed".to_string()),
            ShardEvent::Message { message, .. } => match *message {
                AgentToServer::Output(output) => Some(output.sequence.unwrap().to_string()),
                other => Some(other.kind().to_string()),
            },
            _ => None,
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn frames_before_the_hello_have_no_effect() {
    let server = Server::start(ServerConfig::DEFAULT);
    let mut peer = dial(&server).await;
    for text in [
        output(1).as_str(),
        r#"{"type":"AGENT_HEARTBEAT","id":"b","payload":{"sequence":1}}"#,
        r#"{"type":"COMMAND_COMPLETE","id":"c","payload":{"commandId":"c","status":"COMPLETED"}}"#,
        r#"{"type":"AGENT_ERROR","id":"e","payload":{"recoverable":false}}"#,
        r#"{"type":"PING","id":"p","payload":{}}"#,
    ] {
        peer.say(text).await;
    }
    let (texts, ended) = peer.gather(secs(5)).await;
    assert_eq!((types(&texts), ended), (vec![], None), "not even an answer");
    assert_eq!(server.events().len(), 0);
    assert_eq!(server.counters.snapshot().get("messages_before_hello"), Some(&5));
    peer.hello("i").await;
    peer.expect("ACK").await;
    assert_eq!(server.words(secs(0)), ["connecting", "online"]);
}

#[tokio::test(start_paused = true)]
async fn a_link_without_a_hello_is_closed_after_ten_seconds() {
    let server = Server::start(ServerConfig::DEFAULT);
    let mut peer = dial(&server).await;
    let (texts, ended) = peer.gather(Duration::from_millis(9_999)).await;
    assert_eq!((texts.len(), ended), (0, None));
    let ServerToAgent::Error(error) = peer.expect("ERROR").await else { panic!() };
    assert_eq!(error.code, ErrorCode::AuthTimeout);
    assert_eq!(peer.next().await.unwrap_err().cause, CloseCause::HelloTimeout);
    assert!(server.now() <= Duration::from_millis(10_100), "{:?}", server.now());
    assert_eq!(server.events().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_link_that_talks_instead_of_saying_hello_is_closed() {
    let server = Server::start(ServerConfig::DEFAULT);
    let mut peer = dial(&server).await;
    for n in 0..65 {
        peer.say(&output(n)).await;
    }
    let (texts, ended) = peer.gather(secs(1)).await;
    assert_eq!(types(&texts), ["ERROR"]);
    assert_eq!(ended.unwrap().cause, CloseCause::HelloTimeout);
}

#[tokio::test(start_paused = true)]
async fn frames_between_hello_and_admission_are_handled_after_it_in_order() {
    let server = Server::start(ServerConfig::DEFAULT);
    server.order(Order::Admit(false));
    let mut peer = dial(&server).await;
    peer.hello("i").await;
    for n in 1..=40 {
        peer.say(&output(n)).await;
    }
    sleep(secs(5)).await;
    assert_eq!(shown(&server), [""; 0]);
    assert_eq!(server.words(secs(0)), ["connecting"]);
    server.order(Order::Admit(true));
    peer.expect("ACK").await;
    peer.say(&output(41)).await;
    sleep(secs(1)).await;
    let mut expected = vec!["welcomed".to_string()];
    expected.extend((1..=41).map(|n: u64| n.to_string()));
    assert_eq!(shown(&server), expected);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_admits_nobody_is_try_later() {
    let server = Server::start(ServerConfig::DEFAULT);
    server.order(Order::Admit(false));
    let mut peer = dial(&server).await;
    peer.hello("i").await;
    let (_, ended) = peer.gather(secs(26)).await;
    assert_eq!(ended.unwrap().cause, CloseCause::TryLater);
}

#[tokio::test(start_paused = true)]
async fn twenty_undecodable_messages_are_answered_and_one_more_closes_the_link() {
    let server = Server::start(ServerConfig::DEFAULT);
    let mut peer = dial(&server).await;
    peer.hello("i").await;
    peer.expect("ACK").await;
    for n in 0..20 {
        peer.say(&format!(
            r#"{{"type":"COMMAND_ACK","id":"bad-{n}","payload":{{"commandId":"c"}}}}"#
        ))
        .await;
    }
    let (texts, ended) = peer.gather(secs(1)).await;
    let errors: Vec<_> = texts
        .iter()
        .filter_map(|text| match text {
            ServerToAgent::Error(error) => Some(error),
            _ => None,
        })
        .collect();
    assert_eq!((errors.len(), ended), (20, None));
    for (n, error) in errors.into_iter().enumerate() {
        assert_eq!(error.code, ErrorCode::InvalidMessage);
        assert_eq!(error.original_message_id, Some(MessageId::new(format!("bad-{n}"))));
        assert_eq!(error.context.command_id, Some(CommandId::new("c")));
    }
    peer.say("x").await;
    let (_, ended) = peer.gather(secs(1)).await;
    assert_eq!(ended.unwrap().cause, CloseCause::TooManyUndecodable);
    sleep(secs(1)).await;
    assert_eq!(server.words(secs(0)), ["connecting", "online", "reconnecting"]);
}

#[tokio::test(start_paused = true)]
async fn the_one_message_too_many_is_answered_by_the_close_alone() {
    let server = Server::start(ServerConfig::DEFAULT);
    let mut peer = dial(&server).await;
    peer.hello("i").await;
    peer.expect("ACK").await;
    for _ in 0..21 {
        peer.say("x").await;
    }
    let (texts, ended) = peer.gather(secs(1)).await;
    assert_eq!(ended.unwrap().cause, CloseCause::TooManyUndecodable);
    assert_eq!(types(&texts).iter().filter(|kind| **kind == "ERROR").count(), 20);
}

#[tokio::test(start_paused = true)]
async fn undecodable_messages_are_a_sign_of_life_and_spread_out_they_are_borne() {
    let server = Server::start(ServerConfig::DEFAULT);
    let mut peer = dial(&server).await;
    peer.hello("i").await;
    peer.expect("ACK").await;
    for _ in 0..200 {
        peer.say("x").await;
        let (_, ended) = peer.gather(secs(4)).await;
        assert_eq!(ended, None);
    }
    assert_eq!(server.words(secs(0)), ["connecting", "online"]);
}

#[tokio::test(start_paused = true)]
async fn a_binary_frame_closes_the_link_with_a_reason() {
    let server = Server::start(ServerConfig::DEFAULT);
    let mut peer = dial(&server).await;
    peer.hello("i").await;
    peer.expect("ACK").await;
    peer.say(BINARY).await;
    let (texts, ended) = peer.gather(secs(1)).await;
    assert!(types(&texts).contains(&"ERROR"));
    assert_eq!(ended.unwrap().cause, CloseCause::UnsupportedData);
    sleep(secs(1)).await;
    assert_eq!(server.words(secs(0)).last(), Some(&"reconnecting"));
}

#[tokio::test(start_paused = true)]
async fn unknown_types_are_counted_and_else_ignored() {
    let server = Server::start(ServerConfig::DEFAULT);
    let mut peer = dial(&server).await;
    peer.hello("i").await;
    peer.expect("ACK").await;
    peer.say(r#"{"type":"TELEPORT","id":"t","payload":[1]}"#).await;
    let (texts, ended) = peer.gather(secs(1)).await;
    assert!(!types(&texts).contains(&"ERROR"));
    assert_eq!(ended, None);
    assert_eq!(server.counters.snapshot().get("unknown_types"), Some(&1));
}

/// Dials links on which [`BINARY`] arrives as a binary frame.
struct BinaryDialer(MemoryDialer);

#[async_trait]
impl Dialer for BinaryDialer {
    async fn dial(&self) -> Result<Link, DialError> {
        self.0.dial().await.map(with_binary)
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_closes_a_link_with_binary_frames_and_comes_back() {
    let (dialer, mut listener) = memory::network(8);
    let agent = Agent::start(BinaryDialer(dialer), "i");
    let mut server = raw::server(listener.accept().await.unwrap());
    server.expect("AGENT_CONNECT").await;
    server.say(BINARY).await;
    assert_eq!(server.next().await.unwrap_err().cause, CloseCause::UnsupportedData);
    let mut server = raw::server(listener.accept().await.unwrap());
    server.expect("AGENT_CONNECT").await;
    assert_eq!(
        agent.story(secs(0)),
        ["connecting", "joining", "reconnecting", "connecting", "joining"]
    );
}

#[tokio::test(start_paused = true)]
async fn an_agent_answers_a_request_that_it_cannot_read_with_one_failure() {
    let (dialer, mut listener) = memory::network(8);
    let agent = Agent::start(dialer, "i");
    let mut server = raw::server(listener.accept().await.unwrap());
    let (hello, _) = server.hello().await;
    server.accept(&hello, "a").await;
    server.say(r#"{"type":"COMMAND_REQUEST","id":"m2","payload":{"commandId":"c-9"}}"#).await;
    server.say("garbage").await;
    let (texts, ended) = server.gather(secs(5)).await;
    assert_eq!((types(&texts), ended), (vec!["COMMAND_COMPLETE"], None));
    let AgentToServer::CommandComplete(end) = &texts[0] else { panic!() };
    assert_eq!((end.command_id.as_str(), &end.status), ("c-9", &CommandPhase::Failed));
    assert_eq!(agent.story(secs(0)), ["connecting", "joining", "connected"]);
}

#[tokio::test(start_paused = true)]
async fn a_hello_that_is_never_answered_is_said_again_on_a_new_link() {
    let (dialer, mut listener) = memory::network(8);
    let agent = Agent::start(dialer, "i");
    let mut server = raw::server(listener.accept().await.unwrap());
    server.expect("AGENT_CONNECT").await;
    let (_, ended) = server.gather(secs(31)).await;
    assert_eq!(ended.unwrap().cause, CloseCause::NoAnswer);
    assert_eq!(agent.story(secs(0)), ["connecting", "joining", "reconnecting"]);
}

#[tokio::test(start_paused = true)]
async fn a_hello_whose_link_ended_before_anybody_looked_is_not_handed_over() {
    let (dialer, mut listener) = memory::network(1);
    let rules = SessionRules::new(ServerInstanceId::new("srv"), Vec::new()).with_output_window(0);
    let mut shard = Shard::new(rules, ServerConfig::DEFAULT, Limits::DEFAULT, Counters::default());
    for said_more in [true, false] {
        let mut peer = raw::agent(dialer.dial().await.unwrap());
        let link = listener.accept().await.unwrap();
        shard.accept(LinkTicket::new(link, (), Lane::default()));
        peer.hello("i").await;
        if said_more {
            peer.say(&output(1)).await;
        }
        drop(peer);
        // The owner of the shard is busy; all of it waits in the inbox.
        sleep(secs(1)).await;
        // An owner that was told would put in a machine, which nothing would ever take out again.
        let told = timeout(secs(60), shard.next()).await;
        assert!(told.is_err(), "{told:?}");
        assert!(shard.is_done());
    }
}
