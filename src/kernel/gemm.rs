//! Matrix multiplication on the `gemm` crate, behind a safe face.

/// A row-major matrix inside a slice: `rows` of `cols` elements, `stride` elements apart.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    /// The elements; at least `(rows - 1) * stride + cols`.
    pub data: &'a [f32],
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// Elements from one row to the next.
    pub stride: usize,
    /// Whether rows and columns change places when it is read.
    pub transposed: bool,
}

impl<'a> Matrix<'a> {
    /// A dense matrix.
    pub fn dense(data: &'a [f32], rows: usize, cols: usize) -> Self {
        Matrix { data, rows, cols, stride: cols, transposed: false }
    }

    /// The same elements with rows and columns exchanged.
    #[must_use]
    pub fn transpose(self) -> Self {
        Matrix { transposed: !self.transposed, ..self }
    }

    /// Rows and columns as they are read.
    fn shape(&self) -> (usize, usize) {
        if self.transposed { (self.cols, self.rows) } else { (self.rows, self.cols) }
    }

    /// Distance of neighbours in a row and in a column, as they are read.
    fn strides(&self) -> (isize, isize) {
        let along = (1, self.stride.cast_signed());
        if self.transposed { (along.1, along.0) } else { along }
    }
}

/// How far a matrix reaches into its slice.
fn reach(rows: usize, cols: usize, stride: usize) -> usize {
    if rows == 0 || cols == 0 { 0 } else { (rows - 1) * stride + cols }
}

/// `c = a·b`, or `c += a·b`, with `c` row-major and `c_stride` elements from row to row. On the calling thread only.
///
/// # Panics
/// When shapes do not fit each other or their slices.
pub fn multiply(a: Matrix, b: Matrix, c: &mut [f32], c_stride: usize, accumulate: bool) {
    let ((m, k), (b_rows, n)) = (a.shape(), b.shape());
    assert_eq!(k, b_rows, "inner sizes");
    assert!(reach(a.rows, a.cols, a.stride) <= a.data.len(), "left operand");
    assert!(reach(b.rows, b.cols, b.stride) <= b.data.len(), "right operand");
    assert!(n <= c_stride || m <= 1, "rows of the result overlap");
    assert!(reach(m, n, c_stride) <= c.len(), "result");
    if m == 0 || n == 0 {
        return;
    }
    let ((a_cs, a_rs), (b_cs, b_rs)) = (a.strides(), b.strides());
    // SAFETY: every element that the strides address lies within its slice: `reach` of each matrix was asserted above,
    // transposition only exchanges the two strides, and `c` is borrowed exclusively.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            1,
            c_stride.cast_signed(),
            accumulate,
            a.data.as_ptr(),
            a_cs,
            a_rs,
            b.data.as_ptr(),
            b_cs,
            b_rs,
            if accumulate { 1.0 } else { 0.0 },
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Matrix, multiply};

    fn values(len: usize, seed: usize) -> Vec<f32> {
        (0..len).map(|i| ((i * 7 + seed * 13) % 17) as f32 - 8.0).collect()
    }

    proptest! {
        #[test]
        fn equals_plain_loops(m in 1usize..20, n in 1usize..20, k in 0usize..20, extra in 0usize..3, ta: bool, tb: bool, acc: bool) {
            let (a, b) = (values(m * k + extra, 1), values(k * n + extra, 2));
            let left = if ta { Matrix::dense(&a, k, m).transpose() } else { Matrix::dense(&a, m, k) };
            let right = if tb { Matrix::dense(&b, n, k).transpose() } else { Matrix::dense(&b, k, n) };
            let stride = n + extra;
            let mut c = values(m * stride, 3);
            let expected: Vec<f32> = (0..m * stride).map(|at| {
                let (row, col) = (at / stride, at % stride);
                if col >= n { return c[at]; }
                let dot: f32 = (0..k).map(|i| {
                    let x = if ta { a[i * m + row] } else { a[row * k + i] };
                    let y = if tb { b[col * k + i] } else { b[i * n + col] };
                    x * y
                }).sum();
                if acc { c[at] + dot } else { dot }
            }).collect();
            multiply(left, right, &mut c, stride, acc);
            // Small integers: every sum is exact.
            prop_assert_eq!(c, expected);
        }
    }
}
