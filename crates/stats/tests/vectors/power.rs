//! Power and sample size, against statsmodels.

use edgeseal_stats::NotComputable;
use edgeseal_stats::power::{
    Design, Distribution, EffectSizeTest, cohens_h, power_of_rates, units_for_rates,
};

use crate::cases::{Case, Fields, alternative, number, run};

#[test]
fn power_normal_cases() {
    run("power_normal", |case| power(case, Distribution::Normal));
}

#[test]
fn power_t_cases() {
    run("power_t", |case| power(case, Distribution::StudentT));
}

#[test]
fn power_normal_solve_n_cases() {
    run("power_normal_solve_n", |case| units(case, Distribution::Normal));
}

#[test]
fn power_t_solve_n_cases() {
    run("power_t_solve_n", |case| units(case, Distribution::StudentT));
}

#[test]
fn samplesize_two_prop_cases() {
    run("samplesize_two_prop", |case| {
        let design = design(case, case.f64("power"))?;
        let units = units_for_rates(&design, case.f64("prop_control"), case.f64("diff"))?;
        Ok(vec![("n_treatment", number(units))])
    });
}

#[test]
fn power_two_prop_cases() {
    run("power_two_prop", |case| {
        let design = design(case, 0.5)?;
        let (rate, diff, units) = (case.f64("prop_control"), case.f64("diff"), case.f64("n_treatment"));
        let found = power_of_rates(&design, rate, diff, units)?;
        Ok(vec![
            ("power", number(found.power)),
            ("p_pooled", number(found.pooled_rate)),
            ("std_null", number(found.null_deviation)),
            ("std_alt", number(found.alternative_deviation)),
        ])
    });
}

#[test]
fn cohens_h_cases() {
    run("cohens_h", |case| Ok(vec![("h", number(cohens_h(case.f64("p1"), case.f64("p2"))?))]));
}

fn power(case: &Case, distribution: Distribution) -> Result<Fields, NotComputable> {
    Ok(vec![("power", number(effect_size_test(case, distribution).power(case.f64("n1"))?))])
}

fn units(case: &Case, distribution: Distribution) -> Result<Fields, NotComputable> {
    Ok(vec![("n1", number(effect_size_test(case, distribution).units(case.f64("power"))?))])
}

fn effect_size_test(case: &Case, distribution: Distribution) -> EffectSizeTest {
    EffectSizeTest {
        effect_size: case.f64("effect_size"),
        alpha: case.f64("alpha"),
        second_per_first: case.f64("ratio"),
        alternative: alternative(case),
        distribution,
    }
}

fn design(case: &Case, power: f64) -> Result<Design, NotComputable> {
    let design = Design::new(case.f64("alpha"), power)?.with_alternative(alternative(case));
    design.with_control_per_treatment(case.f64("ratio"))
}
