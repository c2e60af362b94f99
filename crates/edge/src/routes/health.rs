//! `GET /healthz`: the process is up. `GET /readyz`: it can give fresh answers; a load balancer asks this one.

use http::HeaderValue;

use super::{Request, Response, uncacheable};
use crate::problem::{Code, Problem};
use crate::{Shared, published};

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Always 200.
pub(crate) async fn alive(_app: &Shared, _request: Request) -> Result<Response, Problem> {
    Ok(uncacheable(TEXT, "ok\n"))
}

/// 503 until something is published, and while the status document has expired. Other routes go on answering with an
/// expired one: with the control plane down, the last known answer beats none.
pub(crate) async fn ready(app: &Shared, _request: Request) -> Result<Response, Problem> {
    let live = app.live.load();
    let live = published(&live)?;
    if live.status.exp <= app.clock.now() {
        let detail = "the status document has expired: this edge does not hear from the control plane; \
                      check the connection between them";
        return Err(Problem::new(Code::NotReady, detail));
    }
    Ok(uncacheable(TEXT, "ready\n"))
}
