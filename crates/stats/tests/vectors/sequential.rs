//! E-processes and confidence sequences.

use edgeseal_stats::contrast::Contrast;
use edgeseal_stats::guardrail::{ConversionSplit, Direction};
use edgeseal_stats::sample::Sample;
use edgeseal_stats::sequential::{
    AnytimeRegression, AsymptoticSequence, BetaBinomialMixture, GammaExponentialMixture, GammaPoissonMixture,
    NormalMixture, PolynomialStitching, Sides, Spending, bernoulli_confidence_sequence,
    closed_form_half_width, group_sequential_bounds,
};
use serde_json::Value;

use crate::cases::{Case, number, run};

fn sides(case: &Case) -> Sides {
    if case.bool("one_sided") { Sides::One } else { Sides::Two }
}

#[test]
fn normal_mixture_log_e_cases() {
    run("normal_mixture_log_e", |case| {
        let mixture = NormalMixture::tuned(case.f64("v_opt"), case.f64("alpha_opt"), sides(case))?;
        Ok(vec![("log_e", number(mixture.log_e(case.f64("s"), case.f64("v"))?))])
    });
}

#[test]
fn normal_mixture_bound_cases() {
    run("normal_mixture_bound", |case| {
        let mixture = NormalMixture::tuned(case.f64("v_opt"), case.f64("alpha_opt"), sides(case))?;
        Ok(vec![("bound", number(mixture.bound(case.f64("v"), case.f64("alpha"))?))])
    });
}

#[test]
fn asymptotic_cs_diff_cases() {
    run("asymptotic_cs_diff", |case| {
        let control = Sample::new(case.u64("n_a"), case.f64("mean_a"), case.f64("var_a"))?;
        let treatment = Sample::new(case.u64("n_b"), case.f64("mean_b"), case.f64("var_b"))?;
        let contrast = Contrast::welch(&control, &treatment)?;
        let sequence = AsymptoticSequence::new(case.f64("n_star"), case.f64("alpha"), sides(case))?;
        let found = sequence.around(&contrast, control.n() + treatment.n())?;
        let lower = found.interval.lower;
        Ok(vec![
            ("diff", number(contrast.estimate())),
            ("se", number(contrast.standard_error())),
            ("half_width", number(found.half_width)),
            ("lower", if lower.is_finite() { number(lower) } else { Value::Null }),
            ("upper", number(found.interval.upper)),
            ("log_e_harm", number(found.log_e)),
        ])
    });
}

#[test]
fn gb_sequential_one_sided_cases() {
    run("gb_sequential_one_sided", |case| {
        let half_width =
            closed_form_half_width(case.f64("se"), case.u64("n"), case.f64("n_star"), case.f64("alpha"))?;
        Ok(vec![
            ("greater_lower", number(case.f64("estimate") - half_width)),
            ("lesser_upper", number(case.f64("estimate") + half_width)),
        ])
    });
}

#[test]
fn conversion_split_log_e_cases() {
    run("conversion_split_log_e", |case| {
        let share_b = case.f64("share_b");
        let split = ConversionSplit::new(1.0 - share_b, share_b, case.f64("margin"), Direction::LowerIsHarm)?
            .with_concentration(case.f64("k"))?;
        let log_e = split.log_e(case.u64("conv_a"), case.u64("conv_b"))?;
        Ok(vec![("theta_m", number(split.treatment_share_at_margin())), ("log_e", number(log_e))])
    });
}

fn beta_binomial(case: &Case) -> Result<BetaBinomialMixture, edgeseal_stats::NotComputable> {
    let (g, h) = (case.f64("g"), case.f64("h"));
    BetaBinomialMixture::tuned(case.f64("v_opt"), case.f64("alpha_opt"), g, h, sides(case))
}

#[test]
fn beta_binomial_log_e_cases() {
    run("beta_binomial_log_e", |case| {
        Ok(vec![("log_e", number(beta_binomial(case)?.log_e(case.f64("s"), case.f64("v"))?))])
    });
}

#[test]
fn beta_binomial_bound_cases() {
    run("beta_binomial_bound", |case| {
        Ok(vec![("bound", number(beta_binomial(case)?.bound(case.f64("v"), case.f64("alpha"))?))])
    });
}

#[test]
fn bernoulli_cs_cases() {
    run("bernoulli_cs", |case| {
        let interval = bernoulli_confidence_sequence(
            case.u64("conv"),
            case.u64("n"),
            case.f64("alpha"),
            case.f64("t_opt"),
            case.f64("alpha_opt"),
        )?;
        Ok(vec![("lower", number(interval.lower)), ("upper", number(interval.upper))])
    });
}

#[test]
fn anytime_regression_log_e_cases() {
    run("anytime_regression_log_e", |case| {
        let model = AnytimeRegression::new(case.f64("nu"), case.f64("phi"), case.f64("z2"))?;
        Ok(vec![("log_e", number(model.log_e(case.f64("t_squared"))?))])
    });
}

#[test]
fn anytime_regression_ci_cases() {
    run("anytime_regression_ci", |case| {
        let model = AnytimeRegression::new(case.f64("nu"), case.f64("phi"), case.f64("z2"))?;
        let found = model.interval(case.f64("estimate"), case.f64("se"), case.f64("alpha"))?;
        Ok(vec![
            ("lower", number(found.lower)),
            ("upper", number(found.upper)),
            ("p_value", number(found.p_value)),
        ])
    });
}

#[test]
fn gst_bounds_cases() {
    run("gst_bounds", |case| {
        let spending = match case.str("spending") {
            "obrien_fleming" => Spending::ObrienFleming,
            "pocock" => Spending::Pocock,
            "power" => Spending::Power(case.f64("phi")),
            other => panic!("unknown spending {other}"),
        };
        let bounds =
            group_sequential_bounds(&case.floats("information"), spending, case.f64("alpha_one_sided"))?;
        Ok(vec![("z_upper", bounds.into())])
    });
}

#[test]
fn gamma_poisson_log_e_cases() {
    run("gamma_poisson_log_e", |case| {
        let mixture = GammaPoissonMixture::tuned(case.f64("v_opt"), case.f64("alpha_opt"), case.f64("c"))?;
        Ok(vec![("log_e", number(mixture.log_e(case.f64("s"), case.f64("v"))?))])
    });
}

#[test]
fn gamma_exponential_log_e_cases() {
    run("gamma_exponential_log_e", |case| {
        let mixture =
            GammaExponentialMixture::tuned(case.f64("v_opt"), case.f64("alpha_opt"), case.f64("c"))?;
        Ok(vec![("log_e", number(mixture.log_e(case.f64("s"), case.f64("v"))?))])
    });
}

#[test]
fn poly_stitching_bound_cases() {
    run("poly_stitching_bound", |case| {
        let stitching =
            PolynomialStitching::new(case.f64("v_min"), case.f64("c"), case.f64("s"), case.f64("eta"))?;
        Ok(vec![("bound", number(stitching.bound(case.f64("v"), case.f64("alpha"))?))])
    });
}
