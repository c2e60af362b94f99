//! One connection: served by hyper, watched by a clock, ended politely.
//!
//! hyper's own header timeout allocates a timer for each request and knows no difference between a client that rests
//! and one that dribbles. Here one timer per connection looks at what the connection is doing whenever it fires.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::header::HOST;
use http::{StatusCode, Version};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::App;
use crate::config::{Config, MAX_HEADER_BYTES, MAX_URL_BYTES};
use crate::problem::{Code, Problem};
use crate::route::Route;
use crate::router;
use crate::routes::{Refusal, Request, Response};

/// Longest wait for a client to take its last answer before the connection is closed, and the most bytes read
/// meanwhile. Closing with unread bytes would reset the connection and could destroy that answer.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 256 * 1024;

/// Serves one connection until it ends or `stop` turns true.
pub(crate) async fn serve(stream: TcpStream, app: &App, mut stop: watch::Receiver<bool>) {
    let progress = Arc::new(Progress::new(Instant::now()));
    let config = &app.config;
    let stopped = stop.clone();
    let service = service_fn(|request| {
        progress.enter(Phase::Answering, Instant::now());
        let (progress, stopped) = (&progress, &stopped);
        async move {
            let response = answer(app, stopped, request).await;
            let next = if response.body().is_stream() { Phase::Streaming } else { Phase::Resting };
            progress.enter(next, Instant::now());
            Ok::<_, Infallible>(response)
        }
    });
    let io = TokioIo::new(Watched { stream, progress: Arc::clone(&progress), ended: false, refusal: None });
    let mut connection = http1::Builder::new()
        .max_buf_size(MAX_HEADER_BYTES)
        .max_header_size(MAX_HEADER_BYTES)
        .header_read_timeout(None)
        // A client may say that it has sent everything and still wait for the answer (`nc -N` does).
        .half_close(true)
        .serve_connection(io, service);

    let timer = tokio::time::sleep_until(progress.deadline(config, Instant::now()));
    tokio::pin!(timer);
    let mut stopping = false;
    let end = loop {
        tokio::select! {
            biased;
            served = &mut connection => break if served.is_ok() { End::Done } else { End::Broken },
            () = &mut timer => {
                let now = Instant::now();
                let deadline = progress.deadline(config, now);
                if deadline <= now {
                    break End::Overdue;
                }
                timer.as_mut().reset(deadline);
            }
            _changed = stop.changed(), if !stopping => {
                stopping = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
        }
    };

    let mut io = connection.into_parts().io.into_inner();
    let refusal = match (end, progress.phase()) {
        (End::Overdue, Phase::Header) => {
            let seconds = config.header_read_timeout.as_secs();
            Some(Problem::new(Code::HeaderTimeout, format!("the header did not arrive within {seconds} s")))
        }
        // hyper gives up without a word on HTTP/2 by prior knowledge.
        (End::Broken, Phase::Header) if io.refusal.is_none() => Some(malformed()),
        _ => None,
    };
    let wording = io.refusal.as_ref().map(|refusal| refusal.status);
    if let Some(status) = wording.or_else(|| refusal.as_ref().map(Problem::status)) {
        // No route saw these requests; how long they took is the client's doing.
        app.metrics.answered(Route::Other, status, Duration::ZERO);
    }
    if let Some(refusal) = refusal {
        // Best effort: whoever dribbles a header may not read either.
        let _sent = io.stream.try_write(refusal.wire().as_bytes());
    }
    let only_rested = matches!((end, progress.phase()), (End::Overdue, Phase::Resting));
    if !io.ended && !only_rested {
        linger(&mut io.stream).await;
    }
}

/// How a connection came to its end.
#[derive(Clone, Copy)]
enum End {
    /// As HTTP wants it.
    Done,
    /// hyper could not go on.
    Broken,
    /// The clock ended it.
    Overdue,
}

/// Looks at what no route has to look at, then routes.
async fn answer(app: &App, stop: &watch::Receiver<bool>, request: Request) -> Response {
    let refused = |request: &Request, problem: Problem| {
        app.metrics.answered(Route::of(request.uri().path()), problem.status(), Duration::ZERO);
        problem.into_response()
    };
    if request.uri().path_and_query().is_some_and(|target| target.as_str().len() > MAX_URL_BYTES) {
        let detail = format!("the URL may have at most {MAX_URL_BYTES} bytes; send attributes by POST");
        return refused(&request, Problem::new(Code::UrlTooLong, detail));
    }
    if request.version() == Version::HTTP_11 && request.headers().get_all(HOST).iter().count() != 1 {
        let detail = "an HTTP/1.1 request must have exactly one 'host' (RFC 9112 section 3.2)";
        return refused(&request, Problem::new(Code::MalformedRequest, detail));
    }
    router::dispatch(app, stop, request).await
}

/// Says no to a connection that is one too many.
pub(crate) async fn refuse(mut stream: TcpStream) {
    let refusal = Problem::new(Code::Overloaded, "too many connections are open; try again shortly").wire();
    if stream.write_all(refusal.as_bytes()).await.is_ok() {
        linger(&mut stream).await;
    }
}

async fn linger(stream: &mut TcpStream) {
    let drained = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(LINGER_BYTES), &mut tokio::io::sink()).await
    };
    let _closed = tokio::time::timeout(LINGER, drained).await;
}

/// What the connection is doing, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Waiting for a request, or for the client to take an answer.
    Resting = 0,
    /// The first bytes of a request are here, but not its whole header.
    Header = 1,
    /// The router has the request.
    Answering = 2,
    /// The answer has no end of its own; its reader takes bytes from time to time.
    Streaming = 3,
}

struct Progress {
    opened: Instant,
    /// The phase in the two lowest bits, the milliseconds from `opened` to its beginning above.
    state: AtomicU64,
}

impl Progress {
    fn new(now: Instant) -> Self {
        Self { opened: now, state: AtomicU64::new(Phase::Resting as u64) }
    }

    fn enter(&self, phase: Phase, now: Instant) {
        let since = u64::try_from((now - self.opened).as_millis()).unwrap_or(u64::MAX >> 2);
        self.state.store(since << 2 | phase as u64, Ordering::Relaxed);
    }

    fn phase(&self) -> Phase {
        match self.state.load(Ordering::Relaxed) & 3 {
            0 => Phase::Resting,
            1 => Phase::Header,
            2 => Phase::Answering,
            _ => Phase::Streaming,
        }
    }

    /// When to look again; not after `now` if the patience with the current phase is at its end.
    fn deadline(&self, config: &Config, now: Instant) -> Instant {
        let since = self.opened + Duration::from_millis(self.state.load(Ordering::Relaxed) >> 2);
        match self.phase() {
            // A header may begin at any moment, and its patience is the shorter one: look at least that often, so that
            // a client gains nothing from having rested.
            Phase::Resting => (since + config.idle_timeout).min(now + config.header_read_timeout),
            Phase::Header => since + config.header_read_timeout,
            // The router bounds itself: it waits for nothing but the body, which has its own timeout.
            Phase::Answering => now + config.body_read_timeout,
            // Every write that the client's side takes begins it anew, and heartbeats are written even without news.
            Phase::Streaming => since + config.stream_stall_timeout,
        }
    }
}

/// The socket, with an eye on what passes through.
struct Watched {
    stream: TcpStream,
    progress: Arc<Progress>,
    /// The client has sent everything that it will.
    ended: bool,
    refusal: Option<Rewording>,
}

/// Our wording of a refusal that hyper wrote by itself.
struct Rewording {
    status: StatusCode,
    bytes: Vec<u8>,
    sent: usize,
}

impl Watched {
    /// Notes that the client's side took bytes.
    fn wrote(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if result.is_ready() && self.progress.phase() == Phase::Streaming {
            self.progress.enter(Phase::Streaming, Instant::now());
        }
        result
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if buffer.filled().len() == before {
            self.ended = true;
        } else if self.progress.phase() == Phase::Resting {
            self.progress.enter(Phase::Header, Instant::now());
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.refusal.is_none() {
            let Some(problem) = refusal_by_hyper(bytes) else {
                let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
                return self.wrote(result);
            };
            self.refusal =
                Some(Rewording { status: problem.status(), bytes: problem.wire().into_bytes(), sent: 0 });
        }
        let Self { stream, refusal: Some(Rewording { bytes: ours, sent, .. }), .. } = &mut *self else {
            return Poll::Ready(Ok(bytes.len()));
        };
        while let Some(rest) = ours.get(*sent..).filter(|rest| !rest.is_empty()) {
            *sent += ready!(Pin::new(&mut *stream).poll_write(cx, rest))?;
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = slices.iter().find(|slice| !slice.is_empty());
        match first {
            Some(first) if self.refusal.is_some() || refusal_by_hyper(first).is_some() => {
                self.poll_write(cx, first)
            }
            _ => {
                let result = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
                self.wrote(result)
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.progress.phase() == Phase::Streaming {
            // hyper does not read while it answers, so nobody would notice that the reader of a stream is gone until
            // a write fails, and its place would stay taken. hyper flushes whenever it looks at the connection, and
            // the peek sees to it that it looks again when the client closes.
            let mut byte = [0];
            let peeked = self.stream.poll_peek(cx, &mut ReadBuf::new(&mut byte));
            if matches!(peeked, Poll::Ready(Ok(0) | Err(_))) {
                self.ended = true;
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A request that hyper cannot parse never reaches the router: hyper answers it with a bare status and hangs up. Such an
/// answer has no body and no cache headers (some caches keep a 414 for long), so it is replaced on its way out. All
/// answers of the router carry `cache-control`, which tells the two apart.
fn refusal_by_hyper(bytes: &[u8]) -> Option<Problem> {
    let status = bytes.strip_prefix(b"HTTP/1.1 ").or_else(|| bytes.strip_prefix(b"HTTP/1.0 "))?.get(..3)?;
    let problem = match status {
        b"400" => malformed(),
        b"414" => Problem::new(Code::UrlTooLong, format!("the URL may have at most {MAX_URL_BYTES} bytes")),
        b"431" => {
            let detail = format!(
                "the header may have at most {MAX_HEADER_BYTES} bytes and {} fields",
                crate::config::MAX_HEADERS
            );
            Problem::new(Code::HeaderTooLarge, detail)
        }
        _ => return None,
    };
    let ours = bytes.windows(14).any(|window| window.eq_ignore_ascii_case(b"cache-control:"));
    (!ours).then_some(problem)
}

fn malformed() -> Problem {
    Problem::new(Code::MalformedRequest, "the request is not well-formed HTTP/1.1 (RFC 9112)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bare_refusals_are_reworded() {
        let bare =
            b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(refusal_by_hyper(bare).unwrap().code(), Code::HeaderTooLarge);
        for kept in [
            &b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"[..],
            b"HTTP/1.1 400 Bad Request\r\nCache-Control: no-store\r\n\r\n",
            b"HTTP/1.1 404 Not Found\r\n\r\n",
            b"",
        ] {
            assert!(refusal_by_hyper(kept).is_none());
        }
    }

    fn patience() -> Config {
        Config {
            header_read_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(60),
            ..Config::default()
        }
    }

    #[test]
    fn a_dribbled_header_gains_nothing_from_rest() {
        let opened = Instant::now();
        let progress = Progress::new(opened);
        let began = opened + Duration::from_secs(50);
        let look = progress.deadline(&patience(), began);
        assert!(look <= began + Duration::from_secs(5));
        progress.enter(Phase::Header, began);
        assert_eq!(progress.deadline(&patience(), look), began + Duration::from_secs(5));
    }

    #[test]
    fn rest_ends_after_its_own_patience() {
        let opened = Instant::now();
        let progress = Progress::new(opened);
        let (almost, end) = (opened + Duration::from_secs(59), opened + Duration::from_secs(60));
        assert!(progress.deadline(&patience(), almost) > almost);
        assert!(progress.deadline(&patience(), end) <= end);
    }
}
