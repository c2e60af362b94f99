use serde_json::json;

use super::*;

/// RFC 8037, Appendix A: key, thumbprint and signature.
const SEED: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
const PUBLIC: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
const THUMBPRINT: &str = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";
const SIGNED: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
const SIGNATURE: &str =
    "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

fn secret() -> SecretKey {
    SecretKey::from_seed(&URL_SAFE_NO_PAD.decode(SEED).unwrap().try_into().unwrap())
}

#[test]
fn rfc_8037_key_signs_and_verifies_as_printed() {
    let signature = secret().sign(SIGNED.as_bytes());
    assert_eq!(URL_SAFE_NO_PAD.encode(signature), SIGNATURE);
    assert_eq!(secret().public().to_string(), PUBLIC);
    assert!(secret().public().verifies(SIGNED.as_bytes(), &signature));
    assert!(!secret().public().verifies(b"something else", &signature));
}

#[test]
fn rfc_8037_thumbprint_is_as_printed_and_the_kid_is_its_first_16_bytes() {
    let public = secret().public();
    assert_eq!(URL_SAFE_NO_PAD.encode(public.thumbprint()), THUMBPRINT);
    assert_eq!(public.kid().as_str(), URL_SAFE_NO_PAD.encode(&public.thumbprint()[..16]));
    assert_eq!(secret().kid(), &public.kid());
}

#[test]
fn jwk_reads_back() {
    let public = secret().public();
    let jwk = public.jwk("sig");
    assert_eq!(PublicKey::from_jwk(&jwk), Ok(public));
    assert_eq!(jwk["kty"], "OKP");
}

#[test]
fn jwks_of_other_kinds_and_private_ones_are_refused() {
    let with = |name: &str, value: Value| {
        let mut jwk = secret().public().jwk("sig");
        jwk[name] = value;
        PublicKey::from_jwk(&jwk)
    };
    assert_eq!(with("kty", json!("EC")), Err(PublicKeyError::OtherKind));
    assert_eq!(with("crv", json!("Ed448")), Err(PublicKeyError::OtherKind));
    assert_eq!(with("d", json!(SEED)), Err(PublicKeyError::Private));
    assert_eq!(with("x", json!(format!("{PUBLIC}="))), Err(PublicKeyError::Encoding));
    assert_eq!(with("x", json!("AAAA")), Err(PublicKeyError::Encoding));
    assert_eq!(with("x", json!(7)), Err(PublicKeyError::Encoding));
    assert_eq!(PublicKey::from_jwk(&json!("no object")), Err(PublicKeyError::OtherKind));
}

#[test]
fn bytes_off_the_curve_are_no_key() {
    let mut bytes = [0; 32];
    bytes[0] = 2;
    assert_eq!(PublicKey::from_bytes(&bytes), Err(PublicKeyError::NotAPoint));
}

#[test]
fn kids_are_22_characters_of_canonical_base64url() {
    assert!(KeyId::parse("kPrK_qmxVWaYVA9wwBF6Ig").is_some());
    for bad in
        ["", "kPrK_qmxVWaYVA9wwBF6Ih", "kPrK_qmxVWaYVA9wwBF6Ig==", THUMBPRINT, "kPrK/qmxVWaYVA9wwBF6Ig"]
    {
        assert_eq!(KeyId::parse(bad), None, "{bad}");
    }
}

#[test]
fn debug_output_hides_the_secret() {
    let told = format!("{:?}", secret());
    assert_eq!(told, format!("SecretKey(kid {}, redacted)", secret().kid()));
}

#[test]
fn keys_survive_their_stored_form() {
    let public = secret().public();
    let text = serde_json::to_string(&(public, public.kid())).unwrap();
    assert_eq!(serde_json::from_str::<(PublicKey, KeyId)>(&text).unwrap(), (public, public.kid()));
    assert!(serde_json::from_str::<PublicKey>("\"AAAA\"").is_err());
    assert!(serde_json::from_str::<KeyId>("\"../key\"").is_err());
}
