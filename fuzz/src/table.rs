//! The route table as Envoy reads it: decoded from the very bytes that are offered.

use std::collections::HashMap;

use envoy_types::pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::route_action::ClusterSpecifier;
use envoy_types::pb::envoy::config::route::v3::route_match::PathSpecifier;
use envoy_types::pb::envoy::config::route::v3::{self as pb, RouteConfiguration, RouteList};
use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3::ExtAuthzPerRoute;
use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3::ext_authz_per_route::Override;
use envoy_types::pb::envoy::extensions::filters::http::ext_proc::v3::{ExtProcPerRoute, ext_proc_per_route};
use envoy_types::pb::envoy::r#type::matcher::v3::HttpRequestHeaderMatchInput;
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::xds::r#type::matcher::v3::Matcher;
use envoy_types::pb::xds::r#type::matcher::v3::matcher::MatcherType;
use envoy_types::pb::xds::r#type::matcher::v3::matcher::OnMatch;
use envoy_types::pb::xds::r#type::matcher::v3::matcher::matcher_list::FieldMatcher;
use envoy_types::pb::xds::r#type::matcher::v3::matcher::matcher_list::predicate::{
    MatchType, SinglePredicate, single_predicate,
};
use envoy_types::pb::xds::r#type::matcher::v3::matcher::matcher_tree::TreeType;
use envoy_types::pb::xds::r#type::matcher::v3::matcher::on_match::OnMatch as Then;
use envoy_types::pb::xds::r#type::matcher::v3::string_matcher;
use microgw_compiler::assemble::names::{EXT_AUTHZ, EXT_PROC, ISSUER_CLUSTER, RULE_METADATA};
use microgw_compiler::snapshot::{ResourceType, Snapshot};
use prost::{Message as _, Name as _};
use regex::Regex;

pub struct Table {
    /// What every request must pass.
    screen: Vec<Screen>,
    /// By literal prefix of `:path`.
    tree: Vec<(String, Node)>,
}

/// Stops what its expression matches, or, negated, what it does not.
struct Screen {
    header: String,
    regex: Regex,
    negated: bool,
    then: Node,
}

enum Node {
    Routes(Vec<Route>),
    /// The first expression that matches the whole `:path` decides.
    Groups(Vec<(Regex, Node)>, Box<Node>),
}

pub struct Route {
    route: pb::Route,
    /// `None`: matches a literal path.
    regex: Option<Regex>,
}

/// What a request is matched by.
pub struct Head<'a> {
    pub method: &'a str,
    /// With the query.
    pub path: &'a str,
    /// Which listener it came in on: `http` or `https`.
    pub listener: &'a str,
}

// === impl Table ===

impl Table {
    pub fn of(snapshot: &Snapshot) -> Table {
        let resource = snapshot.resources[&ResourceType::Route].values().next().expect("there is one route table");
        let table = RouteConfiguration::decode(&*resource.body).expect("the table is no RouteConfiguration");
        // Of hosts that no API names.
        let host = table.virtual_hosts.first().expect("there is a virtual host");
        assert_eq!(host.domains, ["*"]);
        let Some(Matcher { matcher_type: Some(MatcherType::MatcherList(screen)), on_no_match: Some(rest) }) =
            &host.matcher
        else {
            panic!("the table has no screen")
        };
        let Some(Then::Matcher(tree)) = &rest.on_match else { panic!("nothing behind the screen") };
        let Matcher { matcher_type: Some(MatcherType::MatcherTree(tree)), on_no_match: None } = &**tree else {
            panic!("the table has no tree")
        };
        let Some(TreeType::PrefixMatchMap(map)) = &tree.tree_type else { panic!("the tree has no prefixes") };
        let tree = map.map.iter().map(|(prefix, then)| (prefix.clone(), Node::of(then))).collect();
        Table { screen: screen.matchers.iter().map(Screen::of).collect(), tree }
    }

    /// The route of a request, as Envoy finds it: the longest prefix, then down its branch. It never goes back.
    pub fn find(&self, head: &Head<'_>) -> Option<&Route> {
        if let Some(screen) = self.screen.iter().find(|screen| screen.stops(head)) {
            return screen.then.routes().into_iter().find(|route| route.matches(head));
        }
        let longest = self.tree.iter().filter(|(prefix, _)| head.path.starts_with(prefix.as_str()));
        let mut node = &longest.max_by_key(|(prefix, _)| prefix.len())?.1;
        loop {
            match node {
                Node::Routes(routes) => return routes.iter().find(|route| route.matches(head)),
                Node::Groups(groups, otherwise) => {
                    let group = groups.iter().find(|(regex, _)| regex.is_match(head.path));
                    node = group.map_or(otherwise, |(_, node)| node);
                }
            }
        }
    }

    /// All of them, some more than once.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.tree.iter().flat_map(|(_, node)| node.routes())
    }
}

// === impl Screen ===

impl Screen {
    fn of(matcher: &FieldMatcher) -> Screen {
        let condition = matcher.predicate.as_ref().and_then(|predicate| predicate.match_type.as_ref());
        let (condition, negated) = match condition {
            Some(MatchType::NotMatcher(condition)) => (condition.match_type.as_ref(), true),
            condition => (condition, false),
        };
        let Some(MatchType::SinglePredicate(single)) = condition else { panic!("another predicate") };
        let input = single.input.as_ref().and_then(|input| input.typed_config.as_ref()).expect("it looks at nothing");
        let input = HttpRequestHeaderMatchInput::decode(input.value.as_slice()).expect("it looks at no header");
        let then = Node::of(matcher.on_match.as_ref().expect("it leads nowhere"));
        Screen { header: input.header_name, regex: full(pattern(single)), negated, then }
    }

    fn stops(&self, head: &Head<'_>) -> bool {
        let value = if self.header == ":path" { head.path } else { "gateway" };
        self.regex.is_match(value) != self.negated
    }
}

fn pattern(single: &SinglePredicate) -> &str {
    let Some(single_predicate::Matcher::ValueMatch(value)) = &single.matcher else { panic!("another matcher") };
    let Some(string_matcher::MatchPattern::SafeRegex(regex)) = &value.match_pattern else { panic!("another pattern") };
    &regex.regex
}

// === impl Node ===

impl Node {
    fn of(then: &OnMatch) -> Node {
        match then.on_match.as_ref().expect("a branch leads nowhere") {
            Then::Action(action) => {
                let action = action.typed_config.as_ref().expect("an action without content");
                assert_eq!(action.type_url, RouteList::type_url());
                let list = RouteList::decode(action.value.as_slice()).expect("the leaf is no list of routes");
                Node::Routes(list.routes.into_iter().map(Route::of).collect())
            }
            Then::Matcher(matcher) => {
                let Some(MatcherType::MatcherList(list)) = &matcher.matcher_type else { panic!("a tree in a tree") };
                let groups = list.matchers.iter().map(|matcher| {
                    let predicate = matcher.predicate.as_ref().and_then(|predicate| predicate.match_type.as_ref());
                    let Some(MatchType::SinglePredicate(single)) = predicate else { panic!("another predicate") };
                    (full(pattern(single)), Node::of(matcher.on_match.as_ref().expect("a group leads nowhere")))
                });
                // Without it Envoy would go on with a shorter prefix, which may be another API's.
                let otherwise = matcher.on_no_match.as_ref().expect("a group has no other way");
                Node::Groups(groups.collect(), Box::new(Node::of(otherwise)))
            }
        }
    }

    fn routes(&self) -> Vec<&Route> {
        match self {
            Node::Routes(routes) => routes.iter().collect(),
            Node::Groups(groups, otherwise) => {
                groups.iter().flat_map(|(_, node)| node.routes()).chain(otherwise.routes()).collect()
            }
        }
    }
}

// === impl Route ===

impl Route {
    fn of(route: pb::Route) -> Route {
        let regex = match &route.r#match.as_ref().expect("a route matches nothing").path_specifier {
            Some(PathSpecifier::SafeRegex(regex)) => Some(full(&regex.regex)),
            _ => None,
        };
        Route { route, regex }
    }

    fn matches(&self, head: &Head<'_>) -> bool {
        let bare = head.path.split('?').next().unwrap_or_default();
        let matching = self.route.r#match.as_ref().expect("checked when it was read");
        let path = match (&matching.path_specifier, &self.regex) {
            (_, Some(regex)) => regex.is_match(bare),
            (Some(PathSpecifier::Path(path)), None) => path == bare,
            (Some(PathSpecifier::Prefix(prefix)), None) => prefix == "/",
            other => panic!("another way to match a path: {other:?}"),
        };
        path && matching.headers.iter().all(|header| {
            let wanted = match &header.header_match_specifier {
                Some(HeaderMatchSpecifier::StringMatch(wanted)) => wanted,
                // Nobody asks for a canary.
                Some(HeaderMatchSpecifier::PresentMatch(true)) => return false,
                other => panic!("another way to match a header: {other:?}"),
            };
            let Some(MatchPattern::Exact(wanted)) = &wanted.match_pattern else { panic!("another pattern") };
            let value = match header.name.as_str() {
                ":method" => head.method,
                "x-microgw-listener" => head.listener,
                // Nobody has chosen the sandbox yet.
                _ => "",
            };
            value == wanted && !header.invert_match
        })
    }

    /// The rule whose id it carries. `None`: Envoy alone serves it.
    pub fn rule(&self) -> Option<String> {
        let configured: &HashMap<_, _> = &self.route.typed_per_filter_config;
        let any =
            configured.get(EXT_AUTHZ).expect("a route says nothing of ext_authz: it would be asked without a rule");
        if any.type_url == pb::FilterConfig::type_url() {
            let filter = pb::FilterConfig::decode(any.value.as_slice()).expect("no FilterConfig");
            assert!(filter.disabled, "a route turns the filter on without a rule");
            return configured.get(EXT_PROC).map(processed);
        }
        assert!(!configured.contains_key(EXT_PROC), "a route asks twice");
        assert_eq!(any.type_url, ExtAuthzPerRoute::type_url());
        match ExtAuthzPerRoute::decode(any.value.as_slice()).expect("no ExtAuthzPerRoute").r#override {
            Some(Override::CheckSettings(settings)) => {
                Some(settings.context_extensions.get("rule").expect("a guarded route without a rule").clone())
            }
            other => panic!("a guarded route is let by: {other:?}"),
        }
    }

    /// Of the operation: method and path.
    pub fn name(&self) -> &str {
        &self.route.name
    }

    /// To a backend: not the gateway's own.
    pub fn forwards(&self) -> bool {
        matches!(&self.route.action, Some(Action::Route(action))
            if !matches!(&action.cluster_specifier, Some(ClusterSpecifier::Cluster(name)) if *name == ISSUER_CLUSTER))
    }

    /// The status of an answer that Envoy makes itself, and its `Allow`.
    pub fn direct(&self) -> Option<(u32, Option<&str>)> {
        let Some(Action::DirectResponse(response)) = &self.route.action else { return None };
        let headers = self.route.response_headers_to_add.iter().filter_map(|option| option.header.as_ref());
        let allow = headers.clone().find(|header| header.key == "allow");
        Some((response.status, allow.map(|header| header.value.as_str())))
    }
}

fn full(regex: &str) -> Regex {
    Regex::new(&format!("^(?:{regex})$")).unwrap_or_else(|error| panic!("`{regex}`: {error}"))
}

/// The rule of a route that asks ext_proc.
fn processed(any: &envoy_types::pb::google::protobuf::Any) -> String {
    assert_eq!(any.type_url, pb::FilterConfig::type_url());
    let filter = pb::FilterConfig::decode(any.value.as_slice()).expect("no FilterConfig");
    assert!(!filter.disabled && !filter.is_optional, "nobody is asked");
    let own = ExtProcPerRoute::decode(filter.config.expect("no rule").value.as_slice()).expect("no ExtProcPerRoute");
    let Some(ext_proc_per_route::Override::Overrides(own)) = own.r#override else { panic!("nobody is asked") };
    assert!(own.failure_mode_allow.is_none(), "who is not answered passes");
    let rule = own.grpc_initial_metadata.into_iter().find(|header| header.key == RULE_METADATA);
    rule.expect("a guarded route without a rule").value
}
