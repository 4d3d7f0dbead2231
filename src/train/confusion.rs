//! Which classes are taken for which.

use std::fmt::Write;

use super::curves::escaped;

/// For each class how often it was taken for each: `counts[class][taken for]`.
#[derive(Clone, Debug)]
pub struct Confusion {
    /// The names of the classes.
    pub classes: Vec<String>,
    /// The counts.
    pub counts: Vec<Vec<usize>>,
}

impl Confusion {
    /// Nothing counted yet.
    pub fn new(classes: &[String]) -> Confusion {
        Confusion { classes: classes.to_vec(), counts: vec![vec![0; classes.len()]; classes.len()] }
    }

    /// Counts one image.
    pub fn add(&mut self, class: usize, taken_for: usize) {
        self.counts[class][taken_for] += 1;
    }

    /// Images of a class.
    pub fn total(&self, class: usize) -> usize {
        self.counts[class].iter().sum()
    }

    /// The class that a class is most often wrongly taken for, and how often; `None` where it never is.
    pub fn worst(&self, class: usize) -> Option<(usize, usize)> {
        let others =
            self.counts[class].iter().copied().enumerate().filter(|&(other, count)| other != class && count != 0);
        others.max_by_key(|&(other, count)| (count, std::cmp::Reverse(other)))
    }

    /// The matrix as text: a row for each class.
    pub fn table(&self) -> String {
        let widest = self.counts.iter().flatten().map(|count| count.to_string().len()).max().unwrap_or(1).max(3);
        let name = self.classes.iter().map(|class| class.chars().count()).max().unwrap_or(0);
        let mut text = format!("{:name$}", "");
        for at in 0..self.classes.len() {
            let _ = write!(text, " {at:>widest$}");
        }
        for (class, counts) in self.classes.iter().zip(&self.counts) {
            let _ = write!(text, "\n{class:name$}");
            for count in counts {
                let shown = if *count == 0 { "·".to_owned() } else { count.to_string() };
                let _ = write!(text, " {shown:>widest$}");
            }
        }
        text.push('\n');
        text
    }

    /// The matrix as a picture: the darker, the larger the share of its class.
    pub fn svg(&self) -> String {
        const CELL: usize = 34;
        let count = self.classes.len();
        let name = 8 * self.classes.iter().map(|class| class.chars().count()).max().unwrap_or(0) + 16;
        let (w, h) = (name + CELL * count + 16, name + CELL * count + 16);
        let mut text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w}\" height=\"{h}\" viewBox=\"0 0 {w} {h}\" \
             font-family=\"DejaVu Sans, sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
        );
        for (at, class) in self.classes.iter().enumerate() {
            let middle = name + CELL * at + CELL / 2;
            let class = escaped(class);
            let _ = writeln!(text, "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{class}</text>", name - 6, middle + 4);
            let _ =
                writeln!(text, "<text transform=\"translate({} {}) rotate(-90)\">{class}</text>", middle + 4, name - 6);
        }
        for (row, counts) in self.counts.iter().enumerate() {
            let total = self.total(row).max(1) as f64;
            for (column, &count) in counts.iter().enumerate() {
                let share = count as f64 / total;
                let (x, y) = (name + CELL * column, name + CELL * row);
                let color = if row == column { "#0072b2" } else { "#d55e00" };
                let _ = writeln!(
                    text,
                    "<rect x=\"{x}\" y=\"{y}\" width=\"{CELL}\" height=\"{CELL}\" fill=\"{color}\" fill-opacity=\"{:.3}\" \
                     stroke=\"#ddd\"/>",
                    share.sqrt()
                );
                if count != 0 {
                    let ink = if share < 0.3 { "black" } else { "white" };
                    let _ = writeln!(
                        text,
                        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\" font-size=\"11\" fill=\"{ink}\">{count}</text>",
                        x + CELL / 2,
                        y + CELL / 2 + 4
                    );
                }
            }
        }
        text.push_str("</svg>\n");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_for_what() {
        let mut confusion = Confusion::new(&["cat".to_owned(), "dog".to_owned(), "owl".to_owned()]);
        [(0, 0), (0, 1), (0, 1), (1, 1), (2, 2), (0, 2)].into_iter().for_each(|(class, as_)| confusion.add(class, as_));
        assert_eq!((confusion.worst(0), confusion.worst(1), confusion.total(0)), (Some((1, 2)), None, 4));
        assert_eq!(confusion.table(), "      0   1   2\ncat   1   2   1\ndog   ·   1   ·\nowl   ·   ·   1\n");
        assert!(confusion.svg().matches("<rect").count() == 10);
    }
}
