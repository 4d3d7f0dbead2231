//! Shapes, and borrowed views of dense data; no arithmetic on elements.

use std::fmt;

use crate::dim::{Dim, DimError};

/// The sizes of a value without its batch: `[channels, height, width]`, or `[features]` after `flatten`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Shape(pub Vec<Dim>);

impl Shape {
    /// A shape of known sizes.
    pub fn known(sizes: &[u64]) -> Self {
        Shape(sizes.iter().map(|&size| Dim::from(size)).collect())
    }

    /// How many axes it has, the batch not counted.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// Channels, height and width of a feature map; `None` for any other rank.
    pub fn chw(&self) -> Option<(&Dim, &Dim, &Dim)> {
        match self.0.as_slice() {
            [c, h, w] => Some((c, h, w)),
            _ => None,
        }
    }

    /// How many elements one sample has.
    ///
    /// # Errors
    /// When the product overflows.
    pub fn elements(&self) -> Result<Dim, DimError> {
        self.0.iter().try_fold(Dim::ONE, |product, size| product.mul(size))
    }

    /// The sizes as numbers, when none is symbolic.
    pub fn as_known(&self) -> Option<Vec<usize>> {
        self.0.iter().map(Dim::as_usize).collect()
    }

    /// As it is written in a claim: `[64, 112, 112]`.
    pub fn claim(&self) -> String {
        let sizes: Vec<String> = self.0.iter().map(Dim::to_string).collect();
        format!("[{}]", sizes.join(", "))
    }
}

/// `64x112x112`; symbolic sizes in parentheses where needed.
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (axis, size) in self.0.iter().enumerate() {
            let separator = if axis == 0 { "" } else { "x" };
            let text = size.to_string();
            if text.contains([' ', '*']) {
                write!(f, "{separator}({text})")?;
            } else {
                write!(f, "{separator}{text}")?;
            }
        }
        if self.0.is_empty() { f.write_str("scalar") } else { Ok(()) }
    }
}

/// A number that operators compute with: `f32` in nets, `f64` where rules are proved.
pub trait Element: Copy + Default + PartialEq + Send + Sync + fmt::Debug + 'static {
    /// The same number in `f64`.
    fn f64(self) -> f64;
    /// The nearest number.
    fn of(x: f64) -> Self;
}

impl Element for f32 {
    fn f64(self) -> f64 {
        f64::from(self)
    }

    fn of(x: f64) -> Self {
        x as f32
    }
}

impl Element for f64 {
    fn f64(self) -> f64 {
        self
    }

    fn of(x: f64) -> Self {
        x
    }
}

/// Dense row-major data, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct View<'a, E = f32> {
    /// The sizes, batch first; their product is the length of `data`.
    pub dims: &'a [usize],
    /// The elements.
    pub data: &'a [E],
}

/// Dense row-major data, borrowed for writing.
#[derive(Debug)]
pub struct ViewMut<'a, E = f32> {
    /// The sizes, batch first; their product is the length of `data`.
    pub dims: &'a [usize],
    /// The elements.
    pub data: &'a mut [E],
}

/// The sizes of a feature map with its batch, in the field's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nchw {
    /// Batch.
    pub n: usize,
    /// Channels.
    pub c: usize,
    /// Height.
    pub h: usize,
    /// Width.
    pub w: usize,
}

impl Nchw {
    /// From sizes that shape inference has checked to have rank four.
    pub fn of(dims: &[usize]) -> Self {
        match *dims {
            [n, c, h, w] => Nchw { n, c, h, w },
            _ => unreachable!("shape inference admits feature maps only"),
        }
    }

    /// The position of an element.
    #[inline]
    pub fn at(&self, n: usize, c: usize, h: usize, w: usize) -> usize {
        ((n * self.c + c) * self.h + h) * self.w + w
    }
}
