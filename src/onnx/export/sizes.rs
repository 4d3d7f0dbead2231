//! Sizes that depend on the input's, as the nodes that compute them when the model runs.

use std::collections::HashMap;

use crate::dim::{Dim, Factor, Product};
use crate::ir::Net;
use crate::op::onnx::export::BATCH_SIZE;
use crate::op::onnx::export::Node;
use crate::op::onnx::{Attr, Constant, Unfit};
use crate::shape::Shapes;

/// Nodes that compute sizes, each once; every value is a list of one integer.
#[derive(Debug, Default)]
pub(super) struct Sizes {
    pub(super) nodes: Vec<Node>,
    pub(super) constants: Vec<(String, Constant)>,
    /// Where a symbol is found: the input, and the axis with the batch in front.
    symbols: HashMap<String, (String, usize)>,
    known: HashMap<Dim, String>,
    shapes: HashMap<String, String>,
}

impl Sizes {
    /// Those of a net, none of them asked for yet.
    pub(super) fn of(net: &Net, shapes: &Shapes) -> Sizes {
        let mut symbols = HashMap::new();
        for &input in &net.inputs {
            symbols.entry(BATCH_SIZE.to_owned()).or_insert((net.node(input).path.clone(), 0));
            for (axis, dim) in shapes.of(input.into()).0.iter().enumerate() {
                if let [symbol] = dim.symbols().as_slice() {
                    symbols.entry(symbol.clone()).or_insert((net.node(input).path.clone(), axis + 1));
                }
            }
        }
        Sizes { symbols, ..Sizes::default() }
    }

    /// A list of sizes under a name.
    ///
    /// # Errors
    /// When a number in them does not fit 64 bits.
    pub(super) fn list(&mut self, name: String, dims: &[Dim]) -> Result<(), Unfit> {
        let parts = dims.iter().map(|dim| self.value(dim)).collect::<Result<_, _>>()?;
        self.nodes.push(Node {
            name: name.clone(),
            op_type: "Concat",
            inputs: parts,
            outputs: vec![name],
            attrs: vec![("axis", Attr::Int(0))],
        });
        Ok(())
    }

    fn value(&mut self, dim: &Dim) -> Result<String, Unfit> {
        if let Some(name) = self.known.get(dim) {
            return Ok(name.clone());
        }
        let name = match dim.as_known() {
            Some(value) => self.constant(value)?,
            None => match whole_symbol(dim) {
                Some(symbol) => self.input_size(&symbol)?,
                None => self.sum(dim)?,
            },
        };
        self.known.insert(dim.clone(), name.clone());
        Ok(name)
    }

    fn sum(&mut self, dim: &Dim) -> Result<String, Unfit> {
        let mut sum: Option<String> = None;
        for term in dim.terms() {
            let mut product: Option<String> = None;
            for factor in term.factors {
                let factor = match factor {
                    Factor::Symbol { name, divisor } => {
                        let size = self.input_size(&name)?;
                        if divisor == 1 { size } else { self.divided(size, i128::from(divisor))? }
                    }
                    // Division of integers rounds towards zero, and what is divided is never negative.
                    Factor::Floor { of, by } => {
                        let of = self.value(&of)?;
                        self.divided(of, by)?
                    }
                };
                product = Some(match product {
                    Some(before) => self.node("Mul", vec![before, factor], Vec::new()),
                    None => factor,
                });
            }
            let term = match (product, term.coefficient) {
                (Some(product), 1) => product,
                (Some(product), coefficient) => {
                    let coefficient = self.constant(coefficient)?;
                    self.node("Mul", vec![product, coefficient], Vec::new())
                }
                (None, coefficient) => self.constant(coefficient)?,
            };
            sum = Some(match sum {
                Some(before) => self.node("Add", vec![before, term], Vec::new()),
                None => term,
            });
        }
        sum.map_or_else(|| self.constant(0), Ok)
    }

    fn divided(&mut self, value: String, by: i128) -> Result<String, Unfit> {
        let by = self.constant(by)?;
        Ok(self.node("Div", vec![value, by], Vec::new()))
    }

    /// The size of an input along one axis.
    fn input_size(&mut self, symbol: &str) -> Result<String, Unfit> {
        let key = format!("sizes/{symbol}");
        if self.shapes.contains_key(&key) {
            return Ok(key);
        }
        let missing = || Unfit::new(format!("`{symbol}` is no size of an input"));
        let (input, axis) = self.symbols.get(symbol).cloned().ok_or_else(missing)?;
        let shape = match self.shapes.get(&input) {
            Some(shape) => shape.clone(),
            None => {
                let shape = self.node("Shape", vec![input.clone()], Vec::new());
                self.shapes.insert(input, shape.clone());
                shape
            }
        };
        let axis = self.constant(axis as i128)?;
        self.shapes.insert(key.clone(), shape.clone());
        self.nodes.push(Node {
            name: key.clone(),
            op_type: "Gather",
            inputs: vec![shape, axis],
            outputs: vec![key.clone()],
            attrs: vec![("axis", Attr::Int(0))],
        });
        Ok(key)
    }

    fn constant(&mut self, value: i128) -> Result<String, Unfit> {
        let dim = Dim::known(value);
        if let Some(name) = self.known.get(&dim) {
            return Ok(name.clone());
        }
        let name = format!("sizes/constant_{}", self.constants.len());
        let value = i64::try_from(value).map_err(|_| Unfit::new(format!("the number {value} does not fit 64 bits")))?;
        self.constants.push((name.clone(), Constant::new(ndarray::Array1::from(vec![value]).into_dyn())));
        self.known.insert(dim, name.clone());
        Ok(name)
    }

    fn node(&mut self, op_type: &'static str, inputs: Vec<String>, attrs: Vec<(&'static str, Attr)>) -> String {
        let name = format!("sizes/{op_type}_{}", self.nodes.len());
        self.nodes.push(Node { name: name.clone(), op_type, inputs, outputs: vec![name.clone()], attrs });
        name
    }
}

/// The symbol that a size is.
fn whole_symbol(dim: &Dim) -> Option<String> {
    match dim.terms().as_slice() {
        [Product { coefficient, factors }] => match factors.as_slice() {
            [Factor::Symbol { name, divisor }] if *coefficient == i128::from(*divisor) => Some(name.clone()),
            _ => None,
        },
        _ => None,
    }
}
