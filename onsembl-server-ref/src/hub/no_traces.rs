//! What stands for the export of traces in a build without the feature `otel`: nothing is recorded, and no feature is
//! offered. A `traceparent` of a request is stored with its command all the same.

use onsembl_protocol::fleet::{CommandRecord, FleetNote, Write};
use onsembl_protocol::id::UserId;
use onsembl_protocol::model::Feature;
use onsembl_protocol::time::WallTime;
use onsembl_protocol::wire::ServerToAgent;
use onsembl_protocol::wire::payload::CommandRequest;

/// No traces.
#[derive(Debug, Default)]
pub struct Traces(());

#[allow(
    clippy::unused_self,
    clippy::needless_pass_by_ref_mut,
    reason = "as in a build with traces"
)]
impl Traces {
    pub(super) const fn feature(&self) -> Option<Feature> {
        None
    }

    pub(super) const fn asked(&mut self, _: &UserId, _: &mut CommandRequest) {}

    pub(super) const fn answered(&mut self, _: &UserId) {}

    pub(super) const fn recovered(&mut self, _: &UserId, _: &CommandRecord, _: WallTime) {}

    pub(super) const fn noted(&mut self, _: &UserId, _: &FleetNote) {}

    pub(super) const fn writing(&mut self, _: &UserId, _: &Write) {}

    pub(super) const fn sending(&self, _: &UserId, _: &mut ServerToAgent) {}

    pub(super) async fn finish(&mut self) {}
}
