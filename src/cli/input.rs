//! What a net is run on: photos, folders of photos, arrays.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ndarray::{ArrayD, Axis};

use super::Failure;
use crate::Compiled;
use crate::data::{Crops, Image, Preprocess, crops, list_images, npy};
use crate::tensor::Shape;
use crate::train::trainer::{MEAN, STD};

/// One line of results: a photo, or a sample of an array.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// What the line is called.
    pub(super) name: String,
    /// Where the values come from.
    pub(super) source: ItemSource,
}

#[derive(Clone, Debug)]
pub(super) enum ItemSource {
    Photo(PathBuf),
    Array(ArrayD<f32>),
}

/// The items that `--input` names, folders opened; arrays keep their batch.
pub(super) fn items(paths: &[PathBuf]) -> Result<Vec<Item>, Failure> {
    let mut items = Vec::new();
    for path in paths {
        if path.is_dir() {
            let photos = list_images(path)?;
            if photos.is_empty() {
                return Err(Failure::Input(format!("{} holds no .jpg, .jpeg or .png", path.display())));
            }
            items.extend(photos.into_iter().map(|photo| photo_item(&photo)));
        } else if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("npy")) {
            items.push(Item { name: path.display().to_string(), source: ItemSource::Array(npy::read(path)?) });
        } else {
            items.push(photo_item(path));
        }
    }
    Ok(items)
}

fn photo_item(path: &Path) -> Item {
    Item { name: path.display().to_string(), source: ItemSource::Photo(path.to_owned()) }
}

/// How photos become the input of this shape.
pub(super) fn preprocess_of(compiled: &Compiled, shape: &Shape) -> Preprocess {
    if let Some(preprocess) = &compiled.net.preprocess {
        return preprocess.clone();
    }
    let gray = shape.0.first().and_then(crate::dim::Dim::as_usize) == Some(1);
    match shape.as_known().as_deref() {
        Some(&[c, h, w]) => Preprocess::fallback(c, h, w),
        _ if gray => Preprocess { steps: vec![crate::data::preprocess::Step::Gray], ..Preprocess::default() },
        _ => Preprocess::default(),
    }
}

/// Lets photos be normalised as those were that the weights have been trained on, where the weights say so.
pub(super) fn normalise_by(compiled: &mut Compiled, notes: &BTreeMap<String, String>) {
    let values = |key: &str| notes.get(key).and_then(|text| serde_json::from_str::<Vec<f32>>(text).ok());
    let (Some(mean), Some(std)) = (values(MEAN), values(STD)) else { return };
    let Some(shape) = compiled.net.inputs.first().map(|&id| compiled.shapes.of(id.into()).clone()) else { return };
    let preprocess = Preprocess { mean, std, ..preprocess_of(compiled, &shape) };
    if preprocess.check().is_ok() {
        compiled.net.preprocess = Some(preprocess);
    }
}

/// The batch of an item: the crops of a photo, or the samples of an array.
pub(super) fn batch(item: &Item, preprocess: &Preprocess, rank: usize, views: Crops) -> Result<ArrayD<f32>, Failure> {
    match &item.source {
        ItemSource::Array(array) if array.ndim() == rank => Ok(array.clone().insert_axis(Axis(0))),
        ItemSource::Array(array) => Ok(array.clone()),
        ItemSource::Photo(path) => {
            let views = crops(&Image::read(path)?, preprocess, views)?;
            let views: Vec<_> = views.iter().map(|view| view.view().into_dyn()).collect();
            ndarray::stack(Axis(0), &views).map_err(|_| Failure::Input(format!("{}: crops differ", path.display())))
        }
    }
}
