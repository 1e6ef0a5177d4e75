//! What the server's machines ask for, done.

use super::World;
use super::links::number;
use super::queue::What;
use super::seats::Seated;
use super::translate;
use super::wire::{AgentEnd, Packet, ServerEnd};
use crate::close::CloseCause;
use crate::fleet::FleetEvent;
use crate::lab::fact::{Agent, Down, Fact, Witness};
use crate::session::ServerAction;
use crate::step::Actions;

impl<W: Witness> World<W> {
    pub(super) fn perform(&mut self, seated: Seated, actions: Actions<ServerAction>) {
        let Seated { key, seat, agent, bound } = seated;
        let id = Agent(agent);
        for action in actions {
            match action {
                ServerAction::Admit(link) => {
                    self.say_server(&Fact::SessionAsked(id, self.wire_id(number(link))));
                    self.server.events.push_back(FleetEvent::Admit { seat, link });
                }
                ServerAction::Welcome { link, epoch } => {
                    let wire = number(link);
                    let entry = &mut self.wires[wire as usize];
                    if entry.server_end == ServerEnd::Joining {
                        entry.server_end = ServerEnd::Live;
                    }
                    self.began(seat, wire);
                    self.say_down(agent, wire, Down::Welcome(epoch.0));
                }
                ServerAction::Record { epoch, sequence } => {
                    self.say_server(&Fact::BeatAsked(id, epoch.0, sequence.0));
                    if bound {
                        self.ask_beat(agent, epoch, sequence);
                    }
                }
                ServerAction::SendBeat { link, beat } => {
                    self.say_down(agent, number(link), translate::beat_out(&beat));
                }
                ServerAction::SendPing(link) => self.say_down(agent, number(link), Down::Ping),
                ServerAction::Close(link, cause) => {
                    let wire = number(link);
                    let code = cause.code().0;
                    self.say_server(&Fact::ServerClosed(id, self.wire_id(wire), code));
                    self.close_at_server(wire, cause);
                }
                ServerAction::Report(presence) => {
                    let shown = translate::presence(&presence);
                    self.say_server(&Fact::Shown(id, shown));
                    let before = core::mem::replace(&mut self.shown[agent as usize], shown.status);
                    if before != shown.status {
                        self.coverage.server_went(before, shown.status);
                    }
                    self.server.events.push_back(FleetEvent::Presence {
                        seat,
                        presence,
                        beats: None,
                    });
                }
                ServerAction::Overslept(_) => self.say_server(&Fact::ServerOverslept(id)),
                ServerAction::Forget => {
                    let _ = self.server.supervisor.remove(key);
                    self.server.events.push_back(FleetEvent::Forgotten { seat, history: None });
                    self.say_server(&Fact::Forgotten(id));
                }
            }
        }
    }

    fn say_down(&mut self, agent: u32, wire: u32, frame: Down) {
        self.say_server(&Fact::ServerSent(Agent(agent), self.wire_id(wire), frame));
        if self.wires[wire as usize].server_end != ServerEnd::Closed {
            self.send_down(wire, Packet::Down(frame));
        }
    }

    /// Closes the server's end: a close frame goes out, and nothing is heard of the wire any more
    /// but that it is over.
    pub(super) fn close_at_server(&mut self, wire: u32, cause: CloseCause) {
        let entry = &mut self.wires[wire as usize];
        match entry.server_end {
            ServerEnd::Greeting | ServerEnd::Joining | ServerEnd::Live => {}
            ServerEnd::None | ServerEnd::Stub | ServerEnd::Closing | ServerEnd::Closed => return,
        }
        entry.server_end = ServerEnd::Closing;
        entry.to_server.clear();
        let wait = if cause == CloseCause::Silent { 0 } else { 2 * entry.latency };
        let code = cause.code().0;
        let at = entry.to_server.push_here(self.now + wait, Packet::Ended(code));
        self.queue.push(at, What::ToServer(wire));
        self.send_down(wire, Packet::Close(code));
    }

    /// Sends a packet to an agent's end, if a wire leads there.
    pub(super) fn send_down(&mut self, wire: u32, packet: Packet) {
        let entry = &mut self.wires[wire as usize];
        if entry.cut || entry.agent_end == AgentEnd::Closed {
            return;
        }
        let latency = self.agents[entry.agent as usize].latency(entry.latency);
        let at = entry.to_agent.push(self.now + latency, packet);
        self.queue.push(at, What::ToAgent(wire));
    }

    /// Sends a packet to the server's end, if a wire leads there.
    pub(super) fn send_up(&mut self, wire: u32, packet: Packet) {
        let entry = &mut self.wires[wire as usize];
        match entry.server_end {
            ServerEnd::Greeting | ServerEnd::Joining | ServerEnd::Live => {}
            ServerEnd::None | ServerEnd::Stub | ServerEnd::Closing | ServerEnd::Closed => return,
        }
        if entry.cut {
            return;
        }
        let latency = self.agents[entry.agent as usize].latency(entry.latency);
        let at = entry.to_server.push(self.now + latency, packet);
        self.queue.push(at, What::ToServer(wire));
    }
}
