use std::path::PathBuf;

use clap::Args;

use super::{Failure, Outcome, print};
use crate::data::write_atomic;

/// Start a net: write a small one that checks and runs
#[derive(Debug, Args)]
pub(super) struct New {
    /// The file to make, NAME.net; its net gets the same name
    file: PathBuf,
}

impl New {
    pub(super) fn run(self) -> Outcome {
        let path = if self.file.extension().is_none() { self.file.with_extension("net") } else { self.file };
        let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("");
        let word = name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && !crate::syntax::KEYWORDS.contains(&name);
        if !word {
            return Err(Failure::Call(format!("`{name}` is no name for a net: use letters, digits and underscores")));
        }
        if path.exists() {
            return Err(Failure::Call(format!("{} exists", path.display())));
        }
        write_atomic(&path, |out| out.write_all(text(name).as_bytes()))?;
        print(&format!("{0}: try `netc shapes {0}`\n", path.display()))
    }
}

fn text(name: &str) -> String {
    format!(
        "# A small residual net for 32x32 colour images.\n\
         block residual(channels) {{\n  add {{\n    {{\n      \
         conv1: conv(channels, 3, pad = 1, bias = false)\n      bn1:   bn\n      relu\n      \
         conv2: conv(channels, 3, pad = 1, bias = false)\n      bn2:   bn\n    }}\n    identity\n  }}\n  relu\n}}\n\n\
         net {name}(classes = 10) {{\n  preprocess {{ resize [32, 32] }}\n\n  input image: [3, 32, 32]\n  \
         conv1: conv(16, 3, pad = 1, bias = false)\n  bn1:   bn\n  relu\n  block1: residual(16)\n  \
         block2: residual(16)\n  avgpool(global)\n  flatten\n  fc: linear(classes)\n  output logits\n}}\n"
    )
}
