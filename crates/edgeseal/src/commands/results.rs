//! `edgeseal results`: what an experiment shows, and what follows from it.

use clap::Args;
use edgeseal_core::ids::ExperimentKey;
use serde_json::Value;

use super::{key_arg, print_json};
use crate::api_client::{Api, ApiArgs, Call};
use crate::exit::{Exit, Outcome};
use crate::fraction::change;
use crate::http_client::block_on;
use crate::output::{Output, Tone};
use crate::printable::{Cell, table, text_at, time_at};

/// Flags of `results`.
#[derive(Debug, Args)]
pub(crate) struct ResultsArgs {
    /// The experiment's key
    key: String,
    /// A time in the past, such as 2026-11-23T21:00:00Z
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    #[command(flatten)]
    api: ApiArgs,
}

/// Asks and prints.
pub(crate) fn run(args: &ResultsArgs, output: Output) -> Outcome {
    let key: ExperimentKey = key_arg(&args.key)?;
    let api = Api::connect(&args.api, output)?;
    let call = api.here(Call::get(format!("/experiments/{key}/results"))).maybe("at", args.at.as_ref());
    let results = block_on(async { Ok(api.send(call).await?) })?;
    if output.json {
        print_json(output, results)?;
    } else {
        print(&results, output)?;
    }
    Ok(Exit::Ok)
}

fn print(results: &Value, output: Output) -> Outcome<()> {
    output.line(format_args!(
        "{}  {}, {} days, as of {} UTC; compared with '{}'",
        text_at(results, "/experiment"),
        text_at(results, "/state"),
        text_at(results, "/days"),
        time_at(results, "/asOf"),
        text_at(results, "/control"),
    ))?;
    let rows: Vec<_> = list(results, "/rows").map(row).collect();
    if rows.is_empty() {
        output.line("there are no metrics to show")?;
    } else {
        let titles =
            ["METRIC", "ROLE", "VARIANT", "CONTROL", "VARIANT'S", "CHANGE", "INTERVAL", "P", "GUARDRAIL"];
        table(output, titles, &rows)?;
    }
    if let Some(ratio) = results.get("sampleRatio") {
        sample_ratio(ratio, output)?;
    }
    if let Some(health) = results.get("health") {
        output.line(format_args!(
            "health: {} units, {} of them excluded for two variants; {} reports of drift, {} of leaks, {} of tokens \
             that did not verify",
            text_at(health, "/exposures"),
            text_at(health, "/exclusions"),
            text_at(health, "/drift"),
            text_at(health, "/leaks"),
            text_at(health, "/verificationFailures"),
        ))?;
    }
    if let Some(decision) = results.get("decision") {
        let tone = match text_at(decision, "/code").as_str() {
            "ship" => Tone::Good,
            "do_not_ship" => Tone::Bad,
            _ => Tone::Warn,
        };
        output.line(output.paint(tone, text_at(decision, "/words")))?;
        for treatment in list(decision, "/treatments") {
            for reason in list(treatment, "/reasons") {
                let (variant, words) = (text_at(treatment, "/variant"), text_at(reason, "/words"));
                output.line(output.paint(Tone::Dim, format_args!("  not '{variant}': {words}")))?;
            }
        }
    }
    Ok(())
}

fn row(row: &Value) -> [Cell; 9] {
    let (interval, changed) = match row.pointer("/effect/relative") {
        Some(relative) => {
            let at = |pointer| {
                relative.get(pointer).and_then(Value::as_f64).map_or_else(|| "-".to_owned(), change)
            };
            (format!("{} to {}", at("lower"), at("upper")), at("estimate"))
        }
        None => (
            format!("{} to {}", number(row, "/effect/absolute/lower"), number(row, "/effect/absolute/upper")),
            number(row, "/effect/absolute/estimate"),
        ),
    };
    let effect = row.get("effect").is_some();
    let interval = if effect { interval } else { text_at(row, "/notComputable") };
    let p_value = row.pointer("/effect/pValue").and_then(Value::as_f64);
    let p_value = p_value
        .map_or_else(|| "-".to_owned(), |p| if p < 0.001 { format!("{p:.1e}") } else { format!("{p:.3}") });
    [
        text_at(row, "/metric").into(),
        text_at(row, "/role").into(),
        text_at(row, "/variant").into(),
        format!("{} of {}", number(row, "/controlArm/mean"), text_at(row, "/controlArm/units")).into(),
        format!("{} of {}", number(row, "/treatmentArm/mean"), text_at(row, "/treatmentArm/units")).into(),
        if effect { changed.into() } else { "-".into() },
        interval.into(),
        p_value.into(),
        guardrail(row),
    ]
}

fn guardrail(row: &Value) -> Cell {
    let Some(guardrail) = row.get("guardrail") else { return "".into() };
    let at = |member| guardrail.get(member).and_then(Value::as_f64);
    match (guardrail.get("alarmed").and_then(Value::as_bool), at("maxLogE"), at("threshold")) {
        (Some(true), ..) => Cell::toned("alarm", Tone::Bad),
        (_, Some(evidence), Some(threshold)) => format!("{evidence:.1} of {threshold:.1}").into(),
        _ => "not looked yet".into(),
    }
}

fn sample_ratio(ratio: &Value, output: Output) -> Outcome<()> {
    let exposures: Vec<_> = list(ratio, "/exposures")
        .map(|it| {
            let expected = it.get("expected").and_then(Value::as_f64).unwrap_or_default();
            format!("'{}' {} (expected {expected:.0})", text_at(it, "/variant"), text_at(it, "/units"))
        })
        .collect();
    let (finding, tone) = match text_at(ratio, "/finding").as_str() {
        "red" => ("wrong: no result is valid", Tone::Bad),
        "amber" => ("doubtful", Tone::Warn),
        _ => ("in order", Tone::Good),
    };
    output.line(format_args!("sample ratio {}: {}", output.paint(tone, finding), exposures.join(", ")))
}

fn list<'v>(value: &'v Value, pointer: &str) -> impl Iterator<Item = &'v Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// Four significant digits.
fn number(value: &Value, pointer: &str) -> String {
    let Some(number) = value.pointer(pointer).and_then(Value::as_f64) else { return "-".to_owned() };
    if number == 0.0 {
        return "0".to_owned();
    }
    let digits = (3.0 - number.abs().log10().floor()).clamp(0.0, 12.0) as usize;
    let text = format!("{number:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_for_people() {
        let value = json!({ "rate": 0.050_123, "mean": 12.0, "big": 123_456.7, "zero": 0.0 });
        let found = ["/rate", "/mean", "/big", "/zero", "/none"].map(|pointer| number(&value, pointer));
        assert_eq!(found, ["0.05012", "12", "123457", "0", "-"]);
    }
}
