//! Bounds of definitions that code checks after reading, where a schema derived from the types cannot see them.

use edgeseal_core::audience::MAX_GROUP_VALUES;
use edgeseal_core::definition::{
    MAX_EXPERIMENT_METRICS, MAX_LABEL_BYTES, MAX_METRIC_WINDOW_HOURS, MAX_METRICS, MAX_MINIMUM_DAYS,
    MAX_PLANNED_UNITS, MAX_TAGS, MAX_TEXT_BYTES,
};
use edgeseal_core::ids::{MAX_KEY_BYTES, MAX_NAME_BYTES, MAX_UNIT_ID_BYTES};
use edgeseal_core::snapshot::{
    MAX_COLLECTIONS, MAX_EXPERIMENTS, MAX_OVERRIDES, MAX_PREREQUISITES, MAX_SALT_BYTES, MAX_VARIANTS,
};
use serde_json::{Map, Value, json};

use crate::routes::{KEY_PATTERN, NAME_PATTERN};

/// Adds the bounds; gives the places that do not exist, which is none unless a definition changed.
pub(super) fn tighten(schemas: &mut Map<String, Value>) -> Vec<String> {
    let mut missing = Vec::new();
    for (place, bounds) in bounds() {
        let Some((schema, path)) = place.split_once('/') else { continue };
        let found = schemas.get_mut(schema).and_then(|schema| schema.pointer_mut(&format!("/{path}")));
        match (found, bounds) {
            (Some(Value::Object(members)), Value::Object(bounds)) => members.extend(bounds),
            // `true`, which takes anything.
            (Some(anything @ Value::Bool(true)), bounds) => *anything = bounds,
            _ => missing.push(place),
        }
    }
    missing
}

/// Schema and place within it, and what to add there. Lengths are checked in bytes; a text of other characters than
/// ASCII may be refused though its characters are few enough.
fn bounds() -> Vec<(String, Value)> {
    let key = || json!({ "minLength": 1, "maxLength": MAX_KEY_BYTES, "pattern": KEY_PATTERN });
    let name = || json!({ "minLength": 1, "maxLength": MAX_NAME_BYTES, "pattern": NAME_PATTERN });
    let text = |bytes: usize| json!({ "maxLength": bytes });
    let items = |most: usize| json!({ "maxItems": most });
    let mut all: Vec<(String, Value)> = Vec::new();
    for place in [
        "ExperimentDefinition/properties/key",
        "ExperimentDefinition/properties/winner",
        "ExperimentDefinition/properties/overrides/additionalProperties",
        "VariantDefinition/properties/key",
        "LayerShare/properties/key",
        "LayerDefinition/properties/key",
        "HoldoutDefinition/properties/key",
        "HoldoutDefinition/properties/experiments/items",
        "GroupDefinition/properties/key",
        "MetricDefinition/properties/key",
        "MetricDefinition/properties/denominator",
        "PrerequisiteRecord/properties/experiment",
        "PrerequisiteRecord/properties/variants/items",
        "ExperimentMetrics/properties/primary",
        "ExperimentMetrics/properties/secondary/items",
        "ExperimentMetrics/properties/guardrails/items",
        "AnalysisSettings/properties/control",
    ] {
        all.push((place.to_owned(), key()));
    }
    let scalar = json!({ "type": ["string", "number", "boolean"] });
    for (place, bounds) in [
        ("ExperimentDefinition/properties/unit_type", name()),
        ("ExperimentDefinition/properties/name", text(MAX_LABEL_BYTES)),
        ("ExperimentDefinition/properties/owner", text(MAX_LABEL_BYTES)),
        ("ExperimentDefinition/properties/description", text(MAX_TEXT_BYTES)),
        ("ExperimentDefinition/properties/hypothesis", text(MAX_TEXT_BYTES)),
        ("ExperimentDefinition/properties/salt", text(MAX_SALT_BYTES)),
        ("ExperimentDefinition/properties/tags", items(MAX_TAGS)),
        ("ExperimentDefinition/properties/tags/items", text(MAX_LABEL_BYTES)),
        ("ExperimentDefinition/properties/audience", json!({ "type": ["object", "null"] })),
        ("ExperimentDefinition/properties/variants", json!({ "minItems": 1, "maxItems": MAX_VARIANTS })),
        ("ExperimentDefinition/properties/prerequisites", items(MAX_PREREQUISITES)),
        (
            "ExperimentDefinition/properties/overrides",
            json!({
                "maxProperties": MAX_OVERRIDES,
                "propertyNames": { "minLength": 1, "maxLength": MAX_UNIT_ID_BYTES },
            }),
        ),
        ("VariantDefinition/properties/weight", json!({ "maximum": u32::MAX })),
        ("VariantDefinition/properties/description", text(MAX_TEXT_BYTES)),
        ("PrerequisiteRecord/properties/variants", json!({ "minItems": 1, "maxItems": MAX_VARIANTS })),
        ("LayerDefinition/properties/description", text(MAX_TEXT_BYTES)),
        ("LayerDefinition/properties/salt", text(MAX_SALT_BYTES)),
        ("HoldoutDefinition/properties/description", text(MAX_TEXT_BYTES)),
        ("HoldoutDefinition/properties/salt", text(MAX_SALT_BYTES)),
        ("HoldoutDefinition/properties/experiments", items(MAX_EXPERIMENTS)),
        ("GroupDefinition/properties/values", items(MAX_GROUP_VALUES)),
        ("GroupDefinition/properties/values/items", scalar.clone()),
        ("MetricDefinition/properties/name", text(MAX_LABEL_BYTES)),
        ("MetricDefinition/properties/description", text(MAX_TEXT_BYTES)),
        (
            "MetricDefinition/properties/window_hours",
            json!({ "minimum": 1, "maximum": MAX_METRIC_WINDOW_HOURS }),
        ),
        ("ExperimentMetrics/properties/secondary", items(MAX_EXPERIMENT_METRICS)),
        ("ExperimentMetrics/properties/guardrails", items(MAX_EXPERIMENT_METRICS)),
        ("AnalysisSettings/properties/planned_units", json!({ "minimum": 1, "maximum": MAX_PLANNED_UNITS })),
        ("AnalysisSettings/properties/minimum_days", json!({ "maximum": MAX_MINIMUM_DAYS })),
        (
            "AnalysisSettings/properties/guardrail_units",
            json!({ "minimum": 1, "maximum": MAX_PLANNED_UNITS }),
        ),
        (
            "AnalysisSettings/properties/margins",
            json!({ "maxProperties": MAX_EXPERIMENT_METRICS, "propertyNames": key() }),
        ),
        ("Definition/properties/environment", name()),
        ("Definition/properties/experiments", items(MAX_EXPERIMENTS)),
        ("Definition/properties/layers", items(MAX_COLLECTIONS)),
        ("Definition/properties/holdouts", items(MAX_COLLECTIONS)),
        ("Definition/properties/metrics", items(MAX_METRICS)),
        ("Definition/properties/groups", json!({ "maxProperties": MAX_COLLECTIONS, "propertyNames": key() })),
        ("Definition/properties/groups/additionalProperties", items(MAX_GROUP_VALUES)),
        ("Definition/properties/groups/additionalProperties/items", scalar),
    ] {
        all.push((place.to_owned(), bounds));
    }
    all
}
