//! What stands for the export of traces in a build without the feature `otel`: nothing is recorded, and no feature is
//! offered.

use crate::options::{AgentError, AgentOptions};
use onsembl_protocol::model::Feature;
use onsembl_protocol::worker::{WorkerAction, WorkerEvent};
use onsembl_transport::counters::Counters;

/// No traces.
pub(crate) struct Traces(());

#[allow(
    clippy::unused_self,
    clippy::needless_pass_by_ref_mut,
    reason = "as in a build with traces"
)]
impl Traces {
    #[allow(clippy::unnecessary_wraps, reason = "as in a build with traces")]
    pub(crate) const fn new(_: &AgentOptions, _: &Counters) -> Result<Self, AgentError> {
        Ok(Self(()))
    }

    pub(crate) const fn feature(&self) -> Option<Feature> {
        None
    }

    pub(crate) const fn happened(&mut self, _: &WorkerEvent) {}

    pub(crate) const fn performing(&mut self, _: &WorkerAction) {}

    pub(crate) async fn finish(self) {}
}
