//! Why costs cannot be counted.

use crate::diag::{Diagnostic, Span, codes};
use crate::dim::DimError;

/// Why costs cannot be counted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CostError {
    /// The counts of one layer.
    #[error("the costs of `{path}` cannot be counted: {source}")]
    Layer {
        /// The layer.
        path: String,
        /// Its statement.
        span: Span,
        /// What failed.
        source: DimError,
    },
    /// A sum over the net.
    #[error("the costs of `{net}` cannot be added up: {source}")]
    Sum {
        /// The net.
        net: String,
        /// Its declaration.
        span: Span,
        /// What failed.
        source: DimError,
    },
    /// A sum over the net that is a number of more than 64 bits.
    #[error("the {what} of `{net}` do not fit in 64 bits")]
    TooLarge {
        /// The net.
        net: String,
        /// Its declaration.
        span: Span,
        /// What is counted.
        what: &'static str,
    },
}

impl From<CostError> for Diagnostic {
    fn from(error: CostError) -> Diagnostic {
        let title = error.to_string();
        match error {
            CostError::Layer { span, .. } => {
                Diagnostic::new(codes::E0306, span, title).label("too large to be counted")
            }
            CostError::Sum { span, .. } | CostError::TooLarge { span, .. } => {
                Diagnostic::new(codes::E0306, span, title).label("too large to be counted")
            }
        }
        .help("reduce the batch, the sizes of the input or the channels")
    }
}
