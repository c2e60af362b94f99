//! Mutated tokens, and what `edgeseal-core` says of each: every other verifier has to say the same.
//!
//! Where the vectors hold one case for each rule, this holds thousands for the seams between rules: spoiled before they
//! are signed, so that they reach what lies behind the signature, or after. Deterministic: a fixed seed, no clock.
//!
//! The file is JSON, a line each. The first line is the world: `{environment, rootKey, signedAt, keysets, statuses}`;
//! keysets and statuses were verified at `signedAt`. Each other line is a case: `{kind, how, token, now, atRest,
//! unit, unitType, keyset, status, memory}` with `code`, or, when the token is good, with what it `says` and, for
//! assignments, the code of each experiment that is `refused`.

mod claims;
mod dice;
mod forms;
mod signatures;

use std::io::{self, Write};

use edgeseal_core::ids::{Environment, UnitId, UnitType};
use edgeseal_core::sealing::{
    Expected, Keyset, Memory, PublicKey, SecretKey, Signer, Status, SubjectTag, VerifyError,
    verify_assignment,
};
use edgeseal_core::time::Timestamp;
use serde_json::{Map, Value, json};

use crate::vectors::sealing::world::{
    ASSIGNMENT, ENVIRONMENT, KEYSET, KINDS, NOW, STATUS, UNIT, World, proper_header, typ, with,
};
use dice::Dice;

/// How many cases the file has.
pub const CASES: usize = 24_000;
const SEED: u64 = 0x0ed6_e5ea_1000_0004;

/// Writes the file.
///
/// # Errors
/// What `out` says.
pub fn write(out: &mut dyn Write) -> io::Result<()> {
    let theatre = Theatre::new().map_err(|error| io::Error::other(error.to_string()))?;
    writeln!(out, "{}", theatre.describe())?;
    let mut dice = Dice::new(SEED);
    for _ in 0..CASES {
        writeln!(out, "{}", theatre.case(&mut dice))?;
    }
    Ok(())
}

/// The vectors' world with its keysets and statuses verified.
struct Theatre {
    world: World,
    environment: Environment,
    keysets: Vec<(&'static str, Keyset)>,
    statuses: Vec<(&'static str, Status)>,
    texts: Value,
}

impl Theatre {
    fn new() -> Result<Self, VerifyError> {
        let world = World::new();
        let at = Timestamp::from_unix_seconds(NOW);
        let root = world.root.public();
        let (own, foreign) = (environment(ENVIRONMENT), environment("staging"));
        let texts = json!({ "keysets": world.keysets(), "statuses": claims::statuses(&world) });
        let text = |pointer: &str| texts.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let current = Keyset::verify(text("/keysets/current"), &root, &own, at)?;
        let staging = Keyset::verify(text("/keysets/staging"), &root, &foreign, at)?;
        let mut statuses = Vec::new();
        for name in claims::STATUSES {
            let status = Status::verify(text(&format!("/statuses/{name}")), &current, &own, at)?;
            statuses.push((name, status));
        }
        let keysets = vec![("current", current), ("staging", staging)];
        Ok(Self { environment: own, keysets, statuses, texts, world })
    }

    fn describe(&self) -> Value {
        let world = json!({
            "environment": ENVIRONMENT, "rootKey": self.world.root.public().to_string(), "signedAt": NOW,
        });
        with(
            with(world, "keysets", self.texts["keysets"].clone()),
            "statuses",
            self.texts["statuses"].clone(),
        )
    }

    /// One mutated token in one situation, with the verdict.
    fn case(&self, dice: &mut Dice) -> Value {
        let kind = *dice.pick(&[ASSIGNMENT, ASSIGNMENT, ASSIGNMENT, ASSIGNMENT, ASSIGNMENT, STATUS, KEYSET]);
        let mut case = self.situation(dice, kind);
        let (how, token) = self.token(dice, kind);
        let (verdict, refused) = match self.verdict(&case, &token) {
            Ok(verdict) => verdict,
            Err(error) => (json!({ "code": error.code() }), None),
        };
        if let (Value::Object(members), Value::Object(verdict)) = (&mut case, verdict) {
            members.extend(verdict);
            members.extend(refused.map(|refused| ("refused".to_owned(), refused)));
            members.insert("how".to_owned(), json!(how));
            members.insert("token".to_owned(), json!(token));
        }
        case
    }

    /// Who asks, when, and what was seen before: usually what makes a good token good.
    fn situation(&self, dice: &mut Dice, kind: &str) -> Value {
        let now = if dice.one_in(4) { NOW + dice.pick(&claims::SECONDS) } else { NOW };
        let mut case = json!({ "kind": kind, "now": now, "keyset": "current" });
        let mut set = |name: &str, value: Value| case = with(case.take(), name, value);
        if dice.one_in(60) {
            set("keyset", json!("staging"));
        }
        if kind == ASSIGNMENT {
            set("unit", json!(if dice.one_in(30) { "user-2" } else { UNIT }));
            set("unitType", json!(if dice.one_in(60) { "device" } else { "user" }));
            let name = *dice.pick(&claims::STATUSES);
            set("status", if dice.one_in(2) { json!(name) } else { Value::Null });
            set("memory", if dice.one_in(3) { claims::memory(dice) } else { Value::Null });
        } else {
            set("atRest", json!(dice.one_in(3)));
        }
        case
    }

    /// A token that was spoiled before it was signed, after, or both; and how.
    fn token(&self, dice: &mut Dice, kind: &'static str) -> (String, String) {
        let world = &self.world;
        let mut how = Vec::new();
        let proper = world.signer(kind);
        let mut signer: &SecretKey = proper;
        let mut named: &SecretKey = proper;
        if dice.one_in(25) {
            let keys = [
                &world.root,
                &world.edge,
                &world.next_edge,
                &world.last_edge,
                &world.retired_edge,
                &world.expired_edge,
                &world.control,
                &world.stranger,
            ];
            signer = *dice.pick(&keys);
            named = if dice.one_in(3) { proper } else { signer };
            how.push("another key".to_owned());
        }
        let mut header = proper_header(kind, named).into_bytes();
        let (what, value) = claims::document(dice, world, kind);
        how.extend(what);
        let mut body = value.to_string().into_bytes();
        let edits = if how.is_empty() { 1 + dice.below(2) } else { dice.below(2) };
        for _ in 0..edits {
            if dice.one_in(4) {
                let typ = typ(dice.pick::<&str>(&KINDS));
                how.push(format!("header: {}", forms::header(dice, &mut header, &typ)));
            } else {
                how.push(format!("claims: {}", forms::json(dice, &mut body)));
            }
        }
        let spoil_after = dice.one_in(5);
        let mut token = if dice.one_in(12) {
            let (what, token) = signatures::seal(dice, &header, &body, signer);
            how.push(format!("signature: {what}"));
            token
        } else {
            signatures::compact(&header, &body, |message| signer.sign(message).to_vec())
        };
        if spoil_after {
            let other = signatures::compact(&header, world.claims(kind).to_string().as_bytes(), |message| {
                signer.sign(message).to_vec()
            });
            how.push(format!("token: {}", forms::token(dice, &mut token, &other)));
        }
        (how.join(", "), token)
    }

    fn verdict(&self, case: &Value, token: &str) -> Result<(Value, Option<Value>), VerifyError> {
        let now = Timestamp::from_unix_seconds(case["now"].as_i64().unwrap_or(0));
        let at_rest = case["atRest"] == true;
        let environment = &self.environment;
        let root: &PublicKey = &self.world.root.public();
        let says = |json: &[u8]| json!({ "says": serde_json::from_slice::<Value>(json).unwrap_or_default() });
        if case["kind"] == KEYSET {
            let keyset = if at_rest {
                Keyset::verify_at_rest(token, root, environment)?
            } else {
                Keyset::verify(token, root, environment, now)?
            };
            return Ok((says(&keyset.claims_json()), None));
        }
        let find = |name: &str| self.keysets.iter().find(|(known, _)| *known == name);
        let Some((_, keyset)) = case["keyset"].as_str().and_then(find) else { return Ok((json!({}), None)) };
        if case["kind"] == STATUS {
            let status = if at_rest {
                Status::verify_at_rest(token, keyset, environment)?
            } else {
                Status::verify(token, keyset, environment, now)?
            };
            return Ok((says(&status.claims_json()), None));
        }
        let status =
            case["status"].as_str().and_then(|name| self.statuses.iter().find(|(known, _)| *known == name));
        let memory: Option<Memory> = serde_json::from_value(case["memory"].clone()).unwrap_or_default();
        let unit_type = UnitType::parse(case["unitType"].as_str().unwrap_or_default()).unwrap_or_default();
        let unit = case["unit"].as_str().and_then(|unit| UnitId::parse(unit).ok());
        let Some(unit) = unit else { return Ok((json!({}), None)) };
        let expected = Expected {
            environment,
            subject: SubjectTag::of(environment, &unit_type, unit),
            now,
            status: status.map(|(_, status)| status),
            memory: memory.as_ref(),
        };
        let verified = verify_assignment(token, keyset, &expected)?;
        let claims = verified.claims();
        let mut refused = Map::new();
        let mut variants = Map::new();
        for (experiment, variant) in &claims.a {
            if let Err(error) = verified.usable(experiment) {
                refused.insert(experiment.to_string(), json!(error.code()));
            }
            let said = json!({ "v": variant.v.as_str(), "xv": variant.xv, "r": variant.r });
            let said = match &variant.p {
                Some(payload) => with(said, "p", payload.clone()),
                None => said,
            };
            variants.insert(experiment.to_string(), said);
        }
        let said = json!({
            "sub": claims.sub.to_string(), "ut": claims.ut.as_str(), "iat": claims.iat.unix_seconds(),
            "exp": claims.exp.unix_seconds(), "cv": claims.cv, "ep": claims.ep, "cd": claims.cd, "a": variants,
        });
        Ok((json!({ "says": said }), Some(Value::Object(refused))))
    }
}

fn environment(name: &str) -> Environment {
    Environment::parse(name).unwrap_or_default()
}
