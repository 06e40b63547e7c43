//! How a secret comes in: from a file, from standard input, or typed on a terminal that does not
//! show it. Never from the command line, where every process of the machine sees it.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::path::Path;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use slipway_domain::Secret;
use zeroize::Zeroizing;

/// Most bytes of a secret.
const MAX_BYTES: u64 = 8 << 10;

/// Reads a secret: from `file` (`-` is standard input), else from whoever sits at the terminal, asked
/// with `question`, else from standard input. The end of a line is no part of it.
pub fn read(file: Option<&Path>, question: &str) -> io::Result<Secret<String>> {
    let mut text = Zeroizing::new(String::new());
    match file {
        Some(path) if path.as_os_str() != "-" => {
            std::fs::File::open(path)?.take(MAX_BYTES).read_to_string(&mut text)?;
        }
        None if io::stdin().is_terminal() => typed(question, &mut text)?,
        _ => {
            io::stdin().take(MAX_BYTES).read_to_string(&mut text)?;
        }
    }
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "there is nothing in it"));
    }
    Ok(Secret::new(text.to_owned()))
}

/// A terminal that shows nothing until this is dropped.
struct Silent(Termios);

impl Drop for Silent {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

fn typed(question: &str, text: &mut String) -> io::Result<()> {
    let before = tcgetattr(io::stdin())?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    silent.local_modes.insert(LocalModes::ECHONL);
    let mut screen = io::stderr();
    write!(screen, "{question}: ")?;
    screen.flush()?;
    tcsetattr(io::stdin(), OptionalActions::Flush, &silent)?;
    let shown_again = Silent(before);
    let read = io::stdin().lock().read_line(text);
    drop(shown_again);
    read.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_line_is_no_part_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        for (content, secret) in
            [("a b", "a b"), ("a b\n", "a b"), ("a b\r\n", "a b"), (" a \n\n", " a \n")]
        {
            std::fs::write(&path, content).unwrap();
            assert_eq!(read(Some(&path), "").unwrap().reveal(), secret);
        }
        std::fs::write(&path, "\n").unwrap();
        assert!(read(Some(&path), "").is_err());
        assert!(read(Some(&dir.path().join("none")), "").is_err());
    }
}
