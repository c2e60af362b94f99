//! What the roll-up remembers of an experiment, as the store keeps it.

use std::collections::BTreeMap;

use edgeseal_core::definition::Share;
use edgeseal_core::ids::{ExperimentKey, MetricKey, UnitType};
use edgeseal_core::sealing::SubjectTag;
use edgeseal_store::{StoreError, UnitRef};
use serde::{Deserialize, Serialize};

use crate::error::ControlError;

/// Version of the JSON.
const KEPT_FORMAT: u32 = 1;

/// What the roll-up remembers of one experiment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Kept {
    format: u32,
    /// The rules by which its units were counted last.
    pub(super) digest: String,
    /// Where values are cut, once it is known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    caps: BTreeMap<MetricKey, Cap>,
    /// How far its units are counted anew, while they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) recount: Option<Recount>,
}

/// Where the values of a metric are cut. It holds for as long as share and window stay what they were.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Cap {
    /// Parts per million of units that are cut.
    share: u32,
    window_ms: i64,
    /// Decimal digits: JSON readers lose some of a number.
    total: String,
}

/// How far the units of an experiment are counted anew.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Recount {
    /// The last unit that is done; `None`: none is.
    after: Option<(UnitType, SubjectTag)>,
}

impl Kept {
    /// An experiment whose first units are counted.
    pub(super) fn new(digest: String) -> Self {
        Self { format: KEPT_FORMAT, digest, caps: BTreeMap::new(), recount: None }
    }

    /// Reads what the store holds.
    pub(super) fn parse(experiment: &ExperimentKey, json: &str) -> Result<Self, ControlError> {
        let corrupt =
            |detail: String| StoreError::Corrupt { attempt: "reading how far the roll-up is", detail };
        let kept: Self = serde_json::from_str(json)
            .map_err(|error| corrupt(format!("what it keeps of '{experiment}' is unreadable: {error}")))?;
        if kept.format != KEPT_FORMAT {
            let detail = format!(
                "what it keeps of '{experiment}' has format {}, and this version reads {KEPT_FORMAT}: use a newer \
                 edgeseal",
                kept.format
            );
            return Err(corrupt(detail).into());
        }
        Ok(kept)
    }

    /// As the store holds it.
    pub(super) fn to_json(&self) -> Result<String, ControlError> {
        serde_json::to_string(self)
            .map_err(|_| ControlError::Internal { attempt: "writing how far the roll-up is" })
    }

    /// The same, with other rules: its units are counted anew from the first one on.
    #[must_use]
    pub(super) fn under(&self, digest: String) -> Self {
        Self { digest, recount: Some(Recount::default()), ..self.clone() }
    }

    /// Where values of a metric are cut.
    pub(super) fn cap(&self, metric: &MetricKey, share: Share, window_ms: i64) -> Option<i128> {
        let cap = self.caps.get(metric)?;
        let same = cap.share == share.buckets() && cap.window_ms == window_ms;
        cap.total.parse().ok().filter(|_| same)
    }

    /// Fixes where values of a metric are cut.
    pub(super) fn fix_cap(&mut self, metric: &MetricKey, share: Share, window_ms: i64, total: i128) {
        let cap = Cap { share: share.buckets(), window_ms, total: total.to_string() };
        self.caps.insert(metric.clone(), cap);
    }
}

impl Recount {
    /// The last unit that is done.
    pub(super) fn after(&self) -> Option<UnitRef> {
        self.after.as_ref().map(|(unit_type, tag)| UnitRef { unit_type: unit_type.clone(), tag: *tag })
    }

    /// Up to and with this unit.
    pub(super) fn up_to(unit: &UnitRef) -> Self {
        Self { after: Some((unit.unit_type.clone(), unit.tag)) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::unit;
    use super::*;

    #[test]
    fn it_survives_its_json_and_newer_ones_are_refused() {
        let experiment = ExperimentKey::parse("e").unwrap();
        let metric = MetricKey::parse("revenue").unwrap();
        let mut kept = Kept::new("d".into()).under("e".into());
        kept.fix_cap(&metric, Share::percent(1), 5, i128::MAX);
        kept.recount = Some(Recount::up_to(&unit(7)));
        let json = kept.to_json().unwrap();
        let read = Kept::parse(&experiment, &json).unwrap();
        assert_eq!(read, kept);
        assert_eq!(read.recount.unwrap().after(), Some(unit(7)));
        assert!(Kept::parse(&experiment, &json.replace("\"format\":1", "\"format\":2")).is_err());
        assert!(Kept::parse(&experiment, "{}").is_err());
    }

    #[test]
    fn a_cap_holds_for_its_share_and_window_only() {
        let metric = MetricKey::parse("revenue").unwrap();
        let mut kept = Kept::new(String::new());
        kept.fix_cap(&metric, Share::percent(1), 5, 42);
        assert_eq!(kept.cap(&metric, Share::percent(1), 5), Some(42));
        assert_eq!(kept.cap(&metric, Share::percent(2), 5), None);
        assert_eq!(kept.cap(&metric, Share::percent(1), 6), None);
    }
}
