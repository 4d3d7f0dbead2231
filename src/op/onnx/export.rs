//! The nodes of a model that compute a layer.

use super::constant::MAX_FILLED;
use super::{Attr, Constant, Data, Unfit};
use crate::dim::Dim;
use crate::tensor::Shape;

/// A node to be written.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// The ONNX operator.
    pub op_type: &'static str,
    /// The names of its operands; empty where one is left out.
    pub inputs: Vec<String>,
    /// The names of its results.
    pub outputs: Vec<String>,
    /// Its attributes.
    pub attrs: Attrs,
}

/// The symbol of the batch's size in lists of sizes; no free size of a text is called so.
pub const BATCH_SIZE: &str = "batch size";

/// Attributes of a node by name.
pub type Attrs = Vec<(&'static str, Attr)>;

/// What the rule of an operator is given, and what it makes.
pub struct Export<'a> {
    /// The version of the operator set.
    pub opset: i64,
    /// The shapes of the operands.
    pub inputs: &'a [Shape],
    /// The shapes of the results.
    pub outputs: &'a [Shape],
    path: &'a str,
    operands: &'a [String],
    results: &'a [String],
    values: &'a dyn Fn(&str) -> Option<Vec<f32>>,
    /// The nodes in order.
    pub nodes: Vec<Node>,
    /// Tensors that the nodes read beside the layer's parameters.
    pub constants: Vec<Constant>,
    /// Lists of sizes that depend on the input's: the name of each, and the sizes.
    pub sizes: Vec<(String, Vec<Dim>)>,
}

impl<'a> Export<'a> {
    /// A layer at a path, with the names of its operands and results.
    pub fn new(
        opset: i64,
        path: &'a str,
        (operands, inputs): (&'a [String], &'a [Shape]),
        (results, outputs): (&'a [String], &'a [Shape]),
        values: &'a dyn Fn(&str) -> Option<Vec<f32>>,
    ) -> Export<'a> {
        let (nodes, constants, sizes) = (Vec::new(), Vec::new(), Vec::new());
        Export { opset, inputs, outputs, path, operands, results, values, nodes, constants, sizes }
    }

    /// The numbers of a parameter, for layers that ONNX takes under another layout.
    ///
    /// # Errors
    /// When the weights lack it.
    pub fn values(&self, leaf: &str) -> Result<Vec<f32>, Unfit> {
        (self.values)(leaf).ok_or_else(|| Unfit::new(format!("its {leaf} is missing")))
    }

    /// The name of an operand.
    pub fn operand(&self, at: usize) -> String {
        self.operands[at].clone()
    }

    /// The names of all operands.
    pub fn operands(&self) -> Vec<String> {
        self.operands.to_vec()
    }

    /// The name of a parameter of the layer.
    pub fn param(&self, leaf: &str) -> String {
        format!("{}.{leaf}", self.path)
    }

    /// A node between others; gives the name of its result.
    pub fn between(&mut self, op_type: &'static str, inputs: Vec<String>, attrs: Attrs) -> String {
        let name = format!("{}/{op_type}_{}", self.path, self.nodes.len());
        self.nodes.push(Node { name: name.clone(), op_type, inputs, outputs: vec![name.clone()], attrs });
        name
    }

    /// The node that gives the layer's results.
    pub fn last(&mut self, op_type: &'static str, inputs: Vec<String>, attrs: Attrs) {
        let (name, outputs) = (self.path.to_owned(), self.results.to_vec());
        self.nodes.push(Node { name, op_type, inputs, outputs, attrs });
    }

    /// A node of the operand alone that gives the layer's result.
    pub fn unary(&mut self, op_type: &'static str, attrs: Attrs) {
        let operand = self.operand(0);
        self.last(op_type, vec![operand], attrs);
    }

    /// A tensor of floats; gives its name.
    ///
    /// # Errors
    /// When the sizes are not those of the values.
    pub fn floats(&mut self, dims: &[u64], values: Vec<f32>) -> Result<String, Unfit> {
        let constant = Constant::floats(dims, values);
        self.constant(constant.ok_or_else(|| Unfit::new("a constant has other sizes than values"))?)
    }

    /// A single float.
    ///
    /// # Errors
    /// Never for one value.
    pub fn float(&mut self, value: f64) -> Result<String, Unfit> {
        self.floats(&[], vec![value as f32])
    }

    /// A list of integers; gives its name.
    ///
    /// # Errors
    /// Never for a list.
    pub fn ints(&mut self, values: Vec<i64>) -> Result<String, Unfit> {
        self.constant(Constant::new(ndarray::Array1::from(values).into_dyn()))
    }

    /// A single integer, which is no list; gives its name.
    ///
    /// # Errors
    /// Never.
    pub fn int(&mut self, value: i64) -> Result<String, Unfit> {
        self.constant(Constant::new(ndarray::arr0(value).into_dyn()))
    }

    /// A tensor of one float everywhere; gives its name.
    ///
    /// # Errors
    /// When it is too large.
    pub fn filled(&mut self, dims: &[u64], value: f32) -> Result<String, Unfit> {
        bounded(dims)?;
        self.constant(Constant::new(Data::Fill(dims.to_vec(), value)))
    }

    /// A list of pairs of integers; gives its name.
    ///
    /// # Errors
    /// Never for a list.
    pub fn pairs(&mut self, values: Vec<[i64; 2]>) -> Result<String, Unfit> {
        self.constant(Constant::new(ndarray::arr2(&values).into_dyn()))
    }

    /// A list of sizes, computed in the model where they depend on the input's; gives its name.
    ///
    /// # Errors
    /// When one does not fit 64 bits.
    pub fn dims(&mut self, dims: &[Dim]) -> Result<String, Unfit> {
        if dims.iter().any(Dim::is_symbolic) {
            let name = format!("{}/sizes_{}", self.path, self.sizes.len());
            self.sizes.push((name.clone(), dims.to_vec()));
            return Ok(name);
        }
        let known: Option<Vec<i64>> = dims.iter().map(|dim| i64::try_from(dim.as_known()?).ok()).collect();
        self.ints(known.ok_or_else(|| Unfit::new("a size does not fit 64 bits"))?)
    }

    /// The sizes of the layer's result, with the batch as it is; gives the list's name.
    ///
    /// # Errors
    /// When one does not fit 64 bits.
    pub fn result_sizes(&mut self) -> Result<String, Unfit> {
        let sizes: Vec<Dim> = std::iter::once(Dim::ZERO).chain(self.outputs[0].0.iter().cloned()).collect();
        self.dims(&sizes)
    }

    fn constant(&mut self, mut constant: Constant) -> Result<String, Unfit> {
        let name = format!("{}/constant_{}", self.path, self.constants.len());
        constant.name = name.as_str().into();
        self.constants.push(constant);
        Ok(name)
    }

    /// Numbers of the net's text: one, or one for each channel.
    ///
    /// # Errors
    /// Never for a list.
    pub fn numbers(&mut self, values: &[f64]) -> Result<String, Unfit> {
        let floats = values.iter().map(|&value| value as f32).collect();
        match values {
            [_] => self.floats(&[], floats),
            _ => self.floats(&self.channel_dims(values.len() as u64), floats),
        }
    }

    /// The sizes of a tensor with one number for each channel of the operand.
    fn channel_dims(&self, c: u64) -> Vec<u64> {
        if self.inputs[0].rank() == 3 { vec![c, 1, 1] } else { vec![c] }
    }

    /// A parameter with a number for each channel, as it has to lie beside the operand.
    ///
    /// # Errors
    /// Never.
    pub fn per_channel(&mut self, param: String) -> Result<String, Unfit> {
        if self.inputs[0].rank() != 3 {
            return Ok(param);
        }
        let to = self.ints(vec![-1, 1, 1])?;
        Ok(self.between("Reshape", vec![param, to], Vec::new()))
    }

    /// The layer's result as a tensor times its `weight`, plus its `bias`, each one number for each channel.
    ///
    /// # Errors
    /// Never.
    pub fn scaled_and_shifted(&mut self, x: String) -> Result<(), Unfit> {
        let weight = self.param("weight");
        let weight = self.per_channel(weight)?;
        let scaled = self.between("Mul", vec![x, weight], Vec::new());
        let bias = self.param("bias");
        let bias = self.per_channel(bias)?;
        self.last("Add", vec![scaled, bias], Vec::new());
        Ok(())
    }

    /// A tensor with another axis of size 1.
    ///
    /// # Errors
    /// Never.
    pub fn unsqueezed(&mut self, x: String, axis: i64) -> Result<String, Unfit> {
        if self.opset < 13 {
            return Ok(self.between("Unsqueeze", vec![x], vec![("axes", Attr::Ints(vec![axis]))]));
        }
        let axes = self.ints(vec![axis])?;
        Ok(self.between("Unsqueeze", vec![x, axes], Vec::new()))
    }

    /// The layer's result as a reduction over axes.
    ///
    /// # Errors
    /// Never.
    pub fn reduced(&mut self, op_type: &'static str, x: String, axes: &[i64], keep: bool) -> Result<(), Unfit> {
        let (inputs, attrs) = self.reduction(op_type, x, axes, keep)?;
        self.last(op_type, inputs, attrs);
        Ok(())
    }

    /// The operands and attributes of a reduction over axes.
    ///
    /// # Errors
    /// Never.
    pub fn reduction(
        &mut self,
        op_type: &'static str,
        x: String,
        axes: &[i64],
        keep: bool,
    ) -> Result<(Vec<String>, Attrs), Unfit> {
        let keep = ("keepdims", Attr::Int(i64::from(keep)));
        let first = if op_type == "ReduceSum" { 13 } else { 18 };
        if self.opset < first {
            return Ok((vec![x], vec![("axes", Attr::Ints(axes.to_vec())), keep]));
        }
        let axes = self.ints(axes.to_vec())?;
        Ok((vec![x, axes], vec![keep]))
    }

    /// The operands and attributes of a Slice that cuts a range of known places from one axis.
    ///
    /// # Errors
    /// Never.
    pub fn range(&mut self, x: &str, axis: i64, start: i64, end: i64) -> Result<(Vec<String>, Attrs), Unfit> {
        let lists = [("starts", start), ("ends", end), ("axes", axis)];
        if self.opset < 10 {
            return Ok((vec![x.to_owned()], lists.map(|(name, value)| (name, Attr::Ints(vec![value]))).into()));
        }
        let mut inputs = vec![x.to_owned()];
        for (_, value) in lists {
            inputs.push(self.ints(vec![value])?);
        }
        Ok((inputs, Vec::new()))
    }

    /// The layer's result as the operand within bounds.
    ///
    /// # Errors
    /// Never.
    pub fn clipped(&mut self, least: Option<f64>, most: Option<f64>) -> Result<(), Unfit> {
        if self.opset < 11 {
            let bound = |name: &'static str, bound: Option<f64>| bound.map(|bound| (name, Attr::Float(bound as f32)));
            self.unary("Clip", bound("min", least).into_iter().chain(bound("max", most)).collect());
            return Ok(());
        }
        let mut inputs = vec![self.operand(0)];
        for bound in [least, most] {
            inputs.push(bound.map_or(Ok(String::new()), |bound| self.float(bound))?);
        }
        self.last("Clip", inputs, Vec::new());
        Ok(())
    }

    /// The layer's result as ranges of some axes of the operand.
    ///
    /// # Errors
    /// When the ranges depend on the input's size, before operator set 10.
    pub fn sliced(&mut self, axes: &[i64], starts: &[Dim], ends: &[Dim]) -> Result<(), Unfit> {
        if self.opset < 10 {
            let list = |dims: &[Dim]| -> Option<Vec<i64>> {
                dims.iter().map(|dim| i64::try_from(dim.as_known()?).ok()).collect()
            };
            let (Some(starts), Some(ends)) = (list(starts), list(ends)) else {
                return Err(Unfit::new("Slice at places that depend on the input's size needs operator set 10"));
            };
            let lists = [("axes", axes.to_vec()), ("starts", starts), ("ends", ends)];
            self.unary("Slice", lists.map(|(name, list)| (name, Attr::Ints(list))).into());
            return Ok(());
        }
        let (starts, ends) = (self.dims(starts)?, self.dims(ends)?);
        let (x, axes) = (self.operand(0), self.ints(axes.to_vec())?);
        self.last("Slice", vec![x, starts, ends, axes], Vec::new());
        Ok(())
    }

    /// The layer's result as a tensor with cells added: in front of each axis, then behind each.
    ///
    /// # Errors
    /// Never.
    pub fn padded(&mut self, x: String, pads: Vec<i64>, mode: &str, value: f64) -> Result<(), Unfit> {
        let mut attrs = vec![("mode", Attr::Text(mode.to_owned()))];
        if self.opset < 11 {
            attrs.extend([("pads", Attr::Ints(pads)), ("value", Attr::Float(value as f32))]);
            self.last("Pad", vec![x], attrs);
            return Ok(());
        }
        let mut inputs = vec![x, self.ints(pads)?];
        if mode == "constant" {
            inputs.push(self.float(value)?);
        }
        self.last("Pad", inputs, attrs);
        Ok(())
    }
}

/// How many numbers a constant of these sizes has.
///
/// # Errors
/// When it is too large.
pub fn bounded(dims: &[u64]) -> Result<usize, Unfit> {
    let elements = dims.iter().try_fold(1u64, |product, &dim| product.checked_mul(dim));
    let elements =
        elements.filter(|&elements| elements <= MAX_FILLED).and_then(|elements| usize::try_from(elements).ok());
    elements.ok_or_else(|| Unfit::new(format!("a constant with the sizes {dims:?} is too large")))
}
