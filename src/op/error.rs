//! Why operands do not fit an operator: facts that name operands by index. `shape` knows where they come from and
//! words the message.

use crate::dim::{Dim, DimError};

/// Why operands do not fit.
#[derive(Clone, Debug, PartialEq)]
pub enum ShapeError {
    /// Two operands must agree on these axes (0 is the channel) and do not.
    Differ {
        /// The operand that sets the shape.
        left: usize,
        /// The operand that differs.
        right: usize,
        /// The axes on which they differ.
        axes: Vec<usize>,
    },
    /// An operand has another rank than the operator takes.
    Rank {
        /// The operand.
        input: usize,
        /// What is taken: "a feature map [c, h, w]".
        needs: &'static str,
        /// The layer that would make it fit, when there is one.
        insert: Option<&'static str>,
    },
    /// A count does not divide into groups.
    Indivisible {
        /// The argument that sets the groups.
        attr: &'static str,
        /// What does not divide: "input channels".
        what: &'static str,
        /// The count.
        value: Dim,
        /// The number of groups.
        by: u64,
    },
    /// A window does not fit into its padded input.
    WindowTooLarge {
        /// `height` or `width`.
        axis: &'static str,
        /// The window's extent, dilation included.
        extent: u64,
        /// The input's size.
        size: Dim,
        /// The padding on both sides together.
        padding: u64,
    },
    /// An index or a range reaches outside an axis.
    OutOfRange {
        /// The argument.
        attr: &'static str,
        /// What it asks for.
        asked: String,
        /// The axis: "channels".
        axis: &'static str,
        /// The size of the axis.
        size: Dim,
    },
    /// Anything else, worded by the operator.
    Misfit {
        /// The argument at fault, when it is one.
        attr: Option<&'static str>,
        /// What does not fit.
        message: String,
        /// What to write instead.
        help: Option<String>,
    },
    /// Arithmetic on sizes failed.
    Dim(DimError),
}

impl From<DimError> for ShapeError {
    fn from(error: DimError) -> Self {
        ShapeError::Dim(error)
    }
}

impl ShapeError {
    /// An operand that must be a feature map and is not.
    pub fn needs_feature_map(input: usize) -> Self {
        ShapeError::Rank { input, needs: "a feature map [c, h, w]", insert: None }
    }

    /// Worded by the operator.
    pub fn misfit(message: impl Into<String>) -> Self {
        ShapeError::Misfit { attr: None, message: message.into(), help: None }
    }
}
