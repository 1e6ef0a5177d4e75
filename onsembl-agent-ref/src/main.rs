//! `onsembl-agent`. All of it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(onsembl_faults)]
    onsembl_transport::planted::plant_by_environment();
    onsembl_agent_ref::cli::main()
}
