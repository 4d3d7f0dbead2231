//! Random expressions, compared with the same arithmetic on integers.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

const SYMBOLS: [(&str, u64); 3] = [("H", 1), ("W", 2), ("X", 12)];

#[derive(Clone, Debug)]
enum Expr {
    Known(i128),
    Symbol(usize),
    Add(Box<Expr>, Box<Expr>),
    Sub(Box<Expr>, Box<Expr>),
    Mul(Box<Expr>, Box<Expr>),
    Floor(Box<Expr>, u64),
    Ceil(Box<Expr>, u64),
}

impl Expr {
    fn symbolic(&self) -> Result<Dim, DimError> {
        match self {
            Expr::Known(value) => Ok(Dim::known(*value)),
            Expr::Symbol(idx) => Ok(Dim::symbol(SYMBOLS[*idx].0, SYMBOLS[*idx].1)),
            Expr::Add(a, b) => a.symbolic()?.add(&b.symbolic()?),
            Expr::Sub(a, b) => a.symbolic()?.sub(&b.symbolic()?),
            Expr::Mul(a, b) => a.symbolic()?.mul(&b.symbolic()?),
            Expr::Floor(a, by) => a.symbolic()?.floor_div(*by),
            Expr::Ceil(a, by) => a.symbolic()?.ceil_div(*by),
        }
    }

    fn direct(&self, values: &[u64; 3]) -> Option<i128> {
        match self {
            Expr::Known(value) => Some(*value),
            Expr::Symbol(idx) => Some(i128::from(values[*idx])),
            Expr::Add(a, b) => a.direct(values)?.checked_add(b.direct(values)?),
            Expr::Sub(a, b) => a.direct(values)?.checked_sub(b.direct(values)?),
            Expr::Mul(a, b) => a.direct(values)?.checked_mul(b.direct(values)?),
            Expr::Floor(a, by) => Some(a.direct(values)?.div_euclid(i128::from(*by))),
            Expr::Ceil(a, by) => Some(-(-a.direct(values)?).div_euclid(i128::from(*by))),
        }
    }
}

fn leaf() -> BoxedStrategy<Expr> {
    prop_oneof![(-9i128..20).prop_map(Expr::Known), (0usize..3).prop_map(Expr::Symbol)].boxed()
}

/// Sums, products and floors; `size` is about the number of operations.
fn expr(depth: u32, size: u32) -> BoxedStrategy<Expr> {
    let nest = |inner: BoxedStrategy<Expr>| {
        let pair = || (inner.clone(), inner.clone()).prop_map(|(a, b)| (Box::new(a), Box::new(b)));
        prop_oneof![
            3 => pair().prop_map(|(a, b)| Expr::Add(a, b)),
            1 => pair().prop_map(|(a, b)| Expr::Sub(a, b)),
            1 => pair().prop_map(|(a, b)| Expr::Mul(a, b)),
            3 => (inner.clone(), 1u64..7).prop_map(|(a, by)| Expr::Floor(Box::new(a), by)),
            1 => (inner.clone(), 1u64..7).prop_map(|(a, by)| Expr::Ceil(Box::new(a), by)),
        ]
    };
    leaf().prop_recursive(depth, size, 2, move |inner| nest(inner.boxed())).boxed()
}

fn values() -> impl Strategy<Value = [u64; 3]> {
    let scaled = |idx: usize| (1u64..40).prop_map(move |factor| factor * SYMBOLS[idx].1);
    (scaled(0), scaled(1), scaled(2)).prop_map(|(h, w, x)| [h, w, x])
}

fn bindings(values: &[u64]) -> BTreeMap<String, u64> {
    SYMBOLS.iter().zip(values).map(|((name, _), value)| ((*name).to_string(), *value)).collect()
}

fn at(dim: &Dim, values: &[u64; 3]) -> Option<i128> {
    dim.evaluate(&bindings(values)).ok()?.as_known()
}

/// `a*H + b*W + c`.
fn plane(a: i128, b: i128, c: i128) -> Dim {
    let scaled = |name, divisor, by| Dim::symbol(name, divisor).mul(&Dim::known(by)).unwrap();
    sum(&[scaled("H", 1, a), scaled("W", 2, b), Dim::known(c)]).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn binding_symbols_gives_the_integer(expr in expr(6, 40), values in values()) {
        let (Ok(dim), Some(expected)) = (expr.symbolic(), expr.direct(&values)) else {
            return Ok(());
        };
        // Reduced coefficients can be larger than the value itself, so a result may be missing.
        if let Ok(bound) = dim.evaluate(&bindings(&values)) {
            prop_assert_eq!(bound, Dim::known(expected), "{}", dim);
        }
        if let Ok(partly) = dim.evaluate(&bindings(&values[..1])) {
            prop_assert!(!partly.symbols().contains(&"H".to_string()));
            if let Ok(bound) = partly.evaluate(&bindings(&values)) {
                prop_assert_eq!(bound, Dim::known(expected), "{} then {}", dim, partly);
            }
        }
    }

    #[test]
    fn small_expressions_always_evaluate(expr in expr(3, 8), values in values()) {
        let dim = expr.symbolic().unwrap();
        prop_assert_eq!(dim.evaluate(&bindings(&values)), Ok(Dim::known(expr.direct(&values).unwrap())));
    }

    #[test]
    fn what_is_proved_holds(a in expr(3, 8), b in expr(3, 8), by in 1u64..9, values in values()) {
        let (a, b) = (a.symbolic().unwrap(), b.symbolic().unwrap());
        let (at_a, at_b) = (at(&a, &values).unwrap(), at(&b, &values).unwrap());
        let context = format!("{a} and {b} at {values:?}");
        if let Some(order) = a.compare(&b) {
            prop_assert_eq!(order, at_a.cmp(&at_b), "{}", context);
        }
        if let Some(equal) = a.equals(&b) {
            prop_assert_eq!(equal, at_a == at_b, "{}", context);
        }
        if let Some(at_least) = a.at_least(&b) {
            prop_assert_eq!(at_least, at_a >= at_b, "{}", context);
        }
        if let Ok(larger) = Dim::max(&a, &b) {
            prop_assert_eq!(at(&larger, &values), Some(at_a.max(at_b)), "{}", context);
        }
        if let Ok(smaller) = Dim::min(&a, &b) {
            prop_assert_eq!(at(&smaller, &values), Some(at_a.min(at_b)), "{}", context);
        }
        if let Some(divisible) = a.divisible_by(by) {
            prop_assert_eq!(divisible, at_a % i128::from(by) == 0, "{} by {}", context, by);
        }
        match a.exact_div(by) {
            Ok(quotient) => prop_assert_eq!(at(&quotient, &values), Some(at_a / i128::from(by))),
            Err(DimError::NotDivisible { .. }) => prop_assert!(at_a % i128::from(by) != 0),
            Err(error) => prop_assert!(matches!(error, DimError::NotProvable { .. }), "{}", error),
        }
    }

    #[test]
    fn proposals_hold(a in expr(3, 8), b in expr(3, 8), values in values()) {
        let (a, b) = (a.symbolic().unwrap(), b.symbolic().unwrap());
        if let Some(bindings) = a.counterexample(&b) {
            prop_assert_ne!(a.evaluate(&bindings).unwrap(), b.evaluate(&bindings).unwrap());
        } else {
            prop_assert_eq!(at(&a, &values), at(&b, &values));
        }
        if let Some(multiples) = a.equal_for_multiples(&b) {
            let mut bindings = bindings(&values);
            for (name, multiple) in &multiples {
                bindings.entry(name.clone()).and_modify(|value| *value *= multiple);
            }
            prop_assert_eq!(a.evaluate(&bindings).unwrap(), b.evaluate(&bindings).unwrap());
        }
    }

    #[test]
    fn ring_laws_hold_in_canonical_form(a in expr(3, 8), b in expr(3, 8), c in expr(3, 8)) {
        let (a, b, c) = (a.symbolic().unwrap(), b.symbolic().unwrap(), c.symbolic().unwrap());
        let sum_of_two = a.add(&b).unwrap();
        prop_assert_eq!(&sum_of_two, &b.add(&a).unwrap());
        prop_assert_eq!(sum_of_two.sub(&b).unwrap(), a.clone());
        prop_assert_eq!(sum([&a, &b, &c]).unwrap(), a.add(&b.add(&c).unwrap()).unwrap());
        let product = a.mul(&b).unwrap();
        prop_assert_eq!(&product, &b.mul(&a).unwrap());
        if let (Ok(left), Ok(right), Ok(other)) = (sum_of_two.mul(&c), a.mul(&c), b.mul(&c)) {
            prop_assert_eq!(left, right.add(&other).unwrap());
        }
        if b.is_symbolic() {
            prop_assert_eq!(product.exact_div_dim(&b).unwrap(), a.clone());
            prop_assert_eq!(product.floor_div_dim(&b).unwrap(), a);
        }
    }

    #[test]
    fn whole_parts_leave_floors(a in expr(3, 8), b in expr(3, 8), by in 1u64..9) {
        let (a, b) = (a.symbolic().unwrap(), b.symbolic().unwrap());
        let multiple = b.mul(&Dim::from(by)).unwrap();
        prop_assert_eq!(multiple.exact_div(by).unwrap(), b.clone());
        let divided = a.add(&multiple).unwrap().floor_div(by).unwrap();
        prop_assert_eq!(divided, a.floor_div(by).unwrap().add(&b).unwrap());
    }

    #[test]
    fn floors_of_floors_are_floors(
        (a, b, c) in (-9i128..10, -9i128..10, -20i128..20),
        (inner, offset, outer, scale) in (1u64..9, -20i128..20, 1u64..9, 1i128..9),
    ) {
        let plane_value = plane(a, b, c);
        let nested = plane_value.floor_div(inner).unwrap().add(&Dim::known(offset)).unwrap().floor_div(outer).unwrap();
        let shift = Dim::known(offset * i128::from(inner));
        prop_assert_eq!(&nested, &plane_value.add(&shift).unwrap().floor_div(inner * outer).unwrap());
        let scaled = plane(a * scale, b * scale, c * scale).floor_div(inner * u64::try_from(scale).unwrap()).unwrap();
        prop_assert_eq!(scaled, plane_value.floor_div(inner).unwrap());
    }

    #[test]
    fn a_chain_of_windows_is_one_floor(windows in prop::collection::vec((1i128..8, 1u64..4, 0i128..4), 1..9)) {
        let mut size = Dim::symbol("H", 1);
        // The size is floor((H + offset) / stride).
        let (mut offset, mut stride) = (0i128, 1u64);
        for (kernel, step, pad) in windows {
            let padded = size.add(&Dim::known(2 * pad - kernel)).unwrap();
            size = padded.floor_div(step).unwrap().add(&Dim::ONE).unwrap();
            offset += i128::from(stride) * (2 * pad - kernel + i128::from(step));
            stride *= step;
        }
        let direct = Dim::symbol("H", 1).add(&Dim::known(offset)).unwrap().floor_div(stride).unwrap();
        prop_assert_eq!(size, direct);
    }

    #[test]
    fn equality_of_one_variable_floors_is_decided(
        (a, b, n) in (0i128..6, 0i128..12, 1u64..7),
        (c, d, m) in (0i128..6, 0i128..12, 1u64..7),
    ) {
        let (left, right) = (plane(a, 0, b).floor_div(n).unwrap(), plane(c, 0, d).floor_div(m).unwrap());
        let differs = (1u64..=84).filter(|h| at(&left, &[*h, 2, 12]) != at(&right, &[*h, 2, 12])).count();
        // The difference is linear in each residue class modulo lcm(n, m) <= 30, so if it is zero at
        // two members of every class, it is zero.
        match left.equals(&right) {
            Some(true) => prop_assert_eq!(differs, 0),
            Some(false) => prop_assert_eq!(differs, 84),
            None => prop_assert!(differs > 0),
        }
    }
}
