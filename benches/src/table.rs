//! A table, for the terminal and for the documentation: markdown is both.

/// Rows of cells under a head; the first column is text, the others are figures.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// What the columns are.
    pub head: Vec<String>,
    /// As many cells each as there are columns.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// A table that has no rows yet.
    pub fn new(head: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { head: head.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    /// Markdown, its columns aligned so that it can be read as it is.
    #[must_use]
    pub fn markdown(&self) -> String {
        let all = || std::iter::once(&self.head).chain(&self.rows);
        let width = |column: usize| all().map(|row| row[column].chars().count()).max().unwrap_or(0).max(3);
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
                0 => format!("| {cell:<width$} "),
                _ => format!("| {cell:>width$} "),
            });
            cells.collect::<String>() + "|\n"
        };
        let rule = widths.iter().enumerate().map(|(column, width)| match column {
            0 => format!("| {} ", "-".repeat(*width)),
            _ => format!("| {}: ", "-".repeat(width - 1)),
        });
        line(&self.head) + &rule.collect::<String>() + "|\n" + &self.rows.iter().map(line).collect::<String>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_is_aligned() {
        let mut table = Table::new(["what", "a"]);
        table.rows.push(vec!["hits".to_owned(), "0.71 (45)".to_owned()]);
        let expected = "| what |         a |\n| ---- | --------: |\n| hits | 0.71 (45) |\n";
        assert_eq!(table.markdown(), expected);
    }
}
