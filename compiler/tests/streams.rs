//! How long operations may take, what goes on without an end, and what is copied: what definitions come to.

use microgw_compiler::artifact;
use microgw_compiler::compile::{Options, compile};
use microgw_compiler::diagnostic::render_human;
use microgw_compiler::files::MemoryFiles;
use microgw_compiler::model::Model;
use microgw_proto::traffic::v1::OperationTraffic;

fn model(text: &str) -> Model {
    let files = MemoryFiles::new().with("api_definitions/t.yaml", text);
    let compilation = compile(&files, "shop", &Options::default());
    let said = render_human(&compilation.diagnostics, &files, false);
    let model = compilation.model.unwrap_or_else(|| panic!("{said}"));
    assert_eq!(artifact::decode(&artifact::encode(&model)).unwrap(), model);
    model
}

fn of<'m>(model: &'m Model, path: &str) -> &'m OperationTraffic {
    let operation = model.apis[0].operations.iter().find(|operation| operation.path.as_str() == path).unwrap();
    &operation.traffic
}

#[test]
fn the_nearer_word_counts() {
    let paths = "
paths:
  /plain: {get: {}}
  /short: {get: {x-microgw-timeout: 5}}
  /events: {get: {x-microgw-stream: true}}
  /talk: {post: {x-microgw-stream: bidirectional, x-microgw-idle-timeout: 0}}
  /socket: {get: {x-microgw-websocket: true}}
  /bounded: {get: {x-microgw-stream: false}}
";
    let head = "openapi: 3.0.0\ninfo: {title: T, version: '1'}\nservers: [{url: http://b/t}]\n";
    let told = |above: &str| {
        let model = model(&format!("{head}{above}{paths}"));
        ["/plain", "/short", "/events", "/talk", "/socket", "/bounded"].map(|path| {
            let traffic = of(&model, path);
            assert_eq!(traffic.websocket, path == "/socket");
            (traffic.timeout, traffic.idle_timeout, traffic.unbuffered)
        })
    };
    let hour = Some(3_600_000);
    // Of a connection the handshake is bounded, as other requests are.
    let socket = |handshake: Option<u32>| (handshake, hour, true);
    let (events, talk) = ((Some(0), hour, false), (Some(0), Some(0), true));
    assert_eq!(
        told(""),
        [(None, None, false), (Some(5), None, false), events, talk, socket(None), (None, None, false)]
    );
    assert_eq!(
        told("x-microgw-timeout: 9\n"),
        [(Some(9), None, false), (Some(5), None, false), events, talk, socket(Some(9)), (Some(9), None, false)]
    );
    assert_eq!(
        told("x-microgw-stream: true\n"),
        [events, (Some(5), None, false), events, talk, socket(None), (None, None, false)]
    );
}

#[test]
fn what_can_be_copied_is() {
    let text = "
openapi: 3.0.0
info: {title: T, version: '1'}
servers: [{url: http://b/t}]
x-wso2-endpoints: [{next: {urls: [http://c/t, http://d/t], type: load_balance}}]
x-microgw-mirror: {url: http://e, percent: 0.5}
paths:
  /plain: {get: {}}
  /own: {get: {x-microgw-mirror: [{endpoint: '#/x-wso2-endpoints/next'}, {url: http://e, percent: 33.33}]}}
  /none: {get: {x-microgw-mirror: []}}
  /events: {get: {x-microgw-stream: true}}
  /mocked: {get: {x-microgw-mock: true, responses: {'204': {}}}}
";
    let model = model(text);
    let shares = |path: &str| of(&model, path).mirrors.iter().map(|mirror| mirror.share).collect::<Vec<_>>();
    let paths = ["/plain", "/own", "/none", "/events", "/mocked"].map(shares);
    assert_eq!(paths, [vec![50], vec![10_000, 3_333], vec![], vec![], vec![]]);
    // One endpoint, whoever refers to it.
    assert_eq!(of(&model, "/plain").mirrors[0].endpoint, of(&model, "/own").mirrors[1].endpoint);
}
