//! One test for each rule.
#![allow(clippy::unwrap_used)]

use super::*;

fn k(value: i128) -> Dim {
    Dim::known(value)
}

fn h() -> Dim {
    Dim::symbol("H", 1)
}

fn w() -> Dim {
    Dim::symbol("W", 1)
}

/// `scale * x + offset`.
fn linear(scale: i128, x: &Dim, offset: i128) -> Dim {
    x.mul(&k(scale)).unwrap().add(&k(offset)).unwrap()
}

fn window(x: &Dim, kernel: i128, stride: u64, pad: i128) -> Dim {
    linear(1, x, 2 * pad - kernel).floor_div(stride).unwrap().add(&Dim::ONE).unwrap()
}

fn product<'a>(factors: impl IntoIterator<Item = &'a Dim>) -> Dim {
    factors.into_iter().fold(Dim::ONE, |product, factor| product.mul(factor).unwrap())
}

#[track_caller]
fn check(dim: &Dim, expected: &str) {
    assert_eq!(dim.to_string(), expected);
}

#[test]
fn known_values_are_plain_integers() {
    assert_eq!(k(3).add(&k(4)), Ok(k(7)));
    assert_eq!(k(3).sub(&k(4)), Ok(k(-1)));
    assert_eq!(k(3).mul(&k(-4)), Ok(k(-12)));
    assert_eq!(k(-7).floor_div(2), Ok(k(-4)));
    assert_eq!(k(-7).ceil_div(2), Ok(k(-3)));
    assert_eq!(k(7).ceil_div(2), Ok(k(4)));
    assert_eq!(k(12).exact_div(4), Ok(k(3)));
    assert_eq!(k(-7).floor_div_dim(&k(-2)), Ok(k(3)));
    assert_eq!(k(-8).exact_div_dim(&k(-2)), Ok(k(4)));
    assert_eq!(k(7).exact_div(2), Err(DimError::NotDivisible { value: k(7), by: k(2) }));
    assert_eq!((k(6).divisible_by(3), k(7).divisible_by(3)), (Some(true), Some(false)));
    assert_eq!(Dim::max(&k(3), &k(4)), Ok(k(4)));
    assert_eq!(Dim::min(&k(3), &k(4)), Ok(k(3)));
    assert_eq!(sum([]), Ok(Dim::ZERO));
    assert_eq!(Dim::from(u64::MAX).as_known(), Some(i128::from(u64::MAX)));
    assert_eq!(Dim::from(usize::MAX).as_usize(), Some(usize::MAX));
    assert_eq!((k(-1).as_u64(), k(1 << 64).as_u64(), h().as_u64()), (None, None, None));
}

#[test]
fn overflow_and_zero_are_errors() {
    let (max, min) = (k(i128::MAX), k(i128::MIN));
    assert_eq!(max.add(&Dim::ONE), Err(DimError::Overflow));
    assert_eq!(min.sub(&Dim::ONE), Err(DimError::Overflow));
    assert_eq!(max.mul(&k(2)), Err(DimError::Overflow));
    assert_eq!(max.ceil_div(2), Err(DimError::Overflow));
    assert_eq!(min.exact_div_dim(&k(-1)), Err(DimError::Overflow));
    assert_eq!(min.floor_div_dim(&min), Err(DimError::Overflow));
    assert_eq!(sum([&max, &max]), Err(DimError::Overflow));
    let large = h().mul(&max).unwrap();
    assert_eq!(large.add(&h()), Err(DimError::Overflow));
    assert_eq!(large.mul(&k(2)), Err(DimError::Overflow));
    assert_eq!(large.mul(&large), Err(DimError::Overflow));
    assert_eq!(sum([&large, &large]), Err(DimError::Overflow));
    assert_eq!(Dim::ZERO.sub(&h().mul(&min).unwrap()), Err(DimError::Overflow));
    assert_eq!(large.evaluate(&[("H".to_string(), 2)].into()), Err(DimError::Overflow));
    for value in [k(3), h()] {
        assert_eq!(value.floor_div(0), Err(DimError::DivideByZero));
        assert_eq!(value.ceil_div(0), Err(DimError::DivideByZero));
        assert_eq!(value.exact_div(0), Err(DimError::DivideByZero));
        assert_eq!(value.floor_div_dim(&Dim::ZERO), Err(DimError::DivideByZero));
        assert_eq!(value.exact_div_dim(&Dim::ZERO), Err(DimError::DivideByZero));
        assert_eq!(value.divisible_by(0), Some(false));
    }
}

#[test]
fn text_form() {
    let (h, w) = (h(), w());
    check(&k(112), "112");
    check(&h, "H");
    check(&linear(2, &h, 3), "2*H + 3");
    check(&linear(-1, &h, 3), "-H + 3");
    check(&linear(1, &h, -3), "H - 3");
    check(&product([&k(64), &w, &h]), "64*H*W");
    check(&product([&h, &h, &w]), "H^2*W");
    check(&window(&h, 3, 2, 1), "floor((H + 1)/2)");
    check(&product([&w, &window(&h, 3, 2, 1)]), "floor((H + 1)/2)*W");
    check(&product([&w.floor_div(2).unwrap(), &h.floor_div(2).unwrap()]), "floor(H/2)*floor(W/2)");
    check(&linear(3, &h.floor_div(2).unwrap(), 1).floor_div(4).unwrap(), "floor((3*floor(H/2) + 1)/4)");
    let square = linear(1, &h, 1).mul(&linear(1, &h, 1)).unwrap();
    check(&square.add(&w).unwrap(), "H^2 + 2*H + W + 1");
    assert_eq!(format!("[{:>4}|{h:<4}|{:>4}]", k(12), Dim::symbol("H", 2)), "[  12|H   |   H]");
    assert_eq!(format!("{h:?}"), "Dim(H)");
}

#[test]
fn text_form_of_multiples_is_in_terms_of_the_symbol() {
    let (h, w) = (Dim::symbol("H", 16), Dim::symbol("W", 16));
    let (h16, w16) = (h.exact_div(16).unwrap(), w.exact_div(16).unwrap());
    check(&h, "H");
    check(&h.exact_div(2).unwrap(), "H/2");
    check(&linear(-1, &h16, 1), "-H/16 + 1");
    check(&product([&k(3), &h16, &w16]), "3*H*W/256");
    check(&product([&k(64), &h16, &w16]), "H*W/4");
    check(&h.floor_div(32).unwrap(), "floor(H/32)");
    check(&linear(1, &h16, 1).floor_div(2).unwrap(), "floor((H + 16)/32)");
    check(&h16.add(&w).unwrap().floor_div(3).unwrap(), "floor((H + W)/48) + 5*W/16");
    let many = product([&h16; 40]);
    check(&many, "(H/16)^40");
}

#[test]
fn terms_are_canonical() {
    let (h, w) = (h(), w());
    assert_eq!(h.add(&w), w.add(&h));
    assert_eq!(h.mul(&w), w.mul(&h));
    assert_eq!(h.sub(&h), Ok(Dim::ZERO));
    assert_eq!(h.mul(&Dim::ZERO), Ok(Dim::ZERO));
    assert_eq!(h.add(&w).unwrap().sub(&w), Ok(h.clone()));
    let left = h.add(&w).unwrap().mul(&h.sub(&w).unwrap()).unwrap();
    check(&left, "H^2 - W^2");
    assert_eq!(sum([&h, &k(2), &w, &h, &k(-2)]).unwrap(), linear(2, &h, 0).add(&w).unwrap());
    assert_eq!(sum([&h, &Dim::ZERO.sub(&h).unwrap(), &k(5)]), Ok(k(5)));
    assert_eq!(product([&w, &h]).symbols(), ["H", "W"]);
    assert!(h.is_symbolic() && !k(1).is_symbolic());
}

#[test]
fn multiples_leave_a_floor() {
    let (h, w) = (h(), w());
    let value = linear(6, &h, 0).add(&linear(5, &w, 10)).unwrap();
    check(&value.floor_div(4).unwrap(), "H + floor((2*H + W + 2)/4) + W + 2");
    assert_eq!(linear(6, &h, 9).floor_div(3), Ok(linear(2, &h, 3)));
    check(&linear(-1, &h, -1).floor_div(2).unwrap(), "-H + floor((H + 1)/2) - 1");
    assert_eq!(h.floor_div(1), Ok(h.clone()));
}

#[test]
fn common_factors_cancel() {
    let (h, w) = (h(), w());
    assert_eq!(linear(2, &h, 3).floor_div(4), linear(1, &h, 1).floor_div(2));
    assert_eq!(linear(4, &h, 3).floor_div(8), h.floor_div(2));
    let value = linear(6, &h, 0).add(&linear(4, &w, 5)).unwrap();
    check(&value.floor_div(12).unwrap(), "floor((3*H + 2*W + 2)/6)");
}

#[test]
fn nested_floors_merge() {
    let h = h();
    let inner = linear(1, &h, 3).floor_div(4).unwrap();
    assert_eq!(inner.floor_div(6), linear(1, &h, 3).floor_div(24));
    assert_eq!(linear(1, &inner, 1).floor_div(2), linear(1, &h, 7).floor_div(8));
    assert_eq!(linear(1, &inner, -1).floor_div(2).unwrap(), linear(1, &h, -1).floor_div(8).unwrap());
    assert_eq!(inner.add(&w()).unwrap().floor_div(2), h.add(&linear(4, &w(), 3)).unwrap().floor_div(8));
    assert_eq!(linear(3, &h.floor_div(2).unwrap(), 0).floor_div(2).unwrap(), {
        h.floor_div(2).unwrap().add(&h.floor_div(4).unwrap()).unwrap()
    });
}

#[test]
fn windows_give_one_form_however_they_are_composed() {
    let h = h();
    let stem = window(&window(&h, 7, 2, 3), 3, 2, 1);
    check(&stem, "floor((H + 3)/4)");
    assert_eq!(stem, window(&window(&h, 1, 2, 0), 1, 2, 0));
    assert_eq!(window(&stem, 3, 2, 1), window(&stem, 1, 2, 0));
    assert_eq!(window(&stem, 3, 1, 1), stem);
    check(&window(&window(&window(&h, 2, 2, 0), 2, 2, 0), 2, 2, 0), "floor(H/8)");
    assert_eq!(window(&window(&h, 2, 2, 0), 2, 2, 0), window(&h, 4, 4, 0));
    assert_eq!(window(&h, 2, 2, 0).mul(&k(2)).unwrap().floor_div(2), Ok(window(&h, 2, 2, 0)));
}

#[test]
fn skips_of_a_u_net_check_out_with_a_known_divisor() {
    let input = Dim::symbol("H", 16);
    let mut sizes = vec![input.clone()];
    for _ in 0..4 {
        sizes.push(window(&sizes[sizes.len() - 1], 2, 2, 0));
    }
    check(&sizes[4], "H/16");
    let mut size = sizes[4].clone();
    for skip in sizes[..4].iter().rev() {
        size = linear(2, &size, 0);
        assert_eq!(&size, skip);
    }
}

#[test]
fn without_the_divisor_the_missing_condition_is_named() {
    let (h, w) = (h(), w());
    let (skip, up) = (h.floor_div(8).unwrap(), linear(2, &h.floor_div(16).unwrap(), 0));
    assert_ne!(skip, up);
    assert_eq!(skip.equals(&up), None);
    assert_eq!(skip.equal_for_multiples(&up), Some([("H".to_string(), 16)].into()));
    assert_eq!(skip.counterexample(&up), Some([("H".to_string(), 8)].into()));
    let (area, other) = (product([&h, &w]), product([&k(6), &h.floor_div(2).unwrap(), &w.floor_div(3).unwrap()]));
    assert_eq!(area.equal_for_multiples(&other), Some([("H".to_string(), 2), ("W".to_string(), 3)].into()));
    let half_known = Dim::symbol("H", 4);
    let up = linear(8, &half_known.floor_div(8).unwrap(), 0);
    assert_eq!(half_known.equal_for_multiples(&up), Some([("H".to_string(), 8)].into()));
    assert_eq!(half_known.counterexample(&up), Some([("H".to_string(), 4)].into()));
    assert_eq!(h.equal_for_multiples(&linear(1, &h, 1)), None);
    assert_eq!(h.equal_for_multiples(&w), None);
    assert_eq!(h.equal_for_multiples(&h), Some(BTreeMap::new()));
    assert_eq!((h.counterexample(&h), k(1).counterexample(&k(2))), (None, Some(BTreeMap::new())));
    assert_eq!(h.counterexample(&w), Some([("H".to_string(), 2), ("W".to_string(), 1)].into()));
}

#[test]
fn order_is_known_where_it_holds_for_all_symbols() {
    let (h, w) = (h(), w());
    let half = h.floor_div(2).unwrap();
    let half_up = h.ceil_div(2).unwrap();
    assert_eq!(h.compare(&Dim::ZERO), Some(Ordering::Greater));
    assert_eq!(h.compare(&Dim::ONE), None);
    assert_eq!(h.at_least(&Dim::ONE), Some(true));
    assert_eq!(Dim::symbol("H", 16).compare(&k(15)), Some(Ordering::Greater));
    assert_eq!(Dim::symbol("H", 16).at_least(&k(16)), Some(true));
    assert_eq!(h.compare(&w), None);
    assert_eq!(h.compare(&linear(1, &h, 1)), Some(Ordering::Less));
    assert_eq!(half.compare(&h), Some(Ordering::Less));
    assert_eq!((h.compare(&half_up), h.at_least(&half_up)), (None, Some(true)));
    assert_eq!((half_up.compare(&Dim::ZERO), half.compare(&Dim::ZERO)), (Some(Ordering::Greater), None));
    assert_eq!(product([&h, &w]).add(&half).unwrap().compare(&Dim::ZERO), Some(Ordering::Greater));
    assert_eq!(h.at_least(&linear(2, &half_up, 0)), None);
    assert_eq!(h.at_least(&linear(2, &half_up, 1)), Some(false));
    assert_eq!(Dim::max(&h, &half_up), Ok(h.clone()));
    assert_eq!(Dim::min(&h, &half_up), Ok(half_up.clone()));
    assert!(matches!(Dim::max(&h, &w), Err(DimError::NotProvable { .. })));
    assert!(matches!(Dim::min(&h, &w), Err(DimError::NotProvable { .. })));
    let (area, quarter) = (product([&h, &w]), product([&half, &w.floor_div(2).unwrap()]));
    assert_eq!(area.compare(&quarter), Some(Ordering::Greater));
    assert_eq!(product([&area, &k(3)]).at_least(&product([&quarter, &k(13)])), None);
    assert_eq!(product([&area, &k(3)]).at_least(&product([&quarter, &k(12)])), Some(true));
}

#[test]
fn equality_is_decided_beyond_the_canonical_form() {
    let h = h();
    for n in 2..12 {
        let parts: Vec<Dim> = (0..n).map(|offset| linear(1, &h, offset).floor_div(n as u64).unwrap()).collect();
        let total = sum(&parts).unwrap();
        assert_ne!(total, h);
        assert_eq!(total.equals(&h), Some(true));
        assert_eq!(total.equals(&linear(1, &h, 1)), Some(false));
        assert_eq!(total.compare(&h), Some(Ordering::Equal));
    }
    assert_eq!(h.equals(&w()), None);
}

#[test]
fn divisibility_is_known_where_it_holds_for_all_symbols() {
    let h = h();
    assert_eq!(linear(6, &h, 9).divisible_by(3), Some(true));
    assert_eq!(linear(6, &h, 8).divisible_by(3), Some(false));
    assert_eq!(h.divisible_by(2), None);
    assert_eq!(Dim::symbol("H", 16).divisible_by(8), Some(true));
    assert_eq!(Dim::symbol("H", 16).divisible_by(32), None);
    let neighbours = h.mul(&linear(1, &h, 1)).unwrap();
    assert_eq!(neighbours.divisible_by(2), Some(true));
    assert_eq!(linear(1, &neighbours, 1).divisible_by(2), Some(false));
    assert_eq!(neighbours.exact_div(2).unwrap().mul(&k(2)).unwrap().equals(&neighbours), Some(true));
    assert_eq!(linear(6, &h, 9).exact_div(3), Ok(linear(2, &h, 3)));
    let value = linear(6, &h, 8);
    assert_eq!(value.exact_div(3), Err(DimError::NotDivisible { value: value.clone(), by: k(3) }));
    assert!(matches!(h.exact_div(2), Err(DimError::NotProvable { .. })));
    assert!(matches!(h.exact_div_dim(&k(1 << 100)), Err(DimError::NotProvable { .. })));
}

#[test]
fn symbolic_divisors() {
    let (h, w) = (h(), w());
    let half = h.floor_div(2).unwrap();
    assert_eq!(product([&k(6), &h, &w, &half]).exact_div_dim(&product([&k(2), &half, &w])), Ok(linear(3, &h, 0)));
    let sum = h.add(&w).unwrap();
    assert_eq!(linear(5, &sum, 0).exact_div_dim(&sum), Ok(k(5)));
    let squares = product([&h, &h]).sub(&product([&w, &w])).unwrap();
    assert_eq!(squares.exact_div_dim(&sum), h.sub(&w));
    assert_eq!(Dim::ZERO.exact_div_dim(&h), Ok(Dim::ZERO));
    assert_eq!(linear(2, &h, 0).exact_div_dim(&k(2)), Ok(h.clone()));
    assert!(matches!(h.exact_div_dim(&w), Err(DimError::NotProvable { .. })));
    assert!(matches!(k(6).exact_div_dim(&h), Err(DimError::NotProvable { .. })));
    assert!(matches!(linear(3, &h, 0).exact_div_dim(&linear(2, &h, 0)), Err(DimError::NotProvable { .. })));
    let next = linear(1, &h, 1);
    let value = linear(3, &next, 1);
    assert_eq!(value.exact_div_dim(&next), Err(DimError::NotDivisible { value: value.clone(), by: next.clone() }));
    assert_eq!(value.floor_div_dim(&next), Ok(k(3)));
    assert_eq!(half.floor_div_dim(&h), Ok(Dim::ZERO));
    assert!(matches!(value.floor_div_dim(&h), Err(DimError::NotProvable { .. })));
    assert_eq!(h.floor_div_dim(&k(2)), Ok(half));
}

#[test]
fn evaluation_checks_the_symbols_conditions() {
    let value = product([&Dim::symbol("H", 16), &w()]);
    let bind = |name: &str, number| BTreeMap::from([(name.to_string(), number)]);
    check(&value.evaluate(&bind("H", 32)).unwrap(), "32*W");
    check(&value.evaluate(&bind("W", 3)).unwrap(), "3*H");
    assert_eq!(value.evaluate(&bind("X", 3)), Ok(value.clone()));
    assert_eq!(k(5).evaluate(&bind("H", 3)), Ok(k(5)));
    let both = [("H".to_string(), 32), ("W".to_string(), 3)].into();
    assert_eq!(value.evaluate(&both), Ok(k(96)));
    let error = DimError::NotMultiple { symbol: "H".to_string(), divisor: 16, value: 24 };
    assert_eq!(value.evaluate(&bind("H", 24)), Err(error));
    assert_eq!(value.evaluate(&bind("W", 0)), Err(DimError::NotPositive { symbol: "W".to_string() }));
}

#[test]
fn errors_read_well() {
    let value = linear(1, &h(), 1);
    assert_eq!(value.exact_div(2).unwrap_err().to_string(), "it is not known whether H + 1 is divisible by 2");
    assert_eq!(linear(2, &h(), 1).exact_div(2).unwrap_err().to_string(), "2*H + 1 is not divisible by 2");
    assert_eq!(Dim::max(&h(), &w()).unwrap_err().to_string(), "it is not known which of H and W is larger");
    assert_eq!(
        Dim::symbol("H", 16).evaluate(&[("H".to_string(), 24)].into()).unwrap_err().to_string(),
        "H = 24 is not a multiple of 16"
    );
}

/// Applies `step` until it fails, which it must do.
fn grow(mut value: Dim, step: impl Fn(&Dim) -> Result<Dim, DimError>) -> DimError {
    for _ in 0..10_000 {
        match step(&value) {
            Ok(next) => value = next,
            Err(error) => return error,
        }
        assert!(value.to_string().len() < 1 << 20);
    }
    panic!("grows without bound");
}

#[test]
fn growth_is_bounded() {
    let next = linear(1, &h(), 1);
    let by_terms = grow(next.clone(), |value| value.mul(&next.add(&w())?));
    assert_eq!(by_terms, DimError::TooComplex);
    let by_depth = grow(h(), |value| value.mul(&k(3))?.add(&w())?.floor_div(7));
    assert_eq!(by_depth, DimError::TooComplex);
    let by_sharing = grow(h(), |value| value.mul(value)?.add(&value.mul(&k(2))?)?.floor_div(5));
    assert!(matches!(by_sharing, DimError::TooComplex | DimError::Overflow));
    let by_stride = grow(h(), |value| value.floor_div(2));
    assert_eq!(by_stride, DimError::Overflow);
    let by_power = grow(h(), |value| value.mul(value));
    assert_eq!(by_power, DimError::Overflow);
    let powers = (0..100).fold(Dim::ONE, |sum, _| linear(1, &sum.mul(&h()).unwrap(), 1));
    assert_eq!(powers.mul(&powers), Err(DimError::TooComplex));
    let long = Dim::symbol(&"H".repeat(1 << 20), 1);
    assert_eq!(long.add(&Dim::ONE), Err(DimError::TooComplex));
    let symbols: Vec<Dim> = (0..5000).map(|idx| Dim::symbol(&format!("S{idx}"), 1)).collect();
    assert_eq!(sum(&symbols), Err(DimError::TooComplex));
}

#[test]
fn huge_powers_do_not_hang() {
    let mut power = h();
    for _ in 0..30 {
        power = power.mul(&power).unwrap();
    }
    check(&power, "H^1073741824");
    let odd = power.floor_div(2).unwrap();
    assert_eq!(power.compare(&linear(2, &odd, 0)), None);
    assert_eq!(power.evaluate(&[("H".to_string(), 1)].into()), Ok(Dim::ONE));
    assert_eq!(power.evaluate(&[("H".to_string(), 2)].into()), Err(DimError::Overflow));
    assert_eq!(power.sub(&Dim::ONE).unwrap().exact_div_dim(&linear(1, &h(), -1)), Err(DimError::TooComplex));
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "one symbol with two divisors")]
fn one_symbol_has_one_divisor() {
    let _ = h().add(&Dim::symbol("H", 2));
}

#[test]
fn dims_cross_threads() {
    fn shareable<T: Send + Sync + 'static>() {}
    shareable::<Dim>();
    shareable::<DimError>();
}
