//! What a `.net` text says, with a span on every node and no knowledge of any layer.

use crate::diag::Span;

/// A name with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Name {
    /// The name.
    pub text: String,
    /// Its place.
    pub span: Span,
}

/// One source file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct File {
    /// Imports, blocks, nets and file-level `let`s in source order.
    pub items: Vec<Item>,
}

/// Something at the top of a file.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// `import "path"`.
    Import(Import),
    /// `block name(params) { … }`.
    Block(Definition),
    /// `net name(params) { … }`.
    Net(Definition),
    /// `let name = value`, seen in the whole file below it.
    Let(Let),
}

/// `import "path"`.
#[derive(Clone, Debug, PartialEq)]
pub struct Import {
    /// The path between the quotes.
    pub path: Name,
    /// The whole statement.
    pub span: Span,
}

/// A `block` or a `net`.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// Its name.
    pub name: Name,
    /// Its parameters; empty with or without parentheses.
    pub params: Vec<Param>,
    /// Advice that is allowed in it, from `#[allow(…)]` lines above.
    pub allows: Vec<Name>,
    /// What it consists of.
    pub body: Body,
    /// From the keyword to the closing brace.
    pub span: Span,
}

/// `name` or `name = default`.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    /// The name.
    pub name: Name,
    /// The default, where there is one.
    pub default: Option<Expr>,
}

/// Statements between braces.
#[derive(Clone, Debug, PartialEq)]
pub struct Body {
    /// The statements in source order.
    pub statements: Vec<Statement>,
    /// From brace to brace, both included.
    pub span: Span,
}

/// `let name = value`.
#[derive(Clone, Debug, PartialEq)]
pub struct Let {
    /// The name.
    pub name: Name,
    /// The value.
    pub value: Expr,
    /// The whole statement.
    pub span: Span,
}

/// A statement with the advice that is allowed on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// From `#[allow(…)]` lines above it.
    pub allows: Vec<Name>,
    /// What it says.
    pub kind: StatementKind,
    /// Without the `#[allow]`.
    pub span: Span,
}

/// What a statement says.
#[derive(Clone, Debug, PartialEq)]
pub enum StatementKind {
    /// `let name = value`.
    Let(Let),
    /// `input name: [c, h, w] where H % 16 == 0`.
    Input(Input),
    /// `output name`, `output name = label`, `output name: train weight 0.3`.
    Output(Output),
    /// `if … { … } else if … { … } else { … }`.
    If(If),
    /// `repeat n as i { … }`.
    Repeat(Repeat),
    /// `for pattern in list { … }`.
    For(For),
    /// `preprocess { … }`.
    Preprocess(Vec<PreprocessEntry>),
    /// `budget { … }`.
    Budget(Vec<BudgetEntry>),
    /// A layer, a block call, a group, braces or a side chain: whatever makes a value.
    Value(ValueStatement),
}

/// `input name: [c, h, w] where …`.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// The name, which labels the value.
    pub name: Name,
    /// The sizes; a name that is bound to nothing is a symbol.
    pub shape: Vec<Expr>,
    /// The conditions behind `where`.
    pub conditions: Vec<Expr>,
}

/// `output name …`.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// The name.
    pub name: Name,
    /// What it names; the value above where absent.
    pub value: Option<Path>,
    /// `: train weight 0.3`: it exists only in training.
    pub train: Option<Train>,
}

/// `: train weight w`.
#[derive(Clone, Debug, PartialEq)]
pub struct Train {
    /// The weight of its loss; 1 where absent.
    pub weight: Option<Expr>,
    /// The place of `train …`.
    pub span: Span,
}

/// `if … { … } else …`.
#[derive(Clone, Debug, PartialEq)]
pub struct If {
    /// The test and body of each `if` and `else if`.
    pub arms: Vec<(Expr, Body)>,
    /// The body of the last `else`.
    pub otherwise: Option<Body>,
}

/// `repeat n as i { … }`.
#[derive(Clone, Debug, PartialEq)]
pub struct Repeat {
    /// How often.
    pub count: Expr,
    /// The name of the counter, from 0.
    pub binding: Option<Name>,
    /// What.
    pub body: Body,
}

/// `for pattern in list { … }`.
#[derive(Clone, Debug, PartialEq)]
pub struct For {
    /// `i, n` gives the index as well.
    pub index: Option<Name>,
    /// What each element is bound to.
    pub pattern: Pattern,
    /// A list or a range.
    pub list: Expr,
    /// What.
    pub body: Body,
}

/// What an element of a list is bound to.
#[derive(Clone, Debug, PartialEq)]
pub enum Pattern {
    /// The whole element.
    Name(Name),
    /// The parts of an element that is a list.
    List(Vec<Name>, Span),
}

/// One step of a `preprocess`: a word and its values, as in `mean [0.5, 0.5, 0.5]`.
#[derive(Clone, Debug, PartialEq)]
pub struct PreprocessEntry {
    /// The word.
    pub name: Name,
    /// What follows it.
    pub values: Vec<Expr>,
    /// The whole entry.
    pub span: Span,
}

/// One bound of a `budget`, as in `macs <= 4.2 G`.
#[derive(Clone, Debug, PartialEq)]
pub struct BudgetEntry {
    /// `macs`, `flops`, `params`, `activations` or `peak_memory`.
    pub metric: Name,
    /// The number; an Int or a Float as written, or any expression.
    pub bound: Expr,
    /// `K`, `M`, `G`, `KB`, `MB`, `KiB`, `MiB`, …
    pub unit: Option<Name>,
    /// The whole entry.
    pub span: Span,
}

/// Something that makes a value.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueStatement {
    /// The labels in front; several bind several values.
    pub labels: Vec<LabelName>,
    /// What makes the value.
    pub source: Source,
    /// `-> [c, h, w]`.
    pub claim: Option<Claim>,
}

/// What makes a value.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A layer, a block, `sequential { … }`, or a group with a body.
    Call(Call),
    /// `{ … }`.
    Braces(Body),
    /// `from x { … }`.
    From {
        /// Where the side chain starts.
        value: Path,
        /// The side chain.
        body: Body,
    },
}

/// `name(args) { … }`; any part but the name may be missing.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The layer, block or group.
    pub name: Name,
    /// The arguments; `None` without parentheses.
    pub args: Option<Args>,
    /// The body of a group or a `sequential`.
    pub body: Option<Body>,
    /// From the name to the end of the arguments, without the body.
    pub span: Span,
}

/// `(…)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Args {
    /// In source order.
    pub list: Vec<Arg>,
    /// From parenthesis to parenthesis, both included.
    pub span: Span,
}

/// `value` or `name = value`.
#[derive(Clone, Debug, PartialEq)]
pub struct Arg {
    /// The name, where given.
    pub name: Option<Name>,
    /// The value.
    pub value: Expr,
    /// The whole argument.
    pub span: Span,
}

/// `-> [c, h, w]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// The claimed sizes.
    pub shape: Vec<Expr>,
    /// From the arrow to the bracket.
    pub span: Span,
}

/// A label as written in front of a statement: `conv1`, `0`, `layer1.0.conv1`, `denselayer{i + 1}`, `"odd name"`.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelName {
    /// Its parts; dots are part of the texts.
    pub parts: Vec<LabelPart>,
    /// Whether it was written between quotes.
    pub quoted: bool,
    /// Without the colon.
    pub span: Span,
}

/// A piece of a label or of a path.
#[derive(Clone, Debug, PartialEq)]
pub enum LabelPart {
    /// As written, dots included.
    Text(String),
    /// `{expression}`.
    Expr(Expr),
}

/// A name or a dotted path in an expression or as an operand: `stride`, `in.c`, `prev`, `enc1.conv2`, `enc{i}.h`,
/// `layer1.0.conv1`. Which of the three namespaces is meant is decided where it is used.
#[derive(Clone, Debug, PartialEq)]
pub struct Path {
    /// Its parts; dots are part of the texts (`["in.c"]`, `["enc", {i}, ".h"]`).
    pub parts: Vec<LabelPart>,
    /// The whole path.
    pub span: Span,
}

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// What it says.
    pub kind: ExprKind,
    /// Its place.
    pub span: Span,
}

/// What an expression says.
#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// `64`.
    Int(i64),
    /// `1e-5`, with its value; the formatter prints the source text.
    Float(f64),
    /// `true`, `false`.
    Bool(bool),
    /// `"text"`.
    Str(String),
    /// `[a, b]`.
    List(Vec<Expr>),
    /// A name or a path.
    Path(Path),
    /// `max(a, b)`, `bn(eps = 0.001)`.
    Call(Name, Args),
    /// `-a`, `not a`.
    Unary(UnaryOp, Box<Expr>),
    /// `a + b`.
    Binary(BinaryOp, Box<Expr>, Box<Expr>),
    /// `if test then a else b`.
    If(Box<Expr>, Box<Expr>, Box<Expr>),
    /// `list[i]`.
    Index(Box<Expr>, Box<Expr>),
    /// `a..b`, without b.
    Range(Box<Expr>, Box<Expr>),
    /// `(a)`.
    Paren(Box<Expr>),
}

/// A prefix operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnaryOp {
    /// `-`.
    Neg,
    /// `not`.
    Not,
}

/// An infix operator, loosest first: `or`, `and`, comparisons, `+ -`, `* / // %`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum BinaryOp {
    Or,
    And,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Add,
    Sub,
    Mul,
    /// `/`: exact, or an error.
    Div,
    /// `//`: rounds down.
    FloorDiv,
    /// `%`.
    Rem,
}

impl BinaryOp {
    /// Whether it compares.
    pub fn compares(self) -> bool {
        matches!(self, Self::Eq | Self::Ne | Self::Lt | Self::Le | Self::Gt | Self::Ge)
    }

    /// As it is written.
    pub fn sign(self) -> &'static str {
        match self {
            Self::Or => "or",
            Self::And => "and",
            Self::Eq => "==",
            Self::Ne => "!=",
            Self::Lt => "<",
            Self::Le => "<=",
            Self::Gt => ">",
            Self::Ge => ">=",
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::FloorDiv => "//",
            Self::Rem => "%",
        }
    }
}

/// A comment, kept beside the tree for the formatter.
#[derive(Clone, Debug, PartialEq)]
pub struct Comment {
    /// From `#` to the end of the line, without trailing blanks.
    pub text: String,
    /// Its place.
    pub span: Span,
    /// Whether nothing but blanks stands before it on its line.
    pub own_line: bool,
}
