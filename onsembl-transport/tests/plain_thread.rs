//! The example of a plain thread, against a real shard: it is connected, and is again after each restart
//! of its server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code)]

#[path = "../../onsembl-protocol/examples/plain_thread.rs"]
mod plain_thread;

use async_trait::async_trait;
use onsembl_protocol::close::{Breakage, CloseCause};
use onsembl_protocol::id::{
    AgentId, AgentKey, Epoch, InstanceId, PresenceVersion, ServerInstanceId, SessionId,
};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::model::SERVER_FEATURES;
use onsembl_protocol::session::frames::AgentProfile;
use onsembl_protocol::session::{AgentStatus, Claimant, ServerConfig};
use onsembl_transport::counters::Counters;
use onsembl_transport::server::{Admission, Lane, LinkTicket, SessionRules, Shard, ShardEvent};
use onsembl_transport::{Frame, Link, LinkEnd, LinkReader, LinkWriter, Received};
use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// One JSON text a line.
struct Reader(Lines<BufReader<OwnedReadHalf>>);
struct Writer(OwnedWriteHalf);

#[async_trait]
impl LinkReader for Reader {
    async fn receive(&mut self) -> Result<Received, LinkEnd> {
        match self.0.next_line().await? {
            Some(text) => Ok(Received::Text(text)),
            None => Err(LinkEnd::broken(Breakage::EndOfStream, "")),
        }
    }
}

#[async_trait]
impl LinkWriter for Writer {
    async fn send(&mut self, frame: Frame) -> Result<(), LinkEnd> {
        if let Frame::Text(text) = frame {
            self.0.write_all(format!("{text}\n").as_bytes()).await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), LinkEnd> {
        Ok(self.0.flush().await?)
    }

    async fn close(&mut self, _: CloseCause) -> Result<(), LinkEnd> {
        Ok(self.0.shutdown().await?)
    }
}

fn link(stream: TcpStream) -> Link {
    let (read, write) = stream.into_split();
    let reader = Box::new(Reader(BufReader::new(read).lines()));
    Link { reader, writer: Box::new(Writer(write)), peer: "a thread".into(), local: None }
}

/// A server of one agent that keeps nothing: what it knows of sessions is `epoch`.
fn serve(listener: TcpListener, epoch: u64) -> JoinHandle<()> {
    let rules =
        SessionRules::new(ServerInstanceId::new(format!("run-{epoch}")), SERVER_FEATURES.to_vec())
            .with_output_window(1 << 20);
    let mut shard = Shard::new(rules, ServerConfig::DEFAULT, Limits::DEFAULT, Counters::default());
    tokio::spawn(async move {
        loop {
            let event = tokio::select! {
                Ok((stream, _)) = listener.accept() => {
                    shard.accept(LinkTicket::new(link(stream), (), Lane::default()));
                    continue;
                }
                event = shard.next() => event,
            };
            match event {
                ShardEvent::Hello(claim) => {
                    let key =
                        shard.insert(&Lane::default(), PresenceVersion(epoch), Epoch(epoch), None);
                    shard.join(claim.link, key, Claimant::SameProcess);
                }
                ShardEvent::Admit { key, link } => {
                    let admission = Admission::new(
                        AgentId::new("agent-1"),
                        SessionId::new(format!("session-{epoch}")),
                        Epoch(epoch + 1),
                    );
                    shard.admitted(key, link, admission);
                }
                ShardEvent::Record { key, epoch, sequence, at, .. } => {
                    shard.recorded(key, epoch, sequence, at);
                }
                _ => {}
            }
        }
    })
}

/// Waits for a session, and gives its epoch.
fn connected(statuses: &mpsc::Receiver<AgentStatus>) -> Epoch {
    loop {
        match statuses.recv_timeout(Duration::from_secs(30)).expect("the agent stands still") {
            AgentStatus::Connected { epoch } => return epoch,
            AgentStatus::Closed => panic!("it gave up"),
            _ => {}
        }
    }
}

#[test]
fn an_agent_in_a_plain_thread_is_back_after_each_restart_of_its_server() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let bind = |address: SocketAddr| runtime.block_on(TcpListener::bind(address)).unwrap();
    let mut listener = bind(([127, 0, 0, 1], 0).into());
    let address = listener.local_addr().unwrap();
    let (sender, statuses) = mpsc::channel();
    let agent = std::thread::spawn(move || {
        let profile = AgentProfile::new("plain", AgentKey::new("plain"), InstanceId::new("run-1"));
        let mut sessions = 0;
        plain_thread::run(&address.to_string(), profile, |status| {
            sessions += u32::from(matches!(status, AgentStatus::Connected { .. }));
            sender.send(status).is_ok() && sessions < 3
        });
    });
    for restart in 0..3 {
        let _in_runtime = runtime.enter();
        let server = serve(listener, restart * 10);
        assert_eq!(connected(&statuses), Epoch(restart * 10 + 1));
        server.abort();
        runtime.block_on(server).unwrap_err();
        listener = bind(address);
    }
    agent.join().unwrap();
    assert_eq!(statuses.iter().last(), Some(AgentStatus::Closed));
}
