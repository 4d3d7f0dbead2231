//! Axes of a value by name, for the operators that join and cut along one.

use super::attr::{ArgError, Call, Param, Value, as_count, words};
use super::error::ShapeError;
use crate::dim::Dim;
use crate::tensor::Shape;

/// What the axes of a feature map are called in messages, in order.
pub const NAMES: [&str; 3] = ["channels", "height", "width"];

const WORDS: &[&str] = &["c", "h", "w"];

/// The `axis` parameter: c, h or w, also 0, 1 or 2.
pub const AXIS: Param = words("axis", WORDS, "c", "the axis: c, h or w");

/// The `axis` argument of a call; c where not given.
///
/// # Errors
/// When it is no axis.
pub fn of(call: &Call) -> Result<usize, ArgError> {
    let wrong = || ArgError::new("axis", "is one of c, h, w");
    match call.get("axis") {
        None => Ok(0),
        Some(Value::Word(word) | Value::Str(word)) => WORDS.iter().position(|w| w == word).ok_or_else(wrong),
        Some(value @ Value::Int(_)) => {
            let axis = as_count("axis", value, 0)?;
            usize::try_from(axis).ok().filter(|&axis| axis < WORDS.len()).ok_or_else(wrong)
        }
        Some(Value::Float(_) | Value::Bool(_) | Value::List(_) | Value::Range(..) | Value::Shape(_)) => Err(wrong()),
    }
}

/// An axis as the `axis` argument.
pub fn value(axis: usize) -> Value {
    Value::word(WORDS[axis])
}

/// The size of an operand on an axis.
///
/// # Errors
/// When the operand has no such axis: a vector has the first only.
pub fn size(inputs: &[Shape], input: usize, axis: usize) -> Result<&Dim, ShapeError> {
    let missing = if axis == 0 {
        ShapeError::Rank { input, needs: "a feature map [c, h, w] or a vector [n]", insert: None }
    } else {
        ShapeError::needs_feature_map(input)
    };
    inputs.get(input).and_then(|shape| shape.0.get(axis)).ok_or(missing)
}

/// Checks that positions up to `end` exist on an axis of this size.
///
/// # Errors
/// When they do not, or only for some values of the symbols; `asked` is what the argument `attr` asks for.
pub fn reaches(
    size: &Dim,
    end: &Dim,
    axis: usize,
    attr: &'static str,
    asked: impl Fn() -> String,
) -> Result<(), ShapeError> {
    match size.at_least(end) {
        Some(true) => Ok(()),
        Some(false) => Err(ShapeError::OutOfRange { attr, asked: asked(), axis: NAMES[axis], size: size.clone() }),
        None => Err(undecided(attr, format!("whether {} fits depends on the {} `{size}`", asked(), NAMES[axis]))),
    }
}

/// A check whose answer depends on a symbol.
pub fn undecided(attr: &'static str, message: String) -> ShapeError {
    ShapeError::Misfit { attr: Some(attr), message, help: Some("fix the size with `--set`".to_owned()) }
}

/// Height and width: one number for both, `[height, width]`, or those of a value.
///
/// # Errors
/// When the argument is missing or anything else.
pub fn plane(call: &Call, name: &'static str) -> Result<[Dim; 2], ArgError> {
    let sizes = call.sizes(name)?;
    let [h, w] = match (call.get(name), sizes.as_slice()) {
        (Some(Value::Shape(_)), [_, h, w]) | (Some(Value::List(_)), [h, w]) => [h, w],
        (Some(Value::Int(_)), [both]) => [both, both],
        (Some(Value::Shape(shape)), _) => {
            let message = format!("needs a value with height and width, not one of {}", shape.claim());
            return Err(ArgError::new(name, message));
        }
        (_, sizes) => {
            let message = format!("takes one number, [height, width] or a value, not {} numbers", sizes.len());
            return Err(ArgError::new(name, message));
        }
    };
    for size in [h, w].into_iter().filter(|size| !size.is_symbolic()) {
        as_count(name, &Value::Int(size.clone()), 1)?;
    }
    Ok([h.clone(), w.clone()])
}

/// Height and width as an argument.
pub fn plane_value([h, w]: &[Dim; 2]) -> Value {
    Value::List(vec![Value::Int(h.clone()), Value::Int(w.clone())])
}

/// A copy of a shape with another size on one axis.
pub fn resized(shape: &Shape, axis: usize, size: Dim) -> Shape {
    let sizes = shape.0.iter().enumerate();
    Shape(sizes.map(|(at, old)| if at == axis { size.clone() } else { old.clone() }).collect())
}

/// The axes on which two shapes of one rank are not provably equal; for shapes of different ranks `None`.
pub fn differing(left: &Shape, right: &Shape) -> Option<Vec<usize>> {
    if left.rank() != right.rank() {
        return None;
    }
    let sizes = left.0.iter().zip(&right.0).enumerate();
    Some(sizes.filter(|(_, (left, right))| left.equals(right) != Some(true)).map(|(axis, _)| axis).collect())
}

/// How many runs of elements there are in front of an axis of a value with its batch, and how many elements one step
/// on the axis spans: element `[o, i, k]` of such a value is at `(o * size + i) * inner + k`.
pub fn around(dims: &[usize], axis: usize) -> (usize, usize) {
    let outer = dims.iter().take(axis + 1).product();
    let inner = dims.iter().skip(axis + 2).product();
    (outer, inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn call_with(value: Value) -> Result<usize, ArgError> {
        of(&Call { layer: "concat", args: &[("axis", value)], inputs: &[] })
    }

    #[test]
    fn axes_are_words_or_numbers() {
        for (axis, word) in WORDS.iter().enumerate() {
            assert_eq!(call_with(Value::word(word)), Ok(axis));
            assert_eq!(call_with(Value::int(axis as u64)), Ok(axis));
            assert_eq!(call_with(value(axis)), Ok(axis));
        }
        for wrong in [Value::word("n"), Value::int(3), Value::Int(Dim::known(-1)), Value::Bool(true)] {
            assert_eq!(call_with(wrong).unwrap_err().param, Some("axis"));
        }
    }

    #[test]
    fn sizes_that_are_equal_in_another_form_do_not_differ() {
        let h = Dim::symbol("H", 1);
        let halves = h.floor_div(2).unwrap().add(&h.add(&Dim::ONE).unwrap().floor_div(2).unwrap()).unwrap();
        let (left, right) = (Shape(vec![h, Dim::from(3u64)]), Shape(vec![halves, Dim::from(4u64)]));
        assert_eq!(differing(&left, &right), Some(vec![1]));
        assert_eq!(differing(&left, &Shape::known(&[3])), None);
    }
}
