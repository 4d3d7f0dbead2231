//! Nets as models of ONNX: what is written for each spec, and that reading it gives the same net.
#![allow(clippy::unwrap_used)]

mod common;
mod examples;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use common::{LAYER, some_values};
use ndarray::ArrayD;
use netc::ir::{Net, expand};
use netc::onnx::{ExportOptions, ImportOptions, Model, export, import, import_bytes};
use netc::op::Op;
use netc::op::identity::Identity;
use netc::op::pool::Extent;
use netc::outline::difference;
use netc::weights::{Checkpoint, OpenOptions, Scheme, init};
use netc::{Compiled, FileLoader, RunOptions, Settings, compile, compile_text, opt};

/// The structure alone.
fn model(compiled: &Compiled, options: &ExportOptions) -> Model {
    export(&compiled.net, &compiled.shapes, None, options)
        .unwrap_or_else(|error| panic!("{}: {error}", compiled.net.name))
}

/// The net without the heads that exist in training only, and with layers that change nothing at these sizes for what they
/// are: ONNX has an operator for neither.
fn sent(compiled: &Compiled) -> Net {
    let mut net = opt::for_export(&compiled.net, &compiled.shapes, false).net;
    for id in net.nodes().collect::<Vec<_>>() {
        let keeps_shape = net.operands(id).iter().all(|&x| compiled.shapes.of(x) == compiled.shapes.of(id.into()));
        let is_idle = match &net.node(id).op {
            Op::Pool(pool) => matches!(pool.extent, Extent::Adaptive(_)),
            Op::PadShortcut(shortcut) => shortcut.stride == [1, 1],
            _ => false,
        };
        if keeps_shape && is_idle {
            net.set_op(id, Identity.into());
        }
    }
    net
}

/// What reading a model changes of a net.
fn change(compiled: &Compiled, opset: i64) -> Option<String> {
    let bytes =
        match export(&compiled.net, &compiled.shapes, None, &ExportOptions { opset, ..ExportOptions::default() }) {
            Ok(model) => model.to_bytes().unwrap(),
            Err(error) => return Some(error.to_string()),
        };
    let back = match import_bytes(&bytes, &ImportOptions { without_weights: true, ..ImportOptions::default() }) {
        Ok(back) => back,
        Err(error) => return Some(error.to_string()),
    };
    let lines = [back.text(), back.flat_text()].map(|text| text.lines().count());
    if 100 < lines[1] && 2 * lines[1] < 3 * lines[0] {
        return Some(format!("{} lines with blocks, {} without", lines[0], lines[1]));
    }
    let (sent, back) = (sent(compiled), back.net);
    difference(&sent, &back).or_else(|| {
        let (sent, back) = (expand::head(&sent), expand::head(&back));
        (sent != back).then(|| format!("{sent}became\n{back}"))
    })
}

#[test]
fn every_spec_comes_back_as_it_was() {
    let mut changes = Vec::new();
    insta::glob!("../specs", "*.net", |path| {
        let compiled = compile(path).unwrap();
        let name = compiled.net.name.as_str();
        // Without ScatterND a connection table is a plain convolution.
        let first = if name == "lenet5_1998" { 11 } else { 10 };
        for opset in [first, 13, 21, 27] {
            changes.extend(change(&compiled, opset).map(|change| format!("{name} at {opset}: {change}")));
        }
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path("../snapshots/onnx/export");
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.remove_snapshot_suffix();
        let text = model(&compiled, &ExportOptions::default()).to_string();
        settings.bind(|| insta::assert_snapshot!(name, text));
    });
    assert!(changes.is_empty(), "{}", changes.join("\n"));
}

/// What a net computes from seeded numbers with seeded weights.
fn outputs(compiled: &Compiled, weights: &Checkpoint, inputs: &[ArrayD<f32>]) -> BTreeMap<String, ArrayD<f32>> {
    let executable = compiled.plan_with(weights, &RunOptions::default()).unwrap_or_else(|error| panic!("{error}"));
    let views: Vec<_> = inputs.iter().map(|input| input.view()).collect();
    let names = compiled.net.outputs_for(false).map(|output| output.name.clone());
    names.zip(executable.run_all(&views).unwrap()).collect()
}

/// The examples of the reference, one or more for each layer: what comes back computes the same, to the rounding of sums
/// in another order.
#[test]
fn every_layer_of_the_reference_computes_the_same() {
    let (mut faults, mut met) = (Vec::new(), BTreeSet::new());
    for example in examples::examples(Path::new("docs/language.md")) {
        let checked = netc::check("specs/example.net", example.text.into_bytes(), &FileLoader, &Settings::default());
        let Some(compiled) = checked.compiled.filter(|compiled| !compiled.shapes.symbolic()) else { continue };
        let weights = init(&compiled.init_specs(), Scheme::He, 1).unwrap();
        met.extend(compiled.net.nodes().map(|id| compiled.net.node(id).op.describe().0));
        let ids = compiled.net.inputs.iter();
        let sizes = ids.map(|&id| compiled.shapes.of(id.into()).as_known().unwrap());
        let inputs: Vec<_> = sizes.enumerate().map(|(at, dims)| some_values(&[&[2][..], &dims].concat(), at)).collect();
        let wanted = outputs(&compiled, &weights, &inputs);
        for opset in [11, 21] {
            let options = ExportOptions { opset, ..ExportOptions::default() };
            let model = match export(&compiled.net, &compiled.shapes, Some(&weights), &options) {
                Ok(model) => model,
                Err(error) if opset == 11 && error.to_string().contains("export with --opset 19 or later") => continue,
                Err(error) => {
                    faults.push(format!("{} at {opset}: {error}", example.place));
                    continue;
                }
            };
            let back = match import_bytes(&model.to_bytes().unwrap(), &ImportOptions::default()) {
                Ok(back) => back,
                Err(error) => {
                    faults.push(format!("{} at {opset}: {error}\n{model}", example.place));
                    continue;
                }
            };
            let again = compile_text("back.net", &back.text()).unwrap();
            let found = outputs(&again, &back.weights, &inputs);
            assert_eq!(found.len(), wanted.len(), "{}", example.place);
            for ((name, found), (other, wanted)) in found.iter().zip(&wanted) {
                assert_eq!(name, other);
                // Axes that the model ends with in another order are told, not turned.
                let turned = back.turned.iter().find(|turned| turned.name == *name);
                let order =
                    turned.map(|turned| std::iter::once(0).chain(turned.order.iter().map(|axis| axis + 1)).collect());
                let found = found.view().permuted_axes(order.unwrap_or_else(|| (0..found.ndim()).collect::<Vec<_>>()));
                let largest = wanted.iter().fold(f32::MIN_POSITIVE, |most, value| most.max(value.abs()));
                let error = found.iter().zip(wanted).fold(0f32, |most, (a, b)| most.max((a - b).abs())) / largest;
                if found.shape() != wanted.shape() || error.is_nan() || LAYER < error {
                    faults.push(format!("{} at {opset}: {error}\n{}", example.place, back.text()));
                }
            }
        }
    }
    let all = netc::op::signatures().map(|signature| signature.layer);
    // A `depthwise` is a `conv`.
    let missing: Vec<&str> = all.filter(|&layer| !met.contains(layer) && layer != "depthwise").collect();
    assert!(missing.is_empty(), "in no example that was compared: {missing:?}");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn lenet5() -> (Compiled, Checkpoint) {
    let weights = Checkpoint::open(Path::new("assets/lenet5_fashion.safetensors"), &OpenOptions::default()).unwrap();
    (compile("specs/lenet5.net").unwrap(), weights)
}

fn assert_same_tensors(left: &Checkpoint, right: &Checkpoint) {
    assert_eq!(left.len(), right.len());
    for (name, tensor) in left.iter() {
        assert_eq!(right.get(name).unwrap().bytes(), tensor.bytes(), "{name}");
    }
}

#[test]
fn weights_and_what_they_say_come_back_bit_for_bit_from_one_file_and_from_two() {
    let (compiled, weights) = lenet5();
    let model = export(&compiled.net, &compiled.shapes, Some(&weights), &ExportOptions::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (beside, files) in [(false, 1), (true, 2)] {
        let path = folder.path().join(format!("lenet{files}.onnx"));
        model.write(&path, beside).unwrap();
        let back = import(&path, &ImportOptions::default()).unwrap();
        assert_same_tensors(&weights, &back.weights);
        assert_eq!(weights.metadata().get("classes"), back.weights.metadata().get("classes"));
        assert_eq!(back.net.preprocess, compiled.net.preprocess);
        assert_eq!(path.with_extension("onnx.data").exists(), beside);
    }
    let sizes = ["lenet1.onnx", "lenet2.onnx"].map(|name| std::fs::metadata(folder.path().join(name)).unwrap().len());
    assert!(sizes[1] < sizes[0] / 10, "{sizes:?}");
}

#[test]
fn folded_batch_norms_leave_what_is_computed() {
    let text = "net normed {
      input x: [3, 9, 9]
      conv1: conv(8, 3, bias = false)
      bn1: bn
      relu
      up1: conv_transpose(4, 2, stride = 2)
      bn2: bn
      flatten
      fc: linear(5)
      bn3: bn
      output y
    }";
    let compiled = compile_text("normed.net", text).unwrap();
    let weights = init(&compiled.init_specs(), Scheme::He, 3).unwrap();
    let options = ExportOptions { folded: true, ..ExportOptions::default() };
    let model = export(&compiled.net, &compiled.shapes, Some(&weights), &options).unwrap();
    assert!(!model.to_string().contains("BatchNormalization"), "{model}");
    let back = import_bytes(&model.to_bytes().unwrap(), &ImportOptions::default()).unwrap();
    let again = compile_text("back.net", &back.text()).unwrap();
    let x = [some_values(&[3, 3, 9, 9], 1)];
    let (found, wanted) = (outputs(&again, &back.weights, &x), outputs(&compiled, &weights, &x));
    let largest = wanted["y"].iter().fold(0f32, |most, value| most.max(value.abs()));
    let error = found["y"].iter().zip(&wanted["y"]).fold(0f32, |most, (a, b)| most.max((a - b).abs()));
    assert!(error <= LAYER * largest, "{error} of {largest}");
}

#[test]
fn what_cannot_be_written_is_said_at_once() {
    let (compiled, weights) = lenet5();
    let message = |compiled: &Compiled, weights: Option<&Checkpoint>, options: ExportOptions| {
        export(&compiled.net, &compiled.shapes, weights, &options).unwrap_err().to_string()
    };
    let opset = |opset| ExportOptions { opset, ..ExportOptions::default() };
    for wrong in [6, 28, -1] {
        let error = message(&compiled, None, opset(wrong));
        assert!(error.contains(&format!("operator set {wrong} is none")) && error.contains("from 7 to 27"), "{error}");
    }
    let resnet = compile("specs/cifar_resnet20.net").unwrap();
    let error = message(&resnet, Some(&weights), ExportOptions::default());
    assert!(error.contains("does not fit the net: 96 missing, 9 unexpected, 1 of another shape"), "{error}");

    let gelus = "net gelus { input x: [3, 4, 4]; a: gelu; b: upsample(size = [7, 7], mode = bicubic); output y }";
    let gelus = compile_text("gelus.net", gelus).unwrap();
    let error = message(&gelus, Some(&Checkpoint::new()), opset(8));
    assert!(error.starts_with("2 layers of the net have no counterpart in ONNX:\n  gelu `a`: "), "{error}");
    assert!(error.contains("\n  upsample `b`: "), "{error}");

    let front = |opset| ExportOptions { opset, with_preprocess: true, ..ExportOptions::default() };
    assert!(message(&gelus, None, front(21)).contains("the net has no `preprocess`"));
    assert!(message(&compiled, Some(&weights), front(17)).contains("needs operator set 18"));

    let folder = tempfile::tempdir().unwrap();
    let model = export(&compiled.net, &compiled.shapes, None, &ExportOptions::default()).unwrap();
    let path = folder.path().join("no/lenet.onnx");
    let error = model.write(&path, false).unwrap_err().to_string();
    assert!(error.contains("lenet.onnx"), "{error}");
}

/// An output that is an input, one value under two names, an output named as another layer, and labels that are no words.
#[test]
fn names_are_different_whatever_the_net_calls_its_values() {
    let text = r#"net named {
      input x: [3, 4, 4]
      output same = x
      conv1: conv(4, 1)
      "a/b c": relu
      output conv1
      output twice = "a/b c"
      output again = "a/b c"
    }"#;
    let compiled = compile_text("named.net", text).unwrap();
    let weights = init(&compiled.init_specs(), Scheme::He, 3).unwrap();
    let model = export(&compiled.net, &compiled.shapes, Some(&weights), &ExportOptions::default()).unwrap();
    let back = import_bytes(&model.to_bytes().unwrap(), &ImportOptions::default()).unwrap();
    assert_eq!(difference(&compiled.net, &back.net), None, "{model}");
}

/// What is exported and read again.
fn again(compiled: &Compiled, weights: &Checkpoint, opset: i64) -> (Compiled, Checkpoint) {
    let options = ExportOptions { opset, ..ExportOptions::default() };
    let model = export(&compiled.net, &compiled.shapes, Some(weights), &options).unwrap();
    let back = import_bytes(&model.to_bytes().unwrap(), &ImportOptions::default()).unwrap();
    (compile_text("back.net", &back.text()).unwrap(), back.weights)
}

/// Positions that 32 bits round to another cell: 14 cells become 16 and 2.
#[test]
fn nearest_cells_are_those_of_integers() {
    for (size, opset) in [("[16, 2]", 7), ("[16, 12]", 21), ("[28, 40]", 21)] {
        let text = format!("net near {{ input x: [2, 14, 20]; upsample(size = {size}); output y }}");
        let compiled = compile_text("near.net", &text).unwrap();
        let weights = Checkpoint::new();
        let (back, own) = again(&compiled, &weights, opset);
        let x = [some_values(&[2, 2, 14, 20], 1)];
        assert_eq!(outputs(&back, &own, &x), outputs(&compiled, &weights, &x), "{size}");
    }
}

#[test]
fn free_sizes_keep_their_names_whatever_these_are() {
    let text = "net free { input image: [3, batch, height]; conv(4, 3, pad = 1); upsample(size = image); output y }";
    let compiled = compile_text("free.net", text).unwrap();
    let model = model(&compiled, &ExportOptions::default());
    assert!(model.to_string().contains("input image: [batch_, 3, batch, height]"), "{model}");
}

#[test]
fn what_takes_too_much_memory_or_does_not_fit_is_refused() {
    let message = |text: &str, options: &ExportOptions| {
        let compiled = compile_text("large.net", text).unwrap();
        export(&compiled.net, &compiled.shapes, None, options).unwrap_err().to_string()
    };
    let options = ExportOptions::default();
    let parts = "net a { input x: [1, 1000000, 1000000]; avgpool(to = [300000, 300000]); output y }";
    assert!(
        message(parts, &options)
            .contains("avgpool `avgpool1`: a constant with the sizes [300000, 1000000] is too large")
    );
    let table = "net b { input x: [1, 1000000, 1000000]; t: table_conv([1000000, 1000000], table = [[0]]); output y }";
    assert!(message(table, &options).contains("is too large"));

    let front = ExportOptions { with_preprocess: true, ..options };
    let crop = "net c { preprocess { crop [56, 56] }; input x: [3, 56, 56]; conv(4, 3); output y }";
    let settings = Settings { shape: Some(vec![3, 64, 64]), ..Settings::default() };
    let larger = netc::check("c.net", crop.into(), &FileLoader, &settings).compiled.unwrap();
    let error = export(&larger.net, &larger.shapes, None, &front).unwrap_err().to_string();
    assert!(error.contains("makes images with 3 channels of 56x56, and the input is 3x64x64"), "{error}");
}
