//! What was found before, as far as it still counts.

use edgeseal_core::ids::VariantKey;
use edgeseal_stats::sequential::MostEvidence;
use edgeseal_store::{GuardrailState, Watched};

use super::detail::Detail;

/// Findings since the last alarm that was acted on. They share one budget.
///
/// An alarm of an earlier epoch was acted on: its budget is spent, and a person went on all the same. An alarm of the
/// current epoch still stands.
pub(super) struct History<'a> {
    /// The last epoch that does not count any more; 0 when all count.
    pub(super) closed: u64,
    states: Vec<&'a GuardrailState>,
}

impl<'a> History<'a> {
    pub(super) fn of(states: &'a [GuardrailState], current: u64) -> Self {
        // Others keep findings of their own there.
        let ours = |it: &&GuardrailState| matches!(it.watched, Watched::Metric(_) | Watched::SampleRatio);
        let states = states.iter().filter(ours);
        let alarmed = states.clone().filter(|it| it.alarmed_at_ms.is_some() && it.xv < current);
        let closed = alarmed.map(|it| it.xv).max().unwrap_or(0);
        let states = states.filter(|it| closed < it.xv && it.xv <= current).collect();
        Self { closed, states }
    }

    /// All that count.
    pub(super) fn states(&self) -> &[&'a GuardrailState] {
        &self.states
    }

    /// What was found of one thing, oldest epoch first.
    fn about<'s>(
        &'s self,
        watched: &'s Watched,
        variant: Option<&'s VariantKey>,
    ) -> impl Iterator<Item = &'a GuardrailState> + 's {
        let mut found: Vec<_> = self.states.to_vec();
        found.sort_by_key(|it| it.xv);
        found.into_iter().filter(move |it| it.watched == *watched && it.variant.as_ref() == variant)
    }

    /// The most evidence there ever was.
    pub(super) fn most(&self, watched: &Watched, variant: Option<&VariantKey>) -> MostEvidence {
        self.about(watched, variant).fold(MostEvidence::NONE, |most, it| most.after(it.max_log_e))
    }

    /// What was fixed before, and the numbers of the last look.
    pub(super) fn detail(&self, watched: &Watched, variant: Option<&VariantKey>) -> Option<Detail> {
        self.about(watched, variant).last().map(|it| Detail::parse(&it.detail))
    }

    /// Whether it alarmed in the current epoch and that was acted on.
    pub(super) fn alarmed_at(&self, watched: &Watched, variant: Option<&VariantKey>) -> Option<i64> {
        self.about(watched, variant).filter_map(|it| it.alarmed_at_ms).min()
    }
}
