use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::{Failure, Outcome, Source, complain, print};
use crate::data::write_atomic;
use crate::picture::Picture;

/// Draw the net: blocks as clusters, shapes on the lines, skips in colour
#[derive(Debug, Args)]
pub(super) struct Graph {
    #[command(flatten)]
    source: Source,
    /// Where the picture goes; its ending says the format: .svg, .png or .dot
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The format, where the file's ending does not say it [default: svg]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// How many parts of a path are drawn; a block with more inside is one box [default: all that can be read]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    depth: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Format {
    /// A drawing that scales
    Svg,
    /// Pixels; needs --output
    Png,
    /// For Graphviz, without a layout
    Dot,
}

impl Graph {
    pub(super) fn run(self) -> Outcome {
        let format = self.format()?;
        let compiled = self.source.compile()?;
        let picture = Picture::new(&compiled.net, &compiled.shapes, self.depth.map(usize::from))?;
        let bytes = match format {
            Format::Svg => picture.svg()?.into_bytes(),
            Format::Png => picture.png()?,
            Format::Dot => picture.dot().into_bytes(),
        };
        if let (None, Some(depth)) = (self.depth, picture.folded()) {
            let boxes = picture.nodes();
            complain("note", &format!("{boxes} layers are too many to read; blocks are folded as by --depth {depth}"));
        }
        match &self.output {
            Some(path) => Ok(write_atomic(path, |out| out.write_all(&bytes))?),
            None => print(&String::from_utf8_lossy(&bytes)),
        }
    }

    fn format(&self) -> Result<Format, Failure> {
        let format = match (self.format, &self.output) {
            (Some(format), _) => format,
            (None, None) => Format::Svg,
            (None, Some(path)) => by_ending(path).ok_or_else(|| {
                let message = "a picture's file ends in .svg, .png or .dot; or say --format";
                Failure::Call(format!("{}: {message}", path.display()))
            })?,
        };
        if format == Format::Png && self.output.is_none() {
            return Err(Failure::Call("a PNG goes to a file: name it with --output FILE.png".to_owned()));
        }
        Ok(format)
    }
}

fn by_ending(path: &Path) -> Option<Format> {
    let ending = path.extension()?.to_str()?.to_ascii_lowercase();
    match ending.as_str() {
        "svg" => Some(Format::Svg),
        "png" => Some(Format::Png),
        "dot" | "gv" => Some(Format::Dot),
        _ => None,
    }
}
