//! Tests and intervals of the textbooks.

use edgeseal_stats::NotComputable;
use edgeseal_stats::classical::{
    Conversions, Events, IntervalMethod, Null, OddsRatio, RateMethod, Table, ZTest, chi_square,
    compare_rates, fisher_exact, g_test, margin_z_test, newcombe_interval, pooled_z_test,
    proportion_interval, score_test,
};
use edgeseal_stats::contrast::{Alternative, Contrast, Reference};
use edgeseal_stats::multiple::{Method, adjusted_p_values};
use edgeseal_stats::sample::Sample;
use edgeseal_stats::sums::{MeanSums, Scale};
use serde_json::Value;

use crate::cases::{Case, Fields, alternative, number, run};

fn table(case: &Case) -> Result<Table, NotComputable> {
    Table::new((case.u64("conv_a"), case.u64("n_a")), (case.u64("conv_b"), case.u64("n_b")))
}

#[test]
fn chi2_2x2_cases() {
    run("chi2_2x2", |case| {
        let test = chi_square(&table(case)?, case.bool("yates"))?;
        Ok(statistic(test.statistic, test.p_value))
    });
}

#[test]
fn g_test_2x2_cases() {
    run("g_test_2x2", |case| {
        let test = g_test(&table(case)?, case.bool("yates"))?;
        Ok(statistic(test.statistic, test.p_value))
    });
}

fn statistic(statistic: f64, p_value: f64) -> Fields {
    vec![("statistic", number(statistic)), ("p_value", number(p_value)), ("dof", Value::from(1))]
}

#[test]
fn two_prop_z_pooled_cases() {
    run("two_prop_z_pooled", |case| Ok(z_fields(pooled_z_test(&table(case)?, alternative(case))?)));
}

#[test]
fn two_prop_score_margin_cases() {
    run("two_prop_score_margin", |case| {
        assert!(!case.bool("correction"), "{}: no correction", case.id);
        let null = match case.str("compare") {
            "diff" => Null::Difference(case.f64("null_value")),
            "ratio" => Null::Ratio(case.f64("null_value")),
            other => panic!("{}: {other}", case.id),
        };
        Ok(z_fields(score_test(&table(case)?, null, alternative(case))?))
    });
}

fn z_fields(test: ZTest) -> Fields {
    vec![("z", number(test.z)), ("p_value", number(test.p_value))]
}

#[test]
fn fisher_exact_cases() {
    run("fisher_exact", |case| {
        let test = fisher_exact(&table(case)?, alternative(case))?;
        let odds_ratio = match test.odds_ratio {
            OddsRatio::Finite(odds) => number(odds),
            OddsRatio::Infinite => Value::from("Infinity"),
            OddsRatio::Undefined => Value::from("NaN"),
        };
        Ok(vec![("odds_ratio", odds_ratio), ("p_value", number(test.p_value))])
    });
}

#[test]
fn nim_ztest_cases() {
    run("nim_ztest", |case| {
        let (alternative, margin) = match case.value("preferred_direction").as_str() {
            None => (Alternative::TwoSided, 0.0),
            Some("increase") => (Alternative::Larger, case.f64("margin")),
            Some("decrease") => (Alternative::Smaller, case.f64("margin")),
            Some(other) => panic!("{}: {other}", case.id),
        };
        let test = margin_z_test(&table(case)?, margin, alternative, 1.0 - case.f64("interval"))?;
        let null = if alternative == Alternative::TwoSided { Value::Null } else { number(test.null) };
        Ok(vec![
            ("difference", number(test.difference)),
            ("p_value", number(test.p_value)),
            ("ci_lower", number(test.interval.lower)),
            ("ci_upper", number(test.interval.upper)),
            ("null_hypothesis", null),
        ])
    });
}

#[test]
fn newcombe_ci_cases() {
    run("newcombe_ci", |case| {
        let interval = newcombe_interval(&table(case)?, case.f64("alpha"))?;
        Ok(vec![("lower", number(interval.lower)), ("upper", number(interval.upper))])
    });
}

#[test]
fn proportion_ci_cases() {
    run("proportion_ci", |case| {
        let method = match case.str("method") {
            "wilson" => IntervalMethod::Wilson,
            "clopper_pearson" => IntervalMethod::ClopperPearson,
            "agresti_coull" => IntervalMethod::AgrestiCoull,
            other => panic!("{}: {other}", case.id),
        };
        let arm = Conversions::new(case.u64("conv"), case.u64("n"))?;
        let interval = proportion_interval(&arm, case.f64("alpha"), method)?;
        Ok(vec![("lower", number(interval.lower)), ("upper", number(interval.upper))])
    });
}

#[test]
fn poisson_two_rates_cases() {
    run("poisson_two_rates", |case| {
        let method = match case.str("method") {
            "score" => RateMethod::Score,
            "sqrt" => RateMethod::SquareRoot,
            "exact-cond" => RateMethod::ExactConditional,
            "cond-midp" => RateMethod::MidP,
            other => panic!("{}: {other}", case.id),
        };
        let control = Events::new(case.u64("count_a"), case.f64("exposure_a"))?;
        let treatment = Events::new(case.u64("count_b"), case.f64("exposure_b"))?;
        let test = compare_rates(&control, &treatment, case.f64("null_ratio"), method, alternative(case))?;
        Ok(vec![("statistic", test.statistic.map_or(Value::Null, number)), ("p_value", number(test.p_value))])
    });
}

#[test]
fn welch_t_cases() {
    run("welch_t", |case| {
        let control = Sample::new(case.u64("n_a"), case.f64("mean_a"), case.f64("var_a"))?;
        let treatment = Sample::new(case.u64("n_b"), case.f64("mean_b"), case.f64("var_b"))?;
        let contrast = Contrast::welch(&control, &treatment)?;
        let interval = contrast.interval(case.f64("alpha"), Alternative::TwoSided)?;
        let Reference::StudentT { dof } = contrast.reference() else { panic!("{}: no t", case.id) };
        Ok(vec![
            ("t", number(contrast.statistic(0.0))),
            ("df", number(dof)),
            ("p_two_sided", number(contrast.p_value(0.0, Alternative::TwoSided))),
            ("p_b_smaller", number(contrast.p_value(0.0, Alternative::Smaller))),
            ("diff", number(contrast.estimate())),
            ("ci_lower", number(interval.lower)),
            ("ci_upper", number(interval.upper)),
        ])
    });
}

#[test]
fn variance_from_sums_cases() {
    run("variance_from_sums", |case| {
        let whole = |field: &str| case.str(field).parse().unwrap();
        let sums = MeanSums { n: case.u64("n"), sum: whole("sum"), sum_sq: whole("sum_sq"), nonzero: 0 };
        let sample = Sample::of_means(&sums, Scale::COUNT)?;
        Ok(vec![("mean", number(sample.mean())), ("variance", number(sample.variance()))])
    });
}

#[test]
fn multiple_testing_cases() {
    run("multiple_testing", |case| {
        let method = match case.str("method") {
            "bonferroni" => Method::Bonferroni,
            "holm" => Method::Holm,
            "hommel" => Method::Hommel,
            "benjamini_hochberg" => Method::BenjaminiHochberg,
            "benjamini_yekutieli" => Method::BenjaminiYekutieli,
            other => panic!("{}: {other}", case.id),
        };
        let adjusted = adjusted_p_values(&case.floats("p_values"), method)?;
        let reject: Vec<bool> = adjusted.iter().map(|&p| p <= case.f64("alpha")).collect();
        Ok(vec![("adjusted", Value::from(adjusted)), ("reject", Value::from(reject))])
    });
}
