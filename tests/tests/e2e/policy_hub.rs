//! Policies on their way through a real registry: with every kind of login, and with everything that can be wrong with what is there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use microgw_tests::gateway::command_with;
use microgw_tests::project::Project;
use microgw_tests::registry::{DockerRegistry, Front, IDENTITY_TOKEN, LOGIN, TokenServer, registry_is_here};
use microgw_tests::scripted::{Reply, Scripted};
use microgw_tests::tls::Identity;
use serde_json::{Value, json};

const POLICY: &str = "name: stamp\nversion: 1.2.0\ndescription: Says who it was.\nparameters:\n  properties: {by: {type: string, default: me}}\nrequest:\n  - headers: {set: {X-By: \"{{ parameters.by }}\"}}\n";

/// A project beside a policy, and the registry that the test has made.
struct Place {
    project: Project,
}

// === impl Place ===

impl Place {
    fn new() -> Place {
        let project = Project::new();
        let operation = json!({ "responses": { "200": { "description": "done" } } });
        let mut definition = microgw_tests::project::definition(
            "shop",
            "/shop",
            ([127, 0, 0, 1], 9).into(),
            &json!({ "/items": { "get": operation } }),
        );
        definition["x-microgw-transform"] = json!([{ "policy": "stamp" }]);
        definition["x-wso2-disable-security"] = true.into();
        project.define("shop", &definition);
        let place = Place { project };
        place.write("stamp/policy.yaml", POLICY);
        place.write("stamp/README.md", "# stamp\n");
        place.write("stamp/tests/any.yaml", "- {name: it does, request: {path: /}, expect: {headers: {X-By: me}}}\n");
        place
    }

    fn path(&self) -> &Path {
        self.project.directory()
    }

    fn write(&self, path: &str, text: &str) {
        microgw_tests::gateway::replace(&self.path().join(path), text.as_bytes());
    }

    async fn succeeds(&self, arguments: &[&str]) -> String {
        self.succeeds_with(&[], arguments).await
    }

    async fn succeeds_with(&self, environment: &[(&str, &str)], arguments: &[&str]) -> String {
        let output = command_with(self.path(), arguments, environment).await;
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    async fn fails(&self, arguments: &[&str]) -> String {
        self.fails_with(&[], arguments).await
    }

    async fn fails_with(&self, environment: &[(&str, &str)], arguments: &[&str]) -> String {
        let before = self.project_files();
        let output = command_with(self.path(), arguments, environment).await;
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        // Whatever failed left nothing behind.
        assert_eq!(self.project_files(), before, "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn project_files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut pending = vec![self.path().join("shop")];
        while let Some(directory) = pending.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    files.insert(path.clone(), Vec::new());
                    pending.push(path);
                } else {
                    files.insert(path.clone(), std::fs::read(&path).unwrap());
                }
            }
        }
        files
    }

    /// The argument that names a file of logins.
    fn logins(&self, hosts: &[&str], (user, password): (&str, &str)) -> String {
        let login = json!({ "auth": STANDARD.encode(format!("{user}:{password}")) });
        let auths: serde_json::Map<String, Value> =
            hosts.iter().map(|host| ((*host).to_owned(), login.clone())).collect();
        self.write("config.json", &json!({ "auths": auths }).to_string());
        format!("--auth-file={}", self.path().join("config.json").display())
    }

    async fn list(&self) -> Value {
        let listed = self.succeeds(&["policy", "list", "-p", "shop", "--output", "json"]).await;
        serde_json::from_str(&listed).unwrap()
    }
}

/// Of what `push` prints.
fn pushed(printed: &str) -> &str {
    printed.lines().last().unwrap().rsplit_once('@').unwrap().1
}

#[tokio::test]
async fn a_policy_goes_to_a_registry_and_comes_back() {
    if !registry_is_here() {
        return;
    }
    let place = Place::new();
    let registry = DockerRegistry::start(place.path()).await;
    let host = registry.host();
    let repository = format!("{host}/policies/stamp");
    let printed = place.succeeds(&["policy", "push", "stamp", &repository]).await;
    assert!(printed.starts_with(&format!("oci://{repository}:1.2.0  stamp 1.2.0\n")), "{printed}");
    let manifest = pushed(&printed).to_owned();
    // The same from what was packed: nothing depends on when and where.
    place.succeeds(&["policy", "pack", "stamp", "-o", "stamp.tar"]).await;
    let again = place.succeeds(&["policy", "push", "stamp.tar", &format!("{repository}:latest")]).await;
    assert_eq!(pushed(&again), manifest);

    let tagged = format!("{repository}:1.2.0");
    let printed = place.succeeds(&["policy", "add", &tagged, "--project", "shop"]).await;
    let digest = printed.lines().last().unwrap().to_owned();
    let lock = std::fs::read_to_string(place.project.path("policies.lock")).unwrap();
    for line in
        [format!("source = \"oci://{tagged}\""), format!("manifest = \"{manifest}\""), format!("digest = \"{digest}\"")]
    {
        assert!(lock.contains(&line), "{line}\n{lock}");
    }
    let listed = place.list().await;
    assert_eq!((&listed[0]["state"], &listed[0]["digest"]), (&"locked".into(), &digest.clone().into()));
    place.succeeds(&["policy", "verify", "-p", "shop"]).await;
    place.succeeds(&["policy", "test", "stamp", "-p", "shop"]).await;
    place.project.build().await;
    // As it is documented.
    let recipe = "find . -type f -printf '%P\\n' | LC_ALL=C sort | xargs sha256sum | sha256sum";
    let mut shell = tokio::process::Command::new("sh");
    let sum = shell.args(["-c", recipe]).current_dir(place.project.path("policies/stamp")).output().await.unwrap();
    assert_eq!(
        String::from_utf8(sum.stdout).unwrap().split(' ').next().unwrap(),
        digest.strip_prefix("sha256:").unwrap()
    );

    // By its digest, under another name.
    let named = format!("oci://{repository}@{manifest}");
    place.succeeds(&["policy", "add", &named, "-p", "shop", "--name", "other"]).await;
    let error = place.fails(&["policy", "add", &named, "-p", "shop", "--name", "other"]).await;
    assert!(error.contains("there is a policy `other` already"), "{error}");
    // A tag that means another one by now.
    place.write("stamp/policy.yaml", &POLICY.replace("X-By", "X-Who"));
    place.write("stamp/tests/any.yaml", "- {name: it does, request: {path: /}, expect: {headers: {X-Who: me}}}\n");
    place.succeeds(&["policy", "push", "stamp", &repository]).await;
    let told = place.succeeds(&["policy", "update", "-p", "shop"]).await;
    assert!(told.contains("policies/stamp  1.2.0, with another content"), "{told}");
    assert!(told.contains("policies/other  1.2.0 as before"), "{told}");
    place.project.build().await;

    for (reference, expected) in [
        (format!("{repository}:9"), "there is no `policies/stamp:9` in the registry"),
        (format!("{repository}@sha256:{}", "0".repeat(64)), "there is no `policies/stamp@sha256:00"),
        (format!("{host}/other:1"), "there is no `other:1`"),
        (repository.clone(), "Name a tag or a digest"),
        ("policies/stamp:1".to_owned(), "is neither a directory or file that is there, nor in a registry"),
        ("127.0.0.1:1/stamp:1".to_owned(), "`127.0.0.1:1` cannot be reached"),
        (tagged.clone(), "there is a policy `stamp` already"),
    ] {
        let error = place.fails(&["policy", "add", &reference, "-p", "shop"]).await;
        assert!(error.contains(expected), "{reference}: {error}");
    }
    // TLS is what is spoken where nothing else is asked for.
    let error = place.fails(&["policy", "add", &tagged, "-p", "shop", "--plain-http=false"]).await;
    assert!(error.contains("cannot be reached"), "{error}");
}

#[tokio::test]
async fn whoever_is_to_log_in_does() {
    if !registry_is_here() {
        return;
    }
    let place = Place::new();
    let registry = DockerRegistry::start_basic(place.path()).await;
    let repository = format!("{}/stamp", registry.host());
    let nobody = format!("--auth-file={}", place.path().join("none.json").display());
    let error = place.fails(&["policy", "push", "stamp", &repository, &nobody]).await;
    assert!(error.contains("wants a login: `auths` of"), "{error}");
    let wrong = place.logins(&[&registry.host()], (LOGIN.0, "wrong"));
    let error = place.fails(&["policy", "push", "stamp", &repository, &wrong]).await;
    assert!(error.contains("wants a login: the one that `auths` has is not taken"), "{error}");
    assert!(!error.contains("wrong\""), "{error}");
    let elsewhere = place.logins(&["registry.example.com"], LOGIN);
    let error = place.fails(&["policy", "push", "stamp", &repository, &elsewhere]).await;
    assert!(error.contains("has none for it"), "{error}");
    place.write("config.json", "{\"credsStore\": \"desktop\"}");
    let error = place.fails(&["policy", "push", "stamp", &repository, &elsewhere]).await;
    assert!(error.contains("`docker-credential-desktop` cannot be run"), "{error}");
    let right = place.logins(&[&format!("https://{}/v1/", registry.host())], LOGIN);
    place.succeeds(&["policy", "push", "stamp", &repository, &right]).await;
    let tagged = format!("{repository}:1.2.0");
    assert!(place.fails(&["policy", "add", &tagged, "-p", "shop", &nobody]).await.contains("wants a login"));
    place.succeeds(&["policy", "add", &tagged, "-p", "shop", &right]).await;
}

#[tokio::test]
async fn tokens_are_asked_for() {
    if !registry_is_here() {
        return;
    }
    let place = Place::new();
    let tokens = TokenServer::start().await;
    let registry = DockerRegistry::start_bearer(place.path(), &tokens).await;
    let repository = format!("{}/policies/stamp", registry.host());
    let nobody = format!("--auth-file={}", place.path().join("none.json").display());
    let error = place.fails(&["policy", "push", "stamp", &repository, &nobody]).await;
    assert!(error.contains("wants a login"), "{error}");
    let wrong = place.logins(&[&registry.host()], ("bob", "wrong"));
    let error = place.fails(&["policy", "push", "stamp", &repository, &wrong]).await;
    assert!(error.contains("refuses the login of `auths`"), "{error}");
    let right = place.logins(&[&registry.host()], LOGIN);
    place.succeeds(&["policy", "push", "stamp", &repository, &right]).await;
    // What for is what is done, and no more.
    assert_eq!(tokens.scopes(), ["repository:policies/stamp:pull,push"]);
    let tagged = format!("{repository}:1.2.0");
    place.succeeds(&["policy", "add", &tagged, "-p", "shop", &right]).await;
    assert_eq!(tokens.scopes(), ["repository:policies/stamp:pull"]);
}

#[tokio::test]
async fn what_was_changed_in_the_registry_is_not_taken() {
    if !registry_is_here() {
        return;
    }
    let place = Place::new();
    let registry = DockerRegistry::start(place.path()).await;
    let repository = format!("{}/stamp", registry.host());
    let manifest = pushed(&place.succeeds(&["policy", "push", "stamp", &repository]).await).to_owned();
    let (tagged, named) = (format!("{repository}:1.2.0"), format!("{repository}@{manifest}"));
    let kept: Value = microgw_tests::gateway::client()
        .get(registry.url(&format!("stamp/manifests/{manifest}")))
        .header("accept", "application/vnd.oci.image.manifest.v1+json")
        .send()
        .await
        .unwrap()
        .bytes()
        .await
        .map(|bytes| serde_json::from_slice(&bytes).unwrap())
        .unwrap();
    assert_eq!(kept["artifactType"], "application/vnd.micro-gw.policy.v1");
    assert_eq!(kept["annotations"]["org.opencontainers.image.version"], "1.2.0");
    let layer = kept["layers"][0]["digest"].as_str().unwrap().to_owned();
    let swap = |from: &'static str, to: &'static str| {
        move |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replacen(from, to, 1).into_bytes()
    };
    // The policy says something else.
    registry.tamper(&layer, swap("X-By", "X-No"));
    for reference in [&tagged, &named] {
        let error = place.fails(&["policy", "add", reference, "-p", "shop"]).await;
        assert!(error.contains("the policy is not what its digest says"), "{error}");
    }
    registry.tamper(&layer, |mut bytes| {
        bytes.extend([0; 512]);
        bytes
    });
    let error = place.fails(&["policy", "add", &tagged, "-p", "shop"]).await;
    assert!(error.contains("the policy is longer than it may be"), "{error}");
    registry.tamper(&layer, |bytes| swap("X-No", "X-By")(bytes[..bytes.len() - 512].to_vec()));
    // The manifest does.
    registry.tamper(&manifest, swap("1.2.0", "1.2.1"));
    for reference in [&tagged, &named] {
        let error = place.fails(&["policy", "add", reference, "-p", "shop"]).await;
        assert!(error.contains("the manifest is not what its digest says"), "{error}");
    }
    registry.tamper(&manifest, swap("1.2.1", "1.2.0"));
    place.succeeds(&["policy", "add", &named, "-p", "shop"]).await;
}

#[tokio::test]
async fn a_login_stays_at_home() {
    if !registry_is_here() {
        return;
    }
    let place = Place::new();
    let registry = DockerRegistry::start_basic(place.path()).await;
    let right = place.logins(&[&registry.host()], LOGIN);
    place.succeeds(&["policy", "push", "stamp", &format!("{}/stamp", registry.host()), &right]).await;
    place.succeeds(&["policy", "pack", "stamp", "-o", "stamp.tar"]).await;
    let elsewhere = Scripted::start().await;
    let tar = std::fs::read(place.path().join("stamp.tar")).unwrap();
    elsewhere.replies(Reply { body: tar, ..Reply::default() });
    let front = Front::start(&registry, &format!("http://{}/kept/here?signature=x", elsewhere.address)).await;
    let right = place.logins(&[&front.address.to_string(), &elsewhere.address.to_string()], LOGIN);
    let tagged = format!("{}/stamp:1.2.0", front.address);
    place.succeeds(&["policy", "add", &tagged, "-p", "shop", &right]).await;
    let seen = elsewhere.one();
    assert_eq!((seen.path.as_str(), seen.header("authorization")), ("/kept/here?signature=x", ""));
    place.succeeds(&["policy", "remove", "stamp", "-p", "shop"]).await;
    // Nor is one asked for there.
    let challenge = vec![("www-authenticate", "Basic realm=\"x\"".to_owned())];
    elsewhere.replies(Reply { status: 401, headers: challenge, ..Reply::default() });
    let error = place.fails(&["policy", "add", &tagged, "-p", "shop", &right]).await;
    assert!(error.contains("wants a login"), "{error}");
    assert_eq!(elsewhere.one().header("authorization"), "");
    // Round and round.
    let round = format!("http://{}/again", elsewhere.address);
    elsewhere.replies(Reply { status: 302, headers: vec![("location", round)], ..Reply::default() });
    let error = place.fails(&["policy", "add", &tagged, "-p", "shop", &right]).await;
    assert!(error.contains("sends us elsewhere too often"), "{error}");
}

/// A credential helper that does this, as `docker-credential-NAME` of a directory that is searched first.
fn helper(place: &Place, name: &str, script: &str) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = place.path().join("bin");
    std::fs::create_dir_all(&directory).unwrap();
    let file = directory.join(format!("docker-credential-{name}"));
    std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:{}", directory.display(), std::env::var("PATH").unwrap())
}

#[tokio::test]
async fn a_helper_is_asked_for_the_login_once_it_is_wanted() {
    if !registry_is_here() {
        return;
    }
    let place = Place::new();
    let registry = DockerRegistry::start_basic(place.path()).await;
    let repository = format!("{}/stamp", registry.host());
    let answer = |user: &str, secret: &str| json!({ "ServerURL": "x", "Username": user, "Secret": secret }).to_string();
    let asked = place.path().join("asked");
    let knows = format!("[ \"$1\" = get ] || exit 2\ncat >> {}\necho '{}'", asked.display(), answer(LOGIN.0, LOGIN.1));
    helper(&place, "knows", &knows);
    helper(&place, "wrong", &format!("cat > /dev/null; echo '{}'", answer(LOGIN.0, "a wrong one")));
    helper(&place, "token", &format!("echo '{}'", answer("<token>", IDENTITY_TOKEN)));
    helper(&place, "unknown", "echo 'credentials not found in native keychain'; exit 1");
    helper(&place, "locked", "echo 'secret words: correct horse'; echo 'secret words' >&2; exit 1");
    helper(&place, "chatty", "yes correct horse");
    let path = helper(&place, "odd", "echo '[\"correct horse\"]'");
    let path = [("PATH", path.as_str())];
    let file = format!("--auth-file={}", place.path().join("config.json").display());
    let push = ["policy", "push", "stamp", &repository, &file];
    let auth = STANDARD.encode(format!("{}:{}", LOGIN.0, LOGIN.1));
    let helpers = |name: &str| json!({ "credHelpers": { registry.host(): name }, "credsStore": "odd" });
    for (config, expected) in [
        (json!({ "credsStore": "nowhere" }), "`docker-credential-nowhere` cannot be run"),
        (json!({ "credsStore": "unknown" }), "has none for it, and neither has `docker-credential-unknown`"),
        (helpers("wrong"), "wants a login: the one that `docker-credential-wrong` has is not taken"),
        (helpers("token"), "wants a password, and `docker-credential-token` has a token"),
        (helpers("locked"), "`docker-credential-locked` has failed"),
        (helpers("chatty"), "`docker-credential-chatty` does not answer as credential helpers do"),
        (json!({ "credsStore": "odd" }), "`docker-credential-odd` does not answer as credential helpers do"),
        (helpers("../bin/docker-credential-knows"), "is no name of a credential helper"),
    ] {
        place.write("config.json", &config.to_string());
        let error = place.fails_with(&path, &push).await;
        assert!(error.contains(expected), "{config}: {error}");
        for secret in ["correct horse", "a wrong one", "secret words", IDENTITY_TOKEN] {
            assert!(!error.contains(secret), "{error}");
        }
    }
    assert!(!asked.exists());
    place.write("config.json", &helpers("knows").to_string());
    place.succeeds_with(&path, &push).await;
    // Once, and for this host.
    assert_eq!(std::fs::read_to_string(&asked).unwrap(), registry.host());
    // What a helper does not know may be in the file.
    let both = json!({ "credsStore": "unknown", "auths": { registry.host(): { "auth": auth } } });
    place.write("config.json", &both.to_string());
    place.succeeds_with(&path, &["policy", "add", &format!("{repository}:1.2.0"), "-p", "shop", &file]).await;
}

#[tokio::test]
async fn identity_tokens_are_renewed() {
    if !registry_is_here() {
        return;
    }
    let place = Place::new();
    let tokens = TokenServer::start().await;
    let registry = DockerRegistry::start_bearer(place.path(), &tokens).await;
    let repository = format!("{}/policies/stamp", registry.host());
    let file = format!("--auth-file={}", place.path().join("config.json").display());
    let push = ["policy", "push", "stamp", &repository, &file];
    let of_file =
        |token: &str| json!({ "auths": { registry.host(): { "auth": "PHRva2VuPjo=", "identitytoken": token } } });
    place.write("config.json", &of_file("a revoked one").to_string());
    let error = place.fails(&push).await;
    assert!(error.contains("refuses the login of `auths`") && !error.contains("revoked"), "{error}");
    place.write("config.json", &of_file(IDENTITY_TOKEN).to_string());
    place.succeeds(&push).await;
    assert_eq!(tokens.scopes(), ["repository:policies/stamp:pull,push"]);
    let answer = json!({ "ServerURL": "", "Username": "<token>", "Secret": IDENTITY_TOKEN });
    let path = helper(&place, "token", &format!("cat > /dev/null; echo '{answer}'"));
    place.write("config.json", &json!({ "credsStore": "token" }).to_string());
    let tagged = format!("{repository}:1.2.0");
    place.succeeds_with(&[("PATH", path.as_str())], &["policy", "add", &tagged, "-p", "shop", &file]).await;
    assert_eq!(tokens.scopes(), ["repository:policies/stamp:pull"]);
}

/// A tar with one file beside the policy.
fn tar(name: &[u8], kind: tar::EntryType) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, kind, content) in [(b"policy.yaml".as_slice(), tar::EntryType::Regular, POLICY), (name, kind, "")] {
        let mut header = tar::Header::new_gnu();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name);
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        if kind == tar::EntryType::Symlink {
            header.set_link_name("/etc/passwd").unwrap();
        }
        header.set_cksum();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(content.as_bytes());
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.extend([0; 1024]);
    bytes
}

#[tokio::test]
async fn what_a_registry_has_may_be_hostile() {
    if !registry_is_here() {
        return;
    }
    let place = Place::new();
    let registry = DockerRegistry::start(place.path()).await;
    for (tag, layer, expected) in [
        ("up", tar(b"../../escaped", tar::EntryType::Regular), "`../../escaped` cannot be in a policy"),
        ("root", tar(b"/tmp/escaped", tar::EntryType::Regular), "cannot be in a policy"),
        ("link", tar(b"link", tar::EntryType::Symlink), "`link` is a link"),
        ("device", tar(b"null", tar::EntryType::Char), "`null` is a device"),
        ("twice", tar(b"policy.yaml", tar::EntryType::Regular), "`policy.yaml` is there twice"),
        ("noise", b"this is no tar at all".repeat(100), "cannot be used"),
        ("empty", vec![0; 1024], "it has no `policy.yaml`"),
    ] {
        registry.put("stamp", tag, layer).await;
        let reference = format!("{}/stamp:{tag}", registry.host());
        let error = place.fails(&["policy", "add", &reference, "-p", "shop"]).await;
        assert!(error.contains(expected), "{tag}: {error}");
    }
    assert!(!place.path().join("escaped").exists() && !Path::new("/tmp/escaped").exists());
}

#[tokio::test]
async fn a_registry_is_who_it_says() {
    if !registry_is_here() {
        return;
    }
    let place = Place::new();
    let authority = Identity::authority("registries");
    place.write("ca.pem", &authority.certificate_pem());
    place.write("other.pem", &Identity::authority("others").certificate_pem());
    let file = |name: &str| place.path().join(name).display().to_string();
    let (trusted, others) = (file("ca.pem"), file("other.pem"));
    let (trusted, others) = ([("SSL_CERT_FILE", trusted.as_str())], [("SSL_CERT_FILE", others.as_str())]);
    let tls = "--plain-http=false";

    let registry = DockerRegistry::start_tls(place.path(), &authority.issue("127.0.0.1")).await;
    let repository = format!("{}/stamp", registry.host());
    let push = ["policy", "push", "stamp", &repository, tls];
    let tagged = format!("{repository}:1.2.0");
    let add = ["policy", "add", &tagged, "-p", "shop", tls];
    for untrusted in [&others[..], &[]] {
        let error = place.fails_with(untrusted, &push).await;
        assert!(error.contains("cannot be reached") && error.contains("certificate"), "{error}");
    }
    place.succeeds_with(&trusted, &push).await;
    let error = place.fails_with(&others, &add).await;
    assert!(error.contains("cannot be reached") && error.contains("certificate"), "{error}");
    // Nor is it spoken to in the clear.
    assert!(!place.fails(&["policy", "add", &tagged, "-p", "shop"]).await.is_empty());
    place.succeeds_with(&trusted, &add).await;
    place.succeeds(&["policy", "remove", "stamp", "-p", "shop"]).await;
    drop(registry);

    // A certificate of the right authority, for somebody else, or that has expired.
    for identity in [authority.issue("registry.example.com"), authority.issue_expired("127.0.0.1")] {
        let directory = tempfile::tempdir().unwrap();
        let registry = DockerRegistry::start_tls(directory.path(), &identity).await;
        let repository = format!("{}/stamp", registry.host());
        let error = place.fails_with(&trusted, &["policy", "push", "stamp", &repository, tls]).await;
        assert!(error.contains("cannot be reached") && error.contains("certificate"), "{error}");
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

/// As `oras push` makes it of the directory.
fn of_directory() -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, text) in [("stamp/policy.yaml", POLICY), ("stamp/README.md", "# stamp\n")] {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o644);
        header.set_size(text.len() as u64);
        builder.append_data(&mut header, path, text.as_bytes()).unwrap();
    }
    gzip(&builder.into_inner().unwrap())
}

#[tokio::test]
async fn what_others_have_compressed_is_read_within_bounds() {
    if !registry_is_here() {
        return;
    }
    let place = Place::new();
    let registry = DockerRegistry::start(place.path()).await;
    let kind = "application/vnd.oci.image.layer.v1.tar+gzip";
    let unpack = json!({ "org.opencontainers.image.title": "stamp", "io.deis.oras.content.unpack": "true" });
    registry.put_as(kind, unpack, "stamp", "oras", of_directory()).await;
    let plain = tar(b"README.md", tar::EntryType::Regular);
    registry.put_as(kind, json!({}), "stamp", "plain", gzip(&plain)).await;
    for tag in ["oras", "plain"] {
        let reference = format!("{}/stamp:{tag}", registry.host());
        place.succeeds(&["policy", "add", &reference, "-p", "shop"]).await;
        place.succeeds(&["policy", "verify", "-p", "shop"]).await;
        place.succeeds(&["policy", "remove", "stamp", "-p", "shop"]).await;
    }
    let packed = gzip(&plain);
    for (tag, layer, expected) in [
        ("bomb", gzip(&vec![0; 16 << 20]).repeat(64), "it is larger than"),
        ("cut", packed[..packed.len() - 9].to_vec(), "not compressed as `gzip` does"),
        ("plain", plain.clone(), "not compressed as `gzip` does"),
        ("up", gzip(&tar(b"../../escaped", tar::EntryType::Regular)), "cannot be in a policy"),
        ("link", gzip(&tar(b"link", tar::EntryType::Symlink)), "`link` is a link"),
    ] {
        registry.put_as(kind, json!({}), "hostile", tag, layer).await;
        let reference = format!("{}/hostile:{tag}", registry.host());
        let error = place.fails(&["policy", "add", &reference, "-p", "shop"]).await;
        assert!(error.contains(expected), "{tag}: {error}");
    }
    // Its digest is that of what is compressed.
    let layer = microgw_compiler::packages::digest(&packed);
    registry.tamper(&layer, |mut bytes| {
        // When it was made, which nobody looks at.
        bytes[4] ^= 1;
        bytes
    });
    let error = place.fails(&["policy", "add", &format!("{}/stamp:plain", registry.host()), "-p", "shop"]).await;
    assert!(error.contains("the policy is not what its digest says"), "{error}");
}
