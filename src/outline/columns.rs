//! Arguments of scopes that are alike, a column for each: which of them one text for all takes as parameters.

/// An argument of a layer.
pub trait Argument: PartialEq {
    /// The number, where it is a positive integer.
    fn positive(&self) -> Option<u64>;
}

/// Multiples of a parameter that an argument may be.
const MOST_TIMES: u64 = 16;

/// For each column the parameter that it is and how many times, or `None` where it is the same everywhere; and the columns
/// that are parameters, in order.
pub fn parameters<T: Argument>(columns: &[Vec<&T>]) -> (Vec<Option<(usize, u64)>>, Vec<usize>) {
    let differs = |column: &[&T]| column.iter().any(|value| *value != column[0]);
    let mut bases: Vec<usize> = Vec::new();
    for at in (0..columns.len()).filter(|&at| differs(&columns[at])) {
        if bases.iter().any(|&base| times(&columns[base], &columns[at]).is_some()) {
            continue;
        }
        // A column of which earlier ones are multiples takes their place.
        bases.retain(|&base| times(&columns[at], &columns[base]).is_none());
        bases.push(at);
    }
    bases.sort_unstable();
    let parameter = |column: &Vec<&T>| {
        let mut bases = bases.iter().enumerate().filter(|_| differs(column));
        bases.find_map(|(param, &base)| Some((param, times(&columns[base], column)?)))
    };
    (columns.iter().map(parameter).collect(), bases)
}

/// How many times one column the other is.
fn times<T: Argument>(base: &[&T], column: &[&T]) -> Option<u64> {
    if base == column {
        return Some(1);
    }
    let factor = column.first()?.positive()?.checked_div(base.first()?.positive()?)?;
    let fits = |base: &T, value: &T| Some(base.positive()?.checked_mul(factor)? == value.positive()?);
    let is_multiple = (2..=MOST_TIMES).contains(&factor)
        && base.iter().zip(column).all(|(base, value)| fits(base, value) == Some(true));
    is_multiple.then_some(factor)
}
