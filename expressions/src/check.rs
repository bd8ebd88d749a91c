//! What an expression may say: names are known, kinds fit, and its evaluation is bounded.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, LiteralValue, operators};
use cel::parser::Parser;

use crate::evaluate::{MATCHES, PATTERN, VARIABLE};
use crate::pattern::{Pattern, pattern};
use crate::{Expression, ExpressionError, MAX_DEPTH, MAX_ITEMS, MAX_LENGTH, MAX_STEPS, MAX_WORDS, Variable};

/// What a part of an expression is, as far as that is known before it is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Boolean,
    Number,
    Text,
    Bytes,
    List,
    Null,
    Any,
}

/// Steps that joining two texts or lists counts: they grow.
const JOINING: usize = 128;

/// Reads and checks; what the expression names is replaced by numbers.
pub(crate) fn read(text: &str) -> Result<(Kind, Expression), ExpressionError> {
    if text.len() > MAX_LENGTH {
        return Err(ExpressionError::TooLong);
    }
    if words(text) > MAX_WORDS {
        return Err(ExpressionError::TooManyWords);
    }
    let depth = u16::try_from(MAX_DEPTH).unwrap_or(u16::MAX);
    let parser = Parser::new().max_recursion_depth(depth).error_recovery_limit(1);
    let mut tree = parser.parse(text).map_err(|errors| {
        let error = errors.errors.first();
        let column = error.and_then(|error| usize::try_from(error.pos.1).ok()).unwrap_or(0);
        let message = error.map(|error| error.msg.lines().next().unwrap_or_default().to_owned()).unwrap_or_default();
        ExpressionError::Syntax { column, message }
    })?;
    let mut check = Check::default();
    let kind = check.expression(&mut tree, 0)?;
    let (variables, patterns) = (check.variables.into(), check.patterns.into());
    Ok((kind, Expression { text: text.into(), tree, variables, patterns }))
}

/// At least as many as the parser will find: what is in quotes counts, too.
fn words(text: &str) -> usize {
    let mut within_word = false;
    let begins = |character: char| {
        let before = std::mem::replace(&mut within_word, character.is_alphanumeric() || character == '_');
        if within_word { !before } else { !character.is_whitespace() }
    };
    text.chars().map(begins).filter(|begins| *begins).count()
}

#[derive(Default)]
struct Check {
    variables: Vec<Variable>,
    patterns: Vec<Pattern>,
    /// Of the loop that is looked at: its item and its result.
    own_names: Option<[String; 2]>,
    steps: usize,
}

// === impl Check ===

impl Check {
    fn expression(&mut self, expression: &mut IdedExpr, depth: usize) -> Result<Kind, ExpressionError> {
        if depth > MAX_DEPTH {
            return Err(ExpressionError::TooDeep);
        }
        self.step(1)?;
        if let Some(variable) = self.variable(&expression.expr)? {
            let kind = variable.kind();
            expression.expr = Expr::Ident(format!("{VARIABLE}{}", self.number(variable)));
            return Ok(kind);
        }
        match &mut expression.expr {
            Expr::Literal(literal) => Ok(match literal {
                LiteralValue::Boolean(_) => Kind::Boolean,
                LiteralValue::Bytes(_) => Kind::Bytes,
                LiteralValue::Double(_) | LiteralValue::Int(_) | LiteralValue::UInt(_) => Kind::Number,
                LiteralValue::Null => Kind::Null,
                LiteralValue::String(_) => Kind::Text,
            }),
            // What is no variable is an item or a result.
            Expr::Ident(_) => Ok(Kind::Any),
            Expr::List(list) => {
                list.elements.iter_mut().try_for_each(|item| self.expression(item, depth + 1).map(drop))?;
                Ok(Kind::List)
            }
            Expr::Call(call) if call.func_name == "matches" => {
                let (text, number) = self.matching(call, depth)?;
                let pattern = IdedExpr { id: 0, expr: Expr::Ident(format!("{PATTERN}{number}")) };
                *call = CallExpr { func_name: MATCHES.to_owned(), target: None, args: vec![text, pattern] };
                Ok(Kind::Boolean)
            }
            Expr::Call(call) => self.call(call, depth),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension, depth),
            Expr::Select(select) => Err(ExpressionError::UnknownName(select.field.clone())),
            Expr::Map(_) | Expr::Struct(_) => Err(ExpressionError::MakesMaps),
            Expr::Unspecified => Err(ExpressionError::Syntax { column: 0, message: "it is empty".to_owned() }),
        }
    }

    fn step(&mut self, weight: usize) -> Result<(), ExpressionError> {
        let times = if self.own_names.is_some() { MAX_ITEMS } else { 1 };
        self.steps = self.steps.saturating_add(weight.saturating_mul(times));
        if self.steps > MAX_STEPS { Err(ExpressionError::TooCostly) } else { Ok(()) }
    }

    fn number(&mut self, variable: Variable) -> usize {
        let known = self.variables.iter().position(|other| *other == variable);
        known.unwrap_or_else(|| {
            self.variables.push(variable);
            self.variables.len() - 1
        })
    }

    /// `a.b`, `a.b["c"]`, `has(a.b.c)` or `"c" in a.b`.
    fn variable(&self, expression: &Expr) -> Result<Option<Variable>, ExpressionError> {
        let present = |variable: Variable| Some(Variable::Present(Box::new(variable)));
        if let Expr::Call(call) = expression
            && call.target.is_none()
            && let [first, second] = call.args.as_slice()
        {
            let (map, name) = match call.func_name.as_str() {
                operators::INDEX => (&first.expr, &second.expr),
                operators::IN => (&second.expr, &first.expr),
                _ => return Ok(None),
            };
            let Some(mut path) = self.path(map) else { return Ok(None) };
            let Some(Err(map)) = Variable::find(&path) else { return Ok(None) };
            let Expr::Literal(LiteralValue::String(name)) = name else { return Err(ExpressionError::NoName(map)) };
            path.push(name.inner());
            let Some(Ok(variable)) = Variable::find(&path) else { return Ok(None) };
            return Ok(if call.func_name == operators::IN { present(variable) } else { Some(variable) });
        }
        let Some(path) = self.path(expression) else { return Ok(None) };
        let asks = matches!(expression, Expr::Select(select) if select.test);
        match Variable::find(&path) {
            Some(Ok(variable)) if asks && variable.may_be_absent() => Ok(present(variable)),
            Some(Ok(_)) if asks => Err(ExpressionError::UnknownFunction(format!("has({})", path.join(".")))),
            Some(Ok(variable)) => Ok(Some(variable)),
            Some(Err(map)) => Err(ExpressionError::NoName(map)),
            None => Err(ExpressionError::UnknownName(path.join("."))),
        }
    }

    /// The names of `a.b.c`, unless it begins with a loop's own.
    fn path<'e>(&self, expression: &'e Expr) -> Option<Vec<&'e str>> {
        match expression {
            Expr::Ident(name) if self.is_own(name) => None,
            Expr::Ident(name) => Some(vec![name.as_str()]),
            Expr::Select(select) => {
                let mut path = self.path(&select.operand.expr)?;
                path.push(&select.field);
                Some(path)
            }
            _ => None,
        }
    }

    fn is_own(&self, name: &str) -> bool {
        self.own_names.iter().flatten().any(|own| own == name)
    }

    fn call(&mut self, call: &mut CallExpr, depth: usize) -> Result<Kind, ExpressionError> {
        let mut kinds = Vec::with_capacity(3);
        for part in call.target.as_deref_mut().into_iter().chain(&mut call.args) {
            kinds.push(self.expression(part, depth + 1)?);
        }
        let name = call.func_name.as_str();
        let is_method = call.target.is_some();
        let any = |kind: Kind| kind == Kind::Any;
        let same = |a: Kind, b: Kind| a == b || any(a) || any(b);
        let all = |wanted: Kind| kinds.iter().all(|kind| *kind == wanted || any(*kind));
        let (fits, kind) = match (name, kinds.as_slice(), is_method) {
            (operators::LOGICAL_AND | operators::LOGICAL_OR, [_, _], false)
            | (operators::LOGICAL_NOT | operators::NOT_STRICTLY_FALSE, [_], false) => {
                (all(Kind::Boolean), Kind::Boolean)
            }
            (operators::CONDITIONAL, [condition, yes, no], false) => {
                let kind = if yes == no { *yes } else { Kind::Any };
                (same(*condition, Kind::Boolean), kind)
            }
            (operators::EQUALS | operators::NOT_EQUALS, [left, right], false) => {
                (same(*left, *right) || *left == Kind::Null || *right == Kind::Null, Kind::Boolean)
            }
            (
                operators::LESS | operators::LESS_EQUALS | operators::GREATER | operators::GREATER_EQUALS,
                [left, right],
                false,
            ) => (same(*left, *right) && !kinds.contains(&Kind::List), Kind::Boolean),
            (operators::IN, [_, list], false) => (same(*list, Kind::List), Kind::Boolean),
            (operators::INDEX, [list, index], false) => {
                (same(*list, Kind::List) && same(*index, Kind::Number), Kind::Any)
            }
            (operators::ADD, [left, right], false) => {
                let grows = !(*left == Kind::Number || *right == Kind::Number);
                if grows && self.own_names.is_some() {
                    return Err(ExpressionError::Joins);
                }
                self.step(if grows { JOINING } else { 0 })?;
                let kind = if any(*left) { *right } else { *left };
                (same(*left, *right) && !matches!(kind, Kind::Boolean | Kind::Null), kind)
            }
            (operators::SUBSTRACT | operators::MULTIPLY | operators::DIVIDE | operators::MODULO, [_, _], false)
            | (operators::NEGATE, [_], false) => (all(Kind::Number), Kind::Number),
            ("contains" | "startsWith" | "endsWith", [_, _], true) => (all(Kind::Text), Kind::Boolean),
            ("size", [kind], _) => (!matches!(kind, Kind::Number | Kind::Boolean | Kind::Null), Kind::Number),
            ("int" | "uint" | "double", [kind], false) => {
                (!matches!(kind, Kind::List | Kind::Null | Kind::Boolean | Kind::Bytes), Kind::Number)
            }
            ("string", [kind], false) => (!matches!(kind, Kind::List | Kind::Null), Kind::Text),
            ("bool", [kind], false) => (matches!(kind, Kind::Text | Kind::Boolean | Kind::Any), Kind::Boolean),
            _ => return Err(ExpressionError::UnknownFunction(name.to_owned())),
        };
        if fits {
            return Ok(kind);
        }
        let operator = name.trim_matches(['_', '@']).to_owned();
        let name = |index: usize| kinds.get(index).map_or("nothing", |kind| kind.as_str());
        Err(ExpressionError::Kinds { operator, left: name(0), right: name(1) })
    }

    /// `text.matches("pattern")` or `matches(text, "pattern")`: the text, and the pattern's number.
    fn matching(&mut self, call: &mut CallExpr, depth: usize) -> Result<(IdedExpr, usize), ExpressionError> {
        let mut parts = call.target.take().map(|target| *target).into_iter().chain(std::mem::take(&mut call.args));
        let (Some(mut text), Some(literal), None) = (parts.next(), parts.next(), parts.next()) else {
            return Err(ExpressionError::NoPattern);
        };
        let Expr::Literal(LiteralValue::String(literal)) = literal.expr else { return Err(ExpressionError::NoPattern) };
        let kind = self.expression(&mut text, depth + 1)?;
        if !matches!(kind, Kind::Text | Kind::Any) {
            let operator = "matches".to_owned();
            return Err(ExpressionError::Kinds { operator, left: kind.as_str(), right: Kind::Text.as_str() });
        }
        self.patterns.push(Pattern(pattern(literal.inner())?));
        Ok((text, self.patterns.len() - 1))
    }

    /// `all`, `exists` and `exists_one`, whose results are no larger than what they begin with.
    fn comprehension(&mut self, loops: &mut ComprehensionExpr, depth: usize) -> Result<Kind, ExpressionError> {
        let kind = match &loops.accu_init.expr {
            Expr::Literal(LiteralValue::Boolean(_) | LiteralValue::Int(_)) => Kind::Boolean,
            _ => return Err(ExpressionError::MakesLists("map` or `filter")),
        };
        if self.own_names.is_some() {
            return Err(ExpressionError::NestedLoops);
        }
        let range = self.expression(&mut loops.iter_range, depth + 1)?;
        if !matches!(range, Kind::List | Kind::Any) {
            let operator = "all, exists, exists_one".to_owned();
            return Err(ExpressionError::Kinds { operator, left: range.as_str(), right: "a condition" });
        }
        // A literal list is as long as it is; what is joined may be longer than any variable.
        if !matches!(&loops.iter_range.expr, Expr::Ident(_) | Expr::List(_)) {
            return Err(ExpressionError::Joins);
        }
        let literal = if let Expr::List(list) = &loops.iter_range.expr { list.elements.len() } else { 0 };
        if literal > MAX_ITEMS {
            return Err(ExpressionError::TooCostly);
        }
        self.own_names = Some([loops.iter_var.clone(), loops.accu_var.clone()]);
        let parts = [&mut loops.loop_cond, &mut loops.loop_step, &mut loops.result];
        let checked = parts.into_iter().try_for_each(|part| self.expression(part, depth + 1).map(drop));
        self.own_names = None;
        checked.map(|()| kind)
    }
}

// === impl Kind ===

impl Kind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Kind::Boolean => "true or false",
            Kind::Number => "a number",
            Kind::Text => "a text",
            Kind::Bytes => "bytes",
            Kind::List => "a list",
            Kind::Null => "null",
            Kind::Any => "anything",
        }
    }
}
