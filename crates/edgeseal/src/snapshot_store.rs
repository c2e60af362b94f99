//! The last good snapshot on disk: signed when written, checked when read back.

use edgeseal_core::sealing::{Signer, TokenKind, seal, verify_snapshot};
use edgeseal_core::snapshot::Snapshot;
use edgeseal_core::time::Timestamp;

use crate::data_dir::{DataDir, file};
use crate::exit::{Failure, Outcome};
use crate::keystore::Keyring;

/// Reads a snapshot file of the data directory: `None` when there is none, an error when it was truncated, altered,
/// or signed by somebody else.
pub(crate) fn read(
    data_dir: &DataDir,
    name: &str,
    keyring: &Keyring,
    now: Timestamp,
) -> Outcome<Option<Snapshot>> {
    let Some(bytes) = data_dir.read(name)? else { return Ok(None) };
    let refusal = |why: &dyn std::fmt::Display| {
        Failure::no(format_args!("'{}' is refused, because {why}", data_dir.path_of(name).display()))
    };
    let token = std::str::from_utf8(&bytes).map_err(|_| refusal(&"it is not text"))?;
    let claims = verify_snapshot(token, &keyring.own_keyset(now), keyring.environment(), now)
        .map_err(|error| refusal(&error))?;
    // Under our own signature it is what was compiled before it was written; compiling it again would only cost time.
    let snapshot: Snapshot = serde_json::from_value(claims).map_err(|error| refusal(&error))?;
    Ok(Some(snapshot))
}

/// Signs a snapshot and makes it the last good one. `keep_previous` keeps the one before beside it: only if that was
/// good itself, or a damaged file would take the place of a good one.
pub(crate) fn write(
    data_dir: &DataDir,
    snapshot: &Snapshot,
    control: &dyn Signer,
    keep_previous: bool,
) -> Outcome<()> {
    let claims = serde_json::to_vec(snapshot).map_err(anyhow::Error::from)?;
    let token = seal(TokenKind::Snapshot, &claims, control);
    let limit = TokenKind::Snapshot.max_bytes();
    if token.len() > limit {
        return Err(Failure::no(format_args!(
            "the signed snapshot has {} bytes, more than the {limit} that edges accept: shrink groups, payloads or \
             overrides",
            token.len()
        )));
    }
    if keep_previous && let Some(previous) = data_dir.read(file::SNAPSHOT)? {
        data_dir.write(file::SNAPSHOT_PREVIOUS, &previous, 0o600)?;
    }
    data_dir.write(file::SNAPSHOT, token.as_bytes(), 0o600)
}
