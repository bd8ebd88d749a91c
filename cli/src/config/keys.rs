//! Every key of `micro-gw.conf`, in one table: what it takes, what applies without it, and whether it does anything.

mod later;
mod supported;

use std::borrow::Cow;

use microgw_compiler::settings::OverrideSubject;

/// One key, or several that differ in their last name alone. In a path `[]` stands for an entry of `[[..]]`, `*` for a
/// name of the user's choice, and `{a,b}` at the end for one of these.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    pub path: &'static str,
    pub kind: Kind,
    /// As it would be written on the command line; empty: none.
    pub default: &'static str,
    /// One line, for a page of reference.
    pub doc: &'static str,
    pub status: Status,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Bool,
    /// Both ends included.
    Integer(i64, i64),
    /// Only of keys without effect.
    Number,
    /// From 0 to 1.
    Ratio,
    Text,
    /// Never shown.
    Secret,
    /// A relative path is relative to the file that it stands in.
    Path,
    OneOf(&'static [&'static str]),
    /// A list, or one text.
    List,
    /// As [`Kind::List`]; the one text may have several values between commas.
    CommaList,
}

#[derive(Clone, Copy, Debug)]
pub enum Status {
    Supported,
    /// Not in this version.
    NotYet {
        danger: Danger,
        /// What to do instead; `{}` stands for the value.
        instead: &'static str,
    },
}

/// Whether ignoring a key would let more through, or trust more, than was asked for.
#[derive(Clone, Copy)]
pub enum Danger {
    Never,
    Always,
    /// For such values.
    When(fn(&str) -> bool),
}

/// `<id>` is what an endpoint is called; `sand` in the place of `prod` is for sandbox endpoints.
static ENDPOINTS: [Key; 4] = [
    Key::new("<id>_prod_endpoint_<n>", Kind::Text, "", "URL that takes the place of the endpoint's nth, from 0."),
    Key::new("<id>_prod_basic_username", Kind::Text, "", "User by which its backends know the gateway."),
    Key::new("<id>_prod_basic_password", Kind::Secret, "", "Their password."),
    Key::new(
        "<id>_prod_<n>_etcdKey",
        Kind::Text,
        "",
        "Key by which its nth URL is looked up in etcd; the URL is the default.",
    ),
];

// === impl Key ===

impl Key {
    const fn new(path: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
        Key { path, kind, default, doc, status: Status::Supported }
    }

    /// Known and without effect.
    const fn later(path: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
        let status = Status::NotYet { danger: Danger::Never, instead: "" };
        Key { path, kind, default, doc, status }
    }

    const fn danger(mut self, danger: Danger) -> Key {
        if let Status::NotYet { instead, .. } = self.status {
            self.status = Status::NotYet { danger, instead };
        }
        self
    }

    const fn instead(mut self, instead: &'static str) -> Key {
        if let Status::NotYet { danger, .. } = self.status {
            self.status = Status::NotYet { danger, instead };
        }
        self
    }

    /// The path, or each that it stands for.
    pub fn paths(&self) -> impl Iterator<Item = Cow<'static, str>> {
        let (before, names) = self.path.split_once('{').unwrap_or((self.path, ""));
        names.trim_end_matches('}').split(',').map(move |name| match name {
            "" => Cow::Borrowed(before),
            name => Cow::Owned(format!("{before}{name}")),
        })
    }

    /// Whether `pattern`, a path without indexes, is one of the key's.
    fn matches(&self, pattern: &str) -> bool {
        self.paths().any(|path| match path.split_once('*') {
            None => path == pattern,
            Some((before, after)) => pattern
                .strip_prefix(before)
                .and_then(|rest| rest.strip_suffix(after))
                .is_some_and(|name| !name.is_empty() && is_one_name(name)),
        })
    }

    /// Whether an environment variable can set it: entries of arrays have no names.
    pub fn in_environment(&self) -> bool {
        !self.path.contains("[]")
    }

    /// The path that the variable `name` sets, with dots or with underscores.
    pub fn of_variable(&self, name: &str) -> Option<String> {
        if !self.in_environment() {
            return None;
        }
        if self.matches(name) {
            return Some(name.to_owned());
        }
        self.paths().find_map(|path| match path.split_once('*') {
            None => (path.replace('.', "_") == name).then(|| path.into_owned()),
            Some((before, after)) => {
                let middle = name.strip_prefix(&before.replace('.', "_"))?.strip_suffix(&after.replace('.', "_"))?;
                (!middle.is_empty()).then(|| format!("{before}{}{after}", quoted(middle)))
            }
        })
    }
}

impl std::fmt::Debug for Danger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Danger::Never => "Never",
            Danger::Always => "Always",
            Danger::When(_) => "When(..)",
        })
    }
}

/// Supported keys first.
pub fn all() -> impl Iterator<Item = &'static Key> {
    supported::KEYS.iter().chain(later::KEYS)
}

/// The key at `path`, in which `[0]`, `[1]` and so on name entries of arrays.
pub fn find(path: &str) -> Option<&'static Key> {
    let pattern = without_indexes(path);
    all().find(|key| key.matches(&pattern)).or_else(|| of_endpoint(path))
}

pub fn of_endpoints() -> &'static [Key] {
    &ENDPOINTS
}

/// The key that is about an endpoint, whose name whoever writes definitions chooses.
pub fn of_endpoint(path: &str) -> Option<&'static Key> {
    let (_, _, subject) = OverrideSubject::of(path.trim_matches('"'))?;
    let [url, user, password, etcd] = &ENDPOINTS;
    Some(match subject {
        OverrideSubject::Url(_) => url,
        OverrideSubject::User => user,
        OverrideSubject::Password => password,
        OverrideSubject::EtcdKey(_) => etcd,
    })
}

/// The known path that is most like `path`, which is not known.
pub fn suggest(path: &str) -> Option<String> {
    let pattern = without_indexes(path).to_lowercase();
    let score = |known: &str| {
        let known = known.to_lowercase();
        // A known name in the wrong section is likely to be meant.
        let same_name = known.rsplit('.').next() == pattern.rsplit('.').next();
        strsim::normalized_damerau_levenshtein(&known, &pattern) + if same_name { 0.2 } else { 0.0 }
    };
    all()
        .flat_map(Key::paths)
        .map(|known| (score(&known), known))
        .filter(|(score, _)| *score >= 0.7)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| known.into_owned())
}

/// `a[3].b` becomes `a[].b`.
fn without_indexes(path: &str) -> Cow<'_, str> {
    if !path.contains('[') {
        return Cow::Borrowed(path);
    }
    let mut pattern = String::with_capacity(path.len());
    let mut inside = false;
    for c in path.chars() {
        match c {
            '[' => inside = true,
            ']' => inside = false,
            _ if inside => continue,
            _ => {}
        }
        pattern.push(c);
    }
    Cow::Owned(pattern)
}

/// One segment of a path, in quotes if it would read as several.
pub fn quoted(name: &str) -> Cow<'_, str> {
    if name.contains(['.', '"', '[']) { Cow::Owned(format!("{name:?}")) } else { Cow::Borrowed(name) }
}

fn is_one_name(name: &str) -> bool {
    name.starts_with('"') || !name.contains('.')
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
