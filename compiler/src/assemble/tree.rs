//! The shape of the route table: which routes Envoy has to try for which paths.
//!
//! Envoy finds the longest of our literal prefixes in a radix tree, then tries a short list of routes. It never goes
//! back to a shorter prefix, so each list holds every template that can match below its prefix; templates that share a
//! long list are told apart by the literal of one later segment, in halves, with one expression per halving.
//! Lists stay short and the whole table stays below three entries per template, whatever the paths look like.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use crate::path::{PathTemplate, Segment, push_escaped};

/// Lists up to this length are tried one after the other.
const LIST: usize = 16;
/// Lists with more templates than this are split, too: unlike a concrete path each costs Envoy a regular expression.
const TEMPLATES: usize = 4;
/// The table may have this many routes per operation.
const ROUTES_PER_OPERATION: usize = 3;

/// Indexes of templates, in the order in which they are tried.
pub type List = Vec<usize>;

/// Literal prefixes of `:path` (which has the query too) and what is tried below each.
#[derive(Debug, Default)]
pub struct Tree {
    pub prefixes: BTreeMap<String, Branch>,
}

#[derive(Debug)]
pub enum Branch {
    List(List),
    Groups(Groups),
}

/// The first group whose expression matches the whole `:path` decides; `otherwise` is for paths in no group.
#[derive(Debug)]
pub struct Groups {
    pub groups: Vec<(String, Branch)>,
    pub otherwise: Box<Branch>,
}

/// Builds the tree for the templates of one area at a time. An area is everything below a base path: it belongs to one
/// API, and of nested areas the longest base path wins.
pub struct Builder<'a> {
    templates: &'a [&'a PathTemplate],
    /// Routes per template.
    weights: &'a [usize],
    areas: BTreeSet<String>,
    /// Routes that copies of templates may still add.
    spare: Cell<usize>,
    tree: Tree,
}

// === impl Builder ===

impl<'a> Builder<'a> {
    /// `weights`: how many routes each template needs, for `operations` operations in all. `areas`: base paths (`""` or
    /// `/...` without a trailing slash).
    pub fn new(
        templates: &'a [&'a PathTemplate],
        weights: &'a [usize],
        operations: usize,
        areas: impl IntoIterator<Item = &'a str>,
    ) -> Builder<'a> {
        let areas = areas.into_iter().map(|base| format!("{base}/")).collect();
        let spare = (ROUTES_PER_OPERATION * operations).saturating_sub(weights.iter().sum());
        Builder { templates, weights, areas, spare: Cell::new(spare), tree: Tree::default() }
    }

    /// Adds the area below `base`; `list` are all templates that start with it.
    pub fn area(&mut self, base: &str, mut list: List) {
        list.sort_by(|a, b| match (self.templates.get(*a), self.templates.get(*b)) {
            (Some(a), Some(b)) => a.precedence(b),
            _ => a.cmp(b),
        });
        let prefix = format!("{base}/");
        let depth = prefix.matches('/').count() - 1;
        self.split(prefix, depth, list);
    }

    pub fn finish(self) -> Tree {
        self.tree
    }

    /// Whether copying `list` `times` times is affordable; if so, it is paid.
    fn pay(&self, list: &[usize], times: usize) -> bool {
        let cost = times * list.iter().filter_map(|template| self.weights.get(*template)).sum::<usize>();
        let spare = self.spare.get();
        if cost <= spare {
            self.spare.set(spare - cost);
        }
        cost <= spare
    }

    fn segment(&self, template: usize, depth: usize) -> Option<&'a Segment> {
        self.templates.get(template)?.segments().get(depth)
    }

    fn length(&self, template: usize) -> usize {
        self.templates.get(template).map_or(0, |template| template.segments().len())
    }

    /// `prefix` ends in `/` and stands for `depth` literal segments; `list` can match below it.
    fn split(&mut self, prefix: String, depth: usize, list: List) {
        if list.len() <= LIST {
            let branch = self.group(list);
            self.tree.prefixes.insert(prefix, branch);
            return;
        }
        let mut terminals: BTreeMap<&'a str, List> = BTreeMap::new();
        let mut deeper: BTreeMap<&'a str, List> = BTreeMap::new();
        let mut wild: List = Vec::new();
        for &template in &list {
            match self.segment(template, depth) {
                Some(Segment::Literal(text)) if self.length(template) == depth + 1 => {
                    terminals.entry(text).or_default().push(template);
                }
                Some(Segment::Literal(text)) => deeper.entry(text).or_default().push(template),
                _ => wild.push(template),
            }
        }
        let into = |text: &str| {
            let compatible = |template: &&usize| self.reaches_below(**template, depth, text);
            wild.iter().filter(compatible).copied().collect::<List>()
        };
        let copied: List = deeper.keys().flat_map(|text| into(text)).collect();
        if !self.pay(&copied, 1) {
            let branch = self.group(list);
            self.tree.prefixes.insert(prefix, branch);
            return;
        }
        let children: Vec<(String, List)> = deeper
            .into_iter()
            .map(|(text, own)| (format!("{prefix}{text}/"), merged(&list, &own, &into(text))))
            .collect();
        let mut here = wild.clone();
        let spread = terminals.len() + wild.len() > LIST && self.pay(&wild, terminals.len());
        for (text, own) in terminals {
            if spread && !text.is_empty() {
                self.tree.prefixes.insert(format!("{prefix}{text}"), Branch::List(merged(&list, &own, &wild)));
            } else {
                here.extend(own);
            }
        }
        let here = merged(&list, &here, &[]);
        let branch = self.group(here);
        self.tree.prefixes.insert(prefix, branch);
        for (prefix, list) in children {
            // Below a nested area only that area's templates match.
            if !self.areas.contains(&prefix) {
                self.split(prefix, depth + 1, list);
            }
        }
    }

    /// Whether the template can match a path that continues below `text` at `depth`.
    fn reaches_below(&self, template: usize, depth: usize, text: &str) -> bool {
        match self.segment(template, depth) {
            Some(Segment::Rest) => true,
            Some(segment) => self.length(template) > depth + 1 && segment.matches(text),
            None => self.ends_in_rest(template),
        }
    }

    fn ends_in_rest(&self, template: usize) -> bool {
        self.templates.get(template).is_some_and(|template| matches!(template.segments().last(), Some(Segment::Rest)))
    }

    fn is_short(&self, list: &[usize]) -> bool {
        let is_template = |index: &&usize| self.templates.get(**index).is_some_and(|template| !template.is_concrete());
        list.len() <= LIST && list.iter().filter(is_template).count() <= TEMPLATES
    }

    /// Tells the templates of `list` apart by one later segment, if that helps.
    fn group(&self, list: List) -> Branch {
        if self.is_short(&list) {
            return Branch::List(list);
        }
        let longest = list.iter().map(|template| self.length(*template)).max().unwrap_or(0);
        let best = (0..longest)
            .filter_map(|depth| {
                let split = self.by_literal(&list, depth);
                let largest = split.literals.values().map(Vec::len).max()? + split.wild.len();
                (largest < list.len()).then_some((largest, depth, split))
            })
            .min_by_key(|(largest, depth, _)| (*largest, *depth));
        let Some((_, depth, split)) = best else { return Branch::List(list) };
        // Each literal's list has the wild ones, and so has each halving (there are fewer than there are literals).
        if !self.pay(&split.wild, 2 * split.literals.len()) {
            return Branch::List(list);
        }
        let before = "/[^/?]+".repeat(depth);
        let halves = Halves { before: &before, wild: &split.wild, list: &list };
        let literals: Vec<(&str, List)> = split.literals.into_iter().collect();
        let branch = self.halve(&halves, 0, literals);
        if split.short.is_empty() {
            return branch;
        }
        let others = merged(&list, &split.wild, &split.short);
        let groups = vec![(format!("{before}/.*"), branch)];
        Branch::Groups(Groups { groups, otherwise: Box::new(self.group_if_smaller(others, list.len())) })
    }

    fn group_if_smaller(&self, list: List, than: usize) -> Branch {
        if list.len() < than { self.group(list) } else { Branch::List(list) }
    }

    fn by_literal(&self, list: &[usize], depth: usize) -> Split<'a> {
        let mut split = Split::default();
        for &template in list {
            match self.segment(template, depth) {
                Some(Segment::Literal(text)) => split.literals.entry(text).or_default().push(template),
                Some(_) => split.wild.push(template),
                None if self.ends_in_rest(template) => split.wild.push(template),
                None => split.short.push(template),
            }
        }
        split
    }

    /// Splits the literals of one segment (sorted), which agree on their first `same` bytes, until lists are short. Where
    /// nothing is wild a path in neither half may go to either: it matches nothing there.
    fn halve(&self, halves: &Halves<'_>, same: usize, literals: Vec<(&str, List)>) -> Branch {
        let own: List = literals.iter().flat_map(|(_, own)| own).copied().collect();
        let list = merged(halves.list, &own, halves.wild);
        if literals.len() == 1 || self.is_short(&list) {
            return self.group(list);
        }
        let same = common_prefix(&literals, same);
        let prefix = literals.first().and_then(|(text, _)| text.get(..same)).unwrap_or_default().to_owned();
        // By the next character; None: the literal ends here.
        let mut next: BTreeMap<Option<char>, Vec<(&str, List)>> = BTreeMap::new();
        for (text, own) in literals {
            next.entry(text.get(same..).and_then(|tail| tail.chars().next())).or_default().push((text, own));
        }
        let (mut left, mut right) = ((String::new(), Vec::new()), (String::new(), Vec::new()));
        let (mut ends, mut count) = (false, 0);
        for (letter, literals) in next {
            let size: usize = literals.iter().map(|(_, own)| own.len()).sum();
            let half = if count == 0 || 2 * count + size <= own.len() { &mut left } else { &mut right };
            count += size;
            match letter {
                // Sorted first: always in the left half.
                None => ends = true,
                Some(letter) => {
                    if letter.is_ascii_punctuation() {
                        half.0.push('\\');
                    }
                    half.0.push(letter);
                }
            }
            half.1.extend(literals);
        }
        let mut groups = vec![(halves.regex(&prefix, &left.0, ends), self.halve(halves, same, left.1))];
        let rest = self.halve(halves, same, right.1);
        if halves.wild.is_empty() {
            return Branch::Groups(Groups { groups, otherwise: Box::new(rest) });
        }
        groups.push((halves.regex(&prefix, &right.0, false), rest));
        let otherwise = self.group_if_smaller(halves.wild.to_vec(), halves.list.len());
        Branch::Groups(Groups { groups, otherwise: Box::new(otherwise) })
    }
}

/// What all halvings of one segment have in common.
struct Halves<'h> {
    /// Matches what stands in front of the segment.
    before: &'h str,
    wild: &'h [usize],
    /// All templates, in the order in which they are tried.
    list: &'h [usize],
}

// === impl Halves ===

impl Halves<'_> {
    /// Matches paths whose segment starts with `prefix` and goes on with one of `letters`, or `ends` there.
    fn regex(&self, prefix: &str, letters: &str, ends: bool) -> String {
        let mut regex = format!("{}/", self.before);
        push_escaped(&mut regex, prefix);
        let (open, close) = if ends { ("(?:[", "/?].*)?") } else { ("[", "].*") };
        regex + open + letters + close
    }
}

/// Templates by what they have at one segment.
#[derive(Default)]
struct Split<'a> {
    literals: BTreeMap<&'a str, List>,
    /// A parameter there, or `*` there or before.
    wild: List,
    /// They end before it.
    short: List,
}

fn common_prefix(literals: &[(&str, List)], at_least: usize) -> usize {
    let (Some((first, _)), Some((last, _))) = (literals.first(), literals.last()) else { return at_least };
    // Sorted: what the first and the last share, all share. Literals are ASCII (others are percent-encoded).
    first.bytes().zip(last.bytes()).take_while(|(a, b)| a == b).count().max(at_least)
}

/// The templates of `a` and `b` in their order in `list`.
fn merged(list: &[usize], a: &[usize], b: &[usize]) -> List {
    let wanted: BTreeSet<usize> = a.iter().chain(b).copied().collect();
    list.iter().filter(|template| wanted.contains(template)).copied().collect()
}

#[cfg(test)]
mod tests;
