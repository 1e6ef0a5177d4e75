//! `onsembl-agent`. All of it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    onsembl_agent_ref::cli::main()
}
