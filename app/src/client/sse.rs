//! Reads an event stream (`text/event-stream`) piece by piece, as the WHATWG standard describes it.
//! Holds no connection; [`super::http`] feeds it.

use std::time::Duration;

/// Bytes at most of one frame.
const MAX_FRAME_BYTES: usize = 8 << 20;

/// One event of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its type; `message` when the server names none.
    pub event: String,
    /// Its data; several `data` lines are joined by line feeds.
    pub data: String,
    /// The last id that the stream named, up to here.
    pub id: Option<String>,
}

/// A frame is larger than anything that a server of ours sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event of the stream is larger than {} MiB", MAX_FRAME_BYTES >> 20)]
pub struct TooLong;

/// The reader's state between two pieces.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    after_cr: bool,
    started: bool,
    event: String,
    data: Option<String>,
    id: Option<String>,
    retry: Option<Duration>,
}

impl Parser {
    /// A reader at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long the server wants a client to wait before it comes back.
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// Takes the next piece and gives the frames that it completes.
    pub fn push(&mut self, piece: &[u8]) -> Result<Vec<Frame>, TooLong> {
        let mut frames = Vec::new();
        for &byte in piece {
            let after_cr = std::mem::take(&mut self.after_cr);
            match byte {
                b'\n' if after_cr => {}
                b'\n' | b'\r' => {
                    self.after_cr = byte == b'\r';
                    let line = std::mem::take(&mut self.line);
                    frames.extend(self.end_of_line(&line));
                }
                _ => self.line.push(byte),
            }
            if self.line.len() + self.data.as_ref().map_or(0, String::len) > MAX_FRAME_BYTES {
                return Err(TooLong);
            }
        }
        Ok(frames)
    }

    fn end_of_line(&mut self, line: &[u8]) -> Option<Frame> {
        let line = if self.started {
            line
        } else {
            self.started = true;
            line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line)
        };
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            let data = self.data.take()?;
            let event = if event.is_empty() { "message".to_owned() } else { event };
            return Some(Frame { event, data, id: self.id.clone() });
        }
        let text = String::from_utf8_lossy(line);
        let (field, value) = match text.split_once(':') {
            Some((field, value)) => (field, value.strip_prefix(' ').unwrap_or(value)),
            None => (&*text, ""),
        };
        match field {
            "event" => value.clone_into(&mut self.event),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            "retry" => {
                if let Ok(millis) = value.parse() {
                    self.retry = Some(Duration::from_millis(millis));
                }
            }
            // Comments (keep-alives) have an empty field name; the rest is of the future.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn whole(text: &str) -> Vec<Frame> {
        Parser::new().push(text.as_bytes()).unwrap()
    }

    fn frame(event: &str, data: &str, id: Option<&str>) -> Frame {
        Frame { event: event.into(), data: data.into(), id: id.map(Into::into) }
    }

    #[test]
    fn frames_have_type_data_and_id() {
        let stream = "id: 1\nevent: step\ndata: {\"a\":1}\n\n: keep-alive\n\ndata:x\ndata: y\n\n";
        assert_eq!(
            whole(stream),
            [frame("step", "{\"a\":1}", Some("1")), frame("message", "x\ny", Some("1"))]
        );
    }

    #[test]
    fn a_frame_without_data_is_none_and_leaves_nothing_behind() {
        assert_eq!(whole("event: step\n\ndata: x\n\n"), [frame("message", "x", None)]);
        assert_eq!(whole("data\n\n"), [frame("message", "", None)]);
        assert_eq!(whole("data: not finished\n"), []);
    }

    #[test]
    fn a_byte_order_mark_and_every_line_end_are_understood() {
        let expected = [frame("a", "1", None), frame("b", "2", None)];
        for end in ["\n", "\r\n", "\r"] {
            let stream = "\u{feff}event:a\ndata:1\n\nevent:b\ndata:2\n\n".replace('\n', end);
            assert_eq!(whole(&stream), expected, "{end:?}");
        }
    }

    #[test]
    fn retry_is_remembered_and_nonsense_is_not() {
        let mut parser = Parser::new();
        parser.push(b"retry: 1500\nretry: soon\nid: a\0b\ndata:\n\n").unwrap();
        assert_eq!(parser.retry(), Some(Duration::from_millis(1500)));
        assert_eq!(parser.id, None);
    }

    #[test]
    fn a_frame_without_end_is_stopped() {
        let mut parser = Parser::new();
        let piece = vec![b'x'; 1 << 20];
        let results: Vec<_> = (0..9).map(|_| parser.push(&piece)).collect();
        assert!(results[..7].iter().all(Result::is_ok));
        assert_eq!(results[8], Err(TooLong));
    }

    proptest! {
        #[test]
        fn where_the_pieces_are_cut_makes_no_difference(
            stream in "(id: [0-9]|event: [a-z]é?|data: [a-zé]{0,4}|:|\r|\n|\r\n){0,30}",
            cut in 1usize..7,
        ) {
            let mut parser = Parser::new();
            let mut frames = Vec::new();
            for piece in stream.as_bytes().chunks(cut) {
                frames.extend(parser.push(piece).unwrap());
            }
            prop_assert_eq!(frames, whole(&stream));
        }

        #[test]
        fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
            prop_assert!(Parser::new().push(&bytes).is_ok());
        }
    }
}
