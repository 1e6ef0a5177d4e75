//! Plants the fault that the environment names, in a build under `--cfg onsembl_faults`.

pub use onsembl_protocol::liveness::PlantedFault;

/// The variable that names the fault of a process.
pub const FAULT_VARIABLE: &str = "ONSEMBL_PLANTED_FAULT";

/// Plants what the environment names.
///
/// # Panics
/// There is no fault of that name.
#[allow(clippy::panic, reason = "a suite that misspells a fault is to fail")]
pub fn plant_by_environment() {
    if let Some(name) = std::env::var_os(FAULT_VARIABLE) {
        let is_known = name.to_str().is_some_and(PlantedFault::plant);
        assert!(is_known, "{FAULT_VARIABLE} names no fault: {name:?}");
    }
}
