//! Gradients of linear layers, as sums of outer products with weights as they lie: `[out, in]`, row-major.

use super::conv::Context;
use super::isa::WIDE;
use super::outer::{DEPTH, Outer, Slot, slots};
use super::rows::{Rows, RowsMut};

/// Columns of a task.
const COLUMNS: usize = 12 * WIDE;
/// Rows of a task, where the columns are few.
const ROWS: usize = 64;

/// The gradient with respect to the input: `to[n] = Σ over o of gradient[n][o] · weight[o]`.
pub fn input(cx: &mut Context, weight: &[f32], gradient: Rows, to: &mut RowsMut) {
    let (samples, outputs, width) = (to.count(), gradient.width(), to.width());
    assert!(gradient.count() == samples && weight.len() == outputs * width, "other sizes");
    // Turned around, a product of the sum has one factor for each sample side by side.
    let mut turned = vec![0.0; outputs * samples];
    for sample in 0..samples {
        gradient.row(sample).iter().enumerate().for_each(|(o, &x)| turned[o * samples + sample] = x);
    }
    let rows = Rows::of(&turned, outputs, samples);
    sum(cx, rows, Rows::of(weight, outputs, width), to);
}

/// The gradient with respect to the weights: `to[o] = Σ over samples of gradient[n][o] · input[n]`.
pub fn weight(cx: &mut Context, input: Rows, gradient: Rows, to: &mut [f32]) {
    let (outputs, width) = (gradient.width(), input.width());
    assert!(input.count() == gradient.count() && to.len() == outputs * width, "other sizes");
    sum(cx, gradient, input, &mut RowsMut::of(to, outputs, width));
}

/// `to[m] = Σ over k of a[k][m] · b[k]`.
fn sum(cx: &Context, a: Rows, b: Rows, to: &mut RowsMut) {
    assert!(a.count() == b.count() && to.count() == a.width() && to.width() == b.width(), "other sizes");
    let (isa, slots, to) = (cx.isa, slots(1, b.width()), &*to);
    let columns: Vec<&[Slot]> = slots.chunks(COLUMNS / WIDE).collect();
    let blocks = to.count().div_ceil(ROWS);
    cx.threads.run(columns.len() * blocks, |task, _| {
        let (slots, block) = (columns[task / blocks], task % blocks);
        let rows = block * ROWS..to.count().min((block + 1) * ROWS);
        let mut table = [std::ptr::null(); DEPTH];
        for first in (0..a.count()).step_by(DEPTH) {
            let count = DEPTH.min(a.count() - first);
            for (k, row) in table[..count].iter_mut().enumerate() {
                *row = b.row(first + k).as_ptr();
            }
            // SAFETY: `a` and `b` have `count` rows from `first` on, of all their columns; the task's rows and columns of
            // `to` are written by it alone.
            isa.run(unsafe {
                let (a, to) = ((a.row(first).as_ptr(), a.stride()), (to.ptr(), to.stride()));
                Outer::new(a, &table[..count], count, rows.clone(), slots, to, first != 0)
            });
        }
    });
}
