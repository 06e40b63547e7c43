//! The client of the REST API: what `slipway deploy`, `approve`, `logs` and the like do.
//!
//! [`http::Client`] is the typed client, [`view`] makes text of what it gives, [`wait`] follows a
//! deployment, and `verb` puts these together, one function a subcommand. Nothing here knows how
//! a deployment works: the server decides, the client shows.

pub mod credentials;
pub mod error;
pub mod exit;
pub mod http;
pub mod input;
#[cfg(test)]
pub(crate) mod mock;
pub mod prompt;
pub mod reference;
pub mod screen;
pub mod sse;
mod verb;
pub mod view;
pub mod wait;

use std::process::ExitCode;

pub use self::error::{ClientError, Problem};
pub use self::exit::Exit;
pub use self::http::Client;
pub use self::verb::read_checkpoints;
pub use crate::cli::{ClientCommand, ClientGlobal};

/// Does what a client subcommand says and gives its exit code; see [`exit::TABLE`].
pub async fn run(command: ClientCommand, global: ClientGlobal) -> ExitCode {
    let screen = screen::Screen::new(global.json);
    let done = match Client::new(&global.url) {
        Ok(client) => {
            let shown = slipway_config::client_token();
            let client = client.showing(shown, credentials::CredentialsFile::of_user());
            verb::perform(&client, &screen, command).await
        }
        Err(error) => Err(error),
    };
    let exit = match done {
        Ok(exit) => exit,
        Err(error) => {
            let exit = error.exit();
            if exit != Exit::Success {
                screen.error(&error);
            }
            exit
        }
    };
    exit.into()
}
