//! Whether a component's exports are what they are called as.

use wasmtime::component::Type;
use wasmtime::component::types::ComponentFunc;

/// `func() -> verdict`.
pub(super) fn is_export(function: &ComponentFunc) -> bool {
    let mut results = function.results();
    let (verdict, more) = (results.next(), results.next());
    function.params().len() == 0 && more.is_none() && verdict.is_some_and(|verdict| is_verdict(&verdict))
}

fn is_verdict(verdict: &Type) -> bool {
    let Type::Variant(verdict) = verdict else { return false };
    let cases: Vec<_> = verdict.cases().collect();
    let [proceed, respond] = cases.as_slice() else { return false };
    (proceed.name, respond.name) == ("proceed", "respond")
        && proceed.ty.is_none()
        && respond.ty.as_ref().is_some_and(is_answer)
}

fn is_answer(answer: &Type) -> bool {
    let Type::Record(answer) = answer else { return false };
    let fields: Vec<_> = answer.fields().collect();
    let [status, headers, body] = fields.as_slice() else { return false };
    let list = |list: &Type, is_item: fn(&Type) -> bool| matches!(list, Type::List(list) if is_item(&list.ty()));
    let is_header = |header: &Type| match header {
        Type::Tuple(pair) => pair.types().len() == 2 && pair.types().all(|text| text == Type::String),
        _ => false,
    };
    (status.name, headers.name, body.name) == ("status", "headers", "body")
        && status.ty == Type::U16
        && list(&headers.ty, is_header)
        && list(&body.ty, |byte| *byte == Type::U8)
}
