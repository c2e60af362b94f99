//! What the status document stops, and the steps that are told.

use super::fixtures::{World, at, code, experiment};
use crate::ids::Environment;
use crate::sealing::{
    HaltCause, KeyRefusal, Status, Step, StepName, StepOutcome, TokenKind, VerifyError,
    verify_assignment_observed,
};

#[test]
fn halted_experiment_is_unusable_and_the_others_stay_good() {
    let mut world = World::new();
    let mut status = world.status();
    status.off.insert(experiment("checkout"));
    world.status = Some(status);
    let verified = world.verify(&world.token(TokenKind::Assignment)).unwrap();
    let halted = VerifyError::Halted { experiment: experiment("checkout"), cause: HaltCause::Off { ep: 4 } };
    assert_eq!(verified.usable(&experiment("checkout")), Err(halted));
    assert_eq!(verified.usable(&experiment("search")).unwrap().unwrap().v.as_str(), "control");
}

#[test]
fn version_below_the_minimum_is_halted_and_the_minimum_itself_is_not() {
    for (min, result) in [(2, "ok"), (3, "ok"), (4, "E_HALTED")] {
        let mut world = World::new();
        let mut status = world.status();
        status.min.insert(experiment("checkout"), min);
        world.status = Some(status);
        let verified = world.verify(&world.token(TokenKind::Assignment)).unwrap();
        assert_eq!(code(&verified.usable(&experiment("checkout"))), result, "min {min}");
    }
}

#[test]
fn experiment_that_is_not_in_the_token_is_absent_even_when_halted() {
    let mut world = World::new();
    let mut status = world.status();
    status.off.insert(experiment("other"));
    world.status = Some(status);
    let verified = world.verify(&world.token(TokenKind::Assignment)).unwrap();
    assert_eq!(verified.usable(&experiment("other")), Ok(None));
}

#[test]
fn revoked_key_vouches_for_nothing() {
    let mut world = World::new();
    let mut status = world.status();
    status.rev.insert(crate::sealing::Signer::kid(&world.edge).clone());
    world.status = Some(status);
    let kid = crate::sealing::Signer::kid(&world.edge).clone();
    assert_eq!(
        world.verify(&world.token(TokenKind::Assignment)),
        Err(VerifyError::Key(KeyRefusal::Revoked { kid, ep: 4 }))
    );
}

#[test]
fn revocation_and_halt_outlive_the_status_document_that_said_so() {
    let mut world = World::new();
    let mut status = world.status();
    status.off.insert(experiment("checkout"));
    status.exp = at(super::fixtures::NOW - 500);
    world.status = Some(status);
    let verified = world.verify(&world.token(TokenKind::Assignment)).unwrap();
    assert_eq!(code(&verified.usable(&experiment("checkout"))), "E_HALTED");
}

#[test]
fn status_of_another_environment_is_not_quietly_ignored() {
    let mut world = World::new();
    world.status = Some(Status { iss: Environment::parse("staging").unwrap(), ..world.status() });
    assert_eq!(world.code(TokenKind::Assignment, &world.token(TokenKind::Assignment)), "E_AUDIENCE");
}

#[test]
fn status_survives_its_own_wire_form() {
    let world = World::new();
    let mut status = world.status();
    status.off.insert(experiment("checkout"));
    status.min.insert(experiment("search"), 5);
    status.rev.insert(crate::sealing::Signer::kid(&world.edge).clone());
    let claims = String::from_utf8(status.claims_json()).unwrap();
    let token = world.token_of(TokenKind::Status, &claims);
    assert_eq!(Status::verify(&token, &world.keyset, &world.environment, world.now), Ok(status));
}

fn observe(world: &World, token: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let observed =
        verify_assignment_observed(token, &world.keyset, &world.expected(), &mut |step| steps.push(step));
    assert_eq!(observed, world.verify(token), "observing changes nothing");
    assert_eq!(steps.iter().map(|step| step.name).collect::<Vec<_>>(), StepName::ALL, "every step, in order");
    steps
}

#[test]
fn every_step_is_told_in_order_with_its_outcome() {
    let mut world = World::new();
    let token = world.token(TokenKind::Assignment);
    let skipped: Vec<_> = observe(&world, &token)
        .into_iter()
        .filter(|step| step.outcome != StepOutcome::Passed)
        .map(|step| step.name)
        .collect();
    assert_eq!(skipped, [StepName::Revocation, StepName::Rollback, StepName::Halts]);

    world.status = Some(world.status());
    world.memory = Some(crate::sealing::Memory::default());
    assert!(observe(&world, &token).iter().all(|step| step.outcome == StepOutcome::Passed));
}

#[test]
fn steps_after_a_failed_one_are_told_as_not_checked() {
    let mut world = World::new();
    let cases = [
        ("no token".to_owned(), StepName::Form),
        (world.token(TokenKind::Status), StepName::Type),
        (world.token_with(TokenKind::Assignment, "iss", serde_json::json!("staging")), StepName::Audience),
        (world.token(TokenKind::Assignment), StepName::Subject),
    ];
    world.subject = crate::sealing::SubjectTag::parse("AAAAAAAAAAAAAAAAAAAAAA").unwrap();
    for (token, failing) in cases {
        for step in observe(&world, &token) {
            match step.outcome {
                StepOutcome::Passed => assert!(step.name < failing),
                StepOutcome::Failed(error) => {
                    assert_eq!(step.name, failing);
                    assert_eq!(step.detail, error.to_string());
                }
                StepOutcome::NotChecked { why } => {
                    assert!(step.name > failing || step.name == StepName::Revocation);
                    assert_eq!(step.detail, why);
                }
            }
        }
    }
}
