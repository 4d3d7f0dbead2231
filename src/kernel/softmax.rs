//! Softmax and its logarithm over the channels of each row.

use super::activation::exp;
use super::conv::Context;
use super::elementwise::each_row;
use super::isa::{LANES, Lanes, Task};
use super::rows::RowsMut;

/// `row = exp(row) / Σ exp(row)`, or the logarithm of it, relative to the largest element so that nothing overflows.
pub fn softmax(cx: &Context, log: bool, values: &mut RowsMut) {
    let isa = cx.isa;
    each_row(cx, values, |_, row| isa.run(Row { log, row }));
}

struct Row<'a> {
    log: bool,
    row: &'a mut [f32],
}

impl Task for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let row = self.row;
        let largest = row.iter().fold(f32::NEG_INFINITY, |most, &x| if x > most || x.is_nan() { x } else { most });
        let mut sum = 0.0f64;
        // Blocks of one vector; the last one is filled up, and what is filled in is not used.
        for at in (0..row.len()).step_by(LANES) {
            let width = LANES.min(row.len() - at);
            let mut block = [f32::NEG_INFINITY; LANES];
            block[..width].copy_from_slice(&row[at..at + width]);
            // SAFETY: `block` holds 8 floats.
            let shifted = unsafe { l.sub(l.load(block.as_ptr()), l.splat(largest)) };
            let grown = exp(l, shifted);
            let (mut powers, mut differences) = ([0.0f32; LANES], [0.0f32; LANES]);
            // SAFETY: both hold 8 floats.
            unsafe {
                l.store(powers.as_mut_ptr(), grown);
                l.store(differences.as_mut_ptr(), shifted);
            }
            sum += powers[..width].iter().map(|&power| f64::from(power)).sum::<f64>();
            row[at..at + width].copy_from_slice(&if self.log { differences } else { powers }[..width]);
        }
        if self.log {
            let shift = sum.ln() as f32;
            row.iter_mut().for_each(|x| *x -= shift);
        } else {
            let factor = (1.0 / sum) as f32;
            row.iter_mut().for_each(|x| *x *= factor);
        }
    }
}
