use proptest::prelude::*;
use regex::Regex;

use super::*;

/// What Envoy does with the tree: the longest prefix, then the first group whose expression matches, then the first
/// template of the list.
fn find<'t>(tree: &'t Tree, templates: &[PathTemplate], path: &str) -> Option<usize> {
    let branch =
        tree.prefixes.iter().filter(|(prefix, _)| path.starts_with(prefix.as_str())).max_by_key(|(p, _)| p.len());
    let mut branch: &'t Branch = branch?.1;
    loop {
        match branch {
            Branch::List(list) => {
                let bare = path.split('?').next().unwrap();
                return list.iter().copied().find(|template| templates[*template].matches(bare));
            }
            Branch::Groups(groups) => {
                let full = |regex: &str| Regex::new(&format!("^(?:{regex})$")).unwrap();
                branch = groups
                    .groups
                    .iter()
                    .find(|(regex, _)| full(regex).is_match(path))
                    .map_or(&*groups.otherwise, |(_, branch)| branch);
            }
        }
    }
}

/// The definition of what should be found: of the area with the longest base path, the matching template that comes first.
fn expected(areas: &[(String, Vec<usize>)], templates: &[PathTemplate], path: &str) -> Option<usize> {
    let bare = path.split('?').next().unwrap();
    let area =
        areas.iter().filter(|(base, _)| path.starts_with(&format!("{base}/"))).max_by_key(|(base, _)| base.len());
    let mut matching: Vec<usize> = area?.1.iter().copied().filter(|t| templates[*t].matches(bare)).collect();
    matching.sort_by(|a, b| templates[*a].precedence(&templates[*b]));
    matching.first().copied()
}

fn build(areas: &[(String, Vec<usize>)], templates: &[PathTemplate]) -> Tree {
    let weights = vec![2; templates.len()];
    let templates: Vec<&PathTemplate> = templates.iter().collect();
    let bases = areas.iter().map(|(base, _)| base.as_str());
    let mut builder = Builder::new(&templates, &weights, templates.len(), bases);
    for (base, list) in areas {
        builder.area(base, list.clone());
    }
    builder.finish()
}

fn parse(paths: impl IntoIterator<Item = String>) -> Vec<PathTemplate> {
    paths.into_iter().map(|path| PathTemplate::parse(&path).unwrap()).collect()
}

/// Entries of all lists, and the most that one request may have to try: list entries plus expressions.
fn size(tree: &Tree) -> (usize, usize) {
    fn walk(branch: &Branch, tried: usize, total: &mut usize, worst: &mut usize) {
        match branch {
            Branch::List(list) => {
                *total += list.len();
                *worst = (*worst).max(tried + list.len());
            }
            Branch::Groups(groups) => {
                let count = groups.groups.len();
                for (at, (_, branch)) in groups.groups.iter().enumerate() {
                    walk(branch, tried + at + 1, total, worst);
                }
                walk(&groups.otherwise, tried + count, total, worst);
            }
        }
    }
    let (mut total, mut worst) = (0, 0);
    for branch in tree.prefixes.values() {
        walk(branch, 0, &mut total, &mut worst);
    }
    (total, worst)
}

fn one_area(templates: &[PathTemplate]) -> Vec<(String, Vec<usize>)> {
    vec![(String::new(), (0..templates.len()).collect())]
}

#[test]
fn ten_thousand_operations_of_every_shape_stay_short_and_small() {
    let words = ["issues", "pulls", "labels", "commits", "branches", "hooks", "keys", "tags", "teams", "forks"];
    let shapes: [(&str, Vec<String>); 5] = [
        ("concrete prefixes", (0..10_000).map(|i| format!("/service{}/resource{}/list", i / 10, i % 10)).collect()),
        ("flat", (0..10_000).map(|i| format!("/operation{i}")).collect()),
        (
            "repositories",
            (0..10_000).map(|i| format!("/repos/{{owner}}/{{repo}}/{}{i}/{{id}}", words[i % 10])).collect(),
        ),
        ("tenants", (0..10_000).map(|i| format!("/{{tenant}}/{}{i}", words[i % 10])).collect()),
        (
            "tenants and concrete",
            (0..5_000).map(|i| format!("/{{tenant}}/a{i}")).chain((0..5_000).map(|i| format!("/top{i}/b"))).collect(),
        ),
    ];
    for (name, paths) in shapes {
        let templates = parse(paths);
        let tree = build(&one_area(&templates), &templates);
        let (total, worst) = size(&tree);
        assert!(total * 2 <= 3 * templates.len(), "{name}: {total} entries");
        assert!(worst <= 24, "{name}: {worst} tried");
        for (index, template) in templates.iter().enumerate().step_by(97) {
            let path = template.as_str().replace("{tenant}", "acme").replace(['{', '}'], "");
            assert_eq!(find(&tree, &templates, &path), Some(index), "{name}: {path}");
        }
    }
}

#[test]
fn a_nested_area_owns_what_is_below_it() {
    let templates = parse(["/{a}/{b}", "/shop/cart", "/shop/{id}/x"].map(str::to_owned));
    let areas = vec![(String::new(), vec![0]), ("/shop".to_owned(), vec![1, 2])];
    let tree = build(&areas, &templates);
    assert_eq!(find(&tree, &templates, "/shop/cart"), Some(1));
    assert_eq!(find(&tree, &templates, "/shop/other"), None);
    assert_eq!(find(&tree, &templates, "/shopping/cart"), Some(0));
}

#[test]
fn a_literal_that_starts_another_does_not_hide_it() {
    let mut paths: Vec<String> = (0..40).map(|i| format!("/v/op{i}")).collect();
    paths.extend(["/v/{id}", "/v/{id}/sub", "/v/op1/{x}/y", "/v/"].map(str::to_owned));
    let templates = parse(paths);
    let areas = one_area(&templates);
    let tree = build(&areas, &templates);
    for path in
        ["/v/op1", "/v/op1?q=/v/op2", "/v/op12", "/v/op1x", "/v/op1x/sub", "/v/op1/sub", "/v/op1/a/y", "/v/", "/v"]
    {
        assert_eq!(find(&tree, &templates, path), expected(&areas, &templates, path), "{path}");
    }
}

fn segment() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-c]{1,2}",
        2 => Just("{p}".to_owned()),
        1 => "[ab]\\{q\\}",
        1 => "\\{q\\}\\.[ab]",
    ]
}

fn template() -> impl Strategy<Value = String> {
    (prop::collection::vec(segment(), 1..5), prop_oneof![6 => Just(""), 1 => Just("/"), 1 => Just("/*")])
        .prop_map(|(segments, end)| format!("/{}{end}", segments.join("/")))
}

fn request() -> impl Strategy<Value = String> {
    (prop::collection::vec("[a-c.]{1,3}", 1..6), prop_oneof![Just(""), Just("/"), Just("?a=/b/c"), Just("/?x")])
        .prop_map(|(segments, end)| format!("/{}{end}", segments.join("/")))
}

#[test]
fn templates_that_may_overlap() {
    for (a, b, may) in [
        ("/a/{x}", "/a/b", true),
        ("/a/{x}", "/b/{x}", false),
        ("/{x}/a", "/b/{y}", true),
        ("/{x}/a", "/{y}/b", false),
        ("/a", "/a/{x}", false),
        ("/a/*", "/a/{x}/b", true),
        ("/a/*", "/a/", true),
        ("/a/*", "/a", true),
        ("/a/*", "/b/*", false),
        ("/v{x}", "/w", false),
        ("/v{x}", "/v1", true),
    ] {
        let [a, b] = [a, b].map(|path| PathTemplate::parse(path).unwrap());
        assert_eq!((a.may_overlap(&b), b.may_overlap(&a)), (may, may), "{a} {b}");
    }
}

proptest! {
    // A case compiles hundreds of expressions.
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, ..ProptestConfig::default() })]

    #[test]
    fn the_tree_finds_what_a_search_of_all_templates_finds(
        paths in prop::collection::vec(template(), 1..80),
        nested in prop::collection::vec(template(), 0..12),
        requests in prop::collection::vec(request(), 12),
    ) {
        let mut templates = parse(paths);
        let own = templates.len();
        templates.extend(parse(nested.into_iter().map(|path| format!("/a{path}"))));
        let mut areas = vec![(String::new(), (0..own).collect::<Vec<_>>())];
        if own < templates.len() {
            areas.push(("/a".to_owned(), (own..templates.len()).collect()));
        }
        let tree = build(&areas, &templates);
        for path in requests.iter().filter(|path| !path.contains('?')) {
            let matching: Vec<&PathTemplate> = templates.iter().filter(|template| template.matches(path)).collect();
            for pair in matching.windows(2) {
                prop_assert!(pair[0].may_overlap(pair[1]), "{} {} {}", path, pair[0], pair[1]);
            }
        }
        for path in &requests {
            let found = find(&tree, &templates, path).map(|index| templates[index].shape());
            let wanted = expected(&areas, &templates, path).map(|index| templates[index].shape());
            prop_assert_eq!(found, wanted, "{}", path);
        }
    }
}
