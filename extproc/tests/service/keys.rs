use std::time::Duration;

use axum::http::StatusCode;
use microgw_extproc::decider::Decider;
use microgw_extproc::keys::{KeyLocation, KeyTiming};

use crate::fixtures::{Idp, IdpKey, PATIENCE, Page, Service, key_set};

/// Nothing happens by itself.
const STILL: KeyTiming =
    KeyTiming { refresh: Duration::from_hours(1), cooldown: Duration::from_hours(1), timeout: Duration::from_secs(2) };
/// Unknown keys are fetched at once.
const EAGER: KeyTiming = KeyTiming { cooldown: Duration::ZERO, ..STILL };
/// Everything is fetched all the time.
const BUSY: KeyTiming = KeyTiming { refresh: Duration::from_millis(10), cooldown: Duration::from_millis(10), ..STILL };

#[tokio::test]
async fn a_new_key_is_fetched_when_a_token_names_it() {
    let (old, new) = (IdpKey::new("old"), IdpKey::new("new"));
    let idp = Idp::start(Page::Body(key_set(&[&old]))).await;
    let service = Service::with_idp(&idp, EAGER).await;
    assert_eq!(service.bearer(&old.token("read")).await.status, 200);
    idp.publish(Page::Body(key_set(&[&old, &new])));
    assert_eq!(service.bearer(&new.token("read")).await.status, 200);
    assert_eq!(service.bearer(&old.token("read")).await.status, 200);
    assert_eq!(idp.hits(), 2);
}

#[tokio::test]
async fn tokens_with_made_up_keys_do_not_make_us_a_hammer() {
    let (known, unknown) = (IdpKey::new("known"), IdpKey::new("unknown"));
    let idp = Idp::start(Page::Body(key_set(&[&known]))).await;
    let service = Service::with_idp(&idp, STILL).await;
    for _ in 0..20 {
        assert_eq!(service.bearer(&unknown.token("read")).await.status, 401);
    }
    assert_eq!(service.bearer(&known.token("read")).await.status, 200);
    assert_eq!(idp.hits(), 1);
}

#[tokio::test]
async fn a_withdrawn_key_takes_its_tokens_along() {
    let (old, new) = (IdpKey::new("old"), IdpKey::new("new"));
    let idp = Idp::start(Page::Body(key_set(&[&old]))).await;
    let service = Service::with_idp(&idp, BUSY).await;
    let token = old.token("read");
    assert_eq!(service.bearer(&token).await.status, 200);
    assert_eq!(service.bearer(&token).await.status, 200, "cached");
    idp.publish(Page::Body(key_set(&[&new])));
    service.bearer_until(&token, 401).await;
    assert_eq!(service.bearer(&new.token("read")).await.status, 200);
}

#[tokio::test]
async fn known_keys_survive_an_outage_and_unknown_ones_are_no_refusal() {
    let (known, unknown) = (IdpKey::new("known"), IdpKey::new("unknown"));
    let idp = Idp::start(Page::Body(key_set(&[&known]))).await;
    let service = Service::with_idp(&idp, BUSY).await;
    assert_eq!(service.bearer(&known.token("read")).await.status, 200);
    for outage in [Page::Status(StatusCode::BAD_GATEWAY), Page::Body("<html>".into())] {
        idp.publish(outage);
        idp.wait_for_hits(idp.hits() + 2).await;
        assert_eq!(service.bearer(&known.token("read")).await.status, 200);
        assert_eq!(service.bearer(&unknown.token("read")).await.status, 503);
    }
    idp.publish(Page::Body(key_set(&[&known, &unknown])));
    service.bearer_until(&unknown.token("read"), 200).await;
    assert!(service.counter("microgw_key_fetches_total{issuer=\"https://idp.example/\",outcome=\"error\"}") >= 2);
}

#[tokio::test]
async fn an_issuer_that_was_never_there_is_unavailable_until_it_comes() {
    let key = IdpKey::new("one");
    let idp = Idp::start(Page::Status(StatusCode::NOT_FOUND)).await;
    let service = Service::with_idp(&idp, BUSY).await;
    let reply = service.bearer(&key.token("read")).await;
    assert_eq!((reply.status, reply.header("retry-after")), (503, vec!["1"]));
    idp.publish(Page::Body(key_set(&[&key])));
    service.bearer_until(&key.token("read"), 200).await;
}

#[tokio::test]
async fn many_requests_wait_for_one_first_fetch() {
    let key = IdpKey::new("one");
    let idp = Idp::start(Page::Body(key_set(&[&key]))).await;
    let service = std::sync::Arc::new(Service::with_idp(&idp, STILL).await);
    let asking = (0..50).map(|_| {
        let (service, token) = (service.clone(), key.token("read"));
        tokio::spawn(async move { service.bearer(&token).await.status })
    });
    for reply in asking.collect::<Vec<_>>() {
        assert_eq!(reply.await.unwrap(), 200);
    }
    assert_eq!(idp.hits(), 1);
}

#[tokio::test]
async fn what_is_too_long_or_leads_elsewhere_is_not_read() {
    let key = IdpKey::new("one");
    let real = Idp::start(Page::Body(key_set(&[&key]))).await;
    let padded = format!("{}{}", key_set(&[&key]), " ".repeat(1024 * 1024));
    for page in [Page::Redirect(real.url.clone()), Page::Body(padded)] {
        let idp = Idp::start(page).await;
        let service = Service::with_idp(&idp, STILL).await;
        assert_eq!(service.bearer(&key.token("read")).await.status, 503);
    }
    assert_eq!(real.hits(), 0);
}

#[tokio::test]
async fn keys_in_a_file_are_read_again() {
    let (old, new) = (IdpKey::new("old"), IdpKey::new("new"));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), key_set(&[&old])).unwrap();
    let location = Some(KeyLocation::File(file.path().to_owned()));
    let service = Service::start(location, EAGER, Decider::DEADLINE).await;
    assert_eq!(service.bearer(&old.token("read")).await.status, 200);
    std::fs::write(file.path(), key_set(&[&new])).unwrap();
    assert_eq!(service.bearer(&new.token("read")).await.status, 200);
    assert_eq!(service.bearer(&old.token("read")).await.status, 401);
}

#[tokio::test]
async fn a_certificate_in_a_file_serves_tokens_with_any_kid() {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["idp".into()]).unwrap().self_signed(&pair).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), certificate.pem()).unwrap();
    let location = Some(KeyLocation::File(file.path().to_owned()));
    let service = Service::start(location, STILL, Decider::DEADLINE).await;
    let key = jsonwebtoken::EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap();
    for kid in [None, Some("wso2apim310".to_owned())] {
        let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::ES256);
        header.kid = kid;
        let claims =
            serde_json::json!({"iss": crate::fixtures::IDP, "exp": crate::fixtures::now() + 60, "scope": "read"});
        let token = jsonwebtoken::encode(&header, &claims, &key).unwrap();
        assert_eq!(service.bearer(&token).await.status, 200);
    }
}

#[tokio::test]
async fn a_silent_issuer_is_given_up() {
    let key = IdpKey::new("one");
    let idp = Idp::start(Page::Silence).await;
    let timing = KeyTiming { timeout: Duration::from_millis(20), ..BUSY };
    let service = Service::with_idp(&idp, timing).await;
    tokio::time::timeout(PATIENCE, async { assert_eq!(service.bearer(&key.token("read")).await.status, 503) })
        .await
        .unwrap();
    idp.publish(Page::Body(key_set(&[&key])));
    service.bearer_until(&key.token("read"), 200).await;
}
