//! Proxies that end TLS in front of the gateway, and those who only say that they are one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;

const HEADER: &str = "x-wso2-client-certificate";

/// As a proxy writes it.
fn url_encoded(pem: &str) -> String {
    // What else is in it needs no code.
    [(" ", "%20"), ("\n", "%0A"), ("+", "%2B"), ("/", "%2F"), ("=", "%3D")]
        .iter()
        .fold(pem.to_owned(), |text, (plain, code)| text.replace(plain, code))
}

async fn pins(backend: &Backend, people: &People, more: &str) -> (Project, Gateway) {
    let project = Project::new();
    let paths = json!({ "/it": get(&json!([])), "/off": { "get": {
        "x-wso2-disable-security": true, "responses": { "200": { "description": "done" } } } } });
    project.define("Pins", &api("Pins", backend, Some("mandatory"), &paths));
    project.build().await;
    replace(&project.directory().join("proxy.pem"), people.issued.certificate_pem().as_bytes());
    let config = project.config(&format!("{}\n{more}", people.settings(&project)));
    let gateway = Gateway::run(project.directory(), ARTIFACT, &[&config]).await;
    (project, gateway)
}

#[tokio::test]
async fn a_proxy_is_known_by_its_certificate() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let people = People::new();
    let (_project, gateway) =
        pins(&backend, &people, "[mutualSSLConfig.proxy]\ncertificatePath = \"proxy.pem\"\n").await;
    let (good, missing, bad) = (Ok(()), Err(900_902), Err(900_901));
    let pinned = people.pinned.certificate_pem();
    let der = STANDARD.encode(people.pinned.certificate.der());
    let (late, stranger) =
        (url_encoded(&people.pinned_late.certificate_pem()), url_encoded(&people.stranger.certificate_pem()));
    let twice = format!("{der},{der}");
    let long = "A".repeat(5000);
    for http2 in [false, true] {
        let proxy = people.issued.https(&[], http2);
        let own = people.pinned.https(&[], http2);
        let other = people.stranger.https(&[], http2);
        let nobody = anonymous(http2).build().unwrap();
        for (client, header, expected) in [
            (&proxy, Some(url_encoded(&pinned)), good),
            (&proxy, Some(der.clone()), good),
            (&proxy, Some(format!(":{der}:")), good),
            (&proxy, Some(STANDARD.encode(&pinned)), good),
            (&proxy, Some(pinned.trim().replace('\n', " ")), good),
            (&proxy, Some(late.clone()), bad),
            (&proxy, Some(stranger.clone()), bad),
            (&proxy, Some("garbage".to_owned()), bad),
            (&proxy, Some("%zz".to_owned()), bad),
            (&proxy, Some(long.clone()), bad),
            (&proxy, Some(STANDARD.encode("garbage")), bad),
            (&proxy, Some(twice.clone()), bad),
            (&proxy, Some(der[..der.len() / 2].to_owned()), bad),
            // Its own certificate is no client's.
            (&proxy, None, missing),
            (&proxy, Some(String::new()), missing),
            // Of others the header does not count, whatever it says.
            (&own, Some(stranger.clone()), good),
            (&own, None, good),
            (&other, Some(url_encoded(&pinned)), bad),
            (&nobody, Some(url_encoded(&pinned)), missing),
        ] {
            for _ in 0..2 {
                let mut request = client.get(gateway.https("/pins/it"));
                if let Some(header) = &header {
                    request = request.header(HEADER, header);
                }
                let answer = Answer::of(request).await;
                let shown: String = header.iter().flat_map(|header| header.chars()).take(40).collect();
                is(&answer, expected, &shown);
                assert!(
                    answer.status != 200 || !answer.body.contains("CERTIFICATE") && !answer.body.contains(HEADER),
                    "{answer:?}"
                );
            }
        }
        // Nor does a backend see what anybody sends to where no certificate is asked for.
        for name in [HEADER, "X_WSO2_CLIENT_CERTIFICATE", "x-wso2-client_certificate"] {
            let answer = Answer::of(proxy.get(gateway.https("/pins/off")).header(name, "made-up")).await;
            assert!(answer.status == 200 && !answer.body.contains("made-up"), "{answer:?}");
        }
    }
    let url = gateway.http("/pins/it");
    is(&gateway.get(&url, &[(HEADER, &der)]).await, missing, "a proxy without TLS has shown nothing");
}

#[tokio::test]
async fn a_proxy_is_known_by_its_address() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let people = People::new();
    let der = STANDARD.encode(people.pinned.certificate.der());
    let by_address = |addresses: &str| {
        format!(
            "[mutualSSLConfig]\nsslVerifyClient = \"none\"\nisClientCertificateValidationEnabled = false\n\
             certificateHeaderName = \"X-Client-Cert\"\nproxy.addresses = [{addresses}]\n"
        )
    };
    let header = "x-client-cert";
    let (_project, here) = pins(&backend, &people, &by_address("\"127.0.0.0/8\", \"::1\"")).await;
    for url in [here.http("/pins/it"), here.https("/pins/it")] {
        is(&here.get(&url, &[(header, &der)]).await, Ok(()), &url);
        is(&here.get(&url, &[(header, "x")]).await, Err(900_901), &url);
        is(&here.get(&url, &[]).await, Err(900_902), &url);
    }
    drop(here);
    // What says where a request comes from is the connection.
    let (project, elsewhere) = pins(&backend, &people, &by_address("\"192.0.2.0/24\"")).await;
    for url in [elsewhere.http("/pins/it"), elsewhere.https("/pins/it")] {
        for more in [("x-forwarded-for", "192.0.2.1"), ("forwarded", "for=192.0.2.1"), ("x-real-ip", "192.0.2.1")] {
            is(&elsewhere.get(&url, &[(header, &der), more]).await, Err(900_902), &url);
        }
    }
    drop(elsewhere);
    // Or a balancer that passes it on, of which only those are believed that are named.
    let config = format!("--config={}", project.directory().join("micro-gw.conf").display());
    let balanced = [
        "--mutualSSLConfig.proxy.addresses=203.0.113.7",
        "--listenerConfig.proxyProtocol=http",
        "--listenerConfig.proxyProtocolFrom=192.0.2.0/24",
        &config,
    ];
    let behind = Gateway::run(project.directory(), ARTIFACT, &balanced).await;
    for (client, status) in [("203.0.113.7", 200), ("203.0.113.8", 401)] {
        let request = format!(
            "PROXY TCP4 {client} 10.0.0.1 1 2\r\nGET /pins/it HTTP/1.1\r\nhost: a\r\n{header}: {der}\r\nconnection: close\r\n\r\n"
        );
        assert_eq!(behind.raw(request.as_bytes()).await.status, status, "{client}");
    }
}
