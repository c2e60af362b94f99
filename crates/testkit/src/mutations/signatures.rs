//! Signatures that one verifier takes and another does not: unreduced, with points of small order, not by the key.

use curve25519_dalek::EdwardsPoint;
use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
use curve25519_dalek::scalar::{Scalar, clamp_integer};
use curve25519_dalek::traits::Identity;
use edgeseal_core::sealing::{SecretKey, Signer};
use sha2::{Digest, Sha512};

use super::dice::Dice;
use crate::vectors::sealing::world::{b64, small_order_points, with_unreduced_s};

/// A compact JWS of any bytes, signed by any means.
pub(super) fn compact(header: &[u8], claims: &[u8], sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let signed = format!("{}.{}", b64(header), b64(claims));
    let signature = sign(signed.as_bytes());
    format!("{signed}.{}", b64(signature))
}

type Sign<'a> = Box<dyn Fn(&[u8]) -> Vec<u8> + 'a>;

/// Signs in a way that is open to question; says how.
pub(super) fn seal(dice: &mut Dice, header: &[u8], claims: &[u8], key: &SecretKey) -> (&'static str, String) {
    let torsion = *dice.pick(&EIGHT_TORSION);
    let small = *dice.pick(&small_order_points());
    let (cut, noise) = (dice.below(65), dice.bytes::<64>());
    let neutral = EdwardsPoint::identity();
    let r = Scalar::from_bytes_mod_order_wide(&noise);
    let proper = |message: &[u8]| key.sign(message);
    let (how, sign): (_, Sign<'_>) = match dice.below(10) {
        0 => ("s is not reduced", Box::new(move |message| with_unreduced_s(proper(message)))),
        1 => ("R of small order, s of zero", Box::new(move |_| [small, [0; 32]].concat())),
        2 => {
            ("R is the neutral element", Box::new(move |message| signed(key, message, neutral, Scalar::ZERO)))
        }
        3 => ("R of small order", Box::new(move |message| signed(key, message, torsion, Scalar::ZERO))),
        4 => {
            let mixed = ED25519_BASEPOINT_POINT * r + torsion;
            ("R of mixed order", Box::new(move |message| signed(key, message, mixed, r)))
        }
        5 => {
            let point = ED25519_BASEPOINT_POINT * r;
            ("another nonce", Box::new(move |message| signed(key, message, point, r)))
        }
        6 => ("noise", Box::new(move |_| noise.to_vec())),
        7 => ("truncated", Box::new(move |message| proper(message).iter().take(cut).copied().collect())),
        8 => ("too long", Box::new(move |message| [proper(message).as_slice(), &noise[..cut]].concat())),
        _ => ("over the claims alone", Box::new(|_| proper(b64(claims).as_bytes()).to_vec())),
    };
    (how, compact(header, claims, sign))
}

/// The signature with this `R`, which is `r` times the base point but for what is of small order (RFC 8032 §5.1.6).
fn signed(key: &SecretKey, message: &[u8], point: EdwardsPoint, r: Scalar) -> Vec<u8> {
    let expanded = Sha512::digest(key.seed());
    let mut clamped = [0; 32];
    clamped.copy_from_slice(&expanded[..32]);
    let secret = Scalar::from_bytes_mod_order(clamp_integer(clamped));
    let point = point.compress().to_bytes();
    let mut hash = Sha512::new();
    hash.update(point);
    hash.update(key.public().as_bytes());
    hash.update(message);
    let k = Scalar::from_bytes_mod_order_wide(&hash.finalize().into());
    [point, (r + k * secret).to_bytes()].concat()
}
