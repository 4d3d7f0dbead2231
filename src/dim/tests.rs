//! Rules one by one, then random expressions against plain integers.
#![allow(clippy::unwrap_used)]

use super::*;

fn k(value: i128) -> Dim {
    Dim::known(value)
}

fn window(x: &Dim, kernel: i128, stride: u64, pad: i128) -> Dim {
    x.add(&k(2 * pad - kernel)).unwrap().floor_div(stride).unwrap().add(&Dim::ONE).unwrap()
}

#[test]
fn strided_windows_compose() {
    let h = Dim::symbol("H", 1);
    let a = window(&window(&h, 7, 2, 3), 3, 2, 1);
    let b = window(&window(&h, 1, 2, 0), 1, 2, 0);
    assert_eq!(a, b);
    assert_eq!(a.to_string(), "floor((H + 3)/4)");
}

#[test]
fn known_divisor_keeps_halves_exact() {
    let h = Dim::symbol("H", 16);
    let mut x = h.clone();
    for _ in 0..4 {
        x = window(&x, 2, 2, 0);
    }
    assert_eq!(x.to_string(), "H/16");
    for _ in 0..4 {
        x = x.mul(&k(2)).unwrap();
    }
    assert_eq!(x, h);
}
