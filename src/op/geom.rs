//! Window arithmetic shared by convolutions and pooling (Dumoulin & Visin 2016, arXiv:1603.07285).

use std::cmp::Ordering;

use super::attr::{ArgError, Call, Value};
use super::error::ShapeError;
use super::{Reach, Window};
use crate::dim::Dim;
use crate::tensor::Shape;

/// Names of the spatial axes, in order.
pub const AXES: [&str; 2] = ["height", "width"];

/// Padding of both spatial axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// Top, left, bottom, right.
    Sides([u64; 4]),
    /// TensorFlow's SAME: the output has ceil(size / stride) positions; an odd cell of padding goes behind.
    SameUpper,
    /// The same with the odd cell in front.
    SameLower,
}

/// The words that `pad` takes instead of numbers.
pub const PADDING_WORDS: &[&str] = &["same", "same_upper", "same_lower"];

impl Padding {
    /// The `pad` argument of a call.
    ///
    /// # Errors
    /// When it is neither numbers nor a word, or `same` with a stride.
    pub fn of(call: &Call, kernel: [u64; 2], stride: [u64; 2], dilation: [u64; 2]) -> Result<Padding, ArgError> {
        match call.word("pad") {
            None => call.sides("pad").map(Padding::Sides),
            Some("same_upper") => Ok(Padding::SameUpper),
            Some("same_lower") => Ok(Padding::SameLower),
            Some("same") if stride == [1, 1] => {
                let total = [0, 1].map(|axis| dilation[axis] * (kernel[axis] - 1));
                Ok(Padding::Sides([total[0] / 2, total[1] / 2, total[0].div_ceil(2), total[1].div_ceil(2)]))
            }
            Some("same") => Err(ArgError::new("pad", "`same` has one meaning at stride 1 only").help(format!(
                "write `pad = same_upper` for TensorFlow's rule, or numbers: `pad = [{}, {}]` is PyTorch's habit",
                kernel[0] / 2,
                kernel[1] / 2
            ))),
            Some(other) => {
                Err(ArgError::new("pad", format!("is numbers or one of {}, not `{other}`", PADDING_WORDS.join(", "))))
            }
        }
    }

    /// As the `pad` argument.
    pub fn value(self) -> Value {
        match self {
            Padding::Sides(sides) => Value::ints(&sides),
            Padding::SameUpper => Value::word("same_upper"),
            Padding::SameLower => Value::word("same_lower"),
        }
    }
}

/// A window that slides over both spatial axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Kernel height and width.
    pub kernel: [u64; 2],
    /// Step of the window.
    pub stride: [u64; 2],
    /// Distance of neighbouring taps.
    pub dilation: [u64; 2],
    /// Padding.
    pub padding: Padding,
    /// Whether a last partial window counts (PyTorch's `ceil_mode`); one that would start in the padding behind does not.
    pub ceil: bool,
}

impl Windows {
    /// How many input positions the window spans on an axis.
    pub fn extent(&self, axis: usize) -> u64 {
        self.dilation[axis] * (self.kernel[axis] - 1) + 1
    }

    /// Output height and width.
    ///
    /// # Errors
    /// When the window is larger than the padded input, or sizes overflow.
    pub fn output(&self, sizes: [&Dim; 2]) -> Result<[Dim; 2], ShapeError> {
        Ok([self.output_on(0, sizes[0])?, self.output_on(1, sizes[1])?])
    }

    fn output_on(&self, axis: usize, size: &Dim) -> Result<Dim, ShapeError> {
        let stride = self.stride[axis];
        let Padding::Sides(sides) = self.padding else { return Ok(size.ceil_div(stride)?) };
        let (before, after) = (sides[axis], sides[axis + 2]);
        let extent = self.extent(axis);
        let room = size.add(&Dim::from(before + after))?.sub(&Dim::from(extent))?;
        if room.as_known().is_some_and(|room| room < 0) {
            let (size, padding) = (size.clone(), before + after);
            return Err(ShapeError::WindowTooLarge { axis: AXES[axis], extent, size, padding });
        }
        if !self.ceil {
            return Ok(room.floor_div(stride)?.add(&Dim::ONE)?);
        }
        let steps = room.ceil_div(stride)?;
        // The last window starts at steps * stride <= room + stride - 1, which is inside the input or the padding in
        // front of it whenever stride + after <= extent.
        let starts_behind = if stride + after <= extent {
            false
        } else {
            let start = steps.mul(&Dim::from(stride))?;
            match start.compare(&size.add(&Dim::from(before))?) {
                Some(order) => order != Ordering::Less,
                None => {
                    return Err(ShapeError::Misfit {
                        attr: Some("ceil"),
                        message: format!("whether the last window counts depends on the {} `{size}`", AXES[axis]),
                        help: Some("fix the size with `--set`".to_owned()),
                    });
                }
            }
        };
        Ok(if starts_behind { steps } else { steps.add(&Dim::ONE)? })
    }

    /// Padding at the top, left, bottom and right for an input of known size.
    pub fn sides(&self, sizes: [usize; 2]) -> [usize; 4] {
        let total = [0, 1].map(|axis| {
            let (size, stride) = (sizes[axis] as u64, self.stride[axis]);
            ((size.div_ceil(stride).max(1) - 1) * stride + self.extent(axis)).saturating_sub(size) as usize
        });
        match self.padding {
            Padding::Sides(sides) => sides.map(|side| side as usize),
            Padding::SameUpper => [total[0] / 2, total[1] / 2, total[0].div_ceil(2), total[1].div_ceil(2)],
            Padding::SameLower => [total[0].div_ceil(2), total[1].div_ceil(2), total[0] / 2, total[1] / 2],
        }
    }

    /// How each output size comes about.
    pub fn arithmetic(&self, sizes: [&Dim; 2], outputs: [&Dim; 2]) -> Vec<String> {
        (0..2)
            .map(|axis| {
                let (name, size, output) = (AXES[axis], sizes[axis], outputs[axis]);
                let stride = self.stride[axis];
                let Padding::Sides(sides) = self.padding else {
                    return format!("{name}: ceil({size}/{stride}) = {output}");
                };
                let padding = match sides[axis] + sides[axis + 2] {
                    0 => String::new(),
                    total => format!(" + {total}"),
                };
                let (open, close) = if self.ceil { ("ceil(", ")") } else { ("floor(", ")") };
                format!("{name}: {open}({size}{padding} - {})/{stride}{close} + 1 = {output}", self.extent(axis))
            })
            .collect()
    }

    /// Which input positions an output position sees.
    pub fn reach(&self) -> Reach {
        let sides = match self.padding {
            Padding::Sides(sides) => sides,
            Padding::SameUpper | Padding::SameLower => [0, 1, 2, 3].map(|side| (self.extent(side % 2) - 1) / 2),
        };
        Reach::Window([0, 1].map(|axis| Window {
            extent: self.extent(axis),
            stride: (self.stride[axis], 1),
            before: i64::try_from(sides[axis]).unwrap_or(i64::MAX),
        }))
    }
}

/// Channels, height and width of an operand that must be a feature map.
///
/// # Errors
/// When it has another rank.
pub fn feature_map(inputs: &[Shape], input: usize) -> Result<(&Dim, &Dim, &Dim), ShapeError> {
    inputs.get(input).and_then(Shape::chw).ok_or_else(|| ShapeError::needs_feature_map(input))
}

/// A size that must be known because the operator's weights depend on it.
///
/// # Errors
/// When it is symbolic.
pub fn known(size: &Dim, what: &str) -> Result<u64, ShapeError> {
    size.as_u64().ok_or_else(|| ShapeError::Misfit {
        attr: None,
        message: format!("the number of {what} must be known, but it is `{size}`"),
        help: Some(
            "pool to a fixed size first, for example `avgpool(global)`, or fix the size with `--set`".to_owned(),
        ),
    })
}
