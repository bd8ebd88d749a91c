use super::*;

fn shape(text: &str) -> Result<Shape, ShapeError> {
    Shape::of(&wat::parse_str(text).unwrap())
}

const FUNCTION: &str = r#"
    (core module $m (func (export "f")))
    (core instance $i (instantiate $m))
    (func $f (canon lift (core func $i "f")))"#;

#[test]
fn imports_and_exports_tell_what_a_component_takes() {
    let both = shape(&format!(
        r#"(component
            (import "micro-gw:interceptor/body@0.1.0" (instance))
            {FUNCTION}
            (export "on-request" (func $f)) (export "on-response" (func $f)))"#
    ));
    assert_eq!(both, Ok(Shape { requests: true, responses: true, bodies: true }));
    let heads = shape(&format!(
        r#"(component
            (import "micro-gw:interceptor/headers@0.1.0" (instance))
            {FUNCTION}
            (export "on-response" (func $f)))"#
    ));
    assert_eq!(heads, Ok(Shape { requests: false, responses: true, bodies: false }));
}

#[test]
fn what_is_inside_is_nobodys_business() {
    let inner = r#"(component $inner
        (import "micro-gw:interceptor/body@0.1.0" (instance))
        (core module $m (func (export "f"))) (core instance $i (instantiate $m)) (func $f (canon lift (core func $i "f")))
        (export "on-request" (func $f)))"#;
    let outer = shape(&format!(r#"(component {inner} {FUNCTION} (export "on-response" (func $f)))"#));
    assert_eq!(outer, Ok(Shape { requests: false, responses: true, bodies: false }));
}

#[test]
fn what_is_no_interceptor_is_refused() {
    assert_eq!(Shape::of(b"text"), Err(ShapeError::NoWasm));
    assert_eq!(shape("(module)"), Err(ShapeError::Module));
    assert_eq!(shape("(component)"), Err(ShapeError::NoExport));
    assert_eq!(shape(r#"(component (type $t u8) (export "on-request" (type $t)))"#), Err(ShapeError::NoExport));
    let whole = wat::parse_str(format!(r#"(component {FUNCTION} (export "on-request" (func $f)))"#)).unwrap();
    // Names at the end may be missing.
    let told = (0..whole.len()).filter_map(|length| Shape::of(&whole[..length]).ok());
    assert!(told.into_iter().all(|shape| shape == Shape { requests: true, ..Shape::default() }));
}
