//! Compiling one experiment, apart from what ties it to others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{CompileError, CompileErrorKind, Result, bounded, check_salt, refuse};
use crate::allocation::{BucketRange, OwnerTable};
use crate::audience::{Condition, Group};
use crate::bucket::{BUCKETS, BucketKey, Purpose};
use crate::ids::{GroupKey, LayerKey, UnitId, VariantKey};
use crate::ruleset::{Experiment, LayerGate, Override, Phase, ShareGate, Variant};
use crate::snapshot::{ExperimentRecord, ExperimentState, MAX_OVERRIDES, MAX_PAYLOAD_BYTES, MAX_VARIANTS};

pub(super) struct ExperimentCompiler<'a> {
    pub(super) record: &'a ExperimentRecord,
    pub(super) path: String,
    pub(super) groups: &'a BTreeMap<GroupKey, Arc<Group>>,
    pub(super) layers: &'a BTreeMap<LayerKey, BucketKey>,
}

impl ExperimentCompiler<'_> {
    pub(super) fn compile(&self, index: usize) -> Result<Experiment> {
        let record = self.record;
        let key = record.key.as_str();
        check_salt(&self.path, &record.salt)?;
        if record.traffic > BUCKETS {
            return refuse(self.at("traffic"), CompileErrorKind::Share(record.traffic));
        }
        let variants = self.variants()?;
        let ranges: Vec<Vec<BucketRange>> =
            record.variants.iter().map(|variant| variant.ranges.clone()).collect();
        let allocation = OwnerTable::compile(&ranges)
            .map_err(|error| CompileError { path: self.at("variants"), kind: error.into() })?;
        Ok(Experiment {
            index,
            key: record.key.clone(),
            version: record.xv,
            phase: self.phase()?,
            unit_type: record.ut.clone(),
            overrides: self.overrides()?,
            holdouts: Box::default(),
            prerequisites: Box::default(),
            audience: self.audience()?,
            layer: self.layer()?,
            traffic: ShareGate {
                key: BucketKey::derive(Purpose::Traffic, key, &record.salt),
                size: record.traffic,
            },
            sticky: record.sticky,
            variant_key: BucketKey::derive(Purpose::Variant, key, &record.salt),
            allocation,
            variants,
        })
    }

    fn at(&self, member: &str) -> String {
        format!("{}/{member}", self.path)
    }

    fn variants(&self) -> Result<Box<[Variant]>> {
        let records = &self.record.variants;
        if records.is_empty() {
            return refuse(self.at("variants"), CompileErrorKind::NoVariants);
        }
        bounded(&self.at("variants"), "variants", records.len(), MAX_VARIANTS)?;
        let mut seen = BTreeSet::new();
        let mut variants = Vec::with_capacity(records.len());
        for (index, record) in records.iter().enumerate() {
            let path = self.at(&format!("variants/{index}"));
            if !seen.insert(&record.key) {
                return refuse(
                    format!("{path}/key"),
                    CompileErrorKind::Duplicate { what: "variant", key: record.key.to_string() },
                );
            }
            let payload = record.payload.as_ref().map(ToString::to_string);
            if let Some(bytes) = payload.as_ref().map(String::len).filter(|&bytes| bytes > MAX_PAYLOAD_BYTES)
            {
                return refuse(
                    format!("{path}/payload"),
                    CompileErrorKind::TooLong { bytes, limit: MAX_PAYLOAD_BYTES },
                );
            }
            // Keys need no escaping: their alphabet has nothing that JSON escapes.
            let head =
                format!(r#""{}":{{"v":"{}","xv":{},"r":""#, self.record.key, record.key, self.record.xv);
            let tail = payload.map_or_else(|| r#""}"#.to_owned(), |json| format!(r#"","p":{json}}}"#));
            variants.push(Variant {
                index,
                key: record.key.clone(),
                payload: record.payload.clone(),
                claim_head: head.into_boxed_str(),
                claim_tail: tail.into_boxed_str(),
            });
        }
        Ok(variants.into_boxed_slice())
    }

    fn variant_index(&self, path: String, key: &VariantKey) -> Result<usize> {
        match self.record.variants.iter().position(|variant| variant.key == *key) {
            Some(index) => Ok(index),
            None => refuse(path, CompileErrorKind::Unknown { what: "variant", key: key.to_string() }),
        }
    }

    fn phase(&self) -> Result<Phase> {
        let winner = match &self.record.winner {
            Some(key) => Some(self.variant_index(self.at("winner"), key)?),
            None => None,
        };
        match self.record.state {
            ExperimentState::Stopped => Ok(Phase::Stopped { winner }),
            _ if winner.is_some() => refuse(self.at("winner"), CompileErrorKind::WinnerNotStopped),
            ExperimentState::Draft => Ok(Phase::Draft),
            ExperimentState::Running => Ok(Phase::Running),
            ExperimentState::Paused => Ok(Phase::Paused),
        }
    }

    fn overrides(&self) -> Result<Box<[Override]>> {
        let overrides = &self.record.overrides;
        bounded(&self.at("overrides"), "overrides", overrides.len(), MAX_OVERRIDES)?;
        let mut compiled = Vec::with_capacity(overrides.len());
        for (unit, variant) in overrides {
            // RFC 6901 escapes, so that the pointer still finds an id with a slash in it.
            let path = self.at(&format!("overrides/{}", unit.replace('~', "~0").replace('/', "~1")));
            if let Err(error) = UnitId::parse(unit) {
                return refuse(path, CompileErrorKind::UnitId { unit: unit.clone(), error });
            }
            compiled.push(Override {
                unit: Box::from(unit.as_str()),
                variant: self.variant_index(path, variant)?,
            });
        }
        Ok(compiled.into_boxed_slice())
    }

    fn audience(&self) -> Result<Condition> {
        let Some(source) = &self.record.audience else { return Ok(Condition::always()) };
        Condition::compile(source, self.groups).map_err(|error| CompileError {
            path: format!("{}/audience{}", self.path, error.path),
            kind: CompileErrorKind::Condition(error),
        })
    }

    fn layer(&self) -> Result<Option<LayerGate>> {
        let Some(slot) = &self.record.layer else { return Ok(None) };
        let Some(bucket_key) = self.layers.get(&slot.key) else {
            return refuse(
                self.at("layer/key"),
                CompileErrorKind::Unknown { what: "layer", key: slot.key.to_string() },
            );
        };
        let mut ranges = slot.ranges.clone();
        ranges.sort_unstable();
        Ok(Some(LayerGate { key: slot.key.clone(), bucket_key: *bucket_key, ranges: ranges.into() }))
    }
}
