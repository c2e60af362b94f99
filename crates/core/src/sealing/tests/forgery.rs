//! Forged signatures and algorithms.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;

use super::fixtures::{World, compact, small_order_points, split, with_unreduced_s};
use crate::sealing::{PublicKey, PublicKeyError, SecretKey, Signer, TokenKind, VerifyError, seal};

#[test]
fn every_kind_verifies_what_its_key_signed() {
    let world = World::new();
    for kind in TokenKind::ALL {
        assert_eq!(world.code(kind, &world.token(kind)), "ok", "{kind:?}");
    }
}

#[test]
fn algorithm_name_ed25519_of_rfc_9864_is_accepted() {
    let world = World::new();
    for kind in TokenKind::ALL {
        let mut header = world.header(kind);
        header["alg"] = json!("Ed25519");
        assert_eq!(world.code(kind, &world.token_under(kind, &header.to_string())), "ok", "{kind:?}");
    }
}

#[test]
fn algorithm_none_is_refused_in_any_spelling_with_or_without_a_signature() {
    let world = World::new();
    for none in ["none", "None", "nOnE", "NONE", ""] {
        for signature in [vec![], vec![0; 64]] {
            world.refuses("E_KEY", |world, kind| {
                let mut header = world.header(kind);
                header["alg"] = json!(none);
                compact(&header.to_string(), &world.claims(kind).to_string(), |_| signature.clone())
            });
        }
    }
}

#[test]
fn empty_signature_is_refused() {
    World::new().refuses("E_SIGNATURE", |world, kind| {
        let [header, claims, _] = split(&world.token(kind));
        format!("{header}.{claims}.")
    });
}

#[test]
fn hmac_with_the_public_key_as_secret_is_refused_even_under_a_truthful_header() {
    for alg in ["HS256", "EdDSA"] {
        let code = if alg == "EdDSA" { "E_SIGNATURE" } else { "E_KEY" };
        World::new().refuses(code, |world, kind| {
            let public = world.signer(kind).public();
            let mut header = world.header(kind);
            header["alg"] = json!(alg);
            compact(&header.to_string(), &world.claims(kind).to_string(), |message| {
                let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(public.as_bytes()).unwrap();
                mac.update(message);
                mac.finalize().into_bytes().to_vec()
            })
        });
    }
}

#[test]
fn switched_algorithm_is_refused_although_the_signature_holds() {
    for alg in ["ES256", "RS256", "PS256", "HS512", "Ed448", "eddsa", "EDDSA", "EdDSA "] {
        World::new().refuses("E_KEY", |world, kind| {
            let mut header = world.header(kind);
            header["alg"] = json!(alg);
            world.token_under(kind, &header.to_string())
        });
    }
}

#[test]
fn signature_of_another_key_under_a_trusted_kid_is_refused() {
    let stranger = SecretKey::from_seed(&[99; 32]);
    World::new().refuses("E_SIGNATURE", |world, kind| {
        compact(&world.header(kind).to_string(), &world.claims(kind).to_string(), |message| {
            stranger.sign(message).to_vec()
        })
    });
}

#[test]
fn changed_claims_are_refused() {
    World::new().refuses("E_SIGNATURE", |world, kind| {
        let [header, _, signature] = split(&world.token(kind));
        let [_, other, _] = split(&world.token_with(kind, "cv", json!(14)));
        format!("{header}.{other}.{signature}")
    });
}

#[test]
fn changed_signature_is_refused_at_every_byte() {
    let world = World::new();
    let [header, claims, _] = split(&world.token(TokenKind::Assignment));
    let good = world.edge.sign(format!("{header}.{claims}").as_bytes());
    for place in 0..64 {
        let mut signature = good;
        signature[place] ^= 1;
        let token = format!("{header}.{claims}.{}", super::fixtures::b64(signature));
        assert_eq!(world.code(TokenKind::Assignment, &token), "E_SIGNATURE", "byte {place}");
    }
}

#[test]
fn truncated_and_padded_out_signatures_are_refused() {
    for length in [1, 32, 63, 65, 128] {
        World::new().refuses("E_SIGNATURE", |world, kind| {
            compact(&world.header(kind).to_string(), &world.claims(kind).to_string(), |message| {
                let mut signature = world.signer(kind).sign(message).to_vec();
                signature.resize(length, 0);
                signature
            })
        });
    }
}

#[test]
fn unreduced_s_is_refused_so_a_token_has_one_signature() {
    World::new().refuses("E_SIGNATURE", |world, kind| {
        compact(&world.header(kind).to_string(), &world.claims(kind).to_string(), |message| {
            with_unreduced_s(world.signer(kind).sign(message)).to_vec()
        })
    });
}

#[test]
fn signature_with_r_of_small_order_and_zero_s_is_refused() {
    for point in small_order_points() {
        World::new().refuses("E_SIGNATURE", |world, kind| {
            compact(&world.header(kind).to_string(), &world.claims(kind).to_string(), |_| {
                [point, [0; 32]].concat()
            })
        });
    }
}

#[test]
fn public_keys_of_small_order_are_refused_canonical_or_not() {
    let points = small_order_points();
    assert_eq!(points.len(), 14);
    for point in points {
        assert!(PublicKey::from_bytes(&point).is_err(), "{point:02x?}");
    }
    let mut identity = [0; 32];
    identity[0] = 1;
    assert_eq!(PublicKey::from_bytes(&identity), Err(PublicKeyError::SmallOrder));
}

#[test]
fn keyset_with_a_key_of_small_order_is_refused_although_the_root_signed_it() {
    let world = World::new();
    for point in small_order_points() {
        let mut claims = world.claims(TokenKind::Keyset);
        claims["keys"][0]["x"] = json!(super::fixtures::b64(point));
        let token = world.token_of(TokenKind::Keyset, &claims.to_string());
        assert_eq!(world.code(TokenKind::Keyset, &token), "E_MALFORMED");
    }
}

#[test]
fn type_confusion_is_refused_across_all_twelve_ordered_pairs() {
    let world = World::new();
    let mut pairs = 0;
    for is in TokenKind::ALL {
        for expected in TokenKind::ALL.into_iter().filter(|expected| *expected != is) {
            pairs += 1;
            // Signed by the right key for what it is, and again by the right key for what is expected.
            for signer in [world.signer(is), world.signer(expected)] {
                for claims in [world.claims(is), world.claims(expected)] {
                    let token = seal(is, claims.to_string().as_bytes(), signer);
                    let error = world.open(expected, &token).unwrap_err();
                    assert_eq!(error, VerifyError::Type { expected, found: is.typ().to_owned() });
                }
            }
        }
    }
    assert_eq!(pairs, 12);
}

#[test]
fn type_is_compared_byte_for_byte() {
    for typ in ["JWT", "jwt", "", "application/", " "] {
        World::new().refuses("E_TYPE", |world, kind| {
            let mut header = world.header(kind);
            let typ = if typ == "application/" { format!("{typ}{}", kind.typ()) } else { typ.to_owned() };
            header["typ"] = json!(typ);
            world.token_under(kind, &header.to_string())
        });
        World::new().refuses("E_TYPE", |world, kind| {
            let mut header = world.header(kind);
            header["typ"] = json!(kind.typ().to_uppercase());
            world.token_under(kind, &header.to_string())
        });
    }
}
