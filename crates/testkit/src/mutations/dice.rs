//! Chance that falls the same way every time.

use crate::vectors::bucketing::SplitMix64;

pub(super) struct Dice(SplitMix64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(SplitMix64(seed))
    }

    /// From 0 to one less than `end`; 0 when `end` is 0.
    pub(super) fn below(&mut self, end: usize) -> usize {
        let roll = usize::try_from(self.0.next() >> 33).unwrap_or(0);
        roll.checked_rem(end).unwrap_or(0)
    }

    pub(super) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of a few; never of none.
    pub(super) fn pick<'t, T>(&mut self, few: &'t [T]) -> &'t T {
        &few[self.below(few.len())]
    }

    pub(super) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        for byte in &mut bytes {
            *byte = self.byte();
        }
        bytes
    }

    pub(super) fn byte(&mut self) -> u8 {
        self.0.next().to_le_bytes()[7]
    }
}
