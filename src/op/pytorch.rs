//! What the operators' rules for PyTorch are written in: expressions of Python with holes for arguments and operands.

use crate::dim::Dim;
use crate::op::geom::{Padding, Windows};
use crate::tensor::Shape;

/// A value as Python writes it.
#[derive(Clone, Debug, PartialEq)]
pub enum Py {
    /// An integer.
    Int(i64),
    /// A float.
    Float(f64),
    /// `True` or `False`.
    Bool(bool),
    /// A string without characters that need care.
    Text(&'static str),
    /// A list.
    List(Vec<Py>),
    /// A size that depends on the net's input.
    Size(Dim),
}

impl From<u64> for Py {
    fn from(value: u64) -> Py {
        Py::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<f64> for Py {
    fn from(value: f64) -> Py {
        Py::Float(value)
    }
}

impl From<bool> for Py {
    fn from(value: bool) -> Py {
        Py::Bool(value)
    }
}

impl From<&Dim> for Py {
    fn from(dim: &Dim) -> Py {
        dim.as_known().and_then(|value| i64::try_from(value).ok()).map_or_else(|| Py::Size(dim.clone()), Py::Int)
    }
}

impl Py {
    /// Height and width: one number where they are equal.
    pub fn pair([h, w]: [u64; 2]) -> Py {
        if h == w { h.into() } else { Py::List(vec![h.into(), w.into()]) }
    }

    /// A list of numbers.
    pub fn list<T: Into<Py>>(values: impl IntoIterator<Item = T>) -> Py {
        Py::List(values.into_iter().map(Into::into).collect())
    }
}

/// An argument of a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Arg {
    /// What PyTorch calls it.
    pub name: &'static str,
    /// Its value.
    pub value: Py,
    /// For one that is passed by name: what it is where it is left out.
    pub default: Option<Py>,
}

/// An expression: a text with holes. `{}` is the list of its arguments, `{0}` the first of them alone; `{x}` and `{y}` are
/// the first two operands, `{xs}` all of them, `{x2}` the third; `{m}` is the module of the layer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expr {
    /// The text.
    pub text: String,
    /// What stands in its holes.
    pub args: Vec<Arg>,
}

impl Expr {
    /// An expression without arguments.
    pub fn new(text: impl Into<String>) -> Expr {
        Expr { text: text.into(), args: Vec::new() }
    }

    /// With another argument, passed by place.
    #[must_use]
    pub fn arg(mut self, name: &'static str, value: impl Into<Py>) -> Expr {
        self.args.push(Arg { name, value: value.into(), default: None });
        self
    }

    /// With another argument, passed by name where it is not the default.
    #[must_use]
    pub fn key(mut self, name: &'static str, value: impl Into<Py>, default: impl Into<Py>) -> Expr {
        self.args.push(Arg { name, value: value.into(), default: Some(default.into()) });
        self
    }
}

/// A function or a class that a module takes with it.
#[derive(Debug)]
pub struct Helper {
    /// Its name.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
}

/// What the rule of an operator is given, and what it says.
#[derive(Debug)]
pub struct PyTorch<'a> {
    /// The shapes of the operands.
    pub inputs: &'a [Shape],
    /// The shapes of the results.
    pub outputs: &'a [Shape],
    /// How the layer's module is made, where it has parameters or can stand in a chain of modules.
    pub module: Option<Expr>,
    /// How the results are computed, where that is more than calling the module.
    pub call: Option<Expr>,
    /// What both need.
    pub helpers: Vec<&'static Helper>,
}

impl<'a> PyTorch<'a> {
    /// For a layer with these operands and results.
    pub fn new(inputs: &'a [Shape], outputs: &'a [Shape]) -> PyTorch<'a> {
        PyTorch { inputs, outputs, module: None, call: None, helpers: Vec::new() }
    }

    /// The channels of the operand.
    pub fn channels(&self) -> u64 {
        self.inputs[0].0[0].as_u64().unwrap_or(0)
    }

    /// The layer is a module.
    pub fn module(&mut self, module: Expr) {
        self.module = Some(module);
    }

    /// The layer is an expression; of its operands, or of its module.
    pub fn call(&mut self, call: Expr) {
        self.call = Some(call);
    }

    /// The layer is an expression, and a module in a chain of modules.
    pub fn either(&mut self, call: Expr, module: Expr) {
        (self.call, self.module) = (Some(call), Some(module));
    }

    /// The layer needs this.
    pub fn helper(&mut self, helper: &'static Helper) {
        if !self.helpers.iter().any(|other| other.name == helper.name) {
            self.helpers.push(helper);
        }
    }

    /// A module whose windows slide over the operand: with its own padding where that is the same on both sides, else
    /// behind cells that are added in front of it.
    pub fn windowed(&mut self, windows: &Windows, mut module: Expr) {
        let [top, left, bottom, right] = match windows.padding {
            Padding::Sides(sides) => sides,
            Padding::SameUpper | Padding::SameLower => {
                let padded = self.padded_same(windows, 0.0);
                self.call(Expr { text: format!("{{m}}({})", padded.text), ..padded });
                return self.module(module);
            }
        };
        if (top, left) == (bottom, right) {
            let padding = Arg { name: "padding", value: Py::pair([top, left]), default: Some(0.into()) };
            let behind = module.args.iter().position(|arg| arg.name == "stride").map_or(module.args.len(), |at| at + 1);
            module.args.insert(behind, padding);
            return self.module(module);
        }
        self.call(Expr::new("{m}(F.pad({x}, {0}))").arg("pad", Py::list([left, right, top, bottom])));
        self.module(module);
    }

    /// The operand with the cells around it that TensorFlow's rule adds.
    pub fn padded_same(&mut self, windows: &Windows, value: f64) -> Expr {
        let padded = self.same_sides(windows);
        Expr { text: format!("F.pad({{x}}, {}, value={{3}})", padded.text), ..padded }.arg("value", value)
    }

    /// How many cells TensorFlow's rule adds: left, right, top and bottom.
    pub fn same_sides(&mut self, windows: &Windows) -> Expr {
        self.helper(&SAME_SIDES);
        Expr::new("same_sides({x}, {0}, {1}, {2})")
            .arg("extent", Py::list([windows.extent(0), windows.extent(1)]))
            .arg("stride", Py::list(windows.stride))
            .arg("lower", windows.padding == Padding::SameLower)
    }
}

impl From<i32> for Py {
    fn from(value: i32) -> Py {
        Py::Int(value.into())
    }
}

static SAME_SIDES: Helper = Helper {
    name: "same_sides",
    text: r#"def same_sides(x: Tensor, extent: List[int], stride: List[int], lower: bool) -> List[int]:
    """Cells to add left, right, top and bottom, so that windows give ceil(size / stride) positions."""
    h = max((x.shape[2] - 1) // stride[0] * stride[0] + extent[0] - x.shape[2], 0)
    w = max((x.shape[3] - 1) // stride[1] * stride[1] + extent[1] - x.shape[3], 0)
    sides = [w // 2, w - w // 2, h // 2, h - h // 2]
    return [sides[1], sides[0], sides[3], sides[2]] if lower else sides
"#,
};

/// The operands joined by an operator of Python; of many, in groups, which parsers take at any number.
pub fn joined(operands: usize, by: &str) -> String {
    const MOST: usize = 16;
    let mut terms: Vec<String> = (0..operands).map(|at| format!("{{x{at}}}")).collect();
    let separator = format!(" {by} ");
    while MOST < terms.len() {
        terms = terms.chunks(MOST).map(|chunk| format!("({})", chunk.join(&separator))).collect();
    }
    terms.join(&separator)
}
