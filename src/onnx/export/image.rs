//! A net's preprocessing as nodes of its model, which then takes images as bytes.
//!
//! The steps are those of `data::preprocess`, which follow Pillow: resampling is done on one axis after the other, and each
//! gives whole bytes. What differs is the rounding of a resampled byte that lies half way between two.

use super::{FLOAT, Free, Info, Model, Size, Tensor, UINT8};
use crate::data::preprocess::{Interpolation, Order, Preprocess, ResizeTo, Step};
use crate::ir::Net;
use crate::onnx::error::OnnxError;
use crate::op::onnx::export::{Attrs, Node};
use crate::op::onnx::{Attr, Constant};

/// Where Resize can smooth what it makes smaller.
const ANTIALIAS: i64 = 18;

/// Puts preprocessing in front of a model's single input, which becomes `[batch, height, width, channels]` of bytes.
///
/// # Errors
/// When the net has none, takes several inputs, or the operator set cannot resample as it says.
pub(super) fn preprocess(model: &mut Model, net: &Net, free: &Free) -> Result<(), OnnxError> {
    let wrong = |what: &str, help: &str| Err(OnnxError::wrong(what, help));
    let Some(preprocess) = &net.preprocess else {
        return wrong("the net has no `preprocess`", "write one into the net, or give its input as numbers");
    };
    let [input] = model.inputs.as_slice() else {
        return wrong("preprocessing is for nets with a single input", "give the inputs as numbers");
    };
    let (name, sizes) = (input.name.clone(), input.dims.clone());
    let resamples = preprocess.steps.iter().any(|step| matches!(step, Step::Resize { .. }));
    if model.opset < ANTIALIAS && resamples {
        return wrong("resampling an image smoothly needs operator set 18", "export with --opset 18 or later");
    }
    if model.opset < 13 {
        return wrong("preprocessing in the graph needs operator set 13", "export with --opset 13 or later");
    }
    let prepared = format!("{name}/prepared");
    for node in &mut model.nodes {
        node.inputs.iter_mut().filter(|operand| **operand == name).for_each(|operand| operand.clone_from(&prepared));
    }
    let gray = preprocess.steps.contains(&Step::Gray);
    let channels = if gray { Size::Known(3) } else { sizes.get(1).cloned().unwrap_or(Size::Known(3)) };
    let [height, width] = free.image.clone().map(Size::Named);
    model.inputs = vec![Info {
        name: name.clone(),
        element: UINT8,
        dims: vec![Size::Named(free.batch.clone()), height, width, channels],
    }];
    model.values.push(Info { name: prepared.clone(), element: FLOAT, dims: sizes });
    let mut front = Front { scope: name.clone(), nodes: Vec::new(), tensors: Vec::new(), least: None };
    let x = front.node("Cast", &[&name], vec![("to", Attr::Int(FLOAT))]);
    let mut x = front.node("Transpose", &[&x], vec![("perm", Attr::Ints(vec![0, 3, 1, 2]))]);
    for step in &preprocess.steps {
        x = front.step(x, step);
    }
    let x = front.numbers(x, preprocess);
    front.nodes.push(Node {
        name: prepared.clone(),
        op_type: "Identity",
        inputs: vec![x],
        outputs: vec![prepared],
        attrs: Vec::new(),
    });
    model.nodes.splice(0..0, front.nodes);
    model.tensors.extend(front.tensors);
    Ok(())
}

/// Checks that preprocessing makes images of these sizes, the batch in front.
///
/// # Errors
/// When it makes others.
pub(super) fn check(preprocess: &Preprocess, sizes: &[Size]) -> Result<(), OnnxError> {
    let wanted: Vec<Option<usize>> = sizes.iter().skip(1).map(Size::known).collect();
    let (c, made) = (preprocess.channels(), preprocess.fixed_size());
    let fits = match (wanted.as_slice(), made) {
        (&[Some(channels), Some(h), Some(w)], Some(made)) => c == channels && made == (h, w),
        (&[Some(channels), None, None], _) => c == channels,
        _ => false,
    };
    if !fits {
        let sizes: Vec<String> = sizes.iter().skip(1).map(Size::to_string).collect();
        let made = made.map_or("of any height and width".to_owned(), |(h, w)| format!("of {h}x{w}"));
        let what = format!("`preprocess` makes images with {c} channels {made}, and the input is {}", sizes.join("x"));
        let help = "leave out --shape and --set, or let the preprocessing end with the input's sizes, as with `crop`";
        return Err(OnnxError::wrong(what, help));
    }
    Ok(())
}

/// The nodes in front of a net.
struct Front {
    scope: String,
    nodes: Vec<Node>,
    tensors: Vec<(String, Tensor)>,
    /// The least height and width that the image can have by now, in pixels.
    least: Option<[usize; 2]>,
}

impl Front {
    fn node(&mut self, op_type: &'static str, inputs: &[&str], attrs: Attrs) -> String {
        let name = format!("{}/{op_type}_{}", self.scope, self.nodes.len());
        let inputs = inputs.iter().map(|&input| input.to_owned()).collect();
        self.nodes.push(Node { name: name.clone(), op_type, inputs, outputs: vec![name.clone()], attrs });
        name
    }

    fn constant(&mut self, constant: Constant) -> String {
        let name = format!("{}/constant_{}", self.scope, self.tensors.len());
        self.tensors.push((name.clone(), Tensor::Known(constant)));
        name
    }

    fn ints(&mut self, values: &[i64]) -> String {
        self.constant(Constant::new(ndarray::Array1::from(values.to_vec()).into_dyn()))
    }

    /// One number for all channels, or one for each.
    fn floats(&mut self, values: &[f32]) -> String {
        let array = ndarray::Array1::from(values.to_vec());
        let array = array.into_shape_with_order((values.len(), 1, 1)).map(ndarray::Array3::into_dyn);
        self.constant(Constant::new(array.unwrap_or_default()))
    }

    fn step(&mut self, x: String, step: &Step) -> String {
        match *step {
            Step::Resize { to, interpolation } => self.resize(x, to, interpolation),
            Step::Crop { h, w } => {
                let x = if self.least.is_some_and(|[least_h, least_w]| h <= least_h && w <= least_w) {
                    x
                } else {
                    self.at_least(x, [h, w])
                };
                self.least = Some([h, w]);
                self.middle(&x, [h, w])
            }
            Step::Pad { top, left, bottom, right, value } => {
                self.least = self.least.map(|[h, w]| [h + top + bottom, w + left + right]);
                let sides = [0, 0, top, left, 0, 0, bottom, right].map(|side| side as i64);
                let (pads, value) = (self.ints(&sides), self.scalar(f32::from(value)));
                self.node("Pad", &[&x, &pads, &value], Vec::new())
            }
            Step::Gray => {
                // All sums are integers below 2^24, which 32 bits hold exactly.
                let luma = ndarray::Array4::from_shape_fn((1, 3, 1, 1), |(_, c, _, _)| [19595f32, 38470.0, 7471.0][c]);
                let luma = self.constant(Constant::new(luma.into_dyn()));
                let half = self.constant(Constant::new(ndarray::Array1::from(vec![32768f32]).into_dyn()));
                let x = self.node("Conv", &[&x, &luma, &half], Vec::new());
                let share = self.scalar(1.0 / 65536.0);
                let x = self.node("Mul", &[&x, &share], Vec::new());
                self.node("Floor", &[&x], Vec::new())
            }
        }
    }

    fn scalar(&mut self, value: f32) -> String {
        self.constant(Constant::new(ndarray::ArrayD::from_elem(ndarray::IxDyn(&[]), value)))
    }

    /// The batch and channels, the height, and the width of an image.
    fn sizes(&mut self, x: &str) -> [String; 3] {
        let shape = self.node("Shape", &[x], Vec::new());
        [vec![0, 1], vec![2], vec![3]].map(|axes| {
            let axes = self.ints(&axes);
            self.node("Gather", &[&shape, &axes], vec![("axis", Attr::Int(0))])
        })
    }

    fn resize(&mut self, x: String, to: ResizeTo, interpolation: Interpolation) -> String {
        let [front, h, w] = self.sizes(&x);
        let [new_h, new_w] = match to {
            ResizeTo::Exact { h, w } => {
                self.least = Some([h, w]);
                [h, w].map(|size| self.ints(&[size as i64]))
            }
            ResizeTo::Short(short) => {
                self.least = Some([short, short]);
                // A side times the short length by the shorter side, rounded down: for the shorter side the length itself.
                let (shorter, short) = (self.node("Min", &[&h, &w], Vec::new()), self.ints(&[short as i64]));
                [h.clone(), w].map(|side| {
                    let product = self.node("Mul", &[&side, &short], Vec::new());
                    self.node("Div", &[&product, &shorter], Vec::new())
                })
            }
        };
        let (mode, nearest) = match interpolation {
            Interpolation::Bilinear => ("linear", false),
            Interpolation::Bicubic => ("cubic", false),
            Interpolation::Nearest => ("nearest", true),
        };
        let text = |name: &'static str, text: &str| (name, Attr::Text(text.to_owned()));
        let mut attrs = vec![text("mode", mode), text("coordinate_transformation_mode", "half_pixel")];
        if nearest {
            attrs.push(text("nearest_mode", "round_prefer_ceil"));
        } else {
            let [antialias, inside] = ["antialias", "exclude_outside"].map(|name| (name, Attr::Int(1)));
            attrs.extend([antialias, inside, ("cubic_coeff_a", Attr::Float(-0.5))]);
        }
        let to = vec![("axis", Attr::Int(0))];
        let across = self.node("Concat", &[&front, &h, &new_w], to.clone());
        let x = self.node("Resize", &[&x, "", "", &across], attrs.clone());
        let x = if nearest { x } else { self.bytes(x) };
        let down = self.node("Concat", &[&front, &new_h, &new_w], to);
        let x = self.node("Resize", &[&x, "", "", &down], attrs);
        if nearest { x } else { self.bytes(x) }
    }

    /// The nearest whole numbers between 0 and 255.
    fn bytes(&mut self, x: String) -> String {
        let half = self.scalar(0.5);
        let x = self.node("Add", &[&x, &half], Vec::new());
        let x = self.node("Floor", &[&x], Vec::new());
        let (least, most) = (self.scalar(0.0), self.scalar(255.0));
        self.node("Clip", &[&x, &least, &most], Vec::new())
    }

    /// An image with black around it where it is smaller than this, as much on both sides; an odd pixel goes behind.
    fn at_least(&mut self, x: String, wanted: [usize; 2]) -> String {
        let [_, h, w] = self.sizes(&x);
        let (zero, one, two) = (self.ints(&[0]), self.ints(&[1]), self.ints(&[2]));
        let mut sides = Vec::new();
        for (size, wanted) in [h, w].into_iter().zip(wanted) {
            let wanted = self.ints(&[wanted as i64]);
            let missing = self.node("Sub", &[&wanted, &size], Vec::new());
            let missing = self.node("Max", &[&missing, &zero], Vec::new());
            let before = self.node("Div", &[&missing, &two], Vec::new());
            let more = self.node("Add", &[&missing, &one], Vec::new());
            sides.push([before, self.node("Div", &[&more, &two], Vec::new())]);
        }
        let [[top, bottom], [left, right]] = [sides[0].clone(), sides[1].clone()];
        let parts = [&zero, &zero, &top, &left, &zero, &zero, &bottom, &right].map(String::as_str);
        let pads = self.node("Concat", &parts, vec![("axis", Attr::Int(0))]);
        let black = self.scalar(0.0);
        self.node("Pad", &[&x, &pads, &black], Vec::new())
    }

    /// The middle of an image; half a pixel goes to the even neighbour.
    fn middle(&mut self, x: &str, wanted: [usize; 2]) -> String {
        let [_, h, w] = self.sizes(x);
        let two = self.ints(&[2]);
        let mut starts = Vec::new();
        for (size, wanted) in [h, w].into_iter().zip(wanted) {
            let wanted = self.ints(&[wanted as i64]);
            let left = self.node("Sub", &[&size, &wanted], Vec::new());
            let half = self.node("Div", &[&left, &two], Vec::new());
            let odd = [&left, &half].map(|value| self.node("Mod", &[value, &two], Vec::new()));
            let up = self.node("Mul", &[&odd[0], &odd[1]], Vec::new());
            starts.push(self.node("Add", &[&half, &up], Vec::new()));
        }
        let starts = self.node("Concat", &[&starts[0], &starts[1]], vec![("axis", Attr::Int(0))]);
        let (sizes, axes) = (self.ints(&wanted.map(|size| size as i64)), self.ints(&[2, 3]));
        let ends = self.node("Add", &[&starts, &sizes], Vec::new());
        self.node("Slice", &[x, &starts, &ends, &axes], Vec::new())
    }

    /// Bytes to numbers.
    fn numbers(&mut self, mut x: String, preprocess: &Preprocess) -> String {
        if preprocess.order == Order::Bgr {
            let order = self.ints(&[2, 1, 0]);
            x = self.node("Gather", &[&x, &order], vec![("axis", Attr::Int(1))]);
        }
        let (lo, hi) = (preprocess.scale.lo, preprocess.scale.hi);
        let share = (f64::from(hi) - f64::from(lo)) / 255.0;
        let steps: [(&'static str, Vec<f32>, f32); 4] = [
            ("Mul", vec![share as f32], 1.0),
            ("Add", vec![lo], 0.0),
            ("Sub", preprocess.mean.clone(), 0.0),
            ("Div", preprocess.std.clone(), 1.0),
        ];
        for (op_type, values, neutral) in steps {
            if values.iter().any(|&value| value != neutral) {
                let values = self.floats(&values);
                x = self.node(op_type, &[&x, &values], Vec::new());
            }
        }
        x
    }
}
