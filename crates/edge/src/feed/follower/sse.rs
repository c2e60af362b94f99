//! Server-sent events (HTML, section 9.2.6), read with a bound: the readers to be had keep whatever comes.

use std::time::Duration;

use edgeseal_core::sealing::MAX_SNAPSHOT_TOKEN_BYTES;
use zeroize::{Zeroize, Zeroizing};

/// Most bytes of one event; a snapshot is the largest.
pub(super) const MAX_EVENT_BYTES: usize = MAX_SNAPSHOT_TOKEN_BYTES + 1024;
/// Room for a line that holds keys, so that it never moves and leaves a copy behind.
const LINE_BYTES: usize = 8 * 1024;

/// What a stream said.
#[derive(Debug, PartialEq)]
pub(super) enum Said {
    /// An event with its name; `message` where it has none.
    Event {
        name: String,
        /// May hold keys.
        data: Zeroizing<String>,
    },
    /// How long to wait before connecting again.
    Retry(Duration),
}

/// Why a stream is unreadable.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SseError {
    #[error("an event has more than the {MAX_EVENT_BYTES} bytes allowed")]
    TooLarge,
    #[error("an event is not text")]
    NotText,
}

/// Takes bytes as they come and says what is complete. Ids are of no use here: an edge knows what it has.
pub(super) struct Parser {
    line: Zeroizing<Vec<u8>>,
    name: String,
    data: Zeroizing<String>,
    has_data: bool,
    after_return: bool,
    at_start: bool,
}

impl Parser {
    pub(super) fn new() -> Self {
        Self {
            line: Zeroizing::new(Vec::with_capacity(LINE_BYTES)),
            name: String::new(),
            data: Zeroizing::new(String::new()),
            has_data: false,
            after_return: false,
            at_start: true,
        }
    }

    /// Whether an event has begun and not ended; comments are none.
    pub(super) fn is_mid_event(&self) -> bool {
        self.has_data || self.line.first().is_some_and(|&first| first != b':')
    }

    /// Reads on; what became complete is added to `said`.
    pub(super) fn push(&mut self, mut bytes: &[u8], said: &mut Vec<Said>) -> Result<(), SseError> {
        while let Some(first) = bytes.first() {
            if std::mem::take(&mut self.after_return) && *first == b'\n' {
                bytes = bytes.get(1..).unwrap_or_default();
                continue;
            }
            let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let (part, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
            if self.line.len() + self.data.len() + part.len() > MAX_EVENT_BYTES {
                return Err(SseError::TooLarge);
            }
            self.line.extend_from_slice(part);
            let Some((end, rest)) = rest.split_first() else { return Ok(()) };
            self.after_return = *end == b'\r';
            bytes = rest;
            self.take_line(said)?;
        }
        Ok(())
    }

    fn take_line(&mut self, said: &mut Vec<Said>) -> Result<(), SseError> {
        let line = std::mem::replace(&mut self.line, Zeroizing::new(Vec::new()));
        let mut text = std::str::from_utf8(&line).map_err(|_| SseError::NotText)?;
        if std::mem::take(&mut self.at_start) {
            text = text.strip_prefix('\u{feff}').unwrap_or(text);
        }
        self.take_field(text, said);
        // The buffer is used again unless a snapshot made it large.
        self.line = line;
        if self.line.capacity() > LINE_BYTES {
            self.line = Zeroizing::new(Vec::with_capacity(LINE_BYTES));
        }
        self.line.zeroize();
        Ok(())
    }

    fn take_field(&mut self, line: &str, said: &mut Vec<Said>) {
        if line.is_empty() {
            let (name, data) = (std::mem::take(&mut self.name), std::mem::take(&mut *self.data));
            if std::mem::take(&mut self.has_data) {
                let name = if name.is_empty() { "message".to_owned() } else { name };
                said.push(Said::Event { name, data: Zeroizing::new(data) });
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                if self.has_data {
                    self.data.push('\n');
                }
                self.has_data = true;
                self.data.push_str(value);
            }
            "retry" if value.bytes().all(|byte| byte.is_ascii_digit()) => {
                if let Ok(ms) = value.parse() {
                    said.push(Said::Retry(Duration::from_millis(ms)));
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, data: &str) -> Said {
        Said::Event { name: name.to_owned(), data: Zeroizing::new(data.to_owned()) }
    }

    /// Reads the text whole, and again byte by byte.
    #[track_caller]
    fn read(text: &str) -> Vec<Said> {
        let (mut whole, mut pieces) = (Vec::new(), Vec::new());
        Parser::new().push(text.as_bytes(), &mut whole).unwrap();
        let mut parser = Parser::new();
        for byte in text.bytes() {
            parser.push(&[byte], &mut pieces).unwrap();
        }
        assert_eq!(whole, pieces);
        whole
    }

    #[test]
    fn events_are_read_whatever_their_line_ends_and_pieces() {
        for end in ["\n", "\r\n", "\r"] {
            let text =
                ["retry: 1500", ":", ": note", "id: 7", "event: status", "data: abc", "", "data:x", "", ""];
            let said = read(&text.join(end));
            assert_eq!(
                said,
                [Said::Retry(Duration::from_millis(1_500)), event("status", "abc"), event("message", "x")]
            );
        }
    }

    #[test]
    fn the_rules_of_the_standard_hold() {
        assert_eq!(read("\u{feff}data: a\ndata:  b\ndata\n\n"), [event("message", "a\n b\n")]);
        assert_eq!(read("event: only\n\n"), [], "no data, no event");
        assert_eq!(read("data: unfinished\n"), []);
        assert_eq!(read("data\n\n"), [event("message", "")]);
        assert_eq!(read("retry: 1s\nretry: -1\nretry: 99999999999999999999999\nunknown: x\n\n"), []);
        assert_eq!(
            read("event: a\n\ndata: é\n\n"),
            [event("message", "é")],
            "the name does not outlive its event"
        );
    }

    #[test]
    fn an_event_beyond_the_bound_is_refused_however_it_comes() {
        let piece = vec![b'a'; 1024 * 1024];
        for line_end in ["", "\ndata: "] {
            let (mut parser, mut said) = (Parser::new(), Vec::new());
            parser.push(b"data: ", &mut said).unwrap();
            let refused = (0..20).find_map(|_| {
                parser
                    .push(&piece, &mut said)
                    .and_then(|()| parser.push(line_end.as_bytes(), &mut said))
                    .err()
            });
            assert_eq!(refused, Some(SseError::TooLarge), "{line_end:?}");
        }
        let mut parser = Parser::new();
        let refused = (0..20).find_map(|_| parser.push(&piece, &mut Vec::new()).err());
        assert_eq!(refused, Some(SseError::TooLarge), "no line end at all");
    }

    #[test]
    fn the_largest_snapshot_passes() {
        let (mut parser, mut said) = (Parser::new(), Vec::new());
        parser.push(b"event: snapshot\ndata: ", &mut said).unwrap();
        let token = vec![b'a'; MAX_SNAPSHOT_TOKEN_BYTES];
        for piece in token.chunks(100_000) {
            parser.push(piece, &mut said).unwrap();
            assert!(parser.is_mid_event());
        }
        parser.push(b"\n\n", &mut said).unwrap();
        assert!(matches!(&said[..], [Said::Event { data, .. }] if data.len() == MAX_SNAPSHOT_TOKEN_BYTES));
        assert!(!parser.is_mid_event());
    }

    #[test]
    fn what_is_not_text_is_refused() {
        assert_eq!(Parser::new().push(b"data: \xff\n", &mut Vec::new()), Err(SseError::NotText));
    }
}
