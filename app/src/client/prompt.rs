//! Asking a person at the terminal. The one place of the client that reads standard input.

use std::io::{self, BufRead as _, IsTerminal as _};

use tokio::sync::mpsc;

/// Lines that a person types, read on a thread of its own: a read of a terminal cannot be taken
/// back, and nothing must wait for it when the answer is not needed any more.
#[derive(Debug)]
pub struct Prompt {
    source: Source,
}

#[derive(Debug)]
enum Source {
    Nobody,
    Terminal,
    Lines(mpsc::UnboundedReceiver<String>),
}

impl Prompt {
    /// Whoever sits at standard input, if it is a terminal.
    pub fn terminal() -> Self {
        let source = if io::stdin().is_terminal() { Source::Terminal } else { Source::Nobody };
        Self { source }
    }

    /// Nobody: there is no asking.
    pub fn nobody() -> Self {
        Self { source: Source::Nobody }
    }

    /// Somebody who has answered already.
    #[cfg(test)]
    pub(crate) fn answered(lines: &[&str]) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        for line in lines {
            sender.send((*line).to_owned()).unwrap();
        }
        Self { source: Source::Lines(receiver) }
    }

    /// Somebody who has not answered yet; what is sent is the answer.
    #[cfg(test)]
    pub(crate) fn silent() -> (mpsc::UnboundedSender<String>, Self) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (sender, Self { source: Source::Lines(receiver) })
    }

    /// Whether there is somebody to ask.
    pub fn can_ask(&self) -> bool {
        !matches!(self.source, Source::Nobody)
    }

    /// The next line without its end; `None` when there is nobody (any more). May be dropped while
    /// it waits and called again.
    pub async fn answer(&mut self) -> Option<String> {
        if matches!(self.source, Source::Terminal) {
            let (sender, receiver) = mpsc::unbounded_channel();
            std::thread::spawn(move || {
                for line in io::stdin().lock().lines() {
                    let Ok(line) = line else { return };
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            });
            self.source = Source::Lines(receiver);
        }
        match &mut self.source {
            Source::Lines(lines) => lines.recv().await,
            Source::Nobody | Source::Terminal => None,
        }
    }
}

/// What a person said to "shall this plan be applied?".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Yes.
    Approve,
    /// No, and it is to end.
    Reject,
    /// Anything else: leave it as it is.
    Leave,
}

impl Answer {
    /// Reads a line.
    pub fn of(line: Option<&str>) -> Self {
        match line.map(|line| line.trim().to_lowercase()).as_deref() {
            Some("y" | "yes") => Self::Approve,
            Some("r" | "reject") => Self::Reject,
            _ => Self::Leave,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_yes_is_a_yes() {
        for (line, answer) in [
            (Some("y"), Answer::Approve),
            (Some(" YES\r"), Answer::Approve),
            (Some("reject"), Answer::Reject),
            (Some(""), Answer::Leave),
            (Some("n"), Answer::Leave),
            (Some("yes please"), Answer::Leave),
            (None, Answer::Leave),
        ] {
            assert_eq!(Answer::of(line), answer, "{line:?}");
        }
    }

    #[tokio::test]
    async fn lines_come_one_by_one_and_then_nobody() {
        let mut prompt = Prompt::answered(&["y", "n"]);
        assert!(prompt.can_ask());
        assert_eq!(prompt.answer().await.as_deref(), Some("y"));
        assert_eq!(prompt.answer().await.as_deref(), Some("n"));
        assert_eq!(prompt.answer().await, None);
        assert_eq!(Prompt::nobody().answer().await, None);
    }
}
