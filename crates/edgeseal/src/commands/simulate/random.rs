//! Draws that a seed determines: xoshiro256++ by Blackman and Vigna, and exact binomial numbers.

/// A stream of draws.
#[derive(Debug, Clone)]
pub(super) struct Random([u64; 4]);

impl Random {
    /// The stream of one experiment of a simulation.
    pub(super) fn new(seed: u64, experiment: u64) -> Self {
        // SplitMix64 spreads seeds that lie close together.
        let mut state = seed ^ experiment.wrapping_mul(0xd134_2543_de82_ef95);
        Self([(); 4].map(|()| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        }))
    }

    /// 64 random bits.
    pub(super) fn bits(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.0;
        let bits = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        bits
    }

    /// From 0 to 1, without 1.
    pub(super) fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Whether something of this chance happens.
    pub(super) fn happens(&mut self, chance: f64) -> bool {
        self.uniform() < chance
    }

    /// How many of `trials` things of this chance happen.
    pub(super) fn binomial(&mut self, trials: u64, chance: f64) -> u64 {
        if chance <= 0.0 {
            return 0;
        }
        if chance > 0.5 {
            return trials - self.binomial(trials, 1.0 - chance);
        }
        // Inversion is exact; in parts, so that the chance of "none" does not underflow.
        let part = ((EXPECTED_PER_PART / chance) as u64).max(1);
        let (mut left, mut sum) = (trials, 0);
        while left > 0 {
            let now = left.min(part);
            sum += self.few(now, chance);
            left -= now;
        }
        sum
    }

    fn few(&mut self, trials: u64, chance: f64) -> u64 {
        let odds = chance / (1.0 - chance);
        let none = ((-chance).ln_1p() * trials as f64).exp();
        loop {
            let (mut left, mut probability, mut number) = (self.uniform(), none, 0);
            while left > probability && number <= trials {
                left -= probability;
                number += 1;
                probability *= odds * (trials + 1 - number.min(trials)) as f64 / number as f64;
            }
            // Rounding may leave a little beyond the last number.
            if number <= trials {
                return number;
            }
        }
    }
}

const EXPECTED_PER_PART: f64 = 20.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binomial_numbers_have_their_mean_and_variance() {
        let mut random = Random::new(1, 2);
        for (trials, chance) in [(200, 0.05), (400, 0.5), (4_000, 0.001), (400, 0.99), (10, 0.3), (1, 0.5)] {
            let draws: Vec<f64> = (0..40_000).map(|_| random.binomial(trials, chance) as f64).collect();
            let mean = draws.iter().sum::<f64>() / 40_000.0;
            let variance = draws.iter().map(|draw| (draw - mean).powi(2)).sum::<f64>() / 39_999.0;
            let expected = trials as f64 * chance;
            let spread = expected * (1.0 - chance);
            assert!((mean - expected).abs() < 5.0 * (spread / 40_000.0).sqrt(), "{trials} {chance}: {mean}");
            assert!((variance / spread - 1.0).abs() < 0.05, "{trials} {chance}: {variance}");
        }
        assert_eq!((random.binomial(7, 0.0), random.binomial(7, 1.0), random.binomial(0, 0.5)), (0, 7, 0));
    }

    #[test]
    fn experiments_have_streams_of_their_own() {
        let first = |seed, experiment| Random::new(seed, experiment).bits();
        assert_eq!(first(1, 1), first(1, 1));
        assert_ne!(first(1, 1), first(1, 2));
        assert_ne!(first(1, 1), first(2, 1));
    }
}
