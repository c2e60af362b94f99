//! `GET /v1/status`: the status document, as the control plane signed it.

use http::HeaderValue;

use super::{JWT, Request, Response, document};
use crate::problem::Problem;
use crate::{Shared, published};

/// A second, so that a halt passes through caches at once and a crowd still costs one request a second.
const CACHE_CONTROL: HeaderValue = HeaderValue::from_static("public, max-age=1, s-maxage=1");

/// Served even when it has expired: the client sees that by itself, and an older word on what is halted is better than
/// none.
pub(crate) async fn read(app: &Shared, request: Request) -> Result<Response, Problem> {
    let live = app.live.load();
    let live = published(&live)?;
    Ok(document(request.headers(), JWT, CACHE_CONTROL, &live.status_document))
}
