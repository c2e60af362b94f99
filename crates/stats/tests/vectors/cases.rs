//! Loading the cases, and when a result passes.

use std::collections::BTreeMap;
use std::path::Path;

use edgeseal_stats::NotComputable;
use edgeseal_stats::contrast::Alternative;
use serde::Deserialize;
use serde_json::Value;

/// One case of the file.
#[derive(Debug, Deserialize)]
pub(crate) struct Case {
    pub(crate) id: String,
    pub(crate) kind: String,
    input: BTreeMap<String, Value>,
    expected: BTreeMap<String, Value>,
    tol: Tolerance,
}

#[derive(Debug, Deserialize)]
struct Tolerance {
    rel: f64,
    abs: f64,
    p_rel: Option<f64>,
    p_value_library_abs: Option<f64>,
}

/// Results by the names of the fields that the file expects; a list or a truth value too.
pub(crate) type Fields = Vec<(&'static str, Value)>;

/// Runs `compute` on every case of `kind` and compares what the file expects. Panics with all failures at once, or when
/// there is no case.
pub(crate) fn run(kind: &str, compute: impl Fn(&Case) -> Result<Fields, NotComputable>) {
    let cases: Vec<Case> = all_cases().into_iter().filter(|case| case.kind == kind).collect();
    assert!(!cases.is_empty(), "no case of kind {kind}");
    let failures: Vec<String> = cases
        .iter()
        .flat_map(|case| case.compare(compute(case)))
        .map(|failure| format!("\n  {failure}"))
        .collect();
    assert!(failures.is_empty(), "{kind}:{}", failures.concat());
}

pub(crate) fn all_cases() -> Vec<Case> {
    #[derive(Deserialize)]
    struct File {
        format: String,
        cases: Vec<Case>,
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/stats/stats-vectors.json");
    let file: File = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(file.format, "edgeseal-stats-vectors/1");
    file.cases
}

/// A number as the file writes it: JSON has no infinity.
pub(crate) fn number(value: f64) -> Value {
    if value.is_finite() {
        Value::from(value)
    } else {
        Value::from(if value > 0.0 { "Infinity" } else { "-Infinity" })
    }
}

impl Case {
    pub(crate) fn f64(&self, field: &str) -> f64 {
        as_f64(self.value(field)).unwrap_or_else(|| panic!("{}: input {field} is no number", self.id))
    }

    /// A whole number, which the file may write as 10.0.
    pub(crate) fn u64(&self, field: &str) -> u64 {
        let value = self.f64(field);
        assert!(value >= 0.0 && value.fract() == 0.0, "{}: input {field} is not whole", self.id);
        value as u64
    }

    pub(crate) fn bool(&self, field: &str) -> bool {
        self.value(field)
            .as_bool()
            .unwrap_or_else(|| panic!("{}: input {field} is not true or false", self.id))
    }

    pub(crate) fn str(&self, field: &str) -> &str {
        self.value(field).as_str().unwrap_or_else(|| panic!("{}: input {field} is no text", self.id))
    }

    /// Any input, for lists and objects.
    pub(crate) fn value(&self, field: &str) -> &Value {
        self.input.get(field).unwrap_or_else(|| panic!("{}: no input {field}", self.id))
    }

    pub(crate) fn floats(&self, field: &str) -> Vec<f64> {
        serde_json::from_value(self.value(field).clone()).unwrap()
    }

    pub(crate) fn counts(&self, field: &str) -> Vec<u64> {
        serde_json::from_value(self.value(field).clone()).unwrap()
    }

    fn compare(&self, got: Result<Fields, NotComputable>) -> Vec<String> {
        let degenerate = self.expected.get("error").is_some_and(|error| error == "degenerate");
        let got = match got {
            Ok(fields) if degenerate => return vec![format!("{}: wanted no value, got {fields:?}", self.id)],
            Err(_) if degenerate => return vec![],
            Err(reason) => return vec![format!("{}: {reason}", self.id)],
            Ok(fields) => fields,
        };
        self.expected
            .iter()
            .filter_map(|(field, want)| {
                let Some((_, got)) = got.iter().find(|(name, _)| name == field) else {
                    return Some(format!("{}: {field} was not computed", self.id));
                };
                let passes = self.passes(field, got, want);
                (!passes).then(|| format!("{}: {field}: wanted {want}, got {got}", self.id))
            })
            .collect()
    }

    fn passes(&self, field: &str, got: &Value, want: &Value) -> bool {
        if let (Value::Array(got), Value::Array(want)) = (got, want) {
            return got.len() == want.len()
                && got.iter().zip(want).all(|(got, want)| self.passes(field, got, want));
        }
        match (as_f64(got), as_f64(want)) {
            (Some(got), Some(want)) if want.is_finite() => (got - want).abs() <= self.tolerance(field, want),
            (Some(got), Some(want)) => got == want,
            _ => got == want,
        }
    }

    /// |got − want| may be this large.
    fn tolerance(&self, field: &str, want: f64) -> f64 {
        let rel = self.tol.p_rel.filter(|_| field.starts_with("p_val")).unwrap_or(self.tol.rel);
        let abs = self.tol.p_value_library_abs.filter(|_| field == "p_value_library").unwrap_or(self.tol.abs);
        (rel * want.abs()).max(abs)
    }
}

fn as_f64(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => match text.as_str() {
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

/// Which side the case tests; fisher_exact writes less and greater.
pub(crate) fn alternative(case: &Case) -> Alternative {
    match case.str("alternative") {
        "two-sided" => Alternative::TwoSided,
        "smaller" | "less" => Alternative::Smaller,
        "larger" | "greater" => Alternative::Larger,
        other => panic!("{}: alternative {other}", case.id),
    }
}
