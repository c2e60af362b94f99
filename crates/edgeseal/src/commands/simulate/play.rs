//! Many experiments, each until it is paused or over.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU64, Ordering};

use edgeseal_guardrail::Settings;

use super::random::Random;
use super::rule::{Cause, Guardrail, Naive};
use super::world::{Counts, Names, Totals, World};

/// Everything that a simulation depends on.
#[derive(Debug, Clone)]
pub(super) struct Simulation {
    pub(super) world: World,
    pub(super) names: Names,
    pub(super) rule: Rule,
    pub(super) check_ms: i64,
    pub(super) seed: u64,
}

/// Which rule pauses.
#[derive(Debug, Clone)]
pub(super) enum Rule {
    Edgeseal(Box<Settings>),
    Naive { checks: usize },
}

/// How an experiment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ended {
    /// When and why it was paused; `None`: it ran to its end.
    pub(super) paused: Option<(u32, Cause)>,
    /// Everything until then.
    pub(super) counts: Counts,
}

impl Simulation {
    /// One experiment whose totals are drawn.
    pub(super) fn play(&self, experiment: u64) -> Ended {
        let world = &self.world;
        let mut random = Random::new(self.seed, experiment);
        let mut totals = Totals::new(world);
        let mut allocations = world.allocations(&self.names, 0);
        let mut watching = match &self.rule {
            Rule::Edgeseal(settings) => Watching::Guardrail(Guardrail::new(settings)),
            Rule::Naive { checks } => Watching::Naive(Naive::new(*checks)),
        };
        for check in 0..world.checks {
            let (stage, counts) = (world.stage(check), world.draw(check, &mut random));
            totals.add(stage, &counts);
            let cause = match &mut watching {
                Watching::Naive(naive) => naive.look(&counts),
                Watching::Guardrail(guardrail) => {
                    if allocations.len() <= stage {
                        allocations = world.allocations(&self.names, check);
                    }
                    let now_ms = self.check_ms * (i64::from(check) + 1);
                    guardrail.look(stage, &allocations, &totals.aggregates(&self.names), now_ms)
                }
            };
            if let Some(cause) = cause {
                return Ended { paused: Some((check, cause)), counts: totals.sum() };
            }
        }
        Ended { paused: None, counts: totals.sum() }
    }

    /// So many experiments, on all processors; `done` hears of each. The outcome does not depend on how many there are.
    pub(super) fn play_all(&self, experiments: u64, done: impl Fn() + Sync) -> Vec<Ended> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let next = AtomicU64::new(0);
        let worker = || {
            let mut ended = Vec::new();
            loop {
                let experiment = next.fetch_add(1, Ordering::Relaxed);
                if experiment >= experiments {
                    return ended;
                }
                ended.push((experiment, self.play(experiment)));
                done();
            }
        };
        let mut all: Vec<(u64, Ended)> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
            let joined = workers.into_iter().map(|worker| worker.join());
            joined.flat_map(|ended| ended.unwrap_or_else(|panic| resume_unwind(panic))).collect()
        });
        all.sort_unstable_by_key(|(experiment, _)| *experiment);
        all.into_iter().map(|(_, ended)| ended).collect()
    }
}

enum Watching<'s> {
    Guardrail(Guardrail<'s>),
    Naive(Naive),
}
