//! APIs that are answered from what was live before.

use super::tests::{NOTES, SHOP, describe, lists, model, settings, snapshot};
use super::*;
use crate::snapshot::Fallback;

#[test]
fn an_api_in_fallback_has_its_old_content_or_none() {
    let (old, settings) = (model(&[&SHOP.replace("/items/{id}", "/things/{id}")]), settings());
    let new = model(&[SHOP, NOTES]);
    let in_fallback = |name: &str, fallback| Fallbacks::from([(ApiKey(name.into()), fallback)]);
    let assembled = |fallbacks: &Fallbacks| {
        let input = Input { model: &new, artifact: "b", settings: &settings, fallbacks, previous: Some((&old, "a")) };
        assemble(input)
    };
    let whole = assembled(&Fallbacks::new());
    let previous = assembled(&in_fallback("Shop:1.0", Fallback::Previous));
    let paths = |snapshot: &Snapshot, prefix: &str| {
        lists(snapshot).get(prefix).map(|routes| routes.iter().map(describe).collect::<Vec<_>>().join("\n"))
    };
    let shop = paths(&previous, "/shop/").unwrap();
    assert!(shop.contains("/shop/things/[^/;]+") && !shop.contains("/shop/items/[^/;]+"), "{shop}");
    assert_eq!(paths(&previous, "/notes/"), paths(&whole, "/notes/"));
    assert_ne!(previous.generation, whole.generation);
    assert_eq!(previous.resources[&ResourceType::Cluster], whole.resources[&ResourceType::Cluster]);

    let unavailable = assembled(&in_fallback("Notes:2", Fallback::Unavailable));
    let notes = paths(&unavailable, "/notes/").unwrap();
    assert!(notes.contains("-> 503") && !notes.contains("guarded"), "{notes}");
    assert!(unavailable.rules.apis.iter().all(|api| api.name != "Notes"));
    assert_eq!(paths(&unavailable, "/shop/"), paths(&whole, "/shop/"));
}

#[test]
fn an_api_in_fallback_does_not_come_back_where_another_has_moved_in() {
    let (old, settings) = (model(&[SHOP]), settings());
    let moved = SHOP.replace("\"/shop\"", "\"/store\"");
    let heir = NOTES.replace("\"/notes\"", "\"/shop\"");
    let new = model(&[&moved, &heir]);
    let fallbacks = Fallbacks::from([(ApiKey("Shop:1.0".into()), Fallback::Previous)]);
    let input =
        Input { model: &new, artifact: "b", settings: &settings, fallbacks: &fallbacks, previous: Some((&old, "a")) };
    let assembled = assemble(input);
    assert_eq!(lists(&assembled)["/shop/"], lists(&snapshot(&new, &settings))["/shop/"]);
    assert!(lists(&assembled)["/store/"].iter().map(describe).all(|route| route.contains("-> 503")));
    // It is kept as what was live last: there it must be whole.
    let kept = crate::artifact::encode(&substitute(&new, &fallbacks, Some(&old)));
    assert!(crate::artifact::decode(&kept).is_ok());
}
