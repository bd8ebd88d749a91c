//! Vectors of our own for every category of Wycheproof's `json_web_signature` and `json_web_key` (none is copied):
//!
//! | there | here |
//! |---|---|
//! | parts that are modified, missing, empty or too many (hs256, es256, rs256, ps256 ...) | `parts` |
//! | JSON serialization | `parts` |
//! | `alg` none, symmetric algorithms with the public key, a key that the token brings along | `algorithms`, and `headers_that_ask_for_more_than_a_signature_are_refused` |
//! | another algorithm than the key's (`WrongPrimitive`) | `algorithms`, `every_algorithm_verifies_with_its_own_key_alone` |
//! | PKCS #1 padding (`ModifiedPadding`), signatures out of range | `pkcs1_padding`, from `padding.json` |
//! | base64: blanks, other characters, padding, bits that are not used; white space in JSON | `base64url` |
//! | ECDSA: too long, too short, DER, zeros, r and s of 0, 1, n-1, n and above (`SpecialCaseEs256`) | `ecdsa_special_cases` |
//! | key sets: private and symmetric keys among public ones, duplicate `kid`, wrong `use`, `alg`, `kty`, `crv`, points that are none | `key_sets` |
//! | RSA: 1024 bits, exponent 1, ROCA | `weak_rsa_keys` |
//! | symmetric keys, short, long and empty | `key_sets`: there are none here |

use serde_json::Value;

use super::*;
use crate::fixtures::{Signer, jwks};

fn vectors() -> Value {
    serde_json::from_str(include_str!("padding.json")).unwrap()
}

/// By these keys.
fn verify_by(keys: &[Value], token: &str) -> Result<(), TokenError> {
    let realm = realm();
    let (_, token) = Unverified::read(&realm, CredentialKind::AccessToken, token)?;
    token.verify(&jwks(keys)).map(|_| ())
}

fn header(algorithm: &str, kid: &str) -> String {
    json!({ "alg": algorithm, "kid": kid }).to_string()
}

#[test]
fn parts() {
    let signers: [(&Signer, &[&str]); 4] = [
        (&RSA, &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]),
        (&P256, &["ES256"]),
        (&P384, &["ES384"]),
        (&ED25519, &["EdDSA"]),
    ];
    for (signer, algorithm) in signers.into_iter().flat_map(|(signer, all)| all.iter().map(move |one| (signer, *one))) {
        let good = signer.token(algorithm, &access());
        let parts: Vec<&str> = good.split('.').collect();
        let [head, claims, signature] = parts[..] else { panic!("{good}") };
        assert_eq!(verify_by(&[signer.jwk()], &good), Ok(()), "{algorithm}");
        let other_claims = encode(with(access(), json!({"sub": "mallory"})).to_string());
        let other_header = encode(json!({"alg": algorithm, "kid": signer.kid, "x": 1}).to_string());
        let changed = format!("{}{}", if signature.starts_with('A') { "B" } else { "A" }, &signature[1..]);
        let serialized = json!({"payload": claims, "signatures": [{"protected": head, "signature": signature}]});
        let flattened = json!({"payload": claims, "protected": head, "signature": signature});
        for token in [
            format!("{head}.{claims}.{changed}"),
            format!("{head}.{claims}."),
            format!("{head}.{claims}"),
            format!("{head}.{other_claims}.{signature}"),
            format!("{head}..{signature}"),
            format!("{head}.{signature}"),
            format!("{other_header}.{claims}.{signature}"),
            format!(".{claims}.{signature}"),
            format!("{claims}.{signature}"),
            format!(".{claims}."),
            claims.to_owned(),
            head.to_owned(),
            String::new(),
            ".".to_owned(),
            "..".to_owned(),
            format!("{good}."),
            format!("{good}.Zm9v"),
            format!(".{good}"),
            format!("{claims}.{head}.{signature}"),
            format!("{}.{claims}.", encode(header("none", signer.kid))),
            format!("{}.{claims}.{signature}", encode(header("none", signer.kid))),
            serialized.to_string(),
            flattened.to_string(),
        ] {
            assert!(verify_by(&[signer.jwk()], &token).is_err(), "{algorithm}: {token}");
        }
    }
}

#[test]
fn algorithms() {
    use aws_lc_rs::hmac;
    // The public key as a shared secret, in the forms that one might take it in.
    for (signer, jwk) in [(&*RSA, RSA.jwk()), (&P256, P256.jwk())] {
        let forms = [jwk.to_string(), jwk["n"].as_str().or(jwk["x"].as_str()).unwrap().to_owned(), String::new()];
        for (form, algorithm) in forms.iter().flat_map(|form| ["HS256", "HS384", "HS512"].map(|name| (form, name))) {
            let input = format!("{}.{}", encode(header(algorithm, signer.kid)), encode(access().to_string()));
            let function = match algorithm {
                "HS256" => hmac::HMAC_SHA256,
                "HS384" => hmac::HMAC_SHA384,
                _ => hmac::HMAC_SHA512,
            };
            let mac = hmac::sign(&hmac::Key::new(function, form.as_bytes()), input.as_bytes());
            assert_eq!(
                verify_by(std::slice::from_ref(&jwk), &format!("{input}.{}", encode(mac))),
                Err(TokenError::Algorithm)
            );
        }
    }
    // Signed by the right key, and not as the key says that it may be used.
    for (own, other) in [("RS256", "PS256"), ("PS256", "RS256"), ("RS256", "RS512"), ("PS384", "PS256")] {
        let key = with(RSA.jwk(), json!({ "alg": own }));
        assert_eq!(verify_by(std::slice::from_ref(&key), &RSA.token(own, &access())), Ok(()));
        assert_eq!(verify_by(std::slice::from_ref(&key), &RSA.token(other, &access())), Err(TokenError::UnknownKey));
        // The header says what the key says; the signature is of the other kind.
        let signed = RSA.token(other, &access());
        let (_, signature) = signed.rsplit_once('.').unwrap();
        let relabelled = format!("{}.{}.{signature}", encode(header(own, "rsa")), encode(access().to_string()));
        assert_eq!(verify_by(&[key], &relabelled), Err(TokenError::Signature));
    }
    // A key that the token brings along, under the name of one that is known.
    let own = Signer::ec("p256", true);
    let embedded = json!({"alg": "ES256", "kid": "p256", "jwk": own.jwk()}).to_string();
    assert_eq!(verify_by(&[P256.jwk()], &own.sign(&embedded, &access().to_string())), Err(TokenError::Signature));
    let unnamed = json!({"alg": "ES256", "jwk": own.jwk()}).to_string();
    assert_eq!(verify_by(&[P256.jwk()], &own.sign(&unnamed, &access().to_string())), Err(TokenError::Signature));
}

#[test]
fn pkcs1_padding() {
    let vectors = vectors();
    let key = json!({"kty": "RSA", "kid": "padding", "n": vectors["n"], "e": vectors["e"]});
    let signatures = vectors["signatures"].as_object().unwrap();
    assert!(signatures.len() > 70);
    for (name, signature) in signatures {
        let token = format!("{}.{}", vectors["signed"].as_str().unwrap(), signature.as_str().unwrap());
        let verdict = verify_by(std::slice::from_ref(&key), &token);
        let expected = if name == "valid" { Ok(()) } else { Err(TokenError::Signature) };
        assert_eq!(verdict, expected, "{name}");
    }
}

#[test]
fn base64url() {
    let good = P256.token("ES256", &access());
    let parts: Vec<&str> = good.split('.').collect();
    let sign = |head: &str, claims: &str| {
        // Signed as it stands, damage included.
        let input = format!("{head}.{claims}");
        format!("{input}.{}", encode(P256.sign_bytes(input.as_bytes())))
    };
    assert_eq!(verify_by(&[P256.jwk()], &sign(parts[0], parts[1])), Ok(()));
    for damage in [" ", "    ", "\n", "\t", "?", "####", "=", "+", "/", "\u{0}", "ä", "%20"] {
        for part in 0..3 {
            for at_end in [false, true] {
                let mut parts: Vec<String> = parts.iter().map(ToString::to_string).collect();
                let place = if at_end { parts[part].len() } else { 0 };
                parts[part].insert_str(place, damage);
                assert!(verify_by(&[P256.jwk()], &parts.join(".")).is_err(), "{damage:?} in part {part}");
                if part < 2 {
                    assert!(verify_by(&[P256.jwk()], &sign(&parts[0], &parts[1])).is_err(), "{damage:?}, signed");
                }
            }
        }
        let mut inside = parts[1].to_owned();
        inside.insert_str(5, damage);
        assert!(verify_by(&[P256.jwk()], &sign(parts[0], &inside)).is_err(), "{damage:?} inside");
    }
    // Bits that belong to no byte: two texts would be one token.
    let claims =
        (1..4).map(|blanks| format!("{}{}", access(), " ".repeat(blanks))).find(|text| text.len() % 3 == 1).unwrap();
    let encoded = encode(&claims);
    assert_eq!(verify_by(&[P256.jwk()], &sign(parts[0], &encoded)), Ok(()), "blanks in JSON are no damage");
    let (rest, last) = encoded.split_at(encoded.len() - 1);
    let next = char::from(last.as_bytes()[0] + 1);
    assert_eq!(verify_by(&[P256.jwk()], &sign(parts[0], &format!("{rest}{next}"))), Err(TokenError::Form));
    for spaced in ["{ \"alg\" : \"ES256\" , \"kid\" : \"p256\" }", "{\n\t\"alg\":\"ES256\",\r\n\"kid\":\"p256\"}\n"] {
        assert_eq!(verify_by(&[P256.jwk()], &sign(&encode(spaced), parts[1])), Ok(()), "{spaced:?}");
    }
}

#[test]
fn ecdsa_special_cases() {
    // The order of P-256, SEC 2 section 2.4.2.
    const ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    let hex = |text: &str| -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    };
    let small = |last: u8| [vec![0; 31], vec![last]].concat();
    let n = hex(ORDER);
    let less_one = [n[..31].to_vec(), vec![n[31] - 1]].concat();
    let more_one = [n[..31].to_vec(), vec![n[31] + 1]].concat();
    let input = format!("{}.{}", encode(header("ES256", "p256")), encode(access().to_string()));
    let verdict = |signature: &[u8]| verify_by(&[P256.jwk()], &format!("{input}.{}", encode(signature)));
    let numbers = [small(0), small(1), less_one, n.clone(), more_one, vec![0xff; 32]];
    for (r, s) in numbers.iter().flat_map(|r| numbers.iter().map(move |s| (r, s))) {
        assert_eq!(verdict(&[r.as_slice(), s].concat()), Err(TokenError::Signature), "{r:?} {s:?}");
    }
    let good = P256.sign_bytes(input.as_bytes());
    assert_eq!(verdict(&good), Ok(()));
    let (r, s) = good.split_at(32);
    let der_number = |number: &[u8]| {
        let body = [if number[0] > 127 { &[0][..] } else { &[] }, number].concat();
        [&[2, u8::try_from(body.len()).unwrap()], body.as_slice()].concat()
    };
    let der = [der_number(r), der_number(s)].concat();
    for (what, signature) in [
        ("zeros in front of both", [&[0], r, &[0], s].concat()),
        ("zeros behind both", [r, &[0], s, &[0]].concat()),
        ("a zero in front", [&[0], r, s].concat()),
        ("a zero behind", [r, s, &[0]].concat()),
        ("a byte short", good[..63].to_vec()),
        ("half", r.to_vec()),
        ("twice", [good.clone(), good.clone()].concat()),
        ("very long", [vec![0; 600], r.to_vec(), vec![0; 600], s.to_vec()].concat()),
        ("r for s", [s, r].concat()),
        ("DER", [&[0x30, u8::try_from(der.len()).unwrap()], der.as_slice()].concat()),
        ("nothing", Vec::new()),
    ] {
        assert_eq!(verdict(&signature), Err(TokenError::Signature), "{what}");
    }
}

#[test]
fn key_sets() {
    let token = P256.token("ES256", &access());
    let secret = json!({"kty": "oct", "kid": "secret", "alg": "HS256", "k": encode([7; 32])});
    // A secret or private key in a public set is no key; those beside it are not to blame.
    assert_eq!(verify_by(&[secret, P256.jwk()], &token), Ok(()));
    for size in [0, 30, 32, 65] {
        let shared = encode(vec![7; size]);
        let key = json!({"kty": "oct", "kid": "p256", "alg": "HS256", "k": shared});
        assert_eq!(verify_by(std::slice::from_ref(&key), &token), Err(TokenError::UnknownKey));
        let input = format!("{}.{}", encode(header("HS256", "p256")), encode(access().to_string()));
        let mac = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &vec![7; size]);
        let mac = encode(aws_lc_rs::hmac::sign(&mac, input.as_bytes()));
        assert_eq!(verify_by(&[key], &format!("{input}.{mac}")), Err(TokenError::Algorithm), "{size}");
    }
    // Two keys of one name: nobody knows which one is meant.
    let other = Signer::ec("p256", true);
    assert_eq!(verify_by(&[P256.jwk(), other.jwk()], &token), Err(TokenError::AmbiguousKey));
    assert_eq!(verify_by(&[other.jwk(), P256.jwk()], &token), Err(TokenError::AmbiguousKey));
    let swapped = json!({"x": P256.jwk()["y"], "y": P256.jwk()["x"]});
    for (what, changes) in [
        ("for encryption", json!({"use": "enc"})),
        ("no use that there is", json!({"use": ""})),
        ("algorithm of another curve", json!({"alg": "ES384"})),
        ("an algorithm that does not exist", json!({"alg": "ES224"})),
        ("a misspelt one", json!({"alg": "ES521"})),
        ("another curve", json!({"crv": "P-384"})),
        ("no curve", json!({"crv": null})),
        ("another type", json!({"kty": "RSA"})),
        ("no type", json!({"kty": null})),
        ("no point of the curve", swapped),
        ("the point at infinity", json!({"x": encode([0; 32]), "y": encode([0; 32])})),
        ("a coordinate that is too long", json!({"x": encode([1; 33])})),
        ("a coordinate that is too short", json!({"x": encode([1; 31])})),
        ("private", json!({"d": encode([1; 32])})),
    ] {
        let verdict = verify_by(&[with(P256.jwk(), changes)], &token);
        assert_eq!(verdict, Err(TokenError::UnknownKey), "{what}");
    }
}

#[test]
fn weak_rsa_keys() {
    let vectors = vectors();
    let token = format!("{}.{}", vectors["signed"].as_str().unwrap(), vectors["signatures"]["valid"].as_str().unwrap());
    let key = |changes: Value| with(json!({"kty": "RSA", "kid": "padding", "n": vectors["n"], "e": "AQAB"}), changes);
    assert_eq!(verify_by(&[key(json!({}))], &token), Ok(()));
    for (what, changes) in [
        ("1024 bits", json!({"n": encode([0xc1; 128])})),
        ("2040 bits", json!({"n": encode([0xc1; 255])})),
        ("exponent 0", json!({"e": "AA"})),
        ("exponent 1", json!({"e": "AQ"})),
        ("an even exponent", json!({"e": "BA"})),
        ("an exponent that is as long as the modulus", json!({"e": vectors["n"]})),
        ("an even modulus", json!({"n": encode([0xc2; 256])})),
        ("ROCA", json!({"n": vectors["roca"]})),
    ] {
        assert_eq!(verify_by(&[key(changes)], &token), Err(TokenError::UnknownKey), "{what}");
    }
}
