//! What schemas call themselves and each other: `$id`, `$anchor`, `$dynamicAnchor`.
//!
//! Who reads documents says where these stand, and asks where references lead. A `$dynamicRef` leads to whichever of several schemas was
//! entered first on the way to it. All ways are known when schemas are compiled, so a schema is compiled once for each
//! [`Scope`] that it is met in, and nothing is left to be found out while messages are checked.

use std::collections::HashMap;
use std::hash::Hash;

use fluent_uri::pct_enc::{EString, encoder};
use fluent_uri::{Uri, UriRef};

/// Scopes of the schemas of one API, and names of which they know what they mean.
const MAX_SCOPES: usize = 500;
const MAX_DYNAMIC: usize = 100;

/// Documents, and the schemas in them that have a URI of their own. `P`: where a schema is.
#[derive(Debug)]
pub struct Resources<P> {
    list: Vec<Resource<P>>,
    /// `None`: several have it.
    by_uri: HashMap<String, Option<ResourceId>>,
    names: Vec<String>,
}

/// What a reference names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// A resource, and the rest of the reference: a pointer, an anchor, or nothing.
    One(ResourceId, String),
    /// Several have that URI.
    Several,
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ResourceId(u32);

/// What several `$dynamicAnchor`s are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DynamicName(u32);

#[derive(Debug)]
struct Resource<P> {
    root: P,
    base: Uri<String>,
    anchors: HashMap<String, (P, Option<DynamicName>)>,
    dynamic: Vec<(DynamicName, P)>,
}

/// What each dynamic name means, to a schema that was come to in one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(u32);

/// The scopes that were met; the first knows no name.
#[derive(Debug)]
pub struct Scopes<P> {
    list: Vec<Vec<(DynamicName, P)>>,
    known: HashMap<Vec<(DynamicName, P)>, Scope>,
}

/// Why a name cannot be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    #[error("it is no reference to a URI")]
    NotUri,
    #[error("it must have no fragment")]
    Fragment,
    #[error("another schema has it already")]
    Taken,
    #[error("there are more than {MAX_DYNAMIC} dynamic names")]
    TooMany,
    #[error("an anchor begins with a letter or `_`, and has letters, digits, `-`, `_` and `.`")]
    BadAnchor,
}

// === impl Resources ===

impl<P> Default for Resources<P> {
    fn default() -> Resources<P> {
        Resources { list: Vec::new(), by_uri: HashMap::new(), names: Vec::new() }
    }
}

impl<P: Copy> Resources<P> {
    /// A document, by its path in the project; its root calls itself `id`.
    pub fn document(&mut self, path: &str, root: P, id: Option<&str>) -> (ResourceId, Result<(), BadName>) {
        let mut uri = EString::<encoder::Path>::new();
        for segment in path.split('/') {
            uri.push('/');
            uri.encode_str::<encoder::RegName>(segment);
        }
        let uri = format!("project://{}", uri.as_str());
        let resource = self.push(root, Uri::parse(uri).unwrap_or_else(|_| nowhere()));
        let named = id.map_or(Ok(()), |id| {
            let own = self.uri(resource, id)?;
            let known = self.by_uri.entry(own.as_str().to_owned()).or_insert(Some(resource));
            *known = known.filter(|known| *known == resource);
            if let Some(known) = self.list.get_mut(resource.0 as usize) {
                known.base = own;
            }
            Ok(())
        });
        (resource, named)
    }

    /// A schema within `parent` that calls itself `id`.
    ///
    /// # Errors
    /// When it cannot, and then there is no such resource.
    pub fn add(&mut self, parent: ResourceId, id: &str, root: P) -> Result<ResourceId, BadName> {
        let uri = self.uri(parent, id)?;
        Ok(self.push(root, uri))
    }

    /// Whether another has the URI of a resource.
    pub fn is_shared(&self, resource: ResourceId) -> bool {
        let uri = self.list.get(resource.0 as usize).map(|resource| resource.base.as_str());
        uri.and_then(|uri| self.by_uri.get(uri)).is_some_and(Option::is_none)
    }

    /// `$anchor` or `$dynamicAnchor` of a schema in `resource`.
    pub fn anchor(&mut self, resource: ResourceId, name: &str, at: P, is_dynamic: bool) -> Result<(), BadName> {
        let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if !starts_well || !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
            return Err(BadName::BadAnchor);
        }
        let dynamic = if is_dynamic { Some(self.name(name).ok_or(BadName::TooMany)?) } else { None };
        let Some(resource) = self.list.get_mut(resource.0 as usize) else { return Ok(()) };
        if resource.anchors.contains_key(name) {
            return Err(BadName::Taken);
        }
        resource.anchors.insert(name.to_owned(), (at, dynamic));
        resource.dynamic.extend(dynamic.map(|name| (name, at)));
        Ok(())
    }

    /// What a reference within `from` names.
    pub fn find(&self, from: ResourceId, reference: &str) -> Named {
        let (uri, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let Some(fragment) = percent_decoded(fragment) else { return Named::Nothing };
        if uri.is_empty() {
            return Named::One(from, fragment);
        }
        match self.resolve(from, uri).map(|uri| self.by_uri.get(uri.as_str()).copied()) {
            Ok(Some(Some(found))) => Named::One(found, fragment),
            Ok(Some(None)) => Named::Several,
            Ok(None) | Err(_) => Named::Nothing,
        }
    }

    /// The path in the project that a reference within `from` names, whatever is there. `None`: it leads elsewhere.
    pub fn path(&self, from: ResourceId, reference: &str) -> Option<String> {
        let uri = self.resolve(from, reference.split('#').next().unwrap_or_default()).ok()?;
        percent_decoded(uri.as_str().strip_prefix("project:///")?)
    }

    /// Whether there are names that mean now one schema and now another.
    pub fn is_dynamic(&self) -> bool {
        !self.names.is_empty()
    }

    pub fn root(&self, of: ResourceId) -> Option<P> {
        self.list.get(of.0 as usize).map(|resource| resource.root)
    }

    /// What an anchor leads to, and whether a `$dynamicRef` to it leads to whoever has its name first.
    pub fn anchored(&self, of: ResourceId, anchor: &str) -> Option<(P, Option<DynamicName>)> {
        self.list.get(of.0 as usize)?.anchors.get(anchor).copied()
    }

    fn push(&mut self, root: P, base: Uri<String>) -> ResourceId {
        let id = ResourceId(u32::try_from(self.list.len()).unwrap_or(u32::MAX));
        self.by_uri.entry(base.as_str().to_owned()).and_modify(|known| *known = None).or_insert(Some(id));
        self.list.push(Resource { root, base, anchors: HashMap::new(), dynamic: Vec::new() });
        id
    }

    /// What `id` is within `parent`.
    fn uri(&self, parent: ResourceId, id: &str) -> Result<Uri<String>, BadName> {
        // The empty fragment of older drafts says nothing.
        let id = id.strip_suffix('#').unwrap_or(id);
        if id.contains('#') {
            return Err(BadName::Fragment);
        }
        self.resolve(parent, id)
    }

    fn resolve(&self, from: ResourceId, reference: &str) -> Result<Uri<String>, BadName> {
        let base = self.list.get(from.0 as usize).map(|resource| &resource.base).ok_or(BadName::NotUri)?;
        let reference = UriRef::parse(reference).map_err(|_| BadName::NotUri)?;
        reference.resolve_against(base).map(|uri| uri.normalize()).map_err(|_| BadName::NotUri)
    }

    fn name(&mut self, name: &str) -> Option<DynamicName> {
        let known = self.names.iter().position(|known| known == name);
        if known.is_none() && self.names.len() < MAX_DYNAMIC {
            self.names.push(name.to_owned());
        }
        let at = known.or_else(|| self.names.iter().position(|known| known == name))?;
        Some(DynamicName(u32::try_from(at).ok()?))
    }
}

/// Also of what URIs may not have in them, as references are written by people. `None`: it is not UTF-8.
pub fn percent_decoded(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let (digits, tail) = rest.split_at_checked(2)?;
        let digits =
            std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}

fn nowhere() -> Uri<String> {
    Uri::from(Uri::<&str>::default())
}

// === impl Scopes ===

impl<P> Default for Scopes<P> {
    fn default() -> Scopes<P> {
        Scopes { list: vec![Vec::new()], known: HashMap::new() }
    }
}

impl<P: Copy + Eq + Hash> Scopes<P> {
    /// `scope`, and then `resource`: what already has a meaning keeps it. `None`: there are too many.
    pub fn enter(&mut self, resources: &Resources<P>, scope: Scope, resource: ResourceId) -> Option<Scope> {
        let dynamic = resources.list.get(resource.0 as usize).map(|resource| resource.dynamic.as_slice());
        let known = self.list.get(scope.0 as usize)?;
        let is_new = |name: &DynamicName| !known.iter().any(|(known, _)| known == name);
        let new: Vec<_> = dynamic.unwrap_or_default().iter().filter(|(name, _)| is_new(name)).copied().collect();
        if new.is_empty() {
            return Some(scope);
        }
        let mut names = [known.as_slice(), &new].concat();
        names.sort_by_key(|(name, _)| *name);
        if let Some(scope) = self.known.get(&names) {
            return Some(*scope);
        }
        if self.list.len() >= MAX_SCOPES {
            return None;
        }
        let scope = Scope(u32::try_from(self.list.len()).ok()?);
        self.list.push(names.clone());
        self.known.insert(names, scope);
        Some(scope)
    }

    /// The schema of that name that was entered first.
    pub fn outermost(&self, scope: Scope, name: DynamicName) -> Option<P> {
        let names = self.list.get(scope.0 as usize)?;
        names.iter().find(|(known, _)| *known == name).map(|(_, at)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_are_those_of_the_nearest_name() {
        let mut resources = Resources::default();
        let (document, named) = resources.document("apis/a b.yaml", 0, None);
        assert_eq!(named, Ok(()));
        let outer = resources.add(document, "https://example.com/schemas/outer", 1).unwrap();
        let inner = resources.add(outer, "inner", 2).unwrap();
        let urn = resources.add(inner, "urn:example:x", 3).unwrap();
        resources.anchor(inner, "here", 4, false).unwrap();
        for (from, reference, to, rest) in [
            (outer, "inner#here", inner, "here"),
            (inner, "./x/../inner", inner, ""),
            (document, "HTTPS://example.com/schemas/inner#/a%20b", inner, "/a b"),
            (urn, "#/x", urn, "/x"),
            (document, "a%20b.yaml", document, ""),
        ] {
            assert_eq!(resources.find(from, reference), Named::One(to, rest.to_owned()), "{reference}");
        }
        for (from, reference) in [(document, "inner"), (urn, "inner"), (outer, "inner#%zz")] {
            assert_eq!(resources.find(from, reference), Named::Nothing, "{reference}");
        }
        assert_eq!(resources.path(document, "../other/c%20d.yaml#/x"), Some("other/c d.yaml".to_owned()));
        assert_eq!(resources.path(outer, "other.yaml"), None);
        assert_eq!(resources.anchored(inner, "here"), Some((4, None)));
    }

    #[test]
    fn names_are_names_and_those_of_several_are_nobodys() {
        let mut resources = Resources::default();
        let (first, _) = resources.document("a.yaml", 0, Some("https://example.com/a"));
        assert_eq!(resources.find(first, "a.yaml"), Named::Nothing);
        assert_eq!(resources.find(first, "project:///a.yaml"), Named::One(first, String::new()));
        assert_eq!(resources.find(first, "a"), Named::One(first, String::new()));
        for (id, problem) in [("a#b", BadName::Fragment), ("a b", BadName::NotUri)] {
            assert_eq!(resources.add(first, id, 1), Err(problem), "{id}");
        }
        let (second, _) = resources.document("b.yaml", 2, Some("https://example.com/a#"));
        assert_eq!(
            (resources.find(first, "a"), resources.find(first, "#")),
            (Named::Several, Named::One(first, String::new()))
        );
        assert!(resources.is_shared(second) && resources.is_shared(first));
        let third = resources.add(second, "c", 3).unwrap();
        assert!(!resources.is_shared(third));
        assert!(resources.add(second, "./c", 4).is_ok_and(|fourth| resources.is_shared(fourth)));
        assert_eq!(resources.anchor(first, "x", 1, true), Ok(()));
        for (anchor, problem) in [("x", BadName::Taken), ("1", BadName::BadAnchor), ("", BadName::BadAnchor)] {
            assert_eq!(resources.anchor(first, anchor, 1, false), Err(problem), "{anchor}");
        }
    }

    #[test]
    fn who_came_first_has_the_name() {
        let mut resources = Resources::default();
        let (a, _) = resources.document("a.yaml", 0, None);
        let (b, _) = resources.document("b.yaml", 10, None);
        resources.anchor(a, "x", 1, true).unwrap();
        resources.anchor(b, "x", 11, true).unwrap();
        resources.anchor(b, "y", 12, true).unwrap();
        let mut scopes = Scopes::default();
        let of_a = scopes.enter(&resources, Scope::default(), a).unwrap();
        let of_both = scopes.enter(&resources, of_a, b).unwrap();
        let of_b = scopes.enter(&resources, Scope::default(), b).unwrap();
        let (Some((_, Some(x))), Some((_, Some(y)))) = (resources.anchored(b, "x"), resources.anchored(b, "y")) else {
            panic!()
        };
        assert_eq!((scopes.outermost(of_both, x), scopes.outermost(of_both, y)), (Some(1), Some(12)));
        assert_eq!((scopes.outermost(of_b, x), scopes.outermost(of_a, y)), (Some(11), None));
        assert_eq!(scopes.enter(&resources, of_both, a), Some(of_both));
    }
}
