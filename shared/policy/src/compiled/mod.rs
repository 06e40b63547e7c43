//! The shipped pack, prepared: the syntax tree that the interpreter made, with every name looked up
//! once and every variable in a place of its own.
//!
//! The interpreter looks up names while it judges, and copies what it hands over; for a pack whose
//! rules each look at every resource that is most of the time. Here the same rules are walked with
//! references into the input. Only as much of Rego is known as the shipped pack needs: what is not
//! known is refused while compiling, and the pack is then interpreted as any other. Functions of Rego
//! itself are those of the interpreter, called directly, so they cannot differ. Tests hold both
//! against each other, on every case and on made-up plans.

mod build;
mod run;
mod session;
mod simple;
mod terms;

use regorus::Value;
use regorus::unstable::{ArithOp, BinOp, BoolOp, BuiltinFcn, Expr, Ref, Span};

use crate::primitives::Primitive;
use crate::shape::Shape;

pub(crate) use session::{Stop, Told};

/// A pack, prepared.
#[derive(Clone)]
pub(crate) struct Program {
    /// Functions and rules, by number.
    rules: Vec<Rule>,
    /// Every definition of every `result`, with the number of its package.
    results: Vec<(usize, Outcome)>,
    /// The packages that say something.
    packages: Vec<String>,
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} rules, {} results", self.rules.len(), self.results.len())
    }
}

/// A function, or a rule with one value. The first definition that holds is not the only one: all
/// must agree.
#[derive(Clone)]
struct Rule {
    arguments: usize,
    definitions: Vec<Definition>,
    default: Option<Node>,
}

/// Bodies of which the first that holds counts: what `else` stands between.
#[derive(Clone)]
struct Definition {
    places: usize,
    bodies: Vec<Body>,
}

#[derive(Clone)]
struct Body {
    steps: Vec<Step>,
    value: Node,
}

/// One `result contains …`: what it needs, and the four arguments of `lib.said`.
#[derive(Clone)]
struct Outcome {
    places: usize,
    steps: Vec<Step>,
    /// Rule, resource, state and message.
    said: [Node; 4],
}

/// A statement of a body.
#[derive(Clone)]
enum Step {
    /// `some KEY, VALUE in OF`.
    Each { key: Option<usize>, value: usize, of: Node },
    /// `PLACE := NODE`.
    Let(usize, Node),
    /// It must be defined and not false.
    Is(Node),
    /// It must be undefined or false.
    Not(Node),
}

/// A term.
#[derive(Clone)]
enum Node {
    Const(Value),
    /// A variable, by its place.
    Local(usize),
    Input,
    /// The value of a rule, by its number.
    Rule(usize),
    /// What stands under a key that is known.
    Key(Box<Node>, Value),
    Index(Box<(Node, Node)>),
    Array(Vec<Node>),
    Set(Vec<Node>),
    Object(Vec<(Node, Node)>),
    ArrayOf(Box<Node>, Vec<Step>),
    SetOf(Box<Node>, Vec<Step>),
    ObjectOf(Box<(Node, Node)>, Vec<Step>),
    /// One of the functions that are in Rust.
    Native(Primitive, Vec<Node>),
    /// `lib.get` of a name that is known, with what stands in for it, which is always defined.
    Attribute(Box<(Node, Value, Node)>),
    /// A function of Rego itself.
    Builtin(Box<Builtin>),
    /// What kind of value it is: `is_object` and the like.
    Kind(fn(&Value) -> bool, Box<Node>),
    /// A function of Rego itself that gives back what it is given where there is nothing to do.
    Unless(fn(&Value) -> bool, Box<Builtin>),
    /// `count`.
    Count(Box<Node>),
    /// `array.concat`.
    Joined(Box<(Node, Node)>),
    /// An object whose names are known.
    Shaped(Shape, Vec<Node>),
    /// `object.get`, which is asked for most.
    Get(Box<[Node; 3]>),
    /// A function of the pack, by its number.
    Call(usize, Vec<Node>),
    Compare(BoolOp, Box<(Node, Node)>),
    In(Box<(Node, Node)>),
    Sets(Box<Sets>),
    Arithmetic(Box<Arithmetic>),
}

#[derive(Clone)]
struct Builtin {
    function: BuiltinFcn,
    span: Span,
    parameters: Vec<Ref<Expr>>,
    arguments: Vec<Node>,
}

/// Union and intersection.
#[derive(Clone)]
struct Sets {
    op: BinOp,
    terms: (Ref<Expr>, Ref<Expr>),
    operands: (Node, Node),
}

/// Sums and the like, and what one set has more than another.
#[derive(Clone)]
struct Arithmetic {
    op: ArithOp,
    span: Span,
    terms: (Ref<Expr>, Ref<Expr>),
    operands: (Node, Node),
}

#[cfg(test)]
mod tests;
