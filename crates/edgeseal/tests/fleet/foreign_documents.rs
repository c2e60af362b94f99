//! An edge that is offered what is older than what it has, or what another root or control key signed: refused, counted,
//! still serving.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use edgeseal_core::sealing::{SecretKey, TokenKind, seal};
use serde_json::json;

use crate::api::Api;
use crate::common::{claims_of, eventually};
use crate::fleet::{Control, Edge, Site, UnderLoad, write_secret};
use crate::replay::{Documents, Impostor};

#[test]
fn what_is_older_foreign_or_forged_is_refused_and_counted() {
    let (site, other) = (Site::sqlite(), Site::sqlite());
    let (control, stranger) = (site.control(&[]), other.control(&[]));
    let (api, reader) = (control.api(), reader(&control));
    api.start_experiment("checkout", 500);
    let older = Documents::of(&reader);
    api.turn("checkout", "pause");
    api.start_experiment("banner", 500);
    let newest = Documents::of(&reader);
    // Another installation, further on than ours: its higher numbers must not impress anybody.
    for number in 0..6 {
        stranger.api().start_experiment(&format!("foreign-{number}"), 500);
        stranger.api().turn(&format!("foreign-{number}"), "pause");
    }
    let foreign = Documents::of(&self::reader(&stranger));

    let impostor = Impostor::offering(newest.clone());
    write_secret(
        &site.path("edge.token"),
        "edgeseal_aaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    );
    let edge = site.bare_edge("edge", impostor.url(), String::new(), &[], &[]);
    eventually("the edge serves what it is given first", || edge.is_ready());
    let load = UnderLoad::start([&edge]);

    let ours = |snapshot: &str| Documents { snapshot: Some(snapshot.to_owned()), ..newest.clone() };
    let signed = newest.snapshot.clone().unwrap();
    for (what, offer) in [
        ("an older group", older.clone()),
        ("an older snapshot", Documents { snapshot: older.snapshot.clone(), ..newest.clone() }),
        ("an older status document", Documents { status: older.status.clone(), ..newest.clone() }),
        ("another installation", foreign.clone()),
        ("another installation without its keys", Documents { keys: None, ..foreign.clone() }),
        ("another installation's keyset", Documents { keyset: foreign.keyset.clone(), ..newest.clone() }),
        ("another installation's status", Documents { status: foreign.status.clone(), ..newest.clone() }),
        ("another installation's snapshot", ours(foreign.snapshot.as_deref().unwrap())),
        ("a snapshot signed by nobody known", ours(&raised(&signed))),
        ("a snapshot with other claims under a good signature", ours(&forged(&signed))),
    ] {
        refused(&edge, &impostor, what, offer);
    }

    // Nothing of this made it deaf.
    api.turn("checkout", "resume");
    impostor.offer(Documents::of(&reader));
    eventually("it takes over what is good and newer", || {
        !edge.halts("checkout") && edge.cv() == api.newest_cv()
    });
    load.finish();
}

fn refused(edge: &Edge, impostor: &Impostor, what: &str, offer: Documents) {
    let (cv, ep, before) = (edge.cv(), edge.status()["ep"].clone(), edge.refusals());
    impostor.offer(offer);
    eventually(&format!("{what} is refused and counted"), || {
        impostor.was_taken() && edge.refusals() > before
    });
    assert_eq!((edge.cv(), &edge.status()["ep"]), (cv, &ep), "{what} had an effect");
    assert!(edge.log().contains("refused"), "{}", edge.log());
}

/// The API with a token that edges have.
fn reader(control: &Control) -> Api {
    let (_, token) = control.api().new_token("reader", "edge");
    Api::new(&control.url, &token)
}

/// The next version of a snapshot, properly signed by a key that no keyset knows.
fn raised(snapshot: &str) -> String {
    let mut claims = claims_of(snapshot).unwrap();
    claims["cv"] = json!(claims["cv"].as_u64().unwrap() + 1);
    seal(TokenKind::Snapshot, claims.to_string().as_bytes(), &SecretKey::from_seed(&[7; 32]))
}

/// The next version of a snapshot under the header and the signature of this one.
fn forged(snapshot: &str) -> String {
    let mut claims = claims_of(snapshot).unwrap();
    claims["cv"] = json!(claims["cv"].as_u64().unwrap() + 1);
    let parts: Vec<&str> = snapshot.split('.').collect();
    format!("{}.{}.{}", parts[0], BASE64_URL_SAFE_NO_PAD.encode(claims.to_string()), parts[2])
}
