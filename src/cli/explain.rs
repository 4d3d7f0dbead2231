use clap::Args;

use super::{Failure, Outcome, print};
use crate::diag::{codes, nearest};

/// Explain a code of a message, with an example of the mistake and of its mending
#[derive(Debug, Args)]
pub(super) struct Explain {
    /// The code, as in E0301, or the name of advice; all codes are listed where none is given
    code: Option<String>,
}

impl Explain {
    pub(super) fn run(self) -> Outcome {
        let Some(code) = self.code else { return print(&codes::list()) };
        match codes::explain(&code) {
            Some(text) => print(&text),
            None => {
                let known = codes::TABLE.iter().flat_map(|row| [row.code.0, row.name]).filter(|name| !name.is_empty());
                let near = nearest(&code.to_uppercase(), known.clone()).or_else(|| nearest(&code, known));
                let hint = near.map_or(String::new(), |near| format!("; did you mean {near}?"));
                Err(Failure::Call(format!("there is no code {code}{hint} (`netc explain` lists them)")))
            }
        }
    }
}
