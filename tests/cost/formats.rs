//! Every format of the reports for a small net, and what must hold of each for any.

use netc::Compiled;
use netc::cost::{By, Convention, Options, Profile, rollup};
use netc::report::{self, Style};

use super::{assert_snapshot, net, report, report_with, spec};

fn small() -> Compiled {
    net("input image: [8, 28, 28]
         reduce: conv(4, 1, bias = false)
         bn
         relu
         body: sequential { conv(16, 5, pad = 2); relu }
         wide: concat { { a: conv(8, 1) }; { maxpool(3, stride = 1, pad = 1) } }
         left, right: split(2)
         sub(left, right)
         upsample(2, mode = bilinear)
         avgpool(global)
         flatten
         fc: linear(10)
         output logits")
}

fn profile() -> Option<Profile> {
    Profile::parse("name = \"laptop\"\npeak_gflops = 100.0\nbandwidth_gbs = 20.0\ncores = 4\n").ok()
}

const WIDE: Style = Style { width: None, color: false };

#[test]
fn tables() {
    let report = report(&small());
    let table = |by, style| report::cost::table(&report, &rollup(&report, by).unwrap(), by, style);
    assert_snapshot("cost-table", &table(By::Layer, WIDE));
    assert_snapshot("cost-table-80", &table(By::Layer, Style { width: Some(80), color: false }));
    assert_snapshot("cost-table-blocks", &table(By::Block { depth: 1 }, WIDE));
    assert_snapshot("cost-table-kinds", &table(By::Kind, WIDE));
    assert_snapshot("shapes-table", &report::shapes::table(&report, Style { width: Some(100), color: false }));
}

#[test]
fn predicted_times() {
    let report = report_with(&small(), &Options { profile: profile(), batch: 4, ..Options::default() });
    let groups = rollup(&report, By::Layer).unwrap();
    assert_snapshot("cost-table-profile", &report::cost::table(&report, &groups, By::Layer, WIDE));
    let sum: f64 = report.layers.iter().map(|layer| layer.predicted.unwrap().seconds).sum();
    assert_eq!(report.predicted, Some(sum));
}

#[test]
fn programs_read() {
    let report = report_with(&small(), &Options { convention: Convention::Fvcore, ..Options::default() });
    let groups = rollup(&report, By::Block { depth: 1 }).unwrap();
    let (layers, by) = (rollup(&report, By::Layer).unwrap(), By::Block { depth: 1 });
    assert_snapshot("cost-json", &report::cost::json(&report, &groups, by));
    assert_snapshot("cost-csv", &report::cost::csv(&report, &layers, By::Layer));
    assert_snapshot("shapes-json", &report::shapes::json(&report));
    assert_snapshot("shapes-csv", &report::shapes::csv(&report));
}

#[test]
fn markdown() {
    let report = report(&small());
    let groups = rollup(&report, By::Layer).unwrap();
    assert_snapshot("cost-markdown", &report::cost::markdown(&report, &groups, By::Layer));
    assert_snapshot("shapes-markdown", &report::shapes::markdown(&report));
}

#[test]
fn formulas() {
    let report = report(&spec("unet"));
    let by = By::Block { depth: 1 };
    let groups = rollup(&report, by).unwrap();
    assert_snapshot("cost-table-formulas", &report::cost::table(&report, &groups, by, WIDE));
    let json: serde_json::Value = serde_json::from_str(&report::cost::json(&report, &groups, by)).unwrap();
    assert_eq!(json["totals"]["macs"], "735040*H*W");
    assert_eq!(json["totals"]["params"], 31_031_810);
    assert_eq!(json["input"]["image"], serde_json::json!([3, "H", "W"]));
}

#[test]
fn the_page_is_whole() {
    let report = report_with(&spec("googlenet"), &Options { profile: profile(), ..Options::default() });
    let groups = rollup(&report, By::Layer).unwrap();
    let page = report::cost::html(&report, &groups, By::Layer);
    let main = page.split("<main>").nth(1).unwrap().split("</main>").next().unwrap();
    let small = report_with(&small(), &Options { profile: profile(), ..Options::default() });
    let small_page = report::cost::html(&small, &rollup(&small, By::Layer).unwrap(), By::Layer);
    assert_snapshot("cost-page", small_page.split("<main>").nth(1).unwrap().split("</main>").next().unwrap());
    for outside in ["http:", "https:", "src=", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    for tag in ["div", "table", "tbody", "tr", "td", "th", "svg", "figure", "p", "h2", "button", "rect"] {
        let opened = main.matches(&format!("<{tag}>")).count() + main.matches(&format!("<{tag} ")).count();
        let closed = main.matches(&format!("</{tag}>")).count();
        assert_eq!(opened, closed, "{tag}");
    }
    assert_eq!(main.matches("<tr>").count(), 1 + report.layers.len() + 1 + (1 + 18 + 1) + (1 + 1));
    for word in ["By block", "Activation memory", "Receptive field", "Bottlenecks", "1,498,376,192"] {
        assert!(main.contains(word), "{word}");
    }
}

/// A label can be any text: it must not leave its place in any format.
#[test]
fn labels_cannot_break_out() {
    let report = report(&net("input x: [1, 4, 4]\n\"<b>,\\\"|&\": conv(2, 1)\noutput y"));
    let groups = rollup(&report, By::Layer).unwrap();
    let page = report::cost::html(&report, &groups, By::Layer);
    assert!(!page.contains("<b>,") && page.contains("&lt;b&gt;,"));
    let csv = report::cost::csv(&report, &groups, By::Layer);
    assert!(csv.lines().nth(1).unwrap().starts_with("\"<b>,"), "{csv}");
    let markdown = report::cost::markdown(&report, &groups, By::Layer);
    assert!(markdown.contains("\\<b>,") && markdown.contains("\\|&"), "{markdown}");
    let json: serde_json::Value = serde_json::from_str(&report::cost::json(&report, &groups, By::Layer)).unwrap();
    assert_eq!(json["layers"][0]["name"], report.layers[0].path);
}

#[test]
fn tables_fit() {
    for name in ["googlenet", "resnet152", "unet", "densenet121"] {
        let report = report(&spec(name));
        for (by, least) in [(By::Layer, 66), (By::Block { depth: 2 }, 66), (By::Kind, 66)] {
            let groups = rollup(&report, by).unwrap();
            for width in [least, 80, 100, 132, 200] {
                let table = report::cost::table(&report, &groups, by, Style { width: Some(width), color: false });
                let widest = table.lines().map(|line| line.chars().count()).max().unwrap();
                assert!(widest <= width, "{name} at {width}: {widest}\n{table}");
            }
        }
    }
}

#[test]
fn colour_only_when_asked() {
    let report = report(&small());
    let groups = rollup(&report, By::Layer).unwrap();
    let table = |color| report::cost::table(&report, &groups, By::Layer, Style { width: Some(80), color });
    assert!(!table(false).contains('\u{1b}') && table(true).contains("\u{1b}[1m"));
    let plain: String = table(true).replace("\u{1b}[1m", "").replace("\u{1b}[2m", "").replace("\u{1b}[0m", "");
    assert_eq!(plain, table(false));
}
