//! Parameters and MACs of every shipped net and of its parts, to the unit.
//!
//! The figures are those of torchvision's metadata and of the papers where these are exact, else sums over the layers.

use std::collections::BTreeSet;
use std::error::Error;
use std::path::{Path, PathBuf};

use netc::cost::{Counts, Options, Report, analyse};
use netc::dim::Dim;
use netc::{Compiled, Settings};

type Outcome = Result<(), Box<dyn Error>>;

/// Net, trainable parameters, MACs of convolutions and linear layers.
const COUNTS: [(&str, u64, u64); 36] = [
    ("alexnet", 61_100_840, 714_188_480),
    ("alexnet_2012", 60_965_224, 724_406_816),
    ("bottleneck", 15_920, 12_443_648),
    ("bottleneck_direct", 153_632, 120_422_400),
    ("cifar_plain110", 1_727_962, 252_887_680),
    ("cifar_plain20", 269_722, 40_551_040),
    ("cifar_plain32", 464_154, 68_862_592),
    ("cifar_plain44", 658_586, 97_174_144),
    ("cifar_plain56", 853_018, 125_485_696),
    ("cifar_resnet110", 1_727_962, 252_887_680),
    ("cifar_resnet20", 269_722, 40_551_040),
    ("cifar_resnet32", 464_154, 68_862_592),
    ("cifar_resnet44", 658_586, 97_174_144),
    ("cifar_resnet56", 853_018, 125_485_696),
    ("densenet121", 7_978_856, 2_834_161_664),
    ("googlenet", 6_624_904, 1_498_376_192),
    ("googlenet_2014", 6_998_552, 1_582_671_872),
    ("inception_module", 163_696, 128_049_152),
    ("lenet5", 61_706, 416_520),
    ("lenet5_1998", 60_000, 325_680),
    ("mobilenet_v2", 3_504_872, 300_774_272),
    ("network_in_network", 966_986, 222_486_528),
    ("plain18", 11_515_688, 1_794_805_760),
    ("plain34", 21_623_848, 3_644_493_824),
    ("resnet101", 44_549_160, 7_801_405_440),
    ("resnet152", 60_192_808, 11_513_626_624),
    ("resnet18", 11_689_512, 1_814_073_344),
    ("resnet34", 21_797_672, 3_663_761_408),
    ("resnet34_a", 21_623_848, 3_644_493_824),
    ("resnet50", 25_557_032, 4_089_184_256),
    ("resnet50_paper", 25_557_032, 3_857_973_248),
    ("vgg11", 132_863_336, 7_609_090_048),
    ("vgg13", 133_047_848, 11_308_466_176),
    ("vgg16", 138_357_544, 15_470_264_320),
    ("vgg16_bn", 138_365_992, 15_470_264_320),
    ("vgg19", 143_667_240, 19_632_062_464),
];

/// Net, start of the paths of a part of it, its trainable parameters and MACs.
const PARTS: [(&str, &str, u64, u64); 22] = [
    ("bottleneck", "reduce", 3_088, 2_408_448),
    ("bottleneck", "conv", 12_832, 10_035_200),
    ("googlenet_2014", "conv1.", 9_472, 118_013_952),
    ("googlenet_2014", "conv2.", 4_160, 12_845_056),
    ("googlenet_2014", "conv3.", 110_784, 346_816_512),
    ("googlenet_2014", "inception3a.", 163_696, 128_049_152),
    ("googlenet_2014", "inception3b.", 388_736, 304_267_264),
    ("googlenet_2014", "inception4a.", 376_176, 73_608_192),
    ("googlenet_2014", "inception4b.", 449_160, 87_908_352),
    ("googlenet_2014", "inception4c.", 510_104, 99_850_240),
    ("googlenet_2014", "inception4d.", 605_376, 118_515_712),
    ("googlenet_2014", "inception4e.", 868_352, 169_996_288),
    ("googlenet_2014", "inception5a.", 1_043_456, 51_079_168),
    ("googlenet_2014", "inception5b.", 1_444_080, 70_697_984),
    ("googlenet_2014", "fc", 1_025_000, 1_024_000),
    ("lenet5_1998", "c1", 156, 117_600),
    ("lenet5_1998", "s2", 12, 0),
    ("lenet5_1998", "c3", 1_516, 150_000),
    ("lenet5_1998", "s4", 32, 0),
    ("lenet5_1998", "c5", 48_120, 48_000),
    ("lenet5_1998", "f6", 10_164, 10_080),
    ("vgg16", "features.", 14_714_688, 15_346_630_656),
];

/// Giga-MACs as torchvision's metadata and its documentation round them.
const PUBLISHED: [(&str, &str); 11] = [
    ("alexnet", "0.714"),
    ("densenet121", "2.834"),
    ("googlenet", "1.498"),
    ("mobilenet_v2", "0.301"),
    ("resnet101", "7.801"),
    ("resnet152", "11.514"),
    ("resnet18", "1.814"),
    ("resnet34", "3.664"),
    ("resnet50", "4.089"),
    ("vgg16", "15.470"),
    ("vgg16_bn", "15.470"),
];

fn spec(name: &str) -> PathBuf {
    PathBuf::from(format!("specs/{name}.net"))
}

fn set(name: &str, settings: &[&str]) -> Result<Compiled, netc::CompileError> {
    let set = settings.iter().map(|&text| text.to_owned()).collect();
    netc::compile_with(spec(name), &Settings { set, ..Settings::default() })
}

fn report(compiled: &Compiled) -> Result<Report, netc::cost::CostError> {
    analyse(&compiled.net, &compiled.shapes, &Options::default())
}

/// Trainable parameters and MACs of the layers whose path starts with `prefix`.
fn counts(report: &Report, prefix: &str) -> Result<(u64, Dim), Box<dyn Error>> {
    let counts = report.layers.iter().filter(|layer| layer.path.starts_with(prefix)).map(|layer| &layer.counts);
    let sum = Counts::sum(counts)?;
    Ok((sum.params, sum.macs))
}

#[test]
fn counts_are_those_of_the_references() -> Outcome {
    for (name, params, macs) in COUNTS {
        let report = report(&netc::compile(spec(name))?)?;
        assert_eq!((report.totals.params, &report.totals.macs), (params, &Dim::from(macs)), "{name}");
        assert_eq!(counts(&report, "")?, (params, Dim::from(macs)), "{name}: sum of its layers");
    }
    Ok(())
}

#[test]
fn every_net_is_named_as_its_file_and_without_advice() -> Outcome {
    let mut nets = BTreeSet::new();
    for entry in Path::new("specs").read_dir()? {
        let path = entry?.path();
        let Some(name) = path.file_stem().and_then(|name| name.to_str()).filter(|_| path.is_file()) else { continue };
        let compiled = netc::compile(&path)?;
        assert_eq!(compiled.net.name, name);
        let advice: Vec<&str> = compiled.advice.iter().map(|advice| advice.title.as_str()).collect();
        assert!(advice.is_empty(), "{name}: {advice:?}");
        nets.insert(name.to_owned());
    }
    nets.remove("unet");
    assert_eq!(nets, COUNTS.iter().map(|(name, ..)| (*name).to_owned()).collect());
    Ok(())
}

#[test]
fn parts_count_what_the_papers_mean() -> Outcome {
    for (name, part, params, macs) in PARTS {
        let report = report(&netc::compile(spec(name))?)?;
        assert_eq!(counts(&report, part)?, (params, Dim::from(macs)), "{part} of {name}");
    }
    Ok(())
}

#[test]
fn macs_round_to_what_torchvision_publishes() {
    for (name, published) in PUBLISHED {
        let macs = COUNTS.iter().find(|(net, ..)| *net == name).map_or(0, |(.., macs)| *macs);
        assert_eq!(format!("{:.3}", macs as f64 / 1e9), published, "{name}");
    }
}

/// ResNet-50, 101 and 152 as table 1 of the paper has them, with the stride in the first 1x1.
#[test]
fn papers_bottleneck_nets_cost_less_than_torchvisions() -> Outcome {
    let paper = std::fs::read_to_string(spec("resnet50_paper"))?;
    assert!(paper.contains("stage(4, unit, 128") && paper.contains("stage(6, unit, 256"));
    for (second, third, params, macs) in
        [(4, 6, 25_557_032, 3_857_973_248), (4, 23, 44_549_160, 7_570_194_432), (8, 36, 60_192_808, 11_282_415_616u64)]
    {
        let stages = [("stage(4,", format!("stage({second},")), ("stage(6,", format!("stage({third},"))];
        let text = stages.iter().fold(paper.clone(), |text, (from, to)| text.replace(from, to));
        let checked = netc::check("specs/paper.net", text.into_bytes(), &netc::FileLoader, &Settings::default());
        let totals = report(&checked.compiled.ok_or("mistakes")?)?.totals;
        assert_eq!((totals.params, totals.macs), (params, Dim::from(macs)));
    }
    Ok(())
}

/// torchvision's side heads cost parameters, which only a report on training counts.
#[test]
fn side_heads_count_in_training_only() -> Outcome {
    let compiled = netc::compile(spec("googlenet"))?;
    let training = analyse(&compiled.net, &compiled.shapes, &Options { train: true, ..Options::default() })?;
    // torchvision's googlenet with aux_logits=True.
    assert_eq!(training.totals.params, 13_004_888);
    Ok(())
}

#[test]
fn resnet50_has_11_114_984_activations() -> Outcome {
    assert_eq!(report(&netc::compile(spec("resnet50"))?)?.totals.activations, Dim::from(11_114_984u64));
    Ok(())
}

#[test]
fn bottleneck_saves_what_the_classic_example_says() -> Outcome {
    let found = report(&netc::compile(spec("bottleneck"))?)?.bottlenecks;
    let [bottleneck] = found.reduce.as_slice() else { return Err("not one bottleneck".into()) };
    assert_eq!((&bottleneck.macs, bottleneck.params), (&Dim::from(12_443_648u64), 15_920));
    assert_eq!((&bottleneck.without_macs, bottleneck.without_params), (&Dim::from(120_422_400u64), 153_632));
    assert_eq!(found.saved_macs, Dim::from(120_422_400u64 - 12_443_648));
    Ok(())
}

#[test]
fn alexnet_without_its_groups() -> Outcome {
    let report = report(&set("alexnet_2012", &["groups=1"])?)?;
    assert_eq!((report.totals.params, report.totals.macs), (62_378_344, Dim::from(1_135_256_096u64)));
    Ok(())
}

/// As torchvision has MobileNetV2 with `width_mult=0.5`.
#[test]
fn mobilenet_at_half_width() -> Outcome {
    assert_eq!(report(&set("mobilenet_v2", &["width=0.5"])?)?.totals.params, 1_968_680);
    Ok(())
}

#[test]
fn unet_costs_a_formula_in_height_and_width() -> Outcome {
    let area = Dim::symbol("H", 16).mul(&Dim::symbol("W", 16))?;
    let free = report(&netc::compile(spec("unet"))?)?.totals;
    assert_eq!((free.params, free.macs), (31_031_810, area.mul(&Dim::from(735_040u64))?));
    let fixed = report(&set("unet", &["H=256", "W=256"])?)?.totals;
    assert_eq!(fixed.macs, Dim::from(735_040u64 * 256 * 256));
    Ok(())
}

/// LeCun et al. 1998, section II.B: weights used times positions, biases, and the 840 of the output layer.
#[test]
fn lenet5_of_1998_has_340_908_connections() -> Outcome {
    let compiled = netc::compile(spec("lenet5_1998"))?;
    let mut connections = Dim::from(84u64 * 10);
    for layer in report(&compiled)?.layers.iter().filter(|layer| layer.counts.params > 0) {
        let outputs = layer.outputs[0].elements()?;
        // S2 and S4 see four pixels and a bias.
        let weights = if layer.kind == "scale" { outputs.mul(&Dim::from(4u64))? } else { layer.counts.macs.clone() };
        connections = connections.add(&weights)?.add(&outputs)?;
    }
    assert_eq!(connections, Dim::from(340_908u64));
    Ok(())
}

#[test]
fn each_digit_of_lenet5_has_a_drawing_of_its_own() -> Outcome {
    let compiled = netc::compile(spec("lenet5_1998"))?;
    let rbf = compiled
        .net
        .nodes()
        .find_map(|id| if let netc::op::Op::Rbf(rbf) = &compiled.net.node(id).op { Some(rbf) } else { None });
    let codes = &rbf.ok_or("no rbf")?.codes;
    assert_eq!(codes.len(), 10);
    for (i, code) in codes.iter().enumerate() {
        assert_eq!(code.len(), 7 * 12);
        for other in &codes[..i] {
            let differing = code.iter().zip(other).filter(|(a, b)| a != b).count();
            assert!(differing >= 12, "{i}: {differing} cells");
        }
    }
    Ok(())
}
