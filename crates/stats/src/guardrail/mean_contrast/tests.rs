use proptest::prelude::*;

use super::*;

fn contrast(margin: f64, direction: Direction) -> MeanContrast {
    MeanContrast::new(margin, direction, DEFAULT_N_STAR, 0.01).unwrap()
}

fn rates(control: (u64, u64), treatment: (u64, u64)) -> EpochArms {
    EpochArms::Rates(Table::new(control, treatment).unwrap())
}

/// Sums of `nonzero` units with value `value` among `n`.
fn sums(n: u64, nonzero: u64, value: i128) -> MeanSums {
    MeanSums { n, sum: i128::from(nonzero) * value, sum_sq: i128::from(nonzero) * value * value, nonzero }
}

fn counts(control: MeanSums, treatment: MeanSums) -> EpochArms {
    EpochArms::Means { control, treatment, scale: Scale::COUNT }
}

#[test]
fn one_epoch_is_the_plain_formula() {
    let found = contrast(0.1, Direction::LowerIsHarm).evidence(&[rates((500, 5000), (40, 500))]).unwrap();
    let (g, n): (f64, f64) = (0.9, 5500.0);
    let (a, b): (f64, f64) = (0.1, 0.08);
    let welch: f64 = b * (1.0 - b) / 499.0 + g * g * a * (1.0 - a) / 4999.0;
    let restricted = 540.0 / (5000.0 + g * 500.0);
    let pooled: f64 =
        g * restricted * (1.0 - g * restricted) / 500.0 + g * g * restricted * (1.0 - restricted) / 5000.0;
    let z = (g * a - b) / welch.max(pooled).sqrt();
    let l = (1.0 / 0.02f64).ln();
    let rho = DEFAULT_N_STAR / (2.0 * l + (1.0 + 2.0 * l).ln());
    let x = z * (n / (n + rho)).sqrt();
    let log_e = 0.5 * (4.0 * rho / (n + rho)).ln() + x * x / 2.0 + crate::special::norm_logcdf(x);
    assert!((found.z - z).abs() < 1e-12 && (found.log_e - log_e).abs() < 1e-12);
    assert!(pooled > welch, "the case is meant to use the pooled error");
}

#[test]
fn the_directions_look_opposite_ways() {
    let epoch = [rates((1000, 10_000), (800, 10_000))];
    assert!(contrast(0.0, Direction::LowerIsHarm).evidence(&epoch).unwrap().log_e > 5.0);
    let other = contrast(0.0, Direction::HigherIsHarm).evidence(&epoch).unwrap();
    assert!(other.log_e < 0.0 && other.bound.unwrap() < 0.0);
}

#[test]
fn the_bound_and_the_evidence_pause_together() {
    let threshold = 100f64.ln();
    for fewer in (0..400).step_by(5) {
        let found = contrast(0.05, Direction::LowerIsHarm)
            .evidence(&[rates((1000, 10_000), (1000 - fewer, 10_000))])
            .unwrap();
        assert_eq!(found.bound.unwrap() > 0.0, found.log_e > threshold, "{fewer} fewer");
    }
}

#[test]
fn during_the_burn_in_nothing_counts() {
    let missing = |epoch| {
        let found = contrast(0.0, Direction::LowerIsHarm).evidence(&[epoch]).unwrap();
        assert_eq!((found.log_e, found.bound), (0.0, None));
        found.burn_in.unwrap()
    };
    assert_eq!(missing(rates((150, 5000), (0, 199))), Missing::Units { have: 199, need: 200 });
    assert_eq!(missing(rates((49, 1000), (0, 1000))), Missing::Nonzero { have: 24, need: 25 });
    assert_eq!(missing(rates((1000, 1000), (951, 1000))), Missing::Zeros { have: 24, need: 25 });
    // Only yes/no metrics need zeros.
    let all_nonzero = MeanSums { n: 1000, sum: 3000, sum_sq: 10_000, nonzero: 1000 };
    let found = contrast(0.0, Direction::LowerIsHarm).evidence(&[counts(all_nonzero, all_nonzero)]).unwrap();
    assert_eq!(found.burn_in, None);
}

#[test]
fn amounts_wait_longer() {
    let epoch = [rates((100, 1000), (100, 1000))];
    let watched = contrast(0.0, Direction::LowerIsHarm);
    assert_eq!(watched.evidence(&epoch).unwrap().burn_in, None);
    let missing = watched.with_burn_in(BurnIn::AMOUNTS).evidence(&epoch).unwrap().burn_in;
    assert_eq!(missing, Some(Missing::Units { have: 1000, need: 2000 }));
}

#[test]
fn epochs_are_not_mixed() {
    // Both arms convert alike in each epoch, but the base rate fell while the treatment's share grew.
    let watched = contrast(0.0, Direction::LowerIsHarm);
    let epochs = [rates((9000, 90_000), (1000, 10_000)), rates((2500, 50_000), (2500, 50_000))];
    assert!(watched.evidence(&epochs).unwrap().z.abs() < 1e-9);
    let mixed = watched.evidence(&[rates((11_500, 140_000), (3500, 60_000))]).unwrap();
    assert!(mixed.log_e > 100.0, "a false alarm: {mixed:?}");
}

#[test]
fn a_new_epoch_does_not_silence_the_old_one() {
    let watched = contrast(0.0, Direction::LowerIsHarm);
    let old = rates((1000, 10_000), (700, 10_000));
    let alone = watched.evidence(&[old]).unwrap();
    let begun = [rates((0, 1), (0, 1)), rates((0, 50), (0, 50)), rates((3, 60), (9, 60))];
    for new in begun {
        assert_eq!(watched.evidence(&[old, new]), Ok(alone));
    }
}

#[test]
fn what_cannot_be_compared_is_not_evidence() {
    let watched = contrast(0.0, Direction::LowerIsHarm);
    assert_eq!(watched.evidence(&[]), Err(NotComputable::NoUnits));
    assert_eq!(watched.evidence(&[rates((0, 1000), (0, 1000))]), Err(NotComputable::NoVariance));
    assert_eq!(watched.evidence(&[rates((1000, 1000), (1000, 1000))]), Err(NotComputable::NoVariance));
    assert_eq!(watched.evidence(&[rates((1, 1), (0, 1000))]), Err(NotComputable::TooFewUnits));
    let zero = MeanSums::default();
    assert_eq!(watched.evidence(&[counts(zero, zero)]), Err(NotComputable::NoUnits));
    let same = sums(1000, 1000, 7);
    assert_eq!(watched.evidence(&[counts(same, same)]), Err(NotComputable::NoVariance));
    let huge = MeanSums { n: 1000, sum: 0, sum_sq: i128::MAX, nonzero: 1 };
    assert_eq!(watched.evidence(&[counts(huge, huge)]), Err(NotComputable::SumsTooLarge));
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let new = |margin, direction, n_star, alpha| MeanContrast::new(margin, direction, n_star, alpha).is_err();
    assert!(new(-0.1, Direction::LowerIsHarm, 1e4, 0.01));
    assert!(new(1.0, Direction::LowerIsHarm, 1e4, 0.01));
    assert!(new(f64::NAN, Direction::HigherIsHarm, 1e4, 0.01));
    assert!(new(0.0, Direction::LowerIsHarm, 0.0, 0.01));
    assert!(new(0.0, Direction::LowerIsHarm, 1e4, 0.5));
    assert!(n_star_to_catch(0.0, 1.0).is_err() && n_star_to_catch(0.1, f64::NAN).is_err());
    assert!((n_star_to_catch(0.1, 4.0).unwrap() - 2.0 * 16.0 * 34.0 * 34.0).abs() < 1e-6);
}

#[test]
fn linearised_arms_are_compared_like_means() {
    let (control, treatment) = (sums(3000, 900, 4), sums(2000, 500, 4));
    let watched = contrast(0.02, Direction::LowerIsHarm);
    let as_means = watched.evidence(&[counts(control, treatment)]).unwrap();
    let linearised = LinearisedArms {
        control: Sample::of_means(&control, Scale::COUNT).unwrap(),
        treatment: Sample::of_means(&treatment, Scale::COUNT).unwrap(),
        pooled_variance: Sample::of_means(&control.merged(treatment).unwrap(), Scale::COUNT)
            .unwrap()
            .variance(),
        nonzero: 1400,
    };
    assert_eq!(watched.evidence(&[EpochArms::Linearised(linearised)]), Ok(as_means));
    let broken = LinearisedArms { pooled_variance: f64::NAN, ..linearised };
    assert!(watched.evidence(&[EpochArms::Linearised(broken)]).is_err());
}

proptest! {
    #[test]
    fn the_scale_changes_nothing_but_the_unit(n in 300u64..1_000_000, share in 0.2f64..0.9, fewer in 0.0f64..0.5) {
        let nonzero = (n as f64 * share) as u64;
        let in_treatment = (nonzero as f64 * (1.0 - fewer)) as u64;
        let watched = contrast(0.0, Direction::LowerIsHarm);
        let small = watched.evidence(&[counts(sums(n, nonzero, 1), sums(n, in_treatment, 1))]).unwrap();
        let steps = i128::from(crate::sums::AMOUNT_SCALE);
        let scaled = EpochArms::Means {
            control: sums(n, nonzero, steps),
            treatment: sums(n, in_treatment, steps),
            scale: Scale::AMOUNT,
        };
        let large = watched.evidence(&[scaled]).unwrap();
        prop_assert!((small.log_e - large.log_e).abs() <= 1e-9 * small.log_e.abs().max(1.0));
        prop_assert!((small.estimate - large.estimate).abs() <= 1e-12);
    }

    #[test]
    fn fewer_conversions_are_evidence(n in 500u64..100_000, share in 0.2f64..0.8, fewer in 1u64..50) {
        let converted = (n as f64 * share) as u64;
        let log_e = |b| contrast(0.0, Direction::LowerIsHarm).evidence(&[rates((converted, n), (b, n))]).unwrap().log_e;
        prop_assert!(log_e(converted - fewer) >= log_e(converted) - 1e-9);
    }
}
