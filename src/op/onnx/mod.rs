//! What the rules between operators and ONNX are written in.
//!
//! [`Operator::ONNX`](super::Operator::ONNX) names the ONNX operators that an operator expresses. For a node of one of
//! these [`Operator::from_onnx`](super::Operator::from_onnx) is given an [`Import`]: it looks at attributes and operands,
//! and emits the net's layers. [`Operator::to_onnx`](super::Operator::to_onnx) goes the other way with an [`Export`].
//! Files, constant folding and names are the business of `crate::onnx`.

pub mod arguments;
pub mod attrs;
pub mod axes;
pub mod constant;
pub mod export;
pub mod import;
pub mod windows;

pub use attrs::{Attr, Attributes};
pub use axes::{Atom, Axes, Of, Target};
pub use constant::{Constant, Data};
pub use export::Export;
pub use import::{Arg, Emission, Import, Live, Param, Source};

use crate::dim::DimError;

use super::ShapeError;

/// The symbol of the batch's size.
pub const BATCH: &str = "batch";

/// Why a node is nothing that a layer expresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit(pub String);

impl Unfit {
    /// For this reason.
    pub fn new(reason: impl Into<String>) -> Unfit {
        Unfit(reason.into())
    }

    /// More than two spatial axes.
    pub fn volume() -> Unfit {
        Unfit::new("it has more than two spatial axes, and a feature map is [c, h, w]")
    }
}

impl From<DimError> for Unfit {
    fn from(error: DimError) -> Unfit {
        Unfit::new(format!("its sizes cannot be computed: {error}"))
    }
}

impl From<ShapeError> for Unfit {
    fn from(error: ShapeError) -> Unfit {
        Unfit(match error {
            ShapeError::Differ { .. } => "its operands have different sizes".to_owned(),
            ShapeError::Rank { needs, .. } => format!("its operand is not {needs}"),
            ShapeError::Indivisible { attr, what, value, by } => {
                format!("{value} {what} do not divide by `{attr}` = {by}")
            }
            ShapeError::WindowTooLarge { axis, extent, size, padding } => {
                format!("its window spans {extent} cells on the {axis}, which has {size} and {padding} of padding")
            }
            ShapeError::OutOfRange { attr, asked, axis, size } => {
                format!("`{attr}` = {asked} is outside the {axis}, which is {size}")
            }
            ShapeError::Misfit { message, .. } => message,
            ShapeError::Dim(error) => return error.into(),
        })
    }
}

impl From<super::ArgError> for Unfit {
    fn from(error: super::ArgError) -> Unfit {
        Unfit(match error.param {
            Some(param) => format!("`{param}` {}", error.message),
            None => error.message,
        })
    }
}

/// A weight and, where there is one, a bias.
pub fn weight_and_bias(weight: Constant, bias: Option<&Constant>) -> Vec<Param> {
    let bias = bias.map(|bias| Param::new("bias", bias.clone()));
    std::iter::once(Param::new("weight", weight)).chain(bias).collect()
}

/// The kernels of a convolution as those of maps, which have four axes; `rank` is that of the operand.
///
/// # Errors
/// When they have another rank than the operand.
pub fn kernels(node: &Import, rank: usize) -> Result<Constant, Unfit> {
    let weight = node.weight(1, "weight")?;
    let whole = match weight.dims().as_slice() {
        [_, _, _, _] if rank == 4 => Some(weight.clone()),
        &[outer, inner, k] if rank == 3 => weight.reshaped(&[outer, inner, 1, k]),
        _ => None,
    };
    whole.ok_or_else(|| Unfit::new("its weight has another rank than its operand"))
}

/// The groups of a convolution.
///
/// # Errors
/// When their number is not positive.
pub fn groups(node: &Import) -> Result<u64, Unfit> {
    let groups = u64::try_from(node.attrs.int("group", 1)?).ok().filter(|&groups| groups > 0);
    groups.ok_or_else(|| Unfit::new("`group` is not positive"))
}

/// The number with the fewest digits that is the same as 32 bits, or three digits where these are as near as rounding
/// leaves them: 0.1 and 1e-5 for what files have instead. Where it takes many digits, a fraction of small numbers that is
/// the same: 2/3.
pub fn shortest(value: f64) -> f64 {
    const FEW_DIGITS: usize = 7;
    const DENOMINATORS: std::ops::RangeInclusive<u32> = 3..=12;
    let text = |text: String| text.parse().unwrap_or(value);
    let (exact, short): (f64, f64) = (text(format!("{:e}", value as f32)), text(format!("{value:.2e}")));
    if (short - value).abs() <= 2.0 * f64::from(f32::EPSILON) * value.abs() {
        return short;
    }
    let is_long =
        FEW_DIGITS <= format!("{exact:e}").chars().take_while(|&c| c != 'e').filter(char::is_ascii_digit).count();
    let fractions = DENOMINATORS.map(f64::from).map(|by| (value * by).round() / by);
    fractions.filter(|_| is_long).find(|&fraction| fraction as f32 == value as f32).unwrap_or(exact)
}
