//! The part of a definition that is for people and analysis only: bounded here, because no compiler looks at it.

use std::collections::BTreeSet;

use super::build::{BuildError, BuildErrorKind};
use super::metrics::{MAX_EXPERIMENT_METRICS, MAX_METRIC_WINDOW_HOURS, MAX_METRICS};
use super::{Definition, ExperimentDefinition, MetricDefinition, MetricKind};
use crate::ids::MetricKey;

/// Longest name, owner or tag, in bytes.
pub const MAX_LABEL_BYTES: usize = 256;
/// Longest description or hypothesis, in bytes.
pub const MAX_TEXT_BYTES: usize = 8 * 1024;
/// Most tags of one experiment.
pub const MAX_TAGS: usize = 32;

type Refused = Result<(), BuildError>;

/// Checks lengths, and that metrics make sense and exist where they are named.
pub(super) fn check(definition: &Definition) -> Refused {
    let known = metrics(&definition.metrics)?;
    for (place, experiment) in definition.experiments.iter().enumerate() {
        check_experiment(&format!("/experiments/{place}"), experiment, &known)?;
    }
    for (place, layer) in definition.layers.iter().enumerate() {
        text(&format!("/layers/{place}/description"), layer.description.as_deref(), MAX_TEXT_BYTES)?;
    }
    for (place, holdout) in definition.holdouts.iter().enumerate() {
        text(&format!("/holdouts/{place}/description"), holdout.description.as_deref(), MAX_TEXT_BYTES)?;
    }
    Ok(())
}

fn check_experiment(path: &str, experiment: &ExperimentDefinition, known: &BTreeSet<&MetricKey>) -> Refused {
    let member = |name: &str| format!("{path}/{name}");
    text(&member("name"), experiment.name.as_deref(), MAX_LABEL_BYTES)?;
    text(&member("owner"), experiment.owner.as_deref(), MAX_LABEL_BYTES)?;
    text(&member("description"), experiment.description.as_deref(), MAX_TEXT_BYTES)?;
    text(&member("hypothesis"), experiment.hypothesis.as_deref(), MAX_TEXT_BYTES)?;
    count(&member("tags"), experiment.tags.len(), MAX_TAGS)?;
    for (place, tag) in experiment.tags.iter().enumerate() {
        text(&format!("{path}/tags/{place}"), Some(tag), MAX_LABEL_BYTES)?;
    }
    for (place, variant) in experiment.variants.iter().enumerate() {
        let at = format!("{path}/variants/{place}/description");
        text(&at, variant.description.as_deref(), MAX_TEXT_BYTES)?;
    }
    check_analysis(&member("analysis"), experiment)?;
    let Some(metrics) = &experiment.metrics else { return Ok(()) };
    count(&member("metrics/secondary"), metrics.secondary.len(), MAX_EXPERIMENT_METRICS)?;
    count(&member("metrics/guardrails"), metrics.guardrails.len(), MAX_EXPERIMENT_METRICS)?;
    for (at, key) in metrics.named() {
        if !known.contains(key) {
            return refuse(&format!("{path}{at}"), BuildErrorKind::UnknownMetric { metric: key.to_string() });
        }
    }
    Ok(())
}

fn check_analysis(path: &str, experiment: &ExperimentDefinition) -> Refused {
    let Some(analysis) = &experiment.analysis else { return Ok(()) };
    if let Some((member, allowed)) = analysis.out_of_bounds() {
        refuse(&format!("{path}/{member}"), BuildErrorKind::AnalysisBound { allowed })?;
    }
    if let Some(control) = &analysis.control
        && experiment.variants.iter().all(|variant| variant.key != *control)
    {
        refuse(&format!("{path}/control"), BuildErrorKind::UnknownControl { variant: control.to_string() })?;
    }
    let guards = |metric| experiment.metrics.as_ref().is_some_and(|it| it.guardrails.contains(metric));
    match analysis.margins.keys().find(|metric| !guards(metric)) {
        Some(metric) => refuse(
            &format!("{path}/margins/{metric}"),
            BuildErrorKind::NoGuardrail { metric: metric.to_string() },
        ),
        None => Ok(()),
    }
}

fn metrics(metrics: &[MetricDefinition]) -> Result<BTreeSet<&MetricKey>, BuildError> {
    count("/metrics", metrics.len(), MAX_METRICS)?;
    let mut known = BTreeSet::new();
    for (place, metric) in metrics.iter().enumerate() {
        let member = |name: &str| format!("/metrics/{place}/{name}");
        if !known.insert(&metric.key) {
            refuse(&member("key"), BuildErrorKind::RepeatedMetric { metric: metric.key.to_string() })?;
        }
        text(&member("name"), metric.name.as_deref(), MAX_LABEL_BYTES)?;
        text(&member("description"), metric.description.as_deref(), MAX_TEXT_BYTES)?;
        if !(1..=MAX_METRIC_WINDOW_HOURS).contains(&metric.window_hours) {
            refuse(&member("window_hours"), BuildErrorKind::MetricWindow { hours: metric.window_hours })?;
        }
        if metric.winsorize.is_some() && metric.kind != MetricKind::Continuous {
            refuse(&member("winsorize"), BuildErrorKind::WinsorizedKind)?;
        }
        if (metric.kind == MetricKind::Ratio) != metric.denominator.is_some() {
            refuse(&member("denominator"), BuildErrorKind::Denominator)?;
        }
    }
    for (place, metric) in metrics.iter().enumerate() {
        let Some(denominator) = &metric.denominator else { continue };
        let at = format!("/metrics/{place}/denominator");
        match metrics.iter().find(|other| other.key == *denominator) {
            None => refuse(&at, BuildErrorKind::UnknownMetric { metric: denominator.to_string() })?,
            Some(other) if other.kind == MetricKind::Ratio => refuse(&at, BuildErrorKind::Denominator)?,
            Some(_) => {}
        }
    }
    Ok(known)
}

fn text(path: &str, text: Option<&str>, limit: usize) -> Refused {
    match text.map(str::len) {
        Some(bytes) if bytes > limit => refuse(path, BuildErrorKind::TextTooLong { bytes, limit }),
        _ => Ok(()),
    }
}

fn count(path: &str, found: usize, limit: usize) -> Refused {
    if found > limit { refuse(path, BuildErrorKind::TooMany { found, limit }) } else { Ok(()) }
}

fn refuse(path: &str, kind: BuildErrorKind) -> Refused {
    Err(BuildError { path: path.to_owned(), kind })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::testing::{NOW, definition};

    fn refusal(file: Value) -> (String, String) {
        let error = definition(file).build(None, NOW).unwrap_err();
        (error.path.clone(), error.to_string())
    }

    fn experiment(member: &str, value: Value) -> Value {
        let mut experiment = json!({ "key": "e", "variants": [{ "key": "a" }, { "key": "b" }] });
        experiment[member] = value;
        json!({ "experiments": [experiment], "metrics": [{ "key": "sale", "kind": "conversion" }] })
    }

    #[test]
    fn what_is_for_people_never_reaches_edges() {
        let plain = definition(experiment("sticky", json!(false))).build(None, NOW).unwrap();
        for (member, value) in [
            ("owner", json!("team checkout")),
            ("hypothesis", json!("a greener button sells more")),
            ("tags", json!(["q4"])),
            ("metrics", json!({ "primary": "sale", "guardrails": ["sale"] })),
            ("analysis", json!({ "mode": "fixed", "planned_units": 5_000 })),
        ] {
            let with = definition(experiment(member, value)).build(Some(&plain), NOW).unwrap();
            assert_eq!(with, plain, "{member}");
        }
    }

    #[test]
    fn every_bound_is_refused_with_its_place() {
        let long = "x".repeat(9_000);
        let metric = |extra: Value| {
            let mut metric = json!({ "key": "m", "kind": "ratio", "denominator": "sale" });
            metric.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            json!({ "metrics": [metric, { "key": "sale", "kind": "count" }] })
        };
        for (file, path, said) in [
            (experiment("owner", json!(long)), "/experiments/0/owner", "9000 bytes"),
            (experiment("description", json!(long)), "/experiments/0/description", "8192"),
            (experiment("tags", json!(vec!["t"; 33])), "/experiments/0/tags", "33"),
            (experiment("tags", json!(["ok", long])), "/experiments/0/tags/1", "256"),
            (
                experiment("metrics", json!({ "primary": "nope" })),
                "/experiments/0/metrics/primary",
                "metric 'nope' does not exist",
            ),
            (
                experiment("metrics", json!({ "guardrails": ["sale", "no"] })),
                "/experiments/0/metrics/guardrails/1",
                "'no'",
            ),
            (experiment("analysis", json!({ "alpha": 0 })), "/experiments/0/analysis/alpha", "more than 0%"),
            (
                experiment("analysis", json!({ "guardrail_alpha": 100 })),
                "/experiments/0/analysis/guardrail_alpha",
                "less than 100%",
            ),
            (
                experiment("analysis", json!({ "planned_units": 0 })),
                "/experiments/0/analysis/planned_units",
                "1 to",
            ),
            (
                experiment("analysis", json!({ "minimum_days": 400 })),
                "/experiments/0/analysis/minimum_days",
                "366",
            ),
            (experiment("analysis", json!({ "control": "c" })), "/experiments/0/analysis/control", "'c'"),
            (
                experiment("analysis", json!({ "margins": { "sale": 2 } })),
                "/experiments/0/analysis/margins/sale",
                "no guardrail",
            ),
            (metric(json!({ "window_hours": 0 })), "/metrics/0/window_hours", "0 hours"),
            (metric(json!({ "window_hours": 2161 })), "/metrics/0/window_hours", "2160"),
            (metric(json!({ "kind": "count" })), "/metrics/0/denominator", "ratio"),
            (metric(json!({ "denominator": "gone" })), "/metrics/0/denominator", "'gone'"),
            (metric(json!({ "denominator": "m" })), "/metrics/0/denominator", "ratio"),
            (metric(json!({ "winsorize": 1 })), "/metrics/0/winsorize", "continuous"),
            (metric(json!({ "key": "sale" })), "/metrics/1/key", "defined twice"),
        ] {
            let (at, message) = refusal(file);
            assert_eq!(at, path, "{message}");
            assert!(message.contains(said), "{path}: {message}");
        }
    }
}
