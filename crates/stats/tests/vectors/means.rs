//! Means, ratios and covariate adjustment from sums, against gbstats and tea-tasting.

use edgeseal_stats::NotComputable;
use edgeseal_stats::classical::Conversions;
use edgeseal_stats::contrast::{Alternative, Contrast, Reference};
use edgeseal_stats::cuped::Adjusted;
use edgeseal_stats::growthbook::{self, Scaling, adjusted_difference, difference};
use edgeseal_stats::lift::log_lift;
use edgeseal_stats::ratio::{RatioScales, ratio_sample};
use edgeseal_stats::sample::Sample;
use edgeseal_stats::sequential::{AsymptoticSequence, MostEvidence, Sides};
use edgeseal_stats::sums::{AMOUNT_SCALE, CupedSums, MeanSums, RatioCupedSums, RatioSums, Scale};
use serde_json::Value;

use crate::cases::{Case, Fields, number, run};

#[test]
fn gb_mean_ttest_cases() {
    run("gb_mean_ttest", |case| {
        single_look(case, &difference(&mean(case, "a")?, &mean(case, "b")?, scaling(case))?)
    });
}

#[test]
fn gb_sequential_mean_cases() {
    run("gb_sequential_mean", |case| {
        every_look(case, &difference(&mean(case, "a")?, &mean(case, "b")?, scaling(case))?)
    });
}

#[test]
fn gb_proportion_ttest_cases() {
    run("gb_proportion_ttest", |case| {
        single_look(case, &difference(&rate(case, "a")?, &rate(case, "b")?, scaling(case))?)
    });
}

#[test]
fn gb_sequential_proportion_cases() {
    run("gb_sequential_proportion", |case| {
        every_look(case, &difference(&rate(case, "a")?, &rate(case, "b")?, scaling(case))?)
    });
}

#[test]
fn gb_cuped_cases() {
    run("gb_cuped", |case| {
        let adjusted = cuped(case)?;
        let mut fields = single_look(case, &adjusted_difference(&adjusted, scaling(case))?)?;
        fields.push(("theta", number(adjusted.theta())));
        Ok(fields)
    });
}

#[test]
fn gb_cuped_sequential_cases() {
    run("gb_cuped_sequential", |case| {
        let adjusted = cuped(case)?;
        let mut fields = every_look(case, &adjusted_difference(&adjusted, scaling(case))?)?;
        fields.push(("theta", number(adjusted.theta())));
        Ok(fields)
    });
}

#[test]
fn gb_ratio_cases() {
    run("gb_ratio", |case| {
        single_look(case, &difference(&ratio(case, "a")?, &ratio(case, "b")?, scaling(case))?)
    });
}

#[test]
fn gb_ratio_sequential_cases() {
    run("gb_ratio_sequential", |case| {
        every_look(case, &difference(&ratio(case, "a")?, &ratio(case, "b")?, scaling(case))?)
    });
}

#[test]
fn tt_ratio_cases() {
    run("tt_ratio", |case| {
        let arm = |name| ratio_sample(&columns(case, name).after, RatioScales::COUNTS);
        tea_tasting(case, &arm("control")?, &arm("treatment")?)
    });
}

#[test]
fn tt_ratio_cuped_cases() {
    run("tt_ratio_cuped", |case| {
        let (control, treatment) = (columns(case, "control"), columns(case, "treatment"));
        let adjusted = Adjusted::of_ratios(&control, &treatment, RatioScales::COUNTS)?;
        tea_tasting(case, &adjusted.control()?, &adjusted.treatment()?)
    });
}

#[test]
fn tt_mean_t_cases() {
    run("tt_mean_t", |case| {
        let arm = |name| Sample::of_means(&columns(case, name).after.numerator, Scale::COUNT);
        tea_tasting(case, &arm("control")?, &arm("treatment")?)
    });
}

#[test]
fn tt_mean_cuped_t_cases() {
    run("tt_mean_cuped_t", |case| {
        let arm = |name| {
            let sums = columns(case, name);
            CupedSums {
                y: sums.after.numerator,
                sum_x: sums.sum_num_before,
                sum_sq_x: sums.sum_sq_num_before,
                sum_xy: sums.sum_num_num_before,
            }
        };
        let adjusted = Adjusted::of_means(&arm("control"), &arm("treatment"), Scale::COUNT)?;
        tea_tasting(case, &adjusted.control()?, &adjusted.treatment()?)
    });
}

fn single_look(case: &Case, contrast: &Contrast) -> Result<Fields, NotComputable> {
    let interval = contrast.interval(case.f64("alpha"), Alternative::TwoSided)?;
    let p_value = number(contrast.p_value(0.0, Alternative::TwoSided));
    let Reference::StudentT { dof } = contrast.reference() else { panic!("{}: no t", case.id) };
    Ok(vec![
        ("estimate", number(contrast.estimate())),
        ("se", number(contrast.standard_error())),
        ("ci_lower", number(interval.lower)),
        ("ci_upper", number(interval.upper)),
        ("dof", number(dof)),
        ("p_value", p_value.clone()),
        ("p_value_library", p_value),
    ])
}

fn every_look(case: &Case, contrast: &Contrast) -> Result<Fields, NotComputable> {
    let sequence = AsymptoticSequence::new(case.f64("n_star"), case.f64("alpha"), Sides::Two)?;
    let units = (field(case, "a", "n") + field(case, "b", "n")) as u64;
    let found = sequence.around(contrast, units)?;
    Ok(vec![
        ("estimate", number(contrast.estimate())),
        ("se", number(contrast.standard_error())),
        ("ci_lower", number(found.interval.lower)),
        ("ci_upper", number(found.interval.upper)),
        ("p_value_library", number(MostEvidence::NONE.after(found.log_e).p_value())),
    ])
}

fn tea_tasting(case: &Case, control: &Sample, treatment: &Sample) -> Result<Fields, NotComputable> {
    let alpha = 1.0 - case.f64("confidence_level");
    let (mut contrast, mut lift) = (Contrast::welch(control, treatment)?, log_lift(control, treatment)?);
    if case.str("distribution") == "normal" {
        contrast = contrast.with_reference(Reference::Normal);
        lift = lift.with_reference(Reference::Normal);
    }
    let (interval, lift_interval) = (contrast.interval(alpha, Alternative::TwoSided)?, lift.interval(alpha)?);
    Ok(vec![
        ("control", number(control.mean())),
        ("treatment", number(treatment.mean())),
        ("effect", number(contrast.estimate())),
        ("ci_lower", number(interval.lower)),
        ("ci_upper", number(interval.upper)),
        ("rel_effect", number(lift.lift())),
        ("rel_ci_lower", number(lift_interval.lower)),
        ("rel_ci_upper", number(lift_interval.upper)),
        ("p_value", number(contrast.p_value(0.0, Alternative::TwoSided))),
        ("statistic", number(contrast.statistic(0.0))),
    ])
}

fn scaling(case: &Case) -> Scaling {
    match case.str("difference") {
        "absolute" => Scaling::Absolute,
        "relative" => Scaling::Relative,
        other => panic!("{}: {other}", case.id),
    }
}

/// Amounts, which the file writes as decimals.
fn mean(case: &Case, arm: &str) -> Result<Sample, NotComputable> {
    let (n, steps) = (field(case, arm, "n") as u64, f64::from(AMOUNT_SCALE));
    let sum = (field(case, arm, "sum") * steps).round() as i128;
    let sum_sq = decimal(case, arm, "sum_sq", 2);
    Sample::of_means(&MeanSums { n, sum, sum_sq, nonzero: n }, Scale::AMOUNT)
}

/// A decimal with at most six places, times 10^(6·power), without passing through a float's rounding at that size.
fn decimal(case: &Case, arm: &str, name: &str, power: u32) -> i128 {
    let millionths = (field(case, arm, name) * f64::from(AMOUNT_SCALE)).round() as i128;
    millionths * i128::from(AMOUNT_SCALE).pow(power - 1)
}

fn rate(case: &Case, arm: &str) -> Result<Sample, NotComputable> {
    growthbook::rate(&Conversions::new(field(case, arm, "sum") as u64, field(case, arm, "n") as u64)?)
}

fn cuped(case: &Case) -> Result<Adjusted, NotComputable> {
    let arm = |name: &str| CupedSums {
        y: MeanSums {
            n: field(case, name, "n") as u64,
            sum: whole(case, name, "sum_post"),
            sum_sq: whole(case, name, "sum_sq_post"),
            nonzero: 0,
        },
        sum_x: whole(case, name, "sum_pre"),
        sum_sq_x: whole(case, name, "sum_sq_pre"),
        sum_xy: whole(case, name, "sum_post_pre"),
    };
    Adjusted::of_means(&arm("a"), &arm("b"), Scale::COUNT)
}

fn ratio(case: &Case, arm: &str) -> Result<Sample, NotComputable> {
    let sums = RatioSums {
        numerator: MeanSums {
            n: field(case, arm, "n") as u64,
            sum: whole(case, arm, "sum_num"),
            sum_sq: whole(case, arm, "sum_sq_num"),
            nonzero: 0,
        },
        sum_den: whole(case, arm, "sum_den"),
        sum_sq_den: whole(case, arm, "sum_sq_den"),
        sum_num_den: whole(case, arm, "sum_num_den"),
    };
    ratio_sample(&sums, RatioScales::COUNTS)
}

/// The four columns of the tea-tasting cases: num and den, and their covariates numc and denc.
fn columns(case: &Case, arm: &str) -> RatioCupedSums {
    let part = |group: &str, name: &str| as_whole(&case.value(arm)[group][name]);
    let (sum, product) = (|name: &str| part("sums", name), |name: &str| part("products", name));
    RatioCupedSums {
        after: RatioSums {
            numerator: MeanSums {
                n: field(case, arm, "n") as u64,
                sum: sum("num"),
                sum_sq: product("num*num"),
                nonzero: 0,
            },
            sum_den: sum("den"),
            sum_sq_den: product("den*den"),
            sum_num_den: product("den*num"),
        },
        sum_num_before: sum("numc"),
        sum_sq_num_before: product("numc*numc"),
        sum_den_before: sum("denc"),
        sum_sq_den_before: product("denc*denc"),
        sum_num_before_den_before: product("denc*numc"),
        sum_num_num_before: product("num*numc"),
        sum_num_den_before: product("denc*num"),
        sum_den_num_before: product("den*numc"),
        sum_den_den_before: product("den*denc"),
    }
}

fn field(case: &Case, arm: &str, name: &str) -> f64 {
    case.value(arm)[name].as_f64().unwrap()
}

fn whole(case: &Case, arm: &str, name: &str) -> i128 {
    as_whole(&case.value(arm)[name])
}

fn as_whole(value: &Value) -> i128 {
    i128::from(value.as_i64().unwrap())
}
