//! Adaptive pooling to parts of different sizes as nodes of ONNX, which has no operator for it: one axis after the other.
//! Means are a product with a matrix, maxima are taken part by part.

use super::super::onnx::{Attr, Export, Unfit};
use super::span::{Span, spans};
use super::{Extent, Function, Pool};

pub(super) fn to_onnx(pool: &Pool, to: [u64; 2], g: &mut Export) -> Result<(), Unfit> {
    let size = |axis: usize| g.inputs[0].0[axis + 1].as_usize();
    let (Some(h), Some(w)) = (size(0), size(1)) else {
        return Err(Unfit::new("adaptive pooling takes sizes that are known: fix them with --set or --shape"));
    };
    let [rows, cols] = spans(&Extent::Adaptive(to), [h, w], to.map(|parts| parts as usize));
    let x = g.operand(0);
    if pool.function == Function::Max {
        let parts = largest(g, &x, 2, &rows)?;
        let x = g.between("Concat", parts, vec![("axis", Attr::Int(2))]);
        let parts = largest(g, &x, 3, &cols)?;
        g.last("Concat", parts, vec![("axis", Attr::Int(3))]);
        return Ok(());
    }
    let down = g.floats(&[to[0], h as u64], means(&rows, h))?;
    let x = g.between("MatMul", vec![down, x], Vec::new());
    let across = means(&cols, w);
    let turned = (0..w).flat_map(|x| across[x..].iter().step_by(w).copied()).collect();
    let across = g.floats(&[w as u64, to[1]], turned)?;
    g.last("MatMul", vec![x, across], Vec::new());
    Ok(())
}

/// A row for each part: its share of each cell.
fn means(parts: &[Span], size: usize) -> Vec<f32> {
    let mut shares = vec![0.0; parts.len() * size];
    for (part, row) in parts.iter().zip(shares.chunks_mut(size)) {
        part.cells.iter().for_each(|&cell| row[cell] = 1.0 / part.cells.len() as f32);
    }
    shares
}

/// The maxima of each part of an axis.
fn largest(g: &mut Export, x: &str, axis: i64, parts: &[Span]) -> Result<Vec<String>, Unfit> {
    let mut maxima = Vec::new();
    for part in parts {
        let (first, end) = (part.cells[0] as i64, part.cells[part.cells.len() - 1] as i64 + 1);
        let (inputs, attrs) = g.range(x, axis, first, end)?;
        let cells = g.between("Slice", inputs, attrs);
        let (inputs, attrs) = g.reduction("ReduceMax", cells, &[axis], true)?;
        maxima.push(g.between("ReduceMax", inputs, attrs));
    }
    Ok(maxima)
}
