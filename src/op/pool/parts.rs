//! Adaptive pooling to parts of different sizes as nodes of ONNX, which has no operator for it: one axis after the other.
//! Means are a product with a matrix, maxima are taken part by part.

use super::super::onnx::export::bounded;
use super::super::onnx::{Attr, Constant, Export, Import, Unfit};
use super::span::{Span, spans};
use super::{Extent, Function, Pool};

pub(super) fn to_onnx(pool: &Pool, to: [u64; 2], g: &mut Export) -> Result<(), Unfit> {
    let size = |axis: usize| g.inputs[0].0[axis + 1].as_usize();
    let (Some(h), Some(w)) = (size(0), size(1)) else {
        return Err(Unfit::new("adaptive pooling takes sizes that are known: fix them with --set or --shape"));
    };
    for (parts, size) in to.iter().zip([h, w]) {
        bounded(&[*parts, size as u64])?;
    }
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
    let across = g.floats(&[w as u64, to[1]], turned(&means(&cols, w), w))?;
    g.last("MatMul", vec![x, across], Vec::new());
    Ok(())
}

/// A map between the matrices that [`to_onnx`] writes, read as one node: the map, and the matrices on its left and right.
pub(super) fn from_onnx(node: &mut Import) -> Result<(), Unfit> {
    let (x, rank) = node.map(0)?;
    let (down, across) = (node.weight(1, "matrix")?, node.weight(2, "matrix")?);
    let size = |axis: usize| x.shape.0[axis + 1].as_usize();
    let (&[rows, _], &[_, cols], Some(h), Some(w)) = (down.dims().as_slice(), across.dims().as_slice(), size(0), size(1))
    else {
        return Err(Unfit::new("it multiplies a map with matrices"));
    };
    let extent = Extent::Adaptive([rows, cols]);
    // Only then are matrices of these sizes no larger than those of the file.
    if rows == 0 || cols == 0 || down.dims() != [rows, h as u64] || across.dims() != [w as u64, cols] || (h as u64) < rows || (w as u64) < cols {
        return Err(Unfit::new("it multiplies a map with matrices"));
    }
    let own = |matrix: &Constant, wanted: Vec<f32>| {
        matrix.to_floats().is_some_and(|values| values.iter().eq(wanted.iter()))
    };
    let parts = [rows, cols].map(|parts| parts as usize);
    let [row_spans, col_spans] = spans(&extent, [h, w], parts);
    let is_own = own(down, means(&row_spans, h)) && own(across, turned(&means(&col_spans, w), w));
    if !is_own {
        return Err(Unfit::new("it multiplies a map with matrices that are no means of parts"));
    }
    let made = node.emit_one(Pool { function: Function::Average { count_pad: false }, extent }, &[&x], Vec::new())?;
    node.map_result(made, rank);
    Ok(())
}

/// The matrix with rows of `width` turned on its side.
fn turned(matrix: &[f32], width: usize) -> Vec<f32> {
    (0..width).flat_map(|x| matrix[x..].iter().step_by(width).copied()).collect()
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
