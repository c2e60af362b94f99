//! Special functions.

use edgeseal_stats::special::{
    beta_cdf, beta_isf, beta_sf, chi2_isf, chi2_sf, ln_beta, ln_gamma, norm_isf, norm_logsf, norm_sf, t_isf,
    t_sf,
};

use crate::cases::{Fields, number, run};

fn value(value: f64) -> Fields {
    vec![("value", number(value))]
}

#[test]
fn norm_sf_cases() {
    run("norm_sf", |case| Ok(value(norm_sf(case.f64("x")))));
}

#[test]
fn norm_logsf_cases() {
    run("norm_logsf", |case| Ok(value(norm_logsf(case.f64("x")))));
}

#[test]
fn norm_isf_cases() {
    run("norm_isf", |case| Ok(value(norm_isf(case.f64("p")))));
}

#[test]
fn t_sf_cases() {
    run("t_sf", |case| Ok(value(t_sf(case.f64("x"), case.f64("df")))));
}

#[test]
fn t_isf_cases() {
    run("t_isf", |case| Ok(value(t_isf(case.f64("p"), case.f64("df")))));
}

#[test]
fn chi2_sf_cases() {
    run("chi2_sf", |case| Ok(value(chi2_sf(case.f64("x"), case.f64("df")))));
}

#[test]
fn chi2_isf_cases() {
    run("chi2_isf", |case| Ok(value(chi2_isf(case.f64("p"), case.f64("df")))));
}

#[test]
fn beta_cdf_cases() {
    run("beta_cdf", |case| Ok(value(beta_cdf(case.f64("x"), case.f64("a"), case.f64("b")))));
}

#[test]
fn beta_sf_cases() {
    run("beta_sf", |case| Ok(value(beta_sf(case.f64("x"), case.f64("a"), case.f64("b")))));
}

#[test]
fn beta_isf_cases() {
    run("beta_isf", |case| Ok(value(beta_isf(case.f64("p"), case.f64("a"), case.f64("b")))));
}

#[test]
fn ln_gamma_cases() {
    run("ln_gamma", |case| Ok(value(ln_gamma(case.f64("x")))));
}

#[test]
fn ln_beta_cases() {
    run("ln_beta", |case| Ok(value(ln_beta(case.f64("a"), case.f64("b")))));
}
