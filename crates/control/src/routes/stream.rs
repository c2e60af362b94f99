//! `GET /edge/stream`: server-sent events that bring an edge what is new, the moment it is.
//!
//! Each stream watches the latest state and sends what differs from what it sent before: an edge that reads slowly
//! misses what was overtaken and never makes us queue. All streams share the bytes of what they send.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use edgeseal_core::time::Timestamp;
use futures_util::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use zeroize::Zeroizing;

use super::at;
use super::call::Call;
use super::operation::{Access, Operation, Reach};
use crate::auth::Scope;
use crate::hub::Current;
use crate::metrics::Connected;
use crate::problem::{Code, Problem};
use crate::router::Desk;

/// What an edge waits before it connects again, in milliseconds.
const RETRY: &[u8] = b"retry: 1000\n\n";
/// A comment, so that proxies and edges see that the stream is alive.
const COMMENT: &[u8] = b":\n\n";
/// How often the comment is sent.
const COMMENT_EVERY: Duration = Duration::from_secs(15);

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get(at("/edge/stream"), "streamEdge", "Hear what is new, as server-sent events")
            .tag("edges")
            .describe(
                "Events `keys` (secret), `keyset`, `snapshot` (its `id` is the version) and `status`, each with one line of \
                 data. A group ends with `status`; only then is what came before it complete. Comes anew at least every \
                 ten seconds.",
            )
            .allow(Access::Scope(Scope::Edge), Reach::Environment)
            .replies_in(StatusCode::OK, "The events, without end.", "text/event-stream")
            .by(listen),
    ]
}

async fn listen(call: Call) -> Result<Response, Problem> {
    let known = last_event_id(&call.headers)?;
    let current = call.control().subscribe(&call.environment).await?;
    let place = Arc::clone(&call.desk.streams).try_acquire_owned().map_err(|_| {
        let detail = "as many edges as this process serves are connected; try again, or ask '/edge/bundle'";
        Problem::new(Code::Overloaded, detail)
    })?;
    let comment = {
        let mut comment = interval_at(Instant::now() + COMMENT_EVERY, COMMENT_EVERY);
        comment.set_missed_tick_behavior(MissedTickBehavior::Delay);
        comment
    };
    let recheck = {
        let every = call.desk.settings.stream_recheck;
        let mut recheck = interval_at(Instant::now() + every, every);
        recheck.set_missed_tick_behavior(MissedTickBehavior::Delay);
        recheck
    };
    let events = Events {
        token_id: call.caller.actor.id,
        expires_at: call.caller.expires_at,
        sent: Sent { cv: known, ..Sent::default() },
        current,
        begun: false,
        tokens: call.desk.control.tokens_changed(),
        closing: call.desk.closing.subscribe(),
        comment,
        recheck,
        chunks: VecDeque::from([Bytes::from_static(RETRY)]),
        _counted: call.desk.metrics.edge_connected(),
        _place: place,
        desk: call.desk,
    };
    let body = stream::unfold(events, |mut events| async move {
        let chunk = events.next().await?;
        Some((Ok::<Bytes, Infallible>(chunk), events))
    });
    let mut response = Response::new(Body::from_stream(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(response)
}

/// The snapshot version that an edge has; nothing when it has none.
fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let mut values = headers.get_all("last-event-id").iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    let version = text.parse::<u64>().ok().filter(|version| version.to_string() == text);
    match (version, values.next()) {
        (Some(version), None) => Ok(Some(version)),
        _ => {
            let detail = "'last-event-id' must be the version of a snapshot, as the stream sends it";
            Err(Problem::new(Code::InvalidHeader, detail))
        }
    }
}

/// One edge's stream.
struct Events {
    desk: Arc<Desk>,
    token_id: String,
    expires_at: Option<Timestamp>,
    current: watch::Receiver<Arc<Current>>,
    /// Whether the first group was made.
    begun: bool,
    sent: Sent,
    tokens: watch::Receiver<u64>,
    closing: watch::Receiver<bool>,
    comment: Interval,
    recheck: Interval,
    /// What is to be written next.
    chunks: VecDeque<Bytes>,
    _counted: Connected,
    _place: OwnedSemaphorePermit,
}

impl Events {
    /// The next bytes; `None` when the stream is over.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(chunk) = self.chunks.pop_front() {
                return Some(chunk);
            }
            if !self.begun {
                self.begun = true;
                let current = Arc::clone(&self.current.borrow_and_update());
                self.sent.group(&current, &mut self.chunks);
                continue;
            }
            match self.wake().await? {
                Woken::Token => self.may_go_on().await?,
                Woken::News => {
                    let current = Arc::clone(&self.current.borrow_and_update());
                    self.sent.group(&current, &mut self.chunks);
                }
                Woken::Rest => self.chunks.push_back(Bytes::from_static(COMMENT)),
            }
        }
    }

    /// Sleeps until something is to be done; `None` when the stream is over.
    async fn wake(&mut self) -> Option<Woken> {
        tokio::select! {
            biased;
            _closing = self.closing.wait_for(|closing| *closing) => None,
            changed = self.tokens.changed() => changed.ok().map(|()| Woken::Token),
            _tick = self.recheck.tick() => Some(Woken::Token),
            changed = self.current.changed() => changed.ok().map(|()| Woken::News),
            _tick = self.comment.tick() => Some(Woken::Rest),
        }
    }

    /// Looks the token up again; `None` when it is not good any more. While the store does not say, the stream goes on:
    /// edges need their status documents most when something is down.
    async fn may_go_on(&self) -> Option<()> {
        if self.expires_at.is_some_and(|expires_at| self.desk.control.now() >= expires_at) {
            return None;
        }
        match self.desk.auth.still_good(&self.desk, &self.token_id).await {
            Ok(good) => good.then_some(()),
            Err(error) => {
                tracing::debug!(%error, "cannot look up the token of a stream; it goes on");
                Some(())
            }
        }
    }
}

/// Why a stream woke up.
enum Woken {
    /// The token has to be looked up again.
    Token,
    /// There is something new.
    News,
    /// Nothing happened for a while.
    Rest,
}

/// What a stream sent last.
#[derive(Default)]
struct Sent {
    /// Name of the keys, which holds no secret.
    keys: Option<String>,
    keyset: Option<Arc<str>>,
    cv: Option<u64>,
    snapshot: Option<Arc<str>>,
    status: Option<Arc<str>>,
}

impl Sent {
    /// Appends the events that lead from what was sent to `current`; the last one is `status`.
    fn group(&mut self, current: &Current, chunks: &mut VecDeque<Bytes>) {
        let set = &current.set;
        let keys = current.keys.name();
        if self.keys.as_ref() != Some(&keys) {
            match current.keys.to_json() {
                Ok(json) => event(chunks, "event: keys\ndata: ", Bytes::from_owner(SecretText(json))),
                Err(error) => tracing::error!(%error, "keys have no JSON form; an edge goes without"),
            }
            self.keys = Some(keys);
        }
        if !same(self.keyset.as_ref(), &set.keyset) {
            event(chunks, "event: keyset\ndata: ", shared(&set.keyset));
            self.keyset = Some(Arc::clone(&set.keyset));
        }
        // An edge that connects with this version has it, whoever signed it; one that is connected gets what was
        // signed anew.
        let has_snapshot = match &self.snapshot {
            Some(snapshot) => same(Some(snapshot), &set.snapshot),
            None => self.cv == Some(set.cv),
        };
        if !has_snapshot {
            let id = format!("event: snapshot\nid: {}\ndata: ", set.cv);
            event(chunks, Bytes::from(id), shared(&set.snapshot));
        }
        (self.cv, self.snapshot) = (Some(set.cv), Some(Arc::clone(&set.snapshot)));
        let something_before = !chunks.is_empty();
        if something_before || !same(self.status.as_ref(), &set.status) {
            event(chunks, "event: status\ndata: ", shared(&set.status));
            self.status = Some(Arc::clone(&set.status));
        }
    }
}

fn same(sent: Option<&Arc<str>>, now: &Arc<str>) -> bool {
    sent.is_some_and(|sent| Arc::ptr_eq(sent, now) || sent == now)
}

/// Three chunks, so that megabytes of data are never copied for the sake of a line before them.
fn event(chunks: &mut VecDeque<Bytes>, head: impl Into<Bytes>, data: Bytes) {
    chunks.extend([head.into(), data, Bytes::from_static(b"\n\n")]);
}

/// The bytes of a signed document, shared by all streams.
fn shared(text: &Arc<str>) -> Bytes {
    Bytes::from_owner(SharedText(Arc::clone(text)))
}

struct SharedText(Arc<str>);

impl AsRef<[u8]> for SharedText {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// Wiped once it is sent.
struct SecretText(Zeroizing<String>);

impl AsRef<[u8]> for SecretText {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

#[cfg(test)]
mod tests;
