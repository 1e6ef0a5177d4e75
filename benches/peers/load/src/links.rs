//! The state of each connection and stream of a load generator.

use crate::dialect::Wire;
use crate::message::Received;
use mio::net::TcpStream;
use std::collections::VecDeque;

/// One connection, by its place among all.
#[derive(Debug)]
pub struct Link {
    pub socket: Option<TcpStream>,
    pub wire: Wire,
    pub input: Vec<u8>,
    pub sent: usize,
    /// In session.
    pub live: bool,
    pub leaving: bool,
    /// Its first beat is due, since it was taken into session.
    pub greets: bool,
    /// When it was connected, upgraded and in session, in microseconds of the generator's clock.
    pub connected: u64,
    pub upgraded: u64,
    pub at: u64,
    /// Beats that were not recorded yet, and when they were sent.
    pub beats: VecDeque<(u64, u64)>,
    /// Bytes (MQTT: messages) that are written and not stored.
    pub unstored: u64,
    /// Chunks that were acknowledged by their number (MQTT).
    pub acknowledged: u64,
}

/// What one command writes.
#[derive(Debug)]
pub struct Stream {
    pub link: usize,
    pub command: String,
    /// The command runs.
    pub open: bool,
    pub sent: u64,
    pub chunks: u64,
    pub bytes: u64,
    pub stored: u64,
    pub received: Received,
}

impl Link {
    /// One that is to be dialled.
    pub fn new(wire: Wire) -> Self {
        Self {
            socket: None,
            wire,
            input: Vec::new(),
            sent: 0,
            live: false,
            leaving: false,
            greets: false,
            connected: 0,
            upgraded: 0,
            at: 0,
            beats: VecDeque::new(),
            unstored: 0,
            acknowledged: 0,
        }
    }
}
