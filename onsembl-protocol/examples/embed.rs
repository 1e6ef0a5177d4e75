//! The agent's machine in a plain loop: no tokio, no socket. A channel stands in for the threads
//! that do your I/O; the server behind it accepts the hello and never speaks again.
#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "this is the edge")]

use onsembl_protocol::id::Epoch;
use onsembl_protocol::liveness::HeartbeatTiming;
use onsembl_protocol::session::{
    AgentAction, AgentConfig, AgentConnection, AgentEvent, AgentInbound, AgentStatus, Dialect,
    SessionTerms,
};
use onsembl_protocol::time::{Deadline, Now};
use std::time::{Duration, Instant};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let ms = Duration::from_millis;
    let timing = HeartbeatTiming::new(ms(200), ms(500), ms(1000))?;
    let terms =
        SessionTerms { dialect: Dialect::Extended, epoch: Epoch(1), timing, end_orders: true };
    let (io, events) = std::sync::mpsc::channel();
    let origin = Instant::now();
    let mut agent = AgentConnection::new(AgentConfig::DEFAULT, 42);
    let mut event = AgentEvent::Start;
    loop {
        let step = agent.handle(event, Now::without_suspend(origin.elapsed()));
        for action in step.actions {
            println!("{:5} ms  {action:?}", origin.elapsed().as_millis());
            match action {
                AgentAction::Dial(link) => io.send(AgentEvent::LinkUp(link))?,
                AgentAction::SendHello(link) => {
                    io.send(AgentEvent::Received(link, AgentInbound::HelloAccepted(terms)))?;
                }
                AgentAction::Report(r) if r.status == (AgentStatus::Connecting { attempt: 2 }) => {
                    io.send(AgentEvent::Stop)?; // seen enough
                }
                _ => {} // send the heartbeat, close the link, log the report: yours to do
            }
        }
        let Deadline::At(wake) = step.deadline else { return Ok(()) };
        let wait = wake.since_origin().saturating_sub(origin.elapsed());
        event = events.recv_timeout(wait).unwrap_or(AgentEvent::Wake);
    }
}
