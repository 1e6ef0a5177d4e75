//! What stands for the export of traces in a build without the feature `otel`: nothing is recorded, and no feature is
//! offered.

use super::{AgentError, AgentOptions};
use onsembl_protocol::model::Feature;
use onsembl_protocol::worker::{WorkerAction, WorkerEvent};
use onsembl_transport::counters::Counters;

/// No traces.
pub(super) struct Traces(());

#[allow(
    clippy::unused_self,
    clippy::needless_pass_by_ref_mut,
    reason = "as in a build with traces"
)]
impl Traces {
    #[allow(clippy::unnecessary_wraps, reason = "as in a build with traces")]
    pub(super) const fn new(_: &AgentOptions, _: &Counters) -> Result<Self, AgentError> {
        Ok(Self(()))
    }

    pub(super) const fn feature(&self) -> Option<Feature> {
        None
    }

    pub(super) const fn happened(&mut self, _: &WorkerEvent) {}

    pub(super) const fn performing(&mut self, _: &WorkerAction) {}

    pub(super) async fn finish(self) {}
}
