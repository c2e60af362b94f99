//! `GET /v1/stream`: status documents as server-sent events, so that a halt reaches a connected browser at once.
//!
//! One kind of event, `status`: its data is the status document as the control plane signed it, its id the epoch. It
//! comes on connecting and with every new document. Each document says everything, so there is nothing to replay:
//! whatever a `Last-Event-ID` says, the newest document comes first.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method};
use tokio::sync::watch;

use super::{Request, Response};
use crate::body::Body;
use crate::problem::{Code, Problem};
use crate::{App, published};

/// Media type of server-sent events (HTML, section 9.2).
const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
/// Compressing or buffering would hold events back.
const UNTOUCHED: HeaderValue = HeaderValue::from_static("no-store, no-transform");
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// How long a browser waits before it connects again, in milliseconds.
const RETRY: &str = "retry: 1000\n";
/// A comment: shows proxies and clients that the connection lives.
const HEARTBEAT: Bytes = Bytes::from_static(b":\n\n");

/// Opens a stream; 503 when as many are open as may be.
pub(crate) async fn read(
    app: &App,
    stop: &watch::Receiver<bool>,
    request: Request,
) -> Result<Response, Problem> {
    published(&app.live.load())?;
    let body = match *request.method() {
        Method::HEAD => Body::default(),
        _ => Body::Events(Events::new(Source {
            place: Place::take(app).ok_or_else(too_many)?,
            news: app.news.subscribe(),
            stop: stop.clone(),
            sent: Bytes::new(),
        })),
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, EVENT_STREAM);
    headers.insert(CACHE_CONTROL, UNTOUCHED);
    headers.insert(BUFFERING, HeaderValue::from_static("no"));
    Ok(response)
}

fn too_many() -> Problem {
    Problem::new(Code::Overloaded, "too many streams are open; ask /v1/status, or try again shortly")
}

/// An event and where the next one comes from; `None` at the end.
type Next = Option<(Bytes, Source)>;

/// The events of one stream.
pub(crate) struct Events {
    next: Pin<Box<dyn Future<Output = Next> + Send>>,
}

impl Events {
    fn new(source: Source) -> Self {
        Self { next: Box::pin(source.next()) }
    }

    /// The next event as it goes out; `None` when the edge shuts down.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let Some((bytes, source)) = ready!(self.next.as_mut().poll(cx)) else {
            // A finished future must not be polled again.
            self.next = Box::pin(std::future::ready(None));
            return Poll::Ready(None);
        };
        self.next = Box::pin(source.next());
        Poll::Ready(Some(bytes))
    }
}

/// What one stream listens to. Nothing queues up for a slow reader: it gets the newest document whenever it can take
/// one.
struct Source {
    place: Place,
    news: watch::Receiver<()>,
    stop: watch::Receiver<bool>,
    /// The last event that went out.
    sent: Bytes,
}

impl Source {
    async fn next(mut self) -> Next {
        let heartbeat = tokio::time::sleep(self.place.app.config.stream_heartbeat);
        tokio::pin!(heartbeat);
        loop {
            if *self.stop.borrow_and_update() {
                return None;
            }
            // Marked as seen before it is read: news that comes in between wakes us again.
            self.news.borrow_and_update();
            let event = self.place.app.live.load().as_ref().map(|live| live.status_event.clone())?;
            if event != self.sent {
                let first = self.sent.is_empty();
                self.sent = event.clone();
                let bytes = if first { Bytes::from([RETRY.as_bytes(), &event].concat()) } else { event };
                return Some((bytes, self));
            }
            tokio::select! {
                biased;
                stopped = self.stop.changed() => stopped.ok()?,
                news = self.news.changed() => news.ok()?,
                () = &mut heartbeat => return Some((HEARTBEAT, self)),
            }
        }
    }
}

/// One of the streams that may be open; given back when dropped.
struct Place {
    app: App,
}

impl Place {
    fn take(app: &App) -> Option<Self> {
        if app.streams.fetch_add(1, Ordering::AcqRel) >= app.config.max_streams {
            app.streams.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        app.metrics.streams.inc();
        Some(Self { app: App::clone(app) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.app.streams.fetch_sub(1, Ordering::AcqRel);
        self.app.metrics.streams.dec();
    }
}

#[cfg(test)]
mod tests;
