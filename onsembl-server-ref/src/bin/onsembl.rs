//! `onsembl`: see [`onsembl_server_ref::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    onsembl_server_ref::cli::user_main()
}
