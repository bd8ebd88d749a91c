//! `x-wso2-response-cache`: what is kept, and what is an error.

use microgw_compiler::compile::{Options, compile};
use microgw_compiler::diagnostic::Code;
use microgw_compiler::files::MemoryFiles;

/// Seconds that responses of each operation are kept, in their order; and the codes of what is said.
fn built(paths: &str) -> (Vec<u32>, Vec<Code>) {
    let head = "openapi: 3.0.0\ninfo: {title: T, version: '1'}\nservers: [{url: http://b/t}]\n\
                x-wso2-response-cache: {enabled: true, cacheTimeoutInSeconds: 60}\n";
    let files = MemoryFiles::new().with("api_definitions/t.yaml", format!("{head}paths:\n{paths}"));
    let options = Options { allow_unenforced: true };
    let compilation = compile(&files, "shop", &options);
    let codes = compilation.diagnostics.iter().map(|diagnostic| diagnostic.code);
    let codes = codes.filter(|code| matches!(code, Code::ResponseCache | Code::SecuredCache)).collect();
    let model = compilation.model.unwrap();
    (model.apis[0].operations.iter().map(|operation| operation.bodies.kept_seconds).collect(), codes)
}

#[test]
fn responses_of_public_gets_are_kept() {
    let public = "x-wso2-disable-security: true";
    let paths = format!("  /a: {{get: {{{public}}}, post: {{{public}}}}}\n  /b: {{get: {{}}}}\n");
    let (mut seconds, codes) = built(&paths);
    seconds.sort_unstable();
    assert_eq!((seconds, codes), (vec![0, 0, 60], vec![Code::SecuredCache]));
    assert_eq!(built(&format!("  /a: {{post: {{{public}}}}}\n")).1, [Code::ResponseCache]);
    // What is edited before anybody looks cannot be gone by.
    for edit in ["remove: [Cache-Control]", "set: {Expires: '0'}", "add: {Set-Cookie: [a=b]}"] {
        let paths = format!("  /a: {{get: {{{public}, x-microgw-headers: {{response: {{{edit}}}}}}}}}\n");
        let (seconds, codes) = built(&paths);
        assert_eq!((seconds, codes), (vec![0], vec![Code::ResponseCache]), "{edit}");
    }
}
