//! The shipped pack, prepared: the syntax tree that the interpreter made, with every name looked up
//! once and every variable in a place of its own.
//!
//! The interpreter looks up names while it judges, and copies what it hands over; for a pack whose
//! rules each look at every resource that is most of the time. Here the same rules are walked over
//! values that are copied like numbers. Only as much of Rego is known as the shipped pack needs: what is not
//! known is refused while compiling, and the pack is then interpreted as any other. Functions of Rego
//! itself are those of the interpreter, called directly, so they cannot differ. Tests hold both
//! against each other, on every case and on made-up plans.

mod build;
mod run;
mod simple;
mod terms;

use regorus::unstable::{ArithOp, BinOp, BoolOp, BuiltinFcn, Expr, Ref, Span};

use crate::primitives::Primitive;
use crate::values::Val;

pub(crate) use run::{Stop, Told};

/// A pack, prepared; what is constant in it stays for good, so it is prepared once.
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
struct Rule {
    arguments: usize,
    definitions: Vec<Definition>,
    default: Option<Node>,
}

/// Bodies of which the first that holds counts: what `else` stands between.
struct Definition {
    places: usize,
    bodies: Vec<Body>,
}

struct Body {
    steps: Vec<Step>,
    value: Node,
}

/// One `result contains …`: what it needs, and the four arguments of `lib.said`.
struct Outcome {
    places: usize,
    steps: Vec<Step>,
    /// Rule, resource, state and message.
    said: [Node; 4],
}

/// A statement of a body.
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
enum Node {
    Const(Val<'static>),
    /// A variable, by its place.
    Local(usize),
    Input,
    /// The value of a rule, by its number.
    Rule(usize),
    /// What stands under a key that is known.
    Key(Box<Node>, Val<'static>),
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
    Attribute(Box<(Node, Val<'static>, Node)>),
    /// A function of Rego itself.
    Builtin(Box<Builtin>),
    /// What kind of value it is: `is_object` and the like.
    Kind(fn(Val<'_>) -> bool, Box<Node>),
    /// A function of Rego itself that gives back what it is given where there is nothing to do.
    Unless(fn(Val<'_>) -> bool, Box<Builtin>),
    /// `count`.
    Count(Box<Node>),
    /// `array.concat`.
    Joined(Box<(Node, Node)>),
    /// An object whose keys are known, in their order.
    Shaped(Vec<(Val<'static>, Node)>),
    /// `object.get`, which is asked for most.
    Get(Box<[Node; 3]>),
    /// A function of the pack, by its number.
    Call(usize, Vec<Node>),
    Compare(BoolOp, Box<(Node, Node)>),
    In(Box<(Node, Node)>),
    Sets(Box<Sets>),
    Arithmetic(Box<Arithmetic>),
}

struct Builtin {
    function: BuiltinFcn,
    span: Span,
    parameters: Vec<Ref<Expr>>,
    arguments: Vec<Node>,
}

/// Union and intersection.
struct Sets {
    op: BinOp,
    terms: (Ref<Expr>, Ref<Expr>),
    operands: (Node, Node),
}

/// Sums and the like, and what one set has more than another.
struct Arithmetic {
    op: ArithOp,
    span: Span,
    terms: (Ref<Expr>, Ref<Expr>),
    operands: (Node, Node),
}

#[cfg(test)]
mod tests;
