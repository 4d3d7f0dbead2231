//! The attributes of sliding windows, which convolutions and pooling share.

use super::{Attr, Import, Unfit};
use crate::op::geom::{Padding, Windows};

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
