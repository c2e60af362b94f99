//! `GET /v1/keyset`: the keys that SDKs trust, signed by the root. `GET /.well-known/jwks.json`: the same edge keys for
//! any JOSE library (RFC 7517), as trustworthy as the connection.

use edgeseal_core::time::Timestamp;
use http::HeaderValue;

use super::{JWT, Request, Response, document};
use crate::caching::NO_STORE;
use crate::problem::Problem;
use crate::{Shared, published};

/// How long caches may keep the keys, in seconds; well below the time for which a key is published before it signs.
const MAX_AGE_SECONDS: i64 = 300;
const JWK_SET: HeaderValue = HeaderValue::from_static("application/jwk-set+json");

/// The signed keyset.
pub(crate) async fn read(app: &Shared, request: Request) -> Result<Response, Problem> {
    let live = app.live.load();
    let live = published(&live)?;
    let cache_control = cache_control(app.clock.now(), live.keyset.exp);
    Ok(document(request.headers(), JWT, cache_control, &live.keyset_document))
}

/// The JWK set.
pub(crate) async fn read_jwks(app: &Shared, request: Request) -> Result<Response, Problem> {
    let live = app.live.load();
    let live = published(&live)?;
    let cache_control = cache_control(app.clock.now(), live.keyset.exp);
    Ok(document(request.headers(), JWK_SET, cache_control, &live.jwks_document))
}

fn cache_control(now: Timestamp, expires_at: Timestamp) -> HeaderValue {
    let seconds = expires_at.seconds_since(now).min(MAX_AGE_SECONDS);
    if seconds <= 0 {
        return NO_STORE;
    }
    HeaderValue::try_from(format!("public, max-age={seconds}, s-maxage={seconds}")).unwrap_or(NO_STORE)
}
