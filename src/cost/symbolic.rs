//! Numbers for symbols, where an order has to be chosen before a size is known.

use std::collections::BTreeMap;

use crate::dim::{Dim, DimError};

/// Every symbol stands for the first of its multiples that is not smaller.
const LEAST: u64 = 256;

/// Values that all symbols of these sizes can have; `None` where none were found.
pub(super) fn sample(sizes: &[&Dim]) -> Option<BTreeMap<String, u64>> {
    let mut at: BTreeMap<String, u64> =
        sizes.iter().flat_map(|size| size.symbols()).map(|symbol| (symbol, LEAST)).collect();
    for size in sizes {
        loop {
            match size.evaluate(&at) {
                Ok(_) => break,
                Err(DimError::NotMultiple { symbol, divisor, value }) if value == LEAST => {
                    at.insert(symbol, LEAST.div_ceil(divisor).checked_mul(divisor)?);
                }
                Err(_) => return None,
            }
        }
    }
    Some(at)
}
