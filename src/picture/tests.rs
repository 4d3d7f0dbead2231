use std::collections::HashMap;

use super::arrange::Rect;
use super::model::{Body, Model};
use super::scene::{Line, Scene, scene};
use super::tree::ROOT;
use super::*;

fn picture(text: &str, depth: Option<usize>) -> Picture {
    let compiled = crate::compile_text("x.net", text).unwrap();
    Picture::new(&compiled.net, &compiled.shapes, depth).unwrap()
}

/// Shorter than a pixel, for sums in another order.
const SLACK: f64 = 0.01;

fn overlap(a: &Rect, b: &Rect) -> bool {
    let apart = |a: f64, a_size: f64, b: f64, b_size: f64| a + a_size < b + SLACK || b + b_size < a + SLACK;
    !apart(a.x, a.w, b.x, b.w) && !apart(a.y, a.h, b.y, b.h)
}

fn inside(a: &Rect, b: &Rect) -> bool {
    b.x - SLACK <= a.x && a.x + a.w <= b.x + b.w + SLACK && b.y - SLACK <= a.y && a.y + a.h <= b.y + b.h + SLACK
}

/// What is wrong with a drawing.
fn faults(model: &Model, scene: &Scene) -> Vec<String> {
    let mut faults = Vec::new();
    let name = |part: usize| format!("{} ({part})", model.parts[part].path);
    let mut siblings: HashMap<usize, Vec<usize>> = HashMap::new();
    for (at, part) in model.parts.iter().enumerate().skip(ROOT + 1) {
        siblings.entry(part.parent).or_default().push(at);
        let (own, outer) = (&scene.rects[at], &scene.rects[part.parent]);
        if !inside(own, outer) {
            faults.push(format!("{} reaches out of {}", name(at), name(part.parent)));
        }
    }
    for parts in siblings.values() {
        let mut parts = parts.clone();
        parts.sort_by(|&a, &b| scene.rects[a].y.total_cmp(&scene.rects[b].y));
        for (at, &a) in parts.iter().enumerate() {
            let end = scene.rects[a].y + scene.rects[a].h;
            for &b in parts[at + 1..].iter().take_while(|&&b| scene.rects[b].y < end) {
                if overlap(&scene.rects[a], &scene.rects[b]) {
                    faults.push(format!("{} lies on {}", name(a), name(b)));
                }
            }
        }
    }
    for line in &scene.lines {
        faults.extend(line_faults(model, scene, line));
    }
    faults
}

/// A line runs downwards, within the picture, and through no box.
fn line_faults(model: &Model, scene: &Scene, line: &Line) -> Vec<String> {
    let wire = &model.wires[line.wire];
    let told = |what: &str| format!("{} to {} {what}", model.parts[wire.from].path, model.parts[wire.to].path);
    let mut faults = Vec::new();
    let points = &line.course.points;
    if points.windows(2).any(|pair| pair[1].1 < pair[0].1 - SLACK) {
        faults.push(told("runs upwards"));
    }
    if points.iter().any(|&(x, y)| x < 0.0 || y < 0.0 || scene.width < x || scene.height < y) {
        faults.push(told("leaves the picture"));
    }
    for pair in points.windows(2).filter(|pair| (pair[0].0 - pair[1].0).abs() < SLACK) {
        let [(x, y), (_, end)] = [pair[0], pair[1]];
        let piece = Rect { x: x - 0.5, y: y + 1.0, w: 1.0, h: end - y - 2.0 };
        let boxes = model.parts.iter().zip(&scene.rects).skip(1).filter(|(part, _)| !part.is_cluster());
        for (part, rect) in boxes {
            if 0.0 < piece.h && overlap(&piece, rect) {
                faults.push(told(&format!("runs through {}", part.path)));
            }
        }
    }
    faults
}

#[test]
fn drawings_of_all_specs_are_sound_at_every_depth() {
    let mut specs: Vec<_> = std::fs::read_dir("specs").unwrap().map(|entry| entry.unwrap().path()).collect();
    specs.retain(|path| path.extension().is_some_and(|extension| extension == "net"));
    assert!(30 < specs.len());
    for path in specs {
        let compiled = crate::compile(&path).unwrap();
        for depth in 1..=tree::boxes(&compiled.net).len() {
            let picture = Picture::new(&compiled.net, &compiled.shapes, Some(depth)).unwrap();
            let drawn = scene(&picture.model, 0.0).unwrap();
            let faults = faults(&picture.model, &drawn);
            assert!(faults.is_empty(), "{} at {depth}: {faults:#?}", path.display());
            let again = Picture::new(&compiled.net, &compiled.shapes, Some(depth)).unwrap();
            assert!(picture.svg().unwrap() == again.svg().unwrap() && picture.dot() == again.dot());
        }
    }
}

#[test]
fn every_layer_is_in_the_whole_picture() {
    for name in ["resnet18", "googlenet_2014", "unet", "lenet5_1998"] {
        let compiled = crate::compile(format!("specs/{name}.net")).unwrap();
        let svg = Picture::new(&compiled.net, &compiled.shapes, None).unwrap().svg().unwrap();
        for id in compiled.net.nodes() {
            let path = &compiled.net.node(id).path;
            assert!(svg.contains(&format!("<title>{path}</title>")), "{name}: {path}");
        }
    }
}

#[test]
fn graphs_for_graphviz() {
    for (name, depth) in [("lenet5", None), ("inception_module", None), ("unet", Some(1)), ("googlenet_2014", Some(1))]
    {
        let compiled = crate::compile(format!("specs/{name}.net")).unwrap();
        let picture = Picture::new(&compiled.net, &compiled.shapes, depth).unwrap();
        insta::assert_snapshot!(format!("dot_{name}"), picture.dot());
    }
}

const RESIDUAL: &str = "net n { input x: [4, 8, 8]
  a: conv(4, 1)
  add { { b: conv(4, 1); relu; c: conv(4, 1) }; identity }
  d: conv(4, 1)
  output y }";

/// The ends of the lines that are drawn as skips.
fn skips(picture: &Picture) -> Vec<(String, String)> {
    let path = |part: usize| picture.model.parts[part].path.clone();
    let lines = scene(&picture.model, 0.0).unwrap().lines;
    let wires = lines.iter().filter(|line| line.skip).map(|line| &picture.model.wires[line.wire]);
    wires.map(|wire| (path(wire.from), path(wire.to))).collect()
}

#[test]
fn skips_are_told_from_branches() {
    let text = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    let found = skips(&picture(RESIDUAL, None));
    assert_eq!(found, [text("a", "identity1"), text("identity1", "add1")]);
    let branches =
        "net n { input x: [4, 8, 8]\n concat { a: conv(4, 1); { b: conv(4, 1); c: conv(4, 1) } }\n output y }";
    assert_eq!(skips(&picture(branches, None)), []);
    let unet = crate::compile("specs/unet.net").unwrap();
    let found = skips(&Picture::new(&unet.net, &unet.shapes, None).unwrap());
    assert!(found.contains(&text("enc1.conv2", "up1.concat1")), "{found:?}");
}

#[test]
fn pointwise_layers_stand_right_below_what_only_they_use() {
    let stack = |picture: &Picture, path: &str| {
        let part = picture.model.parts.iter().find(|part| part.path == path).unwrap();
        match &part.body {
            Body::Stack(rows) => rows.iter().map(|row| row.name.clone()).collect::<Vec<_>>(),
            _ => Vec::new(),
        }
    };
    let picture = picture(RESIDUAL, None);
    assert_eq!(stack(&picture, "b"), ["b", "relu1"]);
    assert_eq!(stack(&picture, "c"), ["c"]);
}

#[test]
fn names_cannot_break_out() {
    let hostile = r#"net n { input x: [1, 4, 4]
  "a<b>&'c\"d\\": conv(1, 1)
  "</svg><script>.]]>": conv(1, 1)
  output y }"#;
    let Ok(compiled) = crate::compile_text("x.net", hostile) else { panic!("the net is right") };
    let picture = Picture::new(&compiled.net, &compiled.shapes, None).unwrap();
    let svg = picture.svg().unwrap();
    assert!(!svg.contains("<script") && svg.contains("&lt;script&gt;") && svg.contains("&amp;"), "{svg}");
    assert_eq!(svg.matches("</svg>").count(), 1);
    resvg::usvg::Tree::from_str(&svg, &resvg::usvg::Options::default()).unwrap();
    let dot = picture.dot();
    for line in dot.lines().filter(|line| line.contains("label=")) {
        let plain = line.replace("\\\\", "").replace("\\\"", "");
        assert_eq!(plain.matches('"').count() % 2, 0, "{line}");
    }
    assert!(picture.png().unwrap().starts_with(b"\x89PNG"));
}

#[test]
fn large_nets_are_folded_or_refused() {
    let blocks =
        "block b { a: conv(4, 1); relu }\n net n { input x: [4, 8, 8]\n for i in 0..1000 { s{i}: b }\n output y }";
    let picture = picture(blocks, None);
    assert_eq!((picture.folded(), picture.nodes()), (Some(1), 2001));
    assert_eq!(picture.svg().unwrap().matches("class=\"folded\"").count(), 2000);
    assert!(matches!(picture.png(), Err(PictureError::TooTall { .. })));
    let flat = "net n { input x: [4, 8, 8]\n repeat 30000 { relu }\n output y }";
    let compiled = crate::compile_text("x.net", flat).unwrap();
    let error = Picture::new(&compiled.net, &compiled.shapes, None).unwrap_err();
    assert!(matches!(error, PictureError::TooLarge { boxes: 30001, .. }), "{error}");
}

#[test]
fn a_net_without_layers_and_one_of_many_inputs_are_drawn() {
    for text in [
        "net n { input x: [1, 4, 4]; output y }",
        "net n { input a: [1, 4, 4]; input b: [1, 4, 4]; c: conv(1, 1); add(a, prev); mul(prev, prev); output y; output z = a }",
    ] {
        let picture = picture(text, None);
        let drawn = scene(&picture.model, 0.0).unwrap();
        assert_eq!(faults(&picture.model, &drawn), Vec::<String>::new());
        assert!(picture.png().unwrap().len() > 100);
    }
}
