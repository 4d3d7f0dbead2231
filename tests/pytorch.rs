//! Modules and programs for PyTorch: what they are for hostile nets, and, where `python3` (or `NETC_PYTHON`) can import
//! torch, numpy, PIL and safetensors, that they give netc's own outputs and losses. With `CI` set it has to.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::python;
use ndarray::{ArrayD, IxDyn};
use netc::data::npy;
use netc::weights::{Checkpoint, Scheme, StoredTensor, init};
use netc::{Compiled, compile_text, op, pytorch};

/// Layers on a map [4, 9, 10]. Each is an output of its own.
const MAP_LAYERS: &[&str] = &[
    "conv(3, 2)",
    "conv(6, [3, 2], stride = [2, 1], pad = [1, 0, 2, 3], dilation = [1, 2], groups = 2, bias = false)",
    "conv(3, 3, stride = 2, pad = same_upper)",
    "conv(3, 4, stride = 3, pad = same_lower)",
    "conv(3, 2, pad = same)",
    "depthwise(3, multiplier = 2)",
    "conv_transpose(3, 2)",
    "conv_transpose(6, [3, 2], stride = [2, 3], pad = [1, 0, 2, 1], output_pad = [1, 2], dilation = [2, 1], groups = 2)",
    "conv_transpose(6, 3, stride = 2, pad = 1, output_pad = 1, bias = false)",
    "table_conv(3, table = [[0, 3], [1, 2, 0]])",
    "table_conv([2, 3], table = [[2]], stride = 2, pad = [1, 0, 2, 1], dilation = 2, bias = false)",
    "bn",
    "bn(eps = 0.001, momentum = 0.0, affine = false)",
    "layer_norm",
    "layer_norm(eps = 0.1, affine = false)",
    "group_norm(2)",
    "group_norm(1, eps = 0.1, affine = false)",
    "instance_norm",
    "instance_norm(eps = 0.1, affine = true)",
    "lrn",
    "lrn(2, alpha = 0.5, beta = 1.0, k = 2.0)",
    "lrn(9)",
    "scale",
    "scale(bias = false)",
    "maxpool(2)",
    "maxpool([3, 2], stride = [2, 3], pad = 1, dilation = [1, 2], ceil = true)",
    "maxpool(global)",
    "maxpool(to = [2, 7])",
    "maxpool(3, stride = 2, pad = same_lower)",
    "maxpool(3, stride = 2, pad = same_upper)",
    "maxpool(3, stride = 1, pad = same)",
    "maxpool(2, stride = 2, pad = [1, 0, 0, 1], ceil = true)",
    "maxpool(3, stride = 2, pad = [0, 2, 1, 0], ceil = true)",
    "maxpool(2, stride = 3, pad = [1, 1, 0, 0])",
    "maxpool(4, stride = 3, ceil = true)",
    "avgpool(2)",
    "avgpool([3, 2], stride = 2, pad = 1)",
    "avgpool(3, stride = 2, pad = 1, ceil = true)",
    "avgpool(3, stride = 2, pad = 1, ceil = true, count_pad = false)",
    "avgpool(3, stride = 2, pad = [0, 1, 2, 1], ceil = true)",
    "avgpool(3, stride = 2, pad = [1, 0, 0, 2], ceil = true, count_pad = false)",
    "avgpool(3, stride = 2, pad = same_upper, count_pad = false)",
    "avgpool(3, stride = 1, pad = same, count_pad = false)",
    "avgpool(2, stride = 2, dilation = 2)",
    "avgpool(global)",
    "avgpool(to = [2, 7])",
    "relu",
    "relu6",
    "leaky_relu(0.2)",
    "prelu",
    "prelu(shared = true)",
    "elu",
    "elu(0.5)",
    "gelu",
    "gelu(form = tanh)",
    "silu",
    "silu(beta = 1.5)",
    "sigmoid",
    "hard_sigmoid",
    "hard_sigmoid(0.2, 0.4)",
    "hard_swish",
    "tanh",
    "tanh(scale = 1.7159, slope = 2.0 / 3.0)",
    "clip(min = -0.3)",
    "clip(max = 0.3)",
    "clip(min = -0.3, max = 0.4)",
    "selu",
    "celu(0.7)",
    "softplus",
    "softplus(2.0)",
    "softsign",
    "mish",
    "thresholded_relu(0.4)",
    "abs",
    "exp",
    "{ abs; affine(1.0, 0.1); log }",
    "erf",
    "{ abs; pow(0.3) }",
    "pow(3.0)",
    "{ abs; affine(scale = 2.0, shift = [0.1, 0.2, 0.3, 0.4]); sqrt }",
    "affine(-2.0)",
    "affine(shift = 0.5)",
    "softmax",
    "softmax(axis = w)",
    "log_softmax",
    "add(image, image)",
    "add { identity; relu; tanh }",
    "{ tanh; sub(image, prev) }",
    "mul { identity; avgpool(global) }",
    "{ exp; div(image, prev) }",
    "maximum { identity; tanh }",
    "maximum { identity; tanh; sigmoid }",
    "minimum { identity; tanh }",
    "minimum { identity; tanh; sigmoid }",
    "concat { identity; relu }",
    "concat(image, image, axis = h)",
    "slice(1..3)",
    "slice(2..9, axis = w)",
    "channel_shuffle(2)",
    "pixel_shuffle(2)",
    "pixel_shuffle(2, order = dcr)",
    "{ slice(0..8, axis = h); pixel_unshuffle(2) }",
    "{ slice(0..8, axis = h); pixel_unshuffle(2, order = dcr) }",
    "identity",
    "dropout(0.3)",
    "dropout(channels = true)",
    "flatten",
    "reshape([8, 9, -1])",
    "{ reshape([360]); linear(5) }",
    "pad(1)",
    "pad([1, 2, 0, 3], value = 0.5)",
    "pad([1, 2, 3, 0], mode = reflect)",
    "pad([1, 2, 3, 0], mode = replicate)",
    "upsample(2)",
    "upsample([3, 2])",
    "upsample(2, mode = bilinear)",
    "upsample(2, mode = bilinear, corners = aligned)",
    "upsample([2, 3], mode = bicubic)",
    "upsample(2, mode = bicubic, corners = aligned)",
    "upsample(2, mode = bilinear, corners = top_left)",
    "upsample(size = [5, 21], mode = bilinear, corners = top_left)",
    "permute(hwc)",
    "upsample(size = [13, 7])",
    "upsample(size = [5, 21], mode = bilinear)",
    "crop([5, 4])",
    "crop([5, 4], at = [2, 1])",
    "pad_shortcut(7, stride = 2)",
    "pad_shortcut(7, stride = 2, pad = both)",
];

/// Layers on a vector [7].
const VECTOR_LAYERS: &[&str] = &[
    "linear(3)",
    "linear(3, bias = false)",
    "rbf(codes = [\"#.##.#.\", [1, 0, 2, 0, 3, 0, 4]])",
    "bn",
    "bn(affine = false)",
    "layer_norm(eps = 0.1, affine = false)",
    "layer_norm",
    "group_norm(1)",
    "scale(bias = false)",
    "prelu",
    "softmax",
    "log_softmax",
    "affine(scale = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])",
    "concat { identity; relu }",
    "slice(2..5)",
    "reshape([7, 1, 1])",
];

/// A net with an output for each layer.
fn layers(name: &str, input: &str, lines: &[&str]) -> String {
    let branches: String = (0..)
        .zip(lines)
        .map(|(at, line)| {
            let label = if line.starts_with('{') { String::new() } else { format!("l{at}: ") };
            let line = line.trim_start_matches("{ ").trim_end_matches(" }");
            let line = if label.is_empty() { line.to_owned() } else { lines[at as usize].to_owned() };
            format!("  from image {{\n    {label}{line}\n    output o{at}\n  }}\n")
        })
        .collect();
    format!("net {name} {{\n  input image: {input}\n{branches}}}\n")
}

/// Nets whose paths Python does not take as they are, whose scopes cross, and whose sizes depend on the input's.
const NETS: &[(&str, &str)] = &[
    (
        "names",
        "net names {
          input lambda: [3, 8, 8]
          class: conv(4, 3, pad = 1)
          \"a b\": conv(4, 1)
          \"quo\\\"te\": bn
          type: { conv(4, 1); relu }
          forward: sequential { conv(4, 1); bn; relu }
          training: conv(4, 1)
          \"7\": conv(4, 1)
          \"07\": conv(4, 1)
          x: conv(4, 1)
          F: add { self: conv(4, 1); torch: conv(4, 1) }
          weight: { bias: conv(4, 1) }
          _private: conv(4, 1)
          H: conv(4, 1)
          output None
        }",
    ),
    (
        "crossing",
        "net crossing {
          input image: [3, 8, 8]
          input other: [3, 8, 8]
          a.conv1: conv(4, 3, pad = 1)
          b.conv1: conv(4, 3, pad = 1)
          a.conv2: conv(4, 3, pad = 1)
          b.conv2: conv(4, 3, pad = 1)
          c, d: split(2)
          add(c, d)
          from other { e.0: conv(2, 1); e.2: conv(2, 1) }
          concat(prev, d)
          f: sequential { conv(4, 1); avgpool(2); { conv(4, 1); relu } }
          output y
          output z = a.conv2
        }",
    ),
    (
        "sized",
        "block resized(like) {
          conv(4, 3)
          upsample(size = like, mode = bilinear)
        }
        net sized {
          input image: [3, H, W] where H % 4 == 0, W % 4 == 0
          first: conv(4, 3, stride = 2, pad = 1)
          relu
          again: { resized(first) }
          crop(to = first, at = top_left)
          add(prev, first)
          upsample(size = image)
          maxpool(3, stride = 2, pad = same_upper)
          output y
        }",
    ),
    (
        "helpers",
        "block branch(rename, Branch) { a: conv(rename, 1); class: conv(Branch, 3, pad = 1) }
        block resized(nearest) { upsample(size = [nearest, nearest]); conv(3, 1) }
        net helpers {
          input image: [3, nearest, rename] where nearest % 4 == 0, rename % 4 == 0
          nearest: upsample(size = [5, 5])
          add(nearest, nearest)
          rename: upsample(size = [7, 7])
          add(rename, rename)
          one: branch(3, 4)
          two: branch(5, 2)
          os: conv(3, 1)
          three: resized(9)
          four: resized(11)
          from_top_left: upsample(2, mode = bilinear, corners = top_left)
          add(from_top_left, from_top_left)
          upsample(size = image)
          again: upsample(3, mode = bilinear, corners = top_left)
          from again { upsample(size = image); output sizes }
          output fill
        }",
    ),
];

fn values(sizes: &[usize], seed: usize) -> Vec<f32> {
    let count = sizes.iter().product();
    (0..count).map(|at: usize| ((at * 7919 + seed * 131 + 13) % 1009) as f32 / 504.0 - 1.0).collect()
}

/// Random weights, statistics of batch norms among them.
fn weights(compiled: &Compiled) -> Checkpoint {
    let drawn = init(&compiled.init_specs(), Scheme::He, 5).unwrap();
    let mut weights = Checkpoint::new();
    for (seed, (name, tensor)) in drawn.iter().enumerate() {
        let sizes: Vec<usize> = tensor.shape().iter().map(|&size| size as usize).collect();
        let leaf = name.rsplit('.').next().unwrap();
        let changed = matches!(leaf, "running_mean" | "running_var") || (leaf == "bias" || tensor.shape().len() == 1);
        let positive = if leaf == "running_var" { 1.5 } else { 0.0 };
        let drawn = values(&sizes, seed).into_iter().map(|value| value * 0.5 + positive).collect();
        let tensor = if changed && leaf != "num_batches_tracked" {
            StoredTensor::from_f32(tensor.shape().to_vec(), drawn).unwrap()
        } else {
            tensor.clone()
        };
        weights.insert(name, tensor);
    }
    weights
}

/// Writes the module of a net, its weights, inputs and what netc gives for them.
fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let folder = folder.join(name);
    std::fs::create_dir(&folder).unwrap();
    let free = compile_text(name, text).unwrap_or_else(|error| panic!("{name}: {error}"));
    let module = pytorch::module(&free.net, &free.shapes, Some("model.safetensors")).unwrap();
    std::fs::write(folder.join("model.py"), module).unwrap();
    std::fs::write(folder.join("a.net"), text).unwrap();
    let sizes = [("H", 12), ("W", 16), ("nearest", 8), ("rename", 4)];
    let is_free = |(name, _): &(&str, usize)| text.contains(&format!("{name} % 4"));
    let set = sizes.into_iter().filter(is_free).map(|(name, size)| format!("{name}={size}")).collect();
    let settings = netc::Settings { set, ..Default::default() };
    let compiled = netc::compile_with(folder.join("a.net"), &settings).unwrap();
    let weights = weights(&compiled);
    weights.write_safetensors(&folder.join("model.safetensors")).unwrap();
    let mut inputs = Vec::new();
    for (at, &id) in compiled.net.inputs.iter().enumerate() {
        let sizes = [vec![2], compiled.shapes.of(id.into()).as_known().unwrap()].concat();
        let input = ArrayD::from_shape_vec(IxDyn(&sizes), values(&sizes, at + 3)).unwrap();
        npy::save(folder.join(format!("x{at}.npy")), input.view()).unwrap();
        inputs.push(input);
    }
    let executable = compiled.plan(&weights).unwrap();
    let views: Vec<_> = inputs.iter().map(|input| input.view()).collect();
    for (at, output) in executable.run_all(&views).unwrap().iter().enumerate() {
        npy::save(folder.join(format!("y{at}.npy")), output.view()).unwrap();
    }
    folder
}

#[test]
fn modules_give_the_outputs_of_nets() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut nets =
        vec![("map", layers("map", "[4, 9, 10]", MAP_LAYERS)), ("vector", layers("vector", "[7]", VECTOR_LAYERS))];
    nets.extend(NETS.iter().map(|&(name, text)| (name, text.to_owned())));
    let mut command = Command::new(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pytorch/compare.py"));
    for (name, text) in &nets {
        command.arg(write(folder.path(), name, text));
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    println!("{said}");
}

#[test]
fn every_layer_is_compared() {
    let all = [MAP_LAYERS, VECTOR_LAYERS].concat().join(" ") + NETS[1].1;
    let called = |layer: &str| {
        let ends = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        all.match_indices(layer).any(|(at, _)| {
            let before = all[..at].chars().next_back();
            ends(&all[at + layer.len()..]) && before.is_none_or(|c| !c.is_ascii_alphanumeric() && c != '_')
        })
    };
    let missing: Vec<&str> = op::signatures().map(|signature| signature.layer).filter(|layer| !called(layer)).collect();
    assert!(missing.is_empty(), "not compared: {missing:?}");
}

#[test]
fn large_and_deep_nets_are_written_in_time() {
    let exported = |text: &str| {
        let compiled = compile_text("a.net", text).unwrap_or_else(|error| panic!("{error}"));
        pytorch::module(&compiled.net, &compiled.shapes, None)
    };
    let chain: String = (0..20_000).map(|at| format!("  c{at}: conv({}, 1)\n  relu\n", at % 7 + 1)).collect();
    let begin = std::time::Instant::now();
    let text = exported(&format!("net flat {{\n  input x: [3, 4, 4]\n{chain}  output y\n}}\n")).unwrap();
    assert!(text.lines().count() > 60_000);
    // Two scopes that are alike but for all of their arguments, and scopes that take from one another in turn.
    let scope = |by: usize| (0..4_000).map(|at| format!("c{at}: conv({}, 1);", at * by % 97 + 1)).collect::<String>();
    let crossing: String = (0..3_000).map(|at| format!("{}.c{at}: conv(3, 1)\n", ["a", "b"][at % 2])).collect();
    let alike = format!("one: {{ {} }}\ntwo: {{ {} }}\nconv(3, 1)\n{crossing}", scope(3), scope(5));
    exported(&format!("net alike {{\n  input x: [3, 4, 4]\n{alike}  output y\n}}\n")).unwrap();
    let heads: String = (0..50_000).map(|at| format!("h{at}: relu\n")).collect();
    let heads = format!("from x {{\n{heads}output early: train weight 0.3\n}}\n");
    let text = exported(&format!("net heads {{\n  input x: [3, 4, 4]\n{chain}{heads}  output y = c9\n}}\n")).unwrap();
    assert!(text.contains("\"h49999.\""));
    let joined = "; identity".repeat(5_000);
    exported(&format!("net joined {{\n  input x: [3, 4, 4]\n  add {{ relu {joined} }}\n  output y\n}}\n")).unwrap();
    // An unoptimised build takes some seconds; what grows with the square of the size takes minutes.
    assert!(begin.elapsed() < std::time::Duration::from_secs(60), "{:?}", begin.elapsed());
    let deep = ["a"; 101].join(".");
    let error = exported(&format!("net deep {{ input x: [3, 4, 4]; {deep}: conv(4, 1); output y }}")).unwrap_err();
    assert!(error.to_string().contains("more than 100 parts") && error.to_string().contains("help"), "{error}");
}

/// Images in CIFAR's form: stripes across or down, or none, with noise.
fn images(count: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 25) as u8
    };
    let mut bytes = Vec::new();
    for image in 0..count {
        let class = image % 3;
        bytes.push(class as u8);
        for at in 0..3 * 1024usize {
            let stripe = [at / 32 % 4 < 2, at % 4 < 2, true][class];
            bytes.push(if stripe { 100 + noise() } else { noise() });
        }
    }
    bytes
}

/// LeNet's layers, and a head that exists in training only.
const LENET: &str = "net lenet(classes = 10) {
  preprocess { mean [0.4, 0.5, 0.6]; std [0.25] }
  input image: [3, 32, 32]
  conv1: conv(6, 5, stride = 2)
  tanh
  avgpool(2)
  from prev {
    flatten
    aux: linear(classes)
    output early: train weight 0.3
  }
  conv2: conv(8, 3)
  tanh
  flatten
  fc1: linear(20)
  tanh
  fc2: linear(classes)
  output logits
}
";

/// Every batch is the whole set, so that its order does not matter.
const WHOLE: &str = "net = \"lenet.net\"
seed = 3
epochs = 6
batch = 25
set = { classes = 3 }
data = { train = { kind = \"cifar\", files = [\"train.bin\"] }, per_class = 8, workers = 0 }
loss = { smoothing = 0.1 }
optimiser = { rate = 0.1, momentum = 0.9, nesterov = true, decay = 1e-3, clip = 1.0 }
schedule = { kind = \"step\", milestones = [4], warmup = 1.5 }
init = { scheme = \"xavier\", zero = [\"fc2.bias\"] }
";

/// Batches in netc's order, changed at random as netc changes them, in parts; layers that thaw.
const CHANGED: &str = "net = \"lenet.net\"
seed = 5
epochs = 3
batch = 13
accumulate = 1
set = { classes = 3 }
data = { train = { kind = \"cifar\", files = [\"train.bin\"] }, test = { kind = \"cifar\", files = [\"test.bin\"] }, \
validation = 0.2, normalise = \"data\", workers = 1 }
augment = { mirror = 0.5, crop = 3, rotate = 20.0, color_shift = 0.1, cutout = 6, mixup = 0.4 }
optimiser = { kind = \"adamw\", rate = 0.01, decay = 0.05, decay_all = true, average = 0.6 }
schedule = { kind = \"one_cycle\" }
freeze = { freeze = [\"conv?.*\"], thaw = [{ epoch = 2, paths = [\"conv2.*\"] }], rates = [{ paths = [\"fc1.*\"], factor = 0.5 }] }
evaluate = { train = 12, batch = 7 }
";

/// Batch norms, one of them frozen, and a net without a preprocessing of its own. Its class has the name of PIL's.
const NORMS: &str = "net = \"norms.net\"
seed = 7
epochs = 3
batch = 20
data = { train = { kind = \"csv\", file = \"images.csv\" }, workers = 0 }
loss = { kind = \"squared_error\" }
optimiser = { kind = \"adam\", rate = 0.005, decay = 0.01 }
schedule = { kind = \"cosine\", end = 0.1 }
freeze = { freeze = [\"bn1.*\"] }
";

const NORMS_NET: &str = "net image {
  input image: [1, 12, 10]
  conv1: conv(6, 3, bias = false)
  bn1: bn
  relu
  conv2: conv(8, 3, bias = false)
  bn2: bn(momentum = 0.3)
  prelu1: prelu
  flatten
  fc: linear(3)
  output logits
}
";

fn done(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

fn records(path: PathBuf) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Runs a program as two processes, as `torchrun` does; that of Debian's PyTorch does not run under Debian's Python.
fn two_processes(python: &str, folder: &Path, args: &[&str]) -> String {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let process = |rank: &str| {
        let mut command = Command::new(python);
        command.current_dir(folder).args(["train.py", "--device", "cpu"]).args(args).env("OMP_NUM_THREADS", "1");
        command.envs([("RANK", rank), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "127.0.0.1"), ("MASTER_PORT", &port)]);
        command
    };
    let second = process("1").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let first = process("0").output().unwrap();
    let second = second.wait_with_output().unwrap();
    let said: String = [&first.stdout, &first.stderr, &second.stdout, &second.stderr]
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        .concat();
    assert!(first.status.success() && second.status.success(), "{said}");
    said
}

/// A folder with images, two nets and a recipe, and what netc has learned by it.
fn learned(recipe: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for (file, count, seed) in [("train.bin", 60, 1), ("test.bin", 30, 2)] {
        std::fs::write(path.join(file), images(count, seed)).unwrap();
    }
    let mut table = "path,label\n".to_owned();
    for (at, bytes) in images(20, 3).chunks_exact(1 + 3 * 1024).enumerate() {
        let image = png(&bytes[1..]);
        std::fs::write(path.join(format!("{at}.png")), image).unwrap();
        table.push_str(&format!("{at}.png,{}\n", ["a", "b \\ \"\"\"", "c"][usize::from(bytes[0])].replace('"', "")));
    }
    std::fs::write(path.join("images.csv"), table).unwrap();
    std::fs::write(path.join("lenet.net"), LENET).unwrap();
    std::fs::write(path.join("norms.net"), NORMS_NET).unwrap();
    std::fs::write(path.join("r.toml"), recipe).unwrap();
    done(netc(path).args(["train", "r.toml"]));
    let net = recipe.split('"').nth(1).unwrap();
    std::fs::create_dir(path.join("torch")).unwrap();
    done(netc(path).args(["export", net, "-o", "torch/model.py", "--recipe", "r.toml"]));
    folder
}

/// An image of 16 x 12 as a PNG.
fn png(planes: &[u8]) -> Vec<u8> {
    let pixels = (0..16 * 12).flat_map(|at| [0, 1, 2].map(|channel| planes[channel * 1024 + at / 16 * 32 + at % 16]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::RgbImage::from_vec(16, 12, pixels.collect()).unwrap().write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

fn netc(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netc"));
    command.current_dir(folder);
    command
}

/// The losses and figures of a run of PyTorch are those of netc's.
///
/// Both begin with the same weights and see the same images. Sums of some hundred products in single precision are off by
/// about 1e-6 of their magnitude; what ten steps add, each on weights that are off by those before it, is less than twenty
/// times that.
fn assert_same_losses(folder: &Path, results: &str, said: &str) {
    const BOUND: f64 = 2e-5;
    let (ours, theirs) = (records(folder.join("runs/r/metrics.jsonl")), records(folder.join(results)));
    assert_eq!(ours.len(), theirs.len(), "{said}");
    let mut most = 0.0f64;
    for (ours, theirs) in ours.iter().zip(&theirs) {
        for key in ["/loss", "/accuracy", "/rate", "/validation/loss", "/test/loss", "/test/top1", "/train/loss"] {
            let (ours, theirs) = (ours.pointer(key).and_then(|value| value.as_f64()), theirs.pointer(key));
            let theirs = theirs.and_then(|value| value.as_f64());
            assert_eq!(ours.is_some(), theirs.is_some(), "{key}\n{said}");
            let (Some(ours), Some(theirs)) = (ours, theirs) else { continue };
            most = most.max((ours - theirs).abs() / ours);
            assert!((ours - theirs).abs() <= BOUND * ours, "{key}: {theirs} instead of {ours}\n{said}");
        }
        assert_eq!(ours["step"], theirs["step"]);
    }
    println!("losses differ by {most:.1e} at most");
}

#[test]
fn two_processes_learn_from_whole_batches_as_netc_does() {
    let Some(python) = python() else { return };
    let folder = learned(WHOLE);
    let torch = folder.path().join("torch");
    let said = two_processes(python, &torch, &[]);
    assert_same_losses(folder.path(), "torch/runs/r/metrics.jsonl", &said);
    // What it leaves is read by netc.
    let listed = done(netc(folder.path()).args(["weights", "ls", "torch/runs/r/last.safetensors"]));
    assert!(listed.contains("fc2.weight") && listed.contains("lenet"), "{listed}");
    // A run that ends in the middle goes on as if it had not; one that is there is not begun anew.
    let again = Command::new(python).current_dir(&torch).args(["train.py", "--device", "cpu"]).output().unwrap();
    assert!(!again.status.success() && String::from_utf8_lossy(&again.stderr).contains("--resume"));
    let program = std::fs::read_to_string(torch.join("train.py")).unwrap();
    assert!(program.contains("\nEPOCHS = 6\n"));
    std::fs::write(torch.join("train.py"), program.replace("\nEPOCHS = 6\n", "\nEPOCHS = 3\n")).unwrap();
    two_processes(python, &torch, &["--folder", "halves"]);
    std::fs::write(torch.join("train.py"), program).unwrap();
    let said = two_processes(python, &torch, &["--folder", "halves", "--resume"]);
    assert_same_losses(folder.path(), "torch/halves/metrics.jsonl", &said);
}

#[test]
fn two_processes_learn_from_changed_images_as_netc_does() {
    let Some(python) = python() else { return };
    let folder = learned(CHANGED);
    let torch = folder.path().join("torch");
    let said = two_processes(python, &torch, &[]);
    assert_same_losses(folder.path(), "torch/runs/r/metrics.jsonl", &said);
    // A state that is saved within an epoch has the time that the epoch has taken.
    let program = std::fs::read_to_string(torch.join("train.py")).unwrap();
    let saved = "                saved = time.monotonic()\n";
    let save_seconds = program.lines().find(|line| line.starts_with("SAVE_SECONDS")).unwrap();
    assert!(program.contains(saved));
    let ended = program.replace(saved, "                return\n").replace(save_seconds, "SAVE_SECONDS = 0.0");
    std::fs::write(torch.join("ended.py"), ended).unwrap();
    let run = |args: &[&str]| done(Command::new(python).current_dir(&torch).args(args));
    run(&["ended.py", "--device", "cpu", "--folder", "ended", "--weights", "train.safetensors"]);
    let read = "import torch; at = torch.load('ended/state.pt')['at']; print(at['batch'], at['seconds'] > 0)";
    assert_eq!(run(&["-c", read]).trim(), "1 True");
}

/// Statistics of batch norms are those of what a process has of a batch: of one process, of the whole.
#[test]
fn one_process_learns_with_batch_norms_as_netc_does() {
    let Some(python) = python() else { return };
    let folder = learned(NORMS);
    let said =
        done(Command::new(python).current_dir(folder.path().join("torch")).args(["train.py", "--device", "cpu"]));
    assert_same_losses(folder.path(), "torch/runs/r/metrics.jsonl", &said);
}

#[test]
fn what_has_no_counterpart_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    std::fs::write(path.join("lenet.net"), LENET).unwrap();
    std::fs::write(path.join("other.net"), LENET).unwrap();
    let refused = |recipe: &str, args: &[&str], code: i32| {
        std::fs::write(path.join("r.toml"), recipe).unwrap();
        let output = netc(path).args(["export", "lenet.net"]).args(args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        said
    };
    let with = ["-o", "model.py", "--recipe", "r.toml"];
    for (recipe, said) in [
        (format!("{WHOLE}run = {{ checkpoint_activations = true }}\n"), "r.toml: `run.checkpoint_activations`"),
        (WHOLE.replace("workers = 0", "on_corrupt = \"skip\""), "r.toml: `data.on_corrupt`"),
        (format!("{WHOLE}freeze = {{ freeze = [\"cnv1.*\"] }}\n"), "r.toml: `freeze.freeze` has the pattern `cnv1.*`"),
        (
            format!("{WHOLE}freeze = {{ freeze = [\"*\"], thaw = [{{ epoch = 2, paths = [\"fc2.*\"] }}] }}\n"),
            "r.toml: `freeze` leaves nothing to train in the first epoch",
        ),
        (WHOLE.replace("lenet.net", "other.net"), "`net` is ./other.net"),
        (WHOLE.replace("epochs", "epoch"), "did you mean `epochs`"),
    ] {
        let found = refused(&recipe, &with, 1);
        assert!(found.contains(said), "{found}");
    }
    for (args, said) in [
        (&["-o", "model"][..], "or add --to onnx or --to pytorch"),
        (&["-o", "model.py", "--opset", "13"], "--opset is for ONNX"),
        (&["-o", "a-b.py", "--recipe", "r.toml"], "cannot import `a-b`"),
        (&["-o", "train.py", "--recipe", "r.toml"], "beside it"),
        (&["-o", "json.py", "--recipe", "r.toml"], "json.py: Python would take it for the `json`"),
        (&["-o", "model.py", "--train", "torch.py", "--recipe", "r.toml"], "torch.py: Python would take it"),
        (&["-o", "model.py", "--train", "x/t.py", "--recipe", "r.toml"], "beside it"),
    ] {
        let found = refused(WHOLE, args, 2);
        assert!(found.contains(said), "{found}");
    }
    let deep = ["a"; 101].join(".");
    std::fs::write(path.join("other.net"), format!("net deep {{ input x: [3, 4, 4]; {deep}: relu; output y }}"))
        .unwrap();
    let output = netc(path).args(["export", "other.net", "-o", "model.py"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("other.net: `a.a") && said.contains("help"), "{said}");
    let mut left: Vec<_> = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["lenet.net", "other.net", "r.toml"]);
}

#[test]
fn weights_keep_what_their_file_says_and_are_not_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    std::fs::write(path.join("lenet.net"), LENET).unwrap();
    let mut drawn = weights(&compile_text("lenet.net", LENET).unwrap());
    drawn.set_metadata("classes", "[\"a\"]");
    drawn.write_safetensors(&path.join("given.safetensors")).unwrap();
    let bytes = |file: &str| std::fs::read(path.join(file)).unwrap();
    let opened = |file: &str| Checkpoint::open(&path.join(file), &Default::default()).unwrap();
    let given = bytes("given.safetensors");
    let export = |args: &[&str]| netc(path).args(["export", "lenet.net"]).args(args).output().unwrap();
    let weights = ["--weights", "given.safetensors", "-o"];
    done(netc(path).args(["export", "lenet.net"]).args(weights).arg("other.py"));
    assert_eq!(opened("other.safetensors").metadata()["classes"], "[\"a\"]");
    // The file is as it would be written, and no tensor of it is lost.
    done(netc(path).args(["export", "lenet.net"]).args(weights).arg("given.py"));
    assert_eq!(bytes("given.safetensors"), given);
    drawn.insert("more", StoredTensor::from_f32(vec![1], vec![0.0]).unwrap());
    drawn.write_safetensors(&path.join("given.safetensors")).unwrap();
    std::fs::remove_file(path.join("given.py")).unwrap();
    let given = bytes("given.safetensors");
    let from_given = WHOLE.replace("scheme", "weights = \"given.safetensors\", scheme").replace("zero", "fresh");
    std::fs::write(path.join("r.toml"), from_given).unwrap();
    let recipe = ["--recipe", "r.toml", "--set", "classes=10", "-o"];
    for args in [
        &[&weights[..], &["given.py", "--ignore", "more"]].concat(),
        &[&weights[..], &["given.safetensors", "--to", "pytorch", "--ignore", "more"]].concat(),
        &[&recipe[..], &["model.py", "--train", "given.py"]].concat(),
        &vec!["-o", "lenet.net", "--to", "pytorch"],
    ] {
        let output = export(args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains("would be written over"), "{args:?}: {said}");
        assert!(bytes("given.safetensors") == given && bytes("lenet.net") == LENET.as_bytes(), "{args:?}");
    }
    assert!(!path.join("given.py").exists());
    // What a program begins with is said too, where none of it is drawn.
    let whole = std::fs::read_to_string(path.join("r.toml")).unwrap().replace("fresh = [\"fc2.bias\"]", "");
    std::fs::write(path.join("r.toml"), whole.replace(", }", " }")).unwrap();
    done(netc(path).args(["export", "lenet.net"]).args(recipe).arg("model.py"));
    assert_eq!(opened("train.safetensors").metadata()["classes"], "[\"a\"]");
}

/// The commands of the pages about PyTorch, one after the other: sessions of netc, files that begin with their names, and
/// what is fenced as `sh`.
#[test]
fn the_commands_of_the_documents_run() {
    let Some(python) = python() else { return };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let with_export =
        Command::new(python).args(["-c", "import torch; torch.export"]).output().unwrap().status.success();
    for (document, least) in [("docs/to-pytorch.md", 2), ("docs/from-pytorch.md", 3)] {
        let folder = tempfile::tempdir().unwrap();
        let bin = folder.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_netc"), bin.join("netc")).unwrap();
        let python = Command::new(python).args(["-c", "import sys; print(sys.executable)"]).output().unwrap();
        let python = String::from_utf8(python.stdout).unwrap();
        std::fs::write(bin.join("python3"), format!("#!/bin/sh\nexec {} \"$@\"\n", python.trim())).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(bin.join("python3"), mode).unwrap();
        for name in ["specs", "assets"] {
            std::os::unix::fs::symlink(root.join(name), folder.path().join(name)).unwrap();
        }
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        let text = std::fs::read_to_string(root.join(document)).unwrap();
        let mut ran = 0;
        for block in text.split("\n```").skip(1).step_by(2) {
            let (info, body) = block.split_once('\n').unwrap();
            let first = body.lines().next().unwrap_or_default();
            match (info, first.strip_prefix("# ")) {
                ("net" | "toml", Some(name)) => std::fs::write(folder.path().join(name), body).unwrap(),
                ("console", _) if !body.contains(".material") => {
                    for line in body.lines().filter_map(|line| line.strip_prefix("$ ")) {
                        done(Command::new("sh").args(["-ec", line]).current_dir(folder.path()).env("PATH", &path));
                    }
                }
                ("sh", _) => {
                    // What PyTorch 1.13 does not know, and what does not run in Debian's.
                    let torchrun = "-m torch.distributed.run --standalone --nproc_per_node=2 ";
                    let older = || body.replace(", dynamo=False", "").replace(torchrun, "");
                    let body = if with_export { body.to_owned() } else { older() };
                    let mut command = Command::new("sh");
                    let command = command.args(["-ec", &body]).current_dir(folder.path());
                    done(command.env("PATH", &path).env("OMP_NUM_THREADS", "1"));
                    ran += 1;
                }
                _ => {}
            }
        }
        assert!(ran >= least, "{document}: {ran} blocks of commands");
    }
}
