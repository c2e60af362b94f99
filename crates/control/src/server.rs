//! The listening side: bounded connections, bounded headers, and an end without hanging.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::router::Api;

/// Most bytes of a request line and its header fields together; beyond it: 431.
pub const MAX_HEADER_BYTES: usize = 32 * 1024;
/// Most header fields of a request; beyond it: 431.
const MAX_HEADERS: usize = 100;
/// Pause after a failed accept (out of file descriptors, say), doubled up to the longest.
const FIRST_ACCEPT_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Serves the API on `listener` until `stop` is ready; then ends the streams, lets requests under way finish, and
/// writes what is still to be written.
pub async fn serve(listener: TcpListener, api: Api, stop: impl Future<Output = ()> + Send) {
    let settings = api.desk.settings.clone();
    let places = Arc::new(Semaphore::new(settings.max_connections));
    let (closing, closed) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut pause = FIRST_ACCEPT_PAUSE;
    tokio::pin!(stop);
    let background = api.background();
    tokio::pin!(background);
    loop {
        let accepted = async {
            // Whoever comes when all places are taken waits in the kernel's queue, which is bounded too.
            let place = Arc::clone(&places).acquire_owned().await;
            (listener.accept().await, place)
        };
        tokio::select! {
            () = &mut stop => break,
            () = &mut background => {}
            Some(_ended) = connections.join_next() => {}
            (accepted, place) = accepted => match accepted {
                Ok((stream, peer)) => {
                    pause = FIRST_ACCEPT_PAUSE;
                    let connection = serve_connection(stream, peer, api.clone(), closed.clone());
                    connections.spawn(async move {
                        connection.await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, ?pause, "cannot accept connections; trying again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_ACCEPT_PAUSE);
                }
            },
        }
    }
    drop(listener);
    api.close_streams();
    // Fails only when every connection has ended already.
    let _none_left = closing.send(true);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(settings.shutdown_grace, drained).await.is_err() {
        tracing::warn!(
            left = connections.len(),
            "connections still open after the grace period; closing them"
        );
    }
    api.flush().await;
}

async fn serve_connection(stream: TcpStream, peer: SocketAddr, api: Api, mut closed: watch::Receiver<bool>) {
    let _counted = api.desk.metrics.connection();
    // Answers and events are written whole; waiting to fill a segment would only delay them.
    let _without = stream.set_nodelay(true);
    let service = TowerToHyperService::new(api.router());
    let service = service_fn(move |mut request: http::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        hyper::service::Service::call(&service, request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(api.desk.settings.header_read_timeout)
        .max_header_size(MAX_HEADER_BYTES)
        .max_buf_size(MAX_HEADER_BYTES)
        .max_headers(MAX_HEADERS)
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let stopping = async { closed.wait_for(|closed| *closed).await.is_ok() };
    let served = tokio::select! {
        served = &mut connection => served,
        _stopping = stopping => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection broke off");
    }
}

#[cfg(test)]
mod tests;
