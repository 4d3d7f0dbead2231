//! Photos, preprocessing and arrays against Pillow, torchvision and NumPy: the files of `tests/reference/images/`, which
//! `tools/make_image_references.py` writes.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use ndarray::{Array3, ArrayD, Axis, stack};
use netc::data::preprocess::{Interpolation, Preprocess, ResizeTo, Scale, Step};
use netc::data::{Crops, DataError, Image, Labels, crops, list_images, npy};
use proptest::prelude::*;

fn reference(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/images").join(name)
}

fn source() -> Image {
    Image::read(reference("source.png")).unwrap()
}

/// The steps' result as bytes, channels first.
fn pixels_after(steps: Vec<Step>, image: &Image) -> Array3<f32> {
    let preprocess = Preprocess { steps, scale: Scale { lo: 0.0, hi: 255.0 }, ..Preprocess::default() };
    preprocess.apply(image).unwrap()
}

fn torchvision(steps: Vec<Step>) -> Preprocess {
    Preprocess { steps, mean: vec![0.485, 0.456, 0.406], std: vec![0.229, 0.224, 0.225], ..Preprocess::default() }
}

fn short(n: usize) -> Step {
    Step::Resize { to: ResizeTo::Short(n), interpolation: Interpolation::Bilinear }
}

fn exact(h: usize, w: usize) -> Step {
    Step::Resize { to: ResizeTo::Exact { h, w }, interpolation: Interpolation::Bilinear }
}

#[test]
fn resizing_equals_pillow_bit_for_bit() {
    let image = source();
    let mut compared = 0;
    for path in list_images(reference("resize")).unwrap() {
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let (filter, size) = stem.split_once('_').unwrap();
        let (h, w) = size.split_once('x').unwrap();
        let interpolation = match filter {
            "nearest" => Interpolation::Nearest,
            "bilinear" => Interpolation::Bilinear,
            _ => Interpolation::Bicubic,
        };
        let to = ResizeTo::Exact { h: h.parse().unwrap(), w: w.parse().unwrap() };
        let ours = pixels_after(vec![Step::Resize { to, interpolation }], &image);
        let theirs = pixels_after(vec![], &Image::read(&path).unwrap());
        assert_eq!(ours, theirs, "{stem}");
        compared += 1;
    }
    assert_eq!(compared, 27);
}

#[test]
fn grey_equals_pillow() {
    let ours = pixels_after(vec![Step::Gray], &source());
    let theirs = pixels_after(vec![Step::Gray], &Image::read(reference("gray.png")).unwrap());
    assert_eq!(ours, theirs);
    assert_eq!(ours.shape(), [1, 43, 61]);
}

#[test]
fn whole_pipelines_equal_torchvision() {
    let bicubic = Step::Resize { to: ResizeTo::Short(29), interpolation: Interpolation::Bicubic };
    let cases = [
        ("short_crop", torchvision(vec![short(30), Step::Crop { h: 24, w: 24 }])),
        ("short_crop_bicubic", torchvision(vec![bicubic, Step::Crop { h: 24, w: 21 }])),
        ("crop_larger", torchvision(vec![short(20), Step::Crop { h: 27, w: 25 }])),
        ("exact_gray", Preprocess::fallback(1, 16, 18)),
        ("pad", torchvision(vec![exact(10, 12), Step::Pad { top: 2, left: 1, bottom: 4, right: 3, value: 7 }])),
    ];
    for (name, preprocess) in cases {
        let theirs = npy::read(reference(&format!("preprocess/{name}.npy"))).unwrap();
        assert_eq!(preprocess.apply(&source()).unwrap().into_dyn(), theirs, "{name}");
    }
}

#[test]
fn crops_equal_torchvision() {
    let preprocess = torchvision(vec![short(30), Step::Crop { h: 24, w: 24 }]);
    let theirs = npy::read(reference("crops.npy")).unwrap();
    for (wanted, count) in [(Crops::Five, 5), (Crops::Ten, 10)] {
        let views = crops(&source(), &preprocess, wanted).unwrap();
        assert_eq!(views.len(), count);
        let red: Vec<_> = views.iter().map(|view| view.index_axis(Axis(0), 0).insert_axis(Axis(0))).collect();
        let red = stack(Axis(0), &red).unwrap().into_dyn();
        assert_eq!(red, theirs.slice_axis(Axis(0), (0..count).into()));
    }
    let one = crops(&source(), &preprocess, Crops::One).unwrap();
    assert_eq!(one, [preprocess.apply(&source()).unwrap()]);
}

/// Every form of PNG and JPEG decodes to the bytes that Pillow gives.
#[test]
fn decoding_equals_pillow() {
    let mut compared = 0;
    for path in list_images(reference("decode")).unwrap() {
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.ends_with(".expected.png") {
            continue;
        }
        let expected = Image::read(path.with_file_name(format!("{name}.expected.png"))).unwrap();
        let ours = Image::read(&path).unwrap();
        assert_eq!((ours.height(), ours.width()), (expected.height(), expected.width()), "{name}");
        assert_eq!(ours.bytes(), expected.bytes(), "{name}");
        compared += 1;
    }
    assert_eq!(compared, 42);
}

/// Real photos, progressive JPEGs with coarse chroma: the same pixels as with Pillow, the same tensors as with
/// torchvision.
#[test]
fn photos_equal_torchvision() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(".material/photos");
    if !folder.exists() {
        println!("skipped: no photos here; scripts/fetch-material fetches them");
        return;
    }
    let preprocess = torchvision(vec![short(256), Step::Crop { h: 224, w: 224 }]);
    let expected = fs::read_to_string(reference("photos.txt")).unwrap();
    assert_eq!(expected.lines().count(), 4);
    for line in expected.lines() {
        let name = line.split_whitespace().next().unwrap();
        let image = Image::read(folder.join(name)).unwrap();
        let input = preprocess.apply(&image).unwrap();
        let pixels = crc32(image.bytes().iter().copied());
        let tensor = crc32(input.iter().flat_map(|value| value.to_le_bytes()));
        assert_eq!(format!("{name} {} {} {pixels:08x} {tensor:08x}", image.height(), image.width()), line);
    }
}

/// The checksum of zlib and PNG.
fn crc32(bytes: impl Iterator<Item = u8>) -> u32 {
    let shift = |crc: u32, _| (crc >> 1) ^ (0xedb8_8320 * (crc & 1));
    let table: Vec<u32> = (0..256).map(|byte| (0..8).fold(byte, shift)).collect();
    !bytes.fold(u32::MAX, |crc, byte| (crc >> 8) ^ table[usize::from(crc as u8 ^ byte)])
}

#[test]
fn shipped_images_are_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/fashion-mnist");
    let paths = list_images(&folder).unwrap();
    assert_eq!(paths.len(), 5);
    let labels = Labels::read(folder.join("labels.txt")).unwrap();
    assert_eq!((labels.len(), labels.get(9)), (10, Some("Ankle boot")));
    for path in paths {
        let input = Preprocess::fallback(1, 28, 28).apply(&Image::read(&path).unwrap()).unwrap();
        assert!(input.sum() > 28.0, "{}", path.display());
    }
}

/// Whatever its element type, byte order and memory order, an array that NumPy saved is read as it is.
#[test]
fn npy_reads_what_numpy_saves() {
    let numbers = ArrayD::from_shape_fn(vec![2, 3, 4], |at| (12 * at[0] + 4 * at[1] + at[2]) as f32);
    let mut compared = 0;
    for entry in fs::read_dir(reference("npy")).unwrap() {
        let path = entry.unwrap().path();
        let odd = path.file_name().unwrap() == "b1_C.npy";
        let expected = if odd { numbers.mapv(|number| number % 2.0) } else { numbers.clone() };
        let ours = npy::read(&path).unwrap();
        assert_eq!(ours, expected, "{}", path.display());
        assert!(ours.is_standard_layout());
        compared += 1;
    }
    assert_eq!(compared, 29);
}

#[test]
fn npy_writes_what_numpy_saves() {
    let crops: ArrayD<f32> = npy::read(reference("crops.npy")).unwrap();
    assert_eq!(crops.shape(), [10, 1, 24, 24]);
    let mut bytes = Vec::new();
    npy::write(&mut bytes, crops.view()).unwrap();
    assert_eq!(bytes, fs::read(reference("crops.npy")).unwrap());
}

/// The files in each form of PNG and JPEG, with their names.
fn image_files() -> Vec<(String, Vec<u8>)> {
    let paths = list_images(reference("decode")).unwrap();
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_string();
    let files = paths.iter().map(|path| (name(path), fs::read(path).unwrap()));
    files.filter(|(name, _)| !name.ends_with(".expected.png")).collect()
}

#[test]
fn a_cut_off_image_is_an_error_at_every_length() {
    for (name, bytes) in image_files() {
        for length in 0..bytes.len() {
            let error = Image::decode(&name, &bytes[..length]).unwrap_err();
            let expected = match length {
                0..8 => matches!(error, DataError::NotAnImage { .. } | DataError::Truncated { .. }),
                _ => matches!(error, DataError::Truncated { .. }),
            };
            assert!(expected, "{length} bytes: {error}");
        }
    }
}

#[test]
fn a_cut_off_array_is_an_error_at_every_length() {
    for entry in fs::read_dir(reference("npy")).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        for length in 0..bytes.len() {
            let error = npy::parse(&path, &bytes[..length]).unwrap_err();
            assert!(matches!(error, DataError::Npy { .. }), "{length} bytes: {error}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    /// Damage leads to an error or to some image of the size that the header then has, and to nothing else.
    #[test]
    fn damaged_images_do_no_harm(
        file in 0usize..42,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        gone in prop::option::of((any::<prop::sample::Index>(), 1usize..20)),
    ) {
        let (name, mut bytes) = image_files().swap_remove(file);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some((at, count)) = gone {
            let at = at.index(bytes.len());
            bytes.drain(at..(at + count).min(bytes.len()));
        }
        match Image::decode(&name, &bytes) {
            Ok(image) => prop_assert_eq!(image.bytes().len(), 3 * image.height() * image.width()),
            Err(error) => prop_assert!(error.to_string().contains(&name) && !error.fix().is_empty()),
        }
    }

    #[test]
    fn damaged_arrays_do_no_harm(
        damage in prop::collection::vec((0usize..128, any::<u8>()), 1..4),
    ) {
        let mut bytes = fs::read(reference("npy/i4_F.npy")).unwrap();
        for (at, byte) in damage {
            bytes[at] = byte;
        }
        if let Ok(array) = npy::parse("array.npy", &bytes) {
            prop_assert!(array.len() * 4 <= bytes.len() * 4);
        }
    }

    /// Any steps on any image either give the size that they promise or one of the faults.
    #[test]
    fn preprocessing_gives_the_promised_size(
        (h, w) in (1usize..40, 1usize..40),
        steps in prop::collection::vec(any_step(), 0..5),
        wanted in prop::sample::select(vec![Crops::One, Crops::Five, Crops::Ten]),
    ) {
        let image = Image::from_gray("image", h, w, &vec![77; h * w]).unwrap();
        let preprocess = Preprocess { steps, ..Preprocess::default() };
        match crops(&image, &preprocess, wanted) {
            Ok(views) => {
                prop_assert_eq!(views.len(), wanted.count());
                for view in views {
                    let (c, h, w) = view.dim();
                    prop_assert_eq!(c, preprocess.channels());
                    prop_assert!(preprocess.fixed_size().is_none_or(|size| size == (h, w)));
                    prop_assert!(view.iter().all(|value| (0.0..=1.0).contains(value)));
                }
            }
            Err(DataError::Preprocess { fault, .. }) => prop_assert!(!fault.fix().is_empty()),
            Err(error) => prop_assert!(false, "{error}"),
        }
    }
}

fn any_step() -> impl Strategy<Value = Step> {
    let size = || prop_oneof![9 => 1usize..50, 1 => Just(0), 1 => Just(usize::MAX)];
    let side = || prop_oneof![19 => 0usize..9, 1 => Just(usize::MAX)];
    let interpolation =
        prop::sample::select(vec![Interpolation::Bilinear, Interpolation::Bicubic, Interpolation::Nearest]);
    let to =
        prop_oneof![size().prop_map(ResizeTo::Short), (size(), size()).prop_map(|(h, w)| ResizeTo::Exact { h, w }),];
    prop_oneof![
        (to, interpolation).prop_map(|(to, interpolation)| Step::Resize { to, interpolation }),
        (size(), size()).prop_map(|(h, w)| Step::Crop { h, w }),
        (side(), side(), side(), side(), any::<u8>()).prop_map(|(top, left, bottom, right, value)| Step::Pad {
            top,
            left,
            bottom,
            right,
            value
        }),
        Just(Step::Gray),
    ]
}
