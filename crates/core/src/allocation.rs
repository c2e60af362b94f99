//! Who owns which buckets: ranges per variant (or per experiment of a layer), and how they move as little as possible.

use serde::{Deserialize, Serialize};

use crate::bucket::{BUCKETS, Bucket};

/// Most ranges that one owner set may be cut into by re-weighting.
pub const MAX_RANGES: usize = 10_000;

/// Half-open range of buckets, `[start, end)`; on the wire `[start, end]` as two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "(u32, u32)", into = "(u32, u32)")]
pub struct BucketRange {
    /// First bucket inside.
    pub start: u32,
    /// First bucket after.
    pub end: u32,
}

impl From<(u32, u32)> for BucketRange {
    fn from((start, end): (u32, u32)) -> Self {
        Self { start, end }
    }
}

impl From<BucketRange> for (u32, u32) {
    fn from(range: BucketRange) -> Self {
        (range.start, range.end)
    }
}

impl BucketRange {
    /// How many buckets it holds.
    pub const fn len(self) -> u32 {
        self.end.saturating_sub(self.start)
    }

    /// Whether it holds none.
    pub const fn is_empty(self) -> bool {
        self.end <= self.start
    }
}

/// What is wrong with a set of ranges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AllocationError {
    /// A range is empty, backwards, or reaches past the last bucket.
    #[error("range [{}, {}) is empty or reaches past {BUCKETS}", .0.start, .0.end)]
    BadRange(BucketRange),
    /// Two ranges share a bucket.
    #[error("bucket {0} belongs to two owners")]
    Overlap(Bucket),
    /// A bucket belongs to nobody although all must be owned.
    #[error("bucket {0} belongs to no variant")]
    Gap(Bucket),
    /// Cut into more than [`MAX_RANGES`] pieces.
    #[error("is cut into {0} ranges, more than the {MAX_RANGES} allowed; give it a new salt to start afresh")]
    TooManyRanges(usize),
    /// The wanted shares are more than there is.
    #[error("shares add up to {wanted} of {BUCKETS} buckets")]
    OverCapacity {
        /// Buckets asked for, all owners together.
        wanted: u64,
    },
}

/// Distributes all [`BUCKETS`] in proportion to `weights`, exactly (largest remainder; ties to the first).
///
/// All zeros when every weight is zero.
pub fn apportion(weights: &[u32]) -> Vec<u32> {
    let total: u64 = weights.iter().fold(0, |sum, &weight| sum.saturating_add(u64::from(weight)));
    let buckets = u64::from(BUCKETS);
    let mut shares: Vec<(u64, u64)> = weights
        .iter()
        .map(|&weight| {
            let scaled = u64::from(weight).saturating_mul(buckets);
            (scaled.checked_div(total).unwrap_or(0), scaled.checked_rem(total).unwrap_or(0))
        })
        .collect();
    let given = shares.iter().fold(0, |sum: u64, share| sum.saturating_add(share.0));
    let left = if total == 0 { 0 } else { buckets.saturating_sub(given) };
    let mut by_remainder: Vec<usize> = (0..shares.len()).collect();
    by_remainder.sort_by_key(|&index| std::cmp::Reverse(shares.get(index).map_or(0, |share| share.1)));
    for &index in by_remainder.iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
        if let Some(share) = shares.get_mut(index) {
            share.0 = share.0.saturating_add(1);
        }
    }
    shares.into_iter().map(|(share, _)| u32::try_from(share).unwrap_or(BUCKETS)).collect()
}

/// Gives each owner exactly its wanted number of buckets while moving the fewest possible.
///
/// `owners` holds, per owner, what it has now and how many buckets it shall have. An owner that shrinks gives up
/// its highest buckets; those and the unowned ones go, lowest first, to the owners that grow, in order. So a unit moves
/// only if its bucket had to change hands, and the number of moved buckets is Σ max(0, has − wants): the minimum.
///
/// # Errors
/// [`AllocationError`] when what they have now overlaps, or they want more than there is.
pub fn rebalance(owners: &[(Vec<BucketRange>, u32)]) -> Result<Vec<Vec<BucketRange>>, AllocationError> {
    let wanted = owners.iter().fold(0, |sum: u64, owner| sum.saturating_add(u64::from(owner.1)));
    if wanted > u64::from(BUCKETS) {
        return Err(AllocationError::OverCapacity { wanted });
    }
    let kept: Vec<Vec<BucketRange>> = owners.iter().map(|(has, wants)| keep_lowest(has, *wants)).collect();
    let mut free = gaps(&kept)?.into_iter();
    let mut piece = free.next();
    let mut result = Vec::with_capacity(owners.len());
    for (mut ranges, (_, wants)) in kept.into_iter().zip(owners) {
        let mut missing = wants.saturating_sub(count(&ranges));
        while missing > 0 {
            let Some(range) = piece else { break };
            let cut = range.start.saturating_add(missing.min(range.len()));
            ranges.push(BucketRange { start: range.start, end: cut });
            missing = missing.saturating_sub(cut.saturating_sub(range.start));
            let rest = BucketRange { start: cut, end: range.end };
            piece = if rest.is_empty() { free.next() } else { Some(rest) };
        }
        result.push(joined(ranges));
    }
    Ok(result)
}

fn count(ranges: &[BucketRange]) -> u32 {
    ranges.iter().fold(0, |sum: u32, range| sum.saturating_add(range.len()))
}

fn keep_lowest(ranges: &[BucketRange], wants: u32) -> Vec<BucketRange> {
    let mut left = wants;
    let mut kept = Vec::with_capacity(ranges.len());
    for range in joined(ranges.to_vec()) {
        let take = left.min(range.len());
        if take > 0 {
            kept.push(BucketRange { start: range.start, end: range.start.saturating_add(take) });
        }
        left = left.saturating_sub(take);
    }
    kept
}

/// Sorted, with touching neighbours made one.
fn joined(mut ranges: Vec<BucketRange>) -> Vec<BucketRange> {
    ranges.sort_unstable();
    let mut result: Vec<BucketRange> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match result.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => result.push(range),
        }
    }
    result
}

/// The buckets that nobody owns, in order.
fn gaps(owners: &[Vec<BucketRange>]) -> Result<Vec<BucketRange>, AllocationError> {
    let mut all: Vec<BucketRange> = owners.iter().flatten().copied().collect();
    all.sort_unstable();
    let mut free = Vec::new();
    let mut next = 0;
    for range in all {
        if range.is_empty() || range.end > BUCKETS {
            return Err(AllocationError::BadRange(range));
        }
        if range.start < next {
            return Err(AllocationError::Overlap(range.start));
        }
        if range.start > next {
            free.push(BucketRange { start: next, end: range.start });
        }
        next = range.end;
    }
    if next < BUCKETS {
        free.push(BucketRange { start: next, end: BUCKETS });
    }
    Ok(free)
}

/// Checks that no two of these ranges share a bucket and none is empty or reaches too far.
///
/// # Errors
/// [`AllocationError`] naming the offending range or bucket.
pub fn disjoint(ranges: &[BucketRange]) -> Result<(), AllocationError> {
    gaps(&[ranges.to_vec()]).map(|_| ())
}

/// Compiled look-up from a bucket to its owner: every bucket has exactly one.
#[derive(Clone, Debug)]
pub struct OwnerTable {
    /// First bucket after each range, ascending; the last is [`BUCKETS`].
    ends: Box<[u32]>,
    /// Owner of the range at the same place.
    owners: Box<[u16]>,
}

impl OwnerTable {
    /// Compiles the ranges of all owners.
    ///
    /// # Errors
    /// [`AllocationError`] unless the ranges cover each bucket exactly once in at most [`MAX_RANGES`] pieces.
    pub fn compile(owners: &[Vec<BucketRange>]) -> Result<Self, AllocationError> {
        if let Some(gap) = gaps(owners)?.first() {
            return Err(AllocationError::Gap(gap.start));
        }
        let mut all: Vec<(BucketRange, u16)> = Vec::new();
        for (index, ranges) in owners.iter().enumerate() {
            let owner = u16::try_from(index).map_err(|_| AllocationError::TooManyRanges(owners.len()))?;
            all.extend(ranges.iter().map(|&range| (range, owner)));
        }
        if all.len() > MAX_RANGES {
            return Err(AllocationError::TooManyRanges(all.len()));
        }
        all.sort_unstable();
        Ok(Self {
            ends: all.iter().map(|(range, _)| range.end).collect(),
            owners: all.iter().map(|(_, owner)| *owner).collect(),
        })
    }

    /// Index of the owner of `bucket`.
    pub fn owner(&self, bucket: Bucket) -> usize {
        // Few ranges, as nearly always: counting them beats a binary search's mispredicted branches.
        let place = if self.ends.len() <= 8 {
            self.ends.iter().filter(|&&end| end <= bucket).count()
        } else {
            self.ends.partition_point(|&end| end <= bucket)
        };
        self.owners.get(place).map_or(0, |&owner| usize::from(owner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(start: u32, end: u32) -> BucketRange {
        BucketRange { start, end }
    }

    #[test]
    fn apportions_every_bucket() {
        assert_eq!(apportion(&[1, 1]), [500_000, 500_000]);
        assert_eq!(apportion(&[1, 1, 1]), [333_334, 333_333, 333_333]);
        assert_eq!(apportion(&[0, 7]), [0, 1_000_000]);
        assert_eq!(apportion(&[0, 0]), [0, 0]);
        assert_eq!(apportion(&[u32::MAX, u32::MAX]), [500_000, 500_000]);
    }

    #[test]
    fn reweighting_moves_only_what_must_move() {
        let halves = vec![(vec![range(0, 500_000)], 900_000), (vec![range(500_000, 1_000_000)], 100_000)];
        let moved = rebalance(&halves).unwrap();
        assert_eq!(moved[0], [range(0, 500_000), range(600_000, 1_000_000)]);
        assert_eq!(moved[1], [range(500_000, 600_000)]);
    }

    #[test]
    fn a_new_variant_takes_only_what_the_others_give() {
        let thirds = vec![
            (vec![range(0, 500_000)], 333_334),
            (vec![range(500_000, 1_000_000)], 333_333),
            (vec![], 333_333),
        ];
        let moved = rebalance(&thirds).unwrap();
        assert_eq!(moved[2], [range(333_334, 500_000), range(833_333, 1_000_000)]);
    }

    #[test]
    fn refuses_more_than_there_is_and_overlaps() {
        assert_eq!(
            rebalance(&[(vec![], 600_000), (vec![], 600_000)]),
            Err(AllocationError::OverCapacity { wanted: 1_200_000 })
        );
        assert_eq!(
            rebalance(&[(vec![range(0, 10)], 10), (vec![range(5, 15)], 10)]),
            Err(AllocationError::Overlap(5))
        );
        assert!(matches!(
            OwnerTable::compile(&[vec![range(0, 10)], vec![range(11, BUCKETS)]]),
            Err(AllocationError::Gap(10))
        ));
        assert!(matches!(
            OwnerTable::compile(&[vec![range(0, BUCKETS + 1)]]),
            Err(AllocationError::BadRange(_))
        ));
    }

    proptest! {
        #[test]
        fn any_sequence_of_weights_keeps_an_exact_cover_and_moves_the_minimum(
            rounds in prop::collection::vec(prop::collection::vec(0_u32..1000, 4), 1..12)
        ) {
            let mut ranges: Vec<Vec<BucketRange>> = vec![Vec::new(); 4];
            for (round, weights) in rounds.iter().enumerate() {
                prop_assume!(weights.iter().any(|&weight| weight > 0));
                let shares = apportion(weights);
                let before: Vec<u32> = ranges.iter().map(|owned| count(owned)).collect();
                let owners: Vec<_> = ranges.iter().cloned().zip(shares.iter().copied()).collect();
                let after = rebalance(&owners).unwrap();
                let table = OwnerTable::compile(&after).unwrap();
                for (index, owned) in after.iter().enumerate() {
                    prop_assert_eq!(count(owned), shares[index]);
                    for range in owned {
                        prop_assert_eq!(table.owner(range.start), index);
                        prop_assert_eq!(table.owner(range.end - 1), index);
                    }
                }
                if round > 0 {
                    let stayed: u32 = (0..4).map(|index| overlap(&ranges[index], &after[index])).sum();
                    let must_move: u32 = (0..4).map(|index| before[index].saturating_sub(shares[index])).sum();
                    prop_assert_eq!(BUCKETS - stayed, must_move);
                }
                ranges = after;
            }
        }
    }

    fn overlap(left: &[BucketRange], right: &[BucketRange]) -> u32 {
        left.iter()
            .flat_map(|a| right.iter().map(move |b| range(a.start.max(b.start), a.end.min(b.end)).len()))
            .sum()
    }
}
