//! Sample ratio mismatch.

use edgeseal_stats::sequential::MostEvidence;
use edgeseal_stats::srm::SampleRatioTest;

use crate::cases::{number, run};

#[test]
fn multinomial_log_bf_cases() {
    run("multinomial_log_bf", |case| {
        let test =
            SampleRatioTest::with_concentration(&case.floats("probabilities"), case.f64("concentration"))?;
        let log_e = test.log_e(&case.counts("counts"))?;
        let p_value = MostEvidence::NONE.after(log_e).p_value();
        Ok(vec![("log_bf", number(log_e)), ("p_value", number(p_value))])
    });
}

#[test]
fn srm_sequential_cases() {
    run("srm_sequential", |case| {
        let test =
            SampleRatioTest::with_concentration(&case.floats("probabilities"), case.f64("concentration"))?;
        let batches: Vec<Vec<u64>> = serde_json::from_value(case.value("batches").clone()).unwrap();
        let mut counts = vec![0; case.floats("probabilities").len()];
        let mut most = MostEvidence::NONE;
        let (mut p_values, mut bayes_factors) = (vec![], vec![]);
        for batch in batches {
            for (count, more) in counts.iter_mut().zip(batch) {
                *count += more;
            }
            let log_e = test.log_e(&counts)?;
            most = most.after(log_e);
            p_values.push(number(most.p_value()));
            bayes_factors.push(number(log_e.exp()));
        }
        Ok(vec![("p_values", p_values.into()), ("bayes_factors", bayes_factors.into())])
    });
}

#[test]
fn srm_chi2_cases() {
    run("srm_chi2", |case| {
        let found = SampleRatioTest::new(&case.floats("weights"))?.chi_square(&case.counts("observed"))?;
        Ok(vec![
            ("statistic", number(found.statistic)),
            ("p_value", number(found.p_value)),
            ("dof", found.degrees_of_freedom.into()),
        ])
    });
}
