//! What stands for the export of traces in a build without the feature `otel`: nothing is recorded, and no feature is
//! offered. A `traceparent` of a request is stored with its command anyway.

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
    pub(crate) const fn feature(&self) -> Option<Feature> {
        None
    }

    pub(crate) const fn asked(&mut self, _: &UserId, _: &mut CommandRequest) {}

    pub(crate) const fn answered(&mut self, _: &UserId) {}

    pub(crate) const fn recovered(&mut self, _: &UserId, _: &CommandRecord, _: WallTime) {}

    pub(crate) const fn noted(&mut self, _: &UserId, _: &FleetNote) {}

    pub(crate) const fn writing(&mut self, _: &UserId, _: &Write) {}

    pub(crate) const fn sending(&self, _: &UserId, _: &mut ServerToAgent) {}

    pub(crate) async fn finish(&mut self) {}
}
