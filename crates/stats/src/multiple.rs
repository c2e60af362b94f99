//! Several hypotheses at once: adjusted p-values, and the e-value version of Benjamini–Hochberg.

use crate::NotComputable;

/// How p-values are adjusted for being several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Family-wise: every p-value times their number.
    Bonferroni,
    /// Family-wise, step-down, uniformly better than Bonferroni (Holm 1979). The default for success metrics.
    Holm,
    /// Family-wise under independence or positive dependence (Hommel 1988).
    Hommel,
    /// False discovery rate under independence or positive dependence (Benjamini and Hochberg 1995).
    BenjaminiHochberg,
    /// False discovery rate under any dependence (Benjamini and Yekutieli 2001).
    BenjaminiYekutieli,
}

/// Adjusted p-values, in the order given: hypothesis i is rejected at level α when its adjusted value is at most α.
///
/// # Errors
/// [`NotComputable::OutOfRange`] for a value outside [0, 1].
pub fn adjusted_p_values(p_values: &[f64], method: Method) -> Result<Vec<f64>, NotComputable> {
    if let Some(&got) = p_values.iter().find(|p| !(0.0..=1.0).contains(*p)) {
        return Err(NotComputable::OutOfRange { argument: "p-value", allowed: "from 0 to 1", got });
    }
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&i, &j| p_values[i].total_cmp(&p_values[j]));
    let ascending: Vec<f64> = order.iter().map(|&i| p_values[i]).collect();
    let mut adjusted = vec![0.0; p_values.len()];
    for (&i, value) in order.iter().zip(adjusted_ascending(&ascending, method)) {
        adjusted[i] = value.min(1.0);
    }
    Ok(adjusted)
}

/// e-BH (Wang and Ramdas 2022): which hypotheses to reject so that the false discovery rate stays below `alpha`, under any
/// dependence between the e-values and at any stopping time of e-processes. Takes ln e.
///
/// # Errors
/// [`NotComputable::OutOfRange`] unless 0 < `alpha` < 1, or for a NaN among the values.
pub fn e_benjamini_hochberg(log_e_values: &[f64], alpha: f64) -> Result<Vec<bool>, NotComputable> {
    let alpha = NotComputable::unless_probability("alpha", alpha)?;
    if log_e_values.iter().any(|log_e| log_e.is_nan()) {
        return Err(NotComputable::OutOfRange { argument: "log e", allowed: "a number", got: f64::NAN });
    }
    let mut descending = log_e_values.to_vec();
    descending.sort_by(|a, b| b.total_cmp(a));
    let count = descending.len() as f64;
    let threshold = (1..=descending.len())
        .rev()
        .find(|&k| descending[k - 1] >= (count / (k as f64 * alpha)).ln())
        .map(|k| descending[k - 1]);
    Ok(log_e_values.iter().map(|&log_e| threshold.is_some_and(|threshold| log_e >= threshold)).collect())
}

fn adjusted_ascending(p: &[f64], method: Method) -> Vec<f64> {
    let count = p.len() as f64;
    let rank = |i: usize| (i + 1) as f64;
    match method {
        Method::Bonferroni => p.iter().map(|p| p * count).collect(),
        Method::Holm => running(p.iter().enumerate().map(|(i, p)| p * (count - i as f64)), f64::max),
        Method::BenjaminiHochberg => step_up(p, |i| count / rank(i)),
        Method::BenjaminiYekutieli => {
            let harmonic: f64 = (0..p.len()).map(|i| 1.0 / rank(i)).sum();
            step_up(p, |i| harmonic * count / rank(i))
        }
        Method::Hommel => hommel(p),
    }
}

/// Every value becomes the smallest of itself and those after it.
fn step_up(p: &[f64], factor: impl Fn(usize) -> f64) -> Vec<f64> {
    let backwards = (0..p.len()).rev().map(|i| p[i] * factor(i));
    let mut adjusted = running(backwards, f64::min);
    adjusted.reverse();
    adjusted
}

fn running(values: impl Iterator<Item = f64>, pick: impl Fn(f64, f64) -> f64) -> Vec<f64> {
    values
        .scan(None, |so_far: &mut Option<f64>, value| {
            let picked = so_far.map_or(value, |before| pick(before, value));
            *so_far = Some(picked);
            Some(picked)
        })
        .collect()
}

/// Wright's algorithm (1992): for every m the Simes value of the m largest bounds all from below.
fn hommel(p: &[f64]) -> Vec<f64> {
    let mut adjusted = p.to_vec();
    for m in (2..=p.len()).rev() {
        let split = p.len() - m;
        let simes = p[split..]
            .iter()
            .enumerate()
            .map(|(i, p)| m as f64 * p / (i + 1) as f64)
            .fold(f64::INFINITY, f64::min);
        for (i, value) in adjusted.iter_mut().enumerate() {
            let bound = if i < split { simes.min(m as f64 * p[i]) } else { simes };
            *value = value.max(bound);
        }
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [Method; 5] = [
        Method::Bonferroni,
        Method::Holm,
        Method::Hommel,
        Method::BenjaminiHochberg,
        Method::BenjaminiYekutieli,
    ];

    #[test]
    fn holm_steps_down() {
        let adjusted = adjusted_p_values(&[0.04, 0.01, 0.03], Method::Holm).unwrap();
        assert_eq!(adjusted, [0.06, 0.03, 0.06]);
    }

    #[test]
    fn nothing_to_adjust_and_what_is_no_p_value() {
        for method in ALL {
            assert_eq!(adjusted_p_values(&[], method), Ok(vec![]));
            for bad in [-0.1, 1.1, f64::NAN] {
                assert!(adjusted_p_values(&[0.5, bad], method).is_err(), "{method:?} {bad}");
            }
        }
        assert!(e_benjamini_hochberg(&[f64::NAN], 0.05).is_err());
        assert!(e_benjamini_hochberg(&[1.0], 1.0).is_err());
    }

    #[test]
    fn e_values_are_rejected_from_the_largest() {
        // Thresholds ln(K / (k α)) for K = 3, α = 0.1: 30, 15, 10.
        let logs = |e: &[f64]| e.iter().map(|e| e.ln()).collect::<Vec<_>>();
        assert_eq!(e_benjamini_hochberg(&logs(&[16.0, 9.0, 20.0]), 0.1), Ok(vec![true, false, true]));
        assert_eq!(e_benjamini_hochberg(&logs(&[14.0, 9.0, 29.0]), 0.1), Ok(vec![false, false, false]));
        assert_eq!(e_benjamini_hochberg(&[f64::NEG_INFINITY, f64::INFINITY], 0.1), Ok(vec![false, true]));
        assert_eq!(e_benjamini_hochberg(&[], 0.1), Ok(vec![]));
    }

    proptest! {
        #[test]
        fn adjusting_keeps_the_order_and_only_raises(p in prop::collection::vec(0.0..=1.0_f64, 1..30)) {
            for method in ALL {
                let adjusted = adjusted_p_values(&p, method).unwrap();
                for i in 0..p.len() {
                    prop_assert!(adjusted[i] >= p[i] && adjusted[i] <= 1.0);
                    for j in 0..p.len() {
                        prop_assert!(p[i] > p[j] || adjusted[i] <= adjusted[j]);
                    }
                }
            }
        }

        #[test]
        fn hommel_lies_between_the_simes_bound_and_holm(p in prop::collection::vec(0.0..=1.0_f64, 1..20)) {
            let of = |method| adjusted_p_values(&p, method).unwrap();
            let (hommel, holm, hochberg) = (of(Method::Hommel), of(Method::Holm), of(Method::BenjaminiHochberg));
            for i in 0..p.len() {
                prop_assert!(hommel[i] <= holm[i] + 1e-12 && hommel[i] >= hochberg[i] - 1e-12);
            }
        }
    }
}
