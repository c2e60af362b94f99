//! Server-sent events as a browser reads them.

use anyhow::ensure;
use reqwest::{Client, Response};

/// One event.
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) data: String,
}

/// An open stream.
pub(crate) struct Events {
    answer: Response,
    buffer: Vec<u8>,
}

impl Events {
    pub(crate) async fn open(client: &Client, url: &str, token: Option<&str>) -> anyhow::Result<Self> {
        let mut request = client.get(url);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await?;
        ensure!(answer.status().is_success(), "{url}: {}", answer.status());
        Ok(Self { answer, buffer: Vec::new() })
    }

    pub(crate) async fn next(&mut self) -> anyhow::Result<Event> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|window| window == b"\n\n") {
                let rest = self.buffer.split_off(end + 2);
                let block = String::from_utf8(std::mem::replace(&mut self.buffer, rest))?;
                let field = |name: &str| {
                    let line = block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                    line.unwrap_or_default().to_owned()
                };
                let event = Event { name: field("event"), id: field("id"), data: field("data") };
                if !event.name.is_empty() {
                    return Ok(event);
                }
                continue;
            }
            let chunk = self.answer.chunk().await?;
            self.buffer.extend_from_slice(&chunk.ok_or_else(|| anyhow::anyhow!("the stream ended"))?);
        }
    }
}
