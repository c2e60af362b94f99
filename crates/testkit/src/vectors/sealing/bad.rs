//! Tokens that every verifier must refuse, with the code, and what accepting each would cost.

mod forgery;
mod meaning;

use serde_json::{Value, json};

use super::world::World;

const FORGED: &str = "anyone could write any assignment for anyone";

pub(super) fn cases(world: &World) -> Vec<Value> {
    let mut bad = Bad { world, cases: Vec::new() };
    forgery::algorithms(&mut bad);
    forgery::signatures(&mut bad);
    forgery::headers(&mut bad);
    forgery::encodings(&mut bad);
    meaning::keys(&mut bad);
    meaning::claims(&mut bad);
    meaning::times(&mut bad);
    meaning::replays(&mut bad);
    bad.cases
}

/// Collects cases.
struct Bad<'w> {
    world: &'w World,
    cases: Vec<Value>,
}

impl Bad<'_> {
    fn add(&mut self, name: &str, kind: &str, token: String, code: &str, cost: &str) {
        self.add_where(name, kind, token, code, cost, &[]);
    }

    fn add_where(
        &mut self,
        name: &str,
        kind: &str,
        token: String,
        code: &str,
        cost: &str,
        changes: &[(&str, Value)],
    ) {
        let changes: Vec<(&str, Value)> =
            changes.iter().cloned().chain([("expected_error", json!(code)), ("cost", json!(cost))]).collect();
        self.cases.push(self.world.case(name, kind, token, &changes));
    }
}
