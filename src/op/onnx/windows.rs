//! The attributes of sliding windows, which convolutions and pooling share.

use super::{Attr, Import, Unfit};
use crate::op::geom::{Padding, Windows};
use crate::tensor::Shape;

impl Import<'_> {
    /// Kernel, stride, dilation and padding; `kernel` where no attribute gives it.
    ///
    /// # Errors
    /// When they have more than two axes, or impossible values.
    pub fn windows(&self, kernel: Option<[u64; 2]>) -> Result<Windows, Unfit> {
        let given = self.attrs.plane("kernel_shape", 0)?;
        let kernel = if given == [0, 0] { kernel.unwrap_or(given) } else { given };
        let stride = self.attrs.plane("strides", 1)?;
        let dilation = self.attrs.plane("dilations", 1)?;
        if [kernel, stride, dilation].iter().flatten().any(|&size| size == 0 || size > u64::from(u32::MAX)) {
            return Err(Unfit::new("its kernel, strides or dilations are not positive"));
        }
        let ceil = self.attrs.flag("ceil_mode", false)?;
        Ok(Windows { kernel, stride, dilation, padding: self.padding()?, ceil })
    }

    fn padding(&self) -> Result<Padding, Unfit> {
        match self.attrs.text("auto_pad", "NOTSET")? {
            "SAME_UPPER" => Ok(Padding::SameUpper),
            "SAME_LOWER" => Ok(Padding::SameLower),
            "VALID" => Ok(Padding::Sides([0; 4])),
            "NOTSET" | "" => Ok(Padding::Sides(self.sides("pads")?)),
            other => Err(Unfit::new(format!("`auto_pad` = {other} is unknown"))),
        }
    }

    /// Padding at the top, left, bottom and right.
    ///
    /// # Errors
    /// When it is negative, or for more than two axes.
    pub fn sides(&self, name: &str) -> Result<[u64; 4], Unfit> {
        let Some(pads) = self.attrs.ints(name)? else { return Ok([0; 4]) };
        let pads: Option<Vec<u64>> =
            pads.iter().map(|&pad| u64::try_from(pad).ok().filter(|&pad| pad <= u64::from(u32::MAX))).collect();
        match pads.as_deref() {
            Some([top, left, bottom, right]) => Ok([*top, *left, *bottom, *right]),
            Some([before, after]) => Ok([0, *before, 0, *after]),
            Some(more) if more.len() > 4 => Err(Unfit::volume()),
            _ => Err(Unfit::new(format!("`{name}` is no list of two or four sizes"))),
        }
    }
}

/// Windows whose last partial ones count, as padding behind that makes them whole: for operator sets without `ceil_mode`,
/// and where its rule gives another size than [`Windows::ceil`]. `None` where that takes a size that is not known, or
/// none of the padding would do.
pub fn without_ceil(windows: &Windows, opset: i64, input: &Shape, output: &Shape) -> Option<Windows> {
    const FIRST_WITH_CEIL: i64 = 10;
    let Padding::Sides(mut sides) = windows.padding else { return Some(*windows) };
    if !windows.ceil {
        return Some(*windows);
    }
    let mut same_rule = true;
    for axis in [0, 1] {
        let (Some(size), Some(count)) = (input.0[axis + 1].as_u64(), output.0[axis + 1].as_u64()) else {
            return (FIRST_WITH_CEIL <= opset).then_some(*windows);
        };
        let (extent, stride) = (windows.extent(axis), windows.stride[axis]);
        let padded = size + sides[axis] + sides[axis + 2];
        same_rule &= padded.checked_sub(extent)?.div_ceil(stride) + 1 == count;
        sides[axis + 2] += ((count - 1) * stride + extent).saturating_sub(padded);
        let padded = size + sides[axis] + sides[axis + 2];
        if (padded - extent) / stride + 1 != count {
            return None;
        }
    }
    if FIRST_WITH_CEIL <= opset && same_rule {
        return Some(*windows);
    }
    Some(Windows { padding: Padding::Sides(sides), ceil: false, ..*windows })
}

/// The attributes that say the same of a node.
pub fn attributes(windows: &Windows) -> Vec<(&'static str, Attr)> {
    let ints = |values: &[u64]| Attr::Ints(values.iter().map(|&value| value as i64).collect());
    let mut attrs = vec![("kernel_shape", ints(&windows.kernel)), ("strides", ints(&windows.stride))];
    if windows.dilation != [1, 1] {
        attrs.push(("dilations", ints(&windows.dilation)));
    }
    attrs.push(match windows.padding {
        Padding::Sides(sides) => ("pads", ints(&sides)),
        Padding::SameUpper => ("auto_pad", Attr::Text("SAME_UPPER".to_owned())),
        Padding::SameLower => ("auto_pad", Attr::Text("SAME_LOWER".to_owned())),
    });
    if windows.ceil {
        attrs.push(("ceil_mode", Attr::Int(1)));
    }
    attrs
}
