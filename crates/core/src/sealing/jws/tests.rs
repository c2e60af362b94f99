use super::*;
use crate::sealing::SecretKey;

fn signer() -> SecretKey {
    SecretKey::from_seed(&[7; 32])
}

#[test]
fn header_has_its_three_members_in_this_order() {
    let token = seal(TokenKind::Assignment, b"{}", &signer());
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    let expected = format!(r#"{{"alg":"EdDSA","kid":"{}","typ":"edgeseal-assignment+jwt"}}"#, signer().kid());
    assert_eq!(String::from_utf8(header).unwrap(), expected);
}

#[test]
fn sealer_gives_the_same_bytes_as_seal_and_appends() {
    for kind in TokenKind::ALL {
        let plain = seal(kind, br#"{"a":1}"#, &signer());
        let sealer = Sealer::new(kind, Arc::new(signer()));
        let mut out = "before ".to_owned();
        sealer.seal_into(br#"{"a":1}"#, &mut out);
        assert_eq!(out, format!("before {plain}"));
        assert_eq!(sealer.seal(br#"{"a":1}"#), plain);
    }
}

#[test]
fn one_reservation_is_enough() {
    let claims = vec![b'x'; 1000];
    let token = seal(TokenKind::Snapshot, &claims, &signer());
    let mut out = String::new();
    Sealer::new(TokenKind::Snapshot, Arc::new(signer())).seal_into(&claims, &mut out);
    assert!(out.capacity() < 2 * token.len(), "{} for {}", out.capacity(), token.len());
    let mut out = String::with_capacity(token.len());
    let before = out.capacity();
    Sealer::new(TokenKind::Snapshot, Arc::new(signer())).seal_into(&claims, &mut out);
    assert_eq!(out.capacity(), before);
}

#[test]
fn parts_give_back_the_exact_signed_bytes() {
    let token = seal(TokenKind::Status, b"{\"a\" : 1}", &signer());
    let parts = Parts::parse(&token, 1000).unwrap();
    assert_eq!(parts.signed, token.rsplit_once('.').unwrap().0);
    assert_eq!(parts.claims, b"{\"a\" : 1}");
    assert_eq!(parts.header.kid, signer().kid().as_str());
}
