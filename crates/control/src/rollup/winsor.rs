//! Where the values of large units are cut (winsorising): fixed once, early, and then for good.
//!
//! A limit that moved with the data would change what was counted long ago; one that is chosen after looking at the
//! outcome could be chosen to please. The units of all variants together decide, so it favours none of them.

use edgeseal_core::bucket::BUCKETS;
use edgeseal_core::definition::Share;

/// Units with a value that are needed to fix a limit.
pub(super) const UNITS_NEEDED: usize = 2_000;

/// The value to cut at, from the totals of units that have one: no more than `share` of them lie above. `None` while
/// there are too few.
pub(super) fn cap(mut totals: Vec<i128>, share: Share) -> Option<i128> {
    if totals.len() < UNITS_NEEDED {
        return None;
    }
    // By nearest rank: the ⌈n·(1 − share)⌉-th in order.
    let kept = u64::from(BUCKETS.saturating_sub(share.buckets()));
    let rank = (totals.len() as u64).saturating_mul(kept).div_ceil(u64::from(BUCKETS)).max(1);
    let place = usize::try_from(rank.saturating_sub(1)).ok().filter(|place| *place < totals.len())?;
    Some(*totals.select_nth_unstable(place).1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_top_share_lies_above() {
        let totals: Vec<i128> = (1..=2_000).rev().collect();
        assert_eq!(cap(totals.clone(), Share::percent(1)), Some(1_980));
        assert_eq!(cap(totals.clone(), Share::parse("0.0001").unwrap()), Some(2_000));
        assert_eq!(cap(totals.clone(), Share::ALL), Some(1));
        assert_eq!(cap(totals[1..].to_vec(), Share::percent(1)), None);
    }
}
