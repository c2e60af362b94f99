//! From what a client tells to what is counted.

use super::batch::{Event, EventKind, Rejected};
use super::record::{EventRecord, Happening, Quarantined};
use super::token::EventToken;
use super::{MAX_FUTURE_MS, MAX_PAST_MS, Rejection, TOKEN_LIFE_SLACK_MS};
use crate::ids::{Environment, UnitType};
use crate::sealing::SubjectTag;
use crate::time::Timestamp;

/// Checks an event against the verified token that came with it; the token says whose it is and which variant.
///
/// Without a token only a failed verification is taken, for no unit: who has never got a usable token must be able to
/// say so. Whatever unit or variant the event itself names is ignored.
///
/// # Errors
/// [`Rejected`] with the first reason that applies.
pub fn resolve(
    event: Event<'_>,
    token: Option<&EventToken>,
    received: Timestamp,
) -> Result<EventRecord, Rejected> {
    check(event, received, |event| {
        let Some(token) = token else {
            return match event.kind {
                EventKind::VerificationFailed { .. } => Ok((None, UnitType::default(), None)),
                _ => Err(Rejection::NeedsToken),
            };
        };
        let begins = token.issued.unix_ms().saturating_sub(TOKEN_LIFE_SLACK_MS);
        let ends = token.expires.unix_ms().saturating_add(TOKEN_LIFE_SLACK_MS);
        if !(begins..ends).contains(&event.at_ms) {
            return Err(Rejection::OutsideTokenLife);
        }
        let assigned = match &event.kind {
            EventKind::Exposure { experiment, .. } => {
                let assigned = token.assigned(experiment).ok_or(Rejection::UnknownExperiment)?;
                if !assigned.counts {
                    return Err(Rejection::NotCounted);
                }
                Some((assigned.variant.clone(), assigned.xv))
            }
            _ => None,
        };
        Ok((Some(token.unit), token.unit_type.clone(), assigned))
    })
}

/// Checks an event of a caller who may speak for every unit (API scope `ingest`): the event, or its batch, names the
/// unit, and an exposure its variant and version.
///
/// # Errors
/// [`Rejected`] with the first reason that applies.
pub fn resolve_named(
    event: Event<'_>,
    environment: &Environment,
    received: Timestamp,
) -> Result<EventRecord, Rejected> {
    check(event, received, |event| {
        let named = event.unit.as_ref().and_then(|unit| Some((unit.id()?, unit.unit_type())));
        let Some((unit, unit_type)) = named else { return Err(Rejection::NeedsToken) };
        let assigned = match &event.kind {
            EventKind::Exposure { named, .. } => Some(named.clone().ok_or(Rejection::NeedsToken)?),
            _ => None,
        };
        Ok((Some(SubjectTag::of(environment, unit_type, unit)), unit_type.clone(), assigned))
    })
}

/// A refused event as it is kept.
pub fn quarantined(rejected: &Rejected, received: Timestamp) -> Quarantined {
    Quarantined {
        id: rejected.id,
        received_ms: received.unix_ms(),
        code: rejected.code.as_str().to_owned(),
        about: rejected.about.clone(),
    }
}

/// The unit, its type, and an exposure's variant and version.
type Vouched = (Option<SubjectTag>, UnitType, Option<(crate::ids::VariantKey, u64)>);

fn check(
    event: Event<'_>,
    received: Timestamp,
    vouch: impl FnOnce(&Event<'_>) -> Result<Vouched, Rejection>,
) -> Result<EventRecord, Rejected> {
    let vouched = within_bounds(event.at_ms, received).and_then(|()| vouch(&event));
    let (unit, unit_type, assigned) = match vouched {
        Ok(vouched) => vouched,
        Err(code) => {
            let about = event.kind.about().map(str::to_owned);
            return Err(Rejected { index: event.index, id: Some(event.id), code, about });
        }
    };
    let what = match (event.kind, assigned) {
        (EventKind::Exposure { experiment, .. }, Some((variant, xv))) => {
            Happening::Exposure { experiment, variant, xv }
        }
        (EventKind::Exposure { experiment, .. }, None) => {
            let about = Some(experiment.as_str().to_owned());
            let (index, id) = (event.index, Some(event.id));
            return Err(Rejected { index, id, code: Rejection::NeedsToken, about });
        }
        (EventKind::Metric { metric, amount }, _) => Happening::Metric { metric, amount },
        (EventKind::Drift { experiment, from, to, cause }, _) => {
            Happening::Drift { experiment, from, to, cause }
        }
        (EventKind::Leak { subject, key_id, source }, _) => Happening::Leak { subject, key_id, source },
        (EventKind::VerificationFailed { code }, _) => Happening::VerificationFailed { code },
    };
    Ok(EventRecord {
        id: event.id,
        at_ms: event.at_ms,
        received_ms: received.unix_ms(),
        unit,
        unit_type,
        what,
    })
}

fn within_bounds(at_ms: i64, received: Timestamp) -> Result<(), Rejection> {
    if at_ms < received.unix_ms().saturating_sub(MAX_PAST_MS) {
        return Err(Rejection::TooOld);
    }
    if at_ms > received.unix_ms().saturating_add(MAX_FUTURE_MS) {
        return Err(Rejection::InTheFuture);
    }
    Ok(())
}
