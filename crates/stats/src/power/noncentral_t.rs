//! Noncentral t: (Z + shift) / S with Z standard normal and S² a chi-square over its degrees of freedom.

use std::f64::consts::PI;

use crate::special::{norm_sf, stirling_correction};

/// Probability above `t`.
pub(super) fn noncentral_t_sf(t: f64, dof: f64, shift: f64) -> f64 {
    average_over_scale(dof, |scale| norm_sf(t * scale - shift))
}

/// Probability below `t`.
pub(super) fn noncentral_t_cdf(t: f64, dof: f64, shift: f64) -> f64 {
    average_over_scale(dof, |scale| norm_sf(shift - t * scale))
}

/// E f(S). With u = ln S² the density is analytic on the whole line and falls faster than exponentially on one side, like
/// e^{dof·u/2} on the other, so the plain trapezoidal rule converges faster than any power of its step.
fn average_over_scale(dof: f64, f: impl Fn(f64) -> f64) -> f64 {
    let half = dof / 2.0;
    let log_peak = 0.5 * (half / (2.0 * PI)).ln() - stirling_correction(half);
    let deviation = (2.0 / dof).sqrt();
    let step = (0.25 * deviation).min(0.05);
    let mut sum = 0.0;
    for direction in [-1.0, 1.0] {
        // The peak is counted once, by the upward half.
        let mut index = if direction < 0.0 { 1.0 } else { 0.0 };
        loop {
            let u: f64 = direction * step * index;
            let log_density = half * (u - u.exp_m1());
            if log_density < NEGLIGIBLE {
                break;
            }
            sum += log_density.exp() * f((0.5 * u).exp());
            index += 1.0;
        }
    }
    sum * step * log_peak.exp()
}

/// e^−45 of the density at its peak.
const NEGLIGIBLE: f64 = -45.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::special::t_sf;

    #[test]
    fn without_a_shift_it_is_students_t() {
        for dof in [0.7, 1.0, 2.0, 5.5, 30.0, 1e3, 1e6, 1e10] {
            for t in [-3.0, 0.0, 0.4, 2.0, 6.0] {
                let (got, want) = (noncentral_t_sf(t, dof, 0.0), t_sf(t, dof));
                assert!((got - want).abs() < 1e-9, "{t} {dof}: {got} {want}");
            }
        }
    }

    #[test]
    fn both_tails_make_one() {
        let total = noncentral_t_sf(1.5, 7.0, 2.0) + noncentral_t_cdf(1.5, 7.0, 2.0);
        assert!((total - 1.0).abs() < 1e-12, "{total}");
    }
}
