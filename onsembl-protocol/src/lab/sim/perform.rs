//! What the server's machines ask for, done, and what the store answers.

use super::env::{Env, wire_id};
use super::links::number;
use super::seats::Seated;
use super::server::Server;
use super::store::Done;
use super::translate;
use super::wire::{Packet, ServerEnd};
use crate::fleet::{FleetEvent, StoreAnswer};
use crate::id::{BeatSequence, Epoch};
use crate::lab::fact::{Agent, Down, Fact, Witness};
use crate::session::{ServerAction, ServerEvent, StoreTrouble};
use crate::step::Actions;
use crate::supervisor::Key;

impl Server {
    pub(super) fn perform<W: Witness>(
        &mut self,
        env: &mut Env<W>,
        seated: Seated,
        actions: Actions<ServerAction>,
    ) {
        let Seated { key, seat, agent, bound } = seated;
        let id = Agent(agent);
        for action in actions {
            match action {
                ServerAction::Admit(link) => {
                    env.say(&self.host, &Fact::SessionAsked(id, wire_id(number(link))));
                    self.events.push_back(FleetEvent::Admit { seat, link });
                }
                ServerAction::Welcome { link, epoch } => {
                    let wire = number(link);
                    let entry = &mut env.net.wires[wire as usize];
                    if entry.server_end == ServerEnd::Joining {
                        entry.server_end = ServerEnd::Live;
                    }
                    self.began(seat, wire);
                    self.say_down(env, agent, wire, Down::Welcome(epoch.0));
                }
                ServerAction::Record { epoch, sequence } => {
                    env.say(&self.host, &Fact::BeatAsked(id, epoch.0, sequence.0));
                    if bound {
                        self.store.ask_beat(env, agent, epoch, sequence);
                    }
                }
                ServerAction::SendBeat { link, beat } => {
                    self.say_down(env, agent, number(link), translate::beat_out(&beat));
                }
                ServerAction::SendPing(link) => self.say_down(env, agent, number(link), Down::Ping),
                ServerAction::Close(link, cause) => {
                    let wire = number(link);
                    let code = cause.code().0;
                    env.say(&self.host, &Fact::ServerClosed(id, wire_id(wire), code));
                    env.close_at_server(wire, cause);
                }
                ServerAction::Report(presence) => {
                    let shown = translate::presence(&presence);
                    env.say(&self.host, &Fact::Shown(id, shown));
                    let before = core::mem::replace(&mut self.shown[agent as usize], shown.status);
                    if before != shown.status {
                        env.coverage.server_went(before, shown.status);
                    }
                    self.events.push_back(FleetEvent::Presence { seat, presence, beats: None });
                }
                ServerAction::Overslept(_) => env.say(&self.host, &Fact::ServerOverslept(id)),
                ServerAction::Forget => {
                    let _ = self.supervisor.remove(key);
                    self.events.push_back(FleetEvent::Forgotten { seat, history: None });
                    env.say(&self.host, &Fact::Forgotten(id));
                }
            }
        }
    }

    fn say_down<W: Witness>(&mut self, env: &mut Env<W>, agent: u32, wire: u32, frame: Down) {
        env.say(&self.host, &Fact::ServerSent(Agent(agent), wire_id(wire), frame));
        if env.net.wires[wire as usize].server_end != ServerEnd::Closed {
            env.send_down(wire, Packet::Down(frame));
        }
    }

    /// Does all that is due, as far as the store can. It lives in the server's process.
    pub(super) fn on_store<W: Witness>(&mut self, env: &mut Env<W>) {
        while self.is_executed()
            && let Some(done) = self.store.next(env)
        {
            match done {
                Done::Session { seat, link, session, opened } => {
                    let answer = StoreAnswer::Session { seat, link, session, opened };
                    self.feed_fleet(env, FleetEvent::Store(answer));
                }
                Done::Beat { agent, epoch, sequence } => {
                    self.tell_beat(env, agent, epoch, sequence);
                }
                Done::Unheard => {}
            }
        }
    }

    fn tell_beat<W: Witness>(&mut self, env: &mut Env<W>, agent: u32, epoch: u64, sequence: u64) {
        let Some(key) = self.machine_of(agent) else { return };
        env.say(&self.host, &Fact::BeatAnswered(Agent(agent), epoch, sequence));
        let at = self.host.wall(env.now);
        let (epoch, sequence) = (Epoch(epoch), BeatSequence(sequence));
        self.feed_server(env, key, ServerEvent::Recorded { epoch, sequence, at });
    }

    /// The store says how it is, to every machine.
    pub(super) fn tell_trouble<W: Witness>(
        &mut self,
        env: &mut Env<W>,
        trouble: Option<StoreTrouble>,
    ) {
        self.store.trouble = trouble;
        if !self.is_executed() {
            return;
        }
        for agent in 0..self.store.agents() as u32 {
            if let Some(key) = self.machine_of(agent) {
                self.tell_trouble_to(env, key);
            }
        }
    }

    pub(super) fn tell_trouble_to<W: Witness>(&mut self, env: &mut Env<W>, key: Key) {
        let Some(seated) = self.seats.of_key(key) else { return };
        let trouble = self.store.trouble;
        env.say(&self.host, &Fact::StoreReported(Agent(seated.agent), trouble.is_some()));
        self.feed_server(env, key, ServerEvent::Store(trouble));
    }
}
