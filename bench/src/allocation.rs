//! Bytes allocated while evaluating: none, after the ruleset is compiled and the attributes are parsed.

use std::hint::black_box;

use edgeseal_core::attributes::Attributes;
use edgeseal_core::definition::Definition;
use edgeseal_core::evaluate::{Forced, Request, evaluate};
use edgeseal_core::ids::UnitId;
use edgeseal_core::ruleset::Halts;
use edgeseal_core::time::Timestamp;

use crate::experiments;
use crate::report::Report;

const EVALUATIONS: usize = 10_000;

pub(crate) fn measure(report: &mut Report) -> anyhow::Result<()> {
    let definition: Definition = serde_json::from_value(experiments::running(1))?;
    let ruleset = definition.build(None, Timestamp::from_unix_seconds(0))?.compile()?;
    let halts = Halts::none();
    let attributes = Attributes::parse(br#"{"country":"de"}"#)?;
    let units: Vec<String> = (0..EVALUATIONS).map(|n| format!("user-{n}")).collect();
    let units = units.iter().map(|unit| UnitId::parse(unit)).collect::<Result<Vec<_>, _>>()?;
    let evaluate_all = || {
        for &unit in &units {
            let request = Request { unit, attributes: &attributes, forced: Forced::none(), previous: None };
            for experiment in ruleset.experiments() {
                black_box(evaluate(&ruleset, &halts, experiment, &request).variant.is_some());
            }
        }
    };
    evaluate_all();
    let counted = allocation_counter::measure(evaluate_all);
    report.figure("bytes allocated by 10 000 evaluations", counted.bytes_total as f64, "B", Some(0.0), None);
    Ok(())
}
