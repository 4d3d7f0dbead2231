//! Window arithmetic shared by convolutions and pooling (Dumoulin & Visin 2016, arXiv:1603.07285).

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use super::attr::{ArgError, Call, Param, Value, param, words};
use super::error::ShapeError;
use super::{Reach, Window};
use crate::dim::{Dim, DimError};
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
const PADDING_WORDS: &[&str] = &["same", "same_upper", "same_lower"];

/// The `kernel` parameter.
pub const KERNEL: Param = param("kernel", "", "kernel size: k or [k_h, k_w]");
/// The `stride` parameter.
pub const STRIDE: Param = param("stride", "1", "step: s or [s_h, s_w]");
/// The `pad` parameter.
pub const PAD: Param =
    words("pad", PADDING_WORDS, "0", "padding: p, [p_h, p_w] or [top, left, bottom, right], or a word");
/// The `dilation` parameter.
pub const DILATION: Param = param("dilation", "1", "distance of taps: d or [d_h, d_w]");

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
            Some("same") => {
                let [h, w] = [0, 1].map(|axis| dilation[axis] * (kernel[axis] - 1) / 2);
                Err(ArgError::new("pad", "is `same`, which has one meaning at stride 1 only").help(format!(
                    "write `pad = same_upper` for TensorFlow's rule, or numbers: `pad = [{h}, {w}]` is PyTorch's habit"
                )))
            }
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
    /// Windows of one cell.
    pub fn single(stride: [u64; 2]) -> Windows {
        Windows { kernel: [1, 1], stride, dilation: [1, 1], padding: Padding::Sides([0; 4]), ceil: false }
    }

    /// How many input positions the window spans on an axis.
    pub fn extent(&self, axis: usize) -> u64 {
        self.dilation[axis] * (self.kernel[axis] - 1) + 1
    }

    /// How many input positions one window reads in each channel.
    pub fn taps(&self) -> u64 {
        self.kernel[0] * self.kernel[1]
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
        let room = self.room(axis, size, before + after)?;
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
            start.at_least(&size.add(&Dim::from(before))?).ok_or_else(|| ShapeError::Misfit {
                attr: Some("ceil"),
                message: format!("whether the last window counts depends on the {} `{size}`", AXES[axis]),
                help: Some("fix the size with `--set`".to_owned()),
            })?
        };
        Ok(if starts_behind { steps } else { steps.add(&Dim::ONE)? })
    }

    /// How far the window can move.
    fn room(&self, axis: usize, size: &Dim, padding: u64) -> Result<Dim, DimError> {
        size.add(&Dim::from(padding))?.sub(&Dim::from(self.extent(axis)))
    }

    /// Padding at the top, left, bottom and right for an input of known size.
    pub fn sides(&self, sizes: [usize; 2]) -> [usize; 4] {
        let [(top, bottom), (left, right)] = [0, 1].map(|axis| self.padding_on(axis, sizes[axis] as u64));
        [top, left, bottom, right].map(|side| usize::try_from(side).unwrap_or(usize::MAX))
    }

    /// Padding in front of and behind an axis of known size.
    fn padding_on(&self, axis: usize, size: u64) -> (u64, u64) {
        let last_start = (size.div_ceil(self.stride[axis]).max(1) - 1) * self.stride[axis];
        let total = last_start.saturating_add(self.extent(axis)).saturating_sub(size);
        match self.padding {
            Padding::Sides(sides) => (sides[axis], sides[axis + 2]),
            Padding::SameUpper => (total / 2, total.div_ceil(2)),
            Padding::SameLower => (total.div_ceil(2), total / 2),
        }
    }

    /// The axis on which some window sees padding only, if there is one; `None` as well where symbols decide.
    pub fn all_padding(&self, sizes: [&Dim; 2]) -> Option<&'static str> {
        (0..2).find(|&axis| self.all_padding_on(axis, sizes[axis]).unwrap_or(false)).map(|axis| AXES[axis])
    }

    /// A window that starts at `start` reads `start + k * dilation`. It sees the input unless it starts behind it, its
    /// last tap lies in front, or the taps step over an input that is narrower than the dilation.
    fn all_padding_on(&self, axis: usize, size: &Dim) -> Option<bool> {
        let (stride, dilation) = (self.stride[axis], self.dilation[axis]);
        let (before, known_size) = match (self.padding, size.as_u64()) {
            (_, Some(known)) => (self.padding_on(axis, known).0, Some(known)),
            (Padding::Sides(sides), None) => (sides[axis], None),
            (Padding::SameUpper | Padding::SameLower, None) => return None,
        };
        if self.extent(axis) <= before {
            return Some(true);
        }
        let windows = self.output_on(axis, size).ok()?;
        let last_start = windows.sub(&Dim::ONE).ok()?.mul(&Dim::from(stride)).ok()?.sub(&Dim::from(before)).ok()?;
        if last_start.at_least(size)? {
            return Some(true);
        }
        let Some(size) = known_size.filter(|&size| size < dilation) else { return Some(false) };
        // From a start s < 0 the first tap at or behind 0 lies at s mod dilation. Whether that is beyond the input for
        // any of these windows is a difference of two sums of floors.
        let in_front = u128::from(windows.as_u64()?.min(before.div_ceil(stride)));
        let [stride, dilation, size] = [stride, dilation, size].map(u128::from);
        let phase = dilation - u128::from(before) % dilation;
        let beyond = floor_sum(in_front, dilation, stride, phase + dilation - size);
        Some(beyond > floor_sum(in_front, dilation, stride, phase))
    }

    /// How each output size comes about.
    pub fn arithmetic(&self, sizes: [&Dim; 2], outputs: [&Dim; 2]) -> Vec<String> {
        (0..2).map(|axis| self.arithmetic_on(axis, sizes[axis], outputs[axis])).collect()
    }

    fn arithmetic_on(&self, axis: usize, size: &Dim, output: &Dim) -> String {
        let (name, stride, extent) = (AXES[axis], self.stride[axis], self.extent(axis));
        let Padding::Sides(sides) = self.padding else {
            return format!("{name}: ceil({size}/{stride}) = {output}");
        };
        let total = sides[axis] + sides[axis + 2];
        let padded = if total == 0 { size.to_string() } else { format!("{size} + {total}") };
        if stride == 1 {
            return format!("{name}: {padded} - {extent} + 1 = {output}");
        }
        let rounding = if self.ceil { "ceil" } else { "floor" };
        let steps = format!("{name}: {rounding}(({padded} - {extent})/{stride})");
        let dropped =
            self.ceil && self.room(axis, size, total).and_then(|room| room.ceil_div(stride)).as_ref() == Ok(output);
        if dropped {
            format!("{steps} + 1 - 1 = {output}, as the last window would start in the padding")
        } else {
            format!("{steps} + 1 = {output}")
        }
    }

    /// Which positions of a feature map an output position sees. Padding that depends on a size which is not known
    /// counts as half of what the window can need.
    pub fn reach(&self, input: &Shape) -> Reach {
        let sizes = input.chw().map(|(_, h, w)| [h.as_u64(), w.as_u64()]).unwrap_or_default();
        Reach::Window([0, 1].map(|axis| {
            let extent = self.extent(axis);
            let before = match (self.padding, sizes[axis]) {
                (Padding::Sides(sides), _) => sides[axis],
                (Padding::SameUpper | Padding::SameLower, Some(size)) => self.padding_on(axis, size).0,
                (Padding::SameUpper, None) => (extent - 1) / 2,
                (Padding::SameLower, None) => extent / 2,
            };
            Window::sliding(extent, self.stride[axis], before)
        }))
    }
}

/// The sum of `floor((a * i + b) / m)` over `0 <= i < n`, in as many steps as Euclid's algorithm takes for `a` and `m`:
/// what is below the line is counted row by row, then column by column, in turn.
fn floor_sum(n: u128, m: u128, a: u128, b: u128) -> u128 {
    if n == 0 {
        return 0;
    }
    let whole = n * (n - 1) / 2 * (a / m) + n * (b / m);
    let (a, b) = (a % m, b % m);
    let end = a * n + b;
    if end < m { whole } else { whole + floor_sum(end / m, a, m, end % m) }
}

/// The position in the input of a position in the padded input, unless it is padding.
#[inline]
pub(super) fn inside(padded: usize, before: usize, size: usize) -> Option<usize> {
    padded.checked_sub(before).filter(|&position| position < size)
}

/// Channels, height and width of an operand that must be a feature map.
///
/// # Errors
/// When it has another rank.
pub fn feature_map(inputs: &[Shape], input: usize) -> Result<(&Dim, &Dim, &Dim), ShapeError> {
    inputs.get(input).and_then(Shape::chw).ok_or_else(|| ShapeError::needs_feature_map(input))
}

/// The size of an operand that must be a vector.
///
/// # Errors
/// When it has another rank.
pub fn vector(inputs: &[Shape], input: usize) -> Result<&Dim, ShapeError> {
    match inputs.get(input).map(|shape| shape.0.as_slice()) {
        Some([n]) => Ok(n),
        _ => Err(ShapeError::Rank { input, needs: "a vector [n]", insert: Some("flatten") }),
    }
}

/// The channels of an operand that must be a feature map or a vector, whose elements are its channels.
///
/// # Errors
/// When it has another rank, or the number of channels is symbolic.
pub fn channels(inputs: &[Shape], input: usize) -> Result<u64, ShapeError> {
    match inputs.get(input).map(|shape| shape.0.as_slice()) {
        Some([c] | [c, _, _]) => known(c, "channels"),
        _ => Err(ShapeError::Rank { input, needs: "a feature map [c, h, w] or a vector [n]", insert: None }),
    }
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
