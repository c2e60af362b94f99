//! The HTTP client of `verify` and `leak-test`: short timeouts, bounded answers, errors that say what to do.

use std::time::Duration;

use reqwest::{Client, ClientBuilder, RequestBuilder, Response, StatusCode, header::HeaderMap, redirect};

use crate::exit::{Failure, Outcome};

/// Largest answer that is read; a token has at most 256 KiB (core: `MAX_TOKEN_BYTES`).
const MAX_ANSWER_BYTES: usize = 256 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// What a server answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// A client that follows no redirect: a verifier talks to whom it was told to.
pub(crate) fn builder() -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("edgeseal/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(REQUEST_TIMEOUT)
        .redirect(redirect::Policy::none())
}

/// The client of [`builder`].
pub(crate) fn client() -> Outcome<Client> {
    Ok(builder().build().map_err(anyhow::Error::from)?)
}

/// Sends a request and reads its whole answer.
pub(crate) async fn send(request: RequestBuilder) -> Outcome<Answer> {
    let mut response = request.send().await.map_err(|error| unreachable(&error))?;
    let (status, headers) = (response.status(), response.headers().clone());
    let body = read(&mut response).await?;
    Ok(Answer { status, headers, body })
}

/// Gets `url`, where anything but 200 is a failure.
pub(crate) async fn get_ok(client: &Client, url: &str) -> Outcome<Vec<u8>> {
    let answer = send(client.get(url)).await?;
    if answer.status != StatusCode::OK {
        return Err(Failure::unreachable(format_args!(
            "'{url}' answered {}: is this the address of an edge?",
            answer.status
        )));
    }
    Ok(answer.body)
}

async fn read(response: &mut Response) -> Outcome<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| unreachable(&error))? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(Failure::unreachable(format_args!(
                "'{}' sent more than {MAX_ANSWER_BYTES} bytes: is this the address of an edge?",
                response.url()
            )));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The innermost cause says most: "connection refused" rather than "error sending request".
fn unreachable(error: &reqwest::Error) -> Failure {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let url = error.url().map(|url| url.origin().ascii_serialization()).unwrap_or_default();
    Failure::unreachable(format_args!(
        "cannot reach '{url}': {cause}; is the edge running, and the address right?"
    ))
}

/// Runs a command's requests to their end.
pub(crate) fn block_on<T>(future: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(anyhow::Error::from)?;
    runtime.block_on(future)
}
