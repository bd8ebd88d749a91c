//! The shape of the route table: which routes Envoy has to try for which paths.
//!
//! Envoy finds the longest of our literal prefixes in a radix tree, then tries a short list of routes. It never goes
//! back to a shorter prefix, so each list holds every template that can match below its prefix; templates that share a
//! long list are told apart by the literal of one later segment, letter by letter, with a few anchored expressions.
//! Lists stay short and the whole table stays below three entries per template, whatever the paths look like.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use crate::path::{PathTemplate, Segment, push_escaped};

/// Lists up to this length are tried one after the other.
const LIST: usize = 16;
/// Expressions tried one after the other before a list is reached, per level.
const FAN_OUT: usize = 4;
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
    templates: &'a [PathTemplate],
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
        templates: &'a [PathTemplate],
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
            self.tree.prefixes.insert(prefix, Branch::List(list));
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

    /// Tells the templates of `list` apart by one later segment, if that helps.
    fn group(&self, list: List) -> Branch {
        if list.len() <= LIST {
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
        // Each literal's list has the wild ones, and so has each level of letters above it (fewer than there are literals).
        if !self.pay(&split.wild, 2 * split.literals.len()) {
            return Branch::List(list);
        }
        let before = "/[^/?]+".repeat(depth);
        let literals: Vec<(&str, List)> =
            split.literals.iter().map(|(text, own)| (*text, merged(&list, own, &split.wild))).collect();
        let mut groups = self.letters(&before, 0, literals, &split.wild);
        let others: List = merged(&list, &split.wild, &split.short);
        groups.otherwise = Box::new(self.group_if_smaller(others, list.len()));
        Branch::Groups(groups)
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

    /// Groups for the literals of one segment (sorted), which agree on their first `same` bytes. `before` matches what
    /// stands in front of the segment.
    fn letters(&self, before: &str, same: usize, literals: Vec<(&str, List)>, wild: &[usize]) -> Groups {
        let same = common_prefix(&literals, same);
        // By the next character; None: the literal ends here.
        let mut next: BTreeMap<Option<char>, Vec<(&str, List)>> = BTreeMap::new();
        for (text, list) in literals {
            next.entry(text.get(same..).and_then(|tail| tail.chars().next())).or_default().push((text, list));
        }
        let total: usize = next.values().map(Vec::len).sum();
        let mut groups: Vec<(String, Branch)> = Vec::new();
        let mut bucket: Vec<(&str, List)> = Vec::new();
        let mut letters = String::new();
        let mut flush = |letters: &mut String, bucket: &mut Vec<(&str, List)>| {
            let bucket = std::mem::take(bucket);
            let letters = std::mem::take(letters);
            let Some((text, _)) = bucket.first() else { return };
            let mut regex = format!("{before}/");
            if let [(text, _)] = bucket.as_slice() {
                push_escaped(&mut regex, text);
                regex.push_str("(?:[/?].*)?");
            } else {
                push_escaped(&mut regex, text.get(..same).unwrap_or(text));
                regex.push('[');
                regex.push_str(&letters);
                regex.push_str("].*");
            }
            let branch = match <[(&str, List); 1]>::try_from(bucket) {
                Ok([(_, list)]) => self.group(list),
                Err(bucket) => Branch::Groups(self.letters(before, same, bucket, wild)),
            };
            groups.push((regex, branch));
        };
        for (letter, own) in next {
            match letter {
                // A literal that ends here is a group of its own: its expression asks for the end of the segment.
                None => {
                    let mut own = own;
                    flush(&mut String::new(), &mut own);
                }
                Some(letter) => {
                    if (bucket.len() + own.len()) * FAN_OUT > total {
                        flush(&mut letters, &mut bucket);
                    }
                    if letter.is_ascii_punctuation() {
                        letters.push('\\');
                    }
                    letters.push(letter);
                    bucket.extend(own);
                }
            }
        }
        flush(&mut letters, &mut bucket);
        Groups { groups, otherwise: Box::new(self.group_if_smaller(wild.to_vec(), usize::MAX)) }
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
