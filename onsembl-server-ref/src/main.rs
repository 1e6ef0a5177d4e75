//! `onsembl-server`: see [`onsembl_server_ref::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(onsembl_faults)]
    onsembl_transport::planted::plant_by_environment();
    onsembl_server_ref::cli::main()
}
